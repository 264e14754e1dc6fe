//! One instance: its history, from which its state at any time follows.

use std::net::SocketAddr;

use crate::model::{Endpoint, InstanceId, MachineId, Secret, Span, Timestamp};
use crate::provider::{Instance, InstanceState, LaunchRequest, Origin};

use super::trouble::Boot;

/// What an instance was and when, for those who look back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// The cloud's name for it.
    pub id: InstanceId,
    /// The machine it was launched for.
    pub machine: MachineId,
    /// The image it was launched from, by name.
    pub image: String,
    /// When it began.
    pub from: Timestamp,
    /// When it was gone; none as long as it is there.
    pub to: Option<Timestamp>,
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
    pub(super) machine: MachineId,
    pub(super) image: String,
    pub(super) address: SocketAddr,
    /// In the future for a launch that comes late.
    pub(super) launched_at: Timestamp,
    /// From when on its SSH server answers; none if never.
    pub(super) up_at: Option<Timestamp>,
    pub(super) boot: u32,
    pub(super) lease_until: Timestamp,
    pub(super) end: Option<End>,
    keys: (String, Secret),
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
    pub(super) fn new(
        request: &LaunchRequest,
        (id, address): (InstanceId, SocketAddr),
        boot: Boot,
        launched_at: Timestamp,
    ) -> Self {
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
        let host_public = match boot {
            Boot::WrongHostKey(_) => "ssh-ed25519 AAAAsomebodyelse".to_owned(),
            Boot::After(_) | Boot::Never | Boot::Dies(..) => request.keys.host_public.clone(),
        };
        Self {
            id,
            machine: request.machine,
            image: request.image.name.clone(),
            address,
            launched_at,
            up_at,
            boot: 1,
            lease_until: launched_at + request.lease,
            end,
            keys: (host_public, request.keys.client_private.clone()),
        }
    }

    /// Its end as far as it is known: asked for, or by its lease, whichever comes first.
    pub(super) fn ending(&self) -> End {
        let by_lease = End::without_trace(self.lease_until);
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
        Instance {
            id: self.id.clone(),
            origin: Origin::Machine(self.machine),
            state: self.state(now),
            endpoints: vec![Endpoint {
                address: self.address,
            }],
            launched_at: self.launched_at,
            pool: None,
            why: None,
            is_reclaimed: false,
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
            machine: self.machine,
            image: self.image.clone(),
            from: self.launched_at,
            to: (now >= gone_at).then_some(gone_at),
        })
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
