//! One instance: its history, from which its state at any time follows.

use std::net::SocketAddr;

use crate::model::{Endpoint, InstanceId, MachineId, Market, Pool, Secret, Shape, Span, Timestamp};
use crate::provider::{Instance, InstanceState, Origin};

use super::trouble::Boot;

/// What an instance was and when, for those who look back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// The cloud's name for it.
    pub id: InstanceId,
    /// What it was launched for.
    pub origin: Origin,
    /// The image it was launched from, by name.
    pub image: String,
    /// The pool it was taken from last, if it came from one.
    pub pool: Option<Pool>,
    /// When it began.
    pub from: Timestamp,
    /// When it was gone; none as long as it is there.
    pub to: Option<Timestamp>,
    /// Stretches in which it was stopped, the last one open if it still is.
    pub asleep: Vec<(Timestamp, Option<Timestamp>)>,
}

/// Names an instance: by its own name, or by the machine that it was launched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The instance itself.
    Instance(InstanceId),
    /// The only one that was launched for this machine.
    Machine(MachineId),
}

impl From<InstanceId> for Which {
    fn from(id: InstanceId) -> Self {
        Self::Instance(id)
    }
}

impl From<MachineId> for Which {
    fn from(id: MachineId) -> Self {
        Self::Machine(id)
    }
}

/// What answers at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The instance.
    pub instance: InstanceId,
    /// The host key that it presents.
    pub host_public: String,
    /// The private key that it lets in. The simulation does no cryptography: who holds the key of
    /// the launch is let in.
    pub client_private: Secret,
    /// Counts its boots: another number is another boot id.
    pub boot: u32,
    /// Since when it answers.
    pub up_since: Timestamp,
}

/// An instance's history.
#[derive(Debug, Clone)]
pub(super) struct Vm {
    pub(super) id: InstanceId,
    pub(super) origin: Origin,
    pub(super) image: String,
    /// The pool whose capacity it takes as long as it runs.
    pub(super) pool: Option<Pool>,
    pub(super) address: SocketAddr,
    /// In the future for a launch that comes late.
    pub(super) launched_at: Timestamp,
    /// From when on its SSH server answers; none if never.
    pub(super) up_at: Option<Timestamp>,
    pub(super) boot: u32,
    pub(super) lease_until: Timestamp,
    pub(super) end: Option<End>,
    /// It is stopped, or on its way there.
    pub(super) rest: Option<Rest>,
    /// Its provider takes it back, which is the end that `end` says.
    pub(super) is_reclaimed: bool,
    lease: Span,
    naps: Vec<(Timestamp, Timestamp)>,
    keys: (String, Secret),
}

/// What an instance is made from.
#[derive(Debug)]
pub(super) struct Birth {
    pub(super) id: InstanceId,
    pub(super) address: SocketAddr,
    pub(super) origin: Origin,
    pub(super) image: String,
    pub(super) pool: Option<Pool>,
    pub(super) lease: Span,
    /// The host's public key, and the private key that it lets in.
    pub(super) keys: (String, Secret),
}

/// A stop that keeps the disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest {
    /// From when on it is stopping.
    pub(super) asked_at: Timestamp,
    /// From when on it is stopped.
    pub(super) asleep_at: Timestamp,
}

/// How an instance ended, or is about to.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// From when on it is stopping.
    pub(super) asked_at: Timestamp,
    /// From when on it is gone.
    pub(super) gone_at: Timestamp,
    /// Until when listings show it as terminated.
    pub(super) shown_until: Timestamp,
}

impl Vm {
    pub(super) fn new(birth: Birth, boot: Boot, launched_at: Timestamp) -> Self {
        let up_at = match boot {
            Boot::After(span) | Boot::WrongHostKey(span) | Boot::Dies(span, _) => {
                Some(launched_at + span)
            }
            Boot::Never => None,
        };
        let end = match boot {
            Boot::Dies(_, span) => Some(End::without_trace(launched_at + span)),
            Boot::After(_) | Boot::Never | Boot::WrongHostKey(_) => None,
        };
        let (host_public, client_private) = birth.keys;
        let host_public = match boot {
            Boot::WrongHostKey(_) => "ssh-ed25519 AAAAsomebodyelse".to_owned(),
            Boot::After(_) | Boot::Never | Boot::Dies(..) => host_public,
        };
        Self {
            id: birth.id,
            origin: birth.origin,
            image: birth.image,
            pool: birth.pool,
            address: birth.address,
            launched_at,
            up_at,
            boot: 1,
            lease_until: launched_at + birth.lease,
            end,
            rest: None,
            is_reclaimed: false,
            lease: birth.lease,
            naps: Vec::new(),
            keys: (host_public, client_private),
        }
    }

    /// Whether this is the one that is meant.
    pub(super) fn is(&self, which: &Which) -> bool {
        match which {
            Which::Instance(id) => self.id == *id,
            Which::Machine(id) => self.origin == Origin::Machine(*id),
        }
    }

    /// Begins at `at` if it would only begin later.
    pub(super) fn not_later_than(&mut self, at: Timestamp) {
        let early = self.launched_at.since(at);
        self.launched_at = self.launched_at - early;
        self.up_at = self.up_at.map(|up| up - early);
        self.lease_until = self.lease_until - early;
    }

    /// Begins a stop that takes `span`.
    pub(super) fn fall_asleep(&mut self, now: Timestamp, span: Span) {
        self.rest = Some(Rest {
            asked_at: now,
            asleep_at: now + span,
        });
    }

    /// Begins a start as `shape`, at another address than before.
    pub(super) fn wake(&mut self, shape: &Shape, address: SocketAddr, now: Timestamp, boot: Boot) {
        if let Some(rest) = self.rest.take() {
            self.naps.push((rest.asked_at, now));
        }
        if let Some(pool) = &mut self.pool {
            pool.shape.clone_from(&shape.name);
            pool.market = Market::OnDemand;
        }
        self.address = address;
        self.boot += 1;
        self.up_at = match boot {
            Boot::After(span) | Boot::WrongHostKey(span) => Some(now + span),
            Boot::Dies(up, down) => {
                self.end = Some(End::without_trace(now + down));
                Some(now + up)
            }
            Boot::Never => None,
        };
        self.lease_until = now + self.lease;
    }

    /// Whether it takes capacity of its pool.
    pub(super) fn takes_capacity(&self, now: Timestamp) -> bool {
        match self.state(now) {
            InstanceState::Pending
            | InstanceState::Running
            | InstanceState::FallingAsleep
            | InstanceState::Stopping => true,
            InstanceState::Asleep | InstanceState::Terminated => false,
        }
    }

    /// Its end as far as it is known: asked for, or by its lease, whichever comes first.
    pub(super) fn ending(&self) -> End {
        // Nobody counts a lease on a machine that is off.
        let never = Timestamp::from_micros(i64::MAX);
        let lease_until = self.rest.map_or(self.lease_until, |_| never);
        let by_lease = End::without_trace(lease_until);
        match self.end {
            Some(end) if end.gone_at <= by_lease.gone_at => end,
            Some(_) | None => by_lease,
        }
    }

    /// What it is doing at `now`.
    pub(super) fn state(&self, now: Timestamp) -> InstanceState {
        let end = self.ending();
        if now >= end.gone_at {
            InstanceState::Terminated
        } else if now >= end.asked_at {
            InstanceState::Stopping
        } else if let Some(rest) = self.rest {
            if now >= rest.asleep_at {
                InstanceState::Asleep
            } else {
                InstanceState::FallingAsleep
            }
        } else if self.up_at.is_none_or(|up| now < up) {
            InstanceState::Pending
        } else {
            InstanceState::Running
        }
    }

    /// As a listing at `now` shows it; none when it does not.
    pub(super) fn shown(&self, now: Timestamp, lag: Span) -> Option<Instance> {
        let is_fresh = now < self.launched_at + lag;
        if now < self.launched_at || is_fresh || now >= self.ending().shown_until {
            return None;
        }
        Some(self.as_instance(now))
    }

    pub(super) fn as_instance(&self, now: Timestamp) -> Instance {
        let state = self.state(now);
        let address = self.address;
        let endpoints = match state {
            InstanceState::Pending | InstanceState::Running => vec![Endpoint { address }],
            InstanceState::FallingAsleep
            | InstanceState::Asleep
            | InstanceState::Stopping
            | InstanceState::Terminated => Vec::new(),
        };
        let why = self
            .is_reclaimed
            .then(|| "its spot capacity was taken back".to_owned());
        Instance {
            id: self.id.clone(),
            origin: self.origin,
            state,
            endpoints,
            launched_at: self.launched_at,
            pool: self.pool.clone(),
            why,
            is_reclaimed: self.is_reclaimed,
        }
    }

    /// What answers at its address at `now`.
    pub(super) fn host(&self, now: Timestamp) -> Option<Host> {
        let up_since = self.up_at.filter(|up| *up <= now)?;
        (self.state(now) == InstanceState::Running).then(|| Host {
            instance: self.id.clone(),
            host_public: self.keys.0.clone(),
            client_private: self.keys.1.clone(),
            boot: self.boot,
            up_since,
        })
    }

    pub(super) fn life(&self, now: Timestamp) -> Option<Life> {
        let gone_at = self.ending().gone_at;
        (now >= self.launched_at).then(|| Life {
            id: self.id.clone(),
            origin: self.origin,
            image: self.image.clone(),
            pool: self.pool.clone(),
            from: self.launched_at,
            to: (now >= gone_at).then_some(gone_at),
            asleep: self.asleep(),
        })
    }

    fn asleep(&self) -> Vec<(Timestamp, Option<Timestamp>)> {
        let past = self.naps.iter().map(|(from, to)| (*from, Some(*to)));
        let now = self.rest.map(|rest| (rest.asked_at, None));
        past.chain(now).collect()
    }
}

impl End {
    /// Gone from one moment to the next, and from listings too.
    pub(super) const fn without_trace(at: Timestamp) -> Self {
        Self {
            asked_at: at,
            gone_at: at,
            shown_until: at,
        }
    }
}
