//! What a power cut leaves: the database file, and the log up to some byte.
//!
//! Without a checkpoint the database file stays as it was, and the log only grows; so each prefix
//! of the log is a moment at which the power may have gone.

use std::fs;

use futures::future::join_all;

use super::{SqliteFixture, SqliteStore};
use crate::model::Change;
use crate::store::contract::{Fixture, Samples, build_id};
use crate::store::sqlite::open;
use crate::store::{Store, Tally};

/// A header of the log, and of a page in it.
const LOG_HEADER: usize = 32;
const FRAME: usize = 4_096 + 24;

/// Writes in which a build and its event must never be seen without each other.
async fn commit_builds(store: &SqliteStore, numbers: std::ops::Range<u64>) {
    let commits = numbers.map(|n| {
        store.commit(vec![
            Change::InsertBuild(Samples::build(n, 1, Samples::build_state(1))),
            Change::AppendEvent(Samples::event(n)),
        ])
    });
    for outcome in join_all(commits).await {
        outcome.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_commits_are_left_in_order() {
    let fixture = SqliteFixture::new().await;
    fixture.store.close().await;
    let options = open::writer_options(&fixture.path()).pragma("wal_autocheckpoint", "0");
    let store = SqliteStore::open_with(options).await.unwrap();
    let pipeline = vec![Change::InsertPipeline(Samples::pipeline(1))];
    store.commit(pipeline).await.unwrap();
    let mut acknowledged = Vec::new();
    let log_path = fixture.directory.path().join("db-wal");
    for round in 0..8 {
        commit_builds(&store, round * 5..round * 5 + 5).await;
        let end = fs::metadata(&log_path).unwrap().len();
        acknowledged.push((usize::try_from(end).unwrap(), round * 5 + 5));
    }
    let database = fs::read(fixture.path()).unwrap();
    let log = fs::read(&log_path).unwrap();

    // After each frame, and in the middle of one.
    assert!(
        log.len() > LOG_HEADER + 8 * FRAME,
        "the log holds the commits"
    );
    let cuts = (0..).map(|n| LOG_HEADER + n * FRAME / 2);
    let mut seen_before = 0;
    for cut in cuts.take_while(|cut| *cut <= log.len()) {
        let seen = seen_after_cut(&database, &log[..cut]).await;
        let due = acknowledged.iter().rfind(|(end, _)| *end <= cut);
        assert!(
            seen >= due.map_or(0, |(_, builds)| *builds),
            "{seen} at {cut}"
        );
        assert!(seen >= seen_before, "{seen} after {seen_before} at {cut}");
        seen_before = seen;
    }
    assert_eq!(seen_before, 40);
}

/// Builds that are there after a power cut, having looked that each is whole.
async fn seen_after_cut(database: &[u8], log: &[u8]) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    fs::write(&path, database).unwrap();
    fs::write(directory.path().join("db-wal"), log).unwrap();
    let store = SqliteStore::open(&path).await.unwrap();
    let builds = store.last_event().await.unwrap();
    let events = store.events(None, 0, 100).await.unwrap();
    for (n, (number, event)) in (0..).zip(&events) {
        assert_eq!((*number, event), (n + 1, &Samples::event(n)));
        assert!(store.build(build_id(n)).await.unwrap().is_some());
    }
    let tally = store.tally(Samples::pipeline(1).id).await.unwrap();
    let expected = (builds > 0).then(|| ("queued".to_owned(), u32::try_from(builds).unwrap()));
    assert_eq!(tally, Tally::from_iter(expected));
    // It goes on from here.
    let next = vec![Change::AppendEvent(Samples::event(builds))];
    store.commit(next).await.unwrap();
    assert_eq!(store.last_event().await.unwrap(), builds + 1);
    store.close().await;
    builds
}
