//! Image versions that fare badly, and what is known of how they fare.

use dormouse::books::{Applied, ImageHealth};
use dormouse::engine::{Desk, DeskError};
use dormouse::model::BuildResult::{InfraFailure, Success};
use dormouse::model::{ImageState, Money};
use dormouse::provider::simulated::Boot;

use super::world::{ALPINE, World, secs};

const ANY: &str = "sh: true";

/// The image with another description: a new version.
fn changed() -> String {
    ALPINE.replace("provider: cloud", "description: newer\nprovider: cloud")
}

/// A world in which the first version of an image has worked, and the second one does not boot.
fn quarantined() -> World {
    let world = World::with_images(&[ALPINE]);
    let first = world.submit_one(ANY, "echo one");
    world.until_word(first, "finished");
    world.apply_images(&[&changed()]);
    world.advance(secs(5));
    world.cloud.boot_next("alpine", [Boot::Never; 3]);
    let second = world.submit_one(ANY, "echo two");
    world.until_word(second, "finished");
    assert_eq!(world.result(second).0, Success, "{}", world.picture());
    let versions: Vec<u32> = world
        .attempts(second)
        .iter()
        .map(|attempt| world.machine(attempt.machine).image_version)
        .collect();
    assert_eq!(versions, [2, 2, 2, 1]);
    world
}

fn states(world: &World) -> Vec<(u32, ImageState)> {
    let images = world.ask(async |desk| desk.images().await).unwrap();
    let states = images.iter().map(|image| (image.version, image.state));
    states.collect()
}

fn version_of_next(world: &World) -> u32 {
    let id = world.submit_one(ANY, "echo next");
    world.until_word(id, "finished");
    assert_eq!(world.result(id).0, Success);
    let machine = world.attempts(id).pop().unwrap().machine;
    world.machine(machine).image_version
}

fn health(world: &World) -> ImageHealth {
    let health = world.ask(async |desk| desk.image_health("alpine").await);
    health.unwrap().unwrap()
}

#[test]
fn a_version_that_never_boots_gives_way_to_the_one_before() {
    let world = quarantined();
    let expected = [(1, ImageState::Active), (2, ImageState::Quarantined)];
    assert_eq!(states(&world), expected);
    assert!(world.image_says("alpine", "version 2 is quarantined: 3 boots failed"));
    // Its machines are not drained while it stands in.
    world.advance(secs(20));
    let versions: Vec<u32> = world.machines().iter().map(|m| m.image_version).collect();
    assert_eq!(versions, [1]);
    let lives = world.cloud.lives().len();
    let id = world.submit_one(ANY, "sleep 10s");
    let explained = world.explain(id);
    let said = &explained.images[0].verdict;
    assert!(said.contains("version 2 is quarantined"), "{said}");
    world.until_word(id, "finished");
    assert_eq!(world.cloud.lives().len(), lives, "its machine was at hand");
}

#[test]
fn a_quarantine_survives_a_restart_and_the_same_file() {
    let mut world = quarantined();
    world.kill_and_restart();
    let applied = world.apply_images(&[&changed()]);
    let unchanged = Applied::Unchanged {
        name: "alpine".to_owned(),
        version: 2,
    };
    assert_eq!(applied, [unchanged]);
    world.until("the machines are gone", secs(900), |world| {
        world.machines().is_empty()
    });
    assert_eq!(version_of_next(&world), 1);
    let newer = ALPINE.replace("provider: cloud", "description: newest\nprovider: cloud");
    world.apply_images(&[&newer]);
    assert_eq!(states(&world), [(3, ImageState::Active)]);
    assert_eq!(version_of_next(&world), 3);
    let refused = world.ask(async |desk| desk.release_image("alpine", "ada").await);
    assert!(matches!(refused, Err(DeskError::Refused(_))), "{refused:?}");
}

#[test]
fn a_released_version_is_tried_anew() {
    let mut world = quarantined();
    let release =
        async |desk: &dormouse::engine::FrontDesk| desk.release_image("alpine", "ada").await;
    let released = world.ask(release).unwrap();
    assert_eq!((released.version, released.state), (2, ImageState::Active));
    assert_eq!(states(&world), [(2, ImageState::Active)]);
    world.kill_and_restart();
    // One failure is not three, and those before its release do not count.
    world.cloud.boot_next("alpine", [Boot::Never]);
    assert_eq!(version_of_next(&world), 2);
    let refused = world.ask(async |desk| desk.release_image("alpine", "ada").await);
    assert!(matches!(refused, Err(DeskError::Refused(_))), "{refused:?}");
}

#[test]
fn removing_a_stand_in_removes_what_it_stands_in_for() {
    let world = quarantined();
    world.remove_image("alpine");
    assert_eq!(states(&world), []);
    let refused = world.ask(async |desk| desk.release_image("alpine", "ada").await);
    assert!(
        matches!(refused, Err(DeskError::NotFound { .. })),
        "{refused:?}"
    );
}

#[test]
fn without_a_version_that_worked_the_breaker_paces_the_tries_and_builds_end() {
    let mut settings = dormouse::engine::Settings::default();
    settings.failure_budget.launches = 4;
    settings.failure_budget.money = Money::from_micros(1_000_000_000);
    let world = World::of_kind(1, &[ALPINE], false, settings);
    let begun = world.now();
    world.cloud.boot_next("alpine", [Boot::Never; 6]);
    let ids = [
        world.submit_one(ANY, "echo 1"),
        world.submit_one(ANY, "echo 2"),
    ];
    world.until_done();
    for id in ids {
        assert_eq!(world.result(id).0, InfraFailure);
        assert_eq!(world.attempts(id).len(), 3);
    }
    assert_eq!(states(&world), [(1, ImageState::Active)]);
    assert!(world.image_says("alpine", "its breaker is open"));
    let hour = begun + secs(3_600);
    let lives = world.cloud.lives();
    let early = lives.iter().filter(|life| life.from < hour).count();
    assert!(
        (4..=5).contains(&early),
        "{early} of {} launches",
        lives.len()
    );
    assert_eq!(lives.len(), 6);
}

#[test]
fn figures_are_of_what_happened_and_survive_a_restart() {
    let mut world = World::with_images(&[ALPINE]);
    world.cloud.boot_next("alpine", [Boot::Never]);
    let first = world.submit_one(ANY, "echo one");
    world.until_word(first, "finished");
    let second = world.submit_one(ANY, "sleep 10s");
    world.until_word(second, "running");
    world.advance(secs(4));
    let (_, attempt) = world.binding(second);
    assert!(world.remote.lose_supervisor(attempt));
    world.until_word(second, "finished");
    world.advance(secs(60));
    let before = health(&world);
    let [version] = before.versions.as_slice() else {
        panic!("{before:#?}");
    };
    let [shape] = version.shapes.as_slice() else {
        panic!("{before:#?}");
    };
    assert_eq!((shape.boots, shape.failed_boots), (2, 1));
    assert_eq!((shape.builds, shape.infrastructure_failures), (3, 1));
    let boot = shape.boot_p50.unwrap();
    assert!(
        boot > secs(0) && shape.boot_p95.unwrap() >= boot,
        "{shape:?}"
    );
    // A minute of waiting for a boot, and the seconds of the attempt that was lost.
    let failed = world.machine(world.attempts(first)[0].machine);
    assert!(shape.failure_cost > failed.billed, "{shape:?}");
    world.kill_and_restart();
    assert_eq!(health(&world), before);
    let unknown = world.ask(async |desk| desk.image_health("slackware").await);
    assert_eq!(unknown.unwrap(), None);
}
