//! Connections to jump hosts: one for each host, shared by all machines behind it.
//!
//! It stays open while nothing goes through it, at the cost of a packet every ten seconds: machines
//! come in bursts, and the first of a burst should not wait for a login more. One that has died is
//! replaced by whoever needs it next.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::ChannelOpenFailure;
use tokio::io::DuplexStream;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::RemoteError;
use super::connection::{Connection, Door, dial, in_time, unreachable};
use super::tunnel::{self, Refused};
use crate::model::Jump;

/// A jump host is up all the time, so that a lost packet is likelier than one that boots.
const JUMP_DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// The jump hosts in use. There are as many as an operator has configured, a handful.
#[derive(Debug, Default)]
pub(super) struct Jumps {
    hosts: Mutex<Vec<Arc<Host>>>,
}

/// One jump host.
#[derive(Debug)]
struct Host {
    jump: Jump,
    /// Tries to connect that have ended.
    tries: AtomicU64,
    state: tokio::sync::Mutex<State>,
}

/// What came of the last try.
#[derive(Debug, Default)]
struct State {
    connection: Option<Arc<Connection>>,
    failure: Option<RemoteError>,
}

/// A way through a jump host.
#[derive(Debug)]
pub(super) struct Way {
    /// What errors call the host.
    pub(super) host: String,
    connection: Arc<Connection>,
}

impl Jumps {
    /// The way through `jump`, over the connection that is there or else a new one.
    ///
    /// # Errors
    /// [`RemoteError::JumpHost`].
    pub(super) async fn way(&self, jump: &Jump, deadline: Instant) -> Result<Way, RemoteError> {
        let name = name(jump);
        let host = self.host(jump);
        let connection = in_time(deadline, &name, host.connection(&name))
            .await
            .map_err(at_the_host)?;
        Ok(Way {
            host: name,
            connection,
        })
    }

    fn host(&self, jump: &Jump) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.iter().find(|host| host.jump == *jump) {
            return Arc::clone(host);
        }
        let host = Arc::new(Host {
            jump: jump.clone(),
            tries: AtomicU64::new(0),
            state: tokio::sync::Mutex::default(),
        });
        hosts.push(Arc::clone(&host));
        host
    }
}

impl Host {
    /// An open connection. Of many who want one at the same time, one connects; when that fails,
    /// the others have the same answer rather than a try each, one after the other.
    async fn connection(&self, name: &str) -> Result<Arc<Connection>, RemoteError> {
        let seen = self.tries.load(Ordering::Relaxed);
        let mut state = self.state.lock().await;
        if let Some(open) = state.connection.as_ref().filter(|known| known.is_open()) {
            return Ok(Arc::clone(open));
        }
        if self.tries.load(Ordering::Relaxed) > seen
            && let Some(failure) = &state.failure
        {
            return Err(failure.clone());
        }
        let opened = self.open(name).await.map(Arc::new);
        state.connection = opened.as_ref().ok().cloned();
        state.failure = opened.as_ref().err().cloned();
        self.tries.fetch_add(1, Ordering::Relaxed);
        opened
    }

    async fn open(&self, name: &str) -> Result<Connection, RemoteError> {
        let Jump { host, port, .. } = &self.jump;
        let (stream, line) = dial((host.as_str(), *port), JUMP_DIAL_TIMEOUT, name).await?;
        let door = Door {
            address: name.to_owned(),
            user: &self.jump.user,
            client_private: &self.jump.client_private,
            host_public: &self.jump.host_public,
        };
        Connection::log_in(&door, stream, line).await
    }
}

impl Way {
    /// Opens a stream to an address behind the host, and what cuts it; `name` is what errors call
    /// the other side.
    pub(super) async fn dial(
        &self,
        to: SocketAddr,
        patience: Duration,
        name: &str,
    ) -> Result<(DuplexStream, CancellationToken), RemoteError> {
        let opening = tunnel::open(Arc::clone(&self.connection), to);
        match timeout(patience, opening).await {
            Ok(Ok(tunnel)) => Ok(tunnel),
            Ok(Err(refused)) => Err(self.refusal(refused, name)),
            Err(_) => Err(unreachable(name, "no answer to the first packet")),
        }
    }

    /// Tells a machine that is not up from a host that lets nobody through.
    fn refusal(&self, refused: Refused, name: &str) -> RemoteError {
        use ChannelOpenFailure::{
            AdministrativelyProhibited, ConnectFailed, Other, ResourceShortage, UnknownChannelType,
        };
        let operation = "asking for a connection to the machine";
        let detail = match refused {
            Refused::By(ConnectFailed | Other { .. }) => {
                return unreachable(name, "the jump host cannot connect to it");
            }
            Refused::By(AdministrativelyProhibited | UnknownChannelType) => {
                "it does not allow forwarding"
            }
            Refused::By(ResourceShortage) => "it has too many connections",
            Refused::Lost(detail) => {
                return at_the_host(self.connection.lost(operation, &detail));
            }
        };
        at_the_host(RemoteError::Protocol {
            operation,
            detail: format!("{} says that {detail}", self.host),
        })
    }
}

/// What errors call a jump host.
fn name(jump: &Jump) -> String {
    format!("{}:{}", jump.host, jump.port)
}

fn at_the_host(error: RemoteError) -> RemoteError {
    RemoteError::JumpHost {
        error: Box::new(error),
    }
}
