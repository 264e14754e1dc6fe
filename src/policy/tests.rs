//! Which policies speak of what, which of them holds, and what is shown of it.

mod conflicts;
mod unheard;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::select::is_like;
use super::write::is_of;
use super::*;
use crate::model::{
    AtLimit, Budget, BudgetEach, IdleTimeout, MarketChoice, Money, OnDemandWhen, Period, Policy,
    PolicySpec, Quarantine, Rate, RestAt, Reuse, SleepKind, Span, Superseded, Timestamp, Warm,
    WarmWindow,
};

fn named(name: &str, spec: PolicySpec) -> Policy {
    Policy {
        name: name.to_owned(),
        version: 3,
        spec,
        applied_at: Timestamp::default(),
        rev: 0,
    }
}

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().copied().map(str::to_owned).collect()
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

/// A policy that selects; the fields in the order of the file.
fn selecting(
    projects: &[&str],
    images: &[&str],
    providers: &[&str],
    labelled: &[(&str, &str)],
) -> PolicySpec {
    PolicySpec {
        projects: texts(projects),
        images: texts(images),
        providers: texts(providers),
        labels: labels(labelled),
        ..PolicySpec::default()
    }
}

#[test]
fn patterns_are_names_with_stars() {
    for (pattern, name, is_one) in [
        ("web", "web", true),
        ("web", "web2", false),
        ("*", "", true),
        ("lib-*", "lib-a", true),
        ("lib-*", "lib", false),
        ("*-nightly", "web-nightly", true),
        ("a*b*c", "a-b-b-c", true),
        ("a*b*c", "a-c-b", false),
        ("a*a", "a", false),
        ("*x*", "axa", true),
        ("é*", "éa", true),
    ] {
        assert_eq!(is_like(pattern, name), is_one, "{pattern} {name}");
    }
}

#[test]
fn a_policy_speaks_of_what_its_selectors_have_in_common() {
    let nightly = labels(&[("tier", "nightly"), ("os", "linux")]);
    let subject = Subject {
        project: Some("web"),
        image: Some("debian-12"),
        provider: Some("ec2"),
        labels: Some(&nightly),
        priority: Some(10),
    };
    let prioritised = |priority| PolicySpec {
        priority: Some(priority),
        ..PolicySpec::default()
    };
    for (spec, speaks) in [
        (PolicySpec::default(), true),
        (selecting(&["lib", "w*"], &[], &[], &[]), true),
        (selecting(&["lib"], &[], &[], &[]), false),
        (selecting(&["web"], &["debian-*"], &["ec2"], &[]), true),
        (selecting(&["web"], &["alpine"], &["ec2"], &[]), false),
        (selecting(&[], &[], &["qemu"], &[]), false),
        (selecting(&[], &[], &[], &[("tier", "night*")]), true),
        (
            selecting(&[], &[], &[], &[("tier", "nightly"), ("os", "bsd")]),
            false,
        ),
        (selecting(&[], &[], &[], &[("team", "*")]), false),
        (prioritised((10, i32::MAX)), true),
        (prioritised((11, i32::MAX)), false),
        (prioritised((0, 9)), false),
    ] {
        assert_eq!(speaks_of(&spec, &subject), speaks, "{spec:?}");
    }
    // What is not known of a thing is spoken of by those alone that do not ask.
    let unknown = Subject::default();
    assert!(speaks_of(&PolicySpec::default(), &unknown));
    for spec in [
        selecting(&["*"], &[], &[], &[]),
        selecting(&[], &["*"], &[], &[]),
        selecting(&[], &[], &["*"], &[]),
        selecting(&[], &[], &[], &[("a", "*")]),
        prioritised((i32::MIN, i32::MAX)),
    ] {
        assert!(!speaks_of(&spec, &unknown), "{spec:?}");
    }
}

#[test]
fn the_most_specific_comes_first() {
    let prioritised = PolicySpec {
        priority: Some((5, 5)),
        ..PolicySpec::default()
    };
    let in_order = [
        selecting(&["p"], &[], &[], &[("a", "b")]),
        selecting(&[], &["i"], &[], &[("a", "b")]),
        prioritised,
        selecting(&["p"], &["i"], &["v"], &[]),
        selecting(&["p"], &["i"], &[], &[]),
        selecting(&["p"], &["i", "j*"], &[], &[]),
        selecting(&["p"], &[], &["v"], &[]),
        selecting(&["p"], &[], &[], &[]),
        selecting(&["p*"], &[], &[], &[]),
        selecting(&[], &["i"], &["v"], &[]),
        selecting(&[], &["i"], &[], &[]),
        selecting(&[], &["i*", "*j"], &[], &[]),
        selecting(&[], &[], &["v"], &[]),
        PolicySpec::default(),
    ];
    // The names run against the order, so that they cannot be what decides.
    let policies: Vec<Policy> = (0..in_order.len())
        .zip(in_order)
        .map(|(place, spec)| named(&format!("p{:02}", 99 - place), spec))
        .collect();
    for pair in policies.windows(2) {
        let [first, second] = pair else {
            unreachable!()
        };
        assert!(
            Specificity::of(first) < Specificity::of(second),
            "{:?}\n{:?}",
            first.spec,
            second.spec
        );
    }
    let equal = |name| Specificity::of(&named(name, PolicySpec::default()));
    assert!(equal("a") < equal("b"), "the name has the last word");
}

#[test]
fn what_no_policy_says_is_built_in() {
    let nothing = effective([], &Subject::default());
    assert_eq!(nothing.terms, Terms::built_in());
    assert!(
        nothing
            .sources
            .values()
            .all(|from| *from == Source::BuiltIn)
    );
    let knobs: Vec<&str> = nothing.sources.keys().map(|knob| knob.0).collect();
    let mut known = write::KNOBS.to_vec();
    known.sort_unstable();
    assert_eq!(knobs, known, "every knob has a place in what is shown");
    let limit = rows(&nothing)
        .into_iter()
        .find(|row| row.key == "reuse.builds");
    assert_eq!(limit.unwrap().value, None, "no limit is shown as none");
}

#[test]
fn a_warm_tier_can_be_overridden_with_nothing() {
    let warm = |warm| PolicySpec {
        warm: Some(warm),
        ..PolicySpec::default()
    };
    let forecast = Warm {
        forecast: true,
        ..Warm::default()
    };
    let policies = [
        named("all", warm(forecast)),
        named(
            "web",
            PolicySpec {
                projects: texts(&["web"]),
                ..warm(Warm::default())
            },
        ),
    ];
    let of = |project| {
        let subject = Subject {
            project,
            ..Subject::default()
        };
        effective(&policies, &subject).terms.warm.forecast
    };
    assert_eq!((of(None), of(Some("web"))), (true, false));
}

/// Numbers that decide what a generated policy says.
struct Dice {
    rolls: std::vec::IntoIter<u32>,
}

impl Dice {
    /// Below `sides`; 0 once the numbers are used up.
    fn roll(&mut self, sides: u32) -> u32 {
        self.rolls.next().unwrap_or(0) % sides
    }

    fn one<T: Copy, const N: usize>(&mut self, of: [T; N]) -> T {
        of[self.roll(u32::try_from(N).unwrap()) as usize]
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.roll(3) == 0).then(|| make(self))
    }

    fn some<T>(&mut self, most: u32, make: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.roll(most + 1)).map(|_| make(self)).collect()
    }

    fn names<const N: usize>(&mut self, of: [&str; N]) -> Vec<String> {
        let mut names = self.some(2, |dice| dice.one(of).to_owned());
        names.dedup();
        names
    }

    fn span(&mut self) -> Span {
        Span::from_secs(u64::from(60 + self.roll(1_000_000)))
    }

    fn rate(&mut self) -> Rate {
        Rate::from_micros_per_hour(u64::from(self.roll(100_000_000)))
    }

    fn money(&mut self) -> Money {
        Money::from_micros(i64::from(1 + self.roll(2_000_000_000)))
    }

    fn spec(&mut self) -> PolicySpec {
        let mut spec = PolicySpec {
            projects: self.names(["web", "lib-*", "null", "12"]),
            images: self.names(["debian-12", "*", "a+b"]),
            providers: self.names(["ec2", "lo*"]),
            max_machines: self.maybe(|dice| 100 + dice.roll(9)),
            max_vcpus: self.maybe(|dice| dice.roll(100)),
            max_builds: self.maybe(|dice| dice.roll(100)),
            max_launches_per_hour: self.maybe(|dice| dice.roll(100)),
            max_cost_per_hour: self.maybe(Self::rate),
            budgets: self.some(3, Self::budget),
            ..PolicySpec::default()
        };
        for (place, budget) in (0..).zip(&mut spec.budgets) {
            budget.name = format!("b{place}");
        }
        self.market(&mut spec);
        spec.value_of_wait = self.maybe(Self::rate);
        spec.weight = self.maybe(|dice| 1 + dice.roll(10));
        spec.superseded = self
            .maybe(|dice| dice.one([Superseded::Keep, Superseded::Collapse, Superseded::Cancel]));
        // What selects builds says nothing of machines.
        if self.roll(3) == 0 {
            let labels = self.names(["nightly", "a: b", "{x}", "\"q\" \\", "é *"]);
            spec.labels = (0..)
                .zip(labels)
                .map(|(n, v)| (format!("l{n}"), v))
                .collect();
            spec.priority = self.maybe(Self::priority);
        } else {
            self.machines(&mut spec);
        }
        spec
    }

    fn priority(&mut self) -> (i32, i32) {
        self.one([
            (i32::MIN, -1),
            (10, i32::MAX),
            (-3, -3),
            (-5, 7),
            (i32::MIN, i32::MAX),
        ])
    }

    fn market(&mut self, spec: &mut PolicySpec) {
        let choices = [
            MarketChoice::OnDemand,
            MarketChoice::Spot,
            MarketChoice::SpotWithFallback,
        ];
        spec.market = self.maybe(|dice| dice.one(choices));
        if spec.market != Some(MarketChoice::OnDemand) {
            spec.on_demand = self.maybe(|dice| OnDemandWhen {
                longer_than: dice.maybe(Self::span),
                deadline_within: dice.maybe(Self::span),
                risk_above_percent: dice.maybe(|dice| dice.roll(101)),
            });
        }
    }

    fn budget(&mut self) -> Budget {
        let each = self.one([
            BudgetEach::All,
            BudgetEach::Project,
            BudgetEach::Image,
            BudgetEach::Pipeline,
            BudgetEach::Build,
        ]);
        let lives = matches!(each, BudgetEach::Pipeline | BudgetEach::Build);
        let zone = self.one(["UTC", "Europe/Berlin", "Etc/GMT+5"]);
        let per = self.one([Period::Hour, Period::Day, Period::Week, Period::Month]);
        Budget {
            name: String::new(),
            amount: self.money(),
            each,
            per: if lives { Period::Life } else { per },
            time_zone: if lives { "UTC" } else { zone }.to_owned(),
            warn_at_percent: 1 + self.roll(100),
            at_limit: self.one([AtLimit::Hold, AtLimit::Fail, AtLimit::OnApproval]),
            roll_over: if lives { Money::ZERO } else { self.money() },
        }
    }

    fn machines(&mut self, spec: &mut PolicySpec) {
        spec.idle_timeout = self.maybe(|dice| {
            let after = IdleTimeout::After(dice.span());
            dice.one([IdleTimeout::Auto, after])
        });
        spec.sleep =
            self.maybe(|dice| dice.one([SleepKind::Never, SleepKind::Stop, SleepKind::Hibernate]));
        let sleeps = spec.sleep != Some(SleepKind::Never);
        if sleeps {
            spec.max_asleep = self.maybe(|dice| 20 + dice.roll(5));
            spec.asleep_timeout = self.maybe(Self::span);
        }
        spec.warm = self.maybe(|dice| Warm {
            windows: dice.some(2, |dice| dice.window(sleeps)),
            forecast: dice.roll(2) == 0,
            max_cost_per_day: dice.maybe(Self::money),
            max_age: dice.maybe(Self::span),
        });
        spec.reuse = self.maybe(|dice| dice.one([Reuse::Never, Reuse::Project, Reuse::Any]));
        let most = if spec.reuse == Some(Reuse::Never) {
            1
        } else {
            9
        };
        spec.max_builds_per_machine = self.maybe(|dice| 1 + dice.roll(most));
        spec.slots = self.maybe(|dice| 1 + dice.roll(most));
        spec.max_lifetime = self.maybe(Self::span);
        spec.rest_at = self.maybe(|dice| RestAt {
            disk_percent: 1 + dice.roll(100),
            inodes_percent: 1 + dice.roll(100),
            memory_percent: 1 + dice.roll(100),
        });
        spec.quarantine = self.maybe(|dice| Quarantine {
            failures: dice.roll(5),
        });
    }

    fn window(&mut self, sleeps: bool) -> WarmWindow {
        let mut days = [(); 7].map(|()| self.roll(2) == 0);
        days[self.roll(7) as usize] = true;
        let from_minute = self.one([0, 480, 1_320, 1_439]);
        WarmWindow {
            days,
            from_minute,
            to_minute: self.one([360, 1_080, 1_440]),
            time_zone: self.one(["UTC", "America/New_York"]).to_owned(),
            running: self.roll(20),
            asleep: if sleeps { self.roll(20) } else { 0 },
        }
    }
}

/// Policies as files can say them.
pub(crate) fn specs() -> impl Strategy<Value = PolicySpec> {
    let numbers = prop::collection::vec(any::<u32>(), 0..160);
    numbers.prop_map(|rolls| {
        let rolls = rolls.into_iter();
        Dice { rolls }.spec()
    })
}

proptest! {
    #[test]
    fn every_knob_comes_from_the_most_specific_policy_that_sets_it(
        specs in prop::collection::vec(specs(), 0..6),
    ) {
        let policies: Vec<Policy> = (0..).zip(specs)
            .map(|(n, spec): (u32, _)| named(&format!("p{n}"), spec))
            .collect();
        let labels = labels(&[("l0", "nightly"), ("l1", "a: b")]);
        let subject = Subject {
            project: Some("web"),
            image: Some("debian-12"),
            provider: Some("local"),
            labels: Some(&labels),
            priority: Some(10),
        };
        let found = effective(&policies, &subject);
        prop_assert_eq!(&found, &effective(policies.iter().rev(), &subject), "any order will do");

        let mut speaking: Vec<&Policy> = policies.iter()
            .filter(|policy| speaks_of(&policy.spec, &subject))
            .collect();
        speaking.sort_by_key(|policy| Specificity::of(policy));
        let shown = rows(&found);
        for (knob, source) in &found.sources {
            let says = |policy: &&Policy| said(&policy.spec).iter().any(|it| is_of(it.key, knob.0));
            let first = speaking.iter().find(|policy| says(policy));
            let expected = first.map_or(Source::BuiltIn, |policy| Source::Policy {
                name: policy.name.clone(),
                version: 3,
            });
            prop_assert_eq!(source, &expected, "{:?}", knob);
            let told: Vec<_> = shown.iter().filter(|row| is_of(row.key, knob.0)).collect();
            prop_assert!(!told.is_empty(), "{:?}", knob);
            let Some(policy) = first else { continue };
            let all = said(&policy.spec);
            let values: Vec<_> = all.iter()
                .filter(|it| is_of(it.key, knob.0) && it.value != "{}")
                .map(|it| Some(it.value.as_str()))
                .collect();
            let told: Vec<_> = told.iter().filter(|row| row.value.is_some())
                .map(|row| row.value.as_deref()).collect();
            prop_assert_eq!(told, values, "{:?}", knob);
        }
    }
}
