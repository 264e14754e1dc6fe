//! Runs of small histories, told as a user would.

use std::collections::BTreeMap;

use crate::model::{
    BuildResult, CapabilityValue, Category, IdleTimeout, ImageSpec, Login, MarketChoice, Money,
    PolicySpec, Rate, Requirement, Shape, SleepKind, Span, Timestamp,
};

use super::{CloudModel, Outcome, Planner, Scenario, SimulationError, Work, run};

const START: Timestamp = Timestamp::from_micros(1_750_000_000_000_000);

fn image(capability: &str) -> ImageSpec {
    ImageSpec {
        description: String::new(),
        provider: "cloud".to_owned(),
        reference: serde_json::Value::Null,
        login: Login {
            user: "build".to_owned(),
        },
        shapes: vec![Shape {
            name: "small".to_owned(),
            vcpus: 2,
            memory_mib: 4_096,
            // A tenth of a cent a second.
            price_usd_micro_per_hour: Rate::from_micros_per_hour(3_600_000),
        }],
        wish: None,
        slots: 1,
        billing: None,
        capabilities: BTreeMap::from([(capability.to_owned(), CapabilityValue::Flag(true))]),
        ready: None,
        probes: BTreeMap::new(),
        boot_timeout: Span::from_secs(300),
    }
}

fn work(at: u64, run: u64, needs: &str) -> Work {
    Work {
        submit: START + Span::from_secs(at),
        run: Span::from_secs(run),
        project: "app".to_owned(),
        name: "test".to_owned(),
        requires: BTreeMap::from([(needs.to_owned(), Requirement::Present)]),
        ..Work::default()
    }
}

/// Boots take exactly 26 s, and idle machines stay for five minutes.
fn scenario(work: Vec<Work>) -> Scenario {
    Scenario {
        images: vec![
            ("python".to_owned(), image("python")),
            ("go".to_owned(), image("go")),
        ],
        policies: vec![(
            "default".to_owned(),
            PolicySpec {
                idle_timeout: Some(IdleTimeout::After(Span::from_secs(300))),
                ..PolicySpec::default()
            },
        )],
        work,
        cloud: CloudModel {
            spread_percent: 0,
            ..CloudModel::default()
        },
        is_watched: true,
        ..Scenario::default()
    }
}

fn play(scenario: &Scenario) -> Outcome {
    run(scenario, &mut Planner, &mut |_| {}).unwrap()
}

#[test]
fn a_build_boots_a_machine_and_the_next_one_finds_it_warm() {
    let outcome = play(&scenario(vec![
        work(0, 60, "python"),
        work(200, 60, "python"),
    ]));
    assert_eq!(outcome.machines.len(), 1);
    let [first, second] = outcome.builds.as_slice() else {
        panic!("two builds are over: {:?}", outcome.builds);
    };
    assert!(first.cold && !second.cold);
    assert_eq!(first.started, Some(START + Span::from_millis(26_250)));
    assert_eq!(second.started, Some(START + Span::from_millis(200_250)));
    let machine = &outcome.machines[0];
    assert_eq!(machine.ready, Some(START + Span::from_secs(26)));
    // Five minutes after the end of the second, and five seconds to be gone.
    let gone = START + Span::from_millis(260_250) + Span::from_secs(305);
    assert_eq!(machine.gone, gone);
    assert_eq!(machine.busy.len(), 2);
    // Every second of its life is in one category.
    let spent: Money = outcome.money.values().copied().sum();
    assert_eq!(spent, machine.rate.cost_of(gone.since(START)));
    assert_eq!(outcome.money[&Category::Boot], Money::from_micros(26_000));
    assert_eq!(outcome.time[&Category::Drain], Span::from_secs(5));
}

#[test]
fn builds_that_need_others_follow_them() {
    let mut last = work(0, 10, "go");
    last.needs = vec![0, 1];
    let outcome = play(&scenario(vec![
        work(0, 60, "python"),
        work(0, 90, "go"),
        last,
    ]));
    let ended: Vec<usize> = outcome.builds.iter().map(|build| build.work).collect();
    assert_eq!(ended, [0, 1, 2]);
    assert!(
        outcome
            .builds
            .iter()
            .all(|b| b.result == BuildResult::Success)
    );
    assert!(
        !outcome.builds[2].cold,
        "it finds the machine of what it needs"
    );
}

#[test]
fn machines_sleep_where_their_policy_says_so() {
    let mut scenario = scenario(vec![work(0, 60, "python"), work(3_600, 60, "python")]);
    scenario.policies[0].1.sleep = Some(SleepKind::Stop);
    let outcome = play(&scenario);
    let machine = &outcome.machines[0];
    assert_eq!((outcome.machines.len(), machine.asleep.len()), (1, 2));
    assert!(outcome.builds[1].cold);
    // Woken in 21 s.
    let woken = START + Span::from_secs(3_621);
    assert_eq!(
        outcome.builds[1].started,
        Some(woken + Span::from_millis(250))
    );
    assert_eq!(machine.asleep[0].1, START + Span::from_secs(3_600));
}

#[test]
fn spot_machines_cost_less_and_are_taken_back() {
    let mut scenario = scenario((0..40).map(|n| work(n * 600, 1_800, "python")).collect());
    let dear = play(&scenario).money[&Category::Work];
    scenario.policies[0].1.market = Some(MarketChoice::Spot);
    scenario.cloud.reclaims_per_mille_hour = 0;
    let cheap = play(&scenario).money[&Category::Work];
    assert_eq!(cheap.micros(), dear.micros() * 2 / 5);
    scenario.cloud.reclaims_per_mille_hour = 300;
    let outcome = play(&scenario);
    assert!(outcome.builds.iter().any(|build| build.attempts > 1));
    assert!(outcome.money.contains_key(&Category::Retry));
}

#[test]
fn equal_seeds_play_equally() {
    let mut scenario = scenario((0..50).map(|n| work(n * 40, 100, "go")).collect());
    scenario.cloud.spread_percent = 40;
    let one = play(&scenario);
    assert_eq!(one, play(&scenario));
    scenario.seed = 1;
    assert_ne!(one.hash, play(&scenario).hash);
}

#[test]
fn what_no_image_can_build_is_refused() {
    let error = run(
        &scenario(vec![work(0, 1, "rust")]),
        &mut Planner,
        &mut |_| {},
    )
    .unwrap_err();
    assert!(
        matches!(error, SimulationError::NoImage { work: 0, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("rust"), "{error}");
    let unordered = scenario(vec![work(5, 1, "go"), work(0, 1, "go")]);
    let error = run(&unordered, &mut Planner, &mut |_| {}).unwrap_err();
    assert_eq!(error, SimulationError::Unordered(1));
}
