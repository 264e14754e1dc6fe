//! Policies of a seeded day. Each knob is set in some of the days only, so that no knob hides another;
//! none is set so that a build could wait for ever.

use std::collections::BTreeMap;

use crate::model::{
    AtLimit, Budget, BudgetEach, IdleTimeout, MarketChoice, Money, OnDemandWhen, Period,
    PolicySpec, Quarantine, Rate, RestAt, Reuse, SleepKind, Span, Superseded, Warm, WarmWindow,
};

use super::{HOUR, MINUTE, PROJECTS, project, small};
use crate::simulate::dice::Dice;

/// The label of builds that nobody waits for.
pub(super) const NIGHTLY: (&str, &str) = ("tier", "nightly");

/// All of a day.
pub(super) fn policies(dice: &mut Dice, has_spot: bool) -> Vec<(String, PolicySpec)> {
    let mut policies = vec![("default".to_owned(), general(dice, has_spot))];
    if dice.chance(500) {
        let of_one = PolicySpec {
            images: vec!["debian".to_owned()],
            max_machines: Some(1 + small(dice.below(3))),
            ..PolicySpec::default()
        };
        policies.push(("debian".to_owned(), of_one));
    }
    if dice.chance(400) {
        policies.push(("team".to_owned(), of_project(dice)));
    }
    if dice.chance(200) {
        let nightly = PolicySpec {
            labels: BTreeMap::from([(NIGHTLY.0.to_owned(), NIGHTLY.1.to_owned())]),
            max_builds: Some(1 + small(dice.below(2))),
            value_of_wait: Some(Rate::from_micros_per_hour(0)),
            ..PolicySpec::default()
        };
        policies.push(("nightly".to_owned(), nightly));
    }
    if dice.chance(400) {
        policies.push(("money".to_owned(), money(dice)));
    }
    policies
}

/// What holds for everything.
pub(super) fn general(dice: &mut Dice, has_spot: bool) -> PolicySpec {
    PolicySpec {
        sleep: dice.chance(500).then_some(SleepKind::Stop),
        max_asleep: dice.chance(500).then_some(1),
        asleep_timeout: dice
            .chance(600)
            .then(|| Span::from_secs(HOUR * (1 + dice.below(6)))),
        market: match dice.below(3) {
            0 => None,
            // Without spare capacity to be had, its builds would wait for ever.
            1 if has_spot => Some(MarketChoice::Spot),
            _ => Some(MarketChoice::SpotWithFallback),
        },
        on_demand: dice.chance(300).then(|| on_demand(dice)),
        max_lifetime: dice
            .chance(300)
            .then(|| Span::from_secs(HOUR * (1 + dice.below(3)))),
        max_builds_per_machine: dice.chance(300).then(|| 1 + small(dice.below(5))),
        slots: dice.chance(400).then(|| 1 + small(dice.below(4))),
        rest_at: dice.chance(300).then(|| rest_at(dice)),
        reuse: dice.chance(200).then(|| reuse(dice)),
        superseded: dice.chance(500).then(|| superseded(dice)),
        quarantine: dice.chance(400).then(|| Quarantine {
            failures: small(dice.below(4)),
        }),
        warm: dice.chance(250).then(|| warm(dice)),
        ..limits(dice)
    }
}

fn limits(dice: &mut Dice) -> PolicySpec {
    let minutes = [1, 3, 10, 30];
    let idle = minutes.get(dice.place(4)).copied().unwrap_or(5);
    PolicySpec {
        max_machines: dice.chance(700).then(|| 1 + small(dice.below(12))),
        // The largest shape has four.
        max_vcpus: dice.chance(150).then(|| 4 + small(dice.below(20))),
        max_builds: dice.chance(150).then(|| 1 + small(dice.below(6))),
        max_launches_per_hour: dice.chance(150).then(|| 3 + small(dice.below(20))),
        // The dearest shape costs less.
        max_cost_per_hour: dice
            .chance(150)
            .then(|| Rate::from_micros_per_hour(170_000 + dice.below(1_000_000))),
        idle_timeout: dice
            .chance(750)
            .then(|| IdleTimeout::After(Span::from_secs(idle * MINUTE))),
        value_of_wait: dice
            .chance(300)
            .then(|| Rate::from_micros_per_hour(dice.below(3) * 5_000_000)),
        ..PolicySpec::default()
    }
}

fn on_demand(dice: &mut Dice) -> OnDemandWhen {
    OnDemandWhen {
        longer_than: dice
            .chance(300)
            .then(|| Span::from_secs(dice.between(3, 20) * MINUTE)),
        deadline_within: dice
            .chance(700)
            .then(|| Span::from_secs(dice.between(1, 30) * MINUTE)),
        risk_above_percent: dice.chance(400).then(|| 5 + small(dice.below(40))),
    }
}

fn rest_at(dice: &mut Dice) -> RestAt {
    let mut share = || 50 + small(dice.below(50));
    RestAt {
        disk_percent: share(),
        inodes_percent: share(),
        memory_percent: share(),
    }
}

fn reuse(dice: &mut Dice) -> Reuse {
    match dice.below(3) {
        0 => Reuse::Never,
        1 => Reuse::Project,
        _ => Reuse::Any,
    }
}

fn superseded(dice: &mut Dice) -> Superseded {
    if dice.chance(500) {
        Superseded::Collapse
    } else {
        Superseded::Cancel
    }
}

fn warm(dice: &mut Dice) -> Warm {
    let begin = dice.between(6, 10) * 60;
    let end = dice.between(15, 19) * 60;
    let window = WarmWindow {
        days: [true, true, true, true, true, false, false],
        from_minute: u16::try_from(begin).unwrap_or(0),
        to_minute: u16::try_from(end).unwrap_or(0),
        time_zone: if dice.chance(500) {
            "UTC"
        } else {
            "Europe/Berlin"
        }
        .to_owned(),
        running: small(dice.below(3)),
        asleep: small(dice.below(3)),
    };
    Warm {
        windows: vec![window],
        forecast: dice.chance(500),
        max_cost_per_day: dice
            .chance(600)
            .then(|| micros(dice.between(20_000, 1_000_000))),
        max_age: dice
            .chance(400)
            .then(|| Span::from_secs(dice.between(20, 240) * MINUTE)),
    }
}

/// One project that has its own ways.
fn of_project(dice: &mut Dice) -> PolicySpec {
    PolicySpec {
        projects: vec![project(dice.below(PROJECTS))],
        max_machines: dice.chance(300).then(|| 1 + small(dice.below(3))),
        max_builds: dice.chance(400).then(|| 1 + small(dice.below(4))),
        weight: dice.chance(500).then(|| 1 + small(dice.below(4))),
        reuse: dice.chance(500).then(|| reuse(dice)),
        superseded: dice.chance(300).then(|| superseded(dice)),
        idle_timeout: dice
            .chance(300)
            .then(|| IdleTimeout::After(Span::from_secs(dice.between(1, 60) * MINUTE))),
        ..PolicySpec::default()
    }
}

fn money(dice: &mut Dice) -> PolicySpec {
    let count = 1 + dice.below(3);
    PolicySpec {
        budgets: (0..count).map(|place| budget(dice, place)).collect(),
        ..PolicySpec::default()
    }
}

fn budget(dice: &mut Dice, place: u64) -> Budget {
    let (each, per) = match dice.below(8) {
        0 | 1 => (BudgetEach::All, Period::Day),
        2 => (BudgetEach::All, Period::Hour),
        3 => (BudgetEach::Project, Period::Day),
        4 => (BudgetEach::Project, Period::Hour),
        5 => (BudgetEach::Image, Period::Hour),
        6 => (BudgetEach::Pipeline, Period::Life),
        _ => (BudgetEach::Build, Period::Life),
    };
    let amount = match each {
        // One build has room at its worst: an hour and a half of the dearest shape.
        BudgetEach::All | BudgetEach::Project | BudgetEach::Image => {
            dice.between(400_000, 1_500_000)
        }
        BudgetEach::Pipeline => dice.between(10_000, 150_000),
        BudgetEach::Build => dice.between(3_000, 30_000),
    };
    Budget {
        name: format!("budget-{place}"),
        amount: micros(amount),
        each,
        per,
        time_zone: "UTC".to_owned(),
        warn_at_percent: small(dice.below(2)) * 80,
        at_limit: match dice.below(3) {
            0 => AtLimit::Hold,
            1 => AtLimit::Fail,
            _ => AtLimit::OnApproval,
        },
        roll_over: if dice.chance(300) {
            micros(amount / 2)
        } else {
            Money::ZERO
        },
    }
}

fn micros(amount: u64) -> Money {
    Money::from_micros(i64::try_from(amount).unwrap_or(0))
}
