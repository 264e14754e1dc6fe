//! Images that change, go and are verified.

use dormouse::books::Applied;
use dormouse::engine::{ApplyError, Declaration, Desk, DeskError};
use dormouse::model::BuildResult::Success;
use dormouse::model::{MachineState, Reason};

use super::world::{ALPINE, DEBIAN, Submitted, World, secs};

/// The image with another description: a new version.
fn changed() -> String {
    ALPINE.replace("provider: cloud", "description: newer\nprovider: cloud")
}

#[test]
fn a_changed_image_drains_old_machines_and_serves_new_builds() {
    let world = World::new();
    let first = world.submit_one("sh: true", "echo one");
    let long = world.submit_one("sh: true", "sleep 60s\necho long");
    world.until_word(first, "finished");
    let applied = world.apply_images(&[&changed()]);
    let expected = Applied::Changed {
        name: "alpine".to_owned(),
        version: 2,
    };
    assert_eq!(applied, [expected]);
    let machine = |id| world.machine(world.attempts(id)[0].machine);
    let old = machine(first);
    let is_replaced = matches!(
        &old.state,
        MachineState::Draining {
            reason: Reason::ImageChanged,
            ..
        }
    );
    assert!(is_replaced, "{old:?}");
    let second = world.submit_one("sh: true", "echo two");
    world.until_done();
    assert_eq!(machine(second).image_version, 2);
    assert_eq!(machine(long).image_version, 1);
    assert_eq!(world.result(long).0, Success, "running work goes on");
    world.advance(secs(5));
    let versions: Vec<u32> = world.machines().iter().map(|m| m.image_version).collect();
    assert_eq!(versions, [2]);
}

#[test]
fn an_image_that_changes_while_its_machine_boots_still_serves_the_build_that_waits() {
    let world = World::with_images(&[ALPINE]);
    let id = world.submit_one("sh: true", "echo done");
    world.advance(secs(1));
    world.apply_images(&[&changed()]);
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    assert_eq!(world.attempts(id).len(), 1);
}

#[test]
fn the_same_file_again_changes_nothing() {
    let world = World::new();
    let applied = world.apply_images(&[DEBIAN]);
    let unchanged = Applied::Unchanged {
        name: "debian".to_owned(),
        version: 1,
    };
    assert_eq!(applied, [unchanged]);
}

#[test]
fn a_declaration_with_a_problem_changes_nothing_at_all() {
    let world = World::new();
    let refused = world.apply(vec![
        Declaration::Image(changed()),
        Declaration::Image(DEBIAN.replace("provider: cloud", "provider: nowhere")),
    ]);
    let Err(ApplyError::Invalid(problems)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].0, 1);
    assert!(
        problems[0].1.message.contains("provider \"nowhere\""),
        "{problems:?}"
    );
    let images = world.ask(async |desk| desk.images().await).unwrap();
    assert!(images.iter().all(|image| image.version == 1));
}

#[test]
fn a_removed_image_takes_no_builds_and_its_machines_go() {
    let world = World::new();
    let long = world.submit_one("sh: true", "sleep 60s\necho long");
    let queued = {
        world.apply_policy("{ name: one, images: [alpine], limits: { machines: 1 } }");
        let submitted = world.submit(
            "
name: pinned
builds:
  one: { requires: { sh: true }, image: alpine, steps: [echo pinned] }
",
        );
        submitted.id("one")
    };
    world.until_word(long, "running");
    world.remove_image("alpine");
    assert_eq!(world.word(queued), "queued");
    world.until_word(long, "finished");
    assert_eq!(world.result(long).0, Success);
    world.until("its machine is gone", secs(60), |world| {
        world.machines().is_empty()
    });
    let explained = world.explain(queued);
    assert!(explained.summary.contains("no image"), "{explained:#?}");
    world.apply_images(&[ALPINE]);
    world.until_done();
    assert_eq!(world.result(queued).0, Success);
    let machine = world.machine(world.attempts(queued)[0].machine);
    assert_eq!(machine.image_version, 2, "versions are never used again");
}

#[test]
fn removing_what_is_not_there_is_said() {
    let world = World::new();
    let refused = world.ask(async |desk| desk.remove_image("slackware", "ada").await);
    assert!(
        matches!(refused, Err(DeskError::NotFound { .. })),
        "{refused:?}"
    );
}

#[test]
fn verification_compares_claims_with_what_probes_print() {
    let probed = "
name: debian
provider: cloud
login: { user: builder }
shapes: [{ name: small, vcpus: 1, memory: 512MiB, price: 0.36 }]
capabilities: { python: [3.11.9, 3.12.4], sqlite: 3.40.1, gcc: true, rust: 1.94.0 }
probes:
  python: |
    echo 3.12.4
    echo 3.11.9
  sqlite: echo 3.45.0
  gcc: exit 1
  rust: rustc --version
";
    let world = World::with_images(&[probed]);
    let accepted = world.ask(async |desk| desk.verify_image("debian", "ada").await);
    let submitted = Submitted::from(accepted.unwrap());
    let id = submitted.id("verify debian");
    let early = world.ask(async |desk| desk.verdicts(id).await);
    assert!(matches!(early, Err(DeskError::Refused(_))), "{early:?}");
    world.until_done();
    let verdicts = world.ask(async |desk| desk.verdicts(id).await).unwrap();
    let seen: Vec<(&str, bool, Vec<&str>)> = verdicts
        .iter()
        .map(|verdict| {
            let found = verdict.found.iter().map(String::as_str).collect();
            (verdict.capability.as_str(), verdict.agrees, found)
        })
        .collect();
    let expected = [
        ("gcc", false, vec![]),
        ("python", true, vec!["3.12.4", "3.11.9"]),
        ("rust", false, vec!["sh: rustc --version: not found"]),
        ("sqlite", false, vec!["3.45.0"]),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn an_image_without_probes_cannot_be_verified() {
    let world = World::new();
    let refused = world.ask(async |desk| desk.verify_image("debian", "ada").await);
    assert!(matches!(refused, Err(DeskError::Refused(_))), "{refused:?}");
}

#[test]
fn sizes_by_wish_are_refused_where_nobody_can_find_them() {
    let world = World::new();
    let wishing = "
name: wishing
provider: cloud
login: { user: builder }
shapes: { types: [c7i.large] }
capabilities: { sh: true }
";
    let refused = world.apply(vec![Declaration::Image(wishing.to_owned())]);
    let Err(ApplyError::Invalid(problems)) = refused else {
        panic!("{refused:?}");
    };
    let said = &problems[0].1.message;
    assert!(said.contains("expected shapes as a list"), "{said}");
}
