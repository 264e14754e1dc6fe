//! What a start of the orchestrator reads of the past beyond open work, from the model of the store:
//! what was spent, approved, launched and learnt.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::books::{History, Launched};
use crate::ledger;
use crate::model::{
    Attempt, AttemptId, BudgetNote, BuildId, BuildSpec, Category, Change, Entry, Image, ImageState,
    Machine, MachineId, MachineState, Money, Pipeline, PipelineId, Timestamp,
};
use crate::planner::LAUNCH_WINDOW;
use crate::store::{PastAttempt, SpentRow};

use super::rows::Rows;
use super::simulation::Simulation;

const DAY_MICROS: i64 = 24 * 3_600 * 1_000_000;
/// Later than anything in a run.
const FOR_EVER: Timestamp = Timestamp::from_micros(i64::MAX);

/// Rows that no open work needs.
#[derive(Debug, Default)]
pub(super) struct Past {
    entries: Vec<Entry>,
    notes: Vec<BudgetNote>,
    pipelines: BTreeMap<PipelineId, Pipeline>,
    specs: BTreeMap<BuildId, Arc<BuildSpec>>,
    attempts: BTreeMap<AttemptId, Attempt>,
}

impl Past {
    /// Takes note of what is written.
    pub(super) fn take(&mut self, change: &Change) {
        match change {
            Change::InsertPipeline(pipeline) => {
                self.pipelines.insert(pipeline.id, pipeline.clone());
            }
            Change::InsertBuild(build) => {
                self.specs.insert(build.id, Arc::clone(&build.spec));
            }
            Change::InsertAttempt(attempt) | Change::UpdateAttempt(attempt, _) => {
                self.attempts.insert(attempt.id, attempt.clone());
            }
            Change::AppendEntry(entry) => self.entries.push(entry.clone()),
            Change::AppendBudgetNote(note) => self.notes.push(note.clone()),
            // Open work has them.
            Change::UpdateBuild(..)
            | Change::InsertMachine(_)
            | Change::UpdateMachine(..)
            | Change::PutMachineKeys(_)
            | Change::DeleteMachineKeys(_)
            | Change::InsertLaunch(_)
            | Change::DeleteLaunch(_)
            | Change::InsertImage(_)
            | Change::UpdateImage(..)
            | Change::InsertPolicy(_)
            | Change::InsertExtent(_)
            | Change::AppendEvent(_)
            | Change::InsertToken(_)
            | Change::RevokeToken(..) => {}
        }
    }
}

impl Rows {
    /// What was spent since a moment, entry by entry.
    fn spent(&self, since: Timestamp) -> Vec<SpentRow> {
        let entries = self.past.entries.iter();
        let recent = entries.filter(|entry| entry.to > since || entry.from >= since);
        let rows = recent.map(|entry| {
            let spec = entry.build.and_then(|build| self.past.specs.get(&build));
            let machine = self.machine(entry.machine);
            SpentRow {
                project: entry
                    .project
                    .clone()
                    .or_else(|| machine.and_then(|machine| machine.project.clone())),
                image: entry.image.clone(),
                pipeline: entry.pipeline,
                build: entry.build,
                labels: spec.map(|spec| spec.labels.clone()).unwrap_or_default(),
                priority: spec.map(|spec| spec.priority),
                amount: ledger::between(entry, since, FOR_EVER),
            }
        });
        rows.collect()
    }

    /// Attempts, with what they were for and where they ran.
    fn past_attempts(&self) -> Vec<PastAttempt> {
        let attempts = self.past.attempts.values();
        let known = attempts.filter_map(|attempt| {
            let spec = self.past.specs.get(&attempt.build)?;
            Some(PastAttempt {
                attempt: attempt.clone(),
                project: spec.project.clone(),
                build: spec.name.clone(),
                image: self.machine(attempt.machine)?.image.clone(),
            })
        });
        known.collect()
    }

    /// What machines cost for standing by since a moment.
    fn standby(&self, since: Timestamp) -> BTreeMap<String, Money> {
        let mut standby: BTreeMap<String, Money> = BTreeMap::new();
        let entries = self.past.entries.iter();
        for entry in entries.filter(|e| e.from >= since && e.category == Category::Idle) {
            *standby.entry(entry.image.clone()).or_default() += entry.amount;
        }
        standby
    }

    /// Launches decided since a moment, oldest first.
    fn launches_since(&self, since: Timestamp) -> Vec<Launched> {
        let mut machines: Vec<&Machine> = self
            .all_machines()
            .filter(|machine| machine.created_at >= since)
            .collect();
        machines.sort_by_key(|machine| (machine.created_at, machine.id));
        let launched = machines.into_iter().map(|machine| Launched {
            at: machine.created_at,
            image: machine.image.clone(),
            build: machine
                .launched_for
                .and_then(|build| self.past.specs.get(&build).cloned()),
        });
        launched.collect()
    }

    fn ended(&self) -> Vec<Machine> {
        let is_gone = |m: &&Machine| matches!(m.state, MachineState::Gone { .. });
        let mut ended: Vec<Machine> = self.all_machines().filter(is_gone).cloned().collect();
        ended.sort_by_key(|machine: &Machine| -> MachineId { machine.id });
        ended
    }
}

impl Simulation<'_> {
    /// Reads what a new start must know of the time before it.
    pub(super) fn recall(&mut self) {
        let now = self.now();
        let Some(rows) = &self.rows else {
            return;
        };
        let is_kept = |image: &&Image| image.state != ImageState::Removed;
        let versions = rows.all_images().filter(is_kept).cloned().collect();
        self.books.know_versions(versions);
        let ended = rows.ended();
        for machine in &ended {
            self.books.count_gone(machine);
        }
        for (id, builds) in self.books.pipelines_in_lines() {
            if let Some(pipeline) = rows.past.pipelines.get(&id) {
                self.books.know_pipeline(pipeline, builds);
            }
        }
        let day = Timestamp::from_micros(now.micros().div_euclid(DAY_MICROS) * DAY_MICROS);
        let history = History {
            attempts: rows.past_attempts(),
            ended,
            standby: rows.standby(day),
        };
        self.books.remember(history, now);
        self.books.spend.notes.clone_from(&rows.past.notes);
        self.books.refresh_approvals();
        for launch in rows.launches_since(now - LAUNCH_WINDOW) {
            self.books.count_launch(launch);
        }
        self.know_spent();
    }

    /// Reads what was spent of budgets whose sums are not known.
    pub(super) fn know_spent(&mut self) {
        let now = self.now();
        let Some(rows) = &self.rows else {
            return;
        };
        let moments = self.books.unknown_since(now);
        if moments.is_empty() {
            return;
        }
        let sums = moments.into_iter().map(|since| (since, rows.spent(since)));
        let sums = sums.collect();
        self.books.know_spent(&sums, now);
    }
}
