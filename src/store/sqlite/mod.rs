//! `SQLite`: the embedded engine, one file for one process.
//!
//! One task writes (`writer`), up to four connections read; in write-ahead mode neither waits for
//! the other. Durability is `synchronous=FULL`: what is committed survives a power cut.

mod open;
mod read;
mod rows;
mod statements;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use super::{
    BuildFilter, CostGroup, CostRow, OpenWork, Page, PastAttempt, SpentRow, Store, StoreError,
    Tally,
};
use crate::model::{
    Attempt, AttemptId, BudgetNote, Build, BuildId, Change, Event, Extent, Image, Machine,
    MachineId, MachineKeys, Pipeline, PipelineId, Policy, Subject, Timestamp, Token,
};
use writer::WriterHandle;

/// The embedded store.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    writer: WriterHandle,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens the database file, which is made if it does not exist (its directory must), and brings
    /// its schema up to date. Must be called on a Tokio runtime, which then runs the writing task.
    ///
    /// # Errors
    /// [`StoreError::Database`] when the file cannot be opened, or has a schema that this program
    /// does not know yet.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(open::writer_options(path)).await
    }

    async fn open_with(options: SqliteConnectOptions) -> Result<Self, StoreError> {
        let connection = open::connect(&options).await?;
        let path = options.get_filename().to_owned();
        let readers = open::readers(&path);
        let writer = WriterHandle::start(connection, options)
            .map_err(|error| open::opening(&path, &error))?;
        Ok(Self { writer, readers })
    }

    /// Closes the database once every commit asked so far is written. Later calls of any method
    /// are errors. Without it nothing is lost; the next opening has more to do.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.writer.commit(changes).await
    }

    async fn open_work(&self) -> Result<OpenWork, StoreError> {
        read::open_work(&self.readers).await
    }

    async fn pipeline(&self, id: PipelineId) -> Result<Option<Pipeline>, StoreError> {
        read::pipeline(&self.readers, id).await
    }

    async fn pipeline_by_key(&self, key: &str) -> Result<Option<Pipeline>, StoreError> {
        read::pipeline_by_key(&self.readers, key).await
    }

    async fn pipelines(
        &self,
        project: Option<&str>,
        page: Page<PipelineId>,
    ) -> Result<Vec<(Pipeline, Tally)>, StoreError> {
        read::pipelines(&self.readers, project, page).await
    }

    async fn tally(&self, id: PipelineId) -> Result<Tally, StoreError> {
        read::tally(&self.readers, id).await
    }

    async fn build(&self, id: BuildId) -> Result<Option<Build>, StoreError> {
        read::build(&self.readers, id).await
    }

    async fn builds(
        &self,
        filter: &BuildFilter,
        page: Page<BuildId>,
    ) -> Result<Vec<Build>, StoreError> {
        read::builds(&self.readers, filter, page).await
    }

    async fn attempt(&self, id: AttemptId) -> Result<Option<Attempt>, StoreError> {
        read::attempt(&self.readers, id).await
    }

    async fn attempts(&self, build: BuildId) -> Result<Vec<Attempt>, StoreError> {
        read::attempts(&self.readers, build).await
    }

    async fn past_attempts(&self, page: Page<AttemptId>) -> Result<Vec<PastAttempt>, StoreError> {
        read::past_attempts(&self.readers, page).await
    }

    async fn machine(&self, id: MachineId) -> Result<Option<Machine>, StoreError> {
        read::machine(&self.readers, id).await
    }

    async fn machines(
        &self,
        with_gone: bool,
        page: Page<MachineId>,
    ) -> Result<Vec<Machine>, StoreError> {
        read::machines(&self.readers, with_gone, page).await
    }

    async fn machine_keys(&self, id: MachineId) -> Result<Option<MachineKeys>, StoreError> {
        read::machine_keys(&self.readers, id).await
    }

    async fn images(&self, name: Option<&str>) -> Result<Vec<Image>, StoreError> {
        read::images(&self.readers, name).await
    }

    async fn policies(&self, name: Option<&str>) -> Result<Vec<Policy>, StoreError> {
        read::policies(&self.readers, name).await
    }

    async fn extents(
        &self,
        attempt: AttemptId,
        from: u64,
        to: u64,
    ) -> Result<Vec<Extent>, StoreError> {
        read::extents(&self.readers, attempt, from, to).await
    }

    async fn events(
        &self,
        subject: Option<&Subject>,
        after: u64,
        limit: u32,
    ) -> Result<Vec<(u64, Event)>, StoreError> {
        read::events(&self.readers, subject, after, limit).await
    }

    async fn last_event(&self) -> Result<u64, StoreError> {
        read::last_event(&self.readers).await
    }

    async fn costs(
        &self,
        group: CostGroup,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<CostRow>, StoreError> {
        read::costs(&self.readers, group, from, to, limit).await
    }

    async fn spent(&self, since: Timestamp) -> Result<Vec<SpentRow>, StoreError> {
        read::spent(&self.readers, since).await
    }

    async fn budget_notes(&self, since: Timestamp) -> Result<Vec<BudgetNote>, StoreError> {
        read::budget_notes(&self.readers, since).await
    }

    async fn build_cost(&self, id: BuildId) -> Result<CostRow, StoreError> {
        read::build_cost(&self.readers, id).await
    }

    async fn token_by_hash(&self, hash: &str) -> Result<Option<Token>, StoreError> {
        read::token_by_hash(&self.readers, hash).await
    }

    async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        read::tokens(&self.readers).await
    }
}
