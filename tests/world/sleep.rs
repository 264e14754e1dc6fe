//! Machines that are put to sleep, and woken for builds.

use dormouse::model::BuildResult::Success;
use dormouse::model::{
    BuildId, Category, Machine, MachineId, MachineState, Market, Reason, Span, Timestamp,
};
use dormouse::provider::ErrorKind;
use dormouse::provider::simulated::{Boot, Which};

use super::capacity::{pool, set_market};
use super::world::{LINUX, World, secs};

const ANY: &str = "sh: true";

fn sleeping() -> World {
    let world = World::with_fleet(&[LINUX]);
    world.apply_policy(
        "{ name: default, limits: { machines: 2 }, \
         idle: { timeout: 1m, then: stop, asleep: { machines: 2, timeout: 2h } } }",
    );
    world
}

/// A world with one machine, which is asleep.
fn one_asleep() -> (World, MachineId) {
    let world = sleeping();
    world.submit_one(ANY, "echo first");
    world.until_done();
    let id = until_asleep(&world);
    (world, id)
}

fn until_asleep(world: &World) -> MachineId {
    world.until("a machine is asleep", secs(300), |world| {
        world.machines().iter().any(is_asleep)
    });
    world.machines().into_iter().find(is_asleep).unwrap().id
}

const fn is_asleep(machine: &Machine) -> bool {
    matches!(machine.state, MachineState::Asleep { .. })
}

fn machines_of(world: &World, build: BuildId) -> Vec<MachineId> {
    let attempts = world.attempts(build).into_iter();
    attempts.map(|attempt| attempt.machine).collect()
}

fn succeeds_once(world: &World, build: BuildId) {
    assert_eq!(world.result(build).0, Success, "{}", world.picture());
    let build = world.build(build);
    assert_eq!(build.attempts - build.spared, 1, "{}", world.picture());
}

#[test]
fn an_idle_machine_falls_asleep_and_is_woken_for_a_build() {
    let (world, machine) = one_asleep();
    let address = world.cloud.address(world.which(machine)).unwrap();
    assert_eq!(world.cloud.host(address), None, "it answers in its sleep");
    world.advance(secs(600));
    let begun = world.now();
    let id = world.submit_one(ANY, "sleep 3s\necho second");
    world.advance(secs(1));
    assert!(matches!(
        world.machine(machine).state,
        MachineState::Waking { .. }
    ));
    assert!(world.explain(id).summary.contains("being woken"));
    world.until_word(id, "running");
    // Four seconds to wake.
    let took = world.now().since(begun);
    assert!((secs(4)..secs(5)).contains(&took), "{took}");
    world.until_word(id, "finished");
    assert_eq!(machines_of(&world, id), [machine]);
    assert_eq!(world.cloud.launch_calls(), 1);
    assert_eq!(world.cloud.lives().len(), 1);
}

#[test]
fn a_machine_that_is_asleep_costs_what_its_disk_costs() {
    let (world, machine) = one_asleep();
    let before = world.machine(machine);
    // 0.0036 $/h are a micro-dollar a second; it runs at a hundred.
    assert_eq!(before.billed_until, world.now());
    world.advance(secs(1_000));
    world
        .ask(async |desk| {
            use dormouse::engine::Desk;
            desk.end_machine(machine, "ada").await
        })
        .unwrap();
    let after = world.machine(machine);
    assert_eq!((after.billed - before.billed).micros(), 1_000);
}

#[test]
fn the_build_that_wakes_a_machine_pays_for_that() {
    let (world, _) = one_asleep();
    let id = world.submit_one(ANY, "sleep 10s");
    world.until_done();
    let cost = world.read(async |store| {
        use dormouse::store::Store;
        store.build_cost(id).await
    });
    let cost = cost.unwrap();
    let boot = cost.by_category[&Category::Boot].micros();
    assert!((400..=430).contains(&boot), "{cost:?}");
    assert_eq!(cost.by_category[&Category::Work].micros(), 1_000);
}

#[test]
fn without_capacity_for_waking_a_machine_is_launched() {
    let (world, asleep) = one_asleep();
    // The zone has none of any type; the other one has.
    world
        .cloud
        .set_slots(pool("small", "a", Market::OnDemand), 0);
    world
        .cloud
        .set_slots(pool("large", "a", Market::OnDemand), 0);
    let id = world.submit_one(ANY, "echo second");
    world.until_word(id, "finished");
    succeeds_once(&world, id);
    let last = *machines_of(&world, id).last().unwrap();
    assert_ne!(last, asleep);
    assert_eq!(world.machine(last).zone, "b");
    assert!(is_asleep(&world.machine(asleep)), "{}", world.picture());
}

#[test]
fn a_machine_is_woken_as_another_type_of_its_zone() {
    let (world, asleep) = one_asleep();
    world
        .cloud
        .set_slots(pool("small", "a", Market::OnDemand), 0);
    let id = world.submit_one(ANY, "echo second");
    world.until_word(id, "finished");
    succeeds_once(&world, id);
    assert_eq!(machines_of(&world, id).last(), Some(&asleep));
    let machine = world.machine(asleep);
    assert_eq!(machine.pool(), pool("large", "a", Market::OnDemand));
    let life = world.cloud.lives().remove(0);
    assert_eq!(life.pool, Some(machine.pool()));
    assert_eq!(world.cloud.launch_calls(), 1);
}

#[test]
fn each_way_in_which_a_wake_is_refused_has_its_consequence() {
    for kind in [
        ErrorKind::PoolEmpty,
        ErrorKind::Quota,
        ErrorKind::Address,
        ErrorKind::Throttled,
        ErrorKind::Unknown,
        ErrorKind::Config,
        ErrorKind::Auth,
    ] {
        let (world, asleep) = one_asleep();
        world.cloud.trouble_wakes([kind]);
        let id = world.submit_one(ANY, "echo second");
        world.until_word(id, "finished");
        succeeds_once(&world, id);
        let is_there = world.machines().iter().any(|machine| machine.id == asleep);
        // Only what speaks of the machine itself ends it.
        assert_eq!(is_there, kind != ErrorKind::Config, "{kind:?}");
        let same = machines_of(&world, id).last() == Some(&asleep);
        let is_repeated = matches!(kind, ErrorKind::Throttled | ErrorKind::Unknown);
        if is_repeated {
            assert!(same && world.attempts(id).len() == 1, "{kind:?}");
        }
    }
}

#[test]
fn a_machine_is_not_asleep_for_ever() {
    let (world, machine) = one_asleep();
    let since = world.machine(machine).since;
    world.until("it is gone", secs(3 * 3_600), |world| {
        world.machines().is_empty()
    });
    let took = world.now().since(since);
    assert!((secs(7_200)..secs(7_260)).contains(&took), "{took}");
    let MachineState::Gone { reason } = world.machine(machine).state else {
        panic!("{}", world.picture());
    };
    assert_eq!(reason, Reason::AsleepTimeout);
}

#[test]
fn no_more_machines_sleep_than_the_policy_says_and_those_asleep_fill_no_limit() {
    let world = sleeping();
    for _ in 0..2 {
        world.submit_one(ANY, "sleep 10s");
    }
    world.until_done();
    world.until("two are asleep", secs(200), |world| {
        world.machines().iter().filter(|m| is_asleep(m)).count() == 2
    });
    let first = world.submit_one("sh: true, os: linux", "sleep 300s");
    let second = world.submit_one("sh: true, os: linux", "sleep 300s");
    world.until_word(second, "running");
    world.until_word(first, "running");
    assert_eq!(
        world.cloud.launch_calls(),
        1,
        "launched beside machines asleep"
    );
    let third = world.submit_one(ANY, "echo third");
    world.advance(secs(60));
    assert_eq!(world.word(third), "queued");
    world.until_done();
}

#[test]
fn what_cannot_sleep_is_ended() {
    // Spare capacity cannot be stopped and kept.
    let world = World::with_fleet(&[LINUX]);
    world.apply_policy("{ name: default, market: spot, idle: { timeout: 1m, then: stop } }");
    world.submit_one(ANY, "echo done");
    world.until_done();
    let machine = world.machines().remove(0).id;
    world.until("it is gone", secs(300), |world| world.machines().is_empty());
    let MachineState::Gone { reason } = world.machine(machine).state else {
        panic!("{}", world.picture());
    };
    assert_eq!(reason, Reason::IdleTimeout);
    // Nor can machines of a provider without sleep.
    let world = World::new();
    world.apply_policy("{ name: default, idle: { timeout: 1m, then: stop } }");
    world.submit_one(ANY, "echo done");
    world.until_done();
    let machine = world.machines().remove(0).id;
    world.until("it is gone", secs(300), |world| world.machines().is_empty());
    let MachineState::Gone { reason } = world.machine(machine).state else {
        panic!("{}", world.picture());
    };
    assert_eq!(reason, Reason::IdleTimeout);
}

#[test]
fn a_machine_whose_stop_is_refused_for_good_is_ended_and_one_whose_stop_is_late_is_not() {
    for (kind, sleeps) in [
        (ErrorKind::Config, false),
        (ErrorKind::Auth, false),
        (ErrorKind::Throttled, true),
        (ErrorKind::Unknown, true),
    ] {
        let world = sleeping();
        world.submit_one(ANY, "echo first");
        world.until_done();
        world.cloud.trouble_stops([kind]);
        world.advance(secs(90));
        let asleep = world.machines().iter().filter(|m| is_asleep(m)).count();
        assert_eq!(asleep, usize::from(sleeps), "{kind:?}: {}", world.picture());
    }
}

#[test]
fn an_instance_that_is_started_from_outside_is_ended() {
    let (world, machine) = one_asleep();
    let Which::Instance(instance) = world.which(machine) else {
        unreachable!("a fleet's machines are known by their instance");
    };
    let shape = world.machine(machine).shape;
    world.cloud.wake(&instance, &shape).unwrap();
    world.until("it is gone", secs(120), |world| world.machines().is_empty());
    assert!(world.cloud.alive().is_empty());
}

#[test]
fn an_instance_that_is_stopped_from_outside_costs_its_build_an_attempt() {
    let world = sleeping();
    let id = world.submit_one(ANY, "echo one\nsleep 60s\necho two");
    world.until_word(id, "running");
    let (machine, _) = world.binding(id);
    let Which::Instance(instance) = world.which(machine) else {
        unreachable!("a fleet's machines are known by their instance");
    };
    world.cloud.sleep(&instance).unwrap();
    world.until_word(id, "finished");
    assert_eq!(world.result(id).0, Success);
    assert_eq!(world.attempts(id).len(), 2);
    assert!(world.machines().iter().all(|m| m.id != machine));
}

#[test]
fn an_instance_that_ends_while_it_is_asleep_is_found_out() {
    let (world, machine) = one_asleep();
    let Which::Instance(instance) = world.which(machine) else {
        unreachable!("a fleet's machines are known by their instance");
    };
    world.cloud.end(&instance);
    world.until("it is gone", secs(60), |world| world.machines().is_empty());
    let id = world.submit_one(ANY, "echo second");
    world.until_done();
    succeeds_once(&world, id);
}

#[test]
fn a_machine_that_does_not_come_up_when_it_is_woken_is_ended() {
    let (world, machine) = one_asleep();
    world.cloud.wake_next([Boot::Never]);
    let id = world.submit_one(ANY, "echo second");
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    assert_eq!(world.attempts(id).len(), 2);
    assert!(world.machines().iter().all(|m| m.id != machine));
    // What it cost before is no loss of this launch.
    assert!(!world.image_says("linux", "breaker"));
}

#[test]
fn a_kill_at_any_moment_of_falling_asleep_and_waking() {
    for millis in [0, 100, 1_000, 4_000, 7_900, 8_000, 8_100, 9_000, 12_000] {
        let mut world = sleeping();
        world.submit_one(ANY, "echo first");
        world.until_done();
        world.until("it is about to fall asleep", secs(90), |world| {
            matches!(
                world.machines()[0].state,
                MachineState::FallingAsleep { .. }
            )
        });
        world.advance(Span::from_millis(millis));
        world.kill();
        world.advance_dead(secs(1));
        world.restart();
        let machine = until_asleep(&world);
        let id = world.submit_one(ANY, "sleep 5s\necho second");
        world.advance(Span::from_millis(millis));
        world.kill();
        world.advance_dead(secs(1));
        world.restart();
        world.until_done();
        succeeds_once(&world, id);
        assert_eq!(machines_of(&world, id), [machine], "{millis}");
        assert_eq!(world.cloud.lives().len(), 1, "{millis}");
    }
}

#[test]
fn a_machine_asleep_is_woken_after_a_restart_too() {
    let (mut world, machine) = one_asleep();
    world.kill_and_restart();
    world
        .cloud
        .set_slots(pool("small", "a", Market::OnDemand), 0);
    let id = world.submit_one(ANY, "echo second");
    world.until_word(id, "finished");
    succeeds_once(&world, id);
    assert_eq!(machines_of(&world, id).last(), Some(&machine));
}

#[test]
fn a_canceled_wake_gives_its_machine_to_the_next_build_or_ends_it() {
    let (world, machine) = one_asleep();
    let first = world.submit_one(ANY, "echo never");
    world.advance(secs(1));
    let second = world.submit_one(ANY, "echo second");
    world.cancel(first);
    world.until_done();
    succeeds_once(&world, second);
    assert!(machines_of(&world, second).contains(&machine) || world.cloud.lives().len() == 2);
    let (world, machine) = one_asleep();
    let first = world.submit_one(ANY, "echo never");
    world.advance(secs(1));
    world.cancel(first);
    world.until("it rests or is gone", secs(120), |world| {
        let machines = world.machines();
        machines.is_empty() || machines.iter().all(is_asleep)
    });
    assert!(world.all_machines().iter().any(|m| m.id == machine));
}

#[test]
fn nothing_wakes_without_a_build() {
    let (world, machine) = one_asleep();
    set_market(&world, Market::OnDemand, 0);
    let since: Timestamp = world.machine(machine).since;
    world.advance(secs(3_600));
    assert_eq!(world.machine(machine).since, since);
}
