//! Schedules with literal times, and what they cost.

use super::*;
use crate::model::Billing;

fn run(low: u64, likely: u64, high: u64) -> Spread<Span> {
    Spread {
        low: Span::from_secs(low),
        likely: Span::from_secs(likely),
        high: Span::from_secs(high),
    }
}

fn job(needs: &[usize]) -> Job {
    Job {
        needs: needs.to_vec(),
        run: run(50, 100, 200),
        ..Job::default()
    }
}

/// Machines at a micro-dollar a second that boot in 10 s and go after a minute.
fn work(jobs: &[&[usize]]) -> Work {
    Work {
        jobs: jobs.iter().map(|needs| job(needs)).collect(),
        kinds: vec![Kind {
            rate: Rate::from_micros_per_hour(3_600),
            boot: run(5, 10, 20),
            idle: Span::from_secs(60),
            slots: 1,
            billing: Billing::default(),
        }],
        ..Work::default()
    }
}

fn micros(low: i64, likely: i64, high: i64) -> Spread<Money> {
    Spread {
        low: Money::from_micros(low),
        likely: Money::from_micros(likely),
        high: Money::from_micros(high),
    }
}

#[test]
fn a_chain_runs_on_one_machine_one_after_the_other() {
    let estimate = estimate(&work(&[&[], &[0], &[1]]));
    assert_eq!(estimate.took, run(155, 310, 620));
    assert_eq!(estimate.cost, micros(155, 310, 620));
    assert_eq!(estimate.idle, micros(60, 60, 60));
    assert_eq!(
        estimate.jobs[0].cost,
        micros(55, 110, 220),
        "it pays the boot"
    );
    assert_eq!(estimate.jobs[2].start, run(105, 210, 420));
}

#[test]
fn what_fans_out_runs_side_by_side() {
    let estimate = estimate(&work(&[&[], &[0], &[0], &[0]]));
    // The first machine goes on at once, the others boot.
    assert_eq!(estimate.took, run(110, 220, 440));
    assert_eq!(estimate.jobs[1].start, run(55, 110, 220));
    assert_eq!(estimate.jobs[2].start, run(60, 120, 240));
    assert_eq!(estimate.cost, micros(215, 430, 860));
}

#[test]
fn limited_machines_take_builds_in_turn() {
    let mut work = work(&[&[], &[], &[], &[]]);
    work.most = Some(2);
    let estimate = estimate(&work);
    assert_eq!(estimate.took, run(105, 210, 420));
    assert_eq!(estimate.cost, micros(210, 420, 840), "two boots, four runs");
    assert_eq!(estimate.idle, micros(120, 120, 120));
}

#[test]
fn a_warm_machine_costs_no_boot_and_slots_share_their_price() {
    let mut work = work(&[&[], &[]]);
    work.given = vec![Given {
        slots: 2,
        ..Given::default()
    }];
    work.jobs[0].given = Some(0);
    work.jobs[1].given = Some(0);
    let estimate = estimate(&work);
    assert_eq!(estimate.took, run(50, 100, 200));
    assert_eq!(estimate.cost, micros(50, 100, 200));
    assert_eq!(estimate.jobs[1].cost, micros(25, 50, 100));
}

#[test]
fn another_kind_waits_for_room_and_boots_then() {
    let mut work = work(&[&[], &[]]);
    work.kinds.push(work.kinds[0].clone());
    work.jobs[1].kind = 1;
    work.most = Some(1);
    let estimate = estimate(&work);
    assert_eq!(estimate.jobs[1].start, run(60, 120, 240));
    assert_eq!(
        estimate.idle,
        micros(60, 60, 60),
        "the first makes room at once"
    );
}

#[test]
fn tries_that_fail_take_time_and_money_before_the_one_that_counts() {
    let mut work = work(&[&[], &[0]]);
    work.jobs[0].lost = run(0, 30, 90);
    let estimate = estimate(&work);
    assert_eq!(
        estimate.jobs[0].start,
        run(5, 40, 110),
        "boot, and what is lost"
    );
    assert_eq!(estimate.jobs[1].start, run(55, 140, 310));
    assert_eq!(estimate.took, run(105, 240, 510));
    assert_eq!(estimate.cost, micros(105, 240, 510));
    assert_eq!(estimate.jobs[0].cost, micros(55, 140, 310));
}

#[test]
fn begun_pieces_are_paid_for_whole() {
    let mut work = work(&[&[]]);
    work.kinds[0].billing = Billing {
        quantum: Span::from_secs(3_600),
        minimum: Span::ZERO,
    };
    let hour = estimate(&work);
    // Boot, work and a minute of idling are 115, 170 and 280 seconds of the hour.
    assert_eq!(hour.unused, micros(3_320, 3_430, 3_485));
    assert_eq!(hour.idle, micros(3_380, 3_490, 3_545));
    assert_eq!(
        hour.cost,
        micros(55, 110, 220),
        "builds pay for their own time"
    );
    work.kinds[0].billing = Billing {
        quantum: Span::ZERO,
        minimum: Span::from_secs(150),
    };
    assert_eq!(
        estimate(&work).unused,
        micros(0, 0, 35),
        "up to the least that is paid for"
    );
}

#[test]
fn a_piece_that_had_begun_is_paid_for_anyway() {
    let mut work = work(&[&[]]);
    work.kinds[0].billing.quantum = Span::from_secs(3_600);
    work.jobs[0].given = Some(0);
    let mut given = |age| {
        work.given = vec![Given {
            age: Span::from_secs(age),
            slots: 1,
            ..Given::default()
        }];
        estimate(&work).unused
    };
    assert_eq!(
        given(100),
        micros(0, 0, 0),
        "all of it fits into the begun hour"
    );
    // 110, 160 and 260 seconds: all but the first begin another hour.
    assert_eq!(given(3_480), micros(0, 3_460, 3_560));
}
