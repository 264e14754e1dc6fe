//! Storage and index that fail.

use futures::StreamExt;
use object_store::{ObjectStore, ObjectStoreExt};

use super::super::LogError;
use super::super::pack;
use super::world::{ATTEMPT, Fault, NO_LIMIT, World, at, drain, soon, text};

#[tokio::test]
async fn a_full_disk_loses_and_repeats_nothing() {
    for fault in [Fault::BeforeWriting, Fault::AfterWriting] {
        let world = World::new();
        let mut recorder = world.recorder(NO_LIMIT);
        recorder.push(&text(0..1_000), at(0));
        world.storage.fail_next(fault);
        let flush = recorder.begin_flush().unwrap();
        recorder.push(&text(1_000..1_500), at(100));
        let error = soon(flush).await.unwrap_err();
        assert!(
            matches!(
                error,
                LogError::Write {
                    attempt: ATTEMPT,
                    ..
                }
            ),
            "{error}"
        );
        recorder.flush_failed(at(200));
        assert!(!recorder.wants_flush(at(1_199)), "a pause");
        assert_eq!(recorder.flush_at(), Some(at(1_200)));
        assert_eq!(world.read(0, u64::MAX).await.unwrap(), text(0..1_500));

        world.store(&mut recorder).await;
        recorder.finish();
        assert_eq!(world.index.all(ATTEMPT).len(), 1);
        assert_eq!(world.read(0, u64::MAX).await.unwrap(), text(0..1_500));
    }
}

#[tokio::test]
async fn a_flush_whose_commit_failed_is_written_again_elsewhere() {
    let world = World::new();
    let mut recorder = world.recorder(NO_LIMIT);
    recorder.push(&text(0..1_000), at(0));
    let lost = soon(recorder.begin_flush().unwrap()).await.unwrap();
    recorder.flush_failed(at(0));
    world.store(&mut recorder).await;
    let kept = &world.index.all(ATTEMPT)[0];
    assert_ne!(kept.pack, lost.pack);
    assert_eq!((kept.start, kept.len), (lost.start, lost.len));
    assert_eq!(world.read(0, u64::MAX).await.unwrap(), text(0..1_000));
}

#[tokio::test]
async fn a_failed_pack_fails_each_of_its_flushes_and_none_after() {
    let world = World::new();
    world.storage.close_gate();
    let mut recorders: Vec<_> = (10..15)
        .map(|number| {
            let attempt = crate::model::AttemptId::from_bits(number);
            world.index.begin(attempt);
            let mut recorder = world.logs.recorder(attempt, 0, NO_LIMIT);
            recorder.push(b"line\n", at(0));
            recorder
        })
        .collect();
    // The first is on its way alone; the others share the second pack, which fails.
    let first = recorders[0].begin_flush().unwrap();
    soon(world.storage.arrivals(1)).await;
    let others: Vec<_> = recorders[1..]
        .iter_mut()
        .map(|recorder| recorder.begin_flush().unwrap())
        .collect();
    world.storage.gate.add_permits(1);
    assert!(soon(first).await.is_ok());
    soon(world.storage.arrivals(2)).await;
    world.storage.fail_next(Fault::BeforeWriting);
    world.storage.open_gate();
    for (flush, number) in others.into_iter().zip(11..) {
        let error = soon(flush).await.unwrap_err();
        assert!(matches!(error, LogError::Write { attempt, .. } if attempt.bits() == number));
    }
    for recorder in &mut recorders[1..] {
        recorder.flush_failed(at(0));
        assert!(soon(recorder.begin_flush().unwrap()).await.is_ok());
    }
}

/// A world with one stored extent, of which `damage` makes something else.
async fn read_damaged(damage: impl AsyncFnOnce(&World)) -> LogError {
    let world = World::new();
    let mut recorder = world.recorder(NO_LIMIT);
    recorder.push(&text(0..10_000), at(0));
    world.store(&mut recorder).await;
    damage(&world).await;
    world.read(0, 10_000).await.unwrap_err()
}

async fn rewrite(world: &World, change: impl FnOnce(&mut Vec<u8>)) {
    let path = pack::path(world.index.all(ATTEMPT)[0].pack);
    let objects = &world.storage.objects;
    let mut bytes = objects
        .get(&path)
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap()
        .to_vec();
    change(&mut bytes);
    objects.put(&path, bytes.into()).await.unwrap();
}

#[tokio::test]
async fn a_corrupt_frame_names_its_pack_and_offset() {
    let error = read_damaged(async |world: &World| {
        rewrite(world, |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        })
        .await;
    })
    .await;
    assert!(matches!(error, LogError::Corrupt { .. }), "{error:?}");
    let message = error.to_string();
    assert!(
        message.starts_with(&format!(
            "corrupt log frame of {ATTEMPT} in logs/2026-11-21/pack_"
        )),
        "{message}"
    );
    assert!(message.contains(".pack at 0: "), "{message}");
}

#[tokio::test]
async fn a_truncated_pack_is_noticed() {
    let error = read_damaged(async |world: &World| {
        rewrite(world, |bytes| bytes.truncate(bytes.len() - 3)).await;
    })
    .await;
    assert!(
        matches!(error, LogError::Corrupt { .. } | LogError::Read { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_pack_that_is_gone_is_said_to_be_gone() {
    let error = read_damaged(async |world: &World| {
        let pack = world.index.all(ATTEMPT)[0].pack;
        world.logs.remove(pack).await.unwrap();
    })
    .await;
    assert!(
        matches!(error, LogError::PackGone { offset: 0, .. }),
        "{error:?}"
    );
    assert!(
        error.to_string().ends_with(".pack, which is gone"),
        "{error}"
    );
}

#[tokio::test]
async fn an_index_that_is_wrong_is_noticed() {
    let error = read_damaged(async |world: &World| {
        world.index.tamper(ATTEMPT, |extents| extents[0].start += 5);
    })
    .await;
    assert!(
        matches!(error, LogError::Missing { offset: 0, .. }),
        "{error:?}"
    );
    let error = read_damaged(async |world: &World| {
        world
            .index
            .tamper(ATTEMPT, |extents| extents[0].marks.clear());
    })
    .await;
    assert!(matches!(error, LogError::Corrupt { .. }), "{error:?}");
    let error = read_damaged(async |world: &World| {
        world
            .index
            .tamper(ATTEMPT, |extents| extents[0].len = u64::MAX >> 1);
    })
    .await;
    assert!(matches!(error, LogError::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn followers_see_what_storage_refuses() {
    let world = World::new();
    let mut recorder = world.recorder(NO_LIMIT);
    let follower = tokio::spawn(drain(0, world.follow(0)));
    recorder.push(b"line\n", at(0));
    for _ in 0..3 {
        world.storage.fail_next(Fault::BeforeWriting);
        assert!(soon(recorder.begin_flush().unwrap()).await.is_err());
        recorder.flush_failed(at(0));
    }
    recorder.finish();
    assert_eq!(soon(follower).await.unwrap(), b"line\n");
    assert_eq!(world.storage.objects.list(None).count().await, 0);
}
