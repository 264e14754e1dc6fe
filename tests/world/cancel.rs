//! Cancelling a build in every state it can be in.

use dormouse::engine::Desk;
use dormouse::model::BuildResult::{Canceled, Skipped, Success};
use dormouse::model::MachineState;
use dormouse::remote::simulated::CallTrouble::LostBefore;

use super::world::{World, is_idle, secs};

const REASON: &str = "canceled by ada";

#[test]
fn while_it_waits_for_others() {
    let world = World::new();
    let submitted = world.submit(
        "
name: graph
builds:
  first: { requires: { sh: true }, steps: [sleep 5s] }
  second: { requires: { sh: true }, needs: [first], steps: [echo second] }
  third: { requires: { sh: true }, needs: [second], steps: [echo third] }
",
    );
    world.cancel(submitted.id("second"));
    assert_eq!(
        world.result(submitted.id("second")),
        (Canceled, REASON.to_owned())
    );
    assert_eq!(world.result(submitted.id("third")).0, Skipped);
    world.until_done();
    assert_eq!(world.result(submitted.id("first")).0, Success);
}

#[test]
fn while_it_is_queued() {
    let world = World::new();
    world.apply_policy("{ name: default, limits: { machines: 1 } }");
    world.submit_one("sh: true", "sleep 30s");
    let queued = world.submit_one("sh: true", "echo never");
    assert_eq!(world.word(queued), "queued");
    world.cancel(queued);
    assert_eq!(world.result(queued), (Canceled, REASON.to_owned()));
    assert!(world.attempts(queued).is_empty());
}

#[test]
fn while_its_machine_boots_and_the_machine_goes() {
    let world = World::new();
    let id = world.submit_one("sh: true", "echo never");
    assert_eq!(world.word(id), "bound");
    world.advance(secs(1));
    world.cancel(id);
    assert_eq!(world.result(id), (Canceled, REASON.to_owned()));
    let machine = world.machines().remove(0);
    assert!(
        matches!(machine.state, MachineState::Draining { .. }),
        "{machine:?}"
    );
    world.until("the instance is gone", secs(60), |world| {
        world.cloud.alive().is_empty()
    });
}

#[test]
fn while_its_machine_boots_and_another_build_takes_it() {
    let world = World::new();
    world.apply_policy("{ name: default, limits: { machines: 1 } }");
    let canceled = world.submit_one("sh: true", "echo never");
    let next = world.submit_one("sh: true", "echo next");
    world.advance(secs(1));
    world.cancel(canceled);
    assert_eq!(world.result(canceled).0, Canceled);
    assert_eq!(world.word(next), "bound", "{}", world.picture());
    world.until_done();
    assert_eq!(world.result(next).0, Success);
    assert_eq!(world.log(next), "next\n");
    assert_eq!(world.all_machines().len(), 1);
}

#[test]
fn while_it_runs_and_the_machine_is_reused() {
    let world = World::new();
    let id = world.submit_one("sh: true", "echo begun\nsleep 1h");
    world.until_word(id, "running");
    world.cancel(id);
    world.until_done();
    assert_eq!(world.result(id), (Canceled, REASON.to_owned()));
    assert_eq!(world.log(id), "begun\n");
    assert!(world.machines().iter().all(is_idle), "{}", world.picture());
    let next = world.submit_one("sh: true", "echo next");
    world.until_done();
    assert_eq!(world.result(next).0, Success);
    assert_eq!(world.all_machines().len(), 1);
}

#[test]
fn while_it_runs_and_ignores_the_stop() {
    let world = World::new();
    let id = world.submit_one("sh: true", "stubborn\nsleep 1h");
    world.until_word(id, "running");
    world.cancel(id);
    assert_eq!(world.word(id), "running");
    let asked = world.now();
    world.until_done();
    assert_eq!(world.result(id).0, Canceled);
    assert_eq!(world.now().since(asked), world.settings.stop_grace);
}

#[test]
fn while_it_is_bound_to_a_ready_machine_that_cannot_be_reached() {
    let world = World::new();
    world.submit_one("sh: true", "echo warm");
    world.until_done();
    world.remote.trouble_calls([LostBefore; 20]);
    let id = world.submit_one("sh: true", "sleep 1h");
    assert_eq!(world.word(id), "bound", "{}", world.picture());
    world.cancel(id);
    world.remote.calm();
    world.until_done();
    assert_eq!(world.result(id), (Canceled, REASON.to_owned()));
}

#[test]
fn a_stop_that_is_lost_with_its_connection_is_asked_again() {
    let world = World::new();
    let id = world.submit_one("sh: true", "sleep 1h");
    world.until_word(id, "running");
    world.remote.trouble_calls([LostBefore]);
    let asked = world.now();
    world.cancel(id);
    world.until_done();
    assert_eq!(world.result(id).0, Canceled);
    let took = world.now().since(asked);
    assert!(took < secs(5), "the stop took {took}");
    assert!(world.machines().iter().all(is_idle), "{}", world.picture());
}

#[test]
fn after_it_has_ended_nothing_changes() {
    let world = World::new();
    let id = world.submit_one("sh: true", "echo done");
    world.until_done();
    world.cancel(id);
    assert_eq!(world.result(id).0, Success);
}

#[test]
fn a_whole_pipeline() {
    let world = World::new();
    let submitted = world.submit(
        "
name: graph
builds:
  first: { requires: { sh: true }, steps: [sleep 1h] }
  second: { requires: { python: '3.12' }, steps: [sleep 1h] }
  third: { requires: { sh: true }, needs: [first, second], steps: [echo third] }
",
    );
    world.until_word(submitted.id("first"), "running");
    let pipeline = submitted.accepted.pipeline.id;
    let asked = world.ask(async |desk| desk.cancel_pipeline(pipeline, "ada").await);
    assert_eq!(asked.unwrap(), 3);
    world.until_done();
    for name in ["first", "second", "third"] {
        let (result, reason) = world.result(submitted.id(name));
        assert_eq!(result, Canceled, "{name}");
        assert_eq!(reason, "pipeline canceled by ada", "{name}");
    }
}
