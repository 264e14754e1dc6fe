//! Compares what providers list with the books: ends machines and proves them gone, notices
//! machines that vanished, and ends instances that are in no book.
//!
//! No complete answer, no destruction: absence counts only in complete listings, several of them.
//! Only instances with our tag are ever listed; machines on hold are left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use backoff::backoff::Backoff;

use crate::model::{
    Category, Change, EventKind, IllegalTransition, InstanceId, MachineId, MachineState, Outcome,
    Pool, Reason, Span, Subject, Timestamp,
};
use crate::provider::{AbsenceProof, Instance, InstanceState, Listing, Origin, Provider};

use super::draft::Draft;
use super::engine::Engine;
use super::outcome::{MachineAfter, end_attempt};
use super::retry;

/// An instance that is in no book is left alone for this long: its intent may be older than our view.
const ORPHAN_AGE: Span = Span::from_secs(30);
/// An orphan must be seen this often before it is ended.
const ORPHAN_SIGHTINGS: u32 = 2;
/// Orphans ended per sweep at most: a mistake stays small.
const ORPHANS_PER_SWEEP: usize = 5;
/// A machine that is being ended is looked at again this soon at first; then less and less often.
const FIRST_LOOK: Span = Span::from_millis(20);

/// What the sweep remembers from one pass to the next.
#[derive(Debug, Default)]
struct Memory {
    absent: BTreeMap<MachineId, Absence>,
    orphans: BTreeMap<InstanceId, u32>,
}

/// Absence from complete listings, so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Absence {
    listings: u32,
    since: Timestamp,
}

impl Absence {
    /// One more complete listing without the instance.
    fn again(known: Option<Self>, now: Timestamp) -> Self {
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

    fn proves(self, proof: AbsenceProof, now: Timestamp) -> bool {
        self.listings >= proof.listings && now.since(self.since) >= proof.over
    }
}

impl Engine {
    pub(super) async fn sweep_loop(self: Arc<Self>) {
        let mut memories: BTreeMap<String, Memory> = BTreeMap::new();
        loop {
            for provider in self.parts.providers.values() {
                let memory = memories.entry(provider.name().to_owned()).or_default();
                match provider.list().await {
                    Ok(listing) => self.sweep_once(provider, listing, memory).await,
                    Err(error) => {
                        tracing::warn!(provider = provider.name(), %error, "no listing");
                    }
                }
                match provider.sweep_residue(self.parts.clock.now()).await {
                    Ok(removed) => {
                        for thing in removed {
                            tracing::warn!(
                                provider = provider.name(),
                                thing,
                                "removed what was left"
                            );
                        }
                    }
                    Err(error) => {
                        tracing::warn!(provider = provider.name(), %error, "leftovers not swept");
                    }
                }
            }
            self.parts
                .clock
                .sleep(self.parts.settings.sweep_interval)
                .await;
        }
    }

    /// One comparison of one provider's listing with the books.
    async fn sweep_once(
        self: &Arc<Self>,
        provider: &Arc<dyn Provider>,
        listing: Listing,
        memory: &mut Memory,
    ) {
        let now = self.parts.clock.now();
        let found: BTreeMap<&InstanceId, &Instance> = listing
            .instances
            .iter()
            .map(|instance| (&instance.id, instance))
            .collect();
        for (id, instance, expected) in self.launched_machines(provider.name()) {
            let instance = found.get(&instance).copied();
            match instance.map(|instance| (instance.state, expected)) {
                Some((InstanceState::Pending | InstanceState::Running, Expected::Awake))
                | Some((InstanceState::Asleep | InstanceState::FallingAsleep, Expected::Asleep))
                // Between two states; the task that moves it looks after it.
                | Some((InstanceState::Pending | InstanceState::Running | InstanceState::FallingAsleep | InstanceState::Asleep, Expected::Either)) => {
                    memory.absent.remove(&id);
                }
                Some((InstanceState::Pending | InstanceState::Running, Expected::Asleep)) => {
                    self.machine_lost(id, Loss::Failed("its instance was started from outside".to_owned()))
                        .await;
                }
                Some((InstanceState::Asleep | InstanceState::FallingAsleep, Expected::Awake)) => {
                    self.machine_lost(id, Loss::Failed("its instance was stopped from outside".to_owned()))
                        .await;
                }
                Some((InstanceState::Stopping | InstanceState::Terminated, _)) => {
                    self.machine_lost(id, Loss::of(instance)).await;
                }
                None if listing.complete => {
                    let absence = Absence::again(memory.absent.get(&id).copied(), now);
                    memory.absent.insert(id, absence);
                    if absence.proves(provider.absence_proof(), now) {
                        memory.absent.remove(&id);
                        let loss = Loss::Failed("its instance is gone".to_owned());
                        self.machine_lost(id, loss).await;
                    }
                }
                None => {}
            }
        }
        let orphans = self.orphans(&listing, memory, now);
        self.end_orphans(provider, orphans).await;
    }

    /// Machines whose instance should be there, and what it should be doing.
    fn launched_machines(&self, provider: &str) -> Vec<(MachineId, InstanceId, Expected)> {
        let books = self.books();
        let of_it = books.machines.values().filter(|m| m.provider == provider);
        let expected = of_it.filter_map(|machine| {
            let expected = match machine.state {
                MachineState::Booting { .. }
                | MachineState::Idle { .. }
                | MachineState::Busy { .. } => Expected::Awake,
                MachineState::Asleep { .. } => Expected::Asleep,
                MachineState::FallingAsleep { .. } | MachineState::Waking { .. } => {
                    Expected::Either
                }
                // Not launched for all we know, or being ended by a task of its own.
                MachineState::Intended { .. }
                | MachineState::Draining { .. }
                | MachineState::Gone { .. } => return None,
            };
            Some((machine.id, machine.state.instance()?.clone(), expected))
        });
        expected.collect()
    }

    /// A machine vanished under us: its build gets another try.
    async fn machine_lost(self: &Arc<Self>, id: MachineId, loss: Loss) {
        let why = loss.why();
        tracing::warn!(machine.id = %id, why, "machine lost");
        let mut attempt = None;
        let written = self.write_durably(|draft| {
            let Some(state) = draft.books.machines.get(&id).map(|m| m.state.clone()) else {
                return Ok(());
            };
            let (reason, outcome) = loss.consequence();
            note_reclaim(draft, id, &loss, self.parts.settings.spot_interruptions);
            match state {
                MachineState::Booting {
                    claim: Some((_, id)),
                    ..
                }
                | MachineState::Waking {
                    claim: Some((_, id)),
                    ..
                }
                | MachineState::Busy { claim: (_, id), .. } => {
                    attempt = Some(id);
                    end_attempt(draft, id, &outcome, why, MachineAfter::Drain(reason))?;
                }
                MachineState::Booting {
                    claim: None,
                    instance,
                }
                | MachineState::Waking {
                    claim: None,
                    instance,
                } => drain_lost(draft, id, instance, reason, Category::Boot)?,
                MachineState::Idle { instance, .. }
                | MachineState::FallingAsleep { instance, .. }
                | MachineState::Asleep { instance } => {
                    drain_lost(draft, id, instance, reason, Category::Idle)?;
                }
                MachineState::Intended { .. }
                | MachineState::Draining { .. }
                | MachineState::Gone { .. } => {}
            }
            Ok(())
        });
        if written.await.is_err() {
            return;
        }
        if let Some(attempt) = attempt {
            self.wake_driver(attempt);
        }
        self.nudge();
        let engine = Arc::clone(self);
        self.spawn(engine.end_machine(id));
    }

    /// Instances that are in no book, seen often enough and old enough.
    fn orphans(&self, listing: &Listing, memory: &mut Memory, now: Timestamp) -> Vec<InstanceId> {
        let books = self.books();
        let ours: BTreeSet<&InstanceId> = books
            .machines
            .values()
            .filter_map(|machine| machine.state.instance())
            .collect();
        let is_orphan = |instance: &&Instance| {
            let is_expected = match instance.origin {
                Origin::Machine(id) => books.machines.contains_key(&id),
                Origin::Launch(id) => books.launches.contains_key(&id),
            };
            !is_expected
                && !ours.contains(&instance.id)
                && matches!(
                    instance.state,
                    InstanceState::Pending
                        | InstanceState::Running
                        | InstanceState::Asleep
                        | InstanceState::FallingAsleep
                )
                && now.since(instance.launched_at) >= ORPHAN_AGE
        };
        let seen: BTreeMap<InstanceId, u32> = listing
            .instances
            .iter()
            .filter(is_orphan)
            .map(|orphan| {
                let before = memory.orphans.get(&orphan.id).copied().unwrap_or(0);
                (orphan.id.clone(), before + 1)
            })
            .collect();
        memory.orphans.clone_from(&seen);
        let due = seen
            .into_iter()
            .filter(|(_, sightings)| *sightings >= ORPHAN_SIGHTINGS);
        due.map(|(id, _)| id).take(ORPHANS_PER_SWEEP).collect()
    }

    async fn end_orphans(&self, provider: &Arc<dyn Provider>, orphans: Vec<InstanceId>) {
        if orphans.is_empty() {
            return;
        }
        for (id, result) in orphans.iter().zip(provider.terminate(&orphans).await) {
            match result {
                Ok(()) => tracing::warn!(instance.id = %id, "ended an instance in no book"),
                Err(error) => tracing::warn!(instance.id = %id, %error, "orphan not ended"),
            }
        }
    }

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
        let written = self.write_durably(|draft| {
            let Some(machine) = draft.books.machines.get(&id) else {
                return Ok(());
            };
            let MachineState::Draining { reason, .. } = &machine.state else {
                return Ok(());
            };
            let reason = reason.clone();
            draft.enter_machine(
                id,
                MachineState::Gone { reason },
                Some((Category::Drain, None)),
            )?;
            draft.record(Change::DeleteMachineKeys(id));
            let cost = draft.last_cost(id);
            let message = format!("proved gone; it cost {cost} in all");
            draft.event(Subject::Machine(id), EventKind::MachineGone, message);
            Ok(())
        });
        // On a fault the state is loaded anew, and the machine is ended again from there.
        if written.await.is_ok() {
            self.nudge();
        }
    }
}

/// What the instance of a machine should be doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// It is up, or on its way.
    Awake,
    /// It is stopped.
    Asleep,
    /// It is on its way from one to the other.
    Either,
}

/// How a machine was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Loss {
    /// Its provider took it back.
    Reclaimed(String),
    /// In any other way.
    Failed(String),
}

impl Loss {
    /// As a listing shows it.
    fn of(instance: Option<&Instance>) -> Self {
        let why = instance.and_then(|instance| instance.why.clone());
        match instance {
            Some(instance) if instance.is_reclaimed => {
                Self::Reclaimed(why.unwrap_or_else(|| "its provider took it back".to_owned()))
            }
            Some(_) | None => Self::Failed(match why {
                Some(why) => format!("its instance was ended from outside: {why}"),
                None => "its instance was ended from outside".to_owned(),
            }),
        }
    }

    fn why(&self) -> &str {
        match self {
            Self::Reclaimed(why) | Self::Failed(why) => why,
        }
    }

    /// What follows for the machine, and for the attempt on it.
    fn consequence(&self) -> (Reason, Outcome) {
        match self.clone() {
            Self::Reclaimed(why) => (Reason::Interrupted(why.clone()), Outcome::Interrupted(why)),
            Self::Failed(why) => (Reason::Failed(why.clone()), Outcome::Infrastructure(why)),
        }
    }
}

/// A machine that was taken back without a notice tells as much of its pool as one with.
fn note_reclaim(draft: &mut Draft<'_>, id: MachineId, loss: &Loss, most: u32) {
    let is_news = matches!(loss, Loss::Reclaimed(_)) && !draft.books.interrupted.contains_key(&id);
    let Some(machine) = draft.books.machines.get(&id).filter(|_| is_news) else {
        return;
    };
    let key = (machine.image.clone(), machine.image_version);
    let pool = Pool {
        shape: machine.shape.name.clone(),
        zone: machine.zone.clone(),
        market: machine.market,
    };
    let Some(image) = draft.books.images.get(&key).cloned() else {
        return;
    };
    if let Some(note) = draft.books.taken_back(&image, pool, draft.now, most) {
        draft.event(
            Subject::Image(image.name.clone()),
            EventKind::ImageNote,
            note,
        );
    }
}

/// Ends a machine without a build that vanished.
fn drain_lost(
    draft: &mut Draft<'_>,
    id: MachineId,
    instance: InstanceId,
    reason: Reason,
    category: Category,
) -> Result<(), IllegalTransition> {
    let message = reason.sentence();
    let next = MachineState::Draining {
        instance: Some(instance),
        reason,
    };
    draft.enter_machine(id, next, Some((category, None)))?;
    draft.event(Subject::Machine(id), EventKind::MachineDraining, message);
    Ok(())
}

/// Asks for the end, and looks whether it has come.
async fn end_once(
    provider: &Arc<dyn Provider>,
    machine: MachineId,
    instance: Option<InstanceId>,
    absence: &mut Option<Absence>,
    now: Timestamp,
) -> Result<bool, crate::provider::ProviderError> {
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
