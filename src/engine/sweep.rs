//! Compares what providers list with the books: ends machines and proves them gone, notices
//! machines that vanished, and ends instances that are in no book.
//!
//! No complete answer, no destruction: absence counts only in complete listings, several of them.
//! Only instances with our tag are ever listed; machines on hold are left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::books::{Loss, lost};
use crate::model::{InstanceId, MachineId, MachineState, Span, Timestamp};
use crate::provider::{Instance, InstanceState, Listing, Origin, Provider};

use super::ending::Absence;
use super::engine::Engine;

/// An instance that is in no book is left alone for this long: its intent may be older than our view.
const ORPHAN_AGE: Span = Span::from_secs(30);
/// An orphan must be seen this often before it is ended.
const ORPHAN_SIGHTINGS: u32 = 2;
/// Orphans ended per sweep at most: a mistake stays small.
const ORPHANS_PER_SWEEP: usize = 5;

/// What the sweep remembers from one pass to the next.
#[derive(Debug, Default)]
struct Memory {
    absent: BTreeMap<MachineId, Absence>,
    /// Machines whose instance is not doing what it should, since when they should.
    odd: BTreeMap<MachineId, Timestamp>,
    orphans: BTreeMap<InstanceId, u32>,
}

impl Memory {
    /// Forgets machines whose instance need no longer be there.
    fn forget_others(&mut self, launched: &[Launched]) {
        let ids: BTreeSet<MachineId> = launched.iter().map(|machine| machine.id).collect();
        self.absent.retain(|id, _| ids.contains(id));
        self.odd.retain(|id, _| ids.contains(id));
    }

    fn is_fine(&mut self, id: MachineId) {
        self.absent.remove(&id);
        self.odd.remove(&id);
    }

    /// Whether a machine that has been where it is since `since` was seen to be odd there before.
    fn is_odd_again(&mut self, id: MachineId, since: Timestamp) -> bool {
        self.odd.insert(id, since) == Some(since)
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
        let launched = self.launched_machines(provider.name());
        memory.forget_others(&launched);
        for machine in launched {
            let instance = found.get(&machine.instance).copied();
            let id = machine.id;
            match Sight::of(instance, machine.expected) {
                Sight::Fine => memory.is_fine(id),
                // A listing may be older than what was done while it was made: one is no proof.
                Sight::Odd(why) => {
                    if memory.is_odd_again(id, machine.since) {
                        self.machine_lost(id, Loss::Failed(why.to_owned())).await;
                    }
                }
                Sight::Ended(instance) if machine.is_coming && !instance.is_reclaimed => {
                    self.boot_ended(id, instance).await;
                }
                Sight::Ended(instance) => self.machine_lost(id, Loss::of(instance)).await,
                Sight::Absent if listing.complete => {
                    let absence = Absence::again(memory.absent.get(&id).copied(), now);
                    memory.absent.insert(id, absence);
                    if absence.proves(provider.absence_proof(), now) {
                        memory.absent.remove(&id);
                        if machine.is_coming {
                            self.boot_gone(id).await;
                        } else {
                            let loss = Loss::Failed("its instance is gone".to_owned());
                            self.machine_lost(id, loss).await;
                        }
                    }
                }
                Sight::Absent => {}
            }
        }
        let orphans = self.orphans(&listing, memory, now);
        self.end_orphans(provider, orphans).await;
    }

    /// Machines whose instance should be there, and what it should be doing.
    fn launched_machines(&self, provider: &str) -> Vec<Launched> {
        let books = self.books();
        let of_it = books.machines.values().filter(|m| m.provider == provider);
        let launched = of_it.filter_map(|machine| {
            let (expected, is_coming) = match machine.state {
                MachineState::Booting { .. } => (Expected::Awake, true),
                MachineState::Idle { .. } | MachineState::Busy { .. } => (Expected::Awake, false),
                MachineState::Asleep { .. } => (Expected::Asleep, false),
                MachineState::FallingAsleep { .. } => (Expected::Either, false),
                MachineState::Waking { .. } => (Expected::Either, true),
                // Not launched for all we know, or being ended by a task of its own.
                MachineState::Intended { .. }
                | MachineState::Draining { .. }
                | MachineState::Gone { .. } => return None,
            };
            Some(Launched {
                id: machine.id,
                instance: machine.state.instance()?.clone(),
                expected,
                since: machine.since,
                is_coming,
            })
        });
        launched.collect()
    }

    /// A provider took back a machine on its way up.
    pub(super) async fn reclaimed(self: &Arc<Self>, id: MachineId, instance: &Instance) {
        self.machine_lost(id, Loss::of(instance)).await;
    }

    /// A machine on its way up is about to be taken back: nothing is lost by ending it now.
    pub(super) async fn lost_to_notice(self: &Arc<Self>, id: MachineId, why: String) {
        self.machine_lost(id, Loss::Reclaimed(why)).await;
    }

    /// A machine vanished under us: its builds get another try.
    async fn machine_lost(self: &Arc<Self>, id: MachineId, loss: Loss) {
        let why = loss.why();
        tracing::warn!(machine.id = %id, why, "machine lost");
        let most = self.parts.settings.spot_interruptions;
        let written = self.write_durably(|draft| lost(draft, id, &loss, most));
        let Ok(attempts) = written.await else {
            return;
        };
        for attempt in attempts {
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
}

/// A machine whose instance should be there.
struct Launched {
    id: MachineId,
    instance: InstanceId,
    expected: Expected,
    /// Since when that is expected.
    since: Timestamp,
    is_coming: bool,
}

/// What a listing shows of a machine's instance.
enum Sight<'a> {
    /// It does what it should.
    Fine,
    /// It does something else, for this reason.
    Odd(&'static str),
    /// It ended, or is about to.
    Ended(&'a Instance),
    /// It is not in the listing.
    Absent,
}

impl<'a> Sight<'a> {
    fn of(instance: Option<&'a Instance>, expected: Expected) -> Self {
        let Some(instance) = instance else {
            return Self::Absent;
        };
        match (instance.state, expected) {
            (InstanceState::Stopping | InstanceState::Terminated, _) => Self::Ended(instance),
            (InstanceState::Pending | InstanceState::Running, Expected::Asleep) => {
                Self::Odd("its instance was started from outside")
            }
            (InstanceState::Asleep | InstanceState::FallingAsleep, Expected::Awake) => {
                Self::Odd("its instance was stopped from outside")
            }
            // Between two states the task that moves it looks after it.
            (
                InstanceState::Pending
                | InstanceState::Running
                | InstanceState::Asleep
                | InstanceState::FallingAsleep,
                _,
            ) => Self::Fine,
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
