//! Spare capacity that is taken back, with a notice and without.

use dormouse::engine::Settings;
use dormouse::model::BuildResult::Success;
use dormouse::model::{
    AttemptState, BuildId, MachineId, MachineState, Market, Outcome, Pool, Reason, Span, Subject,
};

use super::capacity::pool;
use super::world::{BIGGER, LINUX, World, secs};

const ANY: &str = "sh: true";
const NOTICE: Span = secs(120);

fn spot(settings: Settings, images: &[&str]) -> World {
    let world = World::with_settings(images, settings);
    world.apply_policy("{ name: default, market: spot-with-fallback, idle: { timeout: 10m } }");
    world
}

fn spot_world() -> World {
    spot(Settings::default(), &[LINUX])
}

fn pools_of(world: &World, build: BuildId) -> Vec<Pool> {
    let attempts = world.attempts(build).into_iter();
    attempts.map(|a| world.machine(a.machine).pool()).collect()
}

fn reason_of(world: &World, machine: MachineId) -> Reason {
    let state = world.machine(machine).state;
    let (MachineState::Draining { reason, .. } | MachineState::Gone { reason }) = state else {
        panic!("{}", state.word());
    };
    reason
}

fn outcome_of(world: &World, build: BuildId, place: usize) -> Outcome {
    let state = world.attempts(build)[place].state.clone();
    let AttemptState::Finished { outcome, .. } = state else {
        panic!("{}", state.word());
    };
    outcome
}

#[test]
fn a_notice_ends_an_idle_machine_which_takes_no_more_builds() {
    let world = spot_world();
    world.submit_one(ANY, "echo first");
    world.until_done();
    let machine = world.machines().remove(0).id;
    world.reclaim(machine, Some(NOTICE));
    let id = world.submit_one(ANY, "echo second");
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    let attempts = world.attempts(id);
    assert_eq!(attempts.len(), 1);
    assert_ne!(attempts[0].machine, machine);
    assert!(matches!(reason_of(&world, machine), Reason::Interrupted(_)));
    // Its pool is left alone.
    assert_eq!(pools_of(&world, id), [pool("small", "b", Market::Spot)]);
}

#[test]
fn a_notice_stops_the_build_with_its_log_at_home_and_queues_it_anew() {
    for through_queue in [false, true] {
        let world = spot_world();
        let id = world.submit_one(ANY, "echo one\nbytes 5000\nsleep 60s\necho two");
        world.until_word(id, "running");
        world.advance(secs(10));
        let (machine, attempt) = world.binding(id);
        let begun = world.now();
        if through_queue {
            assert!(world.cloud.reclaim(world.which(machine), Some(NOTICE)));
            assert!(world.cloud.announce(world.which(machine)));
            world.settle();
        } else {
            world.reclaim(machine, Some(NOTICE));
        }
        world.until_word(id, "queued");
        assert!(world.now().since(begun) < secs(15), "{through_queue}");
        assert!(matches!(outcome_of(&world, id, 0), Outcome::Interrupted(_)));
        let log = world.log_of(attempt);
        assert_eq!(log.len(), 5_004);
        world.until_done();
        assert_eq!(world.result(id).0, Success);
        let pools = pools_of(&world, id);
        assert_eq!(
            pools,
            [
                pool("small", "a", Market::Spot),
                pool("small", "b", Market::Spot)
            ]
        );
        assert!(matches!(reason_of(&world, machine), Reason::Interrupted(_)));
    }
}

#[test]
fn a_build_that_is_done_before_its_machine_goes_has_succeeded() {
    let world = spot_world();
    let id = world.submit_one(ANY, "stubborn\nsleep 12s\necho done");
    world.until_word(id, "running");
    world.advance(secs(4));
    let (machine, _) = world.binding(id);
    world.reclaim(machine, Some(NOTICE));
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    assert!(matches!(reason_of(&world, machine), Reason::Interrupted(_)));
}

#[test]
fn without_a_notice_the_end_itself_tells() {
    let world = spot_world();
    let id = world.submit_one(ANY, "echo one\nsleep 60s\necho two");
    world.until_word(id, "running");
    world.advance(secs(10));
    let (machine, _) = world.binding(id);
    let begun = world.now();
    world.reclaim(machine, None);
    world.until_word(id, "queued");
    assert!(world.now().since(begun) < secs(15));
    assert!(matches!(outcome_of(&world, id, 0), Outcome::Interrupted(_)));
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    assert_eq!(pools_of(&world, id).pop().unwrap().zone, "b");
}

#[test]
fn a_machine_that_is_taken_back_while_it_boots_is_no_fault_of_its_image() {
    for notice in [None, Some(NOTICE)] {
        let world = spot_world();
        let id = world.submit_one(ANY, "echo done");
        world.advance(secs(2));
        let (machine, _) = world.binding(id);
        let which = world.which(machine);
        assert!(world.cloud.reclaim(which.clone(), notice));
        if notice.is_some() {
            world.cloud.announce(which);
        }
        world.until_done();
        assert_eq!(world.result(id).0, Success);
        assert!(matches!(outcome_of(&world, id, 0), Outcome::Interrupted(_)));
        assert!(matches!(reason_of(&world, machine), Reason::Interrupted(_)));
        let created = world.machine(world.attempts(id)[1].machine).created_at;
        let waited = created.since(world.attempts(id)[0].bound_at);
        assert!(waited < secs(20), "the image was paused: {waited}");
    }
}

#[test]
fn the_last_retry_is_not_left_to_chance() {
    let world = spot_world();
    let submitted = world.submit(
        "
name: long
builds:
  one: { requires: { sh: true }, retry: { infrastructure: 1 }, steps: [sleep 5m] }
",
    );
    let id = submitted.id("one");
    world.until_word(id, "running");
    world.reclaim(world.binding(id).0, Some(NOTICE));
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    let markets: Vec<Market> = pools_of(&world, id).iter().map(|p| p.market).collect();
    assert_eq!(markets, [Market::Spot, Market::OnDemand]);
}

#[test]
fn many_interruptions_end_the_use_of_spare_capacity_for_a_while() {
    let settings = Settings {
        spot_interruptions: 3,
        ..Settings::default()
    };
    let world = spot(settings, &[LINUX, BIGGER]);
    let ids: Vec<BuildId> = (0..3).map(|_| world.submit_one(ANY, "sleep 60s")).collect();
    for id in &ids {
        world.until_word(*id, "running");
    }
    world.advance(secs(1));
    let machines: Vec<MachineId> = ids.iter().map(|id| world.binding(*id).0).collect();
    for machine in &machines {
        world.reclaim(*machine, Some(NOTICE));
    }
    let image = world.machine(machines[0]).image;
    world.until("it is said", secs(60), |world| {
        world.image_says(
            &image,
            "3 interruptions within 10m: no spot machines of it for 30m",
        )
    });
    let next = world.submit_one("sh: true, os: linux", "sleep 1s");
    world.until_word(next, "finished");
    let machine = world.machine(world.attempts(next)[0].machine);
    assert!(machine.market == Market::OnDemand || machine.image != image);
    world.until_done();
    for id in ids {
        assert_eq!(world.result(id).0, Success);
    }
}

#[test]
fn a_notice_is_heard_after_a_restart() {
    let mut world = spot_world();
    let id = world.submit_one(ANY, "echo one\nsleep 60s\necho two");
    world.until_word(id, "running");
    let (machine, _) = world.binding(id);
    world.advance(secs(5));
    let which = world.which(machine);
    let address = world.cloud.address(which.clone()).unwrap();
    world.kill();
    assert!(world.cloud.reclaim(which, Some(NOTICE)));
    let notice = dormouse::remote::Notice {
        action: "terminate".to_owned(),
        at: world.now() + NOTICE,
    };
    assert!(world.remote.give_notice(address, notice));
    world.advance_dead(secs(5));
    world.restart();
    world.until_word(id, "queued");
    assert!(matches!(outcome_of(&world, id, 0), Outcome::Interrupted(_)));
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    let said = world.messages(&Subject::Machine(machine));
    assert!(
        said.iter()
            .any(|m| m.starts_with("spot notice: terminate at")),
        "{said:?}"
    );
}
