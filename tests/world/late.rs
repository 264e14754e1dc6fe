//! Builds that wait for a launch, and machines that are free before it is up.

use dormouse::model::BuildResult::Success;
use dormouse::model::{BuildId, MachineId, Reason, Subject};
use dormouse::provider::simulated::Boot;

use super::world::{ALPINE, World, secs, why_ended};

/// A build that runs, and one for which a machine is being launched meanwhile, with that machine.
fn one_runs_and_one_waits(world: &World) -> (BuildId, BuildId, MachineId) {
    let slow = [Boot::After(secs(5)), Boot::After(secs(60))];
    world.cloud.boot_next("alpine", slow);
    let first = world.submit_one("sh: true", "sleep 5s");
    world.until_word(first, "running");
    let second = world.submit_one("sh: true", "echo done");
    world.until_word(second, "bound");
    let (launched, _) = world.binding(second);
    assert_ne!(launched, world.binding(first).0);
    (first, second, launched)
}

#[test]
fn a_build_that_waits_for_a_launch_moves_to_a_machine_that_is_free_before() {
    for world in [World::with_images(&[ALPINE]), World::with_fleet(&[ALPINE])] {
        let (first, second, launched) = one_runs_and_one_waits(&world);
        let (warm, _) = world.binding(first);
        let (_, attempt) = world.binding(second);
        world.until_word(second, "finished");
        assert_eq!(world.result(second).0, Success);
        let attempts = world.attempts(second);
        let ran: Vec<_> = attempts.iter().map(|a| (a.id, a.machine)).collect();
        assert_eq!(ran, [(attempt, warm)], "the same attempt, elsewhere");
        assert_eq!(world.log(second), "done\n");
        let moved = format!("moved to {warm}, which is up before {launched}");
        assert!(world.messages(&Subject::Build(second)).contains(&moved));
        // What was launched for it is not needed, and never ran anything.
        world.until("the other machine is gone", secs(120), |world| {
            !world.machines().iter().any(|m| m.id == launched)
        });
        let gone = world.machine(launched);
        assert_eq!(gone.builds_done, 0);
        assert_eq!(why_ended(&gone), Some(Reason::Unneeded));
    }
}

#[test]
fn what_was_launched_for_it_takes_the_next_build() {
    let world = World::with_images(&[ALPINE]);
    world.apply_policy("name: default\nlimits: { machines: 2 }\n");
    let (_, second, launched) = one_runs_and_one_waits(&world);
    let third = world.submit_one("sh: true", "echo third");
    world.settle();
    assert_eq!(world.word(third), "queued", "there may be two machines");
    world.until_done();
    assert_ne!(world.attempts(second)[0].machine, launched);
    assert_eq!(world.result(third).0, Success);
    let ran = world.attempts(third)[0].machine;
    let warm = world.attempts(second)[0].machine;
    assert!([launched, warm].contains(&ran));
    assert_eq!(world.all_machines().len(), 2, "no third one was launched");
}

#[test]
fn a_restart_at_any_moment_of_a_move_changes_nothing() {
    for millis in [0, 1, 5, 20, 200, 2_000] {
        let mut world = World::with_images(&[ALPINE]);
        let (first, second, _) = one_runs_and_one_waits(&world);
        world.until_word(first, "finished");
        world.advance(dormouse::model::Span::from_millis(millis));
        world.kill_and_restart();
        world.until_done();
        assert_eq!(world.result(second).0, Success, "{millis}");
        assert_eq!(world.attempts(second).len(), 1, "{millis}");
        assert_eq!(world.log(second), "done\n", "{millis}");
        world.wind_down();
    }
}
