//! The state of a run, and the one way to write.

use std::collections::{BTreeMap, BTreeSet};

use crate::books::{Books, Draft, FailureBudget, Skills};
use crate::model::{
    AttemptId, Billing, Change, IllegalTransition, Image, Left, MachineId, MachineKeys, Money,
    PolicySpec, Secret, Span, Timestamp, Warm,
};

use super::approvals::Approvals;
use super::attempts::Stopping;
use super::cloud::Cloud;
use super::coverage::Coverage;
use super::dice::Dice;
use super::events::{Event, Queue, Task};
use super::invariants::Watch;
use super::record::Record;
use super::rows::Rows;
use super::run::{Progress, SimulationError};
use super::scenario::{Outcome, Scenario};

/// What failed launches of one image may cost in an hour: as is configured by default.
pub(super) const FAILURES: FailureBudget = FailureBudget {
    launches: 20,
    money: Money::from_micros(1_000_000),
};
/// Interruptions of an image within minutes after which it leaves spare capacity alone: as is
/// configured by default.
pub(super) const INTERRUPTIONS: u32 = 5;
/// A build that finds no capacity for so long is given up: as is configured by default.
pub(super) const CAPACITY_WAIT: Span = Span::from_secs(6 * 3_600);
/// How long the orchestrator takes to find out where images can be launched.
pub(super) const RESOLVES: Span = Span::from_millis(700);
/// A run that is not over by then, after its last submission and disturbance, never will be.
const PATIENCE: Span = Span::from_secs(30 * 24 * 3_600);

/// A run under way.
#[derive(Debug)]
pub(super) struct Simulation<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) books: Books,
    pub(super) cloud: Cloud,
    pub(super) queue: Queue,
    pub(super) record: Record,
    pub(super) coverage: Coverage,
    pub(super) watch: Watch,
    /// The world's time.
    pub(super) at: Timestamp,
    /// How far the orchestrator's clock is ahead of it.
    pub(super) ahead: Span,
    /// The next build of the history.
    pub(super) next_work: usize,
    /// Draws of what people do and of how builds end.
    pub(super) dice: Dice,
    pub(super) ids: Dice,
    /// Counts starts of the orchestrator.
    pub(super) epoch: u32,
    /// It is down.
    pub(super) is_down: bool,
    /// Attempts that were asked to stop, and what they will have ended as.
    pub(super) stopping: BTreeMap<AttemptId, Stopping>,
    /// Those of them whose processes survive that.
    pub(super) stubborn: BTreeSet<AttemptId>,
    /// What people have been asked for.
    pub(super) approvals: Approvals,
    /// What is durable, where something needs that.
    pub(super) rows: Option<Rows>,
    /// Something has changed that the planner should see.
    pub(super) is_nudged: bool,
    /// When time alone may change the plan, by the orchestrator's clock.
    pub(super) wake_at: Option<Timestamp>,
    /// Why the first build in the queue waited when the planner was asked last.
    pub(super) last_wait: String,
    pub(super) floors_lifted: bool,
    ends_by: Timestamp,
}

impl<'a> Simulation<'a> {
    pub(super) fn new(scenario: &'a Scenario) -> Result<Self, SimulationError> {
        scenario.check()?;
        let last_work = scenario.work.last().map(|work| work.submit);
        let last_disturbance = scenario.disturbances.last().map(|(at, _)| *at);
        let first = scenario.work.first().map(|work| work.submit);
        let keeps_rows = scenario.is_watched || scenario.has_restarts();
        let mut simulation = Self {
            scenario,
            books: Books::default(),
            cloud: Cloud::new(scenario.cloud.clone(), scenario.faults, scenario.seed),
            queue: Queue::default(),
            record: Record::default(),
            coverage: Coverage::default(),
            watch: Watch::default(),
            at: first.unwrap_or_default(),
            ahead: Span::ZERO,
            next_work: 0,
            dice: Dice::new(scenario.seed, 1),
            ids: Dice::new(scenario.seed, 0),
            epoch: 0,
            is_down: false,
            stopping: BTreeMap::new(),
            stubborn: BTreeSet::new(),
            approvals: Approvals::default(),
            rows: keeps_rows.then(Rows::default),
            is_nudged: true,
            wake_at: None,
            last_wait: String::new(),
            floors_lifted: false,
            ends_by: last_work.max(last_disturbance).unwrap_or_default() + PATIENCE,
        };
        simulation.books.spend.has_past = keeps_rows;
        simulation.begin()?;
        Ok(simulation)
    }

    /// Applies the catalogue and the policies.
    fn begin(&mut self) -> Result<(), SimulationError> {
        self.know_providers();
        let scenario = self.scenario;
        for (name, spec) in &scenario.images {
            self.apply_image(name, spec)?;
        }
        for (name, spec) in &scenario.policies {
            self.apply_policy(name, spec)?;
        }
        self.resolve();
        for (place, (at, _)) in scenario.disturbances.iter().enumerate() {
            self.queue.enter(*at, Event::Disturb(place));
        }
        Ok(())
    }

    /// Tells the books what providers can do, and how long to look for capacity.
    pub(super) fn know_providers(&mut self) {
        let skills = Skills {
            fleet: self.scenario.cloud.has_fleet,
            sleep: true,
            billing: Billing::default(),
        };
        let providers = self.scenario.images.iter();
        let providers = providers.map(|(_, spec)| (spec.provider.clone(), skills));
        self.books
            .know_providers(providers.collect::<BTreeMap<_, _>>());
        self.books.snapshot.capacity_wait = Some(CAPACITY_WAIT);
    }

    /// The orchestrator's time.
    pub(super) fn now(&self) -> Timestamp {
        self.at + self.ahead
    }

    /// When the next thing happens; none when all is over or nothing will happen any more.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let work = self.scenario.work.get(self.next_work);
        if work.is_none() && self.is_over() {
            return None;
        }
        let work = work.filter(|_| !self.is_down).map(|work| work.submit);
        let pass = self.wake_at.map(|at| at - self.ahead);
        let pass = pass.filter(|_| !self.is_down);
        let next = [work, pass, self.queue.next()]
            .into_iter()
            .flatten()
            .min()?;
        (next <= self.ends_by).then(|| next.max(self.at))
    }

    fn is_over(&self) -> bool {
        self.books.builds.is_empty() && self.books.machines.is_empty() && !self.is_down
    }

    /// Everything that happens at an instant.
    pub(super) fn play(&mut self, at: Timestamp) -> Result<(), SimulationError> {
        self.at = at;
        while let Some(event) = self.queue.due(at) {
            match event {
                Event::Disturb(place) => self.disturb(place)?,
                Event::Notice(number) => self.announced(number),
                Event::Taken(number, why) => self.taken(number, why),
                Event::Start => self.start()?,
                Event::Approve(approval) => self.approve(&approval)?,
                Event::Task(epoch, task) if epoch == self.epoch && !self.is_down => {
                    self.perform(task)?;
                }
                // Whoever was to do it was killed.
                Event::Task(..) => {}
            }
        }
        self.submit_due()
    }

    /// Does a task whose time has come.
    fn perform(&mut self, task: Task) -> Result<(), SimulationError> {
        match task {
            Task::Record(gathered) => self.record_launch(*gathered),
            Task::Send(launch) => self.send(launch),
            Task::Launch(machine) => self.launch_one(machine),
            Task::Wake(machine) => self.wake(machine),
            Task::LookUp(machine) => self.look_up(machine),
            Task::Begin(attempt) => self.begin_attempt(attempt),
            Task::LookOver(attempt) => self.look_over(attempt),
            Task::Stopped(attempt) => self.stopped(attempt),
            Task::Tidy(machine, attempt) => self.tidy(machine, attempt),
            Task::NotTidied(machine, attempt) => self.not_tidied((machine, attempt), Left::Unknown),
            Task::LookAsleep(machine) => self.look_asleep(machine),
            Task::End(machine) => self.end(machine),
            Task::Hear(number) => self.hear(number),
            Task::Sweep => self.sweep(),
            Task::Resolve => {
                self.resolve();
                self.nudge();
                Ok(())
            }
        }
    }

    /// Makes the planner look.
    pub(super) const fn nudge(&mut self) {
        self.is_nudged = true;
    }

    /// Has a task done after a while.
    pub(super) fn after(&mut self, span: Span, task: Task) {
        self.task_at(self.at + span, task);
    }

    /// Has a task done at an instant of the world's time.
    pub(super) fn task_at(&mut self, at: Timestamp, task: Task) {
        self.queue.enter(at, Event::Task(self.epoch, task));
    }

    /// Enters what the cloud is going to do by itself.
    pub(super) fn let_cloud_go_on(&mut self) {
        for (at, event) in std::mem::take(&mut self.cloud.later) {
            self.queue.enter(at, event);
        }
    }

    /// Changes the books, and takes note of the same changes.
    pub(super) fn write<R>(
        &mut self,
        change: impl FnOnce(&mut Draft<'_>) -> Result<R, IllegalTransition>,
    ) -> Result<R, SimulationError> {
        let now = self.now();
        let mut draft = Draft::new(&mut self.books, now);
        let result =
            change(&mut draft).map_err(|error| SimulationError::Illegal { at: now, error })?;
        let changes = draft.into_changes();
        self.take(&changes)?;
        Ok(result)
    }

    /// Takes note of a transaction.
    fn take(&mut self, changes: &[Change]) -> Result<(), SimulationError> {
        self.record.take(changes, &mut self.coverage);
        if let Some(rows) = &mut self.rows {
            let applied = rows.apply(changes);
            applied.map_err(|what| self.broken(what))?;
        }
        if self.scenario.is_watched {
            let held = self.watch.look(changes, &self.books, self.now());
            held.map_err(|what| self.broken(what))?;
        }
        Ok(())
    }

    /// Whether it is not known of a current image where it can be launched.
    pub(super) fn has_unresolved_images(&self) -> bool {
        let mut images = self.books.current_images();
        let is_known = |image: &Image| self.books.capacity.resolution(image).is_some();
        self.scenario.cloud.has_fleet && images.any(|image| !is_known(image))
    }

    /// Finds out where current images can be launched.
    pub(super) fn resolve(&mut self) {
        if self.scenario.cloud.has_fleet {
            let images: Vec<_> = self.books.current_images().cloned().collect();
            for image in images {
                let resolution = self.cloud.resolve(&image);
                self.books.resolved(&image, resolution);
            }
        }
        self.books.catalogue_changed();
    }

    /// Once the last build is over, nobody need be at hand any more.
    pub(super) fn lift_floors(&mut self) -> Result<(), SimulationError> {
        let is_open = self.next_work < self.scenario.work.len() || !self.books.builds.is_empty();
        if self.floors_lifted || self.is_down || is_open {
            return Ok(());
        }
        self.floors_lifted = true;
        let with_floors = self.books.policies.values();
        let with_floors = with_floors.filter(|policy| policy.spec.warm.is_some());
        let lifted: Vec<(String, PolicySpec)> = with_floors
            .map(|policy| {
                let spec = PolicySpec {
                    warm: Some(Warm::default()),
                    ..policy.spec.clone()
                };
                (policy.name.clone(), spec)
            })
            .collect();
        for (name, spec) in lifted {
            self.apply_policy(&name, &spec)?;
        }
        Ok(())
    }

    pub(super) fn progress(&self) -> Progress {
        Progress {
            at: self.now(),
            ended: self.record.outcome.builds.len(),
            total: self.scenario.work.len(),
        }
    }

    /// What came of it.
    pub(super) fn finish(mut self) -> Result<Outcome, SimulationError> {
        if !self.is_over() || self.next_work < self.scenario.work.len() {
            return Err(SimulationError::Stuck {
                at: self.now(),
                builds: self.books.builds.len() + self.scenario.work.len() - self.next_work,
                why: std::mem::take(&mut self.last_wait),
                machines: self.books.machines.len(),
            });
        }
        let left = self.cloud.left(self.at);
        if !left.is_empty() {
            let what = format!("instances without a machine are left in the cloud: {left:?}");
            return Err(self.broken(what));
        }
        if self.scenario.is_watched {
            let spent = self.record.outcome.money.values().copied().sum();
            let held = self.watch.look_at_end(self.rows.as_ref(), spent);
            held.map_err(|what| self.broken(what))?;
        }
        let end = self.now();
        let mut outcome = std::mem::take(&mut self.record).finish();
        outcome.end = end;
        outcome.coverage = self.coverage;
        Ok(outcome)
    }

    pub(super) fn broken(&self, what: String) -> SimulationError {
        SimulationError::Broken {
            at: self.now(),
            what,
        }
    }
}

/// Nobody logs in to a simulated machine.
pub(super) fn no_keys(machine: MachineId) -> MachineKeys {
    MachineKeys {
        machine,
        host_private: Secret::default(),
        host_public: String::new(),
        client_private: Secret::default(),
        client_public: String::new(),
        is_shared: false,
        next: None,
    }
}
