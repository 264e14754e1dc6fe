//! The process is killed in the middle of everything, and another one takes over.

use dormouse::model::BuildResult::{Canceled, Success, TimedOut};
use dormouse::model::MachineState;

use super::world::{World, secs};

#[test]
fn while_builds_are_queued() {
    let mut world = World::new();
    world.apply_policy("{ name: default, limits: { machines: 1 } }");
    let first = world.submit_one("sh: true", "sleep 5s");
    let second = world.submit_one("sh: true", "echo second");
    world.kill_and_restart();
    assert_eq!(world.word(second), "queued");
    world.until_done();
    assert_eq!([first, second].map(|id| world.result(id).0), [Success; 2]);
    assert_eq!(world.cloud.lives().len(), 1);
}

#[test]
fn while_builds_wait_for_others() {
    let mut world = World::new();
    let submitted = world.submit(
        "
name: graph
builds:
  a: { requires: { sh: true }, steps: [sleep 5s] }
  b: { requires: { sh: true }, steps: [sleep 60s] }
  c: { requires: { sh: true }, needs: [a, b], steps: [echo c] }
",
    );
    let [a, b, c] = ["a", "b", "c"].map(|name| submitted.id(name));
    world.until_word(a, "finished");
    world.kill_and_restart();
    assert_eq!(world.word(c), "waiting");
    world.until_word(b, "finished");
    world.kill_and_restart();
    world.until_done();
    assert_eq!([a, b, c].map(|id| world.result(id).0), [Success; 3]);
}

#[test]
fn while_a_machine_boots() {
    let mut world = World::new();
    let id = world.submit_one("sh: true", "echo done");
    world.advance(secs(2));
    world.kill();
    world.advance_dead(secs(10));
    world.restart();
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    assert_eq!(world.attempts(id).len(), 1);
    assert_eq!(world.cloud.lives().len(), 1);
}

#[test]
fn while_a_build_runs() {
    let mut world = World::new();
    let id = world.submit_one(
        "sh: true",
        "echo one\nsleep 10s\necho two\nsleep 10s\necho three",
    );
    world.until_word(id, "running");
    world.advance(secs(3));
    world.kill();
    world.advance_dead(secs(10));
    world.restart();
    assert_eq!(world.word(id), "running");
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    assert_eq!(world.log(id), "one\ntwo\nthree\n");
    assert_eq!(world.attempts(id).len(), 1);
    let steps = world.attempts(id).remove(0).steps;
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert_eq!(steps[0].exit_code, Some(0));
}

#[test]
fn while_a_build_ends_behind_our_back() {
    let mut world = World::new();
    let id = world.submit_one("sh: true", "echo one\nsleep 10s\necho two");
    world.until_word(id, "running");
    world.kill();
    world.advance_dead(secs(60));
    world.restart();
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    assert_eq!(world.log(id), "one\ntwo\n");
}

#[test]
fn for_longer_than_the_lease() {
    let mut world = World::new();
    let id = world.submit_one("sh: true", "echo one\nsleep 10s\necho two");
    world.until_word(id, "running");
    world.kill();
    world.advance_dead(secs(3_600));
    assert!(world.cloud.alive().is_empty(), "the lease ran out");
    world.restart();
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    assert_eq!(world.attempts(id).len(), 2);
}

#[test]
fn while_a_machine_drains() {
    let mut world = World::new();
    world.submit_one("sh: true", "echo done");
    world.until_done();
    let is_draining = |world: &World| {
        world
            .machines()
            .iter()
            .any(|machine| matches!(machine.state, MachineState::Draining { .. }))
    };
    world.until("the machine drains", secs(600), is_draining);
    world.kill_and_restart();
    assert!(is_draining(&world), "{}", world.picture());
    world.until("the machine is gone", secs(60), |world| {
        world.machines().is_empty()
    });
}

#[test]
fn while_a_machine_stands_idle() {
    let mut world = World::new();
    let first = world.submit_one("sh: true", "echo one");
    world.until_done();
    world.kill_and_restart();
    let second = world.submit_one("sh: true", "echo two");
    world.until_done();
    let machine = |id| world.attempts(id)[0].machine;
    assert_eq!(machine(first), machine(second));
}

#[test]
fn while_a_stop_is_under_way() {
    let mut world = World::new();
    let id = world.submit_one("sh: true", "stubborn\nsleep 1h");
    world.until_word(id, "running");
    world.cancel(id);
    world.advance(secs(1));
    world.kill_and_restart();
    world.until_done();
    assert_eq!(world.result(id).0, Canceled);
}

#[test]
fn between_the_end_of_a_step_for_its_time_and_the_end_of_the_build() {
    let mut world = World::new();
    let submitted = world.submit(
        "
name: slow
builds:
  one:
    requires: { sh: true }
    steps:
      - { name: test, run: sleep 1h, timeout: 20s }
      - { name: tidy, run: \"echo tidy\\nsleep 30s\", always: true }
",
    );
    let id = submitted.id("one");
    world.until_word(id, "running");
    world.advance(secs(25));
    world.kill_and_restart();
    world.until_done();
    assert_eq!(
        world.result(id),
        (TimedOut, "step \"test\" ran out of time".to_owned())
    );
}

#[test]
fn in_order() {
    let mut world = World::new();
    let id = world.submit_one("sh: true", "echo one\nsleep 10s\necho two");
    world.until_word(id, "running");
    world.shut_down_and_restart();
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    assert_eq!(world.log(id), "one\ntwo\n");
    assert_eq!(world.attempts(id).len(), 1);
}

#[test]
fn again_and_again() {
    let mut world = World::new();
    let id = world.submit_one("sh: true", "echo one\nsleep 20s\necho two");
    for _ in 0..10 {
        world.advance(secs(2));
        world.kill_and_restart();
    }
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    assert_eq!(world.attempts(id).len(), 1, "{}", world.picture());
    assert_eq!(world.cloud.lives().len(), 1);
}
