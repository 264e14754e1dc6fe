//! Turns lists of changes into few statements: rows of one kind are gathered, whoever wrote them,
//! and go to the database as one JSON array. Pure; every engine uses it.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::Serialize;

use crate::model::{
    Attempt, AttemptId, Build, BuildId, BuildResult, Change, Entry, Event, Extent, Image, LaunchId,
    Machine, MachineId, PipelineId, Policy, Subject, TokenId,
};

/// Changes in one round at most, and bytes of JSON at which it is closed: enough that statements
/// cost next to nothing per row, while a list of any length needs little memory.
const ROUND_CHANGES: usize = 2_000;
const ROUND_BYTES: usize = 1 << 20;

/// Microseconds in an hour, the grain of the running sums of costs.
pub(super) const HOUR: i64 = 3_600_000_000;

/// What is done with rows of one kind. The order is the order of execution: parents first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verb {
    InsertPipelines,
    InsertBuilds,
    InsertBuildSpecs,
    UpdateBuilds,
    InsertAttempts,
    UpdateAttempts,
    InsertMachines,
    UpdateMachines,
    PutMachineKeys,
    DeleteMachineKeys,
    InsertLaunches,
    DeleteLaunches,
    InsertImages,
    UpdateImages,
    InsertPolicies,
    InsertExtents,
    AppendEntries,
    AddCosts,
    AppendBudgetNotes,
    AppendEvents,
    InsertTokens,
    RevokeTokens,
}

impl Verb {
    /// Whether a row that is not written is a conflict. The others write what is missing, or find
    /// nothing to delete.
    pub(super) const fn must_write_every_row(self) -> bool {
        match self {
            Self::InsertPipelines
            | Self::InsertBuilds
            | Self::InsertBuildSpecs
            | Self::UpdateBuilds
            | Self::InsertAttempts
            | Self::UpdateAttempts
            | Self::InsertMachines
            | Self::UpdateMachines
            | Self::PutMachineKeys
            | Self::InsertLaunches
            | Self::InsertImages
            | Self::UpdateImages
            | Self::InsertPolicies
            | Self::InsertExtents
            | Self::AppendEntries
            | Self::AddCosts
            | Self::AppendBudgetNotes
            | Self::AppendEvents
            | Self::InsertTokens
            | Self::RevokeTokens => true,
            Self::DeleteMachineKeys | Self::DeleteLaunches => false,
        }
    }
}

/// Rows as a JSON array of arrays, one element per column.
#[derive(Debug, Default)]
pub(super) struct Rows {
    json: Vec<u8>,
    count: u64,
}

impl Rows {
    fn push(&mut self, row: &impl Serialize) -> Result<(), serde_json::Error> {
        self.json.push(if self.count == 0 { b'[' } else { b',' });
        self.count += 1;
        serde_json::to_writer(&mut self.json, row)
    }

    /// How many rows.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// The array. JSON is UTF-8, so nothing is ever replaced.
    pub(super) fn into_json(mut self) -> String {
        self.json.push(b']');
        String::from_utf8(self.json)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

/// A row that a change writes or must find as it was.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum RowName<'a> {
    Pipeline(PipelineId),
    Build(BuildId),
    Attempt(AttemptId),
    Machine(MachineId),
    Keys(MachineId),
    Launch(LaunchId),
    Image(&'a str, u32),
    Policy(&'a str, u32),
    Extent(AttemptId, u64),
    Token(TokenId),
}

impl<'a> RowName<'a> {
    /// The row of a change; none for what is only ever appended.
    pub(super) fn of(change: &'a Change) -> Option<Self> {
        match change {
            Change::InsertPipeline(pipeline) => Some(Self::Pipeline(pipeline.id)),
            Change::InsertBuild(build) | Change::UpdateBuild(build, _) => {
                Some(Self::Build(build.id))
            }
            Change::InsertAttempt(attempt) | Change::UpdateAttempt(attempt, _) => {
                Some(Self::Attempt(attempt.id))
            }
            Change::InsertMachine(machine) | Change::UpdateMachine(machine, _) => {
                Some(Self::Machine(machine.id))
            }
            Change::PutMachineKeys(keys) => Some(Self::Keys(keys.machine)),
            Change::DeleteMachineKeys(machine) => Some(Self::Keys(*machine)),
            Change::InsertLaunch(launch) => Some(Self::Launch(launch.id)),
            Change::DeleteLaunch(launch) => Some(Self::Launch(*launch)),
            Change::InsertImage(image) | Change::UpdateImage(image, _) => {
                Some(Self::Image(&image.name, image.version))
            }
            Change::InsertPolicy(policy) => Some(Self::Policy(&policy.name, policy.version)),
            Change::InsertExtent(extent) => Some(Self::Extent(extent.attempt, extent.start)),
            Change::InsertToken(token) => Some(Self::Token(token.id)),
            Change::RevokeToken(token, _) => Some(Self::Token(*token)),
            Change::AppendEntry(_) | Change::AppendBudgetNote(_) | Change::AppendEvent(_) => None,
        }
    }
}

impl fmt::Display for RowName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pipeline(id) => write!(f, "pipeline {id}"),
            Self::Build(id) => write!(f, "build {id}"),
            Self::Attempt(id) => write!(f, "attempt {id}"),
            Self::Machine(id) => write!(f, "machine {id}"),
            Self::Keys(id) => write!(f, "keys of machine {id}"),
            Self::Launch(id) => write!(f, "launch {id}"),
            Self::Image(name, version) => write!(f, "image {name} version {version}"),
            Self::Policy(name, version) => write!(f, "policy {name} version {version}"),
            Self::Extent(attempt, start) => write!(f, "extent of {attempt} at {start}"),
            Self::Token(id) => write!(f, "token {id}"),
        }
    }
}

/// Hour, project, image, category.
type CostKey<'a> = (i64, &'a str, &'a str, &'static str);

/// Changes that can be applied kind by kind, because no row is in it twice.
#[derive(Debug, Default)]
struct Round<'a> {
    rows: BTreeMap<Verb, Rows>,
    rows_named: HashSet<RowName<'a>>,
    costs: BTreeMap<CostKey<'a>, (i64, u64)>,
    changes: usize,
}

/// Splits `changes` into rounds, to be executed one after the other, each kind by kind.
///
/// A round ends before a change of a row that it holds already, so that writes of one row keep
/// their order, and when it is large.
pub(super) fn rounds<'a>(
    changes: impl IntoIterator<Item = &'a Change>,
) -> Result<Vec<BTreeMap<Verb, Rows>>, serde_json::Error> {
    let mut done = Vec::new();
    let mut round = Round::default();
    for change in changes {
        let name = RowName::of(change);
        if round.is_large() || name.as_ref().is_some_and(|n| round.rows_named.contains(n)) {
            done.push(std::mem::take(&mut round).finish()?);
        }
        round.rows_named.extend(name);
        round.push(change)?;
    }
    if round.changes > 0 {
        done.push(round.finish()?);
    }
    Ok(done)
}

impl<'a> Round<'a> {
    fn is_large(&self) -> bool {
        self.changes >= ROUND_CHANGES
            || self
                .rows
                .values()
                .map(|rows| rows.json.len())
                .sum::<usize>()
                >= ROUND_BYTES
    }

    fn finish(mut self) -> Result<BTreeMap<Verb, Rows>, serde_json::Error> {
        for ((hour, project, image, category), (amount, time)) in std::mem::take(&mut self.costs) {
            let row = (hour, project, image, category, amount, time);
            self.add(Verb::AddCosts, &row)?;
        }
        Ok(self.rows)
    }

    fn add(&mut self, verb: Verb, row: &impl Serialize) -> Result<(), serde_json::Error> {
        self.rows.entry(verb).or_default().push(row)
    }

    fn push(&mut self, change: &'a Change) -> Result<(), serde_json::Error> {
        self.changes += 1;
        match change {
            Change::InsertPipeline(p) => {
                let key = p.idempotency.as_ref().map(|(key, _)| key);
                self.add(Verb::InsertPipelines, &(p.id, &p.project, key, p))
            }
            Change::InsertBuild(build) => self.insert_build(build),
            Change::UpdateBuild(build, read) => self.update_build(build, *read),
            Change::InsertAttempt(attempt) => self.insert_attempt(attempt),
            Change::UpdateAttempt(a, read) => {
                self.add(Verb::UpdateAttempts, &(a.id, read, a.rev, a))
            }
            Change::InsertMachine(machine) => self.insert_machine(machine),
            Change::UpdateMachine(m, read) => self.add(
                Verb::UpdateMachines,
                &(m.id, read, m.state.word(), m.rev, m),
            ),
            Change::PutMachineKeys(keys) => self.add(Verb::PutMachineKeys, &(keys.machine, keys)),
            Change::DeleteMachineKeys(machine) => self.add(Verb::DeleteMachineKeys, &(machine,)),
            Change::InsertLaunch(launch) => self.add(Verb::InsertLaunches, &(launch.id, launch)),
            Change::DeleteLaunch(launch) => self.add(Verb::DeleteLaunches, &(launch,)),
            Change::InsertImage(image) => self.insert_image(image),
            Change::UpdateImage(i, read) => {
                let row = (&i.name, i.version, read, i.state, i.rev, i);
                self.add(Verb::UpdateImages, &row)
            }
            Change::InsertPolicy(policy) => self.insert_policy(policy),
            Change::InsertExtent(extent) => self.insert_extent(extent),
            Change::AppendEntry(entry) => self.append_entry(entry),
            Change::AppendBudgetNote(note) => {
                self.add(Verb::AppendBudgetNotes, &(note.at.micros(), note))
            }
            Change::AppendEvent(event) => self.append_event(event),
            Change::InsertToken(t) => {
                let revoked_at = t.revoked_at.map(crate::model::Timestamp::micros);
                self.add(Verb::InsertTokens, &(t.id, &t.hash, revoked_at, t))
            }
            Change::RevokeToken(id, at) => self.add(Verb::RevokeTokens, &(id, at.micros())),
        }
    }

    fn insert_build(&mut self, build: &Build) -> Result<(), serde_json::Error> {
        let row = (
            build.id,
            build.spec.pipeline,
            &build.spec.project,
            build.state.word(),
            build.state.result().map(BuildResult::word),
            build.attempts,
            build.rev,
            &build.state,
            &build.cancel,
            build.spared,
        );
        self.add(Verb::InsertBuilds, &row)?;
        self.add(Verb::InsertBuildSpecs, &(build.id, &*build.spec))
    }

    fn update_build(&mut self, build: &Build, read: u64) -> Result<(), serde_json::Error> {
        let row = (
            build.id,
            read,
            build.state.word(),
            build.state.result().map(BuildResult::word),
            build.attempts,
            build.rev,
            &build.state,
            &build.cancel,
            build.spared,
        );
        self.add(Verb::UpdateBuilds, &row)
    }

    fn insert_attempt(&mut self, attempt: &Attempt) -> Result<(), serde_json::Error> {
        let row = (
            attempt.id,
            attempt.build,
            attempt.number,
            attempt.rev,
            attempt,
        );
        self.add(Verb::InsertAttempts, &row)
    }

    fn insert_machine(&mut self, machine: &Machine) -> Result<(), serde_json::Error> {
        let row = (
            machine.id,
            machine.state.word(),
            &machine.image,
            machine.image_version,
            machine.rev,
            machine,
        );
        self.add(Verb::InsertMachines, &row)
    }

    fn insert_image(&mut self, image: &Image) -> Result<(), serde_json::Error> {
        let row = (&image.name, image.version, image.state, image.rev, image);
        self.add(Verb::InsertImages, &row)
    }

    fn insert_policy(&mut self, policy: &Policy) -> Result<(), serde_json::Error> {
        self.add(
            Verb::InsertPolicies,
            &(&policy.name, policy.version, policy),
        )
    }

    fn insert_extent(&mut self, extent: &Extent) -> Result<(), serde_json::Error> {
        let row = (
            extent.attempt,
            extent.start,
            extent.len,
            extent.pack,
            extent.frame_start,
            extent.frame_len,
            &extent.marks,
        );
        self.add(Verb::InsertExtents, &row)
    }

    fn append_entry(&mut self, entry: &'a Entry) -> Result<(), serde_json::Error> {
        let begin = entry.from.micros();
        let time = entry.to.since(entry.from).micros();
        let key = (
            begin.div_euclid(HOUR),
            entry.project.as_deref().unwrap_or(""),
            entry.image.as_str(),
            entry.category.word(),
        );
        let sums = self.costs.entry(key).or_default();
        sums.0 = sums.0.saturating_add(entry.amount.micros());
        sums.1 = sums.1.saturating_add(time);
        let row = (
            entry.machine,
            &entry.image,
            entry.build,
            entry.attempt,
            entry.pipeline,
            &entry.project,
            entry.category.word(),
            begin,
            entry.to.micros(),
            time,
            entry.amount.micros(),
        );
        self.add(Verb::AppendEntries, &row)
    }

    fn append_event(&mut self, event: &Event) -> Result<(), serde_json::Error> {
        let (kind, subject) = subject_columns(&event.subject);
        let row = (
            event.at.micros(),
            event.kind.word(),
            kind,
            subject,
            &event.message,
        );
        self.add(Verb::AppendEvents, &row)
    }
}

/// A subject as two columns: its kind, and its id or name.
pub(super) fn subject_columns(subject: &Subject) -> (&'static str, String) {
    match subject {
        Subject::Pipeline(id) => ("pipeline", id.to_string()),
        Subject::Build(id) => ("build", id.to_string()),
        Subject::Machine(id) => ("machine", id.to_string()),
        Subject::Image(name) => ("image", name.clone()),
        Subject::Policy(name) => ("policy", name.clone()),
    }
}
