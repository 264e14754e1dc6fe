//! Policy files: every key, every problem, and that what is written is read back.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::model::{
    AtLimit, Budget, BudgetEach, IdleTimeout, MarketChoice, Money, OnDemandWhen, Period, Policy,
    Quarantine, Rate, RestAt, Reuse, SleepKind, Span, Superseded, Timestamp, Warm, WarmWindow,
};

fn lines(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(Problem::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

fn policy(text: &str) -> PolicySpec {
    let parsed = parse_policy(text);
    parsed
        .unwrap_or_else(|problems| panic!("{text}\n{}", lines(&problems)))
        .1
}

const EVERYTHING: &str = "\
name: web
select: { projects: [web, \"lib-*\"], images: [debian-12], providers: [ec2] }
limits: { machines: 20, vcpus: 64, builds: 10, launches_per_hour: 100, cost_per_hour: $3 }
budgets:
  - { name: month, amount: $500, per: month, time_zone: europe/berlin, each: project, warn_at: 75%, at_limit: on_approval, roll_over: $50 }
  - { name: one, amount: $0.50, each: build }
market: { buy: spot-with-fallback, on_demand: { longer_than: 2h, deadline_within: 30m, risk_above: 20% } }
idle: { timeout: auto, value_of_wait: $60/h, then: stop, asleep: { machines: 4, timeout: 3d } }
warm:
  windows:
    - { days: mon-fri, hours: \"08:00-18:00\", time_zone: Europe/Berlin, running: 2, asleep: 3 }
    - { days: [sat-mon, wed], hours: 22:00-6:00, running: 1 }
    - { asleep: 1 }
  forecast: true
  cost: $2/day
  max_age: 12h
reuse: { by: project, builds: 50, lifetime: 8h, slots: 2, rest_at: { disk: 95%, memory: 80% } }
share: { weight: 2, superseded: collapse }
health: { quarantine: { failures: 0 } }
";

fn window(days: [u8; 7], (from, to): (u16, u16), running: u32, asleep: u32) -> WarmWindow {
    WarmWindow {
        days: days.map(|day| day == 1),
        from_minute: from,
        to_minute: to,
        time_zone: "UTC".to_owned(),
        running,
        asleep,
    }
}

fn warm_tier() -> Warm {
    let office = WarmWindow {
        time_zone: "Europe/Berlin".to_owned(),
        ..window([1, 1, 1, 1, 1, 0, 0], (480, 1_080), 2, 3)
    };
    Warm {
        windows: vec![
            office,
            window([1, 0, 1, 0, 0, 1, 1], (1_320, 360), 1, 0),
            window([1; 7], (0, 1_440), 0, 1),
        ],
        forecast: true,
        max_cost_per_day: Some(Money::from_micros(2_000_000)),
        max_age: Some(Span::from_secs(12 * 3_600)),
    }
}

fn everything() -> PolicySpec {
    let hours = |hours: u64| Span::from_secs(hours * 3_600);
    let dollars = |dollars: i64| Money::from_micros(dollars * 1_000_000);
    let month = Budget {
        name: "month".to_owned(),
        amount: dollars(500),
        each: BudgetEach::Project,
        per: Period::Month,
        time_zone: "Europe/Berlin".to_owned(),
        warn_at_percent: 75,
        at_limit: AtLimit::OnApproval,
        roll_over: dollars(50),
    };
    let one = Budget {
        name: "one".to_owned(),
        amount: Money::from_micros(500_000),
        each: BudgetEach::Build,
        per: Period::Life,
        time_zone: "UTC".to_owned(),
        warn_at_percent: 80,
        at_limit: AtLimit::Hold,
        roll_over: Money::ZERO,
    };
    PolicySpec {
        projects: vec!["web".to_owned(), "lib-*".to_owned()],
        images: vec!["debian-12".to_owned()],
        providers: vec!["ec2".to_owned()],
        max_machines: Some(20),
        max_vcpus: Some(64),
        max_builds: Some(10),
        max_launches_per_hour: Some(100),
        max_cost_per_hour: Some(Rate::from_micros_per_hour(3_000_000)),
        budgets: vec![month, one],
        idle_timeout: Some(IdleTimeout::Auto),
        value_of_wait: Some(Rate::from_micros_per_hour(60_000_000)),
        sleep: Some(SleepKind::Stop),
        max_asleep: Some(4),
        asleep_timeout: Some(hours(72)),
        warm: Some(warm_tier()),
        market: Some(MarketChoice::SpotWithFallback),
        on_demand: Some(OnDemandWhen {
            longer_than: Some(hours(2)),
            deadline_within: Some(Span::from_secs(1_800)),
            risk_above_percent: Some(20),
        }),
        reuse: Some(Reuse::Project),
        max_lifetime: Some(hours(8)),
        max_builds_per_machine: Some(50),
        slots: Some(2),
        rest_at: Some(RestAt {
            disk_percent: 95,
            inodes_percent: 90,
            memory_percent: 80,
        }),
        weight: Some(2),
        superseded: Some(Superseded::Collapse),
        quarantine: Some(Quarantine { failures: 0 }),
        ..PolicySpec::default()
    }
}

#[test]
fn every_key_is_read() {
    assert_eq!(policy(EVERYTHING), everything());
}

#[test]
fn builds_are_selected_by_labels_and_priority() {
    let spec = policy(
        "name: p\nselect: {labels: {tier: nightly, team: 'a b'}, priority: '>=10'}\n\
         market: spot\nidle: {value_of_wait: $0}\n",
    );
    let labels = spec.labels.iter();
    let labels: Vec<_> = labels
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(labels, [("team", "a b"), ("tier", "nightly")]);
    assert_eq!(spec.priority, Some((10, i32::MAX)));
    assert_eq!(spec.value_of_wait, Some(Rate::from_micros_per_hour(0)));
}

#[test]
fn a_policy_written_for_people_reads_well() {
    insta::assert_snapshot!(crate::policy::document("web", &everything()));
}

#[test]
fn problems_of_sections() {
    let documents = [
        "images: [a]\nselect: {images: [b], projects: [web, web, 'a b', '?'], label: x, priority: 5..1}\n",
        "select: {labels: {tier: nightly, 'a b': x, c: ~}}\nidle: {timeout: 5m, value_of_wait: $1/h}\nwarm: {forecast: true}\nreuse: {slots: 2}\nhealth: {quarantine: {failures: 1}}\n",
        "limits: {vcpus: -1, builds: x, launches_per_hour: 1.5, cost_per_hour: $3/day}\n",
        "budgets:\n  - {name: a, amount: $0, per: month}\n  - {name: a, amount: 5 EUR, per: year, time_zone: Berlin}\n  \
         - {name: b, amount: $1, per: day, warn_at: 80, at_limit: holdd, roll_over: -1, time_zone: Europe/Berln}\n  \
         - {name: b, amount: $1, per: day, warn_at: 0%}\n  - {amount: $1}\n  - {name: b, amount: $2, per: week}\n",
        "budgets:\n  - {name: a, amount: $1, each: build, per: month}\n  - {name: b, amount: $1, each: pipeline, time_zone: UTC, roll_over: $1}\n  \
         - {name: c, amount: $1, each: project, per: life}\n  - {name: d, amount: $1, each: everything}\n",
        "budgets: $5/day\n",
        "budgets: []\n",
        "market: {buy: on-demand, on_demand: {longer_than: 2h}}\n",
        "market: {buy: cheap, on_demand: {risk_above: 120%, longer: 2h, deadline_within: 30}}\n",
        "idle: {timeout: atuo, value_of_wait: priceless}\n",
        "limits: {machines: 3}\nidle: {then: end}\nwarm:\n  windows:\n    - {running: 2, asleep: 2}\n    - {days: mon-fri}\n    - {days: [], hours: '8-18', running: 1}\n    \
         - {days: [mon, fry, weekend], running: 1}\n    - {hours: '08:00-08:00', running: 1}\n    - {hours: '08:60-25:00', running: 1, time_zone: CEST}\n",
        "idle: {then: stop, asleep: {machines: 1}}\nwarm: {windows: [{asleep: 2}], cost: $2/h, forecast: maybe, max_age: 5s}\n",
        "reuse: {by: never, builds: 5, slots: 0, rest_at: {disk: 0%, inode: 90%, memory: half}}\n",
        "reuse: {by: never, builds: 1, slots: 2}\nshare: {weight: 0, superseded: drop}\nhealth: {quarantine: {}}\n",
    ];
    let mut shown = String::new();
    for text in documents {
        let text = format!("name: p\n{text}");
        let problems = parse_policy(&text).expect_err(&text);
        writeln!(shown, "{text}\n{}\n", lines(&problems)).unwrap();
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn all_policies_of_the_repository_are_read() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let (mut names, mut policies) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let parsed = parse_policy(&text)
            .unwrap_or_else(|problems| panic!("{}:{}", path.display(), lines(&problems)));
        assert_eq!(
            Some(parsed.0.as_str()),
            path.file_stem().and_then(|s| s.to_str())
        );
        names.push(parsed.0.clone());
        policies.push(Policy {
            name: parsed.0,
            version: 1,
            spec: parsed.1,
            applied_at: Timestamp::default(),
            rev: 0,
        });
    }
    assert_eq!(crate::policy::unheard(&policies), []);
    names.sort();
    assert_eq!(names, ["default", "nightly", "office-hours", "open-source"]);
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(spec in crate::policy::tests::specs()) {
        let text = crate::policy::document("p", &spec);
        match parse_policy(&text) {
            Ok((name, read)) => {
                prop_assert_eq!(name, "p");
                prop_assert_eq!(&read, &spec, "{}", text);
            }
            Err(problems) => prop_assert!(false, "{}\n{}\n{:?}", text, lines(&problems), spec),
        }
    }

    #[test]
    fn mutated_policies_are_answered(cut in 0..EVERYTHING.len(), length in 0..9_usize, put in ".{0,3}") {
        let mut text = EVERYTHING.to_owned();
        let end = (cut + length).min(text.len());
        text.replace_range(cut..end, &put);
        if let Err(problems) = parse_policy(&text) {
            prop_assert!(problems.is_sorted() && !problems.is_empty());
        }
    }
}
