//! Where there is no capacity, and what follows from each way in which a launch is refused.

use dormouse::books::FailureBudget;
use dormouse::engine::{Desk, Settings};
use dormouse::model::BuildResult::{InfraFailure, Success};
use dormouse::model::{AttemptState, BuildId};
use dormouse::model::{Market, Money, Outcome, Pool, Span, Subject};
use dormouse::provider::ErrorKind;
use dormouse::provider::simulated::{Boot, LaunchTrouble};

use super::fleet::{allow, many};
use super::world::{BIGGER, LINUX, World, secs};

const ANY: &str = "sh: true";
const FALLBACK: &str = "{ name: default, limits: { machines: 20 }, market: spot-with-fallback }";

pub(crate) fn pool(shape: &str, zone: &str, market: Market) -> Pool {
    Pool {
        shape: shape.to_owned(),
        zone: zone.to_owned(),
        market,
    }
}

/// Leaves so many slots in every pool of a market.
pub(crate) fn set_market(world: &World, market: Market, slots: u32) {
    for shape in ["small", "medium", "large"] {
        for zone in ["a", "b"] {
            world.cloud.set_slots(pool(shape, zone, market), slots);
        }
    }
}

/// The pools that the machines of a build's attempts were taken from.
fn pools_of(world: &World, build: BuildId) -> Vec<Pool> {
    let attempts = world.attempts(build).into_iter();
    attempts.map(|a| world.machine(a.machine).pool()).collect()
}

fn got_no_machine(world: &World, build: BuildId) -> usize {
    let attempts = world.attempts(build);
    let spared = attempts.iter().filter(|attempt| {
        matches!(
            attempt.state,
            AttemptState::Finished {
                outcome: Outcome::NotLaunched(_),
                ..
            }
        )
    });
    spared.count()
}

#[test]
fn dry_pools_are_skipped_within_one_call() {
    let world = World::with_fleet(&[LINUX]);
    world
        .cloud
        .set_slots(pool("small", "a", Market::OnDemand), 0);
    let id = world.submit_one(ANY, "echo done");
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    assert_eq!(world.cloud.launch_calls(), 1);
    assert_eq!(pools_of(&world, id), [pool("small", "b", Market::OnDemand)]);
    let machine = world.all_machines().remove(0);
    assert_eq!(machine.zone, "b");
}

#[test]
fn the_ladder_goes_from_spot_to_on_demand_to_the_next_image() {
    let world = World::with_fleet(&[LINUX, BIGGER]);
    world.apply_policy(FALLBACK);
    let begun = world.now();
    for shape in ["small", "large"] {
        for zone in ["a", "b"] {
            for market in [Market::Spot, Market::OnDemand] {
                world.cloud.set_slots(pool(shape, zone, market), 0);
            }
        }
    }
    world.cloud.set_slots(pool("medium", "a", Market::Spot), 0);
    world.cloud.set_slots(pool("medium", "b", Market::Spot), 0);
    let id = world.submit_one(ANY, "echo done");
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    let machine = world.machine(world.attempts(id).pop().unwrap().machine);
    assert_eq!(machine.image, "linux-big");
    assert_eq!(machine.pool(), pool("medium", "a", Market::OnDemand));
    assert_eq!(got_no_machine(&world, id) + 1, world.attempts(id).len());
    assert_eq!(world.build(id).spared + 1, world.build(id).attempts);
    let took = world.now().since(begun);
    assert!(took < secs(8), "the ladder took {took}");
    assert!(world.cloud.launch_calls() <= 6);
}

#[test]
fn a_launch_that_is_filled_in_part_gives_the_rest_to_other_pools() {
    let world = World::with_fleet(&[LINUX]);
    allow(&world, 20);
    world
        .cloud
        .set_slots(pool("small", "a", Market::OnDemand), 3);
    world
        .cloud
        .set_slots(pool("small", "b", Market::OnDemand), 2);
    world
        .cloud
        .set_slots(pool("large", "a", Market::OnDemand), 1);
    world
        .cloud
        .set_slots(pool("large", "b", Market::OnDemand), 1);
    world.submit(&many(10, "sleep 30s"));
    world.advance(secs(10));
    let running = |world: &World| {
        let builds = world.builds();
        let running = builds.iter().filter(|b| b.state.word() == "running");
        running.count()
    };
    assert_eq!(running(&world), 7, "{}", world.picture());
    assert!(world.cloud.launch_calls() <= 2);
    world.until_done();
    for build in world.builds() {
        assert_eq!(world.result(build.id).0, Success);
        assert_eq!(build.attempts - build.spared, 1);
    }
}

#[test]
fn builds_wait_for_capacity_with_a_known_next_try_and_few_calls() {
    let world = World::with_fleet(&[LINUX]);
    set_market(&world, Market::OnDemand, 0);
    world.submit(&many(5, "echo done"));
    world.advance(secs(10));
    let explained = world.explain(world.builds()[0].id);
    assert!(
        explained.summary.contains("there is no capacity"),
        "{explained:?}"
    );
    assert!(
        explained
            .next
            .starts_with("The next try is at 2026-01-01T00:0"),
        "{explained:?}"
    );
    let report = world.ask(async |desk| desk.plan().await).unwrap();
    assert_eq!(report.waiting.len(), 1);
    assert!(report.waiting[0].why.contains("no capacity"), "{report:?}");
    world.advance(secs(20 * 60));
    // Two pools of like price at most, every two minutes.
    assert!(
        world.cloud.launch_calls() <= 25,
        "{}",
        world.cloud.launch_calls()
    );
    world.cloud.calm();
    let begun = world.now();
    world.until_done();
    assert!(world.now().since(begun) <= secs(130));
    for build in world.builds() {
        assert_eq!(world.result(build.id).0, Success);
        assert_eq!(build.attempts - build.spared, 1);
    }
}

#[test]
fn a_build_that_finds_no_capacity_for_too_long_is_given_up_with_the_reason() {
    let settings = Settings {
        capacity_wait: secs(3_600),
        ..Settings::default()
    };
    let world = World::with_settings(&[LINUX], settings);
    set_market(&world, Market::OnDemand, 0);
    let begun = world.now();
    let id = world.submit_one(ANY, "echo never");
    world.until_done();
    let took = world.now().since(begun);
    assert!((secs(3_590)..secs(3_600 + 130)).contains(&took), "{took}");
    let (result, reason) = world.result(id);
    assert_eq!(result, InfraFailure);
    assert!(reason.contains("no capacity for 1h"), "{reason}");
    assert_eq!(world.build(id).attempts, world.build(id).spared);
}

#[test]
fn the_wait_for_capacity_counts_from_when_the_build_looks_for_a_machine() {
    let settings = Settings {
        capacity_wait: secs(1_800),
        ..Settings::default()
    };
    let world = World::with_settings(&[LINUX], settings);
    world.apply_policy("{ name: default, idle: { timeout: 0s } }");
    let submitted = world.submit(
        "
name: late
builds:
  a: { requires: { sh: true }, steps: [sleep 40m] }
  b: { requires: { sh: true }, needs: [a], fresh: true, steps: [echo b] }
",
    );
    let (a, b) = (submitted.id("a"), submitted.id("b"));
    world.until_word(a, "running");
    set_market(&world, Market::OnDemand, 0);
    world.until_word(a, "finished");
    world.advance(secs(20 * 60));
    assert_eq!(world.word(b), "queued", "given up too soon");
    world.cloud.calm();
    world.until_done();
    assert_eq!(world.result(b).0, Success);
}

/// One launch is refused, and what follows is this and nothing else.
#[test]
fn each_kind_of_refusal_has_its_one_consequence() {
    let refused = |kind: ErrorKind| {
        let world = World::with_fleet(&[LINUX, BIGGER]);
        world.cloud.trouble_launches([LaunchTrouble::Refused(kind)]);
        let pinned = "
name: pinned
builds:
  one: { requires: { sh: true }, image: linux, steps: [echo done] }
";
        let submitted = world.submit(pinned);
        world.advance(secs(2));
        let id = submitted.id("one");
        (world, id)
    };
    // The pools that were asked for; those that cost more than twice as much were not.
    let (world, id) = refused(ErrorKind::PoolEmpty);
    assert_eq!(world.word(id), "queued");
    let events = world.messages(&Subject::Image("linux".to_owned()));
    assert_eq!(events.len(), 2, "{events:?}");
    world.until_word(id, "bound");
    assert!(world.now().since(world.build(id).spec.submitted_at) >= secs(120));

    // The market of the account, for all images.
    let (world, id) = refused(ErrorKind::Quota);
    assert_eq!(world.word(id), "queued");
    assert!(world.image_says("linux", "the quota of on-demand is used up"));
    let other = world.submit_one("big: true", "echo done");
    assert_eq!(world.word(other), "queued");
    world.until_word(other, "bound");
    assert!(world.now().since(world.build(id).spec.submitted_at) >= secs(180));

    // The zones, for all images.
    let (world, id) = refused(ErrorKind::Address);
    assert_eq!(world.word(id), "queued");
    assert!(world.image_says("linux", "no free address in a, b"));
    let other = world.submit_one("big: true", "echo done");
    assert_eq!(world.word(other), "queued");
    world.until_word(other, "bound");
    let waited = world.now().since(world.build(id).spec.submitted_at);
    assert!((secs(60)..secs(65)).contains(&waited), "{waited}");

    // Nobody: the same request is sent again.
    for kind in [ErrorKind::Throttled, ErrorKind::Unknown] {
        let (world, id) = refused(kind);
        assert_eq!(world.word(id), "bound");
        assert_eq!(world.cloud.launch_calls(), 2);
        assert_eq!(world.cloud.alive().len(), 1);
    }

    // The image, and no other.
    let (world, id) = refused(ErrorKind::Config);
    assert_eq!(world.word(id), "queued");
    assert!(world.image_says("linux", "the provider refuses it as it is"));
    assert!(world.explain(id).summary.contains("refuses it as it is"));
    let other = world.submit_one("big: true", "echo done");
    assert_eq!(world.word(other), "bound");
    world.advance(secs(600));
    assert_eq!(world.word(id), "queued");
    let changed = LINUX.replace("60s", "61s");
    world.apply_images(&[&changed]);
    world.advance(secs(1));
    assert_eq!(world.word(id), "bound", "{}", world.picture());

    // The provider, with all its images, until somebody has acted; a new version does not help.
    let (world, id) = refused(ErrorKind::Auth);
    assert!(world.image_says("linux", "lets us launch nothing"));
    let other = world.submit_one("big: true", "echo done");
    world.apply_images(&[&changed]);
    world.advance(secs(30));
    assert_eq!([world.word(id), world.word(other)], ["queued"; 2]);
    assert!(
        world
            .explain(other)
            .summary
            .contains("lets nothing be launched")
    );
    world.until_word(other, "bound");
    let waited = world.now().since(world.build(id).spec.submitted_at);
    assert!((secs(60)..secs(65)).contains(&waited), "{waited}");
}

#[test]
fn refusals_that_go_on_make_no_hot_loop() {
    for kind in [
        ErrorKind::PoolEmpty,
        ErrorKind::Quota,
        ErrorKind::Address,
        ErrorKind::Throttled,
        ErrorKind::Unknown,
        ErrorKind::Config,
        ErrorKind::Auth,
    ] {
        let world = World::with_fleet(&[LINUX]);
        world.apply_policy(FALLBACK);
        world
            .cloud
            .trouble_launches([LaunchTrouble::Refused(kind); 1_000]);
        world.submit(&many(20, "echo done"));
        world.advance(secs(600));
        let calls = world.cloud.launch_calls();
        // A call that may have had an effect is repeated every five seconds.
        assert!(
            (1..=220).contains(&calls),
            "{kind:?}: {calls} in ten minutes"
        );
        assert!(
            world
                .builds()
                .iter()
                .all(|build| !build.state.is_finished())
        );
    }
}

fn small_budget() -> Settings {
    Settings {
        failure_budget: FailureBudget {
            launches: 4,
            money: Money::from_micros(1_000_000),
        },
        ..Settings::default()
    }
}

#[test]
fn failed_launches_open_the_breaker_of_their_image_only() {
    let mut world = World::with_settings(&[LINUX, BIGGER], small_budget());
    world.cloud.boot_next("linux", vec![Boot::Never; 1_000]);
    for _ in 0..4 {
        world.submit(
            "{ name: n, builds: { one: { requires: { sh: true }, image: linux, steps: [echo] } } }",
        );
    }
    world.until("the breaker is open", secs(600), |world| {
        world.image_says("linux", "its breaker is open until")
    });
    let opened = world.now();
    world.advance(secs(5));
    let id = world
        .builds()
        .iter()
        .find(|b| !b.state.is_finished())
        .unwrap()
        .id;
    let calls = world.cloud.launch_calls();
    let explained = world.explain(id);
    assert!(
        explained.summary.contains("breaker is open"),
        "{explained:?}"
    );
    let report = world.ask(async |desk| desk.plan().await).unwrap();
    assert!(
        report.waiting.iter().any(|w| w.why.contains("breaker")),
        "{report:?}"
    );
    let other = world.submit_one(ANY, "echo done");
    world.until_word(other, "finished");
    assert_eq!(world.result(other).0, Success);
    world.kill_and_restart();
    world.advance(secs(600));
    assert!(
        world.explain(id).summary.contains("breaker is open"),
        "lost by the restart"
    );
    assert_eq!(
        world.cloud.launch_calls(),
        calls + 1,
        "launched with an open breaker"
    );
    world.cloud.calm();
    world.until_word(id, "finished");
    let waited = world.now().since(opened);
    assert!((secs(3_000)..secs(3_700)).contains(&waited), "{waited}");
    world.until_done();
}

#[test]
fn money_opens_the_breaker_too_and_a_new_version_closes_it() {
    let settings = Settings {
        failure_budget: FailureBudget {
            launches: 1_000,
            // 100 micro-dollars a second, for a minute each.
            money: Money::from_micros(17_000),
        },
        ..Settings::default()
    };
    let world = World::with_settings(&[LINUX], settings);
    world.cloud.boot_next("linux", vec![Boot::Never; 1_000]);
    world.submit(&many(3, "echo done"));
    world.until("the breaker is open", secs(600), |world| {
        world.image_says("linux", "its breaker is open until")
    });
    let says = |world: &World, words: &str| world.image_says("linux", words);
    assert!(says(
        &world,
        "3 failed launches within the hour cost $0.018"
    ));
    world.cloud.calm();
    world.apply_images(&[&LINUX.replace("60s", "61s")]);
    let begun = world.now();
    world.until_done();
    assert!(world.now().since(begun) < secs(20));
    for build in world.builds() {
        assert_eq!(world.result(build.id).0, Success);
    }
}

#[test]
fn an_instance_that_ends_while_it_boots_counts_against_the_budget() {
    let world = World::with_settings(&[LINUX], small_budget());
    let dies = Boot::Dies(secs(50), secs(3));
    world.cloud.boot_next("linux", vec![dies; 1_000]);
    world.submit(&many(8, "echo done"));
    world.until("the breaker is open", secs(600), |world| {
        world.image_says("linux", "its breaker is open until")
    });
}

#[test]
fn what_a_machine_said_on_its_console_is_kept_when_it_does_not_boot() {
    let world = World::with_fleet(&[LINUX]);
    world.cloud.boot_next("linux", [Boot::Never]);
    world.cloud.set_console("linux", "one\n\nKernel panic\n");
    let id = world.submit_one(ANY, "echo done");
    world.until_done();
    let said = world.messages(&Subject::Build(id));
    assert!(
        said.iter().any(|m| m.ends_with("one\nKernel panic")),
        "{said:?}"
    );
    assert_eq!(world.result(id).0, Success);
}

#[test]
fn a_cheap_market_that_is_dry_is_tried_again_later() {
    let world = World::with_fleet(&[LINUX]);
    world.apply_policy(FALLBACK);
    set_market(&world, Market::Spot, 0);
    let first = world.submit_one(ANY, "sleep 5m");
    world.until_word(first, "running");
    assert_eq!(
        pools_of(&world, first).pop().unwrap().market,
        Market::OnDemand
    );
    world.cloud.calm();
    world.advance(secs(125));
    let second = world.submit_one(ANY, "sleep 1s");
    world.until_word(second, "finished");
    assert_eq!(pools_of(&world, second), [pool("small", "a", Market::Spot)]);
    let wait = Span::from_millis(1_000);
    world.advance(wait);
}
