//! Bounds: of a log, of memory, of marks.

use super::super::Recorder;
use super::world::{ATTEMPT, NO_LIMIT, World, at, text};
use crate::model::AttemptId;

const LIMIT: u64 = 2_048;

const MARKER: &[u8] = b"\n[dormouse: log limit of 2 KiB reached; the rest is dropped]\n";

fn cut_log() -> Vec<u8> {
    [&text(0..LIMIT), MARKER].concat()
}

#[tokio::test]
async fn a_log_beyond_its_limit_ends_in_one_marker() {
    let world = World::new();
    let mut recorder = world.recorder(LIMIT);
    for part in 0..50 {
        recorder.push(&text(part * 100..part * 100 + 100), at(0));
    }
    assert!(recorder.limit_reached());
    assert_eq!(recorder.length(), LIMIT + MARKER.len() as u64);
    assert_eq!(world.read(0, u64::MAX).await.unwrap(), cut_log());
    world.store(&mut recorder).await;
    recorder.push(b"more", at(0));
    assert_eq!(recorder.unstored(), 0);
    assert!(recorder.begin_flush().is_none());
    assert_eq!(world.read(0, u64::MAX).await.unwrap(), cut_log());
}

#[tokio::test]
async fn a_log_of_exactly_its_limit_has_no_marker() {
    let world = World::new();
    let mut recorder = world.recorder(LIMIT);
    recorder.push(&text(0..LIMIT), at(0));
    assert!(!recorder.limit_reached());
    assert_eq!(world.read(0, u64::MAX).await.unwrap(), text(0..LIMIT));
}

#[tokio::test]
async fn the_marker_is_said_once_wherever_a_restart_cuts_the_log() {
    for stored in [1, LIMIT - 1, LIMIT, LIMIT + 1, LIMIT + 500] {
        let world = World::new();
        let mut recorder = world.recorder(LIMIT);
        recorder.push(&text(0..stored), at(0));
        world.store(&mut recorder).await;
        drop(recorder);
        let mut recorder = world.recorder(LIMIT);
        assert_eq!(recorder.limit_reached(), stored > LIMIT);
        recorder.push(&text(stored..stored + 3_000), at(0));
        recorder.push(b"and more", at(0));
        assert_eq!(
            world.read(0, u64::MAX).await.unwrap(),
            cut_log(),
            "{stored}"
        );
    }
}

/// Pushes until the recorder is full; how much that took.
fn fill(recorder: &mut Recorder) -> u64 {
    let chunk = text(0..32_768);
    let before = recorder.unstored();
    while !recorder.is_full() {
        recorder.push(&chunk, at(0));
    }
    recorder.unstored() - before
}

#[tokio::test]
async fn a_full_recorder_says_so_until_its_bytes_are_stored() {
    let world = World::new();
    let mut recorder = world.recorder(NO_LIMIT);
    let taken = fill(&mut recorder);
    assert!((4 << 20..5 << 20).contains(&taken), "{taken}");
    assert!(recorder.wants_flush(at(0)));
    let flush = recorder.begin_flush().unwrap();
    assert!(recorder.is_full() && !recorder.wants_flush(at(10_000)));
    world.settle(&mut recorder, flush).await;
    assert!(!recorder.is_full() && recorder.flush_at().is_none());
}

#[tokio::test]
async fn many_recorders_share_a_bounded_room_and_each_has_its_fair_part() {
    let world = World::new();
    let recorder = |number: u32| {
        let attempt = AttemptId::from_bits(u128::from(number) + 100);
        world.index.begin(attempt);
        world.logs.recorder(attempt, 0, NO_LIMIT)
    };
    let mut recorders: Vec<_> = (0..40).map(recorder).collect();
    let taken: u64 = recorders.iter_mut().map(fill).sum();
    assert_eq!(world.logs.room.registry.held(), taken);
    assert!(taken < 40 << 20, "{taken}");
    for recorder in &mut recorders {
        assert!(recorder.unstored() >= 256 * 1024);
        let is_stuck = recorder.is_full() && !recorder.wants_flush(at(0));
        assert!(!is_stuck, "full, and nothing to be done");
        world.store(recorder).await;
    }
    assert_eq!(world.logs.room.registry.held(), 0);
}

#[tokio::test]
async fn memory_of_recorders_that_go_is_given_back() {
    let world = World::new();
    let mut recorder = world.recorder(NO_LIMIT);
    recorder.push(&text(0..10_000), at(0));
    assert_eq!(world.logs.room.registry.held(), 10_000);
    drop(recorder);
    let mut recorder = world.recorder(NO_LIMIT);
    recorder.push(&text(0..5_000), at(0));
    recorder.finish();
    assert_eq!(world.logs.room.registry.held(), 0);
}

#[tokio::test]
async fn a_flush_is_due_by_size_or_by_age() {
    let world = World::new();
    let mut recorder = world.recorder(NO_LIMIT);
    assert_eq!(recorder.flush_at(), None);
    assert!(!recorder.wants_flush(at(100_000)));
    recorder.push(b"line\n", at(500));
    recorder.push(b"line\n", at(900));
    assert_eq!(recorder.flush_at(), Some(at(1_500)));
    assert!(!recorder.wants_flush(at(1_499)) && recorder.wants_flush(at(1_500)));
    recorder.push(&text(0..2_000_000), at(901));
    assert!(recorder.wants_flush(at(901)));

    let flush = recorder.begin_flush().unwrap();
    recorder.push(b"meanwhile\n", at(950));
    assert_eq!(recorder.flush_at(), None, "one at a time");
    assert!(recorder.begin_flush().is_none());
    world.settle(&mut recorder, flush).await;
    let due = recorder.flush_at().expect("what came meanwhile");
    assert!((at(1_901)..=at(1_950)).contains(&due), "{due}");
}

#[tokio::test]
async fn marks_of_an_extent_are_few_however_often_a_log_trickles() {
    let world = World::new();
    let mut recorder = world.recorder(NO_LIMIT);
    for tick in 0..10_000 {
        recorder.push(b".", at(tick * 20));
    }
    world.store(&mut recorder).await;
    let extents = world.index.all(ATTEMPT);
    assert_eq!(extents.len(), 1);
    assert!((32..=129).contains(&extents[0].marks.len()));
}
