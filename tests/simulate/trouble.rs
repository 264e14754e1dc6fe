//! Failures of demand arithmetic that only show over time: what a machine that failed leaves behind.

use dormouse::model::{BuildResult, PolicySpec, Span};
use dormouse::simulate::{CloudModel, Faults, Outcome, Planner, Scenario, run, seeded};

/// The day of a seed, with nothing that goes wrong and one machine per image at a time.
fn quiet_day() -> Scenario {
    let mut scenario = seeded(1);
    scenario.faults = Faults::default();
    scenario.disturbances.clear();
    scenario.cloud = CloudModel {
        spread_percent: 0,
        ..CloudModel::default()
    };
    scenario.policies = vec![("default".to_owned(), PolicySpec::default())];
    scenario
}

fn play(scenario: &Scenario) -> Outcome {
    run(scenario, &mut Planner, &mut |_| {}).unwrap()
}

#[test]
fn a_quiet_day_needs_one_attempt_per_build() {
    let scenario = quiet_day();
    let outcome = play(&scenario);
    assert_eq!(outcome.builds.len(), scenario.work.len());
    for build in &outcome.builds {
        assert_eq!((build.result, build.attempts), (BuildResult::Success, 1));
    }
    let fewer = outcome.machines.len() < outcome.builds.len();
    assert!(fewer, "machines are used again");
}

#[test]
fn machines_that_failed_are_no_capacity() {
    // Every second boot fails: the builds behind it get other machines, and none waits for a machine
    // that will never come.
    let mut scenario = quiet_day();
    scenario.work.truncate(12);
    scenario.cloud.boot_failures_per_mille = 400;
    let outcome = play(&scenario);
    assert_eq!(outcome.builds.len(), scenario.work.len());
    assert!(
        outcome
            .machines
            .iter()
            .any(|machine| machine.ready.is_none())
    );
    for build in &outcome.builds {
        let took = build.ended.since(scenario.work[build.work].submit);
        assert!(took < Span::from_secs(6 * 3_600), "{build:?}");
    }
}

#[test]
fn machines_that_take_long_to_end_hold_up_nobody() {
    let mut scenario = quiet_day();
    let quick = play(&scenario);
    scenario.cloud.end = Span::from_secs(3_600);
    let slow = play(&scenario);
    let results = |outcome: &Outcome| outcome.builds.len();
    assert_eq!(results(&quick), results(&slow));
    assert!(slow.builds.iter().all(|build| build.attempts == 1));
}
