use std::cmp::Reverse;

use proptest::prelude::*;

use crate::model::{
    AttemptId, Billing, BuildId, MachineId, Market, PipelineId, Rate, Reason, Span, Timestamp,
};
use crate::planner::{
    Action, BoundView, Candidate, Class, ClassId, IdleTerms, IdleWhy, ImageIndex, ImageView, Limit,
    MachineView, Meter, OfferingView, Past, Phase, Plan, ProjectIndex, QueueKey, Snapshot,
    Violation, audit, plan,
};

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

fn build(id: u128) -> BuildId {
    BuildId::from_bits(id)
}

fn machine(id: u128) -> MachineId {
    MachineId::from_bits(id)
}

/// Two images that each class can be built on, or one: class 0 on both, class 1 on the first only.
fn house() -> Snapshot {
    let offering = OfferingView {
        price: Rate::from_micros_per_hour(10),
        market: Market::OnDemand,
        available_after: None,
        zone: 0,
        place: 0,
        vcpus: 2,
    };
    let image = |name: &str| ImageView {
        name: name.to_owned(),
        version: Some(1),
        idle_timeout: Span::from_secs(300),
        max_lifetime: Span::from_secs(86_400),
        max_builds: 100,
        offerings: vec![offering],
        ..ImageView::default()
    };
    let candidate = |index: usize| Candidate {
        price: offering.price,
        spare: 0,
        image: ImageIndex(index),
    };
    let class = |images: &[usize]| Class {
        candidates: images
            .iter()
            .map(|i| candidate(*i))
            .collect::<Vec<_>>()
            .into(),
        ..Class::default()
    };
    Snapshot {
        images: vec![image("one"), image("two")],
        classes: [(ClassId(0), class(&[0, 1])), (ClassId(1), class(&[0]))].into(),
        ..Snapshot::default()
    }
}

fn put(snapshot: &mut Snapshot, id: u128, image: usize, phase: Phase) {
    let has_build = matches!(phase, Phase::Busy | Phase::Coming { claimed: true });
    let view = MachineView {
        image: ImageIndex(image),
        version: 1,
        price: Rate::from_micros_per_hour(10),
        market: Market::OnDemand,
        offering: Some(0),
        is_interrupted: false,
        project: None,
        past: Past::default(),
        phase,
        created_at: NOW - Span::from_secs(20),
        builds_done: u32::from(!matches!(phase, Phase::Coming { .. })),
        claims: u32::from(has_build),
        free: u32::from(!has_build),
        held_until: None,
        meter: Meter::default(),
    };
    snapshot.machines.insert(machine(id), view);
}

fn key(id: u128, age: u64) -> QueueKey {
    QueueKey {
        priority: Reverse(0),
        submitted_at: NOW - Span::from_secs(age),
        build: build(id),
    }
}

/// A build that waits for the launch of a machine.
fn launching(snapshot: &mut Snapshot, (id, class, age): (u128, u32, u64), on: u128, image: usize) {
    put(snapshot, on, image, Phase::Coming { claimed: true });
    let bound = BoundView {
        machine: machine(on),
        project: ProjectIndex(0),
        pipeline: PipelineId::from_bits(1),
        rules: Vec::new(),
        began: None,
        timeout: Span::from_secs(60),
    };
    snapshot.bound.insert(build(id), bound);
    snapshot.expect(ClassId(class), key(id, age));
}

fn planned(snapshot: &Snapshot) -> Plan {
    let mut next = 1_000;
    let plan = plan(snapshot, NOW, &mut || {
        next += 1;
        next
    });
    assert_eq!(audit(snapshot, &plan, NOW), []);
    plan
}

fn moved(id: u128, from: u128, to: u128) -> Action {
    Action::Move {
        build: build(id),
        from: machine(from),
        machine: machine(to),
    }
}

const IDLE: Phase = Phase::Idle(Timestamp::from_micros(1_700_000_000_000_000 - 1_000_000));

#[test]
fn the_build_that_has_waited_longest_moves_to_what_is_free() {
    let mut house = house();
    launching(&mut house, (1, 0, 10), 11, 1);
    launching(&mut house, (2, 0, 20), 12, 1);
    put(&mut house, 13, 0, IDLE);
    let plan = planned(&house);
    assert_eq!(plan.actions, [moved(2, 12, 13)]);
    // What was launched for it is looked at again at once.
    assert_eq!(plan.wake_at, Some(NOW));
}

#[test]
fn queued_builds_come_first_and_only_what_fits_moves() {
    let mut house = house();
    launching(&mut house, (1, 0, 10), 11, 1);
    launching(&mut house, (2, 1, 20), 12, 0);
    put(&mut house, 13, 0, IDLE);
    house.enqueue(ClassId(1), key(3, 1), None);
    let bound = Action::Bind {
        build: build(3),
        attempt: AttemptId::from_bits(1_001),
        machine: machine(13),
    };
    assert_eq!(planned(&house).actions, [bound]);
    house.dequeue(build(3));
    // The second image is nothing for class 1, whose build has waited longer.
    put(&mut house, 13, 1, IDLE);
    assert_eq!(planned(&house).actions, [moved(1, 11, 13)]);
}

#[test]
fn what_was_launched_takes_another_build_or_goes() {
    let mut house = house();
    put(&mut house, 11, 0, Phase::Coming { claimed: false });
    let goes = Action::Drain {
        machine: machine(11),
        reason: Reason::Unneeded,
    };
    assert_eq!(planned(&house).actions, [goes]);
    house.enqueue(ClassId(1), key(3, 1), None);
    let takes =
        |action: &Action| matches!(action, Action::Bind { machine: m, .. } if *m == machine(11));
    assert!(planned(&house).actions.iter().all(takes));
}

#[test]
fn who_asked_for_a_machine_of_its_own_does_not_move_to_a_used_one() {
    let mut house = house();
    launching(&mut house, (1, 0, 10), 11, 1);
    if let Some(class) = house.classes.get_mut(&ClassId(0)) {
        class.fresh = true;
    }
    put(&mut house, 13, 0, IDLE);
    assert_eq!(planned(&house).actions, []);
}

#[test]
fn who_moves_is_not_counted_twice_against_machines() {
    let mut house = house();
    launching(&mut house, (1, 0, 10), 11, 1);
    put(&mut house, 13, 0, IDLE);
    house.limits = vec![Limit {
        machines: Some(2),
        ..Limit::default()
    }];
    assert_eq!(planned(&house).actions, [moved(1, 11, 13)]);
}

#[test]
fn nobody_moves_to_a_dearer_machine_where_no_time_counts() {
    let mut house = house();
    launching(&mut house, (1, 0, 10), 11, 1);
    put(&mut house, 13, 0, IDLE);
    let rate = Rate::from_micros_per_hour;
    for (value, free, moves) in [(0, 11, false), (0, 10, true), (1, 11, true)] {
        let why = IdleWhy::Worth {
            boot: Span::from_secs(30),
            value_of_wait: rate(value),
            price: rate(free),
            learnt_from: None,
        };
        let terms = IdleTerms {
            timeout: Span::from_secs(300),
            why,
            billing: Billing::default(),
            billed_from: NOW,
        };
        house.idle.insert(machine(13), terms);
        for (id, rate) in [(11, rate(10)), (13, rate(free))] {
            if let Some(machine) = house.machines.get_mut(&machine(id)) {
                machine.meter.rate = rate;
            }
        }
        let expected = if moves {
            vec![moved(1, 11, 13)]
        } else {
            vec![]
        };
        assert_eq!(planned(&house).actions, expected, "{value} {free}");
    }
}

#[test]
fn the_audit_finds_moves_that_must_not_be() {
    let mut house = house();
    launching(&mut house, (1, 1, 10), 11, 0);
    put(&mut house, 12, 0, Phase::Busy);
    put(&mut house, 13, 1, IDLE);
    put(&mut house, 14, 0, IDLE);
    let found = |actions: Vec<Action>| {
        let plan = Plan {
            actions,
            ..Plan::default()
        };
        audit(&house, &plan, NOW)
    };
    assert_eq!(found(vec![moved(1, 11, 14)]), []);
    let wrong_image = Violation::NotACandidate {
        build: build(1),
        image: "two".to_owned(),
    };
    assert_eq!(found(vec![moved(1, 11, 13)]), [wrong_image]);
    let busy = Violation::NotFree(machine(12));
    assert_eq!(found(vec![moved(1, 11, 12)]), [busy]);
    let not_there = Violation::NotQueued(build(1));
    assert_eq!(found(vec![moved(1, 12, 14)]), [not_there]);
    let stranger = Violation::NotQueued(build(2));
    assert_eq!(found(vec![moved(2, 11, 14)]), [stranger]);
}

proptest! {
    /// After a plan no build waits for a launch beside a machine that it could have.
    #[test]
    fn no_build_waits_for_a_launch_beside_a_free_machine(
        waiting in proptest::collection::vec((0_u32..2, 0_u64..100, 0_usize..2), 0..5),
        idle in proptest::collection::vec(0_usize..2, 0..5),
        queued in proptest::collection::vec(0_u32..2, 0..3),
    ) {
        let mut house = house();
        for (id, (class, age, image)) in (1_u128..).zip(&waiting) {
            // Class 1 is never launched on what it cannot use.
            let image = if *class == 1 { 0 } else { *image };
            launching(&mut house, (id, *class, *age), 100 + id, image);
        }
        for (id, image) in (1_u128..).zip(&idle) {
            put(&mut house, 200 + id, *image, IDLE);
        }
        for (id, class) in (50_u128..).zip(&queued) {
            house.enqueue(ClassId(*class), key(id, 1), None);
        }
        let plan = planned(&house);
        let taken = |id: MachineId| plan.actions.iter().any(|action| match action {
            Action::Bind { machine, .. } | Action::Move { machine, .. } => *machine == id,
            Action::Launch { .. } | Action::Wake { .. } | Action::Sleep { .. }
            | Action::GiveUp { .. } | Action::Drain { .. } => false,
        });
        let free: Vec<usize> = (1_u128..).zip(&idle)
            .filter(|(id, _)| !taken(machine(200 + id)))
            .map(|(_, image)| *image).collect();
        for (id, (class, ..)) in (1_u128..).zip(&waiting) {
            let has_moved = plan.actions.iter().any(|action| {
                matches!(action, Action::Move { build: b, .. } if *b == build(id))
            });
            let could = free.iter().any(|image| *class == 0 || *image == 0);
            prop_assert!(has_moved || !could, "{id} in {plan:?}");
        }
    }
}
