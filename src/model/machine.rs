//! Our record of a VM.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::catalogue::{Billing, Shape};
use super::claims::Claims;
use super::id::{AttemptId, BuildId, LaunchId, MachineId};
use super::money::{Money, Rate};
use super::offering::{Market, Pool};
use super::policy::{Reuse, SleepKind};
use super::record::{Full, Left, Record};
use super::secret::Secret;
use super::time::{Span, Timestamp};
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
    /// Where it was bought; empty when its provider has only one place.
    #[serde(default)]
    pub zone: String,
    /// How it was bought.
    #[serde(default)]
    pub market: Market,
    /// What it costs while it is asleep.
    #[serde(default)]
    pub asleep_usd_micro_per_hour: Rate,
    /// The recorded launch that it is part of; none when its provider takes each machine by itself.
    #[serde(default)]
    pub launch: Option<LaunchId>,
    /// The project whose build it ran last, or was launched for; none for one that was launched to be
    /// at hand and has run nothing yet.
    #[serde(default)]
    pub project: Option<String>,
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
    /// What it costs now, where that is not its price since its launch was decided.
    #[serde(default)]
    pub tariff: Option<Tariff>,
    /// The most it may become, until its provider says what it is.
    #[serde(default)]
    pub at_most: Option<AtMost>,
    /// In which pieces its time is billed.
    #[serde(default)]
    pub billing: Billing,
    /// How it became ready last.
    #[serde(default)]
    pub boot: Option<Boot>,
    /// Kept for a person.
    pub hold: Option<Hold>,
    /// How it has done.
    #[serde(default)]
    pub record: Record,
    /// Write counter for compare-and-set.
    pub rev: u64,
}

/// How a machine became ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// When it was.
    pub at: Timestamp,
    /// How long that took, from the decision to launch or wake it.
    pub took: Span,
    /// Whether it was woken.
    pub was_asleep: bool,
}

/// A price that began after the machine's life did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tariff {
    /// What it costs.
    pub rate: Rate,
    /// Since when.
    pub from: Timestamp,
    /// What it had cost until then.
    pub before: Money,
}

/// What a machine may become at most whose launch names several offerings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtMost {
    /// Virtual processors.
    pub vcpus: u32,
    /// What it costs.
    pub rate: Rate,
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
        /// The builds and attempts that it is for.
        #[serde(default, alias = "claim")]
        claims: Claims,
    },
    /// The provider accepted the launch; not yet ready for builds.
    Booting {
        /// The provider's name for it.
        instance: InstanceId,
        /// The builds and attempts that wait for it.
        #[serde(default, alias = "claim")]
        claims: Claims,
    },
    /// Ready, with nothing to do.
    Idle {
        /// The provider's name for it.
        instance: InstanceId,
        /// Where its SSH server listens.
        endpoint: Endpoint,
    },
    /// Builds are bound to it or run on it.
    Busy {
        /// The provider's name for it.
        instance: InstanceId,
        /// Where its SSH server listens.
        endpoint: Endpoint,
        /// The builds and attempts; at least one.
        #[serde(alias = "claim")]
        claims: Claims,
        /// Why it takes no more builds and ends with the last of those it has; none while it is well.
        #[serde(default)]
        ends: Option<Reason>,
    },
    /// It is to be stopped, with its disk kept.
    FallingAsleep {
        /// The provider's name for it.
        instance: InstanceId,
        /// How.
        how: SleepKind,
    },
    /// Stopped, ready to be woken.
    Asleep {
        /// The provider's name for it.
        instance: InstanceId,
    },
    /// It is to be started again, for a build.
    Waking {
        /// The provider's name for it.
        instance: InstanceId,
        /// The builds and attempts that wait for it.
        #[serde(default, alias = "claim")]
        claims: Claims,
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
    /// There was no capacity for it, for this reason.
    NoCapacity(String),
    /// The provider takes its capacity back.
    Interrupted(String),
    /// It was asleep for longer than the policy allows.
    AsleepTimeout,
    /// Something of a build is left on it.
    Unclean(Left),
    /// It has no room for a further build.
    Full(Full),
    /// It was at hand for longer than the policy allows, and ran nothing.
    Unused,
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
            Self::NoCapacity(why) => format!("no capacity: {why}"),
            Self::Interrupted(why) => format!("interrupted: {why}"),
            Self::AsleepTimeout => "asleep for longer than the policy allows".to_owned(),
            Self::Unclean(left) => left.sentence(),
            Self::Full(full) => full.sentence(),
            Self::Unused => {
                "was at hand for longer than the policy allows, and ran nothing".to_owned()
            }
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

/// A host that connections to a machine go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jump {
    /// The account there.
    pub user: String,
    /// Its name or address.
    pub host: String,
    /// The port of its SSH server.
    pub port: u16,
    /// What we log in with, OpenSSH format.
    pub client_private: Secret,
    /// What it must present, OpenSSH format.
    pub host_public: String,
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
    /// They were made for all machines of one launch, and give way to the machine's own right after
    /// it became ready.
    #[serde(default)]
    pub is_shared: bool,
    /// The machine's own, while they are being put in the place of these: whichever are in force is
    /// known only once the machine has said so.
    #[serde(default)]
    pub next: Option<Box<MachineKeys>>,
}

impl MachineState {
    /// The word for it, as in every output.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Intended { .. } => "intended",
            Self::Booting { .. } => "booting",
            Self::Idle { .. } => "idle",
            Self::Busy { .. } => "busy",
            Self::FallingAsleep { .. } => "falling_asleep",
            Self::Asleep { .. } => "asleep",
            Self::Waking { .. } => "waking",
            Self::Draining { .. } => "draining",
            Self::Gone { .. } => "gone",
        }
    }

    /// The builds and attempts bound to it, in the order in which they were bound.
    pub fn claims(&self) -> &[(BuildId, AttemptId)] {
        match self {
            Self::Intended { claims }
            | Self::Booting { claims, .. }
            | Self::Waking { claims, .. }
            | Self::Busy { claims, .. } => claims.as_slice(),
            Self::Idle { .. }
            | Self::FallingAsleep { .. }
            | Self::Asleep { .. }
            | Self::Draining { .. }
            | Self::Gone { .. } => &[],
        }
    }

    /// Where its SSH server listens, once it is ready.
    pub const fn endpoint(&self) -> Option<Endpoint> {
        match self {
            Self::Idle { endpoint, .. } | Self::Busy { endpoint, .. } => Some(*endpoint),
            Self::Intended { .. }
            | Self::Booting { .. }
            | Self::FallingAsleep { .. }
            | Self::Asleep { .. }
            | Self::Waking { .. }
            | Self::Draining { .. }
            | Self::Gone { .. } => None,
        }
    }

    /// The provider's name for it, if a launch was answered.
    pub const fn instance(&self) -> Option<&InstanceId> {
        match self {
            Self::Booting { instance, .. }
            | Self::Idle { instance, .. }
            | Self::Busy { instance, .. }
            | Self::FallingAsleep { instance, .. }
            | Self::Asleep { instance }
            | Self::Waking { instance, .. } => Some(instance),
            Self::Draining { instance, .. } => instance.as_ref(),
            Self::Intended { .. } | Self::Gone { .. } => None,
        }
    }
}

impl Machine {
    /// The capacity that it takes, or took.
    pub fn pool(&self) -> Pool {
        Pool {
            shape: self.shape.name.clone(),
            zone: self.zone.clone(),
            market: self.market,
        }
    }

    /// Notes that it was given a build of `project`, which has its claim by now, and what that wants
    /// of who comes before, beside and after it.
    pub fn given_to(&mut self, project: String, reuse: Reuse) {
        let is_another = self.project.as_ref() != Some(&project);
        let is_used = self.builds_done > 0 || self.state.claims().len() > 1;
        self.record.is_mixed |= is_used && is_another;
        self.record.reuse = self.record.reuse.stricter(reuse);
        self.project = Some(project);
    }

    /// Moves the machine to `next` at `now`, counting the write.
    ///
    /// # Errors
    /// [`IllegalTransition`] when it cannot go there from its present state. In particular a machine
    /// with builds never becomes idle under one of them nor drains for a reason that can wait, and
    /// only a draining one is ever gone.
    pub fn enter(&mut self, next: MachineState, now: Timestamp) -> Result<(), IllegalTransition> {
        use MachineState::{
            Asleep, Booting, Busy, Draining, FallingAsleep, Gone, Idle, Intended, Waking,
        };
        let legal = match (&self.state, &next) {
            (Intended { claims: held }, Booting { claims, .. }) => held == claims,
            // A machine on its way up loses a build, or is given another one.
            (Intended { claims: held }, Intended { claims })
            | (Booting { claims: held, .. }, Booting { claims, .. })
            | (Waking { claims: held, .. }, Waking { claims, .. }) => held.differs_one_way(claims),
            // So does one that runs several side by side; it never forgets that it must end.
            (
                Busy {
                    claims: held, ends, ..
                },
                Busy {
                    claims,
                    ends: after,
                    ..
                },
            ) => {
                !claims.is_empty()
                    && held.differs_one_way(claims)
                    && (ends.is_none() || ends == after)
            }
            // A launch bound before boot becomes busy with just those builds.
            (
                Booting { claims: held, .. } | Waking { claims: held, .. },
                Busy { claims, ends, .. },
            ) => !held.is_empty() && held == claims && ends.is_none(),
            (Idle { .. }, Busy { claims, ends, .. }) => !claims.is_empty() && ends.is_none(),
            (Booting { claims, .. } | Waking { claims, .. }, Idle { .. }) => claims.is_empty(),
            // Only the last of its builds leaves it idle, and only if it is well.
            (Busy { claims, ends, .. }, Idle { .. }) => claims.len() == 1 && ends.is_none(),
            (Idle { .. } | FallingAsleep { .. } | Asleep { .. }, Draining { .. })
            | (Idle { .. }, FallingAsleep { .. })
            | (FallingAsleep { .. }, Asleep { .. })
            // The caller ends the attempts of all claims in the same transaction.
            | (Waking { .. }, Asleep { .. })
            | (Asleep { .. }, Waking { .. })
            | (Draining { .. }, Gone { .. }) => true,
            (
                Intended { claims } | Booting { claims, .. } | Waking { claims, .. },
                Draining { reason, .. },
            ) => claims.is_empty() || ends_work(reason),
            (Busy { ends, .. }, Draining { reason, .. }) => {
                ends_work(reason) || ends.as_ref() == Some(reason)
            }
            // The instance of a launch that was given up is learnt later.
            (
                Draining { instance: None, .. },
                Draining { instance, .. },
            ) => instance.is_some(),
            _ => false,
        };
        if !legal {
            return Err(IllegalTransition {
                subject: self.id.to_string(),
                from: self.state.word(),
                to: next.word(),
            });
        }
        if let Busy { claims, .. } = &self.state {
            let left = next.claims();
            let ended = claims.as_slice().iter().filter(|held| !left.contains(held));
            self.builds_done += u32::try_from(ended.count()).unwrap_or(u32::MAX);
        }
        // A build more or less on it is no news of the machine itself.
        if self.state.word() != next.word() {
            self.since = now;
        }
        self.state = next;
        self.rev += 1;
        Ok(())
    }
}

/// Whether a machine may end for this reason although builds need it.
const fn ends_work(reason: &Reason) -> bool {
    match reason {
        Reason::Failed(_)
        | Reason::BootFailed(_)
        | Reason::NoCapacity(_)
        | Reason::Interrupted(_)
        | Reason::Unneeded => true,
        Reason::IdleTimeout
        | Reason::Lifetime
        | Reason::BuildCount
        | Reason::ImageChanged
        | Reason::AsleepTimeout
        | Reason::Unclean(_)
        | Reason::Full(_)
        | Reason::Unused
        | Reason::MakeRoom
        | Reason::Requested(_) => false,
    }
}
