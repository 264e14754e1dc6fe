//! Limits: literal cases.

use super::*;
use crate::model::PipelineId;

pub(super) const WEB: ProjectIndex = ProjectIndex(0);
pub(super) const DOCS: ProjectIndex = ProjectIndex(1);
const URGENT: Rule = Rule(0);

pub(super) fn projects(snapshot: &mut Snapshot, weights: &[u32]) {
    let view = |(place, weight): (usize, &u32)| ProjectView {
        name: format!("project-{place}"),
        weight: *weight,
    };
    snapshot.projects = weights.iter().enumerate().map(view).collect();
}

/// A class of small builds of a project.
pub(super) fn class_of(snapshot: &mut Snapshot, id: u32, project: ProjectIndex) -> ClassId {
    let class = class(snapshot, id, &[SMALL]);
    snapshot.classes.get_mut(&class).unwrap().project = project;
    class
}

pub(super) fn of_project(project: ProjectIndex) -> Scope {
    Scope {
        projects: Some(BTreeSet::from([project])),
        ..Scope::default()
    }
}

pub(super) fn limit(scope: Scope) -> Limit {
    Limit {
        name: "some".to_owned(),
        scope,
        ..Limit::default()
    }
}

pub(super) fn why(plan: &Plan) -> &Blocked {
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
        market: Market::OnDemand,
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
        | Action::Move { .. }
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
