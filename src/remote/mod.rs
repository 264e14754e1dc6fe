//! Port: driving a machine over SSH. Nothing is expected on it but sshd and a POSIX shell.
//!
//! The remote run contract is in `runner.sh`; this module's traits are what the engine sees of it,
//! and [`Ssh`] is their implementation. It knows nothing of clouds, stores or builds' results.
//! Caller: `engine`.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::model::{AttemptId, BuildSpec, Endpoint, Jump, MachineKeys, Secret, Span, Timestamp};

mod call;
mod connection;
mod jump;
mod keys;
mod notice;
mod rekey;
mod run;
mod scan;
mod script;
pub mod simulated;
mod ssh;
mod tunnel;

pub use keys::machine_keys;
pub use script::conversation;
pub use ssh::Ssh;

/// Where and as whom to connect, and which host key must be presented.
#[derive(Debug, Clone)]
pub struct Target {
    /// Address and port of the SSH server.
    pub endpoint: Endpoint,
    /// Login name.
    pub user: String,
    /// Our private key, OpenSSH format.
    pub client_private: Secret,
    /// The pinned host public key, OpenSSH format.
    pub host_public: String,
    /// A host to go through; the endpoint is then an address as that host sees it.
    pub jump: Option<Jump>,
}

/// Why a remote operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// Nothing answers there (yet): refused, unreachable, timed out, handshake cut.
    #[error("cannot connect to {address}: {detail}")]
    Unreachable {
        /// Where to.
        address: String,
        /// What happened.
        detail: String,
    },
    /// The host presented another key than the pinned one: not our machine.
    #[error("host key of {address} is {presented}, pinned is {pinned}")]
    WrongHostKey {
        /// Where to.
        address: String,
        /// Fingerprint that was presented.
        presented: String,
        /// Fingerprint that was expected.
        pinned: String,
    },
    /// The machine refused our key.
    #[error("{address} refused the login of {user}")]
    LoginRefused {
        /// Where to.
        address: String,
        /// As whom.
        user: String,
    },
    /// The host on the way to the machine failed; nothing is known of the machine.
    #[error("cannot go through the jump host: {error}")]
    JumpHost {
        /// What happened there.
        error: Box<RemoteError>,
    },
    /// The connection was lost during an operation; its effect is unknown.
    #[error("lost the connection while {operation}: {detail}")]
    Disconnected {
        /// What we were doing.
        operation: &'static str,
        /// What happened.
        detail: String,
    },
    /// The build says something that no shell can express; nothing was sent.
    #[error("the build cannot be run: {detail}")]
    Unrunnable {
        /// What, and where.
        detail: String,
    },
    /// The machine lacks what it takes.
    #[error("the machine is not capable of {operation}: {detail}")]
    NotSupported {
        /// What we were doing.
        operation: &'static str,
        /// What is missing.
        detail: String,
    },
    /// The machine answered against the run contract.
    #[error("unexpected answer while {operation}: {detail}")]
    Protocol {
        /// What we were doing.
        operation: &'static str,
        /// What came.
        detail: String,
    },
}

/// What a short command gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutput {
    /// Exit status; `None` when a signal ended it.
    pub status: Option<u32>,
    /// Standard output, cut at the limit of the call.
    pub stdout: Vec<u8>,
    /// Standard error, cut likewise.
    pub stderr: Vec<u8>,
}

/// The one line that the probe prints: facts, no guesses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// No such attempt on the machine.
    Absent,
    /// Claimed, supervisor not up yet; log length.
    Starting(u64),
    /// Supervisor alive; log length.
    Running(u64),
    /// Over: exit code, log length.
    Done(i32, u64),
    /// Supervisor provably gone without a result; log length.
    Lost(u64),
    /// The machine has another boot id than at the start; log length.
    Rebooted(u64),
}

/// What a run tells, in order. `StepEnded` comes for every step that began, unless the run is lost. `machine` is the number of bytes of the machine's log file consumed
/// up to and including this event: resuming there repeats nothing and loses nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEvent {
    /// Step `index` began.
    StepBegan {
        /// From 0.
        index: u32,
        /// Bytes of the machine's log consumed.
        machine: u64,
    },
    /// Log bytes, markers taken out.
    Log {
        /// The bytes.
        bytes: Bytes,
        /// Bytes of the machine's log consumed.
        machine: u64,
    },
    /// Step `index` ended with this exit code.
    StepEnded {
        /// From 0.
        index: u32,
        /// Exit code; 128 + n for signal n.
        code: i32,
        /// Bytes of the machine's log consumed.
        machine: u64,
    },
    /// The attempt is over and all of its log was delivered before this.
    Done {
        /// Exit code of the run.
        code: i32,
        /// Length of the machine's log, all of it consumed.
        machine: u64,
    },
    /// The supervisor is gone without a result; the log was delivered as far as it goes.
    Lost {
        /// Bytes of the machine's log consumed.
        machine: u64,
        /// Whether the machine was rebooted under it.
        rebooted: bool,
    },
    /// The connection ended; the attempt may go on. Reconnect and follow from the last `machine`.
    Disconnected {
        /// What happened.
        error: RemoteError,
    },
}

/// A run being watched. Events come in order; the channel is bounded, so a slow reader slows the
/// transfer, never the build. Runs of one session share its connection: one whose reader stalls holds
/// up what the others tell until it is read again, and nothing of them is lost.
#[derive(Debug)]
pub struct Run {
    /// The events; `Done`, `Lost` and `Disconnected` are last.
    pub events: mpsc::Receiver<RunEvent>,
}

/// What to stop on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The step with this index only; the run goes on with the steps that `always` run.
    Step(u32),
    /// All of the attempt's processes; steps that `always` run do not run.
    Attempt,
}

/// What became of a machine's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rekey {
    /// The server presents the new host key and takes the new client key only.
    Done,
    /// Nothing was changed: the account is not root and may not become it without a password.
    NotAllowed,
    /// Nothing was changed: the session's server is not an OpenSSH whose files are known.
    NotSupported,
}

/// What the provider tells a machine that it takes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What will happen to it, in the provider's word: `terminate`, `stop`, `hibernate`.
    pub action: String,
    /// When.
    pub at: Timestamp,
}

/// Opens sessions.
#[async_trait]
pub trait Remote: Send + Sync + std::fmt::Debug {
    /// One try to connect and log in, within `timeout`. The host key is checked before anything is
    /// sent. A machine that does not answer the first packet is given up after a second, whatever
    /// `timeout` says: the packets of a machine that boots are dropped, and a fresh try is sooner
    /// answered than a repeated packet.
    async fn connect(
        &self,
        target: &Target,
        timeout: Span,
    ) -> Result<Arc<dyn Session>, RemoteError>;
}

/// A logged-in connection to one machine; operations may run side by side.
#[async_trait]
pub trait Session: Send + Sync + std::fmt::Debug {
    /// Runs a short command with `stdin`, keeping at most 64 KiB of each output.
    async fn command(
        &self,
        command: &str,
        stdin: Bytes,
        timeout: Span,
    ) -> Result<CommandOutput, RemoteError>;

    /// Puts the runner on the machine and starts its lease, as `extend_lease` does; once per
    /// machine, before the first `start`, which saves a round trip by using the same shell. A
    /// `start` that finds no runner puts it there by itself.
    async fn prepare(&self, lease: Span) -> Result<(), RemoteError>;

    /// Starts the attempt unless it has been started already, and follows its log from `from`.
    /// Repeating it is harmless until the attempt is discarded. A step that is stopped or killed
    /// by signal n ends with code 128 + n: 143 for a polite stop, 137 for a forced one.
    async fn start(
        &self,
        attempt: AttemptId,
        build: Arc<BuildSpec>,
        from: u64,
    ) -> Result<Run, RemoteError>;

    /// Follows an attempt that was started earlier, from log offset `from` on the machine.
    async fn follow(&self, attempt: AttemptId, from: u64) -> Result<Run, RemoteError>;

    /// Says how an attempt stands.
    async fn probe(&self, attempt: AttemptId) -> Result<Probe, RemoteError>;

    /// Ends processes of an attempt: asks first, forces after `grace`. Returns once they are gone;
    /// the run then ends in the ordinary way, with `Done`. No effect on what is over or unknown.
    async fn stop(&self, attempt: AttemptId, what: Stop, grace: Span) -> Result<(), RemoteError>;

    /// Ends what is left of the attempt's processes and removes its directory. Call it once log
    /// and result are durable at home: a later `start` would run the attempt again. Cheapest on the
    /// session that delivered `Done`, where the shell that ran the attempt still listens.
    async fn discard(&self, attempt: AttemptId) -> Result<(), RemoteError>;

    /// Extends the machine's lease: it powers itself off when nobody does so in time. The lease
    /// is a length of time, counted by the machine from when it hears it; clocks are not compared.
    async fn extend_lease(&self, lease: Span) -> Result<(), RemoteError>;

    /// Replaces the host key of the session's own server and the key that lets us in, so that keys
    /// which travelled in the launch request are worth nothing any more. Everything else that is
    /// authorized stays so. Needs root, or `sudo` without a password.
    ///
    /// The session goes on, and so does what runs over it: a server asks for keys at logins only.
    /// Returns once the server presents its new key. After a lost answer or a failure either pair
    /// of keys may be in force; repeating it is harmless.
    async fn rekey(&self, new: &MachineKeys) -> Result<Rekey, RemoteError>;

    /// Waits until the machine's metadata service says that the machine is taken back; asks it
    /// every `interval`, on the machine, for as long as this is waited for. A service that does not
    /// answer is asked again.
    ///
    /// # Errors
    /// [`RemoteError::NotSupported`] on a machine without any program that speaks HTTP;
    /// [`RemoteError::Disconnected`] when the session ends.
    async fn await_notice(&self, metadata_url: &str, interval: Span)
    -> Result<Notice, RemoteError>;

    /// Whether the connection still stands.
    fn is_open(&self) -> bool;

    /// Closes the connection; runs that are followed end with `Disconnected`.
    async fn close(&self);
}
