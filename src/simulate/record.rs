//! Makes the outcome of a run of what its transactions write.

use std::collections::BTreeMap;

use crate::model::{
    AttemptState, Build, BuildId, BuildResult, BuildState, Change, Entry, Event, Machine,
    MachineId, MachineState, Money, Span, Subject, Timestamp,
};
use crate::model::{EventKind, Outcome as AttemptOutcome, Reason};

use super::coverage::{Coverage, Situation};
use super::scenario::{EndedBuild, MachineLife, Outcome};
use super::written::Written;

/// What is known of a run so far.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) outcome: Outcome,
    hash: Hash,
    works: BTreeMap<BuildId, usize>,
    /// Builds that have a machine: whether that was still on its way up when they got it.
    cold: BTreeMap<BuildId, bool>,
    lives: BTreeMap<MachineId, Life>,
    /// Places in the history of builds that ended without success.
    failed: Vec<usize>,
}

/// A machine that is not gone.
#[derive(Debug)]
struct Life {
    /// Its place in the outcome.
    place: usize,
    doing: Doing,
    since: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Work,
    Sleep,
    Other,
}

impl Record {
    /// A build is of this place of the history.
    pub(super) fn is_for(&mut self, build: BuildId, work: usize) {
        self.works.insert(build, work);
    }

    /// The place of a build in the history.
    pub(super) fn work_of(&self, build: BuildId) -> Option<usize> {
        self.works.get(&build).copied()
    }

    /// Places in the history of builds that ended without success.
    pub(super) fn without_success(&self) -> &[usize] {
        &self.failed
    }

    /// Takes note of a transaction.
    pub(super) fn take(&mut self, changes: &[Change], coverage: &mut Coverage) {
        let mut bound = Vec::new();
        for change in changes {
            match Written::of(change) {
                Written::NewMachine(machine) => {
                    self.machine_begins(machine);
                    coverage.note(Situation::Launched);
                }
                Written::Machine(machine) => self.machine_changes(machine, coverage),
                Written::NewBuild(build) | Written::Build(build) => match &build.state {
                    BuildState::Bound { machine, .. } => bound.push((build.id, *machine)),
                    BuildState::Finished { .. } => self.build_ends(build, coverage),
                    BuildState::Waiting
                    | BuildState::Queued { .. }
                    | BuildState::Running { .. } => {}
                },
                Written::Attempt(attempt) => {
                    if let AttemptState::Finished { outcome, .. } = &attempt.state {
                        note_outcome(outcome, coverage);
                    }
                }
                Written::Entry(entry) => self.spend(entry),
                Written::Event(event) => {
                    self.hash.event(event);
                    note_event(event, coverage);
                }
                Written::Image(_) | Written::Policy | Written::Nothing => {}
            }
        }
        for (build, machine) in bound {
            let doing = self.lives.get(&machine).map(|life| life.doing);
            let is_cold = doing != Some(Doing::Work);
            self.cold.insert(build, is_cold);
            coverage.note(if is_cold {
                Situation::BoundCold
            } else {
                Situation::BoundWarm
            });
        }
    }

    fn machine_begins(&mut self, machine: &Machine) {
        let place = self.outcome.machines.len();
        self.outcome.machines.push(MachineLife {
            image: machine.image.clone(),
            rate: machine.shape.price_usd_micro_per_hour,
            created: machine.created_at,
            ready: None,
            gone: machine.created_at,
            busy: Vec::new(),
            asleep: Vec::new(),
        });
        let life = Life {
            place,
            doing: Doing::Other,
            since: machine.since,
        };
        self.lives.insert(machine.id, life);
    }

    fn machine_changes(&mut self, machine: &Machine, coverage: &mut Coverage) {
        let Some(life) = self.lives.get_mut(&machine.id) else {
            return;
        };
        let Some(told) = self.outcome.machines.get_mut(life.place) else {
            return;
        };
        if machine.state.claims().len() > 1 {
            coverage.note(Situation::SharedMachine);
        }
        if machine.record.is_mixed {
            coverage.note(Situation::MixedMachine);
        }
        let doing = match &machine.state {
            MachineState::Busy { .. } => Doing::Work,
            MachineState::Asleep { .. } => Doing::Sleep,
            MachineState::Intended { .. }
            | MachineState::Booting { .. }
            | MachineState::Idle { .. }
            | MachineState::FallingAsleep { .. }
            | MachineState::Waking { .. }
            | MachineState::Draining { .. }
            | MachineState::Gone { .. } => Doing::Other,
        };
        if machine.state.endpoint().is_some() {
            told.ready.get_or_insert(machine.since);
        }
        if doing != life.doing {
            let stretch = (life.since, machine.since);
            match life.doing {
                Doing::Work => told.busy.push(stretch),
                Doing::Sleep => told.asleep.push(stretch),
                Doing::Other => {}
            }
            life.doing = doing;
            life.since = machine.since;
        }
        if let MachineState::Gone { reason } = &machine.state {
            told.rate = machine.shape.price_usd_micro_per_hour;
            told.gone = machine.since;
            self.lives.remove(&machine.id);
            note_reason(reason, coverage);
        }
    }

    fn build_ends(&mut self, build: &Build, coverage: &mut Coverage) {
        let BuildState::Finished {
            result,
            started_at,
            at,
            ..
        } = &build.state
        else {
            return;
        };
        let situation = match result {
            BuildResult::Success => Situation::Success,
            BuildResult::Failure => Situation::Failure,
            BuildResult::Canceled => Situation::Canceled,
            BuildResult::TimedOut => Situation::TimedOut,
            BuildResult::InfraFailure => Situation::InfraFailure,
            BuildResult::Skipped => Situation::Skipped,
            BuildResult::OverBudget => Situation::OverBudget,
        };
        coverage.note(situation);
        let Some(work) = self.works.remove(&build.id) else {
            return;
        };
        if *result != BuildResult::Success {
            self.failed.push(work);
        }
        self.outcome.builds.push(EndedBuild {
            work,
            result: *result,
            started: *started_at,
            ended: *at,
            attempts: build.attempts,
            cold: self.cold.remove(&build.id).unwrap_or(false),
        });
    }

    fn spend(&mut self, entry: &Entry) {
        self.hash.entry(entry);
        let money: &mut Money = self.outcome.money.entry(entry.category).or_default();
        *money += entry.amount;
        let time: &mut Span = self.outcome.time.entry(entry.category).or_default();
        *time = Span::from_micros(time.micros() + entry.to.since(entry.from).micros());
    }

    /// What came of it.
    pub(super) fn finish(mut self) -> Outcome {
        self.outcome.hash = self.hash.0;
        self.outcome
    }
}

fn note_outcome(outcome: &AttemptOutcome, coverage: &mut Coverage) {
    match outcome {
        AttemptOutcome::Infrastructure(_) => coverage.note(Situation::AttemptLost),
        AttemptOutcome::Interrupted(_) => coverage.note(Situation::AttemptInterrupted),
        AttemptOutcome::NotLaunched(_) => coverage.note(Situation::AttemptNotLaunched),
        // Their builds end with them.
        AttemptOutcome::Exited(_) | AttemptOutcome::TimedOut | AttemptOutcome::Canceled => {}
    }
}

fn note_reason(reason: &Reason, coverage: &mut Coverage) {
    coverage.note(match reason {
        Reason::IdleTimeout => Situation::GoneIdle,
        Reason::Lifetime => Situation::GoneOld,
        Reason::BuildCount => Situation::GoneWorn,
        Reason::ImageChanged => Situation::GoneOutdated,
        Reason::NoCapacity(_) => Situation::NoCapacity,
        Reason::AsleepTimeout => Situation::GoneAsleep,
        Reason::Unneeded => Situation::GoneUnneeded,
        Reason::MakeRoom => Situation::GoneForRoom,
        Reason::Unused => Situation::GoneUnused,
        Reason::Unclean(_) => Situation::GoneUnclean,
        Reason::Full(_) => Situation::GoneFull,
        // Whoever found the trouble has noted it.
        Reason::BootFailed(_)
        | Reason::Failed(_)
        | Reason::Interrupted(_)
        | Reason::Requested(_) => return,
    });
}

fn note_event(event: &Event, coverage: &mut Coverage) {
    let says = |words| event.message.contains(words);
    let situation = match event.kind {
        EventKind::ImageNote if says("breaker is open") => Situation::BreakerOpened,
        EventKind::ImageNote if says("interruptions within") => Situation::SpotLeftAlone,
        EventKind::ImageNote if says("is quarantined") => Situation::Quarantined,
        EventKind::MachineNote if event.message.starts_with("woken for") => Situation::Woken,
        EventKind::BuildCancelAsked if event.message.starts_with("superseded by") => {
            Situation::Superseded
        }
        EventKind::BudgetWarned => Situation::BudgetWarned,
        EventKind::BuildMoved => Situation::Moved,
        EventKind::PipelineSubmitted
        | EventKind::BuildQueued
        | EventKind::BuildBound
        | EventKind::BuildStarted
        | EventKind::BuildCancelAsked
        | EventKind::BuildFinished
        | EventKind::MachineIntended
        | EventKind::MachineLaunched
        | EventKind::MachineReady
        | EventKind::MachineDraining
        | EventKind::MachineGone
        | EventKind::MachineAdopted
        | EventKind::MachineNote
        | EventKind::ImageApplied
        | EventKind::ImageNote
        | EventKind::PolicyApplied
        | EventKind::BudgetApproved => return,
    };
    coverage.note(situation);
}

/// FNV-1a over words and texts: stable over platforms and toolchains.
#[derive(Debug)]
struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    const fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        self.0 ^= self.0 >> 29;
    }

    fn wide(&mut self, bits: u128) {
        self.word(u64::try_from(bits >> 64).unwrap_or(0));
        self.word(u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0));
    }

    fn text(&mut self, text: &str) {
        for byte in text.bytes() {
            self.word(u64::from(byte));
        }
    }

    fn event(&mut self, event: &Event) {
        self.word(event.at.micros().unsigned_abs());
        match &event.subject {
            Subject::Pipeline(id) => self.wide(id.bits()),
            Subject::Build(id) => self.wide(id.bits()),
            Subject::Machine(id) => self.wide(id.bits()),
            Subject::Image(name) | Subject::Policy(name) => self.text(name),
        }
        self.text(event.kind.word());
        self.text(&event.message);
    }

    fn entry(&mut self, entry: &Entry) {
        self.wide(entry.machine.bits());
        self.wide(entry.build.map_or(0, BuildId::bits));
        self.text(entry.category.word());
        self.word(entry.to.micros().unsigned_abs());
        self.word(entry.amount.micros().unsigned_abs());
    }
}
