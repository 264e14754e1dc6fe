//! The models on small histories whose course can be told by hand.

use super::*;
use crate::model::{BuildResult, PolicySpec};
use crate::simulate::catalogue::make_up;
use crate::simulate::{CloudModel, Outcome, Scenario, run};

/// Boots take 30 s, ends 5 s, nothing varies.
fn play(baseline: Baseline, work: &[(u64, u64)]) -> Outcome {
    let work: Vec<Work> = work
        .iter()
        .map(|(submit, run)| Work {
            submit: at(*submit),
            run: Span::from_secs(*run),
            project: "p".to_owned(),
            name: "b".to_owned(),
            ..Work::default()
        })
        .collect();
    let images = make_up(&work, crate::model::Rate::from_micros_per_hour(3_600_000)).unwrap();
    let unlimited = PolicySpec {
        max_machines: Some(u32::MAX),
        ..PolicySpec::default()
    };
    let mut decide = baseline.decide(&images, &work, 1);
    let scenario = Scenario {
        policies: vec![("no limit".to_owned(), unlimited)],
        images,
        work,
        cloud: CloudModel {
            boot: Span::from_secs(30),
            end: Span::from_secs(5),
            spread_percent: 0,
            ..CloudModel::default()
        },
        seed: 1,
        ..Scenario::default()
    };
    let outcome = run(&scenario, &mut *decide, &mut |_| {}).unwrap();
    let results: Vec<_> = outcome.builds.iter().map(|build| build.result).collect();
    assert_eq!(results, vec![BuildResult::Success; scenario.work.len()]);
    outcome
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(1_767_571_200_000_000) + Span::from_secs(seconds)
}

/// Seconds from the first to the last thing of each machine, to the next ten.
fn lives(outcome: &Outcome) -> Vec<u64> {
    let life =
        |from: Timestamp, to: Timestamp| (to.since(from).micros() + 5_000_000) / 10_000_000 * 10;
    outcome
        .machines
        .iter()
        .map(|machine| life(machine.created, machine.gone))
        .collect()
}

#[test]
fn fresh_machines_run_one_build_each() {
    let outcome = play(Baseline::Fresh, &[(0, 60), (10, 60), (500, 60)]);
    assert_eq!(outcome.machines.len(), 3);
    assert!(
        outcome
            .machines
            .iter()
            .all(|machine| machine.busy.len() == 1)
    );
    assert!(outcome.builds.iter().all(|build| build.cold));
    // 30 s of boot, 60 s of work, 5 s to go.
    assert!(
        lives(&outcome).iter().all(|life| (90..=100).contains(life)),
        "{:?}",
        lives(&outcome)
    );
}

#[test]
fn latent_workers_wait_ten_minutes_for_the_next_build() {
    // The history needs one at once, so there is one worker.
    let outcome = play(Baseline::Latent, &[(0, 60), (600, 60), (1_400, 60)]);
    let builds: Vec<_> = outcome
        .machines
        .iter()
        .map(|machine| machine.busy.len())
        .collect();
    assert_eq!(builds, [2, 1]);
    // Ready at 30, builds until 90 and 660, gone ten minutes and the end later.
    assert_eq!(lives(&outcome)[0], 1_270);
    assert_eq!(
        outcome.builds[1]
            .started
            .map(|start| start.since(at(600)) < Span::from_secs(1)),
        Some(true)
    );
}

#[test]
fn latent_workers_are_a_fixed_set() {
    // Two at once at most if nobody waited; boots make them three, of which one waits.
    let outcome = play(Baseline::Latent, &[(0, 100), (60, 100), (110, 100)]);
    assert!(outcome.machines.len() <= 2, "{}", outcome.machines.len());
}

#[test]
fn fleeting_keeps_one_at_hand_while_builds_come() {
    let outcome = play(Baseline::Fleeting, &[(0, 60), (3_000, 60), (9_000, 60)]);
    // The second and third find the machine at hand.
    let waits: Vec<_> = outcome
        .builds
        .iter()
        .zip([0, 3_000, 9_000])
        .map(|(build, submit)| build.started.unwrap().since(at(submit)).micros() / 1_000_000)
        .collect();
    assert!(waits[0] >= 30 && waits[1] < 2 && waits[2] < 2, "{waits:?}");
    // Behind the last submission nothing is kept for longer than the idle time.
    let last = outcome
        .machines
        .iter()
        .map(|machine| machine.gone)
        .max()
        .unwrap();
    assert!(last <= at(9_000 + 60 + 20 * 60 + 60), "{last}");
}

#[test]
fn more_spares_cost_more_and_wait_less() {
    let burst: Vec<(u64, u64)> = (0..20).map(|n| (3_600 + n / 4 * 900, 120)).collect();
    let history: Vec<(u64, u64)> = std::iter::once((0, 60)).chain(burst).collect();
    let cost = |outcome: &Outcome| {
        outcome
            .money
            .values()
            .map(|money| money.micros())
            .sum::<i64>()
    };
    let cold = |outcome: &Outcome| outcome.builds.iter().filter(|build| build.cold).count();
    let (one, five) = (
        play(Baseline::Fleeting, &history),
        play(Baseline::FleetingFive, &history),
    );
    assert!(cost(&five) > cost(&one));
    assert!(cold(&five) < cold(&one));
}

#[test]
fn jenkins_ends_what_was_idle_for_half_an_hour() {
    let outcome = play(Baseline::Jenkins, &[(0, 60), (0, 60), (0, 60), (7_200, 60)]);
    let early = outcome
        .machines
        .iter()
        .filter(|machine| machine.gone < at(7_000));
    let lives: Vec<_> = early
        .map(|machine| machine.gone.since(machine.created).micros() / 1_000_000)
        .collect();
    assert!(!lives.is_empty());
    assert!(
        lives.iter().all(|life| (1_800..2_000).contains(life)),
        "{lives:?}"
    );
}
