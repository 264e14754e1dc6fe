//! The store fails under the engine: it loads its state anew and goes on, and nothing is lost.

use dormouse::engine::Desk;
use dormouse::model::BuildResult::{Canceled, Success};

use super::store::CommitTrouble::{NotWritten, Written};
use super::world::{World, secs};

#[test]
fn at_every_commit_of_a_build_in_turn() {
    // Enough commits for a build from submission to the end of its machine.
    for trouble in [NotWritten, Written] {
        for place in 0..14 {
            let world = World::new();
            let id = world.submit_one("sh: true", "echo one\nsleep 5s\necho two");
            world.store().trouble_after(place, trouble);
            world.until_done();
            assert_eq!(world.result(id).0, Success, "{trouble:?} at {place}");
            assert_eq!(world.log(id), "one\ntwo\n", "{trouble:?} at {place}");
            assert_eq!(world.attempts(id).len(), 1, "{trouble:?} at {place}");
        }
    }
}

#[test]
fn for_a_while_as_on_a_full_disk() {
    let world = World::new();
    let id = world.submit_one("sh: true", "echo one\nsleep 30s\necho two");
    world.until_word(id, "running");
    world.store().trouble_commits([NotWritten; 12]);
    world.advance(secs(20));
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    assert_eq!(world.log(id), "one\ntwo\n");
    assert_eq!(world.attempts(id).len(), 1);
}

#[test]
fn a_submission_that_was_not_written_is_not_queued() {
    let world = World::new();
    world.store().trouble_commits([NotWritten]);
    let document = "{ name: one, builds: { one: { requires: { sh: true }, steps: [echo one] } } }";
    assert!(world.try_submit(document, Some("key")).is_err());
    world.advance(secs(5));
    assert!(world.builds().is_empty());
    assert!(!world.try_submit(document, Some("key")).unwrap().repeated);
}

#[test]
fn a_submission_whose_answer_was_lost_is_found_by_its_key() {
    let world = World::new();
    world.store().trouble_commits([Written]);
    let document = "{ name: one, builds: { one: { requires: { sh: true }, steps: [echo one] } } }";
    assert!(world.try_submit(document, Some("key")).is_err());
    world.advance(secs(5));
    assert!(world.try_submit(document, Some("key")).unwrap().repeated);
    assert_eq!(world.builds().len(), 1);
}

#[test]
fn a_cancel_that_was_not_written_can_be_asked_again() {
    let world = World::new();
    let id = world.submit_one("sh: true", "sleep 1h");
    world.until_word(id, "running");
    world.store().trouble_commits([NotWritten]);
    let failed = world.ask(async |desk| desk.cancel_build(id, "ada").await);
    assert!(failed.is_err(), "{failed:?}");
    world.advance(secs(5));
    assert_eq!(world.word(id), "running");
    world.cancel(id);
    world.until_done();
    assert_eq!(world.result(id).0, Canceled);
}

#[test]
fn a_failure_is_noticed_at_once_even_if_nothing_waits_for_the_commit() {
    let world = World::new();
    world.apply_policy("{ name: default, limits: { machines: 1 } }");
    let first = world.submit_one("sh: true", "echo never");
    let next = world.submit_one("sh: true", "echo next");
    world.advance(secs(1));
    // The cancel is written; that the machine on its way up is now for the next build is not.
    world.store().trouble_after(1, NotWritten);
    world.cancel(first);
    assert!(!world.desk().is_ready());
    assert_eq!(world.word(next), "queued");
    world.until_done();
    assert_eq!(world.result(next).0, Success);
    assert_eq!(world.all_machines().len(), 1);
}
