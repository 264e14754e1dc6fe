//! Builds that run to their end: matrices, needs, steps, timeouts, retries of infrastructure.

use dormouse::model::BuildResult::{Failure, InfraFailure, Skipped, Success, TimedOut};
use dormouse::model::{AttemptState, Outcome, Span};

use super::world::{World, secs};

#[test]
fn a_matrix_runs_on_the_images_that_fit() {
    let world = World::new();
    let submitted = world.submit(
        "
name: matrix
builds:
  test:
    matrix: { python: ['3.11', '3.12'] }
    requires: { python: '${{ matrix.python }}' }
    steps: ['echo python ${{ matrix.python }}']
  lint:
    requires: { sh: true }
    steps: [echo lint]
",
    );
    assert_eq!(submitted.names(), ["test (3.11)", "test (3.12)", "lint"]);
    world.until_done();
    for (name, image) in [
        ("test (3.11)", "debian"),
        ("test (3.12)", "debian"),
        ("lint", "alpine"),
    ] {
        let id = submitted.id(name);
        assert_eq!(world.result(id), (Success, String::new()), "{name}");
        let machine = world.machine(world.attempts(id)[0].machine);
        assert_eq!(machine.image, image, "{name}");
        assert_eq!(machine.launched_for, Some(id), "{name}");
    }
    assert_eq!(world.log(submitted.id("test (3.12)")), "python 3.12\n");
    assert_eq!(world.all_machines().len(), 3);
}

#[test]
fn a_second_build_takes_the_warm_machine() {
    let world = World::new();
    let first = world.submit_one("sh: true", "echo one");
    world.until_done();
    let begun = world.now();
    let second = world.submit_one("sh: true", "echo two");
    assert_eq!(world.result(second).0, Success, "{}", world.picture());
    assert_eq!(world.now(), begun, "a warm machine answers at once");
    let machine = |id| world.attempts(id)[0].machine;
    assert_eq!(machine(first), machine(second));
}

#[test]
fn a_build_runs_after_what_it_needs_and_is_skipped_when_that_fails() {
    let world = World::new();
    let submitted = world.submit(
        "
name: graph
builds:
  compile: { requires: { sh: true }, steps: [sleep 5s] }
  broken: { requires: { sh: true }, steps: [exit 3] }
  test: { requires: { sh: true }, needs: [compile], steps: [echo test] }
  ship: { requires: { sh: true }, needs: [test, broken], steps: [echo ship] }
  boast: { requires: { sh: true }, needs: [ship], steps: [echo boast] }
",
    );
    assert_eq!(world.word(submitted.id("test")), "waiting");
    world.until_done();
    let results = ["compile", "broken", "test", "ship", "boast"].map(|name| {
        let (result, _) = world.result(submitted.id(name));
        result
    });
    assert_eq!(results, [Success, Failure, Success, Skipped, Skipped]);
    let reason = |name| world.result(submitted.id(name)).1;
    assert_eq!(reason("ship"), "needs \"broken\", which ended as failure");
    assert_eq!(reason("boast"), "needs \"ship\", which ended as skipped");
    let order = ["compile", "test"].map(|name| world.attempts(submitted.id(name))[0].bound_at);
    assert!(order[0] < order[1]);
}

#[test]
fn the_failed_step_is_named_and_later_ones_do_not_run() {
    let world = World::new();
    let submitted = world.submit(
        "
name: steps
builds:
  one:
    requires: { sh: true }
    steps:
      - { name: lint, run: exit 1, continue_on_error: true }
      - { name: test, run: \"echo testing\\nexit 7\" }
      - { name: ship, run: echo shipping }
      - { name: report, run: echo reporting, always: true }
",
    );
    world.until_done();
    let id = submitted.id("one");
    assert_eq!(
        world.result(id),
        (Failure, "step \"test\" exited with 7".to_owned())
    );
    assert_eq!(world.log(id), "testing\nreporting\n");
    let steps = &world.attempts(id)[0].steps;
    let codes: Vec<_> = steps.iter().map(|s| (s.index, s.exit_code)).collect();
    assert_eq!(codes, [(0, Some(1)), (1, Some(7)), (3, Some(0))]);
}

#[test]
fn a_build_that_takes_too_long_is_stopped() {
    let world = World::new();
    let submitted = world.submit(
        "
name: slow
builds:
  one:
    requires: { sh: true }
    timeout: 30s
    steps: [{ name: wait, run: \"echo begun\\nsleep 1h\" }, { name: tidy, run: echo tidy, always: true }]
",
    );
    world.until_done();
    let id = submitted.id("one");
    assert_eq!(
        world.result(id),
        (TimedOut, "ran longer than its timeout of 30s".to_owned())
    );
    assert_eq!(world.log(id), "begun\n");
    let attempt = world.attempts(id).remove(0);
    assert_eq!(
        world.machine(attempt.machine).builds_done,
        1,
        "reused after"
    );
}

#[test]
fn processes_that_ignore_a_stop_are_forced() {
    let world = World::new();
    let submitted = world.submit(
        "
name: slow
builds:
  one: { requires: { sh: true }, timeout: 30s, steps: [\"stubborn\\nsleep 1h\"] }
",
    );
    let id = submitted.id("one");
    world.until_word(id, "running");
    let began = world.now();
    world.until_done();
    assert_eq!(world.result(id).0, TimedOut);
    let grace = world.settings.stop_grace;
    let expected = Span::from_micros(secs(30).micros() + grace.micros());
    assert_eq!(world.now().since(began), expected);
    assert_eq!(world.attempts(id)[0].steps[0].exit_code, Some(137));
}

#[test]
fn a_step_that_takes_too_long_is_stopped_and_always_steps_run() {
    let world = World::new();
    let submitted = world.submit(
        "
name: slow
builds:
  one:
    requires: { sh: true }
    steps:
      - { name: test, run: sleep 1h, timeout: 20s }
      - { name: ship, run: echo ship }
      - { name: tidy, run: echo tidy, always: true }
",
    );
    world.until_done();
    let id = submitted.id("one");
    assert_eq!(
        world.result(id),
        (TimedOut, "step \"test\" ran out of time".to_owned())
    );
    assert_eq!(world.log(id), "tidy\n");
    let codes: Vec<_> = world.attempts(id)[0]
        .steps
        .iter()
        .map(|step| step.exit_code)
        .collect();
    assert_eq!(codes, [Some(143), Some(0)]);
}

#[test]
fn a_lost_supervisor_uses_up_attempts_until_the_build_fails() {
    let world = World::new();
    let submitted = world.submit(
        "
name: unlucky
builds:
  one: { requires: { sh: true }, retry: { infrastructure: 1 }, steps: [\"echo begun\\nsleep 1m\"] }
",
    );
    let id = submitted.id("one");
    for number in 1..=2 {
        world.until_word(id, "running");
        let (_, attempt) = world.binding(id);
        assert!(world.remote.lose_supervisor(attempt), "attempt {number}");
        world.settle();
    }
    world.until_done();
    let (result, reason) = world.result(id);
    assert_eq!(result, InfraFailure);
    assert_eq!(reason, "its supervisor on the machine was killed");
    let attempts = world.attempts(id);
    assert_eq!(attempts.len(), 2);
    assert_ne!(attempts[0].machine, attempts[1].machine);
    for attempt in attempts {
        assert!(
            matches!(
                &attempt.state,
                AttemptState::Finished {
                    outcome: Outcome::Infrastructure(_),
                    ..
                }
            ),
            "{attempt:?}"
        );
        assert_eq!(world.log_of(attempt.id), b"begun\n");
    }
}

#[test]
fn a_rebooted_machine_costs_an_attempt() {
    let world = World::new();
    let id = world.submit_one("sh: true", "echo begun\nsleep 1m\necho ended");
    world.until_word(id, "running");
    let (machine, _) = world.binding(id);
    world.reboot(machine);
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    let attempts = world.attempts(id);
    assert_eq!(attempts.len(), 2, "{}", world.picture());
    assert_eq!(world.log(id), "begun\nended\n");
    assert!(
        matches!(
            &attempts[0].state,
            AttemptState::Finished { outcome: Outcome::Infrastructure(why), .. }
                if why == "the machine was rebooted under it"
        ),
        "{:?}",
        attempts[0]
    );
}

#[test]
fn an_instance_that_vanishes_costs_an_attempt_and_no_build() {
    let world = World::new();
    let id = world.submit_one("sh: true", "echo begun\nsleep 1m\necho ended");
    world.until_word(id, "running");
    let (machine, _) = world.binding(id);
    world.vanish(machine);
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    let attempts = world.attempts(id);
    assert_eq!(attempts.len(), 2, "{}", world.picture());
    assert_ne!(attempts[1].machine, machine);
    assert_eq!(world.log(id), "begun\nended\n");
}

#[test]
fn higher_priority_goes_first_when_machines_are_few() {
    let world = World::new();
    world.apply_policy("{ name: default, limits: { machines: 1 } }");
    let first = world.submit_one("sh: true", "sleep 10s");
    let submitted = world.submit(
        "
name: two
builds:
  low: { requires: { sh: true }, priority: -1, steps: [sleep 10s] }
  high: { requires: { sh: true }, priority: 5, steps: [sleep 10s] }
",
    );
    world.until_done();
    let bound = |id| world.attempts(id)[0].bound_at;
    assert!(bound(first) < bound(submitted.id("high")));
    assert!(bound(submitted.id("high")) < bound(submitted.id("low")));
    assert_eq!(world.all_machines().len(), 1);
}
