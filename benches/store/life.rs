//! Builds through their whole lives.

use std::path::Path;

use anyhow::Result;
use dormouse::clock::{Clock, SystemClock};
use dormouse::model::{
    Attempt, AttemptId, AttemptState, Build, BuildResult, BuildState, Category, Change, Cursor,
    Entry, Event, EventKind, Extent, LineMark, Machine, MachineState, Money, Outcome, PackId,
    Pipeline, Span, StepRecord, Subject, Timestamp,
};
use dormouse::store::{SqliteStore, Store};
use futures::stream::{self, StreamExt, TryStreamExt};

use super::maker::Maker;
use super::{micros_since, processor_micros};

/// A build, and what its life needs.
pub(crate) struct Life {
    pub(crate) pipeline: Pipeline,
    pub(crate) build: Build,
    pub(crate) attempt: AttemptId,
    pub(crate) pack: PackId,
    pub(crate) machine: Machine,
    pub(crate) result: BuildResult,
    pub(crate) at: Timestamp,
}

impl Life {
    pub(crate) fn event(&self, kind: EventKind) -> Change {
        Change::AppendEvent(Event {
            at: self.at,
            subject: Subject::Build(self.build.id),
            kind,
            message: format!("{} went on", self.build.spec.name),
        })
    }

    pub(crate) fn insert(&self) -> Vec<Change> {
        vec![
            Change::InsertPipeline(self.pipeline.clone()),
            Change::InsertBuild(self.build.clone()),
            self.event(EventKind::BuildQueued),
        ]
    }

    pub(crate) fn bind(&mut self) -> Result<Vec<Change>> {
        self.build.enter(BuildState::Bound {
            machine: self.machine.id,
            attempt: self.attempt,
            since: self.at,
        })?;
        let MachineState::Idle { instance, endpoint } = self.machine.state.clone() else {
            anyhow::bail!("the machine is not idle");
        };
        let read = self.machine.rev;
        let claim = (self.build.id, self.attempt);
        let busy = MachineState::Busy {
            instance,
            endpoint,
            claims: claim.into(),
            ends: None,
        };
        self.machine.enter(busy, self.at)?;
        Ok(vec![
            Change::UpdateBuild(self.build.clone(), self.build.rev - 1),
            Change::InsertAttempt(self.new_attempt()),
            Change::UpdateMachine(self.machine.clone(), read),
            self.event(EventKind::BuildBound),
        ])
    }

    pub(crate) fn new_attempt(&self) -> Attempt {
        Attempt {
            id: self.attempt,
            build: self.build.id,
            number: 1,
            machine: self.machine.id,
            bound_at: self.at,
            state: AttemptState::Bound,
            steps: Vec::new(),
            cursor: Cursor::default(),
            rev: 0,
        }
    }

    pub(crate) fn start(&mut self, attempt: &mut Attempt) -> Result<Vec<Change>> {
        self.build.enter(BuildState::Running {
            machine: self.machine.id,
            attempt: self.attempt,
            since: self.at,
        })?;
        attempt.enter(AttemptState::Running { since: self.at })?;
        Ok(vec![
            Change::UpdateBuild(self.build.clone(), self.build.rev - 1),
            Change::UpdateAttempt(attempt.clone(), 0),
            self.event(EventKind::BuildStarted),
        ])
    }

    pub(crate) fn finish(&mut self, mut attempt: Attempt) -> Result<Vec<Change>> {
        self.build.enter(BuildState::Finished {
            result: self.result,
            reason: String::new(),
            started_at: Some(self.at),
            at: self.at,
        })?;
        attempt.enter(AttemptState::Finished {
            outcome: Outcome::Exited(0),
            at: self.at,
        })?;
        attempt.steps = (0..3).map(|index| self.step(index)).collect();
        let MachineState::Busy {
            instance, endpoint, ..
        } = self.machine.state.clone()
        else {
            anyhow::bail!("the machine is not busy");
        };
        let read = self.machine.rev;
        self.machine
            .enter(MachineState::Idle { instance, endpoint }, self.at)?;
        Ok(vec![
            Change::UpdateBuild(self.build.clone(), self.build.rev - 1),
            Change::UpdateAttempt(attempt, 1),
            Change::UpdateMachine(self.machine.clone(), read),
            Change::InsertExtent(self.extent()),
            self.entry(Category::Work),
            self.entry(Category::Idle),
            self.event(EventKind::BuildFinished),
            self.event(EventKind::BuildQueued),
        ])
    }

    pub(crate) fn step(&self, index: u32) -> StepRecord {
        StepRecord {
            index,
            started_at: self.at,
            ended_at: Some(self.at),
            exit_code: Some(0),
            log_start: 0,
            log_end: Some(400),
        }
    }

    pub(crate) fn extent(&self) -> Extent {
        Extent {
            attempt: self.attempt,
            start: 0,
            len: 400,
            pack: self.pack,
            frame_start: 0,
            frame_len: 100,
            marks: vec![LineMark {
                offset: 0,
                at: self.at,
            }],
        }
    }

    pub(crate) fn entry(&self, category: Category) -> Change {
        let build = (category == Category::Work).then_some(&self.build);
        Change::AppendEntry(Entry {
            machine: self.machine.id,
            image: self.machine.image.clone(),
            build: build.map(|build| build.id),
            attempt: build.map(|_| self.attempt),
            pipeline: build.map(|build| build.spec.pipeline),
            project: build.map(|build| build.spec.project.clone()),
            category,
            from: self.at,
            to: self.at + Span::from_secs(3),
            amount: Money::from_micros(34),
        })
    }
}

/// Takes `count` builds through their lives, `at_once` of them at a time, each on its machine.
pub(crate) async fn life(path: &Path, at_once: u32, count: u32) -> Result<()> {
    let store = SqliteStore::open(path).await?;
    let maker = Maker::new();
    let machines: Vec<Machine> = (0..at_once).map(|_| maker.machine()).collect();
    let inserts = machines.iter().cloned().map(Change::InsertMachine);
    store.commit(inserts.collect()).await?;
    let (begin, processor) = (SystemClock.now(), processor_micros()?);
    let waits: Vec<Vec<u64>> = stream::iter(machines)
        .map(|machine| on_one_machine(&store, &maker, machine, count / at_once))
        .buffer_unordered(usize::try_from(at_once)?)
        .try_collect()
        .await?;
    let micros = micros_since(begin);
    let processor = processor_micros()? - processor;
    let waits = waits.concat();
    let builds = u64::try_from(waits.len())? / 4;
    println!(
        "life: {at_once:>2} at once: {:>5} builds/s, {:>5} us of processor per build, commit {}",
        builds * 1_000_000 / micros,
        processor / builds,
        percentiles(waits),
    );
    store.close().await;
    Ok(())
}

pub(crate) async fn on_one_machine(
    store: &SqliteStore,
    maker: &Maker,
    mut machine: Machine,
    count: u32,
) -> Result<Vec<u64>> {
    let mut waits = Vec::new();
    for n in 0..count {
        let mut life = maker.life(n, &machine);
        timed_commit(store, life.insert(), &mut waits).await?;
        timed_commit(store, life.bind()?, &mut waits).await?;
        let mut attempt = life.new_attempt();
        timed_commit(store, life.start(&mut attempt)?, &mut waits).await?;
        timed_commit(store, life.finish(attempt)?, &mut waits).await?;
        machine = life.machine;
    }
    Ok(waits)
}

pub(crate) async fn timed_commit(
    store: &SqliteStore,
    changes: Vec<Change>,
    waits: &mut Vec<u64>,
) -> Result<()> {
    let begin = SystemClock.now();
    store.commit(changes).await?;
    waits.push(micros_since(begin));
    Ok(())
}

pub(crate) fn percentiles(mut waits: Vec<u64>) -> String {
    waits.sort_unstable();
    let at = |percent: usize| waits.get(waits.len() * percent / 100).copied();
    format!(
        "p50 {} us, p99 {} us",
        at(50).unwrap_or(0),
        at(99).unwrap_or(0)
    )
}
