//! Figures of small outcomes that can be reckoned by hand.

use std::collections::BTreeMap;

use super::*;
use crate::model::{BuildResult, Category, Money, Rate, Span, Timestamp};
use crate::simulate::optimum::Optimum;
use crate::simulate::{EndedBuild, MachineLife, Outcome, Work};

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(0) + Span::from_secs(seconds)
}

/// One machine: boots for 30 s, runs two builds with a gap of 40 s in which it sleeps for 10 s, goes
/// 20 s after the last. Another never got ready.
fn outcome() -> (Vec<Work>, Outcome) {
    let work = |submit| Work {
        submit: at(submit),
        run: Span::from_secs(100),
        ..Work::default()
    };
    let ended = |work, started, ended, cold| EndedBuild {
        work,
        result: BuildResult::Success,
        started: Some(at(started)),
        ended: at(ended),
        attempts: 1,
        cold,
    };
    let machine = MachineLife {
        image: "a".to_owned(),
        // A micro-dollar per millisecond.
        rate: Rate::from_micros_per_hour(3_600_000),
        created: at(0),
        ready: Some(at(30)),
        gone: at(290),
        busy: vec![(at(30), at(130)), (at(170), at(270))],
        asleep: vec![(at(140), at(150))],
    };
    let broken = MachineLife {
        created: at(100),
        ready: None,
        gone: at(150),
        busy: Vec::new(),
        asleep: Vec::new(),
        ..machine.clone()
    };
    let money = [
        (Category::Work, 200_000),
        (Category::Boot, 80_000),
        (Category::Idle, 30_000),
        (Category::Drain, 20_000),
    ];
    let outcome = Outcome {
        builds: vec![ended(0, 30, 130, true), ended(1, 170, 270, false)],
        machines: vec![machine, broken],
        money: money
            .map(|(category, micros)| (category, Money::from_micros(micros)))
            .into(),
        hash: 255,
        ..Outcome::default()
    };
    (vec![work(0), work(170)], outcome)
}

#[test]
fn waits_and_costs_are_counted() {
    let (work, outcome) = outcome();
    let figures = figures(&work, &outcome);
    assert_eq!(figures.cost.total, 330_000);
    assert_eq!(figures.cost.overhead(), 130_000);
    assert_eq!(figures.waits.p50, 0);
    assert_eq!(figures.waits.p95, 30_000_000);
    assert_eq!(figures.waits.total, 30_000_000);
    assert_eq!(figures.cold_per_mille, 500);
    assert_eq!(figures.results, BTreeMap::from([("success".to_owned(), 2)]));
    assert_eq!((figures.machines, figures.most_at_once), (2, 2));
    assert_eq!(figures.hash, "00000000000000ff");
}

#[test]
fn overhead_is_told_by_reason() {
    let (work, outcome) = outcome();
    let figures = figures(&work, &outcome);
    let seconds: Vec<_> = figures
        .waste
        .iter()
        .map(|waste| (waste.reason, waste.time / 1_000_000, waste.cost))
        .collect();
    assert_eq!(
        seconds,
        [
            (WasteReason::Boot, 30, 30_000),
            (WasteReason::Unused, 50, 50_000),
            (WasteReason::Between, 30, 30_000),
            (WasteReason::AfterLast, 20, 20_000),
        ]
    );
    assert_eq!(
        figures.waste.iter().map(|waste| waste.cost).sum::<i64>(),
        figures.cost.overhead()
    );
}

#[test]
fn samples_hold_all_machine_time() {
    let (work, outcome) = outcome();
    let figures = figures(&work, &outcome);
    let width = Span::from_secs(290).micros() / 192;
    let time = |thousandths: u64| thousandths * width / 1_000_000_000;
    let busy: u64 = figures.samples.iter().map(|sample| sample.busy).sum();
    let idle: u64 = figures.samples.iter().map(|sample| sample.idle).sum();
    assert!((199..=200).contains(&time(busy)), "{}", time(busy));
    // 30 + 30 + 20 of the one, 50 of the other.
    assert!((128..=130).contains(&time(idle)), "{}", time(idle));
}

#[test]
fn ratios_compare_with_the_clairvoyant() {
    let optimum = Optimum {
        work: Money::from_micros(200_000),
        overhead: Money::from_micros(100_000),
        machines: 1,
        is_exact: true,
    };
    let (work, outcome) = outcome();
    let ratios = ratios(&figures(&work, &outcome).cost, &Split::of_optimum(&optimum));
    assert_eq!(ratios.overhead, Some(1_300));
    assert_eq!(ratios.cost, Some(1_100));
    let nothing = super::ratios(&Split::default(), &Split::default());
    assert_eq!(nothing.overhead, None);
}

fn report() -> Report {
    let (work, outcome) = outcome();
    let figures = figures(&work, &outcome);
    let column = |name: &str| Column {
        name: name.to_owned(),
        about: "a < b & \"c\"".to_owned(),
        is_baseline: false,
        ratios: ratios(&figures.cost, &figures.cost),
        figures: figures.clone(),
    };
    Report {
        history: "<trace>".to_owned(),
        notes: vec!["a note".to_owned()],
        builds: 2,
        from: at(0),
        to: at(170),
        recorded: None,
        optimum: figures.cost,
        optimum_is_exact: true,
        columns: vec![column("one"), column("two")],
    }
}

#[test]
fn the_page_is_whole_and_needs_nothing_else() {
    let page = html(&report());
    for part in [
        "one",
        "two",
        "&lt;trace&gt;",
        "a &lt; b &amp; &quot;c&quot;",
        "$0.33",
    ] {
        assert!(page.contains(part), "{part}");
    }
    for foreign in ["http", "<script", "src=", "url(", "NaN", "inf"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    for tag in [
        "svg", "table", "text", "rect", "p", "li", "h2", "title", "ul",
    ] {
        let opened =
            page.matches(&format!("<{tag} ")).count() + page.matches(&format!("<{tag}>")).count();
        let closed = page.matches(&format!("</{tag}>")).count();
        let begin = format!("<{tag} ");
        let alone = page.split(&begin).skip(1);
        let alone = alone
            .filter(|rest| rest.split('>').next().unwrap().ends_with('/'))
            .count();
        assert_eq!(opened, closed + alone, "{tag}");
    }
}
