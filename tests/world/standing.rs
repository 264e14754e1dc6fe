//! Machines that stand by: for a forecast, by the clock, under a ceiling, and for what is paid already.

use dormouse::engine::Desk;
use dormouse::model::BuildResult::Success;
use dormouse::model::{Category, Machine, MachineId, MachineState, Reason, Span, Timestamp};
use dormouse::store::{CostGroup, Store};

use super::world::{ALPINE, LINUX, World, is_idle, secs, why_ended};

const ANY: &str = "sh: true";

fn time(text: &str) -> Timestamp {
    let time: jiff::Timestamp = text.parse().unwrap();
    Timestamp::from_micros(time.as_microsecond())
}

/// Lets time pass to a moment at which another process starts: nothing happens until then.
fn pass_dead(world: &mut World, to: &str) {
    let span = time(to).since(world.now());
    world.kill();
    world.advance_dead(span);
    world.restart();
}

fn advance_to(world: &World, to: &str) {
    world.advance(time(to).since(world.now()));
}

fn idle(world: &World) -> usize {
    world.machines().iter().filter(|m| is_idle(m)).count()
}

const fn is_asleep(machine: &Machine) -> bool {
    matches!(machine.state, MachineState::Asleep { .. })
}

fn asleep(world: &World) -> Vec<MachineId> {
    let machines = world.machines().into_iter().filter(is_asleep);
    machines.map(|machine| machine.id).collect()
}

fn said(world: &World) -> String {
    let plan = world.ask(async |desk| desk.plan().await).unwrap();
    plan.machines.join("\n")
}

/// Two builds at once.
fn submit_two(world: &World) {
    world.submit(
        "
name: two
builds:
  a: { requires: { sh: true }, steps: [sleep 60s] }
  b: { requires: { sh: true }, steps: [sleep 60s] }
",
    );
}

#[test]
fn a_forecast_has_machines_ready_when_their_hour_begins_and_for_no_longer() {
    let mut world = World::with_images(&[ALPINE]);
    world.apply_policy("{ name: default, idle: { timeout: 30s }, warm: { forecast: true } }");
    // On a Thursday: one build that says since when there is anything to know, later two at once.
    pass_dead(&mut world, "2026-01-01T08:00:00Z");
    world.submit_one(ANY, "echo first");
    world.until_done();
    pass_dead(&mut world, "2026-01-01T10:05:00Z");
    submit_two(&world);
    world.until_done();
    // Nothing is known of the hour before a week has passed, and of no other hour after it.
    pass_dead(&mut world, "2026-01-02T09:59:00Z");
    advance_to(&world, "2026-01-02T10:03:00Z");
    assert_eq!(world.machines().len(), 0, "{}", world.picture());
    pass_dead(&mut world, "2026-01-08T09:58:00Z");
    advance_to(&world, "2026-01-08T09:59:30Z");
    assert_eq!(world.machines().len(), 0, "{}", world.picture());
    // Begun a boot ahead.
    advance_to(&world, "2026-01-08T10:00:01Z");
    assert_eq!(idle(&world), 2, "{}", world.picture());
    assert!(said(&world).contains("as many builds came at this hour of past weeks"));
    advance_to(&world, "2026-01-08T10:20:00Z");
    let begun = world.now();
    let id = world.submit_one(ANY, "sleep 10s");
    world.until_word(id, "running");
    assert!(
        world.now().since(begun) < secs(1),
        "it found a machine at hand"
    );
    // Its place is filled.
    world.advance(secs(8));
    assert_eq!(idle(&world), 2, "{}", world.picture());
    advance_to(&world, "2026-01-08T10:59:00Z");
    assert_eq!(idle(&world), 2, "{}", world.picture());
    advance_to(&world, "2026-01-08T11:01:00Z");
    assert_eq!(world.machines().len(), 0, "{}", world.picture());
}

#[test]
fn machines_are_asleep_by_the_clock_of_their_time_zone() {
    let mut world = World::with_fleet(&[LINUX]);
    world.apply_policy(
        "
name: default
idle: { timeout: 30s, then: stop, asleep: { machines: 3, timeout: 5m } }
warm: { windows: [{ hours: \"08:00-09:00\", time_zone: Europe/Berlin, asleep: 2 }] }
",
    );
    pass_dead(&mut world, "2026-01-01T06:58:00Z");
    advance_to(&world, "2026-01-01T06:59:59Z");
    assert_eq!(world.machines().len(), 0, "{}", world.picture());
    advance_to(&world, "2026-01-01T07:01:00Z");
    let first = asleep(&world);
    assert_eq!(
        (first.len(), world.machines().len()),
        (2, 2),
        "{}",
        world.picture()
    );
    // They stay for longer than one may be asleep.
    advance_to(&world, "2026-01-01T07:20:00Z");
    assert_eq!(asleep(&world), first, "{}", world.picture());
    assert!(said(&world).contains("have 0 machines of linux at hand and 2 asleep"));
    let id = world.submit_one(ANY, "sleep 3s");
    world.until_word(id, "finished");
    assert_eq!(world.result(id).0, Success);
    assert!(
        first.contains(&world.attempts(id)[0].machine),
        "it was woken"
    );
    // Another one took its place; when it has fallen asleep again there is one too many, and the one
    // that has slept for longest goes.
    world.advance(secs(60));
    let second = asleep(&world);
    assert_eq!(
        (second.len(), world.cloud.lives().len()),
        (2, 3),
        "{}",
        world.picture()
    );
    assert!(second.contains(&world.attempts(id)[0].machine));
    advance_to(&world, "2026-01-01T07:59:50Z");
    assert_eq!(asleep(&world), second, "{}", world.picture());
    advance_to(&world, "2026-01-01T08:01:00Z");
    assert_eq!(world.machines().len(), 0, "{}", world.picture());
    let why: Vec<Option<Reason>> = world.all_machines().iter().map(why_ended).collect();
    assert!(
        why.iter().all(|why| *why == Some(Reason::AsleepTimeout)),
        "{why:?}"
    );
}

/// A spare at any time, for five cents a day: a thousand seconds of the cheapest machine.
const CEILING: &str = "
name: default
idle: { timeout: 30s }
warm: { cost: $0.05/day, windows: [{ running: 1 }] }
";

/// What idle machines and boots without a build cost from a moment on, in millionths.
fn standby_cost(world: &World, from: &str, to: &str) -> i64 {
    let (from, to) = (time(from), time(to));
    let rows = world.read(async |store| store.costs(CostGroup::Image, from, to, 9).await);
    let rows = rows.unwrap();
    let of = |category| {
        rows.iter()
            .filter_map(move |row| row.by_category.get(&category))
    };
    let idle: i64 = of(Category::Idle).map(|money| money.micros()).sum();
    let boots: i64 = of(Category::Boot).map(|money| money.micros()).sum();
    idle + boots
}

#[test]
fn at_its_ceiling_nothing_stands_by_until_the_next_day_and_builds_run_on() {
    let mut world = World::with_images(&[ALPINE]);
    world.apply_policy(CEILING);
    world.advance(secs(600));
    assert_eq!(idle(&world), 1, "{}", world.picture());
    world.advance(secs(500));
    assert_eq!(world.machines().len(), 0, "{}", world.picture());
    assert_eq!(world.cloud.launch_calls(), 1);
    // Nor is it begun anew, whether this process goes on or another one starts.
    world.advance(secs(1_800));
    pass_dead(&mut world, "2026-01-01T12:00:00Z");
    world.advance(secs(60));
    assert_eq!(world.cloud.launch_calls(), 1, "{}", world.picture());
    // A build gets its machine, which goes when it has stood idle for as long as any.
    let id = world.submit_one(ANY, "echo done");
    world.until_word(id, "finished");
    assert_eq!(world.result(id).0, Success);
    assert_eq!(idle(&world), 1);
    world.advance(secs(45));
    assert_eq!(world.machines().len(), 0, "{}", world.picture());
    pass_dead(&mut world, "2026-01-01T23:58:00Z");
    advance_to(&world, "2026-01-01T23:59:59Z");
    assert_eq!(world.cloud.launch_calls(), 2, "{}", world.picture());
    let spent = standby_cost(&world, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    assert!((30_000..=50_000).contains(&spent), "{spent}");
    // The next day has money of its own.
    advance_to(&world, "2026-01-02T00:00:10Z");
    assert_eq!((idle(&world), world.cloud.launch_calls()), (1, 3));
}

#[test]
fn what_stood_by_before_midnight_is_not_counted_for_the_day_after() {
    let mut world = World::with_images(&[ALPINE]);
    let policy = CEILING.replace("30s", "30m");
    let policy = policy.replace("{ running: 1 }", "{ hours: \"00:00-01:00\", running: 1 }");
    pass_dead(&mut world, "2026-01-01T23:44:00Z");
    world.apply_policy(&policy);
    world.submit_one(ANY, "echo before");
    world.until_done();
    // Twenty minutes, which cost six cents, five minutes of them today.
    advance_to(&world, "2026-01-02T00:05:00Z");
    world.submit_one(ANY, "echo after");
    world.until_done();
    world.advance(secs(1));
    let said = said(&world);
    assert!(
        said.contains("its policy's schedule wants it at hand"),
        "{said}"
    );
}

fn billed(billing: &str) -> World {
    let world = World::with_images(&[&format!("{ALPINE}billing: {billing}\n")]);
    world.apply_policy("{ name: default, idle: { timeout: 1m } }");
    world
}

#[test]
fn an_idle_machine_is_kept_to_the_end_of_a_minimum_that_is_paid_already() {
    let world = billed("{ quantum: 1s, minimum: 20m }");
    let begun = world.now();
    world.submit_one(ANY, "sleep 30s");
    world.until_done();
    let machine = world.machines().remove(0).id;
    let at = |seconds: u64| (begun + secs(seconds)).since(world.now());
    world.advance(at(15 * 60));
    assert_eq!(idle(&world), 1, "{}", world.picture());
    assert!(
        said(&world).contains("so long it is paid for"),
        "{}",
        said(&world)
    );
    // A build that comes so late finds it.
    let late = world.submit_one(ANY, "echo late");
    world.until_done();
    assert_eq!(world.attempts(late)[0].machine, machine);
    world.advance(at(19 * 60));
    assert_eq!(idle(&world), 1, "{}", world.picture());
    world.advance(at(20 * 60 + 10));
    assert_eq!(world.machines().len(), 0, "{}", world.picture());
    let gone = world.machine(machine);
    assert_eq!(why_ended(&gone), Some(Reason::IdleTimeout));
    // Twenty minutes at $0.18 an hour, and the seconds that its end took.
    let cost = gone.billed.micros();
    assert!((60_000..60_500).contains(&cost), "{cost}");
}

#[test]
fn what_is_paid_and_not_used_is_billed_when_somebody_ends_a_machine_early() {
    let world = billed("{ quantum: 1s, minimum: 20m }");
    world.submit_one(ANY, "echo done");
    world.until_done();
    let machine = world.machines().remove(0).id;
    world
        .ask(async |desk| desk.end_machine(machine, "ada").await)
        .unwrap();
    world.advance(secs(30));
    assert_eq!(world.machine(machine).billed.micros(), 60_000);
}

#[test]
fn a_machine_that_is_billed_by_the_hour_goes_shortly_before_the_next_one() {
    let world = billed("{ quantum: 1h, minimum: 1h }");
    let begun = world.now();
    world.submit_one(ANY, "sleep 30s");
    world.until_done();
    let machine = world.machines().remove(0).id;
    world.advance((begun + secs(57 * 60)).since(world.now()));
    assert_eq!(idle(&world), 1, "{}", world.picture());
    world.until("the machine is gone", secs(180), |world| {
        world.machines().is_empty()
    });
    let gone = world.machine(machine);
    assert!(
        gone.since < begun + Span::from_secs(3_600),
        "{}",
        gone.since
    );
    assert_eq!(gone.billed.micros(), 180_000);
}
