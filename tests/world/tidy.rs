//! What a build leaves on its machine, and what follows.

use dormouse::model::BuildResult::Success;
use dormouse::model::{
    BuildId, Full, Left, MachineId, MachineState, Reason, Resource, Subject, Usage,
};
use dormouse::remote::simulated::CallTrouble;

use super::world::{ALPINE, World, secs, why_ended};

const ANY: &str = "sh: true";

fn machine_of(world: &World, id: BuildId) -> MachineId {
    world.attempts(id).pop().unwrap().machine
}

/// Runs two builds one after the other; the machines that they had.
fn after(world: &World, first: &str) -> (MachineId, MachineId) {
    let one = world.submit_one(ANY, first);
    world.until_word(one, "finished");
    world.advance(secs(1));
    let two = world.submit_one(ANY, "echo two");
    world.until_done();
    assert_eq!(world.result(two).0, Success);
    (machine_of(world, one), machine_of(world, two))
}

#[test]
fn a_clean_machine_with_room_takes_the_next_build() {
    for first in ["echo one", "fill disk 89\nfill inodes 89\nfill memory 89"] {
        let world = World::with_images(&[ALPINE]);
        let (one, two) = after(&world, first);
        assert_eq!(one, two, "{first}");
    }
}

#[test]
fn a_full_machine_is_put_to_rest_and_says_why() {
    for (first, what, sentence) in [
        ("fill disk 93", Resource::Disk, "disk 93 % full"),
        ("fill inodes 93", Resource::Inodes, "inodes 93 % used up"),
        ("fill memory 93", Resource::Memory, "memory 93 % full"),
    ] {
        let world = World::with_images(&[ALPINE]);
        let (one, two) = after(&world, first);
        assert_ne!(one, two, "{first}");
        let full = Full { what, percent: 93 };
        assert_eq!(why_ended(&world.machine(one)), Some(Reason::Full(full)));
        let said = world.messages(&Subject::Machine(one));
        assert!(said.iter().any(|said| said == sentence), "{said:?}");
    }
}

#[test]
fn a_machine_on_which_something_is_left_takes_no_further_build() {
    for (first, left) in [
        ("litter directory", Left::Directory),
        ("litter 3", Left::Processes(3)),
    ] {
        let world = World::with_images(&[ALPINE]);
        let (one, two) = after(&world, first);
        assert_ne!(one, two, "{first}");
        assert_eq!(why_ended(&world.machine(one)), Some(Reason::Unclean(left)));
        let said = world.messages(&Subject::Machine(one));
        assert!(said.contains(&left.sentence()), "{said:?}");
    }
}

#[test]
fn a_build_waits_for_a_machine_that_is_being_tidied_up() {
    let world = World::with_images(&[ALPINE]);
    let one = world.submit_one(ANY, "sleep 10s");
    world.until_word(one, "running");
    world.remote.trouble_calls([CallTrouble::LostBefore; 3]);
    world.until_word(one, "finished");
    let two = world.submit_one(ANY, "echo two");
    assert_eq!(world.word(two), "queued", "not before it is clean");
    let explained = world.explain(two);
    assert!(
        explained.summary.contains("is being tidied up"),
        "{explained:#?}"
    );
    world.until_word(two, "finished");
    assert_eq!(machine_of(&world, one), machine_of(&world, two));
    assert_eq!(world.cloud.lives().len(), 1);
}

#[test]
fn a_machine_that_does_not_say_that_it_is_clean_is_ended() {
    let world = World::with_images(&[ALPINE]);
    let one = world.submit_one(ANY, "sleep 10s");
    world.until_word(one, "running");
    world.remote.trouble_calls([CallTrouble::LostBefore; 1_000]);
    world.until_word(one, "finished");
    assert_eq!(world.result(one).0, Success, "its result does not wait");
    let machine = machine_of(&world, one);
    world.until("the machine is ended", secs(90), |world| {
        why_ended(&world.machine(machine)).is_some()
    });
    let why = why_ended(&world.machine(machine));
    assert_eq!(why, Some(Reason::Unclean(Left::Unknown)));
}

#[test]
fn after_a_restart_a_machine_is_asked_again_before_it_gets_a_build() {
    for (first, is_clean) in [("sleep 10s", true), ("litter 2\nsleep 10s", false)] {
        let mut world = World::with_images(&[ALPINE]);
        let one = world.submit_one(ANY, first);
        world.until_word(one, "running");
        world.remote.trouble_calls([CallTrouble::LostBefore; 100]);
        world.until_word(one, "finished");
        let machine = machine_of(&world, one);
        let row = world.machine(machine);
        assert!(matches!(row.state, MachineState::Idle { .. }), "{row:?}");
        assert_eq!(row.record.unproved, [world.attempts(one)[0].id].into());
        world.kill();
        world.remote.calm();
        world.restart();
        let two = world.submit_one(ANY, "echo two");
        world.until_word(two, "finished");
        assert_eq!(machine_of(&world, two) == machine, is_clean, "{first}");
        let why = why_ended(&world.machine(machine));
        let left = Reason::Unclean(Left::Processes(2));
        assert_eq!(why, (!is_clean).then_some(left));
    }
}

#[test]
fn a_fresh_machine_without_room_fails_its_boot() {
    let world = World::with_images(&[ALPINE]);
    world.remote.fill_all(Usage {
        disk: Some(95),
        inodes: None,
        memory: Some(99),
    });
    let id = world.submit_one(ANY, "echo done");
    world.until("the boot fails", secs(60), |world| {
        world.attempts(id).len() == 1 && world.word(id) == "queued"
    });
    let failed = world.machine(machine_of(&world, id));
    let why = why_ended(&failed).unwrap().sentence();
    assert!(why.contains("did not boot"), "{why}");
    assert!(why.contains("disk 95 % full"), "{why}");
    world.remote.fill_all(Usage {
        disk: Some(50),
        inodes: None,
        memory: Some(99),
    });
    world.until_done();
    assert_eq!(world.result(id).0, Success);
}
