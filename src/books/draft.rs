//! One transaction being written: changes the books and records the same changes for the store.
//!
//! State changes of builds, attempts and machines go through `enter_build`, `enter_attempt` and
//! `enter_machine`, so that each is legal, counted and leaves one event.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ledger::{self, Payer};
use crate::model::{
    Attempt, AttemptId, AttemptState, Boot, Build, BuildId, BuildState, Category, Change, Entry,
    Event, EventKind, IllegalTransition, Image, Machine, MachineId, MachineState, Money, Policy,
    Rate, Subject, Tariff, Timestamp,
};

use super::books::Books;
use super::learn::coming_since;

/// One transaction.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    pub(crate) books: &'a mut Books,
    pub(crate) now: Timestamp,
    changes: Vec<Change>,
    builds: BTreeMap<BuildId, Touched>,
    attempts: BTreeMap<AttemptId, Touched>,
    machines: BTreeMap<MachineId, Touched>,
    finished: Vec<Build>,
    gone: Vec<Machine>,
    ended_attempts: Vec<Attempt>,
}

/// How a row is to be written.
#[derive(Debug, Clone, Copy)]
enum Touched {
    /// It is new.
    Inserted,
    /// It had this rev when it was first touched.
    Updated(u64),
}

impl<'a> Draft<'a> {
    pub(crate) const fn new(books: &'a mut Books, now: Timestamp) -> Self {
        books.spend.seen = now;
        books.learning.now = now;
        Self {
            books,
            now,
            changes: Vec::new(),
            builds: BTreeMap::new(),
            attempts: BTreeMap::new(),
            machines: BTreeMap::new(),
            finished: Vec::new(),
            gone: Vec::new(),
            ended_attempts: Vec::new(),
        }
    }

    /// The changes for the store, each row once.
    pub(crate) fn into_changes(self) -> Vec<Change> {
        let Self {
            books,
            changes,
            builds,
            attempts,
            machines,
            ..
        } = self;
        let (mut changes, later): (Vec<_>, Vec<_>) = changes.into_iter().partition(is_parent);
        let finished: BTreeMap<_, _> = self.finished.iter().map(|b| (b.id, b)).collect();
        for (id, touched) in builds {
            let Some(build) = books.builds.get(&id).or_else(|| finished.get(&id).copied()) else {
                continue;
            };
            changes.push(match touched {
                Touched::Inserted => Change::InsertBuild(build.clone()),
                Touched::Updated(rev) => Change::UpdateBuild(build.clone(), rev),
            });
        }
        for (id, touched) in machines {
            let gone = self.gone.iter().find(|machine| machine.id == id);
            let Some(machine) = books.machines.get(&id).or(gone) else {
                continue;
            };
            changes.push(match touched {
                Touched::Inserted => Change::InsertMachine(machine.clone()),
                Touched::Updated(rev) => Change::UpdateMachine(machine.clone(), rev),
            });
        }
        for (id, touched) in attempts {
            let ended = self.ended_attempts.iter().find(|attempt| attempt.id == id);
            let Some(attempt) = books.attempts.get(&id).or(ended) else {
                continue;
            };
            changes.push(match touched {
                Touched::Inserted => Change::InsertAttempt(attempt.clone()),
                Touched::Updated(rev) => Change::UpdateAttempt(attempt.clone(), rev),
            });
        }
        changes.extend(later);
        changes
    }

    /// Records a change that has no row in the books.
    pub(crate) fn record(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Records that something happened.
    pub(crate) fn event(&mut self, subject: Subject, kind: EventKind, message: String) {
        let event = Event {
            at: self.now,
            subject,
            kind,
            message,
        };
        self.changes.push(Change::AppendEvent(event));
    }

    /// Adds a build that was just accepted.
    pub(crate) fn insert_build(&mut self, build: Build) {
        self.books.wait_for(&build, build.spec.needs.len());
        self.builds.insert(build.id, Touched::Inserted);
        self.books.put_build(build);
    }

    /// Adds an attempt of a build that was just bound.
    pub(crate) fn insert_attempt(&mut self, attempt: Attempt) {
        self.attempts.insert(attempt.id, Touched::Inserted);
        self.books.learn_bound(&attempt);
        self.books.attempts.insert(attempt.id, attempt);
    }

    /// Adds a machine whose launch was just decided.
    pub(crate) fn insert_machine(&mut self, machine: Machine) {
        self.machines.insert(machine.id, Touched::Inserted);
        self.books.put_machine(machine);
    }

    /// Adds an image version and makes it known to the planner.
    pub(crate) fn insert_image(&mut self, image: Image) {
        self.changes.push(Change::InsertImage(image.clone()));
        self.books
            .images
            .insert((image.name.clone(), image.version), Arc::new(image));
    }

    /// Replaces the state of an image version.
    pub(crate) fn update_image(&mut self, image: Image, read: u64) {
        self.changes.push(Change::UpdateImage(image.clone(), read));
        self.books
            .images
            .insert((image.name.clone(), image.version), Arc::new(image));
    }

    /// Adds a policy version.
    pub(crate) fn insert_policy(&mut self, policy: Policy) {
        self.changes.push(Change::InsertPolicy(policy.clone()));
        self.books.policies.insert(policy.name.clone(), policy);
    }

    /// Changes a build in place; `None` when it is over.
    pub(crate) fn change_build<R>(
        &mut self,
        id: BuildId,
        change: impl FnOnce(&mut Build) -> R,
    ) -> Option<R> {
        let mut build = self.books.builds.get(&id)?.clone();
        self.builds.entry(id).or_insert(Touched::Updated(build.rev));
        let result = change(&mut build);
        if build.state.is_finished() {
            self.finished.push(build.clone());
        }
        self.books.put_build(build);
        Some(result)
    }

    /// Moves a build, with one event. `Ok(false)` when it is over already.
    pub(crate) fn enter_build(
        &mut self,
        id: BuildId,
        next: BuildState,
        message: String,
    ) -> Result<bool, IllegalTransition> {
        let was = self.books.builds.get(&id).map(|build| &build.state);
        let kind = match &next {
            BuildState::Bound { .. } if matches!(was, Some(BuildState::Bound { .. })) => {
                EventKind::BuildMoved
            }
            BuildState::Waiting | BuildState::Queued { .. } => EventKind::BuildQueued,
            BuildState::Bound { .. } => EventKind::BuildBound,
            BuildState::Running { .. } => EventKind::BuildStarted,
            BuildState::Finished { .. } => EventKind::BuildFinished,
        };
        match self.change_build(id, |build| build.enter(next)) {
            None => Ok(false),
            Some(result) => {
                result?;
                self.event(Subject::Build(id), kind, message);
                Ok(true)
            }
        }
    }

    /// Changes an attempt in place; `None` when it is over.
    pub(crate) fn change_attempt<R>(
        &mut self,
        id: AttemptId,
        change: impl FnOnce(&mut Attempt) -> R,
    ) -> Option<R> {
        let attempt = self.books.attempts.get_mut(&id)?;
        self.attempts
            .entry(id)
            .or_insert(Touched::Updated(attempt.rev));
        let result = change(attempt);
        if matches!(attempt.state, AttemptState::Finished { .. })
            && let Some(attempt) = self.books.attempts.remove(&id)
        {
            self.books.learn_over(&attempt);
            self.ended_attempts.push(attempt);
        }
        Some(result)
    }

    /// Changes a machine in place, but not its state; `None` when it is gone.
    pub(crate) fn change_machine<R>(
        &mut self,
        id: MachineId,
        change: impl FnOnce(&mut Machine) -> R,
    ) -> Option<R> {
        let mut machine = self.books.machines.get(&id).cloned()?;
        self.machines
            .entry(id)
            .or_insert(Touched::Updated(machine.rev));
        machine.rev += 1;
        let result = change(&mut machine);
        self.books.put_machine(machine);
        Some(result)
    }

    /// Moves a machine and bills the stretch that ends with it. `Ok(false)` when it is gone.
    pub(crate) fn enter_machine(
        &mut self,
        id: MachineId,
        next: MachineState,
        bill: Option<(Category, Option<Payer>)>,
    ) -> Result<bool, IllegalTransition> {
        self.enter_shared_machine(id, next, bill.map(|share| vec![share]))
    }

    /// The same for a stretch that several builds had the machine for.
    pub(crate) fn enter_shared_machine(
        &mut self,
        id: MachineId,
        next: MachineState,
        bill: Option<Vec<(Category, Option<Payer>)>>,
    ) -> Result<bool, IllegalTransition> {
        let Some(mut machine) = self.books.machines.get(&id).cloned() else {
            return Ok(false);
        };
        let read = machine.rev;
        let bill = bill.filter(|_| !self.may_be_free(&machine, &next));
        let coming = coming_since(&machine);
        machine.enter(next, self.now)?;
        let boot = coming
            .filter(|_| is_up(&machine))
            .map(|(since, was_asleep)| Boot {
                at: self.now,
                took: self.now.since(since),
                was_asleep,
            });
        machine.boot = boot.or(machine.boot);
        self.machines.entry(id).or_insert(Touched::Updated(read));
        for entry in bill.map_or_else(Vec::new, |shares| settle(&mut machine, self.now, shares)) {
            self.books.count_entry(&entry, &machine, self.now);
            self.books.learn_entry(&entry);
            self.changes.push(Change::AppendEntry(entry));
        }
        if let Some(rate) = rate_of(&machine) {
            ledger::change_rate(&mut machine, rate, self.now);
        }
        if matches!(machine.state, MachineState::Gone { .. }) {
            self.gone.push(machine.clone());
        }
        self.books.learn_machine(&machine, boot.is_some());
        self.books.put_machine(machine);
        Ok(true)
    }

    /// Whether it is not known yet that a machine was launched at all: nothing is billed until then,
    /// for one that never was has cost nothing.
    fn may_be_free(&self, machine: &Machine, next: &MachineState) -> bool {
        let has_fleet = self.books.capacity.skills(&machine.provider).fleet;
        has_fleet
            && machine.state.instance().is_none()
            && next.instance().is_none()
            && !matches!(next, MachineState::Gone { .. })
    }

    /// A machine that never had an instance costs nothing, however long it was waited for.
    pub(crate) fn waive(&mut self, id: MachineId) {
        self.change_machine(id, |machine| {
            machine.tariff = Some(Tariff {
                rate: Rate::default(),
                from: machine.created_at,
                before: machine.billed,
            });
        });
    }

    /// What a machine that is gone has cost in all.
    pub(crate) fn last_cost(&self, id: MachineId) -> Money {
        let gone = self.gone.iter().find(|machine| machine.id == id);
        gone.map_or(Money::ZERO, |machine| machine.billed)
    }

    /// The build's payer for a stretch of machine time.
    pub(crate) fn payer(&self, build: BuildId, attempt: Option<AttemptId>) -> Option<Payer> {
        let spec = match self.books.builds.get(&build) {
            Some(build) => &build.spec,
            None => {
                &self
                    .finished
                    .iter()
                    .find(|finished| finished.id == build)?
                    .spec
            }
        };
        Some(Payer {
            build,
            attempt,
            pipeline: spec.pipeline,
            project: spec.project.clone(),
        })
    }
}

/// Whether a machine is ready.
const fn is_up(machine: &Machine) -> bool {
    matches!(
        machine.state,
        MachineState::Idle { .. } | MachineState::Busy { .. }
    )
}

/// Bills the stretch that ends; where the machine stops running, with what is paid for beyond it.
fn settle(
    machine: &mut Machine,
    now: Timestamp,
    mut shares: Vec<(Category, Option<Payer>)>,
) -> Vec<Entry> {
    match machine.state {
        // Nobody shares a machine that stops.
        MachineState::Asleep { .. } | MachineState::Gone { .. } => {
            let last = shares.pop();
            let entry = last
                .and_then(|(category, payer)| ledger::settle_end(machine, now, category, payer));
            entry.into_iter().collect()
        }
        MachineState::Intended { .. }
        | MachineState::Booting { .. }
        | MachineState::Idle { .. }
        | MachineState::Busy { .. }
        | MachineState::FallingAsleep { .. }
        | MachineState::Waking { .. }
        | MachineState::Draining { .. } => ledger::settle_shared(machine, now, shares),
    }
}

/// What a machine costs from this state on, where that differs from the state before.
const fn rate_of(machine: &Machine) -> Option<Rate> {
    match machine.state {
        MachineState::Asleep { .. } => Some(machine.asleep_usd_micro_per_hour),
        MachineState::Waking { .. } => Some(machine.shape.price_usd_micro_per_hour),
        MachineState::Intended { .. }
        | MachineState::Booting { .. }
        | MachineState::Idle { .. }
        | MachineState::Busy { .. }
        | MachineState::FallingAsleep { .. }
        | MachineState::Draining { .. }
        | MachineState::Gone { .. } => None,
    }
}

/// Rows that others refer to come first.
const fn is_parent(change: &Change) -> bool {
    matches!(
        change,
        Change::InsertPipeline(_) | Change::InsertImage(_) | Change::UpdateImage(..)
    )
}
