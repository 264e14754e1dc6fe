//! Log bytes at home are the bytes on the machine, whatever happens to connections.

use dormouse::model::BuildResult::Success;
use dormouse::remote::simulated::CallTrouble::{LostAfter, LostBefore};

use super::world::{World, secs};

/// Prints a lot, in bursts.
const CHATTY: &str =
    "bytes 20000\nsleep 1s\nbytes 300\nsleep 2s\nbytes 50000\nsleep 1s\nbytes 17\necho end";
const CHATTY_BYTES: usize = 20_000 + 300 + 50_000 + 17 + 4;

#[test]
fn connections_that_drop_lose_and_repeat_nothing() {
    let world = World::new();
    let id = world.submit_one("sh: true", CHATTY);
    world.until_word(id, "running");
    for _ in 0..6 {
        assert!(world.cut_connections() > 0, "{}", world.picture());
        world.advance(dormouse::model::Span::from_millis(700));
    }
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    assert_eq!(world.attempts(id).len(), 1);
    // The invariants compare every byte.
    assert_eq!(world.log(id).len(), CHATTY_BYTES);
}

#[test]
fn calls_that_are_lost_start_nothing_twice() {
    for trouble in [LostBefore, LostAfter] {
        let world = World::new();
        world.submit_one("sh: true", "echo warm");
        world.until_done();
        world.remote.trouble_calls([trouble; 3]);
        let id = world.submit_one("sh: true", "echo one\nsleep 2s\necho two");
        world.until_done();
        assert_eq!(world.log(id), "one\ntwo\n");
        let attempt = world.attempts(id).remove(0).id;
        assert_eq!(world.remote.ran(attempt).unwrap().begun, 1);
    }
}

#[test]
fn a_step_stop_that_is_lost_with_its_connection_is_asked_again() {
    let world = World::new();
    let submitted = world.submit(
        "
name: slow
builds:
  one: { requires: { sh: true }, steps: [{ name: test, run: sleep 1h, timeout: 20s }] }
",
    );
    let id = submitted.id("one");
    world.until_word(id, "running");
    let began = world.now();
    world.advance(secs(19));
    world.remote.trouble_calls([LostBefore]);
    world.until_done();
    let took = world.now().since(began);
    assert!(took < secs(30), "the stop took {took}");
}

#[test]
fn logs_beyond_their_limit_are_cut_with_a_marker() {
    let world = World::new();
    let submitted = world.submit(
        "
name: loud
builds:
  one: { requires: { sh: true }, log_limit: 1000B, steps: [\"bytes 900\\nsleep 5s\\nbytes 900\\nsleep 5s\\necho end\"] }
",
    );
    world.until_done();
    let id = submitted.id("one");
    assert_eq!(world.result(id).0, Success);
    let log = world.log(id);
    assert!(log.len() > 1_000 && log.len() < 1_200, "{}", log.len());
    let attempt = world.attempts(id).remove(0);
    let printed = world.remote.ran(attempt.id).unwrap().printed;
    assert_eq!(log.as_bytes()[..1_000], printed[..1_000]);
}

#[test]
fn steps_know_where_their_log_lies() {
    let world = World::new();
    let submitted = world.submit(
        "
name: steps
builds:
  one: { requires: { sh: true }, steps: [\"echo one\", \"sleep 3s\", \"echo three\\nsleep 2s\\necho four\"] }
",
    );
    let id = submitted.id("one");
    world.until_word(id, "running");
    world.advance(secs(1));
    world.cut_connections();
    world.until_done();
    let attempt = world.attempts(id).remove(0);
    let log = world.log(id);
    let parts: Vec<&str> = attempt
        .steps
        .iter()
        .map(|step| {
            let begin = usize::try_from(step.log_start).unwrap();
            let end = usize::try_from(step.log_end.unwrap()).unwrap();
            &log[begin..end]
        })
        .collect();
    assert_eq!(parts, ["one\n", "", "three\nfour\n"]);
}

#[test]
fn a_silent_step_is_seen_while_it_runs() {
    let world = World::new();
    let submitted = world.submit(
        "
name: steps
builds:
  one: { requires: { sh: true }, steps: [\"sleep 5s\", \"sleep 1h\"] }
",
    );
    let id = submitted.id("one");
    world.until_word(id, "running");
    world.advance(secs(10));
    let steps = world.attempts(id).remove(0).steps;
    assert_eq!(steps.len(), 2, "{steps:?}");
    assert_eq!(steps[1].ended_at, None);
    world.cancel(id);
}
