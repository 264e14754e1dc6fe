//! Launches: refused, lost, late, broken; and instances that are in no book.

use dormouse::model::BuildResult::{InfraFailure, Success};
use dormouse::model::{
    Image, ImageState, MachineId, MachineKeys, MachineState, Secret, Shape, Span,
};
use dormouse::provider::ErrorKind;
use dormouse::provider::LaunchRequest;
use dormouse::provider::simulated::{Boot, LaunchTrouble, ListTrouble, Temper};
use dormouse::spec::parse_image;
use dormouse::store::Store;

use super::world::{ALPINE, World, secs};

/// Builds that alpine, and debian at twice the price, can run.
const ANY: &str = "sh: true";

#[test]
fn a_lost_answer_gives_exactly_one_instance() {
    for trouble in [
        LaunchTrouble::LostAfter,
        LaunchTrouble::LostBefore,
        LaunchTrouble::Late(secs(20)),
        LaunchTrouble::Refused(ErrorKind::Throttled),
        LaunchTrouble::Refused(ErrorKind::Unknown),
    ] {
        let world = World::new();
        world.cloud.trouble_launches([trouble; 3]);
        let id = world.submit_one(ANY, "echo done");
        world.until_done();
        assert_eq!(world.result(id).0, Success, "{trouble:?}");
        assert_eq!(world.attempts(id).len(), 1, "{trouble:?}");
        assert_eq!(world.cloud.lives().len(), 1, "{trouble:?}");
        assert_eq!(world.cloud.launch_calls(), 4, "{trouble:?}");
    }
}

#[test]
fn a_hosts_private_key_is_forgotten_once_the_machine_is_ready() {
    let world = World::new();
    let id = world.submit_one(ANY, "sleep 60s");
    world.until_word(id, "bound");
    let (machine, _) = world.binding(id);
    let keys = |world: &World| world.read(async |store| store.machine_keys(machine).await);
    assert!(
        !keys(&world)
            .unwrap()
            .unwrap()
            .host_private
            .expose()
            .is_empty()
    );
    world.until_word(id, "running");
    let ready = keys(&world).unwrap().unwrap();
    assert!(ready.host_private.expose().is_empty());
    assert!(!ready.client_private.expose().is_empty() && !ready.host_public.is_empty());
}

#[test]
fn a_refused_launch_cools_the_image_and_the_next_best_takes_the_build() {
    for kind in [
        ErrorKind::PoolEmpty,
        ErrorKind::Quota,
        ErrorKind::Config,
        ErrorKind::Auth,
    ] {
        let world = World::new();
        world.cloud.trouble_launches([LaunchTrouble::Refused(kind)]);
        let id = world.submit_one(ANY, "echo done");
        world.until_done();
        assert_eq!(world.result(id).0, Success, "{kind:?}");
        let attempts = world.attempts(id);
        let images: Vec<String> = attempts
            .iter()
            .map(|attempt| world.machine(attempt.machine).image)
            .collect();
        assert_eq!(images, ["alpine", "debian"], "{kind:?}");
        assert_eq!(world.cloud.lives().len(), 1, "{kind:?}");
    }
}

#[test]
fn a_machine_that_never_answers_gives_the_build_another_attempt() {
    let world = World::with_images(&[ALPINE]);
    world.cloud.boot_next("alpine", [Boot::Never]);
    let id = world.submit_one(ANY, "echo done");
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    let attempts = world.attempts(id);
    assert_eq!(attempts.len(), 2);
    let first = world.machine(attempts[0].machine);
    let (MachineState::Draining { reason, .. } | MachineState::Gone { reason }) = first.state
    else {
        panic!("{first:?}");
    };
    let reason = reason.sentence();
    assert!(reason.contains("not ready after 1m"), "{reason}");
    assert!(reason.contains("connection refused"), "{reason}");
    // The image cooled down for its first five seconds.
    let second = world.machine(attempts[1].machine);
    assert!(second.created_at.since(first.created_at) >= secs(65));
}

#[test]
fn an_image_that_never_boots_fails_the_build_and_is_paused_for_longer_and_longer() {
    let world = World::with_images(&[ALPINE]);
    world.cloud.boot_next("alpine", [Boot::Never; 3]);
    let id = world.submit_one(ANY, "echo never");
    world.until_done();
    let (result, reason) = world.result(id);
    assert_eq!(result, InfraFailure);
    assert!(reason.contains("not ready after 1m"), "{reason}");
    let launched: Vec<_> = world.cloud.lives().iter().map(|life| life.from).collect();
    let pauses: Vec<Span> = launched.windows(2).map(|w| w[1].since(w[0])).collect();
    assert_eq!(pauses, [secs(65), secs(70)]);
}

#[test]
fn a_wrong_host_key_is_never_logged_in_to() {
    let world = World::with_images(&[ALPINE]);
    world
        .cloud
        .boot_next("alpine", [Boot::WrongHostKey(secs(5))]);
    let id = world.submit_one(ANY, "echo done");
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    let attempts = world.attempts(id);
    assert_eq!(attempts.len(), 2);
    assert!(world.remote.ran(attempts[0].id).is_none());
    // Given up at once, not after the boot timeout.
    assert!(world.now().since(attempts[0].bound_at) < secs(30));
}

#[test]
fn a_machine_that_dies_while_it_boots_costs_an_attempt() {
    let world = World::with_images(&[ALPINE]);
    let dies = Boot::Dies(secs(30), secs(10));
    world.cloud.boot_next("alpine", [dies]);
    let id = world.submit_one(ANY, "echo done");
    world.until_done();
    assert_eq!(world.result(id).0, Success, "{}", world.picture());
    assert_eq!(world.attempts(id).len(), 2);
}

#[test]
fn the_readiness_command_is_waited_for() {
    let world =
        World::with_images(&[&ALPINE.replace("boot_timeout", "ready: uptime 8s\nboot_timeout")]);
    let id = world.submit_one(ANY, "echo done");
    world.until_word(id, "finished");
    let ready = world.machines()[0].created_at + Temper::default().boot + secs(8);
    assert!(world.attempts(id)[0].steps[0].started_at >= ready);
    assert_eq!(world.result(id).0, Success);
}

/// A request that no book knows of.
fn stray(number: u128) -> LaunchRequest {
    let (name, spec) = parse_image(ALPINE).unwrap();
    let shape: Shape = spec.shapes[0].clone();
    let machine = MachineId::from_bits(number);
    LaunchRequest {
        machine,
        image: Image {
            name,
            version: 1,
            state: ImageState::Active,
            spec,
            applied_at: dormouse::model::Timestamp::default(),
            released_at: None,
            rev: 0,
        },
        shape,
        keys: MachineKeys {
            machine,
            host_private: Secret::new("host".to_owned()),
            host_public: "host".to_owned(),
            client_private: Secret::new("client".to_owned()),
            client_public: "client".to_owned(),
            is_shared: false,
            next: None,
        },
        lease: secs(24 * 3_600),
    }
}

#[test]
fn an_instance_in_no_book_is_ended_after_two_sightings_and_some_age() {
    let world = World::new();
    world.cloud.plant(&stray(7));
    world.advance(secs(29));
    assert_eq!(world.cloud.alive().len(), 1, "too young");
    world.until("the stray is gone", secs(60), |world| {
        world.cloud.alive().is_empty()
    });
}

#[test]
fn many_instances_in_no_book_are_ended_a_few_at_a_time() {
    let world = World::new();
    for number in 1..=12 {
        world.cloud.plant(&stray(number));
    }
    let mut counts = vec![12];
    world.until("the strays are gone", secs(300), |world| {
        let alive = world.cloud.alive().len();
        if counts.last() != Some(&alive) {
            counts.push(alive);
        }
        alive == 0
    });
    assert_eq!(counts, [12, 7, 2, 0]);
}

#[test]
fn an_incomplete_listing_ends_nothing() {
    let world = World::new();
    let id = world.submit_one(ANY, "sleep 20m\necho done");
    world.until_word(id, "running");
    let troubles = (0..200).map(|_| ListTrouble::Incomplete(0));
    world.cloud.trouble_listings(troubles);
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    assert_eq!(world.attempts(id).len(), 1);
}

#[test]
fn a_failed_listing_ends_nothing() {
    let world = World::new();
    let id = world.submit_one(ANY, "sleep 20m\necho done");
    world.until_word(id, "running");
    let troubles = (0..200).map(|_| ListTrouble::Failed(ErrorKind::Throttled));
    world.cloud.trouble_listings(troubles);
    world.until_done();
    assert_eq!(world.attempts(id).len(), 1);
}

#[test]
fn a_listing_that_lags_ends_nothing() {
    let world = World::new();
    world.cloud.set_temper(Temper {
        listing_lag: secs(12),
        boot: secs(30),
        ..Temper::default()
    });
    let id = world.submit_one(ANY, "echo done");
    world.until_done();
    assert_eq!(world.result(id).0, Success);
    assert_eq!(world.attempts(id).len(), 1);
}

#[test]
fn a_machine_canceled_before_its_lost_launch_is_settled_leaves_no_instance() {
    let world = World::new();
    world
        .cloud
        .trouble_launches([LaunchTrouble::Late(secs(3)), LaunchTrouble::LostBefore]);
    let id = world.submit_one(ANY, "echo never");
    world.cancel(id);
    // The end of the world checks that nothing is left.
    world.advance(secs(10));
    assert!(world.cloud.lives().len() <= 1);
}
