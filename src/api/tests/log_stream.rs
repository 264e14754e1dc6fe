//! Following a log over server-sent events.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::fake_logs::LOGGED_AT;
use super::things;
use super::world::{Ask, Events, Seen, World};
use crate::api::limits::{MAX_LOG_EVENT_BYTES, MAX_STREAMS, STREAM_POLL};
use crate::api::view::{BuildStateWord, LogChunk, LogEnd, ProblemDetails, ResultWord};
use crate::model::{Attempt, Build, BuildResult, Change, Outcome, PipelineId};

/// A world with one build whose first attempt runs.
fn running() -> (World, Build, Attempt, String) {
    let world = World::new();
    let build = things::build(1, PipelineId::from_bits(1));
    let attempt = things::attempt(1, build.id, 1);
    let path = format!("builds/{}/log/stream", build.id);
    world.store.put([
        Change::InsertBuild(things::running(build.clone(), &attempt)),
        Change::InsertAttempt(attempt.clone()),
    ]);
    (world, build, attempt, path)
}

/// The attempt ends, and with it the build.
fn finish(world: &World, build: &Build, attempt: &Attempt, stored: u64) {
    let over = things::over(attempt.clone(), stored, Outcome::Exited(2));
    world.store.put([
        Change::UpdateAttempt(over, 0),
        Change::UpdateBuild(things::finished(build.clone(), BuildResult::Failure), 0),
    ]);
    world.nudge();
}

/// The attempt ends and the build goes back to the queue.
fn lose(world: &World, build: &Build, attempt: Attempt, stored: u64) {
    let lost = Outcome::Infrastructure("lost".to_owned());
    world.store.put([
        Change::UpdateAttempt(things::over(attempt, stored, lost), 0),
        Change::UpdateBuild(build.clone(), 0),
    ]);
    world.nudge();
}

/// Takes `log` events until one of another name comes: their bytes, the last id, and the other one.
async fn collect(events: &mut Events) -> (Vec<u8>, Option<String>, Seen) {
    let (mut bytes, mut id) = (Vec::new(), None);
    loop {
        let seen = events.next().await.expect("an end");
        if seen.name != "log" {
            return (bytes, id, seen);
        }
        id.clone_from(&seen.id);
        bytes.extend(seen.json::<LogChunk>().bytes().unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_come_as_they_are_printed_and_then_the_end() {
    let (world, build, attempt, path) = running();
    world.logs.write(attempt.id, b"one\n");
    let mut events = world.stream(Ask::get(&path)).await;
    let first = events.next().await.unwrap();
    assert_eq!(
        (first.name.as_str(), first.id.as_deref()),
        ("log", Some("4"))
    );
    let chunk: LogChunk = first.json();
    assert_eq!(chunk, LogChunk::new(1, 0, LOGGED_AT, b"one\n"));

    world.logs.write(attempt.id, b"two\n");
    let second = events.next().await.unwrap();
    assert_eq!(second.id.as_deref(), Some("8"));
    assert_eq!(second.json::<LogChunk>().offset, 4);

    finish(&world, &build, &attempt, 8);
    let end = events.next().await.unwrap();
    assert_eq!(end.name, "end");
    let end: LogEnd = end.json();
    assert_eq!(
        (end.build, end.result, end.length),
        (build.id, Some(ResultWord::Failure), 8)
    );
    assert_eq!(
        (end.attempt, end.state),
        (Some(1), BuildStateWord::Finished)
    );
    assert_eq!(end.reason.as_deref(), Some("step test exited with 2"));
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_finished_log_is_played_back() {
    let (world, build, attempt, path) = running();
    let log = b"\xffbinary\x00\n".repeat(50_000);
    world.logs.write(attempt.id, &log);
    finish(&world, &build, &attempt, log.len() as u64);
    let mut events = world.stream(Ask::get(&path)).await;
    let (bytes, id, end) = collect(&mut events).await;
    assert!(bytes == log, "{} bytes of {}", bytes.len(), log.len());
    assert_eq!(id, Some(log.len().to_string()));
    assert_eq!(end.json::<LogEnd>().length, log.len() as u64);
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_gets_what_follows() {
    let (world, build, attempt, path) = running();
    let log = "gr\u{fc}n \u{20ac} 12\nend".repeat(9);
    world.logs.write(attempt.id, log.as_bytes());
    finish(&world, &build, &attempt, log.len() as u64);
    for from in 0..=log.len() {
        for ask in [
            Ask::get(&path).header("last-event-id", from.to_string()),
            Ask::get(&format!("{path}?offset={from}")),
            Ask::get(&format!("{path}?attempt=1")).header("last-event-id", from.to_string()),
        ] {
            let mut events = world.stream(ask).await;
            let (bytes, _, end) = collect(&mut events).await;
            assert!(bytes == log.as_bytes()[from..], "from {from}");
            assert_eq!(end.json::<LogEnd>().length, log.len() as u64);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ids_that_are_none_are_refused() {
    let (world, _, attempt, path) = running();
    world.logs.write(attempt.id, b"four");
    for id in ["", "x", "-1", "1:", "1:2:3", "4.0"] {
        let ask = Ask::get(&path).header("last-event-id", id);
        world.call(ask).await.problem(400);
    }
    let ask = Ask::get(&path).header("last-event-id", "5");
    world.call(ask).await.problem(416);
    let ask = Ask::get(&path).header("last-event-id", "9:0");
    world.call(ask).await.problem(404);
    world.get(&format!("{path}?attempt=2")).await.problem(404);
}

#[tokio::test(start_paused = true)]
async fn characters_are_not_cut_and_what_is_half_at_the_end_still_comes() {
    let (world, build, attempt, path) = running();
    let mut events = world.stream(Ask::get(&path)).await;
    world.logs.write(attempt.id, b"5 \xe2\x82");
    let first = events.next().await.unwrap();
    let chunk: LogChunk = first.json();
    assert_eq!(
        (chunk.text.as_deref(), first.id.as_deref()),
        (Some("5 "), Some("2"))
    );
    world.logs.write(attempt.id, b"\xac\xe2");
    let second = events.next().await.unwrap();
    let chunk: LogChunk = second.json();
    assert_eq!(
        (chunk.text.as_deref(), second.id.as_deref()),
        (Some("\u{20ac}"), Some("5"))
    );
    finish(&world, &build, &attempt, 6);
    let (rest, id, end) = collect(&mut events).await;
    assert_eq!((rest.as_slice(), id.as_deref()), (&b"\xe2"[..], Some("6")));
    assert_eq!(end.name, "end");
}

#[tokio::test(start_paused = true)]
async fn long_chunks_are_sent_in_bounded_events() {
    let (world, build, attempt, path) = running();
    let log = "\u{20ac}".repeat(MAX_LOG_EVENT_BYTES);
    world.logs.write(attempt.id, log.as_bytes());
    finish(&world, &build, &attempt, log.len() as u64);
    let mut events = world.stream(Ask::get(&path)).await;
    let mut total = 0;
    loop {
        let seen = events.next().await.unwrap();
        if seen.name == "end" {
            break;
        }
        let text = seen.json::<LogChunk>().text.expect("text stays text");
        assert!(text.len() <= MAX_LOG_EVENT_BYTES);
        total += text.len();
    }
    assert_eq!(total, log.len());
}

#[tokio::test(start_paused = true)]
async fn a_build_that_is_tried_again_goes_on_in_the_same_stream() {
    let (world, build, first, path) = running();
    world.logs.write(first.id, b"lost");
    let mut events = world.stream(Ask::get(&path)).await;
    assert_eq!(events.next().await.unwrap().id.as_deref(), Some("4"));

    lose(&world, &build, first, 4);
    let second = things::attempt(2, build.id, 2);
    world.logs.write(second.id, b"again");
    world.store.put([Change::InsertAttempt(second.clone())]);
    world.nudge();
    let chunk = events.next().await.unwrap();
    assert_eq!(chunk.id.as_deref(), Some("2:5"));
    assert_eq!(
        chunk.json::<LogChunk>(),
        LogChunk::new(2, 0, LOGGED_AT, b"again")
    );

    finish(&world, &build, &second, 5);
    let (bytes, _, end) = collect(&mut events).await;
    assert!(bytes.is_empty());
    assert_eq!(end.json::<LogEnd>().attempt, Some(2));

    for (id, rest) in [
        ("2:2", &b"ain"[..]),
        ("2", b"stagain"),
        ("4", b"again"),
        ("2:5", b""),
    ] {
        let mut events = world
            .stream(Ask::get(&path).header("last-event-id", id))
            .await;
        assert_eq!(collect(&mut events).await.0, rest, "{id}");
    }
    let mut only_first = world.stream(Ask::get(&format!("{path}?attempt=1"))).await;
    assert_eq!(collect(&mut only_first).await.0, b"lost");
    let mut only_second = world.stream(Ask::get(&format!("{path}?attempt=2"))).await;
    let (bytes, id, _) = collect(&mut only_second).await;
    assert_eq!(
        (bytes.as_slice(), id.as_deref()),
        (&b"again"[..], Some("5"))
    );
}

#[tokio::test(start_paused = true)]
async fn one_attempt_that_was_asked_for_ends_before_the_build_does() {
    let (world, build, first, path) = running();
    world.logs.write(first.id, b"lost");
    lose(&world, &build, first, 4);
    let mut events = world.stream(Ask::get(&format!("{path}?attempt=1"))).await;
    let (bytes, _, end) = collect(&mut events).await;
    assert_eq!(bytes, b"lost");
    let end: LogEnd = end.json();
    assert_eq!((end.state, end.result), (BuildStateWord::Queued, None));
}

#[tokio::test(start_paused = true)]
async fn a_build_that_waits_is_waited_for() {
    let world = World::new();
    let build = things::build(1, PipelineId::from_bits(1));
    let path = format!("builds/{}/log/stream", build.id);
    world.store.put([Change::InsertBuild(build.clone())]);
    let mut events = world.stream(Ask::get(&path)).await;
    // Nobody nudges: the stream looks by itself.
    let started = tokio::time::Instant::now();
    let attempt = things::attempt(1, build.id, 1);
    world.logs.write(attempt.id, b"hello");
    world.store.put([Change::InsertAttempt(attempt)]);
    assert_eq!(events.next().await.unwrap().id.as_deref(), Some("5"));
    assert!(
        started.elapsed() <= STREAM_POLL * 2,
        "{:?}",
        started.elapsed()
    );

    let skipped = things::build(2, PipelineId::from_bits(1));
    let path = format!("builds/{}/log/stream", skipped.id);
    let skipped = things::finished(skipped, BuildResult::Skipped);
    world.store.put([Change::InsertBuild(skipped)]);
    let mut events = world.stream(Ask::get(&path)).await;
    let end: LogEnd = events.next().await.unwrap().json();
    assert_eq!(
        (end.result, end.attempt, end.length),
        (Some(ResultWord::Skipped), None, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_source_that_breaks_off_loses_and_repeats_nothing() {
    let (world, build, attempt, path) = running();
    world.logs.breaks_off.store(true, Ordering::Relaxed);
    let mut events = world.stream(Ask::get(&path)).await;
    let mut bytes = Vec::new();
    for part in ["a", "bc", "def", "ghij"] {
        world.logs.write(attempt.id, part.as_bytes());
        let seen = events.next().await.unwrap();
        bytes.extend(seen.json::<LogChunk>().bytes().unwrap());
    }
    assert_eq!(bytes, b"abcdefghij");
    assert!(world.logs.followed.load(Ordering::Relaxed) >= 4);
    finish(&world, &build, &attempt, 10);
    assert_eq!(events.next().await.unwrap().name, "end");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_fails_says_so_and_ends() {
    let (world, _, attempt, path) = running();
    world.logs.breaks_off.store(true, Ordering::Relaxed);
    world.logs.write(attempt.id, b"one");
    let mut events = world.stream(Ask::get(&path)).await;
    events.next().await.unwrap();
    world.logs.broken.store(true, Ordering::Relaxed);
    world.nudge();
    let last = events.next().await.unwrap();
    assert_eq!(last.name, "problem");
    let problem: ProblemDetails = last.json();
    assert!(problem.instance.starts_with("urn:dormouse:error:"));
    assert!(!last.data.contains("secret-place"));
    assert_eq!(events.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_shows_that_it_lives() {
    let (world, _, _, path) = running();
    let mut events = world.stream(Ask::get(&path)).await;
    let started = tokio::time::Instant::now();
    assert_eq!(events.next_raw().await.trim(), ":");
    assert!(
        started.elapsed() <= Duration::from_secs(16),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn streams_end_with_the_server_and_leave_nothing_behind() {
    let (world, _, attempt, path) = running();
    world.logs.write(attempt.id, b"one");
    let mut events = world.stream(Ask::get(&path)).await;
    events.next().await.unwrap();
    assert_eq!(world.logs.followers(attempt.id), 1);
    world.shutdown.cancel();
    assert_eq!(events.next().await, None);
    drop(events);
    assert_eq!(world.logs.followers(attempt.id), 0);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_streams_are_open_at_once() {
    let (world, _, _, path) = running();
    let mut open = Vec::new();
    for _ in 0..MAX_STREAMS {
        open.push(world.stream(Ask::get(&path)).await);
    }
    let reply = world.get(&path).await;
    reply.problem(503);
    assert_eq!(reply.header("retry-after"), "1");
    world.get("events/stream").await.problem(503);
    open.pop();
    world.stream(Ask::get(&path)).await;
}

#[tokio::test(start_paused = true)]
async fn nobody_on_the_way_holds_events_back() {
    let (world, build, attempt, path) = running();
    world.logs.write(attempt.id, &b"line\n".repeat(1_000));
    finish(&world, &build, &attempt, 5_000);
    let reply = world
        .call(Ask::get(&path).header("accept-encoding", "gzip"))
        .await;
    assert_eq!(reply.header("x-accel-buffering"), "no");
    assert_eq!(reply.header("content-encoding"), "");
    assert_eq!(reply.header("cache-control"), "no-cache");
}
