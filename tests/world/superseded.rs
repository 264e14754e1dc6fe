//! Pipelines that are submitted anew for the same branch.

use dormouse::engine::Desk;
use dormouse::model::BuildResult::{Canceled, Failure, Success};
use dormouse::model::{PolicySpec, Superseded};

use super::world::{ALPINE, Submitted, World};

fn world(superseded: Superseded) -> World {
    let mut world = World::with_images(&[ALPINE]);
    world.lay_down(PolicySpec {
        superseded: Some(superseded),
        max_machines: Some(1),
        ..PolicySpec::default()
    });
    world
}

/// Queues a pipeline of two builds and one that needs the second, with these labels.
fn submit(world: &World, name: &str, labels: &str) -> Submitted {
    world.submit(&format!(
        "
name: {name}
project: app
labels: {{ {labels} }}
builds:
  one: {{ requires: {{ sh: true }}, steps: [sleep 60s] }}
  two: {{ requires: {{ sh: true }}, steps: [echo two] }}
  last: {{ requires: {{ sh: true }}, needs: [two], steps: [echo last] }}
"
    ))
}

fn results(world: &World, submitted: &Submitted) -> Vec<(String, dormouse::model::BuildResult)> {
    let builds = submitted.accepted.builds.iter();
    builds
        .map(|build| (build.spec.name.clone(), world.result(build.id).0))
        .collect()
}

fn all(
    one: dormouse::model::BuildResult,
    others: dormouse::model::BuildResult,
) -> Vec<(String, dormouse::model::BuildResult)> {
    [("one", one), ("two", others), ("last", others)]
        .map(|(name, result)| (name.to_owned(), result))
        .into()
}

#[test]
fn collapsing_cancels_what_has_not_begun() {
    let world = world(Superseded::Collapse);
    let old = submit(&world, "ci", "branch: main");
    world.until_word(old.id("one"), "running");
    let new = submit(&world, "ci", "branch: main");
    let reason = format!("superseded by {}", new.accepted.pipeline.id);
    assert_eq!(world.result(old.id("two")), (Canceled, reason.clone()));
    assert_eq!(world.result(old.id("last")), (Canceled, reason));
    assert_eq!(world.word(old.id("one")), "running");
    world.until_done();
    assert_eq!(results(&world, &old), all(Success, Canceled));
    assert_eq!(results(&world, &new), all(Success, Success));
}

#[test]
fn collapsing_gives_a_machine_on_its_way_to_the_newer_build() {
    let world = world(Superseded::Collapse);
    let old = submit(&world, "ci", "ref: refs/heads/main");
    let (machine, _) = world.binding(old.id("one"));
    let new = submit(&world, "ci", "ref: refs/heads/main");
    assert_eq!(world.result(old.id("one")).0, Canceled);
    world.until_done();
    assert_eq!(results(&world, &new), all(Success, Success));
    assert_eq!(world.attempts(new.id("one"))[0].machine, machine);
}

#[test]
fn canceling_stops_what_runs_too() {
    let world = world(Superseded::Cancel);
    let old = submit(&world, "ci", "branch: main");
    world.until_word(old.id("one"), "running");
    let new = submit(&world, "ci", "branch: main");
    world.until_done();
    let reason = format!("superseded by {}", new.accepted.pipeline.id);
    assert_eq!(world.result(old.id("one")), (Canceled, reason));
    assert_eq!(results(&world, &old), all(Canceled, Canceled));
    assert_eq!(results(&world, &new), all(Success, Success));
}

#[test]
fn keeping_cancels_nothing() {
    let world = world(Superseded::Keep);
    let old = submit(&world, "ci", "branch: main");
    submit(&world, "ci", "branch: main");
    world.until_done();
    assert_eq!(results(&world, &old), all(Success, Success));
}

#[test]
fn another_branch_or_pipeline_or_none_supersedes_nothing() {
    let world = world(Superseded::Cancel);
    let kept = [
        submit(&world, "ci", "branch: main"),
        submit(&world, "ci", "branch: topic"),
        submit(&world, "nightly", "branch: main"),
        submit(&world, "ci", "kind: none"),
        submit(&world, "ci", "kind: none"),
    ];
    world.until_done();
    for kept in kept {
        assert_eq!(results(&world, &kept), all(Success, Success));
    }
}

#[test]
fn a_retry_supersedes_nothing() {
    let world = world(Superseded::Cancel);
    let document = |run: &str| {
        format!(
            "{{ name: ci, labels: {{ branch: main }}, builds: {{ one: {{ requires: {{ sh: true }}, \
             steps: ['{run}'] }} }} }}"
        )
    };
    let old = world.submit(&document("exit 3"));
    world.until_word(old.id("one"), "finished");
    assert_eq!(world.result(old.id("one")).0, Failure);
    let new = world.submit(&document("sleep 60s"));
    world.until_word(new.id("one"), "running");
    let id = old.id("one");
    let retried = world.ask(async |desk| desk.retry_build(id, "ada").await);
    let retried = Submitted::from(retried.unwrap());
    world.until_done();
    assert_eq!(world.result(new.id("one")).0, Success);
    assert_eq!(world.result(retried.id("one")).0, Failure);
}

#[test]
fn what_is_superseded_is_known_after_a_restart() {
    let mut world = world(Superseded::Collapse);
    let old = submit(&world, "ci", "branch: main");
    let other = submit(&world, "nightly", "branch: main");
    world.until_word(old.id("one"), "running");
    world.kill_and_restart();
    let new = submit(&world, "ci", "branch: main");
    assert_eq!(world.result(old.id("two")).0, Canceled);
    world.until_done();
    assert_eq!(results(&world, &old), all(Success, Canceled));
    assert_eq!(results(&world, &other), all(Success, Success));
    assert_eq!(results(&world, &new), all(Success, Success));
}
