//! Events, in pages and as they come.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::things;
use super::world::{Ask, World};
use crate::api::limits::STREAM_POLL;
use crate::api::view::{EventPage, EventView, SubjectKind};
use crate::model::{BuildId, Change, EventKind, Subject};

const BUILD: Subject = Subject::Build(BuildId::from_bits(1));

/// Adds `count` events about a build and as many about an image, in turn.
fn happen(world: &World, count: u64) {
    for _ in 0..count {
        let image = Subject::Image("debian-12".to_owned());
        world.store.put([
            Change::AppendEvent(things::event(BUILD, EventKind::BuildQueued)),
            Change::AppendEvent(things::event(image, EventKind::ImageApplied)),
        ]);
    }
}

#[tokio::test]
async fn pages_hold_every_event_once_oldest_first() {
    let world = World::new();
    happen(&world, 5);
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let path = format!("events?after={after}&limit=4");
        let page: EventPage = world.get(&path).await.json(200);
        assert_eq!(page.last, 10);
        if page.items.is_empty() {
            assert_eq!(page.next, after, "the place to ask again later");
            break;
        }
        seen.extend(page.items.iter().map(|event| event.number));
        after = page.next;
    }
    assert_eq!(seen, (1..=10).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_subject_filters() {
    let world = World::new();
    happen(&world, 3);
    for (subject, numbers, kind) in [
        (
            "bld_00000000000000000000000001",
            [1, 3, 5],
            SubjectKind::Build,
        ),
        ("image:debian-12", [2, 4, 6], SubjectKind::Image),
    ] {
        let path = format!("events?subject={subject}");
        let page: EventPage = world.get(&path).await.json(200);
        let found: Vec<_> = page.items.iter().map(|event| event.number).collect();
        assert_eq!(found, numbers);
        assert!(page.items.iter().all(|event| event.subject.kind == kind));
        assert_eq!(page.items[0].subject.to_string(), subject);
    }
    let page: EventPage = world.get("events?subject=policy:default").await.json(200);
    assert_eq!((page.items.len(), page.next, page.last), (0, 0, 6));
}

#[tokio::test(start_paused = true)]
async fn a_stream_begins_now_unless_told_otherwise() {
    let world = World::new();
    happen(&world, 2);
    let mut fresh = world.stream(Ask::get("events/stream")).await;
    let mut from_one = world.stream(Ask::get("events/stream?after=1")).await;
    let resume = Ask::get("events/stream?after=1").header("last-event-id", "3");
    let mut resumed = world.stream(resume).await;
    happen(&world, 1);
    world.nudge();
    for (events, first) in [(&mut fresh, 5), (&mut from_one, 2), (&mut resumed, 4)] {
        for number in first..=6_u64 {
            let seen = events.next().await.unwrap();
            assert_eq!(seen.name, "event");
            assert_eq!(seen.id, Some(number.to_string()));
            assert_eq!(seen.json::<EventView>().number, number);
        }
    }
    let bad = Ask::get("events/stream").header("last-event-id", "x");
    world.call(bad).await.problem(400);
}

#[tokio::test(start_paused = true)]
async fn a_stream_about_a_subject_skips_the_rest() {
    let world = World::new();
    happen(&world, 250);
    let path = "events/stream?after=0&subject=image:debian-12";
    let mut events = world.stream(Ask::get(path)).await;
    for number in (2..=500_u64).step_by(2) {
        assert_eq!(events.next().await.unwrap().id, Some(number.to_string()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_nudge_is_heard_at_once_and_a_lost_one_costs_latency_only() {
    let world = World::new();
    let mut events = world.stream(Ask::get("events/stream")).await;
    let nothing = tokio::time::timeout(STREAM_POLL * 3, events.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");

    let started = tokio::time::Instant::now();
    happen(&world, 1);
    world.nudge();
    events.next().await.unwrap();
    assert!(
        started.elapsed() < STREAM_POLL / 4,
        "{:?}",
        started.elapsed()
    );
    events.next().await.unwrap();

    let started = tokio::time::Instant::now();
    happen(&world, 1);
    events.next().await.unwrap();
    assert!(started.elapsed() <= STREAM_POLL, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_nudges_does_not_become_a_storm_of_questions() {
    let world = World::new();
    let mut events = world.stream(Ask::get("events/stream")).await;
    let before = world.store.event_reads.load(Ordering::Relaxed);
    let storm = async {
        for _ in 0..1_000 {
            world.nudge();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = storm => {}
        event = events.next() => panic!("{event:?}"),
    }
    let reads = world.store.event_reads.load(Ordering::Relaxed) - before;
    assert!((10..=25).contains(&reads), "{reads} in a second");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_nudges_is_not_the_end_of_events() {
    let mut world = World::new();
    let mut events = world.stream(Ask::get("events/stream")).await;
    world.newest = tokio::sync::watch::channel(0).0;
    happen(&world, 1);
    assert_eq!(events.next().await.unwrap().id.as_deref(), Some("1"));
}
