//! Budgets: literal cases.

use super::limits::why;
use super::*;
use crate::model::{AtLimit, BudgetEach, BuildResult, Money, Period};

pub(super) fn budget(amount: i64, each: BudgetEach, per: Period) -> BudgetView {
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

/// What joins the builds of a machine that is woken pays for a machine, not for its disk.
#[test]
fn a_build_that_joins_a_woken_machine_is_paid_for_in_full() {
    let mut snapshot = dear_house();
    snapshot.images[SMALL.0].slots = 2;
    snapshot.images[SMALL.0].asleep_timeout = Span::from_secs(60);
    for build in 1..=3 {
        snapshot.dequeue(BuildId::from_bits(build));
    }
    let asleep = machine(&mut snapshot, 1, SMALL, Phase::Asleep(NOW));
    let view = snapshot.machines.get_mut(&asleep).unwrap();
    (view.free, view.meter.rate) = (2, Rate::from_micros_per_hour(1_000));
    let other = class(&mut snapshot, 1, &[SMALL]);
    let of_other = snapshot.classes.get_mut(&other).unwrap();
    (of_other.project, of_other.timeout) = (ProjectIndex(1), Span::from_secs(600));
    queue(&mut snapshot, ClassId(0), 1, 1);
    queue(&mut snapshot, other, 2, 0);
    let mut budget = budget(1_000_000, BudgetEach::Project, Period::Day);
    let spent = (Part::Project(ProjectIndex(1)), Money::from_micros(900_000));
    budget.spent = [spent].into();
    snapshot.budgets = vec![budget];
    let plan = planned(&snapshot);
    let [Action::Wake { machine, .. }] = plan.actions[..] else {
        panic!("{plan:?}");
    };
    assert_eq!(machine, asleep);
    assert_eq!(no_room(&plan).part, Part::Project(ProjectIndex(1)));
}
