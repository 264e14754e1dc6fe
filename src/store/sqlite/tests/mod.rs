//! The contract suite, and what only this engine can get wrong.

mod failures;
mod power_cut;
mod schema;
mod statements;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};
use tempfile::TempDir;

use super::SqliteStore;
use crate::store::Store;
use crate::store::contract::{Fixture, contract_tests};

/// A database in a directory of its own.
struct SqliteFixture {
    directory: TempDir,
    store: SqliteStore,
}

impl SqliteFixture {
    fn path(&self) -> PathBuf {
        self.directory.path().join("db")
    }
}

/// A connection of somebody else to a database file.
async fn stranger(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path);
    options.connect().await.unwrap()
}

/// Runs SQL on a connection.
async fn run(connection: &mut SqliteConnection, sql: &str) {
    connection.execute(AssertSqlSafe(sql)).await.unwrap();
}

#[async_trait]
impl Fixture for SqliteFixture {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("db"))
            .await
            .unwrap();
        Self { directory, store }
    }

    fn store(&self) -> &dyn Store {
        &self.store
    }

    async fn reopen(&mut self) {
        self.store = SqliteStore::open(&self.directory.path().join("db"))
            .await
            .unwrap();
    }
}

mod suite {
    super::contract_tests!(super::SqliteFixture);
}
