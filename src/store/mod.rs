//! Port: what must survive. One trait; `sqlite` is the embedded engine.
//!
//! All writing goes through [`Store::commit`]: a list of [`Change`]s that is applied whole or not
//! at all, with compare-and-set on each updated row. Commits of concurrent callers may be merged
//! into one durable write, in the order in which `commit` was called. Reading is by question, not
//! by SQL. Callers: `engine` (writes and reads), `api` (reads).

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::model::{
    Attempt, AttemptId, BudgetNote, Build, BuildId, BuildResult, Category, Change, Event, Extent,
    Image, Launch, Machine, MachineId, MachineKeys, MachineState, Money, Pipeline, PipelineId,
    Policy, Span, Subject, Timestamp, Token,
};

#[cfg(test)]
mod contract;
mod rounds;
mod sqlite;

pub use sqlite::SqliteStore;

/// Why the store did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A row was changed by somebody else, or an inserted row exists: nothing was written.
    #[error("conflicting write of {row}")]
    Conflict {
        /// Kind and id of the row.
        row: String,
    },
    /// A stored row cannot be understood.
    #[error("corrupt row {row}: {detail}")]
    Corrupt {
        /// Kind and id of the row.
        row: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The database failed. The write may or may not have happened.
    #[error("{operation} failed: {detail}")]
    Database {
        /// What we were doing.
        operation: &'static str,
        /// What the database said.
        detail: String,
    },
}

/// Everything that is not over, for an engine that starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenWork {
    /// Builds without a result.
    pub builds: Vec<Build>,
    /// The current attempt of each bound or running build.
    pub attempts: Vec<Attempt>,
    /// Machines that are not proved gone.
    pub machines: Vec<Machine>,
    /// Image versions that are active, or have a machine that is not gone, or are the newest of
    /// their name.
    pub images: Vec<Image>,
    /// The current version of each policy.
    pub policies: Vec<Policy>,
    /// Launches whose outcome is not known.
    pub launches: Vec<Launch>,
    /// Results of finished builds that unfinished builds need.
    pub needed: BTreeMap<BuildId, BuildResult>,
}

/// An attempt, with what it was for and where it ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastAttempt {
    /// The attempt.
    pub attempt: Attempt,
    /// Its build's project.
    pub project: String,
    /// Its build's name.
    pub build: String,
    /// Its machine's image, by name.
    pub image: String,
}

/// Which rows of a list, and how many. Lists are newest first; `before` continues after the last
/// row of the page before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<Id> {
    /// Only rows older than this one.
    pub before: Option<Id>,
    /// At most this many rows.
    pub limit: u32,
}

/// Which builds to list; every given part must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildFilter {
    /// Of this pipeline.
    pub pipeline: Option<PipelineId>,
    /// Of this project.
    pub project: Option<String>,
    /// In this state (`BuildState::word`).
    pub state: Option<String>,
    /// With this result.
    pub result: Option<BuildResult>,
}

/// How the builds of a pipeline stand: number of builds by state word, or by result word once
/// finished.
pub type Tally = BTreeMap<String, u32>;

/// One row of a cost report.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CostRow {
    /// The group's value: a build id, project, image, day (`2026-11-21`, UTC) …; empty for overhead that belongs to
    /// no group.
    pub key: String,
    /// Money by category.
    pub by_category: BTreeMap<Category, Money>,
    /// Machine time by category.
    pub time: BTreeMap<Category, Span>,
    /// All of it.
    pub total: Money,
}

/// What the ledger says was spent on one thing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpentRow {
    /// The project of the build, or for overhead of the machine; none where there is none.
    pub project: Option<String>,
    /// The image.
    pub image: String,
    /// The pipeline; none for overhead.
    pub pipeline: Option<PipelineId>,
    /// The build; none for overhead.
    pub build: Option<BuildId>,
    /// The build's labels.
    pub labels: BTreeMap<String, String>,
    /// The build's priority.
    pub priority: Option<i32>,
    /// How much.
    pub amount: Money,
}

/// What cost reports are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostGroup {
    /// Build id.
    Build,
    /// Pipeline id.
    Pipeline,
    /// Project.
    Project,
    /// Image name.
    Image,
    /// Day in UTC on which the stretch began.
    Day,
}

/// The durable state.
///
/// # Contract
/// - `commit` returns after the changes are durable (they survive a power cut), or with an error;
///   [`StoreError::Conflict`] means that nothing of this list was written.
/// - Commits take effect in the order in which `commit` was first polled; a caller that goes away
///   after that withdraws nothing. So a commit of nothing returns when all before it are over.
/// - A list that is wrong in itself (a build without its pipeline, a number above `i64::MAX`) is a
///   [`StoreError::Database`] for its caller alone.
/// - A reader that starts after a commit returned sees it.
/// - Events are numbered from 1 without holes, in commit order.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Applies all of `changes`, or none.
    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError>;

    /// Everything that is not over.
    async fn open_work(&self) -> Result<OpenWork, StoreError>;

    /// A pipeline by id.
    async fn pipeline(&self, id: PipelineId) -> Result<Option<Pipeline>, StoreError>;
    /// The pipeline that was accepted with this idempotency key.
    async fn pipeline_by_key(&self, key: &str) -> Result<Option<Pipeline>, StoreError>;
    /// Pipelines, newest first, each with its tally.
    async fn pipelines(
        &self,
        project: Option<&str>,
        page: Page<PipelineId>,
    ) -> Result<Vec<(Pipeline, Tally)>, StoreError>;
    /// How a pipeline's builds stand.
    async fn tally(&self, id: PipelineId) -> Result<Tally, StoreError>;

    /// A build by id.
    async fn build(&self, id: BuildId) -> Result<Option<Build>, StoreError>;
    /// How many builds stand in each state that is not the end. Asked at every scrape of metrics:
    /// an engine that can count without reading the rows should.
    async fn open_builds(&self) -> Result<Tally, StoreError> {
        let mut tally = Tally::new();
        for build in self.open_work().await?.builds {
            *tally.entry(build.state.word().to_owned()).or_default() += 1;
        }
        Ok(tally)
    }
    /// Builds, newest first.
    async fn builds(
        &self,
        filter: &BuildFilter,
        page: Page<BuildId>,
    ) -> Result<Vec<Build>, StoreError>;
    /// An attempt by id.
    async fn attempt(&self, id: AttemptId) -> Result<Option<Attempt>, StoreError>;
    /// The attempts of a build, first to last.
    async fn attempts(&self, build: BuildId) -> Result<Vec<Attempt>, StoreError>;

    /// Attempts with what they were for and where they ran, newest first. Asked once at each start,
    /// for all of some weeks: an engine that can join its tables should.
    async fn past_attempts(&self, page: Page<AttemptId>) -> Result<Vec<PastAttempt>, StoreError>;

    /// A machine by id.
    async fn machine(&self, id: MachineId) -> Result<Option<Machine>, StoreError>;
    /// Machines, newest first; those proved gone only if asked for.
    async fn machines(
        &self,
        with_gone: bool,
        page: Page<MachineId>,
    ) -> Result<Vec<Machine>, StoreError>;
    /// Machines whose launch was decided since `since` and that are gone or on their way out.
    async fn ended_machines(&self, since: Timestamp) -> Result<Vec<Machine>, StoreError> {
        const PAGE: u32 = 500;
        let mut ended = Vec::new();
        let mut page = Page {
            before: None,
            limit: PAGE,
        };
        loop {
            let machines = self.machines(true, page.clone()).await?;
            page.before = machines.last().map(|machine| machine.id);
            let all = machines.len();
            // Identities sort by time, so the first that is older is followed by older ones only.
            let recent = machines.into_iter().filter(|m| m.created_at >= since);
            let recent: Vec<Machine> = recent.collect();
            let is_last = recent.len() < all || all < usize::try_from(PAGE).unwrap_or(all);
            ended.extend(recent.into_iter().filter(|machine| {
                matches!(
                    machine.state,
                    MachineState::Draining { .. } | MachineState::Gone { .. }
                )
            }));
            if is_last {
                return Ok(ended);
            }
        }
    }
    /// The keys of a machine that is not gone.
    async fn machine_keys(&self, id: MachineId) -> Result<Option<MachineKeys>, StoreError>;

    /// All versions of one image, newest first; or the active version of every image, by name.
    async fn images(&self, name: Option<&str>) -> Result<Vec<Image>, StoreError>;
    /// All versions of one policy, newest first; or the current version of every policy, by name.
    async fn policies(&self, name: Option<&str>) -> Result<Vec<Policy>, StoreError>;

    /// The extents of an attempt's log that overlap `[from, to)`, ascending. Extents of one attempt
    /// never overlap each other.
    async fn extents(
        &self,
        attempt: AttemptId,
        from: u64,
        to: u64,
    ) -> Result<Vec<Extent>, StoreError>;

    /// Events after number `after`, ascending, at most `limit`, optionally about one subject.
    async fn events(
        &self,
        subject: Option<&Subject>,
        after: u64,
        limit: u32,
    ) -> Result<Vec<(u64, Event)>, StoreError>;
    /// The number of the newest event; 0 when there is none.
    async fn last_event(&self) -> Result<u64, StoreError>;

    /// Money by group over entries that began in `[from, to)`, dearest group first, at most
    /// `limit` rows.
    async fn costs(
        &self,
        group: CostGroup,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<CostRow>, StoreError>;
    /// Money spent from `since` on, by what it was spent on, in no order. Entries that began before
    /// count in proportion to their time after it.
    async fn spent(&self, since: Timestamp) -> Result<Vec<SpentRow>, StoreError>;
    /// What happened to budgets from `since` on, oldest first.
    async fn budget_notes(&self, since: Timestamp) -> Result<Vec<BudgetNote>, StoreError>;
    /// Money that a build cost so far, by category.
    async fn build_cost(&self, id: BuildId) -> Result<CostRow, StoreError>;

    /// The unrevoked token with this hash.
    async fn token_by_hash(&self, hash: &str) -> Result<Option<Token>, StoreError>;
    /// All tokens, newest first.
    async fn tokens(&self) -> Result<Vec<Token>, StoreError>;
}
