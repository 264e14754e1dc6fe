//! Which builds take spare capacity, and which need a machine that is not taken back.

use dormouse::engine::Settings;
use dormouse::model::BuildResult::Success;
use dormouse::model::{BuildId, Market, Span};

use super::world::{LINUX, World, secs};

const OVER_30_MINUTES: &str = "{ longer_than: 30m, deadline_within: 10m }";

fn world(on_demand: &str) -> World {
    let settings = Settings {
        spot_interruptions: 100,
        ..Settings::default()
    };
    let world = World::with_settings(&[LINUX], settings);
    apply(&world, on_demand, 10);
    world
}

fn apply(world: &World, on_demand: &str, machines: u32) {
    world.apply_policy(&format!(
        "
name: default
limits: {{ machines: {machines} }}
market: {{ buy: spot-with-fallback, on_demand: {on_demand} }}
idle: {{ timeout: 30s }}
"
    ));
}

/// Submits builds that take a minute, each with a name and what else is said of it.
fn submit<const N: usize>(world: &World, builds: [(&str, &str); N]) -> [BuildId; N] {
    let of = |(name, more): &(&str, &str)| {
        format!("  {name}: {{ requires: {{ sh: true }}, steps: [sleep 60s], {more} }}\n")
    };
    let lines: String = builds.iter().map(of).collect();
    let submitted = world.submit(&format!("name: market\nbuilds:\n{lines}"));
    builds.map(|(name, _)| submitted.id(name))
}

/// Where a build ran that needed one attempt.
fn market_of(world: &World, build: BuildId) -> Market {
    assert_eq!(world.result(build).0, Success, "{}", world.picture());
    let attempts = world.attempts(build);
    assert_eq!(attempts.len(), 1, "{}", world.picture());
    world.machine(attempts[0].machine).market
}

#[test]
fn long_builds_and_tight_deadlines_go_on_demand_and_the_rest_to_spot() {
    let world = world(OVER_30_MINUTES);
    let builds = [
        ("short", "timeout: 20m"),
        ("long", "timeout: 2h"),
        ("tight", "timeout: 15m, deadline: 20m"),
        ("relaxed", "timeout: 15m, deadline: 5h"),
    ];
    let ids = submit(&world, builds);
    world.until_done();
    assert_eq!(
        ids.map(|id| market_of(&world, id)),
        [
            Market::Spot,
            Market::OnDemand,
            Market::OnDemand,
            Market::Spot
        ]
    );
}

#[test]
fn what_a_build_took_before_counts_for_more_than_its_timeout() {
    let mut world = world(OVER_30_MINUTES);
    for market in [Market::OnDemand, Market::Spot] {
        let [id] = submit(&world, [("long", "timeout: 2h")]);
        world.until_done();
        assert_eq!(market_of(&world, id), market);
        // The next one shall not find its machine.
        world.advance(secs(60));
        assert_eq!(world.machines().len(), 0, "{}", world.picture());
        world.kill_and_restart();
    }
}

#[test]
fn a_build_whose_deadline_comes_near_while_it_waits_goes_on_demand() {
    // It needs fifteen minutes at worst, and ten are to be left: surer after an hour and 35 minutes.
    for (minutes, market) in [(94, Market::Spot), (96, Market::OnDemand)] {
        let world = world(OVER_30_MINUTES);
        apply(&world, OVER_30_MINUTES, 0);
        let builds = [
            ("due", "timeout: 15m, deadline: 2h"),
            ("whenever", "timeout: 15m"),
        ];
        let ids = submit(&world, builds);
        world.advance(secs(minutes * 60));
        apply(&world, OVER_30_MINUTES, 10);
        world.until_done();
        let markets = ids.map(|id| market_of(&world, id));
        assert_eq!(markets, [market, Market::Spot], "after {minutes} minutes");
    }
}

#[test]
fn where_interruptions_are_likely_only_short_builds_take_the_chance() {
    let world = world("{ risk_above: 20% }");
    for name in ["one", "two", "three"] {
        let [id] = submit(&world, [(name, "timeout: 1m")]);
        world.until_word(id, "finished");
        let machine = world.machines().remove(0);
        assert_eq!(machine.market, Market::Spot);
        world.reclaim(machine.id, Some(Span::from_secs(60)));
        world.until("it is gone", secs(180), |world| world.machines().is_empty());
    }
    // Three within the ten hours that every pool is credited with: 30 % in an hour.
    let builds = [("hour", "timeout: 1h"), ("quarter", "timeout: 15m")];
    let ids = submit(&world, builds);
    world.until_done();
    assert_eq!(
        ids.map(|id| market_of(&world, id)),
        [Market::OnDemand, Market::Spot]
    );
}
