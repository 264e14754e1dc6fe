//! Reading the bytes of a log.

use std::sync::atomic::Ordering;

use super::things;
use super::world::{Ask, World};
use crate::model::{BuildResult, Change, Outcome, PipelineId};

const LOG: &[u8] = b"configure ok\ncompile: \xff\x00 odd\ntest 1\n";

/// A world with one build, whose second attempt runs and has printed `LOG` in two steps; and the
/// path of its log.
fn printed() -> (World, String) {
    let world = World::new();
    let build = things::build(1, PipelineId::from_bits(1));
    let path = format!("builds/{}/log", build.id);
    let lost = Outcome::Infrastructure("lost".to_owned());
    let first = things::over(things::attempt(1, build.id, 1), 6, lost);
    let mut second = things::attempt(2, build.id, 2);
    second.steps = vec![
        things::step_record(0, (0, Some(13)), Some(0)),
        things::step_record(1, (13, None), None),
    ];
    world.logs.write(first.id, b"first\n");
    world.logs.write(second.id, LOG);
    world.store.put([
        Change::InsertBuild(things::running(build, &second)),
        Change::InsertAttempt(first),
        Change::InsertAttempt(second),
    ]);
    (world, path)
}

#[tokio::test]
async fn the_log_of_the_last_attempt_comes_as_it_is() {
    let (world, path) = printed();
    let reply = world.get(&path).await;
    assert_eq!(reply.status, 200);
    assert_eq!(&reply.body[..], LOG);
    for (name, value) in [
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", &LOG.len().to_string()),
        ("x-content-type-options", "nosniff"),
        ("accept-ranges", "bytes"),
        ("dormouse-log-attempt", "2"),
        ("dormouse-log-offset", "0"),
        ("dormouse-log-length", &LOG.len().to_string()),
        ("dormouse-log-complete", "false"),
    ] {
        assert_eq!(reply.header(name), value, "{name}");
    }
}

#[tokio::test]
async fn windows_and_steps_choose_a_part() {
    let (world, path) = printed();
    let whole = LOG.len();
    for (query, from, to) in [
        ("?offset=13", 13, whole),
        ("?offset=13&limit=7", 13, 20),
        ("?limit=0", 0, 0),
        ("?offset=999", whole, whole),
        ("?step=0", 0, 13),
        ("?step=configure", 0, 13),
        ("?step=compile", 13, whole),
        ("?step=compile&offset=3&limit=2", 16, 18),
        ("?step=2", 0, 0),
        ("?attempt=2", 0, whole),
    ] {
        let reply = world.get(&format!("{path}{query}")).await;
        assert_eq!(reply.status, 200, "{query}");
        assert_eq!(&reply.body[..], &LOG[from..to], "{query}");
        let offset = reply.header("dormouse-log-offset");
        assert_eq!(offset, from.to_string(), "{query}");
    }
    let first = world.get(&format!("{path}?attempt=1")).await;
    assert_eq!(first.text(), "first\n");
    assert_eq!(first.header("dormouse-log-complete"), "true");
    for query in ["?attempt=3", "?attempt=0", "?step=3", "?step=deploy"] {
        world.get(&format!("{path}{query}")).await.problem(404);
    }
    world.get(&format!("{path}?ofset=3")).await.problem(400);
}

#[tokio::test]
async fn ranges_choose_within_the_window() {
    let (world, path) = printed();
    let whole = LOG.len();
    for (query, range, from, to, size) in [
        ("", "bytes=0-3", 0, 4, whole),
        ("", "bytes=13-", 13, whole, whole),
        ("", "bytes=-5", whole - 5, whole, whole),
        ("?step=configure", "bytes=10-99", 10, 13, 13),
        ("?offset=13", "bytes=0-1", 13, 15, whole - 13),
    ] {
        let ask = Ask::get(&format!("{path}{query}")).header("range", range);
        let reply = world.call(ask).await;
        assert_eq!(reply.status, 206, "{query} {range}");
        assert_eq!(&reply.body[..], &LOG[from..to], "{query} {range}");
        let length = to - from;
        assert_eq!(reply.header("content-length"), length.to_string());
        let shown = reply.header("content-range");
        assert!(
            shown.ends_with(&format!("/{size}")),
            "{query} {range}: {shown}"
        );
    }
    let part = world
        .call(Ask::get(&path).header("range", "bytes=13-15"))
        .await;
    assert_eq!(part.header("content-range"), format!("bytes 13-15/{whole}"));
    let behind = world
        .call(Ask::get(&path).header("range", "bytes=999-"))
        .await;
    behind.problem(416);
    assert_eq!(behind.header("content-range"), format!("bytes */{whole}"));
    let several = world
        .call(Ask::get(&path).header("range", "bytes=0-1,5-6"))
        .await;
    assert_eq!((several.status.as_u16(), several.body.len()), (200, whole));
}

#[tokio::test]
async fn a_build_that_has_not_begun_has_an_empty_log() {
    let world = World::new();
    let build = things::build(1, PipelineId::from_bits(1));
    let path = format!("builds/{}/log", build.id);
    world.store.put([Change::InsertBuild(build.clone())]);
    let reply = world.get(&path).await;
    assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 0));
    assert_eq!(reply.header("dormouse-log-attempt"), "0");
    assert_eq!(reply.header("dormouse-log-complete"), "false");
    let skipped = things::finished(build, BuildResult::Skipped);
    world.store.put([Change::UpdateBuild(skipped, 0)]);
    let reply = world.get(&path).await;
    assert_eq!(reply.header("dormouse-log-complete"), "true");
    world.get(&format!("{path}?attempt=1")).await.problem(404);
}

#[tokio::test]
async fn a_log_that_cannot_be_read_is_an_internal_error() {
    let (world, path) = printed();
    world.logs.broken.store(true, Ordering::Relaxed);
    let reply = world.get(&path).await;
    reply.problem(500);
    assert!(!reply.text().contains("secret-place"));
}
