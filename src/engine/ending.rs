//! Ends machines, and proves them gone.
//!
//! A machine leaves the books only on proof: its instance is listed as terminated, or is absent from
//! complete listings often and long enough for its provider. Callers: whoever has decided that a
//! machine goes; `sweep` shares the rules of absence.

use std::sync::Arc;

use backoff::backoff::Backoff;

use crate::books::gone;
use crate::model::{InstanceId, MachineId, MachineState, Span, Timestamp};
use crate::provider::{AbsenceProof, InstanceState, Origin, Provider, ProviderError};

use super::engine::Engine;
use super::retry;

/// A machine that is being ended is looked at again this soon at first; then less and less often.
const FIRST_LOOK: Span = Span::from_millis(20);

/// Absence from complete listings, so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Absence {
    listings: u32,
    since: Timestamp,
}

impl Absence {
    /// One more complete listing without the instance.
    pub(super) fn again(known: Option<Self>, now: Timestamp) -> Self {
        match known {
            Some(Self { listings, since }) => Self {
                listings: listings + 1,
                since,
            },
            None => Self {
                listings: 1,
                since: now,
            },
        }
    }

    pub(super) fn proves(self, proof: AbsenceProof, now: Timestamp) -> bool {
        self.listings >= proof.listings && now.since(self.since) >= proof.over
    }
}

impl Engine {
    /// As [`Engine::end_machine`], as a task of its own.
    pub(super) fn end_machine_now(self: &Arc<Self>, id: MachineId) {
        let engine = Arc::clone(self);
        self.spawn(engine.end_machine(id));
    }

    /// Terminates a draining machine until a listing proves it gone.
    pub(super) async fn end_machine(self: Arc<Self>, id: MachineId) {
        self.close_session(id).await;
        let mut pauses = retry::backoff();
        pauses.initial_interval = FIRST_LOOK.to_std();
        pauses.reset();
        let mut absence = None;
        loop {
            let Some((provider, instance, is_open)) = self.draining(id) else {
                return;
            };
            // What a fleet was not asked for, or answered for, is not there.
            let has_fleet = self.books().capacity.skills(&provider).fleet;
            if has_fleet && instance.is_none() && !is_open {
                self.machine_gone(id).await;
                return;
            }
            let provider = self.provider(&provider).cloned();
            // Its launch may still be answered: then its instance is known by name.
            if let Some(provider) = provider.filter(|_| !is_open) {
                match end_once(
                    &provider,
                    id,
                    instance,
                    &mut absence,
                    self.parts.clock.now(),
                )
                .await
                {
                    Ok(true) => {
                        self.machine_gone(id).await;
                        return;
                    }
                    Ok(false) => {}
                    Err(error) => tracing::warn!(machine.id = %id, %error, "not ended yet"),
                }
            }
            let pause = pauses.next_backoff().map_or(FIRST_LOOK, Span::from);
            self.parts.clock.sleep(pause).await;
        }
    }

    /// Provider and instance of a draining machine, and whether its launch is not settled yet.
    fn draining(&self, id: MachineId) -> Option<(String, Option<InstanceId>, bool)> {
        let books = self.books();
        let machine = books.machines.get(&id)?;
        match &machine.state {
            MachineState::Draining { instance, .. } => {
                let launch = machine.launch.filter(|_| instance.is_none());
                let is_open = launch.is_some_and(|id| books.launches.contains_key(&id));
                Some((machine.provider.clone(), instance.clone(), is_open))
            }
            MachineState::Intended { .. }
            | MachineState::Booting { .. }
            | MachineState::Idle { .. }
            | MachineState::Busy { .. }
            | MachineState::FallingAsleep { .. }
            | MachineState::Asleep { .. }
            | MachineState::Waking { .. }
            | MachineState::Gone { .. } => None,
        }
    }

    async fn machine_gone(&self, id: MachineId) {
        let written = self.write_durably(|draft| gone(draft, id));
        // On a fault the state is loaded anew, and the machine is ended again from there.
        if written.await.is_ok() {
            self.nudge();
        }
    }
}

/// Asks for the end, and looks whether it has come.
async fn end_once(
    provider: &Arc<dyn Provider>,
    machine: MachineId,
    instance: Option<InstanceId>,
    absence: &mut Option<Absence>,
    now: Timestamp,
) -> Result<bool, ProviderError> {
    let is_known = instance.is_some();
    if let Some(id) = &instance {
        for result in provider.terminate(std::slice::from_ref(id)).await {
            result?;
        }
    }
    let listing = provider.list().await?;
    let found = listing.instances.iter().find(|found| match &instance {
        Some(id) => found.id == *id,
        None => found.origin == Origin::Machine(machine),
    });
    match found.map(|found| found.state) {
        Some(InstanceState::Terminated) => return Ok(true),
        None if listing.complete => {
            let longer = Absence::again(*absence, now);
            *absence = Some(longer);
            if longer.proves(provider.absence_proof(), now) {
                return Ok(true);
            }
        }
        None => {}
        Some(
            InstanceState::Pending
            | InstanceState::Running
            | InstanceState::FallingAsleep
            | InstanceState::Asleep
            | InstanceState::Stopping,
        ) => {
            *absence = None;
        }
    }
    // The answer to its launch was lost: only the listing tells its name.
    if let (false, Some(found)) = (is_known, found) {
        for result in provider.terminate(std::slice::from_ref(&found.id)).await {
            result?;
        }
    }
    Ok(false)
}
