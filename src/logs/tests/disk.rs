//! The room on a real directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::TryStreamExt;

use super::super::{ExtentIndex, LogError, Logs};
use super::world::{ATTEMPT, Index, NO_LIMIT, NOON, at, pack_ids, soon, text};
use crate::model::Timestamp;

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

async fn record(logs: &Logs, index: &Index, from: u64, to: u64) {
    let mut recorder = logs.recorder(ATTEMPT, from, NO_LIMIT);
    recorder.push(&text(from..to), at(0));
    let extent = soon(recorder.begin_flush().unwrap()).await.unwrap();
    index.commit(extent.clone());
    recorder.committed(&extent);
}

async fn read_all(logs: &Logs, index: &Arc<Index>) -> Vec<u8> {
    let index = Arc::clone(index) as Arc<dyn ExtentIndex>;
    let stream = logs.read(ATTEMPT, index, 0, u64::MAX);
    let parts: Vec<_> = soon(stream.try_collect()).await.unwrap();
    parts.concat()
}

#[tokio::test]
async fn a_log_outlives_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("deep/data");
    let index = Arc::new(Index::default());
    index.begin(ATTEMPT);
    let ids = Arc::new(pack_ids());
    for (from, to) in [
        (0, 1_000_000),
        (1_000_000, 1_000_010),
        (1_000_010, 1_400_000),
    ] {
        let ids = Arc::clone(&ids);
        let logs = Logs::on_disk(&home, move || ids()).unwrap();
        record(&logs, &index, from, to).await;
        assert!(read_all(&logs, &index).await == text(0..to));
    }
    let packs = files(&home);
    assert_eq!(packs.len(), 3, "{packs:?}");
    assert!(
        packs
            .iter()
            .all(|pack| pack.starts_with(home.join("logs/2026-11-21")))
    );
}

#[tokio::test]
async fn what_a_crash_left_half_written_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let day = directory.path().join("logs/2026-11-21");
    fs::create_dir_all(&day).unwrap();
    for name in ["pack_a.pack#1", "pack_a.pack", "notes"] {
        fs::write(day.join(name), "x").unwrap();
    }
    Logs::on_disk(directory.path(), pack_ids()).unwrap();
    let mut left = files(directory.path());
    left.sort_unstable();
    assert_eq!(left, [day.join("notes"), day.join("pack_a.pack")]);
}

#[tokio::test]
async fn a_day_goes_with_its_last_pack() {
    let directory = tempfile::tempdir().unwrap();
    let index = Index::default();
    index.begin(ATTEMPT);
    let logs = Logs::on_disk(directory.path(), pack_ids()).unwrap();
    record(&logs, &index, 0, 10).await;
    record(&logs, &index, 10, 20).await;
    assert_eq!(logs.sweep(Timestamp::from_micros(NOON)).await.unwrap(), 0);
    assert_eq!(files(directory.path()).len(), 2);
    assert_eq!(logs.sweep(at(1)).await.unwrap(), 2);
    assert!(!directory.path().join("logs/2026-11-21").exists());
    record(&logs, &index, 20, 30).await; // And comes back when needed.
}

#[tokio::test]
async fn a_directory_that_cannot_be_had_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    let error = Logs::on_disk(&file.join("logs"), pack_ids()).unwrap_err();
    assert!(matches!(error, LogError::Open { .. }));
    assert!(error.to_string().contains("file/logs"), "{error}");
}

#[tokio::test]
async fn a_disk_that_refuses_a_pack_keeps_the_bytes_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let logs = Logs::on_disk(directory.path(), pack_ids()).unwrap();
    fs::write(directory.path().join("logs"), "in the way").unwrap();
    let mut recorder = logs.recorder(ATTEMPT, 0, NO_LIMIT);
    recorder.push(b"line\n", at(0));
    let error = soon(recorder.begin_flush().unwrap()).await.unwrap_err();
    assert!(matches!(error, LogError::Write { .. }), "{error}");
    recorder.flush_failed(at(0));
    fs::remove_file(directory.path().join("logs")).unwrap();
    let extent = soon(recorder.begin_flush().unwrap()).await.unwrap();
    assert_eq!((extent.start, extent.len), (0, 5));
}
