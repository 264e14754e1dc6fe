//! Machines that stand idle as long as that is worth it, and machines that are at hand by the clock.

use dormouse::engine::Desk;
use dormouse::model::{
    Change, IdleTimeout, Machine, MachineState, Money, Policy, PolicySpec, Rate, Span, Warm,
    WarmWindow,
};
use dormouse::store::Store;

use super::world::{World, is_idle, secs};

/// A policy as the store has it.
fn put_policy(world: &World, spec: PolicySpec) {
    let policy = Policy {
        name: "default".to_owned(),
        version: 1,
        spec,
        applied_at: world.now(),
        rev: 0,
    };
    let written = world.read(async |store| store.commit(vec![Change::InsertPolicy(policy)]).await);
    written.unwrap();
}

fn boot_of(machine: &Machine) -> Span {
    machine.boot.expect("it became ready").took
}

#[test]
fn a_machine_stands_idle_for_as_long_as_a_boot_is_worth() {
    let mut world = World::new();
    // 1.80 $/h for a wait and 0.18 $/h for a machine: eleven boots.
    put_policy(
        &world,
        PolicySpec {
            idle_timeout: Some(IdleTimeout::Auto),
            value_of_wait: Some(Rate::from_micros_per_hour(1_800_000)),
            ..PolicySpec::default()
        },
    );
    world.kill_and_restart();
    world.submit_one("sh: true", "echo done");
    world.until_done();
    let idle_since = world.now();
    let machine = world.machines().remove(0);
    let worth = Span::from_micros(boot_of(&machine).micros() * 11);
    assert!(worth > secs(10) && worth < secs(3_600), "{worth}");
    world.advance(Span::from_micros(worth.micros() - 1_000_000));
    assert!(world.machines().iter().all(is_idle), "{}", world.picture());
    let plan = world.ask(async |desk| desk.plan().await).unwrap();
    assert!(
        plan.machines[0].contains("x (1 + $1.8/h / $0.18/h)"),
        "{plan:?}"
    );
    world.until("the machine is gone", secs(60), |world| {
        world.machines().is_empty()
    });
    let gone = world.all_machines().remove(0);
    assert!(gone.since.since(idle_since) < Span::from_micros(worth.micros() + 10_000_000));
}

fn running(world: &World) -> usize {
    let has_no_build = |machine: &&Machine| matches!(machine.state, MachineState::Idle { .. });
    world.machines().iter().filter(has_no_build).count()
}

#[test]
fn floors_begin_and_end_with_their_window_in_summer_time_too() {
    let mut world = World::with_images(&[super::world::ALPINE]);
    // Saturday night to Sunday morning, when the clock in Berlin goes from 02:00 to 03:00.
    let to_spring = "2026-03-28T20:59:00Z".parse::<jiff::Timestamp>().unwrap();
    let now = world.now().micros();
    let ahead = u64::try_from(to_spring.as_microsecond() - now).unwrap();
    put_policy(
        &world,
        PolicySpec {
            idle_timeout: Some(IdleTimeout::After(secs(30))),
            warm: Some(Warm {
                windows: vec![WarmWindow {
                    days: [false, false, false, false, false, true, false],
                    from_minute: 22 * 60,
                    to_minute: 6 * 60,
                    time_zone: "Europe/Berlin".to_owned(),
                    running: 2,
                    asleep: 0,
                }],
                max_cost_per_day: Some(Money::from_micros(100_000_000)),
                ..Warm::default()
            }),
            ..PolicySpec::default()
        },
    );
    world.kill();
    world.advance_dead(Span::from_micros(ahead));
    world.restart();
    assert_eq!(world.machines().len(), 0, "{}", world.picture());
    // 21:00 UTC is 22:00 in winter time.
    world.advance(secs(180));
    assert_eq!(running(&world), 2, "{}", world.picture());
    // A build takes one of them, and its place is filled.
    world.submit_one("sh: true", "sleep 5m");
    world.advance(secs(120));
    assert_eq!(running(&world), 2, "{}", world.picture());
    // 04:00 UTC is 06:00 in summer time: the night had seven hours.
    world.advance(secs(7 * 3_600 - 180 - 120 - 60 - 60));
    assert_eq!(running(&world), 2, "{}", world.picture());
    world.advance(secs(240));
    assert_eq!(world.machines().len(), 0, "{}", world.picture());
}

#[test]
fn a_restart_keeps_what_was_learnt() {
    let mut world = World::with_images(&[super::world::ALPINE]);
    put_policy(
        &world,
        PolicySpec {
            idle_timeout: Some(IdleTimeout::Auto),
            value_of_wait: Some(Rate::from_micros_per_hour(20_000_000)),
            ..PolicySpec::default()
        },
    );
    world.kill_and_restart();
    // A build every minute, often enough for the gaps to be trusted.
    for _ in 0..16 {
        world.submit_one("sh: true", "echo done");
        world.until_done();
        world.advance(secs(60));
    }
    let said = |world: &World| {
        let plan = world.ask(async |desk| desk.plan().await).unwrap();
        plan.machines[0].clone()
    };
    let before = said(&world);
    assert!(before.contains("learnt from 15 gaps"), "{before}");
    world.kill_and_restart();
    assert_eq!(said(&world), before);
    // Builds come within a minute or so: what is far longer is not waited for.
    world.until("the machine is gone", secs(600), |world| {
        world.machines().is_empty()
    });
}
