//! From the recorded intent to a machine that takes builds: launch, connect, check, ready.

use std::sync::Arc;

use backoff::backoff::Backoff;
use bytes::Bytes;

use crate::model::{
    Category, Change, Endpoint, EventKind, Image, InstanceId, Machine, MachineId, MachineKeys,
    MachineState, Outcome, Reason, Secret, Span, Subject, Timestamp,
};
use crate::provider::{ErrorKind, Instance, LaunchRequest, ProviderError};
use crate::remote::{RemoteError, Session};

use super::draft::Draft;
use super::engine::{Engine, Fault};
use super::outcome::{MachineAfter, end_attempt};
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
enum NotUp {
    /// The provider would not launch it.
    #[error("launch failed: {0}")]
    Launch(ProviderError),
    /// It did not get ready in time.
    #[error("not ready after {after}: {last}")]
    TimedOut { after: Span, last: String },
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
            Err(error) => self.boot_failed(id, &error).await,
        }
    }

    async fn boot(self: &Arc<Self>, id: MachineId) -> Result<(), NotUp> {
        let (machine, image) = self.coming(id)?;
        let deadline = machine.created_at + image.spec.boot_timeout;
        let mut boot = Boot {
            id,
            image,
            deadline,
            last: "the launch was not answered".to_owned(),
            keys: None,
        };
        let instance = self.launch(&mut boot, &machine).await?;
        let endpoint = self.endpoint(&mut boot, instance).await?;
        let session = self.reach(&mut boot, endpoint).await?;
        self.check_ready(&mut boot, &session).await?;
        self.now_ready(&boot, endpoint)
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
        let keys = self.parts.store.machine_keys(boot.id).await;
        let keys = keys.map_err(|error| {
            self.fault(Fault::Store(error));
            NotUp::GivenUp
        })?;
        let request = LaunchRequest {
            machine: boot.id,
            image: Image::clone(&boot.image),
            shape: machine.shape.clone(),
            keys: keys.ok_or(NotUp::GivenUp)?,
            lease: self.parts.settings.lease,
        };
        boot.keys = Some(request.keys.clone());
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
                ErrorKind::PoolEmpty | ErrorKind::Quota | ErrorKind::Config | ErrorKind::Auth => {
                    return Err(NotUp::Launch(error));
                }
            }
        }
    }

    fn launched(&self, id: MachineId, instance: &InstanceId) -> Result<(), NotUp> {
        self.write_soon(|draft| {
            let state = draft.books.machines.get(&id).map(|machine| &machine.state);
            let Some(MachineState::Intended { claim }) = state else {
                return Ok(());
            };
            let next = MachineState::Booting {
                instance: instance.clone(),
                claim: *claim,
            };
            draft.enter_machine(id, next, None)?;
            let message = format!("the provider accepted the launch as {instance}");
            draft.event(Subject::Machine(id), EventKind::MachineLaunched, message);
            Ok(())
        })?;
        Ok(())
    }

    /// Waits until the provider knows where the machine listens.
    async fn endpoint(&self, boot: &mut Boot, instance: Instance) -> Result<Endpoint, NotUp> {
        let mut known = instance.endpoint;
        loop {
            if let Some(endpoint) = known {
                return Ok(endpoint);
            }
            "it has no address yet".clone_into(&mut boot.last);
            self.pause(boot, CONNECT_PAUSE).await?;
            let Some(provider) = self.provider(&boot.image.spec.provider) else {
                continue;
            };
            match provider.list().await {
                Ok(listing) => {
                    let mut found = listing
                        .instances
                        .into_iter()
                        .filter(|i| i.id == instance.id);
                    known = found.next().and_then(|found| found.endpoint);
                }
                Err(error) => boot.last = error.to_string(),
            }
        }
    }

    /// Tries to log in until it works. A wrong host key is final: that is not our machine.
    async fn reach(&self, boot: &mut Boot, endpoint: Endpoint) -> Result<Arc<dyn Session>, NotUp> {
        loop {
            let error = match self.connect(boot.id, endpoint).await {
                Ok(session) => match session.prepare().await {
                    Ok(()) => return Ok(session),
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
            self.pause(boot, CONNECT_PAUSE).await?;
        }
    }

    /// Starts the lease and runs the image's readiness command until it exits 0.
    async fn check_ready(&self, boot: &mut Boot, session: &Arc<dyn Session>) -> Result<(), NotUp> {
        loop {
            match session.extend_lease(self.parts.settings.lease).await {
                Ok(()) => break,
                Err(error) => boot.last = error.to_string(),
            }
            self.pause(boot, READY_PAUSE).await?;
        }
        let Some(command) = boot.image.spec.ready.clone() else {
            return Ok(());
        };
        loop {
            match session.command(&command, Bytes::new(), READY_TIMEOUT).await {
                Ok(output) if output.status == Some(0) => return Ok(()),
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
            self.pause(boot, READY_PAUSE).await?;
        }
    }

    fn now_ready(&self, boot: &Boot, endpoint: Endpoint) -> Result<(), NotUp> {
        self.write_soon(|draft| {
            ready(draft, boot.id, endpoint)?;
            let machine = draft.books.machines.get(&boot.id);
            let is_up = machine.is_some_and(|machine| machine.state.endpoint().is_some());
            // The host's private key has served: no launch is repeated from here on.
            if let Some(keys) = boot.keys.clone().filter(|_| is_up) {
                let host_private = Secret::default();
                draft.record(Change::PutMachineKeys(MachineKeys {
                    host_private,
                    ..keys
                }));
            }
            draft.books.launch_worked(&boot.image.name);
            Ok(())
        })?;
        Ok(())
    }

    /// Waits for the next try, unless the boot's time is up or the machine is no longer wanted.
    async fn pause(&self, boot: &Boot, pause: Span) -> Result<(), NotUp> {
        let coming = self.books().machines.get(&boot.id).is_some_and(|machine| {
            matches!(
                machine.state,
                MachineState::Intended { .. } | MachineState::Booting { .. }
            )
        });
        if !coming {
            return Err(NotUp::GivenUp);
        }
        if self.parts.clock.now() >= boot.deadline {
            let (after, last) = (boot.image.spec.boot_timeout, boot.last.clone());
            return Err(NotUp::TimedOut { after, last });
        }
        self.parts.clock.sleep(pause).await;
        Ok(())
    }

    /// Ends a machine that did not come up; its build gets another try, its image a pause.
    async fn boot_failed(self: &Arc<Self>, id: MachineId, error: &NotUp) {
        let why = error.to_string();
        tracing::warn!(machine.id = %id, error = why, "machine did not come up");
        let written = self
            .write_durably(|draft| {
                let Some(machine) = draft.books.machines.get(&id) else {
                    return Ok(());
                };
                let (image, state) = (machine.image.clone(), machine.state.clone());
                let reason = Reason::BootFailed(why.clone());
                if let Some((_, attempt)) = state.claim() {
                    let outcome = Outcome::Infrastructure(why.clone());
                    end_attempt(draft, attempt, &outcome, &why, MachineAfter::Drain(reason))?;
                } else if matches!(
                    state,
                    MachineState::Intended { .. } | MachineState::Booting { .. }
                ) {
                    let instance = state.instance().cloned();
                    let message = reason.sentence();
                    let next = MachineState::Draining { instance, reason };
                    draft.enter_machine(id, next, Some((Category::Boot, None)))?;
                    draft.event(Subject::Machine(id), EventKind::MachineDraining, message);
                }
                draft.books.launch_failed(&image, draft.now);
                Ok(())
            })
            .await;
        if written.is_ok() {
            self.nudge();
            self.end_machine_now(id);
        }
    }
}

/// A boot under way.
struct Boot {
    id: MachineId,
    image: Arc<Image>,
    deadline: Timestamp,
    /// What the last try said, for the message when time is up.
    last: String,
    /// The machine's keys, once they were read for the launch.
    keys: Option<MachineKeys>,
}

/// Opens the machine for builds: busy with the one that waits for it, else idle.
fn ready(
    draft: &mut Draft<'_>,
    id: MachineId,
    endpoint: Endpoint,
) -> Result<(), crate::model::IllegalTransition> {
    let Some(machine) = draft.books.machines.get(&id) else {
        return Ok(());
    };
    let MachineState::Booting { instance, claim } = &machine.state else {
        return Ok(());
    };
    let (instance, launched_for) = (instance.clone(), machine.launched_for);
    let took = draft.now.since(machine.created_at);
    let took = Span::from_millis(took.micros() / 1_000);
    let payer = launched_for.and_then(|build| draft.payer(build, claim.map(|claim| claim.1)));
    let next = match *claim {
        Some(claim) => MachineState::Busy {
            instance,
            endpoint,
            claim,
        },
        None => MachineState::Idle { instance, endpoint },
    };
    draft.enter_machine(id, next, Some((Category::Boot, payer)))?;
    let message = format!("ready {took} after the launch was decided");
    draft.event(Subject::Machine(id), EventKind::MachineReady, message);
    Ok(())
}

fn no_provider(name: &str) -> ProviderError {
    ProviderError {
        operation: "find the provider",
        kind: ErrorKind::Config,
        message: format!("no provider {name:?} is configured"),
    }
}
