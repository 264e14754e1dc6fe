//! Limits, budgets and shares: literal cases, and properties over random snapshots. Every plan goes
//! through the audit, which counts everything anew.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::tests::{
    LARGE, NOW, SMALL, any_snapshot, bound, class, drained, house, idle_for, launched, machine,
    planned, queue,
};
use super::*;
use crate::model::{
    AtLimit, BudgetEach, BuildId, BuildResult, MachineId, Money, Period, PipelineId, Rate, Reason,
    Span, Timestamp,
};

const WEB: ProjectIndex = ProjectIndex(0);
const DOCS: ProjectIndex = ProjectIndex(1);
const URGENT: Rule = Rule(0);

fn projects(snapshot: &mut Snapshot, weights: &[u32]) {
    let view = |(place, weight): (usize, &u32)| ProjectView {
        name: format!("project-{place}"),
        weight: *weight,
    };
    snapshot.projects = weights.iter().enumerate().map(view).collect();
}

/// A class of small builds of a project.
fn class_of(snapshot: &mut Snapshot, id: u32, project: ProjectIndex) -> ClassId {
    let class = class(snapshot, id, &[SMALL]);
    snapshot.classes.get_mut(&class).unwrap().project = project;
    class
}

fn of_project(project: ProjectIndex) -> Scope {
    Scope {
        projects: Some(BTreeSet::from([project])),
        ..Scope::default()
    }
}

fn limit(scope: Scope) -> Limit {
    Limit {
        name: "some".to_owned(),
        scope,
        ..Limit::default()
    }
}

fn why(plan: &Plan) -> &Blocked {
    &plan.waiting[0].why
}

fn quota(plan: &Plan) -> (Quota, Option<Timestamp>) {
    let Blocked::Limit(reached) = why(plan) else {
        panic!("{:?}", why(plan));
    };
    (reached.quota, reached.until)
}

#[test]
fn a_project_at_its_limit_does_not_hold_up_another() {
    let mut snapshot = house();
    projects(&mut snapshot, &[1, 1]);
    let web = class_of(&mut snapshot, 0, WEB);
    let docs = class_of(&mut snapshot, 1, DOCS);
    for build in 1..=3 {
        queue(&mut snapshot, web, build, 0);
    }
    let other = queue(&mut snapshot, docs, 9, 0);
    snapshot.limits.push(Limit {
        machines: Some(1),
        ..limit(of_project(WEB))
    });
    let plan = planned(&snapshot);
    let builds: Vec<BuildId> = launched(&plan)
        .into_iter()
        .map(|(build, _)| build)
        .collect();
    assert_eq!(builds, [BuildId::from_bits(1), other]);
    assert_eq!(
        (plan.waiting[0].builds, quota(&plan).0),
        (2, Quota::Machines)
    );
}

#[test]
fn a_warm_machine_of_another_project_counts_once_it_changes_hands() {
    let mut snapshot = house();
    projects(&mut snapshot, &[1, 1]);
    let web = class_of(&mut snapshot, 0, WEB);
    let build = queue(&mut snapshot, web, 1, 0);
    let busy = machine(&mut snapshot, 1, SMALL, Phase::Busy);
    let warm = machine(&mut snapshot, 2, SMALL, idle_for(1));
    snapshot.machines.get_mut(&busy).unwrap().project = Some(WEB);
    snapshot.machines.get_mut(&warm).unwrap().project = Some(DOCS);
    snapshot.limits.push(Limit {
        machines: Some(1),
        ..limit(of_project(WEB))
    });
    let plan = planned(&snapshot);
    assert_eq!((bound(&plan), quota(&plan).0), (vec![], Quota::Machines));
    // Its own is counted already.
    snapshot.machines.get_mut(&warm).unwrap().project = Some(WEB);
    snapshot.limits[1].machines = Some(2);
    assert_eq!(bound(&planned(&snapshot)), [(build, warm)]);
}

#[test]
fn builds_with_a_machine_are_counted_by_project() {
    let mut snapshot = house();
    projects(&mut snapshot, &[1]);
    let web = class_of(&mut snapshot, 0, WEB);
    for build in 1..=4 {
        queue(&mut snapshot, web, build, 0);
    }
    let busy = machine(&mut snapshot, 1, SMALL, Phase::Busy);
    snapshot.machines.get_mut(&busy).unwrap().project = Some(WEB);
    has(&mut snapshot, 50, busy, &[]);
    snapshot.limits.push(Limit {
        builds: Some(3),
        ..limit(of_project(WEB))
    });
    let plan = planned(&snapshot);
    assert_eq!(
        (launched(&plan).len(), quota(&plan)),
        (2, (Quota::Builds, None))
    );
    // Idle machines are not what is missing.
    assert_eq!(drained(&plan), []);
}

/// Says that a machine has a build.
fn has(snapshot: &mut Snapshot, build: u128, machine: MachineId, rules: &[Rule]) {
    let project = snapshot.machines[&machine].project.unwrap_or(WEB);
    let view = BoundView {
        machine,
        project,
        pipeline: PipelineId::from_bits(1),
        rules: rules.to_vec(),
        began: Some(NOW),
        timeout: Span::from_secs(3_600),
    };
    snapshot.bound.insert(BuildId::from_bits(build), view);
}

#[test]
fn processors_and_dollars_choose_what_still_fits() {
    let mut snapshot = house();
    let small = class(&mut snapshot, 0, &[SMALL]);
    queue(&mut snapshot, small, 1, 0);
    queue(&mut snapshot, small, 2, 0);
    let sized = |price: u64, vcpus, place| OfferingView {
        price: Rate::from_micros_per_hour(price),
        vcpus,
        market: crate::model::Market::OnDemand,
        available_after: None,
        zone: 0,
        place,
    };
    snapshot.images[0].offerings = vec![sized(10, 8, 0), sized(12, 2, 1)];
    snapshot.limits.push(Limit {
        vcpus: Some(9),
        ..limit(Scope::default())
    });
    // A launch counts as the largest it may become; what would not fit is left out of it.
    let plan = planned(&snapshot);
    assert_eq!((launched(&plan).len(), quota(&plan).0), (1, Quota::Vcpus));
    snapshot.limits[1].vcpus = Some(7);
    let plan = planned(&snapshot);
    let places = plan.actions.iter().filter_map(|action| match action {
        Action::Launch { offerings, .. } => Some(offerings.clone()),
        Action::Bind { .. }
        | Action::Wake { .. }
        | Action::Sleep { .. }
        | Action::GiveUp { .. }
        | Action::Drain { .. } => None,
    });
    assert_eq!(places.collect::<Vec<_>>(), [[1], [1]]);
    snapshot.limits[1] = Limit {
        cost_per_hour: Some(Rate::from_micros_per_hour(21)),
        ..limit(Scope::default())
    };
    let plan = planned(&snapshot);
    assert_eq!((launched(&plan).len(), quota(&plan).0), (1, Quota::Cost));
}

#[test]
fn launches_of_the_last_hour_count_whatever_became_of_them() {
    let mut snapshot = house();
    let small = class(&mut snapshot, 0, &[SMALL]);
    for build in 1..=5 {
        queue(&mut snapshot, small, build, 0);
    }
    let ago = |secs| LaunchView {
        at: NOW - Span::from_secs(secs),
        image: SMALL,
        ..LaunchView::default()
    };
    snapshot.launches = vec![ago(3_601), ago(3_600), ago(3_000), ago(10)];
    snapshot.limits.push(Limit {
        launches_per_hour: Some(3),
        ..limit(Scope::default())
    });
    let plan = planned(&snapshot);
    assert_eq!(launched(&plan).len(), 1);
    // The launch of fifty minutes ago is the next to be an hour old.
    let until = NOW + Span::from_secs(600);
    assert_eq!(quota(&plan), (Quota::Launches, Some(until)));
    assert_eq!(plan.wake_at, Some(until));
}

#[test]
fn a_limit_by_label_counts_only_such_builds() {
    let mut snapshot = house();
    let usual = class(&mut snapshot, 0, &[SMALL]);
    let urgent = class(&mut snapshot, 1, &[SMALL]);
    snapshot.classes.get_mut(&urgent).unwrap().rules = vec![URGENT];
    let busy = machine(&mut snapshot, 1, SMALL, Phase::Busy);
    has(&mut snapshot, 50, busy, &[URGENT]);
    queue(&mut snapshot, urgent, 1, 0);
    let build = queue(&mut snapshot, usual, 2, 0);
    snapshot.limits.push(Limit {
        machines: Some(1),
        ..limit(Scope {
            rule: Some(URGENT),
            ..Scope::default()
        })
    });
    let plan = planned(&snapshot);
    assert_eq!(launched(&plan), [(build, SMALL)]);
    assert_eq!(quota(&plan).0, Quota::Machines);
}

#[test]
fn only_machines_that_count_make_room() {
    let mut snapshot = house();
    projects(&mut snapshot, &[1, 1]);
    let large = class(&mut snapshot, 0, &[LARGE]);
    queue(&mut snapshot, large, 1, 0);
    let own = machine(&mut snapshot, 1, SMALL, idle_for(10));
    let other = machine(&mut snapshot, 2, SMALL, idle_for(90));
    snapshot.machines.get_mut(&own).unwrap().project = Some(WEB);
    snapshot.machines.get_mut(&other).unwrap().project = Some(DOCS);
    snapshot.limits.push(Limit {
        machines: Some(1),
        ..limit(of_project(WEB))
    });
    assert_eq!(drained(&planned(&snapshot)), [(own, Reason::MakeRoom)]);
}

fn budget(amount: i64, each: BudgetEach, per: Period) -> BudgetView {
    let window = (per != Period::Life)
        .then_some((NOW - Span::from_secs(3_600), NOW + Span::from_secs(3_600)));
    BudgetView {
        policy: "default".to_owned(),
        name: "daily".to_owned(),
        scope: Scope::default(),
        each,
        per,
        amount: Money::from_micros(amount),
        at_limit: AtLimit::Hold,
        window,
        spent: BTreeMap::new(),
        approved: BTreeMap::new(),
        carry: None,
        is_known: true,
    }
}

/// A house in which a machine costs 3.6 dollars an hour, takes a minute to boot, and stands idle for
/// five minutes, and where three builds may take ten minutes each: $0.96 each at worst.
fn dear_house() -> Snapshot {
    let mut snapshot = house();
    let small = class(&mut snapshot, 0, &[SMALL]);
    snapshot.images[0].boot_timeout = Span::from_secs(60);
    snapshot.images[0].offerings[0].price = Rate::from_micros_per_hour(3_600_000);
    snapshot.classes.get_mut(&small).unwrap().timeout = Span::from_secs(600);
    for build in 1..=3 {
        queue(&mut snapshot, small, build, 0);
    }
    snapshot
}

fn no_room(plan: &Plan) -> NoRoom {
    let Blocked::Budget(no_room) = why(plan) else {
        panic!("{:?}", why(plan));
    };
    *no_room
}

#[test]
fn a_budget_admits_what_it_can_pay_at_worst() {
    let mut snapshot = dear_house();
    snapshot.budgets = vec![budget(2_000_000, BudgetEach::All, Period::Day)];
    let plan = planned(&snapshot);
    assert_eq!(launched(&plan).len(), 2);
    let no_room = no_room(&plan);
    assert_eq!(no_room.left, Money::from_micros(80_000));
    assert_eq!(no_room.needs, Money::from_micros(960_000));
    assert_eq!(plan.wake_at, Some(NOW + Span::from_secs(3_600)));
    // What was spent and approved counts; what is not known admits nothing.
    let more = Money::from_micros(1_000_000);
    snapshot.budgets[0].approved.insert(Part::All, more);
    assert_eq!(launched(&planned(&snapshot)).len(), 3);
    snapshot.budgets[0].spent.insert(Part::All, more);
    assert_eq!(launched(&planned(&snapshot)).len(), 2);
    snapshot.budgets[0].is_known = false;
    assert_eq!(launched(&planned(&snapshot)), []);
}

#[test]
fn what_the_window_before_left_is_added_up_to_its_cap() {
    let mut budget = budget(1_000_000, BudgetEach::All, Period::Day);
    let spent = BTreeMap::from([(Part::All, Money::from_micros(900_000))]);
    budget.carry = Some((Money::from_micros(500_000), spent));
    assert_eq!(budget.total(Part::All), Money::from_micros(1_100_000));
    budget.carry = Some((Money::from_micros(500_000), BTreeMap::new()));
    assert_eq!(budget.total(Part::All), Money::from_micros(1_500_000));
}

#[test]
fn a_budget_that_does_not_wait_ends_builds_once_it_is_spent() {
    let mut snapshot = dear_house();
    snapshot.budgets = vec![BudgetView {
        at_limit: AtLimit::Fail,
        ..budget(1_000_000, BudgetEach::All, Period::Day)
    }];
    let given_up = |plan: &Plan| {
        let ends = plan.actions.iter().filter(|action| {
            matches!(
                action,
                Action::GiveUp {
                    result: BuildResult::OverBudget,
                    ..
                }
            )
        });
        ends.count()
    };
    // Two may still turn out to be possible: the first has not cost what it may.
    let plan = planned(&snapshot);
    assert_eq!((launched(&plan).len(), given_up(&plan)), (1, 0));
    snapshot.budgets[0]
        .spent
        .insert(Part::All, Money::from_micros(500_000));
    let plan = planned(&snapshot);
    assert_eq!((launched(&plan).len(), given_up(&plan)), (0, 3));
}

#[test]
fn a_cap_admits_until_it_is_spent() {
    let mut snapshot = dear_house();
    snapshot.budgets = vec![budget(1, BudgetEach::Build, Period::Life)];
    assert_eq!(launched(&planned(&snapshot)).len(), 3);
    let spent = Part::Build(BuildId::from_bits(2));
    snapshot.budgets[0]
        .spent
        .insert(spent, Money::from_micros(1));
    let plan = planned(&snapshot);
    let builds: Vec<BuildId> = launched(&plan)
        .into_iter()
        .map(|(build, _)| build)
        .collect();
    assert_eq!(builds, [BuildId::from_bits(1), BuildId::from_bits(3)]);
    assert_eq!((plan.waiting[0].builds, no_room(&plan).part), (1, spent));
}

#[test]
fn a_warm_machine_s_idle_time_is_not_counted_twice() {
    let mut snapshot = dear_house();
    let warm = machine(&mut snapshot, 1, SMALL, idle_for(0));
    snapshot.machines.get_mut(&warm).unwrap().meter.rate = Rate::from_micros_per_hour(3_600_000);
    // Ten minutes of work and five of standing idle: $0.90.
    snapshot.budgets = vec![budget(900_000, BudgetEach::All, Period::Day)];
    assert_eq!(bound(&planned(&snapshot)), [(BuildId::from_bits(1), warm)]);
    snapshot.budgets[0].amount = Money::from_micros(899_999);
    assert_eq!(bound(&planned(&snapshot)), []);
}

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

/// Places one build at a time on the only machine, and says whose builds went when.
fn serve(flows: &[(u32, i32)], each: u32) -> Vec<usize> {
    let mut snapshot = house();
    let weights: Vec<u32> = flows.iter().map(|(weight, _)| *weight).collect();
    projects(&mut snapshot, &weights);
    let only = machine(&mut snapshot, 1, SMALL, idle_for(1));
    snapshot.limits[0].machines = Some(1);
    let mut owners = BTreeMap::new();
    let mut next = 1;
    for (place, (_, priority)) in flows.iter().enumerate() {
        let id = class_of(
            &mut snapshot,
            u32::try_from(place).unwrap(),
            ProjectIndex(place),
        );
        snapshot.classes.get_mut(&id).unwrap().priority = *priority;
        for _ in 0..each {
            owners.insert(queue(&mut snapshot, id, next, *priority), place);
            next += 1;
        }
    }
    let mut served = Vec::new();
    while !snapshot.queued.is_empty() {
        let plan = planned(&snapshot);
        let placed = bound(&plan);
        assert_eq!(
            placed.len(),
            1,
            "a free machine and builds that wait: {plan:?}"
        );
        assert_eq!(placed[0].1, only);
        snapshot.charge(placed[0].0);
        snapshot.dequeue(placed[0].0);
        served.push(owners[&placed[0].0]);
    }
    served
}

#[test]
fn a_higher_priority_goes_first_but_nothing_starves() {
    let served = serve(&[(1, 0), (1, 5)], 64);
    let first_low = served.iter().position(|flow| *flow == 0).unwrap();
    assert!(first_low <= 32, "{first_low}");
    let high_among_first = served[..33].iter().filter(|flow| **flow == 1).count();
    assert_eq!(high_among_first, 32);
}

#[test]
fn twice_the_weight_gets_twice_the_machines() {
    let served = serve(&[(2, 0), (1, 0)], 60);
    let first = served[..90].iter().filter(|flow| **flow == 0).count();
    assert!((58..=60).contains(&first), "{first}");
}

#[test]
fn a_flow_that_comes_late_gets_its_share_and_no_more() {
    let mut shares = Shares::default();
    let (early, late) = (
        Flow {
            project: WEB,
            priority: 0,
        },
        Flow {
            project: DOCS,
            priority: 0,
        },
    );
    shares.enter(early);
    for _ in 0..1_000 {
        shares.charge(early, 1);
    }
    shares.enter(late);
    let mut turns = [0, 0];
    for _ in 0..10 {
        let place = usize::from(shares.tag(late) < shares.tag(early));
        shares.charge([early, late][place], 1);
        turns[place] += 1;
    }
    assert!(turns[1] >= 4 && turns[1] <= 6, "{turns:?}");
}

#[test]
fn a_flow_that_could_not_be_placed_keeps_the_credit_of_one_build() {
    let mut shares = Shares::default();
    let (stuck, other) = (
        Flow {
            project: WEB,
            priority: 0,
        },
        Flow {
            project: DOCS,
            priority: 0,
        },
    );
    shares.enter(stuck);
    shares.enter(other);
    for _ in 0..1_000 {
        shares.charge(other, 1);
    }
    let mut ahead = 0;
    while shares.tag(stuck) < shares.tag(other) {
        shares.charge(stuck, 1);
        ahead += 1;
    }
    assert!((1..=3).contains(&ahead), "{ahead}");
}

/// Two flows wait for one image, and builds of a third one, on another image, get machines all the
/// time. Of the two the higher priority goes first once there is room, however long that was.
#[test]
fn a_higher_priority_goes_first_however_long_others_went_on() {
    let flow = |project, priority| Flow {
        project: ProjectIndex(project),
        priority,
    };
    let (high, low, other) = (flow(0, 1), flow(1, -1), flow(2, 0));
    let mut shares = Shares::default();
    for flow in [high, low, other] {
        shares.enter(flow);
    }
    let mut served = Vec::new();
    for _ in 0..10 {
        for _ in 0..20 {
            shares.charge(other, 1);
        }
        // The younger of equals waits.
        let next = if shares.tag(low) < shares.tag(high) {
            low
        } else {
            high
        };
        shares.charge(next, 1);
        served.push(next.priority);
    }
    let highs = served.iter().filter(|priority| **priority == 1).count();
    assert!(highs >= 5, "{served:?}");
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

    /// Bounded overtaking: the k-th build of a flow waits for at most k times (sum of weights / its
    /// weight) placements and one for each flow; and no machine stands free while builds wait.
    #[test]
    fn nothing_starves(flows in prop::collection::vec((1_u32..5, -3_i32..4), 1..5)) {
        let each = 12;
        let served = serve(&flows, each);
        let weight = |(weight, priority): &(u32, i32)| {
            let doubled = u32::try_from(*priority + 10).unwrap();
            u64::from(*weight) << doubled
        };
        let sum: u64 = flows.iter().map(weight).sum();
        for (place, flow) in flows.iter().enumerate() {
            let turns = served.iter().enumerate().filter(|(_, served)| **served == place);
            for (k, (at, _)) in (1_u64..).zip(turns) {
                let most = (k * sum).div_ceil(weight(flow)) + flows.len() as u64;
                prop_assert!(at as u64 <= most, "build {k} of {flow:?} at {at}, {most} allowed");
            }
        }
    }
}
