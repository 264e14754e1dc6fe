//! Launches of a provider with a fleet: gathered, recorded, sent until answered, settled once.

use std::collections::BTreeSet;

use dormouse::model::BuildResult::{Canceled, Success};
use dormouse::model::{BuildId, MachineKeys, MachineState, Money, Span, Subject};
use dormouse::provider::ErrorKind;
use dormouse::provider::simulated::{LaunchTrouble, Sale};
use dormouse::store::Store;

use super::store::CommitTrouble;
use super::world::{LINUX, World, secs};

/// A pipeline of so many equal builds.
pub(crate) fn many(count: usize, run: &str) -> String {
    let range: Vec<String> = (0..count).map(|place| place.to_string()).collect();
    format!(
        "
name: many
builds:
  one:
    matrix: {{ place: [{}] }}
    requires: {{ sh: true }}
    steps: [\"{run}\"]
",
        range.join(", ")
    )
}

pub(crate) fn allow(world: &World, machines: u32) {
    world.apply_policy(&format!(
        "{{ name: default, limits: {{ machines: {machines} }} }}"
    ));
}

fn ids(world: &World) -> Vec<BuildId> {
    let mut ids: Vec<BuildId> = world.builds().iter().map(|build| build.id).collect();
    ids.sort_unstable();
    ids
}

/// What the store has of the keys of machines that are not gone.
fn all_keys(world: &World) -> Vec<MachineKeys> {
    let machines = world.machines().into_iter();
    let keys = machines.map(|m| world.read(async |store| store.machine_keys(m.id).await));
    keys.map(|keys| keys.unwrap().unwrap()).collect()
}

/// Every machine has keys of its own, which let in, and nothing else is remembered of any.
fn all_have_their_own_keys(world: &World, what: &str) {
    let keys = all_keys(world);
    let hosts: BTreeSet<_> = keys.iter().map(|keys| &keys.host_public).collect();
    assert_eq!(hosts.len(), keys.len(), "{what}: keys are shared");
    for keys in &keys {
        assert!(!keys.is_shared && keys.next.is_none(), "{what}: {keys:?}");
        assert!(keys.host_private.expose().is_empty(), "{what}");
    }
    // Whoever connects now has to use what is stored.
    world.remote.cut(None);
    world.submit(&many(keys.len(), "echo again"));
    world.until_done();
    all_succeed_at_once(world, what);
    assert_eq!(
        world.machines().len(),
        keys.len(),
        "{what}: machines are kept"
    );
}

fn all_succeed_at_once(world: &World, what: &str) {
    for id in ids(world) {
        assert_eq!(world.result(id).0, Success, "{what}: {}", world.picture());
        assert_eq!(world.attempts(id).len(), 1, "{what}: {}", world.picture());
    }
}

#[test]
fn a_hundred_equal_builds_are_one_call_and_a_hundred_machines() {
    let world = World::with_fleet(&[LINUX]);
    allow(&world, 100);
    let begun = world.now();
    world.submit(&many(100, "sleep 60s"));
    world.until_word(ids(&world)[99], "running");
    let boot = secs(5);
    let waited = world.now().since(begun + boot);
    assert!(waited < secs(1), "waited for {waited}");
    assert_eq!(world.cloud.launch_calls(), 1);
    let machines = world.machines();
    let instances: BTreeSet<_> = machines.iter().map(|m| m.state.instance()).collect();
    assert_eq!((machines.len(), instances.len()), (100, 100));
    // Nobody waits for this.
    world.advance(secs(5));
    let keys = all_keys(&world);
    let hosts: BTreeSet<_> = keys.iter().map(|keys| &keys.host_public).collect();
    let clients: BTreeSet<_> = keys.iter().map(|keys| &keys.client_public).collect();
    assert_eq!((hosts.len(), clients.len()), (100, 100), "keys are shared");
    world.until_done();
    all_succeed_at_once(&world, "a hundred");
    assert_eq!(world.cloud.lives().len(), 100);
}

#[test]
fn a_launch_is_cut_at_what_the_provider_takes_at_once() {
    let world = World::with_fleet(&[LINUX]);
    world.cloud.set_sale(Sale {
        most: 4,
        ..Sale::default()
    });
    world.submit(&many(10, "sleep 1s"));
    world.until_done();
    assert_eq!(world.cloud.launch_calls(), 3);
    all_succeed_at_once(&world, "ten");
}

#[test]
fn builds_that_come_soon_after_each_other_share_a_launch() {
    let world = World::with_fleet(&[LINUX]);
    for _ in 0..5 {
        world.submit_one("sh: true", "sleep 60s");
        world.advance(Span::from_millis(30));
    }
    world.advance(secs(1));
    assert_eq!(world.cloud.launch_calls(), 1);
    world.submit_one("sh: true", "sleep 60s");
    world.advance(secs(1));
    assert_eq!(world.cloud.launch_calls(), 2);
    world.until_done();
    all_succeed_at_once(&world, "six");
}

#[test]
fn no_launch_waits_for_more_than_a_second() {
    let world = World::with_fleet(&[LINUX]);
    allow(&world, 1_000);
    let first = world.submit_one("sh: true", "sleep 60s");
    for _ in 0..60 {
        world.advance(Span::from_millis(30));
        world.submit_one("sh: true", "sleep 60s");
    }
    let (machine, _) = world.binding(first);
    let created = world.machine(machine).created_at;
    let launched = world.cloud.lives()[0].from;
    assert!(launched.since(created) <= secs(1), "{created} {launched}");
    world.until_done();
    assert_eq!(world.cloud.launch_calls(), 2);
}

#[test]
fn a_lost_answer_gives_exactly_one_instance_for_each_machine() {
    for trouble in [
        LaunchTrouble::LostAfter,
        LaunchTrouble::LostBefore,
        LaunchTrouble::Late(secs(20)),
        LaunchTrouble::Refused(ErrorKind::Throttled),
        LaunchTrouble::Refused(ErrorKind::Unknown),
    ] {
        let world = World::with_fleet(&[LINUX]);
        world.cloud.trouble_launches([trouble; 3]);
        world.submit(&many(4, "echo done"));
        world.until_done();
        all_succeed_at_once(&world, &format!("{trouble:?}"));
        assert_eq!(world.cloud.lives().len(), 4, "{trouble:?}");
        assert_eq!(world.cloud.launch_calls(), 4, "{trouble:?}");
    }
}

#[test]
fn a_kill_at_any_moment_of_a_launch_gives_one_instance_for_each_machine() {
    // Before the record, before the call, while its answer is lost, while the machines boot, and
    // while their keys are changed.
    for millis in [0, 10, 34, 35, 36, 50, 150, 400, 1_000, 2_000, 5_000, 5_100] {
        for troubles in [0, 3] {
            let mut world = World::with_fleet(&[LINUX]);
            world
                .cloud
                .trouble_launches(std::iter::repeat_n(LaunchTrouble::LostAfter, troubles));
            world.submit(&many(3, "sleep 5s"));
            world.advance(Span::from_millis(millis));
            world.kill();
            world.advance_dead(secs(2));
            world.restart();
            world.until_done();
            let what = format!("{millis} ms, {troubles} answers lost");
            assert_eq!(world.cloud.lives().len(), 3, "{what}: {}", world.picture());
            for id in ids(&world) {
                assert_eq!(world.result(id).0, Success, "{what}");
                assert_eq!(
                    world.build(id).attempts - world.build(id).spared,
                    1,
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn a_store_that_fails_at_any_commit_of_a_launch_makes_no_second_one() {
    for trouble in [CommitTrouble::NotWritten, CommitTrouble::Written] {
        for place in 0..16 {
            let world = World::with_fleet(&[LINUX]);
            world.submit(&many(2, "sleep 5s"));
            world.store().trouble_after(place, trouble);
            world.until_done();
            let what = format!("{trouble:?} at {place}");
            assert_eq!(world.cloud.lives().len(), 2, "{what}: {}", world.picture());
            for id in ids(&world) {
                assert_eq!(world.result(id).0, Success, "{what}");
                assert_eq!(
                    world.build(id).attempts - world.build(id).spared,
                    1,
                    "{what}"
                );
            }
        }
    }
}

#[test]
fn an_old_launch_is_settled_by_what_is_there() {
    // The token is known for a little more than an hour: asking again would launch again.
    for trouble in [LaunchTrouble::LostAfter, LaunchTrouble::LostBefore] {
        let mut world = World::with_fleet(&[LINUX]);
        world.settings.lease = secs(4 * 3_600);
        world.kill_and_restart();
        world.cloud.trouble_launches([trouble; 2]);
        world.submit(&many(2, "echo done"));
        world.advance(Span::from_millis(40));
        world.kill();
        world.advance_dead(secs(2 * 3_600));
        world.restart();
        world.until_done();
        assert_eq!(
            world.cloud.lives().len(),
            2,
            "{trouble:?}: {}",
            world.picture()
        );
        for id in ids(&world) {
            assert_eq!(world.result(id).0, Success, "{trouble:?}");
            assert_eq!(
                world.build(id).attempts - world.build(id).spared,
                1,
                "{trouble:?}"
            );
        }
    }
}

#[test]
fn a_machine_whose_launch_nobody_wants_any_more_is_ended_by_name() {
    for millis in [10, 100] {
        let world = World::with_fleet(&[LINUX]);
        world.cloud.trouble_launches([LaunchTrouble::LostAfter; 6]);
        let id = world.submit_one("sh: true", "sleep 60s");
        world.advance(Span::from_millis(millis));
        world.cancel(id);
        assert_eq!(world.result(id).0, Canceled);
        world.until("nothing is left", secs(120), |world| {
            world.machines().is_empty() && world.cloud.alive().is_empty()
        });
        let launched = world.cloud.lives().len();
        assert_eq!(launched, usize::from(millis > 35), "{millis}");
    }
}

#[test]
fn a_machine_that_was_never_launched_costs_nothing() {
    let world = World::with_fleet(&[LINUX]);
    world.cloud.trouble_launches([LaunchTrouble::LostBefore; 4]);
    world
        .cloud
        .trouble_launches([LaunchTrouble::Refused(ErrorKind::PoolEmpty)]);
    let id = world.submit_one("sh: true", "echo done");
    world.advance(Span::from_millis(200));
    world.cancel(id);
    world.until("the machine is gone", secs(60), |world| {
        world.machines().is_empty()
    });
    let machine = world.all_machines().remove(0);
    assert!(machine.created_at < machine.since);
    assert_eq!(machine.billed, Money::ZERO);
}

#[test]
fn a_new_image_is_looked_at_at_once() {
    let world = World::with_fleet(&[LINUX]);
    let begun = world.now();
    let id = world.submit_one("sh: true", "echo done");
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    assert!(world.now().since(begun) < secs(10));
    assert!(world.image_says("linux", "version 1 stands for simulated"));
}

#[test]
fn an_image_that_cannot_be_resolved_makes_builds_wait_and_says_why() {
    for kind in [ErrorKind::Config, ErrorKind::Auth, ErrorKind::Unknown] {
        let world = World::with_fleet(&[]);
        world.cloud.trouble_resolves([kind; 2]);
        world.apply_images(&[LINUX]);
        let id = world.submit_one("sh: true", "echo done");
        world.advance(secs(10));
        assert_eq!(world.word(id), "queued", "{kind:?}");
        assert_eq!(world.cloud.launch_calls(), 0, "{kind:?}");
        assert!(world.image_says("linux", "cannot be launched"), "{kind:?}");
        world.until_done();
        assert_eq!(world.result(id).0, Success, "{kind:?}");
        let said = world.messages(&Subject::Image("linux".to_owned()));
        let said = said.iter().filter(|m| m.contains("cannot be launched"));
        assert_eq!(said.count(), 1, "{kind:?}");
    }
}

#[test]
fn keys_that_cannot_be_changed_are_kept_and_that_is_said() {
    use dormouse::remote::Rekey;
    for answer in [Rekey::NotAllowed, Rekey::NotSupported] {
        let world = World::with_fleet(&[LINUX]);
        world.remote.answer_rekeys(answer);
        world.submit(&many(2, "echo done"));
        world.until_done();
        world.advance(secs(5));
        all_succeed_at_once(&world, "with shared keys");
        assert!(all_keys(&world).iter().all(|keys| keys.next.is_none()));
        for machine in world.machines() {
            let said = world.messages(&Subject::Machine(machine.id));
            assert!(
                said.iter()
                    .any(|m| m.starts_with("keeps the keys of its launch"))
            );
            assert!(matches!(machine.state, MachineState::Idle { .. }));
        }
    }
}

#[test]
fn keys_whose_change_was_not_confirmed_cost_no_attempt() {
    use dormouse::remote::simulated::CallTrouble;
    for trouble in [CallTrouble::LostBefore, CallTrouble::LostAfter] {
        for calls in 0..5 {
            let world = World::with_fleet(&[LINUX]);
            world.submit(&many(2, "sleep 10s"));
            world.until_word(ids(&world)[0], "running");
            world.remote.let_calls_through(calls);
            world.remote.trouble_calls([trouble; 2]);
            world.until_done();
            let what = format!("{trouble:?} after {calls}");
            all_succeed_at_once(&world, &what);
            all_have_their_own_keys(&world, &what);
        }
    }
}

#[test]
fn a_first_step_does_not_wait_for_keys() {
    let world = World::with_fleet(&[LINUX]);
    world.remote.rekeys_take(secs(20));
    let begun = world.now();
    world.submit(&many(2, "sleep 2s"));
    for id in ids(&world) {
        world.until_word(id, "running");
    }
    let waited = world.now().since(begun + secs(5));
    assert!(waited < secs(1), "waited for {waited}");
    // The builds are over before the change is.
    world.until_done();
    assert!(all_keys(&world).iter().all(|keys| keys.is_shared));
    world.advance(secs(30));
    all_have_their_own_keys(&world, "a slow change");
}

#[test]
fn a_connection_lost_in_the_middle_of_a_change_of_keys_costs_no_attempt() {
    // The machine is ready after 5 s, and from 6 to 10 s neither pair lets in.
    for millis in [6_100, 7_000, 9_500] {
        let world = World::with_fleet(&[LINUX]);
        world.remote.rekeys_take(secs(4));
        world.submit(&many(2, "sleep 20s"));
        world.advance(Span::from_millis(millis));
        assert!(world.remote.cut(None) > 0);
        world.until_done();
        let what = format!("cut after {millis} ms");
        all_succeed_at_once(&world, &what);
        all_have_their_own_keys(&world, &what);
    }
}

#[test]
fn a_machine_that_ends_before_its_keys_are_changed_leaves_nothing() {
    let world = World::with_fleet(&[LINUX]);
    world.apply_policy("name: default\nreuse: { builds: 1 }\n");
    world.remote.rekeys_take(secs(20));
    world.submit(&many(2, "sleep 2s"));
    world.until_done();
    world.advance(secs(60));
    all_succeed_at_once(&world, "ended machines");
    assert!(world.machines().is_empty(), "{}", world.picture());
    for machine in world.all_machines() {
        let keys = world.read(async |store| store.machine_keys(machine.id).await);
        assert_eq!(keys.unwrap(), None);
        let said = world.messages(&Subject::Machine(machine.id));
        assert!(!said.iter().any(|m| m.contains("keys")), "{said:?}");
    }
}

#[test]
fn a_change_of_keys_survives_a_kill_at_any_moment() {
    // The machines are ready after 5 s; the change begins 1 s later and takes effect 2 s after that.
    for millis in [5_100, 5_500, 6_100, 7_000, 7_990, 8_000, 8_050, 9_000] {
        let mut world = World::with_fleet(&[LINUX]);
        world.remote.rekeys_take(secs(2));
        world.submit(&many(2, "sleep 20s"));
        world.advance(Span::from_millis(millis));
        world.kill();
        world.advance_dead(secs(1));
        world.restart();
        world.until_done();
        let what = format!("killed after {millis} ms");
        all_succeed_at_once(&world, &what);
        world.advance(secs(10));
        all_have_their_own_keys(&world, &what);
    }
}

#[test]
fn a_store_that_fails_at_any_commit_of_a_change_of_keys_loses_no_machine() {
    for trouble in [CommitTrouble::NotWritten, CommitTrouble::Written] {
        for place in 0..8 {
            let world = World::with_fleet(&[LINUX]);
            world.submit(&many(2, "sleep 20s"));
            world.advance(secs(5));
            world.store().trouble_after(place, trouble);
            world.until_done();
            let what = format!("{trouble:?} at {place}");
            world.advance(secs(10));
            all_have_their_own_keys(&world, &what);
        }
    }
}

#[test]
fn what_is_left_of_instances_is_swept() {
    let world = World::with_fleet(&[LINUX]);
    world.cloud.leave_behind("a disk");
    world.advance(secs(30));
    let again = world.cloud.clone();
    again.leave_behind("another");
    world.advance(secs(30));
    assert!(world.cloud.leftovers().is_empty());
}
