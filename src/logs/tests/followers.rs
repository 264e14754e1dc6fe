//! Following a log while it is printed.

use std::sync::atomic::Ordering;

use futures::{FutureExt, StreamExt, TryStreamExt};

use super::super::LogError;
use super::world::{ATTEMPT, NO_LIMIT, World, at, drain, soon, text};
use crate::model::AttemptId;

#[tokio::test]
async fn a_pushed_line_is_there_at_once() {
    let world = World::new();
    let mut recorder = world.recorder(NO_LIMIT);
    let mut follower = world.follow(0);
    assert!(follower.next().now_or_never().is_none());
    recorder.push(b"hello\n", at(5));
    let chunk = follower
        .next()
        .now_or_never()
        .expect("ready without waiting");
    let chunk = chunk.unwrap().unwrap();
    assert_eq!(
        (chunk.offset, &chunk.bytes[..], chunk.at),
        (0, &b"hello\n"[..], at(5))
    );
    assert!(follower.next().now_or_never().is_none());
}

#[tokio::test]
async fn a_waiting_follower_is_woken_by_a_push_and_by_the_end() {
    let world = World::new();
    let mut recorder = world.recorder(NO_LIMIT);
    let follower = tokio::spawn(drain(0, world.follow(0)));
    for part in 0..50 {
        recorder.push(&text(part * 100..part * 100 + 100), at(0));
        tokio::task::yield_now().await;
    }
    recorder.finish();
    assert_eq!(soon(follower).await.unwrap(), text(0..5_000));
}

#[tokio::test]
async fn it_goes_from_storage_to_memory_without_gap_or_repetition() {
    let world = World::new();
    let mut recorder = world.recorder(NO_LIMIT);
    recorder.push(&text(0..3_000), at(0));
    world.store(&mut recorder).await;
    recorder.push(&text(3_000..4_000), at(0));
    let followers = [0, 1, 2_999, 3_000, 3_500, 4_000]
        .map(|from| (from, tokio::spawn(drain(from, world.follow(from)))));
    world.store(&mut recorder).await;
    recorder.push(&text(4_000..5_000), at(0));
    recorder.finish(); // With bytes that were never stored: they are shown all the same.
    for (from, follower) in followers {
        assert_eq!(soon(follower).await.unwrap(), text(from..5_000), "{from}");
    }
}

/// Longer than what a reader asks the index for at once.
#[tokio::test]
async fn a_lagging_follower_reads_from_storage_and_holds_up_nobody() {
    let world = World::new();
    let mut recorder = world.recorder(NO_LIMIT);
    let mut follower = world.follow(0);
    recorder.push(&text(0..100_000), at(0));
    let first = soon(follower.try_next()).await.unwrap().unwrap();
    let mut length = 100_000;
    while length < 40_000_000 {
        recorder.push(&text(length..length + 100_000), at(0));
        length += 100_000;
        if recorder.wants_flush(at(0)) {
            world.store(&mut recorder).await;
        }
        assert!(world.logs.room.registry.held() < 2_000_000);
    }
    recorder.finish();
    let start = first.bytes.len() as u64;
    assert!(drain(start, follower).await == text(start..length));
}

#[tokio::test]
async fn it_waits_for_an_attempt_that_has_not_begun() {
    let world = World::new();
    let follower = tokio::spawn(drain(0, world.follow(0)));
    tokio::task::yield_now().await;
    let mut recorder = world.recorder(NO_LIMIT);
    recorder.push(b"at last\n", at(0));
    world.store(&mut recorder).await;
    world.index.set_over(ATTEMPT);
    recorder.finish();
    assert_eq!(soon(follower).await.unwrap(), b"at last\n");
}

#[tokio::test]
async fn others_that_begin_meanwhile_do_not_make_it_ask_the_index() {
    let world = World::new();
    let follower = tokio::spawn(drain(0, world.follow(0)));
    for number in 100..1_100 {
        drop(
            world
                .logs
                .recorder(AttemptId::from_bits(number), 0, NO_LIMIT),
        );
        tokio::task::yield_now().await;
    }
    // Once at first, and by the clock: twice a second.
    let asked = world.index.asked.load(Ordering::Relaxed);
    assert!((1..100).contains(&asked), "{asked}");
    world.index.set_over(ATTEMPT);
    assert_eq!(soon(follower).await.unwrap(), b"");
}

#[tokio::test]
async fn it_ends_when_the_attempt_is_over_without_having_begun() {
    let world = World::new();
    let follower = tokio::spawn(drain(0, world.follow(0)));
    tokio::task::yield_now().await;
    world.index.set_over(ATTEMPT);
    assert_eq!(soon(follower).await.unwrap(), b"");
}

#[tokio::test]
async fn a_finished_attempt_is_read_to_its_end() {
    let world = World::new();
    let mut recorder = world.recorder(NO_LIMIT);
    recorder.push(&text(0..70_000), at(0));
    world.store(&mut recorder).await;
    world.index.set_over(ATTEMPT);
    recorder.finish();
    assert_eq!(drain(10, world.follow(10)).await, text(10..70_000));
    assert_eq!(drain(70_000, world.follow(70_000)).await, b"");
    assert_eq!(drain(90_000, world.follow(90_000)).await, b"");
}

#[tokio::test]
async fn a_recorder_that_is_dropped_leaves_the_log_open_for_the_next() {
    let world = World::new();
    let mut recorder = world.recorder(NO_LIMIT);
    recorder.push(&text(0..1_000), at(0));
    world.store(&mut recorder).await;
    recorder.push(&text(1_000..1_500), at(0));
    let mut follower = world.follow(0);
    let mut seen = 0;
    while seen < 1_500 {
        seen += soon(follower.try_next())
            .await
            .unwrap()
            .unwrap()
            .bytes
            .len();
    }
    drop(recorder);
    let follower = tokio::spawn(drain(1_500, follower));
    tokio::task::yield_now().await;

    // The machine still has what was not stored, so it comes again; it is not shown again.
    let mut recorder = world.recorder(NO_LIMIT);
    assert_eq!(recorder.length(), 1_000);
    for offset in 1_000..2_000 {
        recorder.push(&text(offset..offset + 1), at(0));
        tokio::task::yield_now().await;
    }
    recorder.finish();
    assert_eq!(soon(follower).await.unwrap(), text(1_500..2_000));
}

#[tokio::test]
async fn a_second_recorder_shuts_out_the_first() {
    let world = World::new();
    let mut first = world.recorder(NO_LIMIT);
    first.push(b"abc", at(0));
    let mut follower = world.follow(0);
    assert_eq!(
        soon(follower.try_next()).await.unwrap().unwrap().bytes,
        "abc"
    );
    let mut second = world.recorder(NO_LIMIT);
    second.push(b"abcdef", at(0));
    first.push(b"XYZ", at(0));
    assert_eq!(
        soon(follower.try_next()).await.unwrap().unwrap().bytes,
        "def"
    );
    drop(first);
    assert_eq!(world.read(0, 100).await.unwrap(), b"abcdef");
    second.finish();
    assert!(soon(follower.try_next()).await.unwrap().is_none());
    assert_eq!(world.logs.room.registry.held(), 0);
}

#[tokio::test]
async fn extents_that_another_process_stores_are_followed_too() {
    let world = World::new();
    let other = World::new();
    let mut recorder = other.recorder(NO_LIMIT);
    recorder.push(&text(0..500), at(0));
    other.store(&mut recorder).await;
    // Followed through the other's storage and index, but without its recorder.
    let blobs = std::sync::Arc::clone(&other.storage) as _;
    let logs = super::super::Logs::open(blobs, super::world::pack_ids());
    let follower = tokio::spawn(drain(0, logs.follow(ATTEMPT, other.index(), 0)));
    tokio::task::yield_now().await;
    recorder.push(&text(500..900), at(0));
    other.store(&mut recorder).await;
    other.index.set_over(ATTEMPT);
    assert_eq!(soon(follower).await.unwrap(), text(0..900));
    drop(world);
}

#[tokio::test]
async fn an_unknown_attempt_is_not_waited_for() {
    let world = World::new();
    let stranger = AttemptId::from_bits(99);
    let follower = world.logs.follow(stranger, world.index(), 0);
    let mut follower = std::pin::pin!(follower);
    let error = soon(follower.try_next()).await.unwrap_err();
    assert!(matches!(error, LogError::UnknownAttempt { attempt } if attempt == stranger));
    assert!(soon(follower.try_next()).await.unwrap().is_none());
}
