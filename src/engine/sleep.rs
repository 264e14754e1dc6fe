//! Puts machines to sleep, and wakes them.

use std::sync::Arc;

use backoff::backoff::Backoff;

use crate::books::{asleep, not_asleep, sleep_on};
use crate::model::{InstanceId, MachineId, MachineState, SleepKind, Span, Timestamp};
use crate::provider::{ErrorKind, InstanceState, Provider, ProviderError};

use super::engine::Engine;
use super::retry;

/// A machine that is not asleep by then is ended: writing the memory of a large one takes minutes.
const FALLING_ASLEEP: Span = Span::from_secs(15 * 60);

impl Engine {
    /// Stops a machine and waits until a listing shows it stopped.
    pub(super) async fn fall_asleep(self: Arc<Self>, id: MachineId) {
        self.close_session(id).await;
        let mut pauses = retry::backoff();
        loop {
            let Some((provider, instance, how, since)) = self.falling_asleep(id) else {
                return;
            };
            let step = match self.provider(&provider).cloned() {
                Some(provider) => sleep_once(&provider, &instance, how).await,
                None => Err(cannot_sleep(&provider)),
            };
            let now = self.parts.clock.now();
            match step {
                Ok(Some(InstanceState::Asleep)) => {
                    self.now_asleep(id, instance).await;
                    return;
                }
                Ok(Some(InstanceState::Terminated | InstanceState::Stopping)) => {
                    self.not_asleep(id, instance, "its instance was ended")
                        .await;
                    return;
                }
                Ok(_) => {}
                Err(error) => match error.kind {
                    ErrorKind::Throttled | ErrorKind::Unknown => {
                        tracing::warn!(machine.id = %id, %error, "not asleep yet");
                    }
                    ErrorKind::PoolEmpty
                    | ErrorKind::Quota
                    | ErrorKind::Address
                    | ErrorKind::Config
                    | ErrorKind::Auth => {
                        self.not_asleep(id, instance, &error.to_string()).await;
                        return;
                    }
                },
            }
            if now.since(since) > FALLING_ASLEEP {
                self.not_asleep(id, instance, "it did not stop in time")
                    .await;
                return;
            }
            let pause = pauses.next_backoff().map_or(FALLING_ASLEEP, Span::from);
            self.parts.clock.sleep(pause).await;
        }
    }

    fn falling_asleep(&self, id: MachineId) -> Option<(String, InstanceId, SleepKind, Timestamp)> {
        let books = self.books();
        let machine = books.machines.get(&id)?;
        let MachineState::FallingAsleep { instance, how } = &machine.state else {
            return None;
        };
        Some((
            machine.provider.clone(),
            instance.clone(),
            *how,
            machine.since,
        ))
    }

    async fn now_asleep(&self, id: MachineId, instance: InstanceId) {
        let written = self.write_durably(|draft| asleep(draft, id, instance));
        if written.await.is_ok() {
            self.nudge();
        }
    }

    /// A machine that cannot sleep is ended: it would be paid for.
    async fn not_asleep(self: &Arc<Self>, id: MachineId, instance: InstanceId, why: &str) {
        tracing::warn!(machine.id = %id, why, "machine does not fall asleep");
        let written = self.write_durably(|draft| not_asleep(draft, id, instance, why));
        if written.await.is_ok() {
            self.end_machine_now(id);
        }
    }

    /// A machine could not be woken: it sleeps on, its build looks elsewhere at once, and what was in
    /// the way has its consequence as with a launch. One that can never be woken is ended.
    pub(super) async fn not_woken(self: &Arc<Self>, id: MachineId, error: &ProviderError) {
        tracing::warn!(machine.id = %id, %error, "machine not woken");
        let is_for_good = match error.kind {
            ErrorKind::PoolEmpty
            | ErrorKind::Quota
            | ErrorKind::Address
            | ErrorKind::Throttled
            | ErrorKind::Unknown
            | ErrorKind::Auth => false,
            // It speaks of this machine, not of its image.
            ErrorKind::Config => true,
        };
        let written = self
            .write_durably(|draft| sleep_on(draft, id, error, is_for_good))
            .await;
        if written.is_ok() {
            self.nudge();
            if is_for_good {
                self.end_machine_now(id);
            }
        }
    }

    /// Asks once for a machine to be started.
    pub(super) async fn wake_once(&self, id: MachineId) -> Result<(), ProviderError> {
        let found = {
            let books = self.books();
            books.machines.get(&id).and_then(|machine| {
                let instance = machine.state.instance()?.clone();
                Some((machine.provider.clone(), instance, machine.shape.clone()))
            })
        };
        let Some((provider, instance, shape)) = found else {
            return Ok(());
        };
        let Some(provider) = self.provider(&provider).cloned() else {
            return Err(cannot_sleep(&provider));
        };
        match provider.sleeper() {
            Some(sleeper) => sleeper.wake(&instance, &shape).await,
            None => Err(cannot_sleep(provider.name())),
        }
    }
}

/// Asks for a stop unless it is under way, and says what the instance is doing.
async fn sleep_once(
    provider: &Arc<dyn Provider>,
    instance: &InstanceId,
    how: SleepKind,
) -> Result<Option<InstanceState>, ProviderError> {
    let Some(sleeper) = provider.sleeper() else {
        return Err(cannot_sleep(provider.name()));
    };
    let listing = provider.list().await?;
    let found = listing.instances.iter().find(|i| i.id == *instance);
    let state = found.map(|instance| instance.state);
    if matches!(state, Some(InstanceState::Running | InstanceState::Pending)) {
        sleeper.sleep(instance, how).await?;
    }
    Ok(state)
}

fn cannot_sleep(provider: &str) -> ProviderError {
    ProviderError {
        operation: "put a machine to sleep",
        kind: ErrorKind::Config,
        message: format!("machines of provider {provider:?} cannot sleep"),
        pools: Vec::new(),
    }
}
