//! Several builds side by side on one machine.

use dormouse::model::BuildResult::{Canceled, Success};
use dormouse::model::{BuildId, Category, Left, MachineId, Reason};
use dormouse::store::Store;

use super::world::{World, secs, why_ended};

/// A machine of it takes four builds, if a policy says so, too.
const SHARED: &str = "
name: shared
provider: cloud
login: { user: builder }
shapes: [{ name: large, vcpus: 4, memory: 4GiB, price: 3.60 }]
capabilities: { sh: true }
boot_timeout: 60s
slots: 4
";

const FOUR: &str = "{ name: default, reuse: { slots: 4 } }";

fn world() -> World {
    let world = World::with_images(&[SHARED]);
    world.apply_policy(FOUR);
    world
}

/// Builds of one submission that run `run`.
fn submit(world: &World, count: usize, run: &str) -> Vec<BuildId> {
    let run = run.replace('\n', "\\n");
    let build = |n| format!("  b{n}: {{ requires: {{ sh: true }}, steps: [\"{run}\"] }}\n");
    let builds: String = (0..count).map(build).collect();
    let submitted = world.submit(&format!("name: burst\nbuilds:\n{builds}"));
    (0..count).map(|n| submitted.id(&format!("b{n}"))).collect()
}

fn machines_of(world: &World, builds: &[BuildId]) -> Vec<MachineId> {
    let last = |build: &BuildId| world.attempts(*build).pop().unwrap().machine;
    builds.iter().map(last).collect()
}

fn all_run(world: &World, builds: &[BuildId]) {
    for build in builds {
        world.until_word(*build, "running");
    }
}

fn all_succeed(world: &World, builds: &[BuildId], attempts: usize) {
    for build in builds {
        assert_eq!(world.result(*build).0, Success);
        assert_eq!(world.attempts(*build).len(), attempts);
    }
}

#[test]
fn a_burst_of_four_takes_one_machine_and_shares_its_cost() {
    let world = world();
    let builds = submit(&world, 4, "sleep 60s");
    all_run(&world, &builds);
    assert_eq!(world.machines().len(), 1);
    assert_eq!(world.machines()[0].state.claims().len(), 4);
    world.until_done();
    all_succeed(&world, &builds, 1);
    assert_eq!(world.cloud.lives().len(), 1);
    assert_eq!(world.machines()[0].builds_done, 4);
    for build in &builds {
        let cost = world
            .read(async |store| store.build_cost(*build).await)
            .unwrap();
        // A minute at a dollar and more a thousand seconds, by four.
        let work = cost.by_category[&Category::Work].micros();
        assert!((14_900..=15_300).contains(&work), "{cost:?}");
    }
}

#[test]
fn a_fifth_build_takes_another_machine_and_a_later_one_the_fullest_with_room() {
    let world = world();
    let builds = submit(&world, 5, "sleep 60s");
    all_run(&world, &builds);
    let machines = machines_of(&world, &builds);
    assert_eq!(world.machines().len(), 2);
    assert!(machines[..4].iter().all(|id| *id == machines[0]));
    assert_ne!(machines[4], machines[0]);
    world.cancel(builds[1]);
    world.until_word(builds[1], "finished");
    let later = world.submit_one("sh: true", "echo done");
    world.until_word(later, "finished");
    assert_eq!(machines_of(&world, &[later]), [machines[0]]);
    world.until_done();
}

#[test]
fn image_and_policy_must_both_allow_it() {
    let single = SHARED.replace("slots: 4", "slots: 1");
    for (image, policy) in [(SHARED, "{ name: default }"), (single.as_str(), FOUR)] {
        let world = World::with_images(&[image]);
        world.apply_policy(policy);
        let builds = submit(&world, 2, "sleep 60s");
        all_run(&world, &builds);
        assert_eq!(world.machines().len(), 2, "{policy}");
        world.until_done();
    }
    let world = World::with_images(&[SHARED]);
    world.apply_policy("{ name: default, reuse: { slots: 2 } }");
    let builds = submit(&world, 4, "sleep 60s");
    all_run(&world, &builds);
    assert_eq!(world.machines().len(), 2);
    world.until_done();
}

#[test]
fn a_restart_with_two_running_takes_both_up_again() {
    let mut world = world();
    let builds = submit(&world, 2, "echo one\nsleep 30s\necho two");
    all_run(&world, &builds);
    world.kill();
    world.advance_dead(secs(10));
    world.restart();
    assert_eq!(world.machines()[0].state.claims().len(), 2);
    let third = world.submit_one("sh: true", "echo three");
    world.until_done();
    all_succeed(&world, &builds, 1);
    assert_eq!(world.result(third).0, Success);
    assert_eq!(world.log(builds[1]), "one\ntwo\n");
    assert_eq!(world.cloud.lives().len(), 1);
    assert_eq!(world.machines()[0].builds_done, 3);
}

#[test]
fn a_restart_while_two_wait_for_a_boot_starts_both() {
    let mut world = world();
    let builds = submit(&world, 2, "sleep 10s");
    world.advance(secs(2));
    world.kill_and_restart();
    world.until_done();
    all_succeed(&world, &builds, 1);
    assert_eq!(world.cloud.lives().len(), 1);
}

#[test]
fn a_lost_machine_queues_all_its_builds_anew_once() {
    let world = world();
    let builds = submit(&world, 3, "sleep 60s");
    all_run(&world, &builds);
    let lost = world.machines()[0].id;
    world.vanish(lost);
    world.until_done();
    all_succeed(&world, &builds, 2);
    assert_eq!(world.machine(lost).builds_done, 3);
    assert_eq!(world.cloud.lives().len(), 2);
    for build in &builds {
        let cost = world
            .read(async |store| store.build_cost(*build).await)
            .unwrap();
        assert!(cost.by_category[&Category::Retry].micros() > 0, "{cost:?}");
    }
}

#[test]
fn a_canceled_build_leaves_the_others() {
    let world = world();
    let builds = submit(&world, 3, "sleep 60s");
    world.advance(secs(1));
    // One while they wait for the machine, one while it runs.
    world.cancel(builds[0]);
    assert_eq!(world.machines()[0].state.claims().len(), 2);
    all_run(&world, &builds[1..]);
    world.cancel(builds[1]);
    world.until_word(builds[1], "finished");
    assert_eq!(world.word(builds[2]), "running");
    world.until_done();
    let results = [0, 1, 2].map(|n| world.result(builds[n]).0);
    assert_eq!(results, [Canceled, Canceled, Success]);
    assert_eq!(world.cloud.lives().len(), 1);
}

#[test]
fn a_machine_that_failed_one_build_ends_after_the_others() {
    let world = world();
    let builds = submit(&world, 2, "sleep 60s");
    all_run(&world, &builds);
    let (machine, attempt) = world.binding(builds[0]);
    assert!(world.remote.lose_supervisor(attempt));
    world.until_word(builds[0], "queued");
    // It runs the other, and takes no more.
    let later = world.submit_one("sh: true", "echo done");
    world.until_word(later, "finished");
    assert_ne!(machines_of(&world, &[later]), [machine]);
    assert_eq!(world.word(builds[1]), "running");
    world.until_done();
    assert_eq!(world.attempts(builds[1]).len(), 1);
    assert_eq!(world.attempts(builds[0]).len(), 2);
    assert_ne!(world.attempts(builds[0])[1].machine, machine);
    world.until("the machine is gone", secs(60), |world| {
        world.machines().iter().all(|m| m.id != machine)
    });
}

#[test]
fn a_machine_that_one_build_left_unclean_takes_no_more_and_lets_the_others_end() {
    for restarts in [false, true] {
        let mut world = world();
        let submitted = world.submit(
            "
name: burst
builds:
  messy: { requires: { sh: true }, steps: [litter 3] }
  other: { requires: { sh: true }, steps: [\"echo one\\nsleep 120s\\necho two\"] }
",
        );
        let [messy, other] = ["messy", "other"].map(|name| submitted.id(name));
        world.until_word(messy, "finished");
        world.advance(secs(1));
        let machine = machines_of(&world, &[messy])[0];
        assert_eq!(machines_of(&world, &[other]), [machine]);
        assert_eq!(world.word(other), "running");
        if restarts {
            world.kill_and_restart();
        }
        let later = world.submit_one("sh: true", "echo later");
        world.until_word(later, "finished");
        assert_ne!(machines_of(&world, &[later]), [machine]);
        assert_eq!(world.word(other), "running");
        world.until_word(other, "finished");
        all_succeed(&world, &[messy, other, later], 1);
        assert_eq!(world.log(other), "one\ntwo\n");
        world.until("the machine is gone", secs(60), |world| {
            world.machines().iter().all(|m| m.id != machine)
        });
        let unclean = Reason::Unclean(Left::Processes(3));
        assert_eq!(why_ended(&world.machine(machine)), Some(unclean));
    }
}

#[test]
fn builds_begun_count_for_the_most_builds_of_a_machine() {
    let world = World::with_images(&[SHARED]);
    world
        .apply_policy("{ name: default, limits: { machines: 1 }, reuse: { slots: 4, builds: 3 } }");
    let builds = submit(&world, 7, "sleep 20s");
    world.until_done();
    all_succeed(&world, &builds, 1);
    let mut done: Vec<u32> = world.all_machines().iter().map(|m| m.builds_done).collect();
    done.sort_unstable();
    assert_eq!(done, [1, 3, 3]);
}

#[test]
fn a_fresh_build_has_its_machine_to_itself() {
    let world = world();
    let submitted = world.submit(
        "
name: fresh
builds:
  alone: { requires: { sh: true }, fresh: true, steps: [sleep 60s] }
  other: { requires: { sh: true }, steps: [sleep 60s] }
",
    );
    let [alone, other] = ["alone", "other"].map(|name| submitted.id(name));
    all_run(&world, &[alone, other]);
    let later = world.submit_one("sh: true", "echo done");
    world.until_word(later, "finished");
    let machines = machines_of(&world, &[alone, other, later]);
    assert_ne!(machines[0], machines[1]);
    assert_eq!(machines[1], machines[2]);
    world.until_done();
}
