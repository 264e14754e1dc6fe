//! Random histories: builds come, and everything that can go wrong does, in an order that a seed
//! decides. Each ends with every build finished and the invariants of every world.

use dormouse::engine::{Desk, Settings};
use dormouse::model::{BuildId, BuildState, MachineState, Market, Span};
use dormouse::provider::ErrorKind;
use dormouse::provider::simulated::{Boot, LaunchTrouble, Life, ListTrouble};
use dormouse::remote::Notice;
use dormouse::remote::simulated::CallTrouble;
use rand::rngs::ChaCha20Rng;
use rand::{RngExt, SeedableRng};

use super::capacity::pool;
use super::store::CommitTrouble;
use super::world::{ALPINE, DEBIAN, LINUX, World, secs};

/// Histories of each test; several tests, so that they run side by side.
const HISTORIES: u64 = 10;
/// Things that happen in one history.
const HAPPENINGS: usize = 25;

#[test]
fn every_build_ends_and_every_invariant_holds_a() {
    live_all(0);
}

#[test]
fn every_build_ends_and_every_invariant_holds_b() {
    live_all(10);
}

#[test]
fn every_build_ends_and_every_invariant_holds_c() {
    live_all(20);
}

#[test]
fn every_build_ends_and_every_invariant_holds_d() {
    live_all(30);
}

#[test]
fn every_build_ends_and_every_invariant_holds_e() {
    live_all(40);
}

#[test]
fn every_build_ends_and_every_invariant_holds_with_a_fleet_a() {
    live_all_with(live_with_fleet, 1_000);
}

#[test]
fn every_build_ends_and_every_invariant_holds_with_a_fleet_b() {
    live_all_with(live_with_fleet, 1_010);
}

#[test]
fn every_build_ends_and_every_invariant_holds_with_a_fleet_c() {
    live_all_with(live_with_fleet, 1_020);
}

fn live_all(first: u64) {
    live_all_with(live, first);
}

fn live_all_with(live: fn(u64), first: u64) {
    for seed in first..first + HISTORIES {
        let history = std::panic::catch_unwind(|| live(seed));
        assert!(history.is_ok(), "the history of seed {seed} failed");
    }
}

fn live(seed: u64) {
    let mut world = World::from_seed(seed + 2, &[DEBIAN, ALPINE]);
    world.apply_policy("{ name: default, limits: { machines: 4 }, idle: { timeout: 1m } }");
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    for _ in 0..HAPPENINGS {
        happen(&mut world, &mut rng);
        let pause = Span::from_millis(rng.random_range(0..8_000));
        world.advance(pause);
    }
}

/// Two images on a fleet with sleep, spare capacity and little room.
fn live_with_fleet(seed: u64) {
    let mut world = World::of_kind(seed + 2, &[LINUX, DEBIAN], true, Settings::default());
    world.apply_policy(
        "{ name: default, limits: { machines: 4 }, market: spot-with-fallback, \
         idle: { timeout: 40s, then: stop, asleep: { machines: 2, timeout: 10m } } }",
    );
    world.apply_policy("{ name: sure, images: [debian], market: on-demand }");
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    for _ in 0..HAPPENINGS {
        if rng.random_bool(0.4) {
            happen_to_fleet(&world, &mut rng);
        } else {
            happen(&mut world, &mut rng);
        }
        let pause = Span::from_millis(rng.random_range(0..8_000));
        world.advance(pause);
    }
}

fn happen_to_fleet(world: &World, rng: &mut ChaCha20Rng) {
    match rng.random_range(0..9) {
        0 | 1 => {
            let zone = ["a", "b"][rng.random_range(0..2)];
            let shape = ["small", "large"][rng.random_range(0..2)];
            let market = [Market::Spot, Market::OnDemand][rng.random_range(0..2)];
            let slots = rng.random_range(0..3);
            world.cloud.set_slots(pool(shape, zone, market), slots);
        }
        2 => world.cloud.calm(),
        3 | 4 => reclaim_any(world, rng),
        5 => world.cloud.trouble_wakes([kind(rng), kind(rng)]),
        6 => world.cloud.trouble_stops([kind(rng)]),
        7 => {
            world
                .cloud
                .trouble_launches([launch_trouble(rng), launch_trouble(rng)]);
            submit(world, rng);
        }
        _ => world.advance(secs(60)),
    }
}

fn kind(rng: &mut ChaCha20Rng) -> ErrorKind {
    let kinds = [
        ErrorKind::PoolEmpty,
        ErrorKind::Quota,
        ErrorKind::Address,
        ErrorKind::Throttled,
        ErrorKind::Unknown,
        ErrorKind::Config,
        ErrorKind::Auth,
    ];
    kinds[rng.random_range(0..kinds.len())]
}

fn reclaim_any(world: &World, rng: &mut ChaCha20Rng) {
    let is_spot = |life: &Life| life.pool.as_ref().is_some_and(|p| p.market == Market::Spot);
    let spot: Vec<Life> = world.cloud.alive().into_iter().filter(is_spot).collect();
    if spot.is_empty() {
        return;
    }
    let id = spot[rng.random_range(0..spot.len())].id.clone();
    let span = secs(rng.random_range(1..120));
    let address = world.cloud.address(id.clone());
    match rng.random_range(0..3) {
        0 => {
            world.cloud.reclaim(id.clone(), Some(span));
            world.cloud.announce(id);
        }
        1 => {
            world.cloud.reclaim(id, Some(span));
            let notice = Notice {
                action: "terminate".to_owned(),
                at: world.now() + span,
            };
            address.map(|address| world.remote.give_notice(address, notice));
        }
        _ => {
            world.cloud.reclaim(id, None);
            world.remote.cut(address);
        }
    }
    world.settle();
}

fn happen(world: &mut World, rng: &mut ChaCha20Rng) {
    match rng.random_range(0..16) {
        0..=4 => submit(world, rng),
        5 => cancel_any(world, rng),
        6 => {
            world.cut_connections();
        }
        7 => world.cloud.trouble_launches([launch_trouble(rng)]),
        8 => {
            let boot = [
                Boot::Never,
                Boot::WrongHostKey(secs(3)),
                Boot::Dies(secs(5), secs(rng.random_range(1..60))),
            ][rng.random_range(0..3)];
            let image = if world.has_fleet { "linux" } else { "alpine" };
            world.cloud.boot_next(image, [boot]);
        }
        9 => {
            let trouble = [
                ListTrouble::Incomplete(rng.random_range(0..3)),
                ListTrouble::Failed(ErrorKind::Throttled),
            ];
            world.cloud.trouble_listings(trouble);
        }
        10 => {
            let troubles = [CallTrouble::LostBefore, CallTrouble::LostAfter];
            let trouble = troubles[rng.random_range(0..2)];
            let count = rng.random_range(1..4);
            world
                .remote
                .trouble_calls(std::iter::repeat_n(trouble, count));
        }
        11 => vanish_any(world, rng),
        12 => lose_or_reboot_any(world, rng),
        13 => {
            let troubles = [CommitTrouble::NotWritten, CommitTrouble::Written];
            let place = rng.random_range(0..6);
            world
                .store()
                .trouble_after(place, troubles[rng.random_range(0..2)]);
        }
        14 => {
            world.kill();
            world.advance_dead(Span::from_millis(rng.random_range(0..30_000)));
            world.restart();
        }
        _ => world.advance(secs(40)),
    }
}

/// Builds of several kinds; the engine may be loading its state, then the client comes back.
fn submit(world: &World, rng: &mut ChaCha20Rng) {
    let (first, second) = (rng.random_range(0..20), rng.random_range(0..40));
    let code = i32::from(rng.random_bool(0.2));
    let document = format!(
        "
name: random
builds:
  a: {{ requires: {{ sh: true }}, timeout: 2m, steps: [\"bytes 3000\\nsleep {first}s\\nbytes 70\", \"echo b\\nexit {code}\"] }}
  b: {{ requires: {{ python: '3.12' }}, steps: [\"sleep {second}s\\necho done\", {{ run: echo tidy, always: true }}] }}
  c: {{ requires: {{ sh: true }}, needs: [a], steps: [{{ name: slow, run: \"echo c\\nsleep {second}s\", timeout: 15s }}] }}
"
    );
    // A refusal is an answer, too: the store failed, or the state is being loaded.
    let _ = world.try_submit(&document, None);
}

fn launch_trouble(rng: &mut ChaCha20Rng) -> LaunchTrouble {
    let troubles = [
        LaunchTrouble::LostAfter,
        LaunchTrouble::LostBefore,
        LaunchTrouble::Late(secs(3)),
        LaunchTrouble::Refused(ErrorKind::PoolEmpty),
        LaunchTrouble::Refused(ErrorKind::Quota),
        LaunchTrouble::Refused(ErrorKind::Throttled),
        LaunchTrouble::Refused(ErrorKind::Address),
        LaunchTrouble::Refused(ErrorKind::Config),
    ];
    troubles[rng.random_range(0..troubles.len())]
}

fn pick<T: Copy>(rng: &mut ChaCha20Rng, from: &[T]) -> Option<T> {
    (!from.is_empty()).then(|| from[rng.random_range(0..from.len())])
}

fn cancel_any(world: &World, rng: &mut ChaCha20Rng) {
    let open: Vec<BuildId> = world
        .builds()
        .into_iter()
        .filter(|build| !build.state.is_finished())
        .map(|build| build.id)
        .collect();
    if let Some(id) = pick(rng, &open) {
        // A refusal is an answer, too.
        let _ = world.ask(async |desk| desk.cancel_build(id, "ada").await);
    }
}

fn vanish_any(world: &World, rng: &mut ChaCha20Rng) {
    let alive: Vec<_> = world
        .cloud
        .alive()
        .into_iter()
        .map(|life| life.id)
        .collect();
    if !alive.is_empty() {
        let id = alive[rng.random_range(0..alive.len())].clone();
        let address = world.cloud.address(id.clone());
        world.cloud.vanish(id);
        world.remote.cut(address);
        world.settle();
    }
}

fn lose_or_reboot_any(world: &World, rng: &mut ChaCha20Rng) {
    let running: Vec<_> = world
        .builds()
        .into_iter()
        .filter_map(|build| match build.state {
            BuildState::Running {
                machine, attempt, ..
            } => Some((machine, attempt)),
            BuildState::Waiting
            | BuildState::Queued { .. }
            | BuildState::Bound { .. }
            | BuildState::Finished { .. } => None,
        })
        .collect();
    let Some((machine, attempt)) = pick(rng, &running) else {
        return;
    };
    let is_up = world
        .machines()
        .iter()
        .any(|m| m.id == machine && matches!(m.state, MachineState::Busy { .. }));
    if rng.random_bool(0.5) {
        world.remote.lose_supervisor(attempt);
        world.settle();
    } else if is_up && world.cloud.address(world.which(machine)).is_some() {
        world.reboot(machine);
    }
}
