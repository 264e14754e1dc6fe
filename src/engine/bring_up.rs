//! From the recorded intent to a machine that takes builds: launch, connect, check, ready.

use std::sync::Arc;

use backoff::backoff::Backoff;
use bytes::Bytes;

use crate::books::{is_coming, launched, ready};
use crate::model::{
    Change, Endpoint, EventKind, Full, Image, InstanceId, Machine, MachineId, MachineKeys,
    MachineState, Market, Secret, Span, Subject, Timestamp, Usage,
};
use crate::provider::{ErrorKind, Instance, InstanceState, LaunchRequest, ProviderError};
use crate::remote::{Rekey, RemoteError, Session};

use super::engine::{Engine, Fault};
use super::retry;
use super::sessions::NoSession;

/// How often a fresh machine is tried: a boot takes seconds, and its last moment is waited for by a
/// person.
const CONNECT_PAUSE: Span = Span::from_millis(50);
/// Longest time for one run of the readiness command.
const READY_TIMEOUT: Span = Span::from_secs(20);
/// How often the readiness command is tried.
const READY_PAUSE: Span = Span::from_millis(500);

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
    /// It has no room for a build.
    #[error("it is not fit for builds: {}", .0.sentence())]
    Full(Full),
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
    /// Brings a machine up and runs the build that waits for it, if one does.
    pub(super) async fn bring_up(self: Arc<Self>, id: MachineId) {
        match self.boot(id).await {
            Ok(()) => {
                let claim = self.books().machines.get(&id).and_then(|m| m.state.claim());
                match claim {
                    Some((_, attempt)) => self.drive(attempt).await,
                    None => self.nudge(),
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

    async fn boot(self: &Arc<Self>, id: MachineId) -> Result<(), NotUp> {
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
        let endpoint = loop {
            let (endpoint, session) = self.reach(&mut boot, &endpoints).await?;
            let step = match self.check_ready(&mut boot, &session).await? {
                Step::Done => self.own_keys(&mut boot, &session).await?,
                Step::Disconnected => Step::Disconnected,
            };
            match step {
                Step::Done => break endpoint,
                Step::Disconnected => self.pause(&boot, CONNECT_PAUSE).await?,
            }
        };
        self.now_ready(&boot, endpoint).await?;
        if machine.market == Market::Spot {
            self.spawn(Arc::clone(self).watch_notice(id));
        }
        Ok(())
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

    /// Tries to log in until it works. A wrong host key is final: that is not our machine.
    async fn reach(
        &self,
        boot: &mut Boot,
        endpoints: &[Endpoint],
    ) -> Result<(Endpoint, Arc<dyn Session>), NotUp> {
        loop {
            for endpoint in endpoints {
                let error = match self.connect(boot.id, *endpoint).await {
                    Ok(session) => match session.prepare().await {
                        Ok(usage) => {
                            self.check_room(boot, usage)?;
                            return Ok((*endpoint, session));
                        }
                        Err(error) => NoSession::Remote(error),
                    },
                    Err(error) => error,
                };
                match error {
                    NoSession::Remote(error @ RemoteError::WrongHostKey { .. }) => {
                        return Err(NotUp::Refused(error));
                    }
                    NoSession::Remote(_) | NoSession::Store(_) => boot.last = error.sentence(),
                    NoSession::NotUp => return Err(NotUp::GivenUp),
                }
            }
            self.pause(boot, CONNECT_PAUSE).await?;
        }
    }

    /// A machine that comes up without room would fail its first build. Its memory is looked at after
    /// builds only: what still starts at boot takes some, and gives it back.
    fn check_room(&self, boot: &Boot, usage: Usage) -> Result<(), NotUp> {
        let rest_at = self.books().terms(&boot.image.name).rest_at;
        let usage = Usage {
            memory: None,
            ..usage
        };
        usage
            .too_full(&rest_at)
            .map_or(Ok(()), |full| Err(NotUp::Full(full)))
    }

    /// Replaces keys that a machine shares with others of its launch by its own. They are stored
    /// before they are put there: if the answer is lost, either pair may be in force.
    async fn own_keys(&self, boot: &mut Boot, session: &Arc<dyn Session>) -> Result<Step, NotUp> {
        let shared = self.stored_keys(boot.id).await?;
        if !shared.is_shared {
            return Ok(Step::Done);
        }
        let own = match &shared.next {
            Some(own) => MachineKeys::clone(own),
            None => self.new_keys(boot.id).map_err(Fault::from)?,
        };
        self.put_keys(MachineKeys {
            next: Some(Box::new(own.clone())),
            ..shared.clone()
        })
        .await?;
        let rekeyed = session
            .rekey(&own.host_private, &own.host_public, &own.client_public)
            .await;
        let note = match rekeyed {
            Ok(Rekey::Done) => {
                self.put_keys(own).await?;
                // The next one is opened with the new keys, by whoever needs it.
                self.close_session(boot.id).await;
                return Ok(Step::Done);
            }
            Ok(answer @ (Rekey::NotAllowed | Rekey::NotSupported)) => {
                self.put_keys(MachineKeys {
                    next: None,
                    ..shared
                })
                .await?;
                match answer {
                    Rekey::NotAllowed => "its login may not become root".to_owned(),
                    Rekey::NotSupported | Rekey::Done => {
                        "its SSH server is not an OpenSSH that we know".to_owned()
                    }
                }
            }
            Err(error) if !session.is_open() => {
                boot.last = error.to_string();
                return Ok(Step::Disconnected);
            }
            Err(error) => error.to_string(),
        };
        let message = format!("keeps the keys of its launch: {note}");
        self.write_soon(|draft| {
            draft.event(Subject::Machine(boot.id), EventKind::MachineNote, message);
            Ok(())
        })?;
        Ok(Step::Done)
    }

    async fn put_keys(&self, keys: MachineKeys) -> Result<(), NotUp> {
        self.write_durably(|draft| {
            // One that is gone has no keys any more.
            if draft.books.machines.contains_key(&keys.machine) {
                draft.record(Change::PutMachineKeys(keys));
            }
            Ok(())
        })
        .await?;
        Ok(())
    }

    async fn stored_keys(&self, id: MachineId) -> Result<MachineKeys, NotUp> {
        let keys = self.parts.store.machine_keys(id).await;
        let keys = keys.map_err(|error| {
            self.fault(Fault::Store(error));
            NotUp::GivenUp
        })?;
        keys.ok_or(NotUp::GivenUp)
    }

    /// Starts the lease and runs the image's readiness command until it exits 0.
    async fn check_ready(
        &self,
        boot: &mut Boot,
        session: &Arc<dyn Session>,
    ) -> Result<Step, NotUp> {
        loop {
            match session.extend_lease(self.parts.settings.lease).await {
                Ok(()) => break,
                Err(error) => boot.last = error.to_string(),
            }
            if !session.is_open() {
                return Ok(Step::Disconnected);
            }
            self.pause(boot, READY_PAUSE).await?;
        }
        let Some(command) = boot.image.spec.ready.clone() else {
            return Ok(Step::Done);
        };
        loop {
            match session.command(&command, Bytes::new(), READY_TIMEOUT).await {
                Ok(output) if output.status == Some(0) => return Ok(Step::Done),
                Ok(output) => {
                    let said = String::from_utf8_lossy(&output.stderr);
                    let said = said.lines().last().unwrap_or_default();
                    let status = output
                        .status
                        .map_or("a signal".to_owned(), |s| s.to_string());
                    boot.last = format!("the readiness command ended with {status}: {said}");
                }
                Err(error) => boot.last = error.to_string(),
            }
            if !session.is_open() {
                return Ok(Step::Disconnected);
            }
            self.pause(boot, READY_PAUSE).await?;
        }
    }

    async fn now_ready(&self, boot: &Boot, endpoint: Endpoint) -> Result<(), NotUp> {
        let keys = self.stored_keys(boot.id).await?;
        self.write_soon(|draft| {
            ready(draft, boot.id, endpoint)?;
            let machine = draft.books.machines.get(&boot.id);
            let is_up = machine.is_some_and(|machine| machine.state.endpoint().is_some());
            // The host's private key has served: no launch is repeated from here on.
            if is_up {
                draft.record(Change::PutMachineKeys(without_host_private(keys)));
            }
            draft.books.launch_worked(&boot.image.name);
            Ok(())
        })?;
        Ok(())
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

fn without_host_private(keys: MachineKeys) -> MachineKeys {
    MachineKeys {
        host_private: Secret::default(),
        next: keys.next.map(|next| Box::new(without_host_private(*next))),
        ..keys
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

/// How a step over a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is done.
    Done,
    /// The connection was lost: the machine has to be reached anew.
    Disconnected,
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
