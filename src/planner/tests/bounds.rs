//! Limits and budgets over random snapshots. Every plan goes through the audit, which counts
//! everything anew.

use super::budgets::budget;
use super::limits::projects;
use super::*;
use crate::model::{AtLimit, BudgetEach, Period, PipelineId};

/// Random limits and budgets over random images, projects and rules.
fn any_limits() -> impl Strategy<Value = Snapshot> {
    let scope = (
        prop::option::of(0_usize..6),
        prop::option::of(0_usize..3),
        prop::option::of(0_u32..2),
    );
    let most = (
        prop::option::of(0_u32..12),
        prop::option::of(0_u32..40),
        prop::option::of(0_u32..12),
        prop::option::of(0_u32..8),
        prop::option::of(0_u64..300),
    );
    let limits = prop::collection::vec((scope.clone(), most), 0..4);
    let budgets = prop::collection::vec((scope, 0_i64..400, 0_u8..6), 0..3);
    let launches = prop::collection::vec((0_u64..5_000, 0_usize..6, 0_usize..3), 0..9);
    let dice = prop::collection::vec(any::<u32>(), 32);
    (any_snapshot(), limits, budgets, launches, dice).prop_map(
        |(mut snapshot, limits, budgets, mut launches, dice)| {
            projects(&mut snapshot, &[1, 3, 7]);
            dress(&mut snapshot, &dice);
            let images = snapshot.images.len();
            let scope =
                |(image, project, rule): (Option<usize>, Option<usize>, Option<u32>)| Scope {
                    images: image.map(|place| BTreeSet::from([ImageIndex(place % images)])),
                    projects: project.map(|place| BTreeSet::from([ProjectIndex(place)])),
                    rule: rule.map(Rule),
                };
            snapshot
                .limits
                .extend(limits.into_iter().map(|(any, most)| Limit {
                    name: "other".to_owned(),
                    scope: scope(any),
                    machines: most.0,
                    vcpus: most.1,
                    builds: most.2,
                    launches_per_hour: most.3,
                    cost_per_hour: most.4.map(Rate::from_micros_per_hour),
                }));
            snapshot.budgets = budgets
                .into_iter()
                .map(|(any, amount, kind)| any_budget(scope(any), amount, kind))
                .collect();
            launches.sort_unstable_by(|one, two| two.cmp(one));
            let view = |(ago, image, project): (u64, usize, usize)| LaunchView {
                at: NOW - Span::from_secs(ago),
                image: ImageIndex(image % images),
                project: Some(ProjectIndex(project)),
                rules: Vec::new(),
            };
            snapshot.launches = launches.into_iter().map(view).collect();
            snapshot
        },
    )
}

fn any_budget(scope: Scope, amount: i64, kind: u8) -> BudgetView {
    let (each, per) = match kind {
        0 => (BudgetEach::All, Period::Day),
        1 => (BudgetEach::Project, Period::Day),
        2 => (BudgetEach::Image, Period::Day),
        3 => (BudgetEach::Build, Period::Day),
        4 => (BudgetEach::Pipeline, Period::Life),
        _ => (BudgetEach::Build, Period::Life),
    };
    BudgetView {
        scope,
        at_limit: if amount % 2 == 0 {
            AtLimit::Hold
        } else {
            AtLimit::Fail
        },
        ..budget(amount, each, per)
    }
}

/// Gives classes, machines and offerings what limits ask for.
fn dress(snapshot: &mut Snapshot, dice: &[u32]) {
    let mut dice = dice.iter().copied().cycle();
    let mut roll = |sides: u32| dice.next().unwrap() % sides;
    for class in snapshot.classes.values_mut() {
        class.project = ProjectIndex(roll(3) as usize);
        class.timeout = Span::from_secs(u64::from(roll(7_200)));
        class.rules = (0..2).filter(|_| roll(2) == 0).map(Rule).collect();
    }
    for image in &mut snapshot.images {
        image.boot_timeout = Span::from_secs(u64::from(roll(300)));
        for offering in &mut image.offerings {
            offering.vcpus = 1 + roll(8);
        }
    }
    let mut builds = BTreeMap::new();
    for (id, machine) in &mut snapshot.machines {
        machine.project = (roll(4) > 0).then(|| ProjectIndex(roll(3) as usize));
        machine.meter.vcpus = 1 + roll(8);
        if matches!(machine.phase, Phase::Busy | Phase::Coming { claimed: true }) {
            let project = ProjectIndex(roll(3) as usize);
            machine.project = Some(project);
            builds.insert(*id, (project, roll(2), roll(2) == 0));
        }
    }
    for (place, (machine, (project, rule, began))) in (10_000_u128..).zip(builds) {
        let view = BoundView {
            machine,
            project,
            pipeline: PipelineId::from_bits(1),
            rules: vec![Rule(rule)],
            began: began.then_some(NOW - Span::from_secs(60)),
            timeout: Span::from_secs(3_600),
        };
        snapshot.bound.insert(BuildId::from_bits(place), view);
    }
}

proptest! {
    /// No plan exceeds any limit or budget, as the audit counts them, whatever they speak of.
    #[test]
    fn no_plan_exceeds_a_limit_or_a_budget(snapshot in any_limits()) {
        prop_assert_eq!(planned(&snapshot), planned(&snapshot));
    }

    /// Every queued build is placed, given up, or reported as waiting, once.
    #[test]
    fn every_build_is_accounted_for(snapshot in any_limits()) {
        let plan = planned(&snapshot);
        let is_placed = |action: &&Action| !matches!(action, Action::GiveUp { .. });
        let placed = plan.actions.iter().filter(is_placed).filter_map(Action::build).count();
        let waiting: usize = plan.waiting.iter().map(|waiting| waiting.builds).sum();
        prop_assert_eq!(placed + waiting, snapshot.queued.len());
    }
}
