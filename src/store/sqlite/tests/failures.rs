//! A database that fails, rows that cannot be read, and others who hold locks.

use std::time::Duration;

use futures::future::join_all;

use super::{SqliteFixture, SqliteStore, run, stranger};
use crate::model::{Change, Event};
use crate::store::contract::{Fixture, Samples, attempt_id, build_id, machine_id, pipeline_id};
use crate::store::sqlite::open;
use crate::store::{BuildFilter, Page, Store, StoreError};

fn event(message: String) -> Vec<Change> {
    let event = Event {
        message,
        ..Samples::event(1)
    };
    vec![Change::AppendEvent(event)]
}

fn database_error(outcome: Result<(), StoreError>) -> String {
    match outcome {
        Err(error @ StoreError::Database { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_then_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    // The database may grow to about 1.2 MB.
    let options =
        open::writer_options(&directory.path().join("db")).pragma("max_page_count", "300");
    let store = SqliteStore::open_with(options).await.unwrap();
    store.commit(event("before".to_owned())).await.unwrap();
    let big = event("x".repeat(4 << 20));
    let error = database_error(store.commit(big.clone()).await);
    assert!(error.contains("database or disk is full"), "{error}");
    // Callers in the same transaction share its fate; the next ones do not.
    let outcomes = join_all([store.commit(big), store.commit(event("with".to_owned()))]).await;
    database_error(outcomes.into_iter().next().unwrap());
    store.commit(event("after".to_owned())).await.unwrap();
    let events = store.events(None, 0, 9).await.unwrap();
    assert_eq!(events.first().unwrap().1.message, "before");
    assert_eq!(events.last().unwrap().1.message, "after");
    let numbers: Vec<u64> = events.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_lock_of_somebody_else_is_an_error_and_then_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let options = open::writer_options(&path).busy_timeout(Duration::from_millis(50));
    let store = SqliteStore::open_with(options).await.unwrap();
    let mut connection = stranger(&path).await;
    run(&mut connection, "BEGIN IMMEDIATE").await;
    let error = database_error(store.commit(event("locked".to_owned())).await);
    assert!(error.contains("database is locked"), "{error}");
    run(&mut connection, "ROLLBACK").await;
    store.commit(event("free".to_owned())).await.unwrap();
    assert_eq!(store.last_event().await.unwrap(), 1);
}

#[tokio::test]
async fn readers_do_not_wait_for_a_writer() {
    let fixture = SqliteFixture::new().await;
    fixture
        .store
        .commit(event("first".to_owned()))
        .await
        .unwrap();
    let mut connection = stranger(&fixture.path()).await;
    run(&mut connection, "BEGIN IMMEDIATE; DELETE FROM events").await;
    let read = tokio::time::timeout(Duration::from_secs(5), fixture.store.last_event());
    assert_eq!(read.await.unwrap().unwrap(), 1);
    run(&mut connection, "ROLLBACK").await;
}

#[tokio::test]
async fn a_number_too_large_for_the_database_is_refused() {
    let fixture = SqliteFixture::new().await;
    let mut machine = Samples::machine(1, Samples::machine_state(1));
    machine.rev = u64::MAX;
    let refused = vec![Change::InsertMachine(machine)];
    let fine = event("fine".to_owned());
    let outcomes = join_all([fixture.store.commit(refused), fixture.store.commit(fine)]).await;
    let [refused, fine] = <[_; 2]>::try_from(outcomes).unwrap();
    let error = database_error(refused);
    assert!(
        error.contains(&format!("machine {}: ", machine_id(1))),
        "{error}"
    );
    fine.unwrap();
    assert_eq!(fixture.store.machine(machine_id(1)).await.unwrap(), None);
}

/// A row of each kind.
async fn rows(store: &SqliteStore) {
    let list = vec![
        Change::InsertPipeline(Samples::pipeline(1)),
        Change::InsertBuild(Samples::build(1, 1, Samples::build_state(3))),
        Change::InsertAttempt(Samples::attempt(1, 1, 1)),
        Change::InsertMachine(Samples::machine(1, Samples::machine_state(1))),
        Change::PutMachineKeys(Samples::keys(1)),
        Change::InsertPolicy(Samples::policy("default", 1)),
        Change::InsertExtent(Samples::extent(1, 7, 5)),
        Change::AppendEvent(Samples::event(1)),
        Change::InsertToken(Samples::token(1)),
    ];
    store.commit(list).await.unwrap();
}

fn corrupt_row<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> String {
    match outcome {
        Err(StoreError::Corrupt { row, .. }) => row,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_row_that_makes_no_sense_is_named() {
    let fixture = SqliteFixture::new().await;
    let store = &fixture.store;
    rows(store).await;
    let mut connection = stranger(&fixture.path()).await;
    let ruin = "UPDATE pipelines SET body = '{'; UPDATE builds SET attempts = -1; \
        UPDATE attempts SET body = 'null'; UPDATE machines SET body = '[]'; \
        UPDATE policies SET body = ''; UPDATE extents SET pack = 'vm_1'; \
        UPDATE events SET kind = 'party'; UPDATE tokens SET body = '7'";
    run(&mut connection, ruin).await;
    let build = format!("build {}", build_id(1));
    assert_eq!(corrupt_row(store.build(build_id(1)).await), build);
    let page = Page {
        before: None,
        limit: 9,
    };
    let list = store.builds(&BuildFilter::default(), page).await;
    assert_eq!(corrupt_row(list), build);
    assert_eq!(corrupt_row(store.open_work().await), build);
    let pipeline = store.pipeline(pipeline_id(1)).await;
    assert_eq!(
        corrupt_row(pipeline),
        format!("pipeline {}", pipeline_id(1))
    );
    let attempt = store.attempt(attempt_id(1)).await;
    assert_eq!(corrupt_row(attempt), format!("attempt {}", attempt_id(1)));
    let machine = store.machine(machine_id(1)).await;
    assert_eq!(corrupt_row(machine), format!("machine {}", machine_id(1)));
    let policies = store.policies(None).await;
    assert_eq!(corrupt_row(policies), "policy default version 1");
    let extents = store.extents(attempt_id(1), 0, 99).await;
    let extent = format!("extent of {} at 7", attempt_id(1));
    assert_eq!(corrupt_row(extents), extent);
    assert_eq!(corrupt_row(store.events(None, 0, 9).await), "event 1");
    let token = format!("token {}", Samples::token(1).id);
    assert_eq!(corrupt_row(store.tokens().await), token);
}

#[tokio::test]
async fn an_error_about_keys_quotes_none() {
    let fixture = SqliteFixture::new().await;
    rows(&fixture.store).await;
    let mut connection = stranger(&fixture.path()).await;
    let ruin = "UPDATE machine_keys SET body = '{\"machine\": \"hunter2\"}'";
    run(&mut connection, ruin).await;
    let error = fixture.store.machine_keys(machine_id(1)).await.unwrap_err();
    let expected = format!(
        "corrupt row keys of machine {}: not the JSON it should be",
        machine_id(1)
    );
    assert_eq!(error.to_string(), expected);
}
