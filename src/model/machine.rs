//! Our record of a VM.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::catalogue::Shape;
use super::id::{AttemptId, BuildId, MachineId};
use super::money::Money;
use super::secret::Secret;
use super::time::Timestamp;
use super::transition::IllegalTransition;

/// The provider's own name for an instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(pub String);

impl std::fmt::Display for InstanceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

/// Our record of a VM, from the intent to launch it to the proof that it is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Its identity; also the launch intent and the provider's idempotency token.
    pub id: MachineId,
    /// The image it was launched from, by name.
    pub image: String,
    /// The version of that image.
    pub image_version: u32,
    /// The provider it comes from.
    pub provider: String,
    /// Its size and price.
    pub shape: Shape,
    /// The build whose wait caused the launch; pays for the boot.
    pub launched_for: Option<BuildId>,
    /// Where it stands.
    pub state: MachineState,
    /// When it got there.
    pub since: Timestamp,
    /// When the launch was decided; the bill starts here.
    pub created_at: Timestamp,
    /// Builds that ended on it.
    pub builds_done: u32,
    /// Up to when its cost is in the ledger.
    pub billed_until: Timestamp,
    /// Its cost up to then.
    pub billed: Money,
    /// Kept for a person.
    pub hold: Option<Hold>,
    /// Write counter for compare-and-set.
    pub rev: u64,
}

/// An operator keeps a machine for debugging.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Who.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// Until when.
    pub until: Timestamp,
}

/// Where a machine stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum MachineState {
    /// The launch is decided and recorded; an instance may exist.
    Intended {
        /// The build and attempt that it is for.
        claim: Option<(BuildId, AttemptId)>,
    },
    /// The provider accepted the launch; not yet ready for builds.
    Booting {
        /// The provider's name for it.
        instance: InstanceId,
        /// The build and attempt that wait for it.
        claim: Option<(BuildId, AttemptId)>,
    },
    /// Ready, with nothing to do. Only here can a build be bound to a booted machine.
    Idle {
        /// The provider's name for it.
        instance: InstanceId,
        /// Where its SSH server listens.
        endpoint: Endpoint,
    },
    /// A build is bound to it or runs on it.
    Busy {
        /// The provider's name for it.
        instance: InstanceId,
        /// Where its SSH server listens.
        endpoint: Endpoint,
        /// The build and attempt.
        claim: (BuildId, AttemptId),
    },
    /// It takes no more builds and must be terminated.
    Draining {
        /// The provider's name for it, if a launch was ever answered.
        instance: Option<InstanceId>,
        /// Why.
        reason: Reason,
    },
    /// Proved gone.
    Gone {
        /// Why it was ended.
        reason: Reason,
    },
}

/// Why a machine is ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It stood idle for longer than the policy allows.
    IdleTimeout,
    /// It reached the policy's lifetime.
    Lifetime,
    /// It reached the policy's number of builds.
    BuildCount,
    /// Its image version is no longer current.
    ImageChanged,
    /// It never became ready, for this reason.
    BootFailed(String),
    /// It was ready once and failed, for this reason.
    Failed(String),
    /// The build for which it was launched no longer needs it.
    Unneeded,
    /// Builds that it cannot run wait for the room it takes under a limit.
    MakeRoom,
    /// Somebody asked for its end.
    Requested(String),
}

impl Reason {
    /// One clause for people: `idle for longer than the policy allows`.
    pub fn sentence(&self) -> String {
        match self {
            Self::IdleTimeout => "idle for longer than the policy allows".to_owned(),
            Self::Lifetime => "at the end of its lifetime".to_owned(),
            Self::BuildCount => "has run as many builds as the policy allows".to_owned(),
            Self::ImageChanged => "its image version is no longer current".to_owned(),
            Self::BootFailed(why) => format!("did not boot: {why}"),
            Self::Failed(why) => format!("failed: {why}"),
            Self::Unneeded => "no build needs it any more".to_owned(),
            Self::MakeRoom => "makes room for builds that it cannot run".to_owned(),
            Self::Requested(who) => format!("ended on request of {who}"),
        }
    }
}

/// Where a machine's SSH server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Address and port.
    pub address: SocketAddr,
}

/// The keys made for one machine before its launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineKeys {
    /// Whose.
    pub machine: MachineId,
    /// The host's private key, OpenSSH format; empty once the machine is ready.
    pub host_private: Secret,
    /// The host's public key, OpenSSH format: what the first connect must present.
    pub host_public: String,
    /// Our private key for logging in, OpenSSH format.
    pub client_private: Secret,
    /// Its public half.
    pub client_public: String,
}

impl MachineState {
    /// The word for it, as in every output.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Intended { .. } => "intended",
            Self::Booting { .. } => "booting",
            Self::Idle { .. } => "idle",
            Self::Busy { .. } => "busy",
            Self::Draining { .. } => "draining",
            Self::Gone { .. } => "gone",
        }
    }

    /// The build and attempt bound to it.
    pub const fn claim(&self) -> Option<(BuildId, AttemptId)> {
        match self {
            Self::Intended { claim } | Self::Booting { claim, .. } => *claim,
            Self::Busy { claim, .. } => Some(*claim),
            Self::Idle { .. } | Self::Draining { .. } | Self::Gone { .. } => None,
        }
    }

    /// Where its SSH server listens, once it is ready.
    pub const fn endpoint(&self) -> Option<Endpoint> {
        match self {
            Self::Idle { endpoint, .. } | Self::Busy { endpoint, .. } => Some(*endpoint),
            Self::Intended { .. }
            | Self::Booting { .. }
            | Self::Draining { .. }
            | Self::Gone { .. } => None,
        }
    }

    /// The provider's name for it, if a launch was answered.
    pub const fn instance(&self) -> Option<&InstanceId> {
        match self {
            Self::Booting { instance, .. }
            | Self::Idle { instance, .. }
            | Self::Busy { instance, .. } => Some(instance),
            Self::Draining { instance, .. } => instance.as_ref(),
            Self::Intended { .. } | Self::Gone { .. } => None,
        }
    }
}

impl Machine {
    /// Moves the machine to `next` at `now`, counting the write.
    ///
    /// # Errors
    /// [`IllegalTransition`] when it cannot go there from its present state. In particular only an
    /// idle machine takes a build, a busy one never drains under its build, and only a draining one
    /// is ever gone.
    pub fn enter(&mut self, next: MachineState, now: Timestamp) -> Result<(), IllegalTransition> {
        use MachineState::{Booting, Busy, Draining, Gone, Idle, Intended};
        let legal = match (&self.state, &next) {
            (Intended { claim: held }, Booting { claim, .. }) => held == claim,
            // A machine on its way up loses its build, or is given another one.
            (Intended { claim: held }, Intended { claim })
            | (Booting { claim: held, .. }, Booting { claim, .. }) => {
                held.is_none() != claim.is_none()
            }
            // A launch bound before boot becomes busy with just that build.
            (Booting { claim: Some(held), .. }, Busy { claim, .. }) => held == claim,
            (Booting { claim: None, .. } | Busy { .. }, Idle { .. })
            | (Idle { .. }, Busy { .. })
            | (Intended { claim: None } | Booting { claim: None, .. }, Draining { .. })
            | (Idle { .. }, Draining { .. })
            // The caller ends the claim's attempt in the same transaction.
            | (
                Intended { claim: Some(_) } | Booting { claim: Some(_), .. } | Busy { .. },
                Draining {
                    reason: Reason::Failed(_) | Reason::BootFailed(_) | Reason::Unneeded,
                    ..
                },
            )
            | (Draining { .. }, Gone { .. }) => true,
            _ => false,
        };
        if !legal {
            return Err(IllegalTransition {
                subject: self.id.to_string(),
                from: self.state.word(),
                to: next.word(),
            });
        }
        if matches!(self.state, Busy { .. }) {
            self.builds_done += 1;
        }
        self.state = next;
        self.since = now;
        self.rev += 1;
        Ok(())
    }
}
