//! The real store, watched: counts calls under way, and fails commits on request.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use dormouse::model::{
    Attempt, AttemptId, BudgetNote, Build, BuildId, Change, Event, Extent, Image, Machine,
    MachineId, MachineKeys, Pipeline, PipelineId, Policy, Subject, Timestamp, Token,
};
use dormouse::store::{
    BuildFilter, CostGroup, CostRow, OpenWork, Page, PastAttempt, SpentRow, SqliteStore, Store,
    StoreError, Tally,
};

use super::quiet::Quiet;

/// What happens to a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommitTrouble {
    /// It fails and nothing is written, as on a full disk.
    NotWritten,
    /// It is written and fails to say so.
    Written,
}

/// The store that a world's engine uses.
#[derive(Debug)]
pub(crate) struct WatchedStore {
    inner: SqliteStore,
    quiet: Arc<Quiet>,
    /// What the next commits meet.
    commits: Mutex<VecDeque<Option<CommitTrouble>>>,
}

impl WatchedStore {
    pub(crate) fn new(inner: SqliteStore, quiet: Arc<Quiet>) -> Self {
        Self {
            inner,
            quiet,
            commits: Mutex::default(),
        }
    }

    /// The next commits meet these troubles, one each.
    pub(crate) fn trouble_commits(&self, troubles: impl IntoIterator<Item = CommitTrouble>) {
        let troubles = troubles.into_iter().map(Some);
        self.commits.lock().unwrap().extend(troubles);
    }

    /// Lets so many commits through, then troubles one.
    pub(crate) fn trouble_after(&self, place: usize, trouble: CommitTrouble) {
        let mut commits = self.commits.lock().unwrap();
        commits.extend(std::iter::repeat_n(None, place));
        commits.push_back(Some(trouble));
    }

    /// Forgets troubles that have not happened yet.
    pub(crate) fn calm(&self) {
        self.commits.lock().unwrap().clear();
    }

    pub(crate) async fn close(&self) {
        self.inner.close().await;
    }
}

fn disk_full() -> StoreError {
    StoreError::Database {
        operation: "commit",
        detail: "database or disk is full".to_owned(),
    }
}

/// Hands calls through, counted while they are under way.
macro_rules! watched {
    ($self:ident . $call:ident ( $($argument:expr),* )) => {{
        let _under_way = $self.quiet.begin();
        $self.inner.$call($($argument),*).await
    }};
}

#[async_trait]
impl Store for WatchedStore {
    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let trouble = self.commits.lock().unwrap().pop_front().flatten();
        match trouble {
            None => watched!(self.commit(changes)),
            Some(CommitTrouble::NotWritten) => Err(disk_full()),
            Some(CommitTrouble::Written) => {
                watched!(self.commit(changes))?;
                Err(disk_full())
            }
        }
    }

    async fn open_work(&self) -> Result<OpenWork, StoreError> {
        watched!(self.open_work())
    }

    async fn pipeline(&self, id: PipelineId) -> Result<Option<Pipeline>, StoreError> {
        watched!(self.pipeline(id))
    }

    async fn pipeline_by_key(&self, key: &str) -> Result<Option<Pipeline>, StoreError> {
        watched!(self.pipeline_by_key(key))
    }

    async fn pipelines(
        &self,
        project: Option<&str>,
        page: Page<PipelineId>,
    ) -> Result<Vec<(Pipeline, Tally)>, StoreError> {
        watched!(self.pipelines(project, page))
    }

    async fn tally(&self, id: PipelineId) -> Result<Tally, StoreError> {
        watched!(self.tally(id))
    }

    async fn build(&self, id: BuildId) -> Result<Option<Build>, StoreError> {
        watched!(self.build(id))
    }

    async fn builds(
        &self,
        filter: &BuildFilter,
        page: Page<BuildId>,
    ) -> Result<Vec<Build>, StoreError> {
        watched!(self.builds(filter, page))
    }

    async fn attempt(&self, id: AttemptId) -> Result<Option<Attempt>, StoreError> {
        watched!(self.attempt(id))
    }

    async fn attempts(&self, build: BuildId) -> Result<Vec<Attempt>, StoreError> {
        watched!(self.attempts(build))
    }

    async fn past_attempts(&self, page: Page<AttemptId>) -> Result<Vec<PastAttempt>, StoreError> {
        watched!(self.past_attempts(page))
    }

    async fn machine(&self, id: MachineId) -> Result<Option<Machine>, StoreError> {
        watched!(self.machine(id))
    }

    async fn machines(
        &self,
        with_gone: bool,
        page: Page<MachineId>,
    ) -> Result<Vec<Machine>, StoreError> {
        watched!(self.machines(with_gone, page))
    }

    async fn machine_keys(&self, id: MachineId) -> Result<Option<MachineKeys>, StoreError> {
        watched!(self.machine_keys(id))
    }

    async fn images(&self, name: Option<&str>) -> Result<Vec<Image>, StoreError> {
        watched!(self.images(name))
    }

    async fn policies(&self, name: Option<&str>) -> Result<Vec<Policy>, StoreError> {
        watched!(self.policies(name))
    }

    async fn extents(
        &self,
        attempt: AttemptId,
        from: u64,
        to: u64,
    ) -> Result<Vec<Extent>, StoreError> {
        watched!(self.extents(attempt, from, to))
    }

    async fn events(
        &self,
        subject: Option<&Subject>,
        after: u64,
        limit: u32,
    ) -> Result<Vec<(u64, Event)>, StoreError> {
        watched!(self.events(subject, after, limit))
    }

    async fn last_event(&self) -> Result<u64, StoreError> {
        watched!(self.last_event())
    }

    async fn costs(
        &self,
        group: CostGroup,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<CostRow>, StoreError> {
        watched!(self.costs(group, from, to, limit))
    }

    async fn spent(&self, since: Timestamp) -> Result<Vec<SpentRow>, StoreError> {
        watched!(self.spent(since))
    }

    async fn budget_notes(&self, since: Timestamp) -> Result<Vec<BudgetNote>, StoreError> {
        watched!(self.budget_notes(since))
    }

    async fn build_cost(&self, id: BuildId) -> Result<CostRow, StoreError> {
        watched!(self.build_cost(id))
    }

    async fn token_by_hash(&self, hash: &str) -> Result<Option<Token>, StoreError> {
        watched!(self.token_by_hash(hash))
    }

    async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        watched!(self.tokens())
    }
}
