//! Whose builds may follow one another on a machine.

use dormouse::model::{BuildId, MachineId, PolicySpec, Reason, Reuse};

use super::world::{ALPINE, World, secs, why_ended};

/// A world with one image and a policy.
fn world(spec: PolicySpec) -> World {
    let mut world = World::with_images(&[ALPINE]);
    world.lay_down(spec);
    world
}

fn reuse(reuse: Reuse) -> PolicySpec {
    PolicySpec {
        reuse: Some(reuse),
        ..PolicySpec::default()
    }
}

/// Queues a build of a project.
fn submit(world: &World, project: &str, run: &str) -> BuildId {
    let submitted = world.submit(&format!(
        "{{ name: one, project: {project}, builds: {{ one: {{ requires: {{ sh: true }}, \
         steps: [{run}] }} }} }}"
    ));
    submitted.id("one")
}

/// Runs a build of a project to its end, and says where.
fn run(world: &World, project: &str) -> MachineId {
    let id = submit(world, project, "echo done");
    world.until_word(id, "finished");
    world.advance(secs(1));
    world.attempts(id).pop().unwrap().machine
}

#[test]
fn never_means_a_machine_for_each_build() {
    let world = world(reuse(Reuse::Never));
    let (one, two) = (run(&world, "a"), run(&world, "a"));
    assert_ne!(one, two);
    assert_eq!(why_ended(&world.machine(one)), Some(Reason::BuildCount));
}

#[test]
fn a_machine_on_which_nothing_ran_may_take_anything() {
    let world = world(reuse(Reuse::Never));
    let first = submit(&world, "a", "echo one");
    let (machine, _) = world.binding(first);
    let second = submit(&world, "b", "echo two");
    world.cancel(first);
    world.until_word(second, "finished");
    let attempts = world.attempts(second);
    // The second had a machine of its own on the way; it is the one that goes unused.
    assert_eq!(attempts.len(), 1);
    let third = submit(&world, "b", "echo three");
    world.until_word(third, "finished");
    assert_ne!(world.attempts(third)[0].machine, attempts[0].machine);
    assert_eq!(world.machine(machine).builds_done, 0);
}

#[test]
fn within_a_project_only_its_builds_follow() {
    let world = world(reuse(Reuse::Project));
    let one = run(&world, "a");
    let other = run(&world, "b");
    assert_ne!(one, other);
    assert_eq!(run(&world, "a"), one);
    assert_eq!(run(&world, "b"), other);
}

#[test]
fn a_project_that_keeps_to_itself_neither_follows_nor_is_followed() {
    let world = world(PolicySpec {
        projects: vec!["secret".to_owned()],
        ..reuse(Reuse::Project)
    });
    let shared = run(&world, "a");
    assert_eq!(run(&world, "b"), shared, "the others share");
    let own = run(&world, "secret");
    assert_ne!(own, shared);
    assert_eq!(run(&world, "secret"), own);
    assert_eq!(run(&world, "a"), shared);
}

#[test]
fn what_others_used_before_its_last_project_is_not_a_projects_own() {
    let world = world(PolicySpec {
        labels: [("kind".to_owned(), "release".to_owned())].into(),
        ..reuse(Reuse::Project)
    });
    let shared = run(&world, "a");
    assert_eq!(run(&world, "b"), shared);
    let release = world.submit(
        "{ name: one, project: b, labels: { kind: release }, builds: { one: { \
         requires: { sh: true }, steps: [echo done] } } }",
    );
    let id = release.id("one");
    world.until_word(id, "finished");
    world.advance(secs(1));
    let own = world.attempts(id)[0].machine;
    assert_ne!(own, shared, "project a was there, too");
    let last = run(&world, "b");
    assert!(last == own || last == shared, "b follows b");
    assert_ne!(run(&world, "a"), own, "a does not follow the release");
}

#[test]
fn an_idle_machine_that_is_not_shared_makes_room() {
    let world = world(PolicySpec {
        max_machines: Some(1),
        ..reuse(Reuse::Project)
    });
    let one = run(&world, "a");
    let other = run(&world, "b");
    assert_ne!(one, other);
    assert_eq!(why_ended(&world.machine(one)), Some(Reason::MakeRoom));
}
