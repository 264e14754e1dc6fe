//! Packs: how flushes share them, and how they go.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::super::{Logs, pack};
use super::world::{NO_LIMIT, NOON, World, at, pack_id, pack_ids, soon, text};
use crate::model::{AttemptId, PackId, Timestamp};

#[tokio::test]
async fn a_lone_flush_waits_for_nobody() {
    let world = World::new();
    let mut recorder = world.recorder(NO_LIMIT);
    recorder.push(b"line\n", at(0));
    world.store(&mut recorder).await;
    assert_eq!(world.storage.written.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn flushes_that_wait_while_a_pack_is_written_share_the_next() {
    let world = World::new();
    world.storage.close_gate();
    let mut recorders: Vec<_> = (0..50)
        .map(|number| {
            let attempt = AttemptId::from_bits(100 + number);
            let mut recorder = world.logs.recorder(attempt, 0, NO_LIMIT);
            recorder.push(format!("log of {number}\n").as_bytes(), at(0));
            recorder
        })
        .collect();
    let first = recorders[0].begin_flush().unwrap();
    soon(world.storage.arrivals(1)).await;
    let others: Vec<_> = recorders[1..]
        .iter_mut()
        .map(|recorder| recorder.begin_flush().unwrap())
        .collect();
    world.storage.open_gate();
    let first = soon(first).await.unwrap();
    let others = soon(futures::future::try_join_all(others)).await.unwrap();
    assert_eq!(world.storage.written.load(Ordering::Relaxed), 2);
    assert!(others.iter().all(|extent| extent.pack != first.pack));
    assert!(others.iter().all(|extent| extent.pack == others[0].pack));
    // Frames lie one behind the other.
    let ends = others
        .iter()
        .map(|extent| extent.frame_start + extent.frame_len);
    let starts = others[1..].iter().map(|extent| extent.frame_start);
    assert!(starts.eq(ends.take(others.len() - 1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_attempts_at_once_get_their_own_logs() {
    let world = Arc::new(World::new());
    let attempts = (0..30_u64).map(|number| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let attempt = AttemptId::from_bits(u128::from(number) + 100);
            world.index.begin(attempt);
            let mut recorder = world.logs.recorder(attempt, 0, NO_LIMIT);
            // Some logs are small, some go through the lane for large flushes.
            let (start, step) = (number * 1_000, 100 + number * 20_000);
            for part in 0..10 {
                recorder.push(&text(start + part * step..start + (part + 1) * step), at(0));
                world.store(&mut recorder).await;
            }
            recorder.finish();
            let stream = world.logs.read(attempt, world.index(), 0, u64::MAX);
            let bytes: Vec<_> = soon(stream.try_collect()).await.unwrap();
            assert!(bytes.concat() == text(start..start + 10 * step), "{number}");
        })
    });
    soon(futures::future::try_join_all(attempts)).await.unwrap();
}

/// A room over storage with packs of four days, and a stranger.
async fn room_with_old_packs() -> (Logs, Arc<InMemory>, Vec<PackId>) {
    let objects = Arc::new(InMemory::new());
    let day = 24 * 3_600 * 1_000_000;
    let packs: Vec<PackId> = (0..8)
        .map(|number| pack_id(NOON + number * day / 2, u64::try_from(number).unwrap()))
        .collect();
    for pack in &packs {
        let path = pack::path(*pack);
        objects.put(&path, "frames".into()).await.unwrap();
    }
    let stranger = Path::from("logs/2026-11-21/readme");
    objects.put(&stranger, "hands off".into()).await.unwrap();
    let blobs = Arc::clone(&objects) as _;
    (Logs::open(blobs, pack_ids()), objects, packs)
}

async fn packs_before(logs: &Logs, before: Timestamp) -> Vec<PackId> {
    let mut packs: Vec<_> = logs.packs_before(before).try_collect().await.unwrap();
    packs.sort_unstable();
    packs
}

#[tokio::test]
async fn packs_are_listed_by_the_time_of_their_name() {
    let (logs, _, packs) = room_with_old_packs().await;
    for (number, pack) in packs.iter().enumerate() {
        let time = pack::created_at(*pack);
        assert_eq!(packs_before(&logs, time).await, packs[..number]);
    }
}

#[tokio::test]
async fn a_sweep_removes_old_packs_and_nothing_else() {
    let (logs, objects, packs) = room_with_old_packs().await;
    let before = pack::created_at(packs[5]);
    assert_eq!(logs.sweep(before).await.unwrap(), 5);
    assert_eq!(logs.sweep(before).await.unwrap(), 0);
    let left: Vec<_> = objects.list(None).try_collect().await.unwrap();
    let mut left: Vec<_> = left.into_iter().map(|object| object.location).collect();
    let mut expected: Vec<_> = packs[5..].iter().map(|pack| pack::path(*pack)).collect();
    expected.push(Path::from("logs/2026-11-21/readme"));
    left.sort_unstable();
    expected.sort_unstable();
    assert_eq!(left, expected);
}

#[tokio::test]
async fn removing_a_pack_twice_is_no_error() {
    let (logs, _, packs) = room_with_old_packs().await;
    logs.remove(packs[0]).await.unwrap();
    logs.remove(packs[0]).await.unwrap();
    assert_eq!(
        packs_before(&logs, Timestamp::from_micros(i64::MAX)).await,
        packs[1..]
    );
}

#[tokio::test]
async fn an_empty_room_has_no_packs() {
    let logs = Logs::open(Arc::new(InMemory::new()), pack_ids());
    assert_eq!(logs.sweep(Timestamp::from_micros(NOON)).await.unwrap(), 0);
}
