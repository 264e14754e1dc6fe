//! One SSH connection: connecting with a pinned host key, directly or through a jump host, and
//! opening channels on it.
//!
//! Servers run other people's builds and are treated as hostile: the key is compared before we log
//! in, sizes are bounded, and a panic in the protocol library ends this connection only.

use std::borrow::Cow;
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use russh::client::{self, AuthResult, Msg};
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{Channel, Disconnect, Preferred, cipher};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::Instant;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use super::jump::Jumps;
use super::{RemoteError, Target};
use crate::model::Secret;

/// How long a machine may leave the first packet unanswered. While it boots packets are dropped;
/// the kernel would repeat one after 1, 3 and 7 s, and the machine would be up for seconds before
/// anybody noticed. An ordinary round trip is below a third of a second anywhere on Earth.
const DIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// A server that stays silent for three of these is gone: a cut network shows within 30-40 s.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_MAX: usize = 3;
/// Ends connections on which not even the handshake goes on; longer than the keepalives need.
const INACTIVITY: Duration = Duration::from_mins(1);
/// What the server may send ahead: 8 MiB keeps 100 MB/s busy over 80 ms of round trip.
const WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// The protocol's safe maximum; half as many packets as with the usual 32 KiB.
const PACKET_BYTES: u32 = 65_535;
/// Packets of one channel that wait for their reader before the connection does.
const CHANNEL_PACKETS: usize = 64;

/// AES in hardware is several times faster than `ChaCha20` where logs are long.
const CIPHERS: &[cipher::Name] = &[
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
];

/// A logged-in connection.
pub(super) struct Connection {
    handle: client::Handle<HostKey>,
    line: Line,
    address: String,
}

/// A server to log in to.
pub(super) struct Door<'a> {
    /// What errors call it.
    pub(super) address: String,
    pub(super) user: &'a str,
    pub(super) client_private: &'a Secret,
    pub(super) host_public: &'a str,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("address", &self.address)
            .field("open", &self.is_open())
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects and logs in.
    pub(super) async fn open(
        target: &Target,
        jumps: &Jumps,
        timeout: Duration,
    ) -> Result<Self, RemoteError> {
        let deadline = Instant::now() + timeout;
        let (door, stream, line) = reach(target, jumps, deadline).await?;
        in_time(deadline, &door.address, Self::log_in(&door, stream, line)).await
    }

    /// Connects, and goes away once the server has proved to have the pinned key.
    pub(super) async fn check_host_key(
        target: &Target,
        jumps: &Jumps,
        timeout: Duration,
    ) -> Result<(), RemoteError> {
        let deadline = Instant::now() + timeout;
        let (door, stream, _line) = reach(target, jumps, deadline).await?;
        in_time(deadline, &door.address, shake_hands(&door, stream))
            .await
            .map(drop)
    }

    /// Logs in over a stream to the server; `line` is what ends the stream.
    pub(super) async fn log_in<S: Stream>(
        door: &Door<'_>,
        stream: S,
        line: Line,
    ) -> Result<Self, RemoteError> {
        let address = &door.address;
        let key = PrivateKey::from_openssh(door.client_private.expose())
            .map_err(|error| unusable("reading our client key", &error))?;
        let mut handle = shake_hands(door, stream).await?;
        // The hash matters to RSA keys only; SHA-1 is refused everywhere by now.
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), Some(HashAlg::Sha512));
        match handle.authenticate_publickey(door.user, key).await {
            Ok(AuthResult::Success) => Ok(Self {
                handle,
                line,
                address: address.clone(),
            }),
            Ok(AuthResult::Failure { .. }) if !handle.is_closed() => {
                Err(RemoteError::LoginRefused {
                    address: address.clone(),
                    user: door.user.to_owned(),
                })
            }
            Ok(AuthResult::Failure { .. }) => Err(unreachable(address, "closed during the login")),
            Err(error) => Err(unreachable(address, &error)),
        }
    }

    /// Asks the server to connect us to an address that it can reach.
    pub(super) async fn forward(&self, to: SocketAddr) -> Result<Channel<Msg>, russh::Error> {
        let (address, port) = (to.ip().to_string(), u32::from(to.port()));
        // The originator is for the server's log; we have no address that would mean anything there.
        self.handle
            .channel_open_direct_tcpip(address, port, "127.0.0.1", 0)
            .await
    }

    /// Runs `command` with `stdin`, which stays open unless `eof`. Only the opening of the channel
    /// is waited for; command, input and its end go out together behind it.
    pub(super) async fn exec(
        &self,
        operation: &'static str,
        command: &str,
        stdin: Bytes,
        eof: bool,
    ) -> Result<Channel<Msg>, RemoteError> {
        let lost = |error| self.lost(operation, &error);
        let channel = self.handle.channel_open_session().await.map_err(lost)?;
        channel.exec(false, command).await.map_err(lost)?;
        channel.data_bytes(stdin).await.map_err(lost)?;
        if eof {
            channel.eof().await.map_err(lost)?;
        }
        Ok(channel)
    }

    /// The error for a failure of the connection.
    pub(super) fn lost(
        &self,
        operation: &'static str,
        detail: &dyn std::fmt::Display,
    ) -> RemoteError {
        RemoteError::Disconnected {
            operation,
            detail: format!("{} ({detail})", self.address),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        !self.handle.is_closed()
    }

    pub(super) async fn close(&self) {
        let farewell = self.handle.disconnect(Disconnect::ByApplication, "", "");
        // A connection that is stuck in sending does not take the message; the socket ends it.
        let _ = tokio::time::timeout(Duration::from_millis(100), farewell).await;
        self.line.cut();
    }
}

/// What a connection runs over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for S {}

/// Opens a stream to the machine, directly or through its jump host.
async fn reach<'a>(
    target: &'a Target,
    jumps: &Jumps,
    deadline: Instant,
) -> Result<(Door<'a>, Either<TcpStream, DuplexStream>, Line), RemoteError> {
    let to = target.endpoint.address;
    let door = |address| Door {
        address,
        user: &target.user,
        client_private: &target.client_private,
        host_public: &target.host_public,
    };
    let Some(jump) = &target.jump else {
        let door = door(to.to_string());
        let dialing = dial(to, DIAL_TIMEOUT, &door.address);
        let (stream, line) = in_time(deadline, &door.address, dialing).await?;
        return Ok((door, Either::Left(stream), line));
    };
    let way = jumps.way(jump, deadline).await?;
    let door = door(format!("{to} behind {}", way.host));
    let dialing = way.dial(to, DIAL_TIMEOUT, &door.address);
    let (stream, cut) = in_time(deadline, &door.address, dialing).await?;
    Ok((door, Either::Right(stream), Line::Tunnel(cut)))
}

/// Agrees on keys with the server, which proves by that to have the pinned one.
async fn shake_hands<S: Stream>(
    door: &Door<'_>,
    stream: S,
) -> Result<client::Handle<HostKey>, RemoteError> {
    let pinned = PublicKey::from_openssh(door.host_public)
        .map_err(|error| unusable("reading the pinned host key", &error))?;
    let presented = Arc::new(OnceLock::new());
    let handler = HostKey {
        pinned: pinned.clone(),
        presented: Arc::clone(&presented),
    };
    let connected = client::connect_stream(config(&pinned), stream, handler).await;
    connected.map_err(|error| match presented.get() {
        Some(presented) => RemoteError::WrongHostKey {
            address: door.address.clone(),
            presented: presented.clone(),
            pinned: pinned.fingerprint(HashAlg::Sha256).to_string(),
        },
        None => unreachable(&door.address, &error),
    })
}

/// What carries a connection. Cutting it ends the library's task at once, whatever it is at; so does
/// dropping it, for example when connecting takes too long.
pub(super) enum Line {
    /// A socket of its own.
    Socket(std::net::TcpStream),
    /// A channel of the connection to a jump host.
    Tunnel(CancellationToken),
}

impl Line {
    fn cut(&self) {
        match self {
            // Fails only on a socket that is cut already.
            Self::Socket(socket) => drop(socket.shutdown(Shutdown::Both)),
            Self::Tunnel(cut) => cut.cancel(),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.cut();
    }
}

/// Opens a TCP connection; `name` is what errors call the other side.
pub(super) async fn dial(
    to: impl ToSocketAddrs,
    timeout: Duration,
    name: &str,
) -> Result<(TcpStream, Line), RemoteError> {
    let failed = |error: std::io::Error| unreachable(name, &error);
    let stream = tokio::time::timeout(timeout, TcpStream::connect(to))
        .await
        .map_err(|_| unreachable(name, "no answer to the first packet"))?
        .map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    let stream = stream.into_std().map_err(failed)?;
    let line = Line::Socket(stream.try_clone().map_err(failed)?);
    Ok((TcpStream::from_std(stream).map_err(failed)?, line))
}

/// The outcome of connecting to `name`, if it comes before `deadline`.
pub(super) async fn in_time<T>(
    deadline: Instant,
    name: &str,
    connecting: impl Future<Output = Result<T, RemoteError>>,
) -> Result<T, RemoteError> {
    tokio::time::timeout_at(deadline, connecting)
        .await
        .unwrap_or_else(|_| Err(unreachable(name, "timed out")))
}

fn config(pinned: &PublicKey) -> Arc<client::Config> {
    // A server with several keys shall present the one that we know.
    let mut keys = vec![pinned.algorithm()];
    keys.extend(Preferred::DEFAULT.key.iter().cloned());
    keys.dedup();
    Arc::new(client::Config {
        window_size: WINDOW_BYTES,
        maximum_packet_size: PACKET_BYTES,
        channel_buffer_size: CHANNEL_PACKETS,
        preferred: Preferred {
            key: Cow::Owned(keys),
            cipher: Cow::Borrowed(CIPHERS),
            ..Preferred::DEFAULT
        },
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: KEEPALIVE_MAX,
        inactivity_timeout: Some(INACTIVITY),
        nodelay: true,
        ..client::Config::default()
    })
}

/// Compares the presented key with the pinned one, before anything of ours is sent.
struct HostKey {
    pinned: PublicKey,
    presented: Arc<OnceLock<String>>,
}

impl client::Handler for HostKey {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        presented: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        let fingerprint = match presented {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                if key.key_data() == self.pinned.key_data() {
                    return Ok(true);
                }
                key.fingerprint(HashAlg::Sha256)
            }
            PublicKeyOrCertificate::Certificate(certificate) => {
                certificate.public_key().fingerprint(HashAlg::Sha256)
            }
        };
        // Set at most once: a refused key ends the connection.
        let _ = self.presented.set(fingerprint.to_string());
        Ok(false)
    }
}

pub(super) fn unreachable(
    address: &str,
    detail: &(impl std::fmt::Display + ?Sized),
) -> RemoteError {
    RemoteError::Unreachable {
        address: address.to_owned(),
        detail: detail.to_string(),
    }
}

fn unusable(operation: &'static str, error: &russh::keys::ssh_key::Error) -> RemoteError {
    RemoteError::Protocol {
        operation,
        detail: error.to_string(),
    }
}
