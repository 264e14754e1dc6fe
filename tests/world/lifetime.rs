//! What machines do when builds are few: idle, aged, worn out, limited, lost, and what it costs.

use dormouse::engine::{Desk, DeskError};
use dormouse::model::BuildResult::Success;
use dormouse::model::{Category, Machine, MachineState, Reason};
use dormouse::store::Store;

use super::world::{World, is_idle, secs};

fn reason_of(machine: &Machine) -> Option<&Reason> {
    match &machine.state {
        MachineState::Draining { reason, .. } | MachineState::Gone { reason } => Some(reason),
        MachineState::Intended { .. }
        | MachineState::Booting { .. }
        | MachineState::Idle { .. }
        | MachineState::Busy { .. }
        | MachineState::FallingAsleep { .. }
        | MachineState::Asleep { .. }
        | MachineState::Waking { .. } => None,
    }
}

#[test]
fn an_idle_machine_goes_after_the_idle_timeout_and_not_before() {
    let world = World::new();
    world.apply_policy("{ name: default, idle: { timeout: 5m } }");
    world.submit_one("sh: true", "echo done");
    world.until_done();
    let idle_since = world.now();
    world.advance(secs(299));
    assert!(world.machines().iter().all(is_idle), "{}", world.picture());
    world.until("the machine is gone", secs(60), |world| {
        world.machines().is_empty()
    });
    let gone = world.all_machines().remove(0);
    assert_eq!(reason_of(&gone), Some(&Reason::IdleTimeout));
    // The timeout, the cloud's two seconds, and the pauses between looks.
    let stood = gone.since.since(idle_since);
    assert!(stood < secs(310), "{stood}");
    assert!(world.cloud.alive().is_empty());
}

#[test]
fn a_policy_sets_the_idle_timeout_for_its_images() {
    let world = World::new();
    world.apply_policy("{ name: python, images: [debian], idle: { timeout: 20s } }");
    world.submit_one("python: '3.12'", "echo done");
    world.submit_one("sh: true", "echo done");
    world.until_done();
    world.advance(secs(60));
    let left: Vec<String> = world.machines().into_iter().map(|m| m.image).collect();
    assert_eq!(left, ["alpine"]);
}

#[test]
fn a_machine_takes_no_build_after_its_lifetime_and_finishes_the_one_it_has() {
    let world = World::new();
    world.apply_policy("{ name: default, reuse: { lifetime: 2m } }");
    let long = world.submit_one("sh: true", "sleep 5m\necho done");
    world.until_done();
    assert_eq!(world.result(long).0, Success);
    assert_eq!(world.attempts(long).len(), 1);
    let old = world.all_machines().remove(0);
    assert_eq!(reason_of(&old), Some(&Reason::Lifetime), "{old:?}");
    let next = world.submit_one("sh: true", "echo next");
    world.until_done();
    assert_ne!(world.attempts(next)[0].machine, old.id);
}

#[test]
fn a_machine_takes_only_as_many_builds_as_the_policy_says() {
    let world = World::new();
    world.apply_policy("{ name: default, limits: { machines: 1 }, reuse: { builds: 2 } }");
    let builds: Vec<_> = (0..5)
        .map(|_| world.submit_one("sh: true", "sleep 1s"))
        .collect();
    world.until_done();
    let mut done: Vec<u32> = Vec::new();
    for machine in world.all_machines() {
        done.push(machine.builds_done);
        if machine.builds_done == 2 {
            assert_eq!(reason_of(&machine), Some(&Reason::BuildCount));
        }
    }
    done.sort_unstable();
    assert_eq!(done, [1, 2, 2]);
    for build in builds {
        assert_eq!(world.result(build).0, Success);
    }
}

#[test]
fn a_fresh_build_gets_a_machine_that_has_run_nothing() {
    let world = World::new();
    world.submit_one("sh: true", "echo used");
    world.until_done();
    let submitted = world.submit(
        "
name: fresh
builds:
  one: { requires: { sh: true }, fresh: true, steps: [echo fresh] }
",
    );
    world.until_done();
    assert_eq!(world.all_machines().len(), 2);
    assert_eq!(world.result(submitted.id("one")).0, Success);
}

#[test]
fn a_lowered_limit_ends_no_work_and_allows_no_more() {
    let world = World::new();
    let builds: Vec<_> = (0..6)
        .map(|_| world.submit_one("sh: true", "sleep 30s"))
        .collect();
    world.until_word(builds[5], "running");
    assert_eq!(world.machines().len(), 6);
    world.apply_policy("{ name: default, limits: { machines: 2 } }");
    let more: Vec<_> = (0..6)
        .map(|_| world.submit_one("sh: true", "sleep 30s"))
        .collect();
    world.until_done();
    for build in builds.iter().chain(&more) {
        assert_eq!(world.result(*build).0, Success);
        assert_eq!(world.attempts(*build).len(), 1);
    }
    assert_eq!(world.all_machines().len(), 6);
}

#[test]
fn a_limit_of_none_pauses_launches() {
    let world = World::new();
    world.apply_policy("{ name: default, limits: { machines: 0 } }");
    let id = world.submit_one("sh: true", "echo done");
    world.advance(secs(120));
    assert_eq!(world.word(id), "queued");
    assert!(world.cloud.lives().is_empty());
    world.apply_policy("{ name: default, limits: { machines: 1 } }");
    world.until_done();
    assert_eq!(world.result(id).0, Success);
}

#[test]
fn an_idle_machine_makes_room_for_a_build_that_it_cannot_run() {
    let world = World::new();
    world.apply_policy("{ name: default, limits: { machines: 1 }, idle: { timeout: 1h } }");
    world.submit_one("sh: true", "echo warm");
    world.until_done();
    let begun = world.now();
    let id = world.submit_one("python: '3.12'", "echo python");
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    assert!(
        world.now().since(begun) < secs(60),
        "waited for the timeout"
    );
    let alpine = world.all_machines();
    let alpine = alpine.iter().find(|m| m.image == "alpine").unwrap();
    assert_eq!(reason_of(alpine), Some(&Reason::MakeRoom));
}

#[test]
fn a_person_ends_an_idle_machine_and_no_busy_one() {
    let world = World::new();
    let id = world.submit_one("sh: true", "sleep 10s");
    world.until_word(id, "running");
    let (machine, _) = world.binding(id);
    let refused = world.ask(async |desk| desk.end_machine(machine, "ada").await);
    assert!(matches!(refused, Err(DeskError::Refused(_))), "{refused:?}");
    world.until_done();
    let ended = world.ask(async |desk| desk.end_machine(machine, "ada").await);
    let reason = Reason::Requested("ada".to_owned());
    assert_eq!(reason_of(&ended.unwrap()), Some(&reason));
    world.until("the machine is gone", secs(60), |world| {
        world.machines().is_empty()
    });
}

#[test]
fn an_idle_machine_that_vanishes_is_found_out() {
    let world = World::new();
    world.submit_one("sh: true", "echo done");
    world.until_done();
    let machine = world.machines().remove(0).id;
    world.vanish(machine);
    world.until("the machine is gone", secs(120), |world| {
        world.machines().is_empty()
    });
    let id = world.submit_one("sh: true", "echo again");
    world.until_done();
    assert_eq!(world.result(id).0, Success);
}

#[test]
fn a_build_bound_to_a_machine_that_has_just_vanished_goes_elsewhere() {
    let world = World::new();
    world.submit_one("sh: true", "echo done");
    world.until_done();
    world.vanish(world.machines()[0].id);
    let id = world.submit_one("sh: true", "echo again");
    assert_eq!(world.word(id), "bound");
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    assert_eq!(world.attempts(id).len(), 2, "{}", world.picture());
}

#[test]
fn leases_are_renewed_as_long_as_we_are_there() {
    let world = World::new();
    let id = world.submit_one("sh: true", "sleep 45m\necho done");
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    assert_eq!(world.attempts(id).len(), 1);
}

#[test]
fn a_build_pays_for_boot_and_work_and_nobody_for_idle_time() {
    let world = World::new();
    let id = world.submit_one("sh: true", "sleep 100s");
    world.until_done();
    let cost = world
        .read(async |store| store.build_cost(id).await)
        .unwrap();
    // 0.18 $/h are 50 micro-dollars a second.
    let work = cost.by_category[&Category::Work].micros();
    assert_eq!(work, 5_000, "{cost:?}");
    let boot = cost.by_category[&Category::Boot].micros();
    assert!((250..=260).contains(&boot), "{cost:?}");
    assert_eq!(cost.by_category.len(), 2, "{cost:?}");
}
