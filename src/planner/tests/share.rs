//! Builds side by side on one machine.

use super::*;

/// The house, where machines of the cheap image run `slots` builds side by side.
fn shared_house(slots: u32) -> Snapshot {
    let mut snapshot = house();
    snapshot.images[SMALL.0].slots = slots;
    snapshot
}

fn with_room(
    snapshot: &mut Snapshot,
    id: u128,
    phase: Phase,
    (claims, free): (u32, u32),
) -> MachineId {
    let id = machine(snapshot, id, SMALL, phase);
    let view = snapshot.machines.get_mut(&id).unwrap();
    (view.claims, view.free) = (claims, free);
    id
}

fn launches(plan: &Plan) -> usize {
    let is_launch = |action: &&Action| matches!(action, Action::Launch { .. });
    plan.actions.iter().filter(is_launch).count()
}

#[test]
fn the_fullest_busy_machine_comes_first_and_idle_ones_after_all_busy_ones() {
    let mut snapshot = shared_house(4);
    let small = class(&mut snapshot, 0, &[SMALL]);
    let emptier = with_room(&mut snapshot, 1, Phase::Busy, (2, 2));
    let fullest = with_room(&mut snapshot, 2, Phase::Busy, (3, 1));
    let idle = with_room(&mut snapshot, 3, idle_for(10), (0, 4));
    let coming = with_room(&mut snapshot, 4, Phase::Coming { claimed: true }, (1, 3));
    let builds: Vec<BuildId> = (1..=10)
        .map(|n| queue(&mut snapshot, small, n, 0))
        .collect();
    let plan = planned(&snapshot);
    let order = [
        fullest, emptier, emptier, idle, idle, idle, idle, coming, coming, coming,
    ];
    let expected: Vec<_> = builds.into_iter().zip(order).collect();
    assert_eq!(bound(&plan), expected);
    assert_eq!(launches(&plan), 0);
}

#[test]
fn of_equally_full_ones_the_youngest_comes_first() {
    let mut snapshot = shared_house(2);
    let small = class(&mut snapshot, 0, &[SMALL]);
    let _old = with_room(&mut snapshot, 1, Phase::Busy, (1, 1));
    let young = with_room(&mut snapshot, 2, Phase::Busy, (1, 1));
    snapshot.machines.get_mut(&young).unwrap().created_at = NOW - Span::from_secs(5);
    let build = queue(&mut snapshot, small, 1, 0);
    assert_eq!(bound(&planned(&snapshot)), [(build, young)]);
}

#[test]
fn a_burst_launches_as_few_machines_as_its_builds_fill() {
    let mut snapshot = shared_house(4);
    let small = class(&mut snapshot, 0, &[SMALL]);
    for n in 1..=9 {
        queue(&mut snapshot, small, n, 0);
    }
    let plan = planned(&snapshot);
    assert_eq!(launches(&plan), 3);
    assert_eq!(bound(&plan).len(), 6);
    // A limit counts machines, not builds.
    snapshot.limits[0].machines = Some(2);
    let plan = planned(&snapshot);
    assert_eq!((launches(&plan), bound(&plan).len()), (2, 6));
    assert_eq!(plan.waiting[0].builds, 1);
}

#[test]
fn a_woken_machine_is_filled_too() {
    let mut snapshot = shared_house(2);
    let small = class(&mut snapshot, 0, &[SMALL]);
    let asleep = with_room(&mut snapshot, 1, Phase::Asleep(NOW), (0, 2));
    snapshot.images[SMALL.0].asleep_timeout = Span::from_secs(60);
    queue(&mut snapshot, small, 1, 0);
    let second = queue(&mut snapshot, small, 2, 0);
    let plan = planned(&snapshot);
    assert!(matches!(plan.actions[0], Action::Wake { machine, .. } if machine == asleep));
    assert_eq!(bound(&plan), [(second, asleep)]);
}

#[test]
fn a_machine_near_its_end_takes_no_more_beside_those_it_has() {
    let spoil = |what: &str, view: &mut MachineView| match what {
        "old" => view.created_at = NOW - Span::from_secs(86_400),
        "worn out" => view.builds_done = 98,
        "of an old version" => view.version = 0,
        "interrupted" => view.is_interrupted = true,
        _ => view.held_until = Some(NOW + Span::from_secs(9)),
    };
    let ends = [
        "old",
        "worn out",
        "of an old version",
        "interrupted",
        "held",
    ];
    for what in ends {
        let mut snapshot = shared_house(4);
        let small = class(&mut snapshot, 0, &[SMALL]);
        let busy = with_room(&mut snapshot, 1, Phase::Busy, (2, 2));
        queue(&mut snapshot, small, 1, 0);
        assert_eq!(bound(&planned(&snapshot)).len(), 1, "{what}");
        spoil(what, snapshot.machines.get_mut(&busy).unwrap());
        let plan = planned(&snapshot);
        assert_eq!((bound(&plan), launches(&plan)), (Vec::new(), 1), "{what}");
    }
}

#[test]
fn fresh_builds_neither_join_others_nor_are_joined() {
    let mut snapshot = shared_house(4);
    let small = class(&mut snapshot, 0, &[SMALL]);
    let fresh = class(&mut snapshot, 1, &[SMALL]);
    snapshot.classes.get_mut(&fresh).unwrap().fresh = true;
    queue(&mut snapshot, fresh, 1, 0);
    queue(&mut snapshot, small, 2, 0);
    queue(&mut snapshot, fresh, 3, 0);
    let last = queue(&mut snapshot, small, 4, 0);
    let plan = planned(&snapshot);
    assert_eq!(launches(&plan), 3);
    let Action::Launch { machine, .. } = plan.actions[1] else {
        panic!("{plan:?}");
    };
    assert_eq!(bound(&plan), [(last, machine)]);
}

#[test]
fn the_audit_finds_full_and_shared_machines() {
    let mut snapshot = shared_house(4);
    let small = class(&mut snapshot, 0, &[SMALL]);
    let fresh = class(&mut snapshot, 1, &[SMALL]);
    snapshot.classes.get_mut(&fresh).unwrap().fresh = true;
    let busy = with_room(&mut snapshot, 1, Phase::Busy, (3, 1));
    let builds: Vec<BuildId> = (1..=2).map(|n| queue(&mut snapshot, small, n, 0)).collect();
    let alone = queue(&mut snapshot, fresh, 3, 0);
    let bind = |build| Action::Bind {
        build,
        attempt: crate::model::AttemptId::from_bits(9),
        machine: busy,
    };
    let found = |actions: Vec<Action>| {
        let plan = Plan {
            actions,
            ..Plan::default()
        };
        audit(&snapshot, &plan, NOW)
    };
    assert_eq!(found(vec![bind(builds[0])]), []);
    let both = builds.iter().copied().map(bind).collect();
    assert_eq!(found(both), [Violation::NotFree(busy)]);
    let (build, machine) = (alone, busy);
    let shared = Violation::NotAlone { build, machine };
    assert_eq!(found(vec![bind(alone)]), [shared]);
    let drain = Action::Drain {
        machine: busy,
        reason: Reason::IdleTimeout,
    };
    let violations = found(vec![bind(builds[0]), drain]);
    assert!(
        violations.contains(&Violation::UsedTwice(busy)),
        "{violations:?}"
    );
}

proptest! {
    /// However much room there is: every plan is sound, and nobody waits beside room that it fits.
    #[test]
    fn no_build_waits_beside_room(
        mut snapshot in any_snapshot(),
        rooms in proptest::collection::vec((0_u32..4, 0_u32..4), 40),
        slots in proptest::collection::vec(1_u32..5, 10),
    ) {
        for (image, slots) in snapshot.images.iter_mut().zip(slots) {
            image.slots = slots;
        }
        for (view, (claims, free)) in snapshot.machines.values_mut().zip(rooms) {
            if has_build(view.phase) {
                (view.claims, view.free) = (claims + 1, free);
            }
        }
        let plan = planned(&snapshot);
        let used = |id: &MachineId| {
            bound(&plan).iter().filter(|(_, machine)| machine == id).count()
        };
        for waiting in &plan.waiting {
            let class = &snapshot.classes[&waiting.class];
            if class.fresh || class.on_demand || matches!(waiting.why, Blocked::Backoff(_)) {
                continue;
            }
            for (id, view) in &snapshot.machines {
                let image = &snapshot.images[view.image.0];
                let is_open = matches!(view.phase, Phase::Busy | Phase::Coming { claimed: true })
                    && image.version == Some(view.version)
                    && !view.is_interrupted
                    && NOW < view.created_at + image.max_lifetime;
                let most = image.max_builds.saturating_sub(view.builds_done + view.claims);
                let room = view.free.min(most) as usize;
                let fits = class.candidates.iter().any(|c| c.image == view.image);
                prop_assert!(!(is_open && fits && used(id) < room), "{id} has room: {waiting:?}");
            }
        }
    }
}
