//! Reading across storage and memory.

use super::super::LogError;
use super::world::{ATTEMPT, NO_LIMIT, World, at, soon, text};
use crate::model::AttemptId;
use futures::TryStreamExt;

/// Three extents in storage and a tail in memory, 1,000 bytes each.
async fn three_stored_one_live(world: &World) -> super::super::Recorder {
    let mut recorder = world.recorder(NO_LIMIT);
    for part in 0..3 {
        recorder.push(&text(part * 1_000..part * 1_000 + 1_000), at(0));
        world.store(&mut recorder).await;
    }
    recorder.push(&text(3_000..4_000), at(0));
    recorder
}

#[tokio::test]
async fn every_range_reads_across_the_seams() {
    let world = World::new();
    let _recorder = three_stored_one_live(&world).await;
    let all = text(0..4_000);
    let places = [
        0, 1, 999, 1_000, 1_001, 2_500, 2_999, 3_000, 3_001, 3_999, 4_000,
    ];
    for from in places {
        for to in places.into_iter().filter(|to| *to >= from) {
            let expected = &all[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()];
            assert_eq!(
                world.read(from, to).await.unwrap(),
                expected,
                "{from}..{to}"
            );
        }
    }
}

#[tokio::test]
async fn a_range_is_cut_at_the_end_of_the_log() {
    let world = World::new();
    let recorder = three_stored_one_live(&world).await;
    assert_eq!(
        world.read(3_990, u64::MAX).await.unwrap(),
        text(3_990..4_000)
    );
    assert_eq!(world.read(9_000, u64::MAX).await.unwrap(), b"");
    assert_eq!(world.read(9, 3).await.unwrap(), b"");
    let length = world.logs.length(ATTEMPT, world.index.as_ref()).await;
    assert_eq!(length.unwrap(), 4_000);

    drop(recorder); // What was in memory only is gone with it.
    let length = world.logs.length(ATTEMPT, world.index.as_ref()).await;
    assert_eq!(length.unwrap(), 3_000);
    assert_eq!(
        world.read(2_990, u64::MAX).await.unwrap(),
        text(2_990..3_000)
    );
}

#[tokio::test]
async fn only_the_frames_in_question_are_fetched() {
    let world = World::new();
    let _recorder = three_stored_one_live(&world).await;
    assert_eq!(world.read(1_100, 1_200).await.unwrap(), text(1_100..1_200));
    let extent = &world.index.all(ATTEMPT)[1];
    let fetched = world.storage.fetched.lock().unwrap().clone();
    let range = extent.frame_start..extent.frame_start + extent.frame_len;
    assert_eq!(fetched.len(), 1, "{fetched:?}");
    assert_eq!(fetched[0].1, range);
    assert!(fetched[0].0.as_ref().contains(&extent.pack.to_string()));
}

#[tokio::test]
async fn bytes_that_are_stored_while_they_are_read_are_read_once() {
    let world = World::new();
    let mut recorder = three_stored_one_live(&world).await;
    let stream = world.logs.chunks(ATTEMPT, world.index(), 2_500, u64::MAX);
    let mut stream = std::pin::pin!(stream);
    let first = soon(stream.try_next()).await.unwrap().unwrap();
    assert_eq!(first.offset, 2_500);
    world.store(&mut recorder).await;
    recorder.push(b"later than the request", at(0));
    let rest: Vec<_> = soon(stream.try_collect()).await.unwrap();
    let rest: Vec<u8> = rest.iter().flat_map(|chunk| chunk.bytes.to_vec()).collect();
    assert_eq!([first.bytes.to_vec(), rest].concat(), text(2_500..4_000));
}

#[tokio::test]
async fn bytes_that_vanish_with_their_recorder_are_an_error_not_an_end() {
    let world = World::new();
    let recorder = three_stored_one_live(&world).await;
    let stream = world.logs.chunks(ATTEMPT, world.index(), 2_999, u64::MAX);
    let mut stream = std::pin::pin!(stream);
    assert_eq!(
        soon(stream.try_next()).await.unwrap().unwrap().offset,
        2_999
    );
    drop(recorder);
    let error = soon(stream.try_next()).await.unwrap_err();
    assert!(
        matches!(error, LogError::Missing { offset: 3_000, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn chunks_carry_arrival_times_from_memory_and_from_storage() {
    let world = World::new();
    let mut recorder = world.recorder(NO_LIMIT);
    for (millis, line) in [(0, "first\n"), (3, "same\n"), (2_000, "later\n")] {
        recorder.push(line.as_bytes(), at(millis));
    }
    let chunks = async || {
        let stream = world.logs.chunks(ATTEMPT, world.index(), 0, u64::MAX);
        let chunks: Vec<_> = soon(stream.try_collect()).await.unwrap();
        let pair = |chunk: super::super::Chunk| (chunk.offset, chunk.bytes.to_vec(), chunk.at);
        chunks.into_iter().map(pair).collect::<Vec<_>>()
    };
    let expected = [
        (0, b"first\nsame\n".to_vec(), at(0)),
        (11, b"later\n".to_vec(), at(2_000)),
    ];
    assert_eq!(chunks().await, expected);
    world.store(&mut recorder).await;
    assert_eq!(chunks().await, expected);
}

#[tokio::test]
async fn an_unknown_attempt_is_said_to_be_unknown() {
    let world = World::new();
    let stranger = AttemptId::from_bits(99);
    let length = world.logs.length(stranger, world.index.as_ref()).await;
    assert!(matches!(length, Err(LogError::UnknownAttempt { attempt }) if attempt == stranger));
    let read = world.logs.read(stranger, world.index(), 0, 10);
    let read = read.try_collect::<Vec<_>>().await;
    assert!(matches!(read, Err(LogError::UnknownAttempt { attempt }) if attempt == stranger));
}

#[tokio::test]
async fn a_line_of_ten_megabytes_and_binary_junk_come_back_as_they_were() {
    let world = World::new();
    let mut recorder = world.recorder(NO_LIMIT);
    let mut state = 1_u32;
    let line: Vec<u8> = (0..10_000_000_u32)
        .map(|position| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Half of it does not compress, and none of it is a newline.
            let byte = if position < 5_000_000 { state >> 24 } else { 7 };
            u8::try_from(byte).unwrap().max(b'\n' + 1)
        })
        .collect();
    for piece in line.chunks(50_000) {
        recorder.push(piece, at(0));
        if recorder.wants_flush(at(0)) {
            world.store(&mut recorder).await;
        }
    }
    assert!(world.index.all(ATTEMPT).len() >= 8);
    assert_eq!(world.read(0, u64::MAX).await.unwrap(), line);
    assert_eq!(
        world.read(4_999_990, 5_000_010).await.unwrap(),
        line[4_999_990..5_000_010]
    );
}
