//! Opening: new files, old files, files of the future, files that are none.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use futures::future::join_all;

use super::{SqliteFixture, SqliteStore, run, stranger};
use crate::model::Change;
use crate::store::contract::{Fixture, Samples, attempt_id, build_id, machine_id, pipeline_id};
use crate::store::{CostGroup, Store, StoreError};

/// The schema of each version, and rows as programs of that version wrote them.
const VERSIONS: [(&str, &str); 1] = [(
    include_str!("../../migrations/sqlite/0001_first.sql"),
    include_str!("samples_0001.sql"),
)];

fn detail(outcome: Result<SqliteStore, StoreError>) -> String {
    match outcome {
        Err(StoreError::Database {
            operation: "opening the database",
            detail,
        }) => detail,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_database_of_each_older_version_is_read() {
    for (schema, samples) in VERSIONS {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        // The bookkeeping of an empty database, then the tables as they were.
        SqliteStore::open(&path).await.unwrap().close().await;
        let mut connection = stranger(&path).await;
        let drops = "DROP TABLE build_specs; DROP TABLE extents; DROP TABLE attempts; \
            DROP TABLE builds; DROP TABLE pipelines; DROP TABLE machine_keys; \
            DROP TABLE machines; DROP TABLE images; DROP TABLE policies; DROP TABLE entries; \
            DROP TABLE hourly_costs; DROP TABLE events; DROP TABLE tokens; DROP TABLE launches; \
            DROP TABLE budget_notes; \
            DELETE FROM _sqlx_migrations WHERE version > 1";
        for sql in [drops, schema, samples] {
            run(&mut connection, sql).await;
        }
        let store = SqliteStore::open(&path).await.unwrap();
        reads_the_samples(&store).await;
    }
}

/// The rows of `samples_*.sql`, which stay the same from version to version.
async fn reads_the_samples(store: &SqliteStore) {
    let pipeline = store.pipeline(pipeline_id(1)).await.unwrap().unwrap();
    assert_eq!(
        pipeline.idempotency,
        Some(("key".to_owned(), "hash".to_owned()))
    );
    let build = store.build(build_id(1)).await.unwrap().unwrap();
    assert_eq!(
        (build.state.word(), build.attempts, build.rev),
        ("finished", 1, 3)
    );
    assert_eq!(build.spec.steps.len(), 1);
    let attempt = store.attempt(attempt_id(1)).await.unwrap().unwrap();
    assert_eq!((attempt.number, attempt.cursor.stored), (1, 8));
    assert_eq!(store.extents(attempt_id(1), 0, 9).await.unwrap().len(), 1);
    let machine = store.machine(machine_id(1)).await.unwrap().unwrap();
    assert_eq!(machine.state.word(), "idle");
    assert!(store.machine_keys(machine_id(1)).await.unwrap().is_some());
    assert_eq!(store.images(None).await.unwrap().len(), 1);
    assert_eq!(store.policies(None).await.unwrap().len(), 1);
    assert_eq!(store.last_event().await.unwrap(), 2);
    assert_eq!(store.tokens().await.unwrap().len(), 1);
    assert_eq!(
        store.build_cost(build_id(1)).await.unwrap().total.micros(),
        12
    );
    let (begin, end) = (Samples::event(0).at, Samples::event(90_000).at);
    let days = store.costs(CostGroup::Day, begin, end, 9).await.unwrap();
    assert_eq!(days.len(), 1);
    assert_eq!(days[0].total.micros(), 12);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let fixture = SqliteFixture::new().await;
    fixture.store.close().await;
    let mut connection = stranger(&fixture.path()).await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, \
        execution_time) VALUES (99, 'later', true, x'00', 0)";
    run(&mut connection, newer).await;
    let detail = detail(SqliteStore::open(&fixture.path()).await);
    assert!(
        detail.ends_with(
            "its schema has version 99, this program knows versions up to 3: use the newer program"
        ),
        "{detail}"
    );
}

#[tokio::test]
async fn a_schema_that_was_tampered_with_is_refused() {
    let fixture = SqliteFixture::new().await;
    fixture.store.close().await;
    let mut connection = stranger(&fixture.path()).await;
    run(
        &mut connection,
        "UPDATE _sqlx_migrations SET checksum = x'00'",
    )
    .await;
    let detail = detail(SqliteStore::open(&fixture.path()).await);
    assert!(
        detail.contains("migration 1 was previously applied"),
        "{detail}"
    );
}

#[tokio::test]
async fn what_is_no_database_is_refused_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.txt");
    let text = "not a database, but somebody's notes\n".repeat(100);
    fs::write(&path, &text).unwrap();
    let detail = detail(SqliteStore::open(&path).await);
    assert!(
        detail.contains("notes.txt: ") && detail.contains("not a database"),
        "{detail}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_missing_directory_is_an_error_with_the_path() {
    let directory = tempfile::tempdir().unwrap();
    let detail = detail(SqliteStore::open(&directory.path().join("none/db")).await);
    assert!(
        detail.contains("none/db: No such file or directory"),
        "{detail}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_open_a_new_file_at_once() {
    for _ in 0..5 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let opened = join_all((0..6).map(|_| {
            let path = path.clone();
            tokio::spawn(async move { SqliteStore::open(&path).await })
        }));
        for (n, store) in (0..).zip(opened.await) {
            let event = vec![Change::AppendEvent(Samples::event(n))];
            store.unwrap().unwrap().commit(event).await.unwrap();
        }
    }
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    let fixture = SqliteFixture::new().await;
    let event = vec![Change::AppendEvent(Samples::event(1))];
    fixture.store.commit(event).await.unwrap();
    let mut files = 0;
    for entry in fs::read_dir(fixture.directory.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.path());
        files += 1;
    }
    assert_eq!(files, 3, "the database, its log and the log's index");
}

#[tokio::test]
async fn a_closed_store_leaves_one_file_and_answers_nothing() {
    let fixture = SqliteFixture::new().await;
    let event = vec![Change::AppendEvent(Samples::event(1))];
    fixture.store.commit(event.clone()).await.unwrap();
    fixture.store.close().await;
    fixture.store.close().await;
    assert_eq!(fs::read_dir(fixture.directory.path()).unwrap().count(), 1);
    let outcome = fixture.store.commit(event).await.unwrap_err();
    assert_eq!(
        outcome.to_string(),
        "committing failed: the store is closed"
    );
    assert!(fixture.store.last_event().await.is_err());
}

#[tokio::test]
async fn deleting_a_pipeline_deletes_what_hangs_on_it_but_no_money() {
    let fixture = SqliteFixture::new().await;
    let list = vec![
        Change::InsertPipeline(Samples::pipeline(1)),
        Change::InsertBuild(Samples::build(1, 1, Samples::build_state(5))),
        Change::InsertAttempt(Samples::attempt(1, 1, 1)),
        Change::InsertExtent(Samples::extent(1, 0, 5)),
        Change::AppendEntry(Samples::entry(1, 0, 5)),
        Change::AppendEvent(Samples::event(1)),
    ];
    fixture.store.commit(list).await.unwrap();
    let mut connection = stranger(&fixture.path()).await;
    run(&mut connection, "DELETE FROM pipelines").await;
    for table in ["builds", "build_specs", "attempts", "extents"] {
        let sql = format!("SELECT count(*) FROM {table}");
        let (rows,): (i64,) = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    let cost = fixture.store.build_cost(build_id(1)).await.unwrap();
    assert_eq!(cost.total.micros(), 5);
    assert_eq!(fixture.store.last_event().await.unwrap(), 1);
}
