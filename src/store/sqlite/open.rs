//! Opening the database file: connections and schema.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqlStr};

use super::statements;
use crate::store::StoreError;

/// How long to wait for a lock that another process holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait between attempts where the database does not wait by itself.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Page cache of each connection, in KiB. The system caches the file too, so this only saves calls
/// into it; five connections stay within an idle server's budget.
const CACHE_KIB: u32 = 2_048;

/// Connections for reading. Reads take well under a millisecond, and each connection is a thread.
const READERS: u32 = 4;

/// Readers beyond need are closed after this long.
const READER_IDLE: Duration = Duration::from_mins(1);

/// Pages in the write-ahead log after which it is copied into the database. Each copy costs two
/// flushes; with twice the usual number it is one commit in a few hundred.
const CHECKPOINT_PAGES: u32 = 2_000;

/// The migrations, oldest first. Applied ones are never edited.
fn migrator() -> Migrator {
    let all = [
        (
            1,
            "first",
            include_str!("../migrations/sqlite/0001_first.sql"),
        ),
        (
            2,
            "launches",
            include_str!("../migrations/sqlite/0002_launches.sql"),
        ),
        (
            3,
            "budgets",
            include_str!("../migrations/sqlite/0003_budgets.sql"),
        ),
    ];
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        let sql = SqlStr::from_static(sql);
        Migration::new(version, name.into(), MigrationType::Simple, sql, false)
    };
    Migrator::with_migrations(all.into_iter().map(migration).collect())
}

/// How the writing connection is made.
pub(super) fn writer_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("cache_size", format!("-{CACHE_KIB}"))
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
        .thread_name(|_| "store-writer".to_owned())
        // The writer's spans say what runs; SQL texts with JSON in them say nothing to a person.
        .disable_statement_logging()
}

/// Readers for the file; they connect when they are needed.
pub(super) fn readers(path: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("cache_size", format!("-{CACHE_KIB}"))
        .thread_name(|n| format!("store-reader-{n}"))
        .disable_statement_logging();
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .idle_timeout(READER_IDLE)
        .max_lifetime(None)
        // A connection to a file does not go stale, and the test costs as much as a read.
        .test_before_acquire(false)
        .connect_lazy_with(options)
}

/// Connects the writer and brings the schema up to date; makes the file if there is none.
pub(super) async fn connect(
    options: &SqliteConnectOptions,
) -> Result<SqliteConnection, StoreError> {
    let path = options.get_filename().to_owned();
    create_private(&path).map_err(|error| opening(&path, &error))?;
    let mut connection = connect_patiently(options)
        .await
        .map_err(|error| opening(&path, &error))?;
    migrate(&mut connection)
        .await
        .map_err(|problem| opening(&path, &problem))?;
    Ok(connection)
}

pub(super) fn opening(path: &Path, problem: &dyn std::fmt::Display) -> StoreError {
    StoreError::Database {
        operation: "opening the database",
        detail: format!("{}: {problem}", path.display()),
    }
}

/// Makes the file, if there is none, so that only its owner reads it: it holds private keys.
/// Its companion files get the same rights.
fn create_private(path: &Path) -> io::Result<()> {
    // Never opens an existing file: closing it again would drop the locks that another connection
    // of this process may have on it.
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    match made {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Connects, and tries again while another process switches the new file to write-ahead logging:
/// nothing waits for that lock by itself.
async fn connect_patiently(options: &SqliteConnectOptions) -> sqlx::Result<SqliteConnection> {
    let mut waited = Duration::ZERO;
    loop {
        match options.connect().await {
            Err(error) if is_busy(&error) && waited < BUSY_TIMEOUT => {
                tokio::time::sleep(BUSY_PAUSE).await;
                waited += BUSY_PAUSE;
            }
            outcome => return outcome,
        }
    }
}

/// Whether another connection holds a lock (`SQLITE_BUSY`, 5).
fn is_busy(error: &sqlx::Error) -> bool {
    super::writer::primary_code(error) == Some(5)
}

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
enum SchemaProblem {
    #[error(
        "its schema has version {found}, this program knows versions up to {known}: use the newer \
         program"
    )]
    Newer { found: i64, known: i64 },
    #[error("its schema: {0}")]
    Failed(MigrateError),
    #[error("its schema: {0}")]
    Database(sqlx::Error),
}

/// Applies what is missing, in one transaction that takes the write lock first: of two processes
/// that open the file at once, one waits for the other and then finds nothing to do.
async fn migrate(connection: &mut SqliteConnection) -> Result<(), SchemaProblem> {
    let migrator = migrator();
    let mut transaction = connection
        .begin_with(statements::BEGIN)
        .await
        .map_err(SchemaProblem::Database)?;
    migrator
        .run_direct(None, &mut *transaction, false)
        .await
        .map_err(|error| {
            if let MigrateError::VersionMissing(found) = error {
                let known = migrator.iter().map(|m| m.version).max().unwrap_or(0);
                SchemaProblem::Newer { found, known }
            } else {
                SchemaProblem::Failed(error)
            }
        })?;
    transaction.commit().await.map_err(SchemaProblem::Database)
}
