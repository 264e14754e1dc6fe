//! The contract suite, and what only this engine can get wrong.

use async_trait::async_trait;
use tempfile::TempDir;

use super::SqliteStore;
use crate::store::Store;
use crate::store::contract::{Fixture, contract_tests};

/// A database in a directory of its own.
struct SqliteFixture {
    directory: TempDir,
    store: SqliteStore,
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
