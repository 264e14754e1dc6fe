//! What clients ask and are told: idempotency, refusals, retries, explanations.

use dormouse::engine::{Desk, DeskError};
use dormouse::model::BuildResult::{Failure, Success};
use dormouse::provider::ErrorKind;
use dormouse::provider::simulated::LaunchTrouble;
use dormouse::store::Store as _;

use super::world::{ALPINE, Submitted, World, secs, submission};

const ONE: &str = "
name: one
builds:
  one: { requires: { sh: true }, steps: [echo one] }
";

#[test]
fn a_repeated_key_gives_the_same_pipeline() {
    let mut world = World::new();
    let first = world.try_submit(ONE, Some("key")).unwrap();
    assert!(!first.repeated);
    let again = world.try_submit(ONE, Some("key")).unwrap();
    assert!(again.repeated);
    assert_eq!(again.pipeline.id, first.pipeline.id);
    assert_eq!(again.builds.len(), 1);
    world.kill_and_restart();
    let later = world.try_submit(ONE, Some("key")).unwrap();
    assert_eq!(later.pipeline.id, first.pipeline.id);
    assert_eq!(world.builds().len(), 1);
}

#[test]
fn a_key_with_another_document_is_a_conflict() {
    let world = World::new();
    world.try_submit(ONE, Some("key")).unwrap();
    let other = ONE.replace("echo one", "echo other");
    let refused = world.try_submit(&other, Some("key"));
    assert!(
        matches!(refused, Err(DeskError::Conflict(_))),
        "{refused:?}"
    );
    assert_eq!(world.builds().len(), 1);
}

#[test]
fn two_at_once_with_the_same_key_are_one() {
    let world = World::new();
    let (one, two) = world.ask(async |desk| {
        let submit = || desk.submit(submission(ONE, Some("key")));
        futures::future::join(submit(), submit()).await
    });
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.pipeline.id, two.pipeline.id);
    assert_ne!(one.repeated, two.repeated);
    assert_eq!(world.builds().len(), 1);
}

#[test]
fn requirements_that_nothing_meets_are_refused_with_the_nearest_image() {
    let world = World::new();
    let refused = world.try_submit(
        "
name: wish
builds:
  good: { requires: { sh: true }, steps: [echo good] }
  bad: { requires: { python: '3.13', sqlite: '>=3' }, steps: [echo bad] }
",
        None,
    );
    let Err(DeskError::Invalid(problems)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(problems.len(), 1, "{problems:?}");
    let problem = &problems[0];
    assert_eq!((problem.line, problem.path.as_str()), (5, "builds.bad"));
    assert!(problem.message.contains("nearest: debian"), "{problem:?}");
    assert!(problem.message.contains("python"), "{problem:?}");
    assert!(world.builds().is_empty(), "nothing is queued");
}

#[test]
fn a_document_with_problems_is_refused_with_all_of_them() {
    let world = World::new();
    let refused = world.try_submit("name: x\nbuilds:\n  a: { stepz: [x] }\n  b: {}\n", None);
    let Err(DeskError::Invalid(problems)) = refused else {
        panic!("{refused:?}");
    };
    assert!(problems.len() >= 3, "{problems:?}");
}

#[test]
fn clients_are_asked_to_come_back_while_the_state_is_loaded() {
    let world = World::new();
    world.submit(ONE);
    world.until_done();
    // The engine loads its state anew after a wait; it does not answer from what it forgot.
    world
        .store()
        .trouble_commits([super::store::CommitTrouble::NotWritten]);
    let failed = world.try_submit(ONE, None);
    assert!(matches!(failed, Err(DeskError::Store(_))), "{failed:?}");
    assert!(!world.desk().is_ready());
    let early = world.try_submit(ONE, None);
    assert!(matches!(early, Err(DeskError::Busy(_))), "{early:?}");
    let id = world.builds()[0].id;
    let early = world.ask(async |desk| desk.cancel_build(id, "ada").await);
    assert!(matches!(early, Err(DeskError::Busy(_))), "{early:?}");
    let early = world.ask(async |desk| desk.remove_image("alpine", "ada").await);
    assert!(matches!(early, Err(DeskError::Busy(_))), "{early:?}");
    world.advance(secs(1));
    assert!(world.desk().is_ready());
    world.submit(ONE);
}

#[test]
fn a_retried_build_is_a_new_pipeline_of_that_build() {
    let world = World::new();
    let submitted = world.submit(
        "
name: two
builds:
  good: { requires: { sh: true }, steps: [echo good] }
  bad: { requires: { sh: true }, steps: [exit 1] }
",
    );
    world.until_done();
    let id = submitted.id("good");
    let again = world.ask(async |desk| desk.retry_build(id, "bob").await);
    let again = Submitted::from(again.unwrap());
    assert_eq!(again.names(), ["good"]);
    assert_ne!(again.id("good"), id);
    let labels = &again.accepted.pipeline.labels;
    let origin = submitted.accepted.pipeline.id.to_string();
    assert_eq!(labels.get("retry_of"), Some(&origin));
    assert_eq!(again.accepted.pipeline.submitted_by, "bob");
    world.until_done();
    assert_eq!(world.result(again.id("good")).0, Success);
}

#[test]
fn a_retried_pipeline_repeats_what_did_not_succeed_with_its_needs() {
    let world = World::new();
    let submitted = world.submit(
        "
name: graph
builds:
  good: { requires: { sh: true }, steps: [echo good] }
  bad: { requires: { sh: true }, steps: [exit 1] }
  last: { requires: { sh: true }, needs: [good, bad], steps: [echo last] }
",
    );
    let pipeline = submitted.accepted.pipeline.id;
    world.until_done();
    let again = world.ask(async |desk| desk.retry_pipeline(pipeline, "bob").await);
    let again = Submitted::from(again.unwrap());
    assert_eq!(again.names(), ["bad", "last"]);
    let last = world.build(again.id("last"));
    assert_eq!(last.spec.needs, [again.id("bad")], "what succeeded is met");
    world.until_done();
    assert_eq!(world.result(again.id("bad")).0, Failure);
}

#[test]
fn there_is_nothing_to_retry_in_a_pipeline_that_succeeded() {
    let world = World::new();
    let submitted = world.submit(ONE);
    let pipeline = submitted.accepted.pipeline.id;
    let retry =
        async |desk: &dormouse::engine::FrontDesk| desk.retry_pipeline(pipeline, "bob").await;
    let early = world.ask(retry);
    assert!(matches!(early, Err(DeskError::Refused(_))), "{early:?}");
    world.until_done();
    let late = world.ask(retry);
    assert!(matches!(late, Err(DeskError::Refused(_))), "{late:?}");
}

#[test]
fn every_state_is_explained() {
    let world = World::with_images(&[ALPINE]);
    world.apply_policy("{ name: default, limits: { machines: 1 } }");
    let submitted = world.submit(
        "
name: graph
builds:
  first: { requires: { sh: true }, steps: [sleep 30s] }
  second: { requires: { sh: true }, steps: [exit 1] }
  third: { requires: { sh: true }, needs: [first, second], steps: [echo third] }
",
    );
    let [first, second, third] = ["first", "second", "third"].map(|name| submitted.id(name));
    let expect = |id, state: &str, words: &[&str]| {
        let explained = world.explain(id);
        assert_eq!(explained.state, state, "{explained:#?}");
        let text = format!("{} {}", explained.summary, explained.next);
        for word in words {
            assert!(text.contains(word), "{word:?} is not in {text:?}");
        }
        assert_eq!(explained.images.len(), 1);
    };
    expect(first, "bound", &["alpine", "booting"]);
    expect(
        second,
        "queued",
        &["policy \"default\" allows 1 machines", "limits.machines"],
    );
    expect(third, "waiting", &["\"first\"", "\"second\"", "skipped"]);
    world.until_word(first, "running");
    world.advance(secs(5));
    expect(first, "running", &["for 5s", "1h"]);
    world.until_done();
    expect(first, "finished", &["success"]);
    expect(second, "finished", &["failure", "exited with 1"]);
    expect(third, "finished", &["skipped", "needs \"second\""]);
}

#[test]
fn a_wait_for_the_next_attempt_is_explained() {
    let world = World::with_images(&[ALPINE]);
    let empty = LaunchTrouble::Refused(ErrorKind::PoolEmpty);
    world.cloud.trouble_launches([empty]);
    let id = world.submit_one("sh: true", "echo done");
    assert_eq!(world.word(id), "queued");
    let explained = world.explain(id);
    assert!(
        explained.summary.contains("Attempt 1 failed"),
        "{explained:#?}"
    );
    world.advance(secs(2));
    let explained = world.explain(id);
    assert!(
        explained.summary.contains("failed lately"),
        "{explained:#?}"
    );
    world.until_done();
    assert_eq!(world.result(id).0, Success);
}

#[test]
fn the_plan_says_what_it_would_do() {
    let world = World::new();
    world.apply_policy("{ name: default, idle: { timeout: 5m } }");
    world.submit(ONE);
    world.until_done();
    let plan = world.ask(async |desk| desk.plan().await).unwrap();
    assert!(plan.actions.is_empty(), "{plan:?}");
    assert_eq!(plan.machines.len(), 1);
    assert!(
        plan.machines[0].contains("(alpine) idle for another 5m"),
        "{plan:?}"
    );
}

#[test]
fn an_explanation_names_the_rule_for_each_shape_and_machine() {
    let world = World::with_images(&[ALPINE]);
    world.apply_policy("{ name: default, limits: { machines: 1 } }");
    let submitted = world.submit(
        "
name: two
builds:
  first: { requires: { sh: true }, steps: [sleep 30s] }
  second: { requires: { sh: true }, steps: [echo done] }
",
    );
    let second = submitted.id("second");
    world.until_word(submitted.id("first"), "running");
    let explained = world.explain(second);
    let image = &explained.images[0];
    assert_eq!((image.shapes.len(), image.shapes[0].rank), (1, None));
    assert!(
        image.shapes[0]
            .verdict
            .contains("policy \"default\" allows 1 machines"),
        "{explained:#?}"
    );
    assert_eq!(image.machines[0].machine, world.machines()[0].id);
    assert!(
        image.machines[0].verdict.contains("as many builds"),
        "{explained:#?}"
    );
    let commands: Vec<&str> = explained
        .remedies
        .iter()
        .map(|remedy| remedy.command.as_str())
        .collect();
    assert!(commands.contains(&format!("dormouse cancel {second}").as_str()));
    assert!(commands.contains(&"dormouse apply POLICY.yaml"));
    world.until_done();
}

#[test]
fn what_happens_lies_within_the_quote() {
    const PIPELINE: &str = "
name: chain
project: web
builds:
  first: { requires: { sh: true }, steps: [sleep 30s], timeout: 5m }
  second: { requires: { sh: true }, needs: [first], steps: [sleep 20s], timeout: 5m }
";
    let world = World::with_images(&[ALPINE]);
    for round in ["without history", "with history"] {
        let asked = world.ask(async |desk| desk.quote(submission(PIPELINE, None)).await);
        let quote = asked.unwrap();
        assert!(world.builds().iter().all(|b| b.state.is_finished()));
        let basis = &quote.builds[0].basis;
        assert_eq!(basis.contains("no history"), round == "without history");
        let before = world.now();
        let submitted = world.submit(PIPELINE);
        world.until_done();
        let took = world.now().since(before);
        assert!(took <= quote.took.high, "{round}: {took} {quote:#?}");
        for (name, quoted) in ["first", "second"].iter().zip(&quote.builds) {
            let build = submitted.id(name);
            let cost = cost_of(&world, build);
            let range = quoted.cost.low..=quoted.cost.high;
            assert!(range.contains(&cost), "{round}: {name} {cost} {quote:#?}");
        }
    }
}

/// Boot and work of a build, as billed.
fn cost_of(world: &World, build: dormouse::model::BuildId) -> dormouse::model::Money {
    let row = world
        .read(async |store| store.build_cost(build).await)
        .unwrap();
    row.total
}
