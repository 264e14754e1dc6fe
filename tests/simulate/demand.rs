//! Failures of demand arithmetic that the field knows from other schedulers, each as a test.

use std::cmp::Reverse;

use dormouse::model::{BuildId, MachineId, Market, Rate, Span, Timestamp};
use dormouse::planner::{
    Action, Candidate, Class, ClassId, ImageIndex, ImageView, Limit, MachineView, Meter,
    OfferingView, Past, Phase, Plan, ProjectIndex, ProjectView, QueueKey, Snapshot, audit, plan,
};

const NOW: Timestamp = Timestamp::from_micros(1_767_600_000_000_000);
const IMAGE: ImageIndex = ImageIndex(0);
const ANY: ClassId = ClassId(0);
const FRESH: ClassId = ClassId(1);

/// One image, ten machines allowed, a class of builds that take any machine of it and one of builds
/// that want a fresh one.
fn house() -> Snapshot {
    let candidates = vec![Candidate {
        price: Rate::from_micros_per_hour(100_000),
        spare: 0,
        image: IMAGE,
    }];
    let any = Class {
        candidates: candidates.into(),
        ..Class::default()
    };
    let fresh = Class {
        fresh: true,
        ..any.clone()
    };
    Snapshot {
        classes: [(ANY, any), (FRESH, fresh)].into(),
        images: vec![ImageView {
            name: "debian".to_owned(),
            version: Some(1),
            idle_timeout: Span::from_secs(600),
            max_lifetime: Span::from_secs(86_400),
            max_builds: u32::MAX,
            offerings: vec![OfferingView {
                price: Rate::from_micros_per_hour(100_000),
                market: Market::OnDemand,
                available_after: None,
                zone: 0,
                vcpus: 2,
                place: 0,
            }],
            ..ImageView::default()
        }],
        projects: vec![ProjectView {
            name: "app".to_owned(),
            weight: 1,
        }],
        limits: vec![Limit {
            name: "default".to_owned(),
            machines: Some(10),
            ..Limit::default()
        }],
        ..Snapshot::default()
    }
}

fn queue(snapshot: &mut Snapshot, class: ClassId, build: u128, not_before: Option<Timestamp>) {
    let key = QueueKey {
        priority: Reverse(0),
        submitted_at: NOW - Span::from_secs(60),
        build: BuildId::from_bits(build),
    };
    snapshot.enqueue(class, key, not_before);
}

fn put(snapshot: &mut Snapshot, machine: u128, phase: Phase) {
    let has_build = matches!(phase, Phase::Busy | Phase::Coming { claimed: true });
    let view = MachineView {
        image: IMAGE,
        version: 1,
        price: Rate::from_micros_per_hour(100_000),
        market: Market::OnDemand,
        offering: Some(0),
        is_interrupted: false,
        project: Some(ProjectIndex(0)),
        past: Past::default(),
        phase,
        created_at: NOW - Span::from_secs(3_600),
        builds_done: 1,
        claims: u32::from(has_build),
        free: u32::from(!has_build),
        meter: Meter::default(),
        held_until: None,
    };
    snapshot
        .machines
        .insert(MachineId::from_bits(machine), view);
}

fn pass(snapshot: &Snapshot) -> Plan {
    let mut bits = 1_000;
    let plan = plan(snapshot, NOW, &mut || {
        bits += 1;
        bits
    });
    assert_eq!(audit(snapshot, &plan, NOW), [], "{plan:?}");
    plan
}

fn launches(plan: &Plan) -> usize {
    let is_launch = |action: &&Action| matches!(action, Action::Launch { .. });
    plan.actions.iter().filter(is_launch).count()
}

fn bound(plan: &Plan) -> Vec<u128> {
    let bound = plan.actions.iter().filter_map(|action| match action {
        Action::Bind { build, .. } => Some(build.bits()),
        Action::Launch { .. }
        | Action::Wake { .. }
        | Action::Sleep { .. }
        | Action::GiveUp { .. }
        | Action::Drain { .. } => None,
    });
    bound.collect()
}

#[test]
fn an_idle_machine_is_not_reserved_for_a_build_that_never_takes_it() {
    // The older build cannot take the machine: it wants a fresh one.
    let mut snapshot = house();
    put(&mut snapshot, 1, Phase::Idle(NOW));
    queue(&mut snapshot, FRESH, 1, None);
    queue(&mut snapshot, ANY, 2, None);
    let plan = pass(&snapshot);
    assert_eq!((bound(&plan), launches(&plan)), (vec![2], 1));
}

#[test]
fn an_idle_machine_is_not_reserved_for_a_build_whose_time_has_not_come() {
    let mut snapshot = house();
    put(&mut snapshot, 1, Phase::Idle(NOW));
    queue(&mut snapshot, ANY, 1, Some(NOW + Span::from_secs(30)));
    queue(&mut snapshot, ANY, 2, None);
    let plan = pass(&snapshot);
    assert_eq!((bound(&plan), launches(&plan)), (vec![2], 0));
}

#[test]
fn machines_on_their_way_out_are_no_supply() {
    for phase in [Phase::Ending, Phase::FallingAsleep] {
        let mut snapshot = house();
        put(&mut snapshot, 1, phase);
        queue(&mut snapshot, ANY, 1, None);
        assert_eq!(launches(&pass(&snapshot)), 1, "{phase:?}");
    }
}

#[test]
fn machines_that_are_taken_back_or_outdated_are_no_supply() {
    let mut snapshot = house();
    put(&mut snapshot, 1, Phase::Idle(NOW));
    put(&mut snapshot, 2, Phase::Idle(NOW));
    let [first, second] = [1, 2].map(MachineId::from_bits);
    snapshot.machines.get_mut(&first).unwrap().is_interrupted = true;
    snapshot.machines.get_mut(&second).unwrap().version = 0;
    queue(&mut snapshot, ANY, 1, None);
    let plan = pass(&snapshot);
    assert_eq!((bound(&plan).len(), launches(&plan)), (0, 1));
}

#[test]
fn machines_on_their_way_up_serve_the_builds_they_were_launched_for() {
    // Three builds have a machine that is coming: nothing is launched for them again, and a fourth
    // one gets its own.
    let mut snapshot = house();
    for machine in 1..=3 {
        put(&mut snapshot, machine, Phase::Coming { claimed: true });
    }
    assert_eq!(pass(&snapshot), Plan::default());
    queue(&mut snapshot, ANY, 4, None);
    assert_eq!(launches(&pass(&snapshot)), 1);
}

#[test]
fn a_machine_on_its_way_up_without_a_build_is_taken_before_another_is_launched() {
    let mut snapshot = house();
    put(&mut snapshot, 1, Phase::Coming { claimed: false });
    queue(&mut snapshot, ANY, 1, None);
    let plan = pass(&snapshot);
    assert_eq!((bound(&plan), launches(&plan)), (vec![1], 0));
}
