//! A store in memory, complete enough for what the API reads, with failures to inject.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;

use crate::model::{
    Attempt, AttemptId, BudgetNote, Build, BuildId, BuildState, Category, Change, Entry, Event,
    Extent, Image, Machine, MachineId, MachineKeys, MachineState, Money, Pipeline, PipelineId,
    Policy, Span, Subject, Timestamp, Token,
};
use crate::store::{
    BuildFilter, CostGroup, CostRow, OpenWork, Page, PastAttempt, SpentRow, Store, StoreError,
    Tally,
};

/// Rows by id, as they were committed.
#[derive(Debug, Default)]
pub(super) struct FakeStore {
    rows: Mutex<Rows>,
    /// Every question fails while this is set.
    pub(super) broken: AtomicBool,
    /// How often a token was looked up.
    pub(super) token_lookups: AtomicU64,
    /// How often events were read.
    pub(super) event_reads: AtomicU64,
}

#[derive(Debug, Default)]
struct Rows {
    pipelines: BTreeMap<PipelineId, Pipeline>,
    builds: BTreeMap<BuildId, Build>,
    attempts: BTreeMap<AttemptId, Attempt>,
    machines: BTreeMap<MachineId, Machine>,
    images: Vec<Image>,
    policies: Vec<Policy>,
    events: Vec<Event>,
    entries: Vec<Entry>,
    tokens: Vec<Token>,
}

impl Rows {
    fn apply(&mut self, change: Change) {
        match change {
            Change::InsertPipeline(row) => drop(self.pipelines.insert(row.id, row)),
            Change::InsertBuild(row) | Change::UpdateBuild(row, _) => {
                drop(self.builds.insert(row.id, row));
            }
            Change::InsertAttempt(row) | Change::UpdateAttempt(row, _) => {
                drop(self.attempts.insert(row.id, row));
            }
            Change::InsertMachine(row) | Change::UpdateMachine(row, _) => {
                drop(self.machines.insert(row.id, row));
            }
            Change::InsertImage(row) => self.images.push(row),
            Change::UpdateImage(row, _) => {
                self.images
                    .retain(|image| (&image.name, image.version) != (&row.name, row.version));
                self.images.push(row);
            }
            Change::InsertPolicy(row) => self.policies.push(row),
            Change::AppendEntry(row) => self.entries.push(row),
            Change::AppendBudgetNote(_) => {}
            Change::AppendEvent(row) => self.events.push(row),
            Change::InsertToken(row) => self.tokens.push(row),
            Change::RevokeToken(id, at) => self
                .tokens
                .iter_mut()
                .filter(|token| token.id == id)
                .for_each(|token| token.revoked_at = Some(at)),
            Change::PutMachineKeys(_)
            | Change::DeleteMachineKeys(_)
            | Change::InsertLaunch(_)
            | Change::DeleteLaunch(_)
            | Change::InsertExtent(_) => {
                panic!("the API has no business with these")
            }
        }
    }

    fn tally(&self, pipeline: PipelineId) -> Tally {
        let mut tally = Tally::new();
        for build in self
            .builds
            .values()
            .filter(|build| build.spec.pipeline == pipeline)
        {
            let word = match &build.state {
                BuildState::Finished { result, .. } => result.word(),
                BuildState::Waiting
                | BuildState::Queued { .. }
                | BuildState::Bound { .. }
                | BuildState::Running { .. } => build.state.word(),
            };
            *tally.entry(word.to_owned()).or_default() += 1;
        }
        tally
    }

    /// What an entry is reported under.
    fn key(entry: &Entry, group: CostGroup) -> String {
        match group {
            CostGroup::Build => entry.build.map(|id| id.to_string()),
            CostGroup::Pipeline => entry.pipeline.map(|id| id.to_string()),
            CostGroup::Project => entry.project.clone(),
            CostGroup::Image => Some(entry.image.clone()),
            CostGroup::Day => Some(entry.from.to_string()[..10].to_owned()),
        }
        .unwrap_or_default()
    }
}

/// Rows of one page: newest first, behind the cursor.
fn page_of<Id: Ord + Copy, Row: Clone>(
    rows: &BTreeMap<Id, Row>,
    page: &Page<Id>,
    wanted: impl Fn(&Row) -> bool,
) -> Vec<Row> {
    rows.iter()
        .rev()
        .filter(|(id, row)| page.before.is_none_or(|before| **id < before) && wanted(row))
        .take(page.limit as usize)
        .map(|(_, row)| row.clone())
        .collect()
}

/// The newest version of each name, or all versions of one, newest first.
fn versions<Row: Clone>(
    rows: &[Row],
    name: Option<&str>,
    key: impl Fn(&Row) -> (String, u32),
) -> Vec<Row> {
    let mut found: Vec<Row> = rows
        .iter()
        .filter(|row| match name {
            Some(name) => key(row).0 == name,
            None => rows
                .iter()
                .all(|other| key(other).0 != key(row).0 || key(other).1 <= key(row).1),
        })
        .cloned()
        .collect();
    found.sort_by_key(|row| std::cmp::Reverse(key(row).1));
    found
}

fn add(rows: &mut BTreeMap<String, CostRow>, key: String, entry: &Entry) {
    let row = rows.entry(key.clone()).or_insert_with(|| empty_row(key));
    *row.by_category.entry(entry.category).or_insert(Money::ZERO) += entry.amount;
    let time: &mut Span = row.time.entry(entry.category).or_default();
    *time = Span::from_micros(time.micros() + entry.to.since(entry.from).micros());
    row.total += entry.amount;
}

fn empty_row(key: String) -> CostRow {
    CostRow {
        key,
        by_category: BTreeMap::<Category, Money>::new(),
        time: BTreeMap::new(),
        total: Money::ZERO,
    }
}

impl FakeStore {
    /// Reads, unless broken.
    fn ask<T>(&self, answer: impl FnOnce(&Rows) -> T) -> Result<T, StoreError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(StoreError::Database {
                operation: "reading",
                detail: "disk I/O error at /var/lib/secret-place".to_owned(),
            });
        }
        Ok(answer(&self.rows.lock().unwrap()))
    }

    /// Writes without waiting.
    pub(super) fn put(&self, changes: impl IntoIterator<Item = Change>) {
        let mut rows = self.rows.lock().unwrap();
        changes.into_iter().for_each(|change| rows.apply(change));
    }

    /// A build that a test knows to be there.
    pub(super) fn build_now(&self, id: BuildId) -> Option<Build> {
        self.rows.lock().unwrap().builds.get(&id).cloned()
    }

    /// The builds of a pipeline, oldest first.
    pub(super) fn builds_now(&self, pipeline: PipelineId) -> Vec<Build> {
        let rows = self.rows.lock().unwrap();
        let of = |build: &&Build| build.spec.pipeline == pipeline;
        rows.builds.values().filter(of).cloned().collect()
    }

    /// All pipelines, oldest first.
    pub(super) fn pipelines_now(&self) -> Vec<Pipeline> {
        self.rows
            .lock()
            .unwrap()
            .pipelines
            .values()
            .cloned()
            .collect()
    }

    /// All versions of all images.
    pub(super) fn images_now(&self) -> Vec<Image> {
        self.rows.lock().unwrap().images.clone()
    }

    /// A machine, if it is there.
    pub(super) fn machine_now(&self, id: MachineId) -> Option<Machine> {
        self.rows.lock().unwrap().machines.get(&id).cloned()
    }
}

#[async_trait]
impl Store for FakeStore {
    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.ask(|_| ())?;
        self.put(changes);
        Ok(())
    }

    async fn open_work(&self) -> Result<OpenWork, StoreError> {
        self.ask(|rows| OpenWork {
            builds: rows
                .builds
                .values()
                .filter(|build| !build.state.is_finished())
                .cloned()
                .collect(),
            ..OpenWork::default()
        })
    }

    async fn pipeline(&self, id: PipelineId) -> Result<Option<Pipeline>, StoreError> {
        self.ask(|rows| rows.pipelines.get(&id).cloned())
    }

    async fn pipeline_by_key(&self, key: &str) -> Result<Option<Pipeline>, StoreError> {
        let has_key = |row: &&Pipeline| {
            row.idempotency
                .as_ref()
                .is_some_and(|(used, _)| used == key)
        };
        self.ask(|rows| rows.pipelines.values().find(has_key).cloned())
    }

    async fn pipelines(
        &self,
        project: Option<&str>,
        page: Page<PipelineId>,
    ) -> Result<Vec<(Pipeline, Tally)>, StoreError> {
        self.ask(|rows| {
            page_of(&rows.pipelines, &page, |row: &Pipeline| {
                project.is_none_or(|project| row.project == project)
            })
            .into_iter()
            .map(|row| (row.clone(), rows.tally(row.id)))
            .collect()
        })
    }

    async fn tally(&self, id: PipelineId) -> Result<Tally, StoreError> {
        self.ask(|rows| rows.tally(id))
    }

    async fn build(&self, id: BuildId) -> Result<Option<Build>, StoreError> {
        self.ask(|rows| rows.builds.get(&id).cloned())
    }

    async fn builds(
        &self,
        filter: &BuildFilter,
        page: Page<BuildId>,
    ) -> Result<Vec<Build>, StoreError> {
        let result = |build: &Build| match build.state {
            BuildState::Finished { result, .. } => Some(result),
            BuildState::Waiting
            | BuildState::Queued { .. }
            | BuildState::Bound { .. }
            | BuildState::Running { .. } => None,
        };
        self.ask(|rows| {
            page_of(&rows.builds, &page, |build: &Build| {
                filter.pipeline.is_none_or(|id| build.spec.pipeline == id)
                    && filter
                        .project
                        .as_ref()
                        .is_none_or(|name| build.spec.project == *name)
                    && filter
                        .state
                        .as_ref()
                        .is_none_or(|word| build.state.word() == word)
                    && filter
                        .result
                        .is_none_or(|wanted| result(build) == Some(wanted))
            })
        })
    }

    async fn attempt(&self, id: AttemptId) -> Result<Option<Attempt>, StoreError> {
        self.ask(|rows| rows.attempts.get(&id).cloned())
    }

    async fn attempts(&self, build: BuildId) -> Result<Vec<Attempt>, StoreError> {
        self.ask(|rows| {
            let of = |attempt: &&Attempt| attempt.build == build;
            let mut attempts: Vec<_> = rows.attempts.values().filter(of).cloned().collect();
            attempts.sort_by_key(|attempt| attempt.number);
            attempts
        })
    }

    async fn past_attempts(&self, _: Page<AttemptId>) -> Result<Vec<PastAttempt>, StoreError> {
        // Asked by engines only.
        Ok(Vec::new())
    }

    async fn machine(&self, id: MachineId) -> Result<Option<Machine>, StoreError> {
        self.ask(|rows| rows.machines.get(&id).cloned())
    }

    async fn machines(
        &self,
        with_gone: bool,
        page: Page<MachineId>,
    ) -> Result<Vec<Machine>, StoreError> {
        self.ask(|rows| {
            page_of(&rows.machines, &page, |machine: &Machine| {
                with_gone || !matches!(machine.state, MachineState::Gone { .. })
            })
        })
    }

    async fn machine_keys(&self, _: MachineId) -> Result<Option<MachineKeys>, StoreError> {
        panic!("the API has no business with keys")
    }

    async fn images(&self, name: Option<&str>) -> Result<Vec<Image>, StoreError> {
        self.ask(|rows| versions(&rows.images, name, |row| (row.name.clone(), row.version)))
    }

    async fn policies(&self, name: Option<&str>) -> Result<Vec<Policy>, StoreError> {
        self.ask(|rows| versions(&rows.policies, name, |row| (row.name.clone(), row.version)))
    }

    async fn extents(&self, _: AttemptId, _: u64, _: u64) -> Result<Vec<Extent>, StoreError> {
        panic!("the API reads logs through their source")
    }

    async fn events(
        &self,
        subject: Option<&Subject>,
        after: u64,
        limit: u32,
    ) -> Result<Vec<(u64, Event)>, StoreError> {
        self.event_reads.fetch_add(1, Ordering::Relaxed);
        self.ask(|rows| {
            (1_u64..)
                .zip(&rows.events)
                .filter(|(number, event)| {
                    *number > after && subject.is_none_or(|subject| event.subject == *subject)
                })
                .take(limit as usize)
                .map(|(number, event)| (number, event.clone()))
                .collect()
        })
    }

    async fn last_event(&self) -> Result<u64, StoreError> {
        self.ask(|rows| rows.events.len() as u64)
    }

    async fn costs(
        &self,
        group: CostGroup,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<CostRow>, StoreError> {
        self.ask(|rows| {
            let mut groups = BTreeMap::new();
            for entry in rows
                .entries
                .iter()
                .filter(|entry| (from..to).contains(&entry.from))
            {
                add(&mut groups, Rows::key(entry, group), entry);
            }
            let mut report: Vec<CostRow> = groups.into_values().collect();
            report.sort_by_key(|row| std::cmp::Reverse(row.total));
            report.truncate(limit as usize);
            report
        })
    }

    async fn spent(&self, _: Timestamp) -> Result<Vec<SpentRow>, StoreError> {
        self.ask(|_| Vec::new())
    }

    async fn budget_notes(&self, _: Timestamp) -> Result<Vec<BudgetNote>, StoreError> {
        self.ask(|_| Vec::new())
    }

    async fn build_cost(&self, id: BuildId) -> Result<CostRow, StoreError> {
        self.ask(|rows| {
            let key = id.to_string();
            let mut groups = BTreeMap::new();
            for entry in rows.entries.iter().filter(|entry| entry.build == Some(id)) {
                add(&mut groups, key.clone(), entry);
            }
            groups.remove(&key).unwrap_or_else(|| empty_row(key))
        })
    }

    async fn token_by_hash(&self, hash: &str) -> Result<Option<Token>, StoreError> {
        self.token_lookups.fetch_add(1, Ordering::Relaxed);
        let fits = |token: &&Token| token.hash == hash && token.revoked_at.is_none();
        self.ask(|rows| rows.tokens.iter().find(fits).cloned())
    }

    async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        self.ask(|rows| rows.tokens.iter().rev().cloned().collect())
    }
}
