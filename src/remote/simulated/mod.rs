//! Machines that run builds in memory only: a model of what the run contract promises, and of what
//! goes wrong around it.
//!
//! A build's steps are read as a tiny language (see `shell`), so that a pipeline document says
//! what its builds print, how long they take and how they end. Connections drop, calls are lost before
//! or after their effect, supervisors are killed and machines rebooted. Where the machines come from
//! is somebody else's business: [`Ground`] is all that is asked of it. Callers: `app` for
//! demonstrations, and tests.

mod machines;
mod run;
mod session;
mod shell;

use std::net::SocketAddr;

use async_trait::async_trait;

use crate::model::{Secret, Span, Timestamp};

pub use machines::{CallTrouble, Ran, SimulatedRemote};

/// What the simulated machines stand on.
#[async_trait]
pub trait Ground: Send + Sync + std::fmt::Debug {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Returns when `span` has passed.
    async fn sleep(&self, span: Span);

    /// What answers at an address; none when nothing does.
    fn host(&self, address: SocketAddr) -> Option<Host>;

    /// Extends the lease of the machine at an address.
    fn extend_lease(&self, address: SocketAddr, lease: Span);
}

/// What answers at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Which machine it is.
    pub name: String,
    /// The host key that it presents.
    pub host_public: String,
    /// The private key that it lets in.
    pub client_private: Secret,
    /// Counts its boots.
    pub boot: u32,
    /// Since when it answers.
    pub up_since: Timestamp,
}
