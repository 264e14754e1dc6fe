//! From the recorded intent to a machine that takes builds: launch, connect, check, ready.
//!
//! `ready` has what happens between the first answer of its SSH server and its first build, where
//! every round trip is waited for; `keys` gives it keys of its own, beside its first build.

mod keys;
mod ready;

use std::sync::Arc;

use backoff::backoff::Backoff;

use crate::books::{is_coming, launched};
use crate::model::{
    AttemptId, Endpoint, Image, InstanceId, Machine, MachineId, MachineState, Market, Span,
    Timestamp,
};
use crate::provider::{ErrorKind, Instance, InstanceState, LaunchRequest, ProviderError};
use crate::remote::RemoteError;

use super::engine::{Engine, Fault};
use super::retry;

pub(super) use keys::KEY_CHANGES;

/// How often a fresh machine is tried: a boot takes seconds, and its last moment is waited for by a
/// person.
const CONNECT_PAUSE: Span = Span::from_millis(50);

/// Why a machine did not come up.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotUp {
    /// The provider would not launch it.
    #[error("launch failed: {0}")]
    Launch(ProviderError),
    /// It did not get ready in time.
    #[error("not ready after {after}: {last}")]
    TimedOut { after: Span, last: String },
    /// Its provider could not start it again.
    #[error("not woken: {0}")]
    NotWoken(ProviderError),
    /// Its instance ended before it was ready.
    #[error("its instance ended: {}", .0.why.as_deref().unwrap_or("without a reason"))]
    Ended(Box<Instance>),
    /// Its instance is no longer there.
    #[error("its instance is gone")]
    Gone,
    /// It is not our machine.
    #[error("{0}")]
    Refused(RemoteError),
    /// The engine has to begin anew, or the machine is to be ended already.
    #[error("given up")]
    GivenUp,
}

impl From<Fault> for NotUp {
    fn from(_: Fault) -> Self {
        Self::GivenUp
    }
}

impl Engine {
    /// Brings a machine up and runs the builds that wait for it.
    pub(super) async fn bring_up(self: Arc<Self>, id: MachineId) {
        match self.boot(id).await {
            Ok(attempts) => {
                if attempts.is_empty() {
                    self.nudge();
                }
                for attempt in attempts {
                    self.spawn(Arc::clone(&self).drive(attempt));
                }
            }
            Err(NotUp::GivenUp) => {}
            Err(NotUp::NotWoken(error)) => self.not_woken(id, &error).await,
            // No fault of its image.
            Err(NotUp::Ended(instance)) if instance.is_reclaimed => {
                self.reclaimed(id, &instance).await;
            }
            Err(error) => self.boot_failed(id, &error).await,
        }
    }

    /// The attempts that begin when it is up: those bound to it at that moment, for whoever is bound
    /// to it later is driven from there.
    async fn boot(self: &Arc<Self>, id: MachineId) -> Result<Vec<AttemptId>, NotUp> {
        let (machine, image) = self.coming(id)?;
        let begun = self.begun(&machine);
        let mut boot = Boot {
            id,
            deadline: begun + image.spec.boot_timeout,
            image,
            last: "the launch was not answered".to_owned(),
        };
        let (instance, known) = self.instance(&mut boot, &machine).await?;
        let endpoints = self.endpoints(&mut boot, &instance, known).await?;
        let attempts = self.become_ready(&mut boot, &endpoints).await?;
        if machine.market == Market::Spot {
            self.spawn(Arc::clone(self).watch_notice(id));
        }
        Ok(attempts)
    }

    /// From when on the time of a boot counts: what a recorded launch took to be answered is no fault
    /// of the machine.
    fn begun(&self, machine: &Machine) -> Timestamp {
        let has_fleet = self.books().capacity.skills(&machine.provider).fleet;
        match machine.state {
            MachineState::Waking { .. } => machine.since,
            MachineState::Booting { .. } if has_fleet => machine.since,
            MachineState::Intended { .. }
            | MachineState::Booting { .. }
            | MachineState::Idle { .. }
            | MachineState::Busy { .. }
            | MachineState::FallingAsleep { .. }
            | MachineState::Asleep { .. }
            | MachineState::Draining { .. }
            | MachineState::Gone { .. } => machine.created_at,
        }
    }

    /// The instance that comes up, and where it listens if that is known already.
    async fn instance(
        &self,
        boot: &mut Boot,
        machine: &Machine,
    ) -> Result<(InstanceId, Vec<Endpoint>), NotUp> {
        let has_fleet = self.books().capacity.skills(&machine.provider).fleet;
        match &machine.state {
            MachineState::Waking { instance, .. } => {
                self.wake(boot).await?;
                Ok((instance.clone(), Vec::new()))
            }
            MachineState::Booting { instance, .. } if has_fleet => {
                Ok((instance.clone(), Vec::new()))
            }
            MachineState::Intended { .. } | MachineState::Booting { .. } => {
                let instance = self.launch(boot, machine).await?;
                Ok((instance.id, instance.endpoints))
            }
            MachineState::Idle { .. }
            | MachineState::Busy { .. }
            | MachineState::FallingAsleep { .. }
            | MachineState::Asleep { .. }
            | MachineState::Draining { .. }
            | MachineState::Gone { .. } => Err(NotUp::GivenUp),
        }
    }

    /// Asks for the start of a machine until that is accepted.
    async fn wake(&self, boot: &mut Boot) -> Result<(), NotUp> {
        let mut pauses = retry::backoff();
        loop {
            let Err(error) = self.wake_once(boot.id).await else {
                return Ok(());
            };
            match error.kind {
                ErrorKind::Unknown | ErrorKind::Throttled => {
                    boot.last = error.to_string();
                    let pause = pauses.next_backoff().map_or(CONNECT_PAUSE, Span::from);
                    self.pause(boot, pause).await?;
                }
                ErrorKind::PoolEmpty
                | ErrorKind::Quota
                | ErrorKind::Address
                | ErrorKind::Config
                | ErrorKind::Auth => return Err(NotUp::NotWoken(error)),
            }
        }
    }

    fn coming(&self, id: MachineId) -> Result<(Machine, Arc<Image>), NotUp> {
        let books = self.books();
        let machine = books.machines.get(&id).ok_or(NotUp::GivenUp)?;
        let key = (machine.image.clone(), machine.image_version);
        let image = books.images.get(&key).ok_or(NotUp::GivenUp)?;
        Ok((machine.clone(), Arc::clone(image)))
    }

    /// Asks the provider until it answers; the same request as often as need be, never another.
    async fn launch(&self, boot: &mut Boot, machine: &Machine) -> Result<Instance, NotUp> {
        let request = LaunchRequest {
            machine: boot.id,
            image: Image::clone(&boot.image),
            shape: machine.shape.clone(),
            keys: self.stored_keys(boot.id).await?,
            lease: self.parts.settings.lease,
        };
        let Some(provider) = self.provider(&machine.provider) else {
            return Err(NotUp::Launch(no_provider(&machine.provider)));
        };
        let mut pauses = retry::backoff();
        loop {
            let error = match provider.launch(&request).await {
                Ok(instance) => {
                    self.launched(boot.id, &instance.id)?;
                    return Ok(instance);
                }
                Err(error) => error,
            };
            match error.kind {
                ErrorKind::Unknown | ErrorKind::Throttled => {
                    boot.last = error.to_string();
                    self.pause(
                        boot,
                        pauses.next_backoff().map_or(CONNECT_PAUSE, Span::from),
                    )
                    .await?;
                }
                ErrorKind::PoolEmpty
                | ErrorKind::Quota
                | ErrorKind::Address
                | ErrorKind::Config
                | ErrorKind::Auth => return Err(NotUp::Launch(error)),
            }
        }
    }

    fn launched(&self, id: MachineId, instance: &InstanceId) -> Result<(), NotUp> {
        self.write_soon(|draft| launched(draft, id, instance))?;
        Ok(())
    }

    /// Waits until the provider knows where the machine listens.
    async fn endpoints(
        &self,
        boot: &mut Boot,
        id: &InstanceId,
        mut known: Vec<Endpoint>,
    ) -> Result<Vec<Endpoint>, NotUp> {
        loop {
            if !known.is_empty() {
                return Ok(known);
            }
            let Some(provider) = self.provider(&boot.image.spec.provider).cloned() else {
                return Err(NotUp::Launch(no_provider(&boot.image.spec.provider)));
            };
            match provider.list().await {
                Ok(listing) => {
                    "it has no address yet".clone_into(&mut boot.last);
                    let mut found = listing.instances.into_iter().filter(|i| i.id == *id);
                    known = found
                        .next()
                        .map(still_there)
                        .transpose()?
                        .unwrap_or_default();
                }
                Err(error) => boot.last = error.to_string(),
            }
            if known.is_empty() {
                self.pause(boot, CONNECT_PAUSE).await?;
            }
        }
    }

    /// Waits for the next try, unless the boot's time is up or the machine is no longer wanted.
    async fn pause(&self, boot: &Boot, pause: Span) -> Result<(), NotUp> {
        let is_wanted = {
            let books = self.books();
            let machine = books.machines.get(&boot.id);
            machine.is_some_and(|machine| is_coming(&machine.state))
        };
        if !is_wanted {
            return Err(NotUp::GivenUp);
        }
        if self.parts.clock.now() >= boot.deadline {
            let (after, last) = (boot.image.spec.boot_timeout, boot.last.clone());
            return Err(NotUp::TimedOut { after, last });
        }
        self.parts.clock.sleep(pause).await;
        Ok(())
    }
}

/// Where an instance listens, unless it has ended.
fn still_there(instance: Instance) -> Result<Vec<Endpoint>, NotUp> {
    match instance.state {
        InstanceState::Stopping | InstanceState::Terminated => {
            Err(NotUp::Ended(Box::new(instance)))
        }
        InstanceState::Pending
        | InstanceState::Running
        | InstanceState::FallingAsleep
        | InstanceState::Asleep => Ok(instance.endpoints),
    }
}

/// A boot under way.
struct Boot {
    id: MachineId,
    image: Arc<Image>,
    deadline: Timestamp,
    /// What the last try said, for the message when time is up.
    last: String,
}

fn no_provider(name: &str) -> ProviderError {
    ProviderError {
        operation: "find the provider",
        kind: ErrorKind::Config,
        message: format!("no provider {name:?} is configured"),
        pools: Vec::new(),
    }
}
