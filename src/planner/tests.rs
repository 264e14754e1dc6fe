//! Plans for literal snapshots, and properties over random ones. Every plan goes through the audit.

mod audit;
mod budgets;
mod explain;
mod fair;
mod houses;
mod limits;
mod market;
mod random;
mod share;
mod sleep;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use houses::any_snapshot;
use proptest::prelude::*;

use super::*;
use crate::model::{
    BuildId, MachineId, Market, MarketChoice, Rate, Reason, SleepKind, Span, Timestamp,
};

pub(super) const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_000);
pub(super) const SMALL: ImageIndex = ImageIndex(0);
pub(super) const LARGE: ImageIndex = ImageIndex(1);
/// The first limit allows no more machines.
const FULL: Reached = Reached {
    limit: 0,
    quota: Quota::Machines,
    until: None,
};

/// A snapshot of two images: a cheap one and a dear one, ten machines at most.
pub(super) fn house() -> Snapshot {
    let image = |name: &str| ImageView {
        name: name.to_owned(),
        version: Some(1),
        idle_timeout: Span::from_secs(300),
        max_lifetime: Span::from_secs(86_400),
        max_builds: 100,
        offerings: vec![offering(10, Market::OnDemand, 0)],
        ..ImageView::default()
    };
    Snapshot {
        images: vec![image("small"), image("large")],
        limits: vec![Limit {
            name: "default".to_owned(),
            machines: Some(10),
            ..Limit::default()
        }],
        ..Snapshot::default()
    }
}

pub(super) fn offering(price: u64, market: Market, place: usize) -> OfferingView {
    OfferingView {
        price: Rate::from_micros_per_hour(price),
        vcpus: 1,
        market,
        available_after: None,
        zone: 0,
        place,
    }
}

const fn pause(until: Timestamp) -> Paused {
    let why = PauseReason::Failures;
    Paused { until, why }
}

pub(super) fn candidate(image: ImageIndex) -> Candidate {
    let price = Rate::from_micros_per_hour(if image == SMALL { 10 } else { 50 });
    Candidate {
        price,
        spare: 0,
        image,
    }
}

pub(super) fn class(snapshot: &mut Snapshot, id: u32, images: &[ImageIndex]) -> ClassId {
    let mut candidates: Vec<Candidate> = images.iter().copied().map(candidate).collect();
    candidates.sort_unstable();
    snapshot.classes.insert(
        ClassId(id),
        Class {
            candidates: candidates.into(),
            ..Class::default()
        },
    );
    ClassId(id)
}

pub(super) fn queue(
    snapshot: &mut Snapshot,
    class: ClassId,
    build: u128,
    priority: i32,
) -> BuildId {
    let build = BuildId::from_bits(build);
    let key = QueueKey {
        priority: Reverse(priority),
        submitted_at: NOW,
        build,
    };
    snapshot.enqueue(class, key, None);
    build
}

pub(super) fn machine(
    snapshot: &mut Snapshot,
    id: u128,
    image: ImageIndex,
    phase: Phase,
) -> MachineId {
    let view = MachineView {
        image,
        version: 1,
        price: candidate(image).price,
        market: Market::OnDemand,
        offering: Some(0),
        is_interrupted: false,
        project: None,
        past: Past::default(),
        phase,
        created_at: NOW - Span::from_secs(600),
        builds_done: 1,
        claims: u32::from(has_build(phase)),
        free: u32::from(!has_build(phase)),
        held_until: None,
        meter: Meter {
            vcpus: 1,
            rate: candidate(image).price,
            unbilled_since: NOW,
            coming_since: NOW,
        },
    };
    snapshot.machines.insert(MachineId::from_bits(id), view);
    MachineId::from_bits(id)
}

const fn has_build(phase: Phase) -> bool {
    matches!(phase, Phase::Busy | Phase::Coming { claimed: true })
}

pub(super) fn idle_for(secs: u64) -> Phase {
    Phase::Idle(NOW - Span::from_secs(secs))
}

/// Plans with ids from 1000 on, and checks the plan.
pub(super) fn planned(snapshot: &Snapshot) -> Plan {
    let mut next = 1_000;
    let plan = plan(snapshot, NOW, &mut || {
        next += 1;
        next
    });
    assert_eq!(audit(snapshot, &plan, NOW), []);
    plan
}

pub(super) fn bound(plan: &Plan) -> Vec<(BuildId, MachineId)> {
    let bind = |action: &Action| match action {
        Action::Bind { build, machine, .. } => Some((*build, *machine)),
        Action::Launch { .. }
        | Action::Wake { .. }
        | Action::Move { .. }
        | Action::Sleep { .. }
        | Action::GiveUp { .. }
        | Action::Drain { .. } => None,
    };
    plan.actions.iter().filter_map(bind).collect()
}

pub(super) fn launched(plan: &Plan) -> Vec<(BuildId, ImageIndex)> {
    let launch = |action: &Action| match action {
        Action::Launch { claim, image, .. } => claim.map(|(build, _)| (build, *image)),
        Action::Bind { .. }
        | Action::Wake { .. }
        | Action::Move { .. }
        | Action::Sleep { .. }
        | Action::GiveUp { .. }
        | Action::Drain { .. } => None,
    };
    plan.actions.iter().filter_map(launch).collect()
}

pub(super) fn drained(plan: &Plan) -> Vec<(MachineId, Reason)> {
    let drain = |action: &Action| match action {
        Action::Drain { machine, reason } => Some((*machine, reason.clone())),
        Action::Bind { .. }
        | Action::Launch { .. }
        | Action::Wake { .. }
        | Action::Move { .. }
        | Action::Sleep { .. }
        | Action::GiveUp { .. } => None,
    };
    plan.actions.iter().filter_map(drain).collect()
}

#[test]
fn a_warm_dear_machine_is_taken_before_a_cold_cheap_one() {
    let mut snapshot = house();
    let both = class(&mut snapshot, 0, &[SMALL, LARGE]);
    let build = queue(&mut snapshot, both, 1, 0);
    let warm = machine(&mut snapshot, 1, LARGE, idle_for(10));
    assert_eq!(bound(&planned(&snapshot)), [(build, warm)]);
}

#[test]
fn the_most_recently_idled_machine_is_taken_first() {
    let mut snapshot = house();
    let small = class(&mut snapshot, 0, &[SMALL]);
    let build = queue(&mut snapshot, small, 1, 0);
    machine(&mut snapshot, 1, SMALL, idle_for(90));
    let recent = machine(&mut snapshot, 2, SMALL, idle_for(10));
    machine(&mut snapshot, 3, SMALL, idle_for(50));
    assert_eq!(bound(&planned(&snapshot)), [(build, recent)]);
}

#[test]
fn a_cold_start_takes_the_cheapest_image() {
    let mut snapshot = house();
    let both = class(&mut snapshot, 0, &[LARGE, SMALL]);
    let build = queue(&mut snapshot, both, 1, 0);
    assert_eq!(launched(&planned(&snapshot)), [(build, SMALL)]);
}

#[test]
fn a_cheap_image_that_cools_down_gives_way_to_the_next() {
    let mut snapshot = house();
    let both = class(&mut snapshot, 0, &[SMALL, LARGE]);
    let build = queue(&mut snapshot, both, 1, 0);
    snapshot.images[0].paused = Some(pause(NOW + Span::from_secs(5)));
    assert_eq!(launched(&planned(&snapshot)), [(build, LARGE)]);
    snapshot.images[1].paused = Some(pause(NOW + Span::from_secs(3)));
    let plan = planned(&snapshot);
    assert_eq!(
        plan.waiting[0].why,
        Blocked::Paused(
            LARGE,
            Paused {
                until: NOW + Span::from_secs(3),
                why: PauseReason::Failures
            }
        )
    );
    assert_eq!(plan.wake_at, Some(NOW + Span::from_secs(3)));
}

#[test]
fn launches_stop_at_the_limit_and_count_machines_on_their_way_out() {
    let mut snapshot = house();
    snapshot.limits[0].machines = Some(3);
    let small = class(&mut snapshot, 0, &[SMALL]);
    machine(&mut snapshot, 1, SMALL, Phase::Ending);
    for build in 1..=5 {
        queue(&mut snapshot, small, build, 0);
    }
    let plan = planned(&snapshot);
    assert_eq!(launched(&plan).len(), 2);
    assert_eq!(
        (plan.waiting[0].builds, &plan.waiting[0].why),
        (3, &Blocked::Limit(FULL))
    );
}

#[test]
fn higher_priority_runs_first_then_the_older() {
    let mut snapshot = house();
    snapshot.limits[0].machines = Some(2);
    let small = class(&mut snapshot, 0, &[SMALL]);
    let large = class(&mut snapshot, 1, &[LARGE]);
    queue(&mut snapshot, small, 1, 0);
    let urgent = queue(&mut snapshot, large, 2, 5);
    let urgent_too = queue(&mut snapshot, small, 3, 5);
    assert_eq!(
        launched(&planned(&snapshot)),
        [(urgent, LARGE), (urgent_too, SMALL)]
    );
}

#[test]
fn a_build_that_no_machine_fits_does_not_hold_up_others() {
    let mut snapshot = house();
    let none = class(&mut snapshot, 0, &[]);
    let small = class(&mut snapshot, 1, &[SMALL]);
    queue(&mut snapshot, none, 1, 9);
    let build = queue(&mut snapshot, small, 2, 0);
    let plan = planned(&snapshot);
    assert_eq!(launched(&plan), [(build, SMALL)]);
    assert_eq!(plan.waiting[0].why, Blocked::NoImage);
}

#[test]
fn idle_machines_nobody_can_use_make_room_for_what_is_queued() {
    let mut snapshot = house();
    snapshot.limits[0].machines = Some(2);
    let large = class(&mut snapshot, 0, &[LARGE]);
    queue(&mut snapshot, large, 1, 0);
    machine(&mut snapshot, 1, SMALL, idle_for(10));
    let oldest = machine(&mut snapshot, 2, SMALL, idle_for(60));
    assert_eq!(drained(&planned(&snapshot)), [(oldest, Reason::MakeRoom)]);
    // One is enough for one build: while it goes, no second one is given up.
    snapshot.machines.get_mut(&oldest).unwrap().phase = Phase::Ending;
    assert_eq!(drained(&planned(&snapshot)), []);
}

#[test]
fn idle_machines_go_after_the_timeout_and_not_before() {
    let mut snapshot = house();
    let kept = machine(&mut snapshot, 1, SMALL, idle_for(299));
    let gone = machine(&mut snapshot, 2, SMALL, idle_for(300));
    let plan = planned(&snapshot);
    assert_eq!(drained(&plan), [(gone, Reason::IdleTimeout)]);
    assert_eq!(
        plan.kept,
        [Kept {
            machine: kept,
            until: NOW + Span::from_secs(1),
            why: KeptWhy::Idle(IdleWhy::Said),
        }]
    );
    assert_eq!(plan.wake_at, Some(NOW + Span::from_secs(1)));
}

#[test]
fn a_machine_at_the_end_of_its_use_takes_no_build() {
    let mut snapshot = house();
    let small = class(&mut snapshot, 0, &[SMALL]);
    let build = queue(&mut snapshot, small, 1, 0);
    let old = machine(&mut snapshot, 1, SMALL, idle_for(1));
    for (change, reason) in [
        (
            (|m: &mut MachineView| m.version = 0) as fn(&mut MachineView),
            Reason::ImageChanged,
        ),
        (|m| m.builds_done = 100, Reason::BuildCount),
        (
            |m| m.created_at = NOW - Span::from_secs(86_400),
            Reason::Lifetime,
        ),
    ] {
        let mut snapshot = snapshot.clone();
        change(snapshot.machines.get_mut(&old).unwrap());
        let plan = planned(&snapshot);
        assert_eq!(drained(&plan), [(old, reason)]);
        assert_eq!(launched(&plan), [(build, SMALL)]);
    }
}

#[test]
fn a_held_machine_neither_works_nor_goes() {
    let mut snapshot = house();
    let small = class(&mut snapshot, 0, &[SMALL]);
    let build = queue(&mut snapshot, small, 1, 0);
    let held = machine(&mut snapshot, 1, SMALL, idle_for(10_000));
    snapshot.machines.get_mut(&held).unwrap().held_until = Some(NOW + Span::from_secs(9));
    let plan = planned(&snapshot);
    assert_eq!((drained(&plan), bound(&plan)), (vec![], vec![]));
    assert_eq!(launched(&plan), [(build, SMALL)]);
}

#[test]
fn a_coming_machine_whose_build_left_takes_another_or_goes() {
    let mut snapshot = house();
    let coming = machine(&mut snapshot, 1, SMALL, Phase::Coming { claimed: false });
    assert_eq!(drained(&planned(&snapshot)), [(coming, Reason::Unneeded)]);
    let small = class(&mut snapshot, 0, &[SMALL]);
    let build = queue(&mut snapshot, small, 1, 0);
    assert_eq!(bound(&planned(&snapshot)), [(build, coming)]);
}

#[test]
fn a_fresh_build_takes_only_an_unused_machine() {
    let mut snapshot = house();
    let fresh = class(&mut snapshot, 0, &[SMALL]);
    snapshot.classes.get_mut(&fresh).unwrap().fresh = true;
    let build = queue(&mut snapshot, fresh, 1, 0);
    let used = machine(&mut snapshot, 1, SMALL, idle_for(1));
    assert_eq!(launched(&planned(&snapshot)), [(build, SMALL)]);
    snapshot.machines.get_mut(&used).unwrap().builds_done = 0;
    assert_eq!(bound(&planned(&snapshot)), [(build, used)]);
}

#[test]
fn a_build_that_waits_for_its_next_attempt_is_placed_when_its_time_comes() {
    let mut snapshot = house();
    let small = class(&mut snapshot, 0, &[SMALL]);
    let key = |build| QueueKey {
        priority: Reverse(0),
        submitted_at: NOW,
        build: BuildId::from_bits(build),
    };
    snapshot.enqueue(small, key(1), Some(NOW + Span::from_secs(7)));
    snapshot.enqueue(small, key(2), Some(NOW));
    let plan = planned(&snapshot);
    assert_eq!(launched(&plan), [(BuildId::from_bits(2), SMALL)]);
    assert_eq!(plan.wake_at, Some(NOW + Span::from_secs(7)));
}
