//! Machines that fall asleep and are woken.

use super::*;

fn woken(plan: &Plan) -> Vec<(MachineId, usize)> {
    let wake = |action: &Action| match action {
        Action::Wake {
            machine, offering, ..
        } => Some((*machine, *offering)),
        Action::Bind { .. }
        | Action::Launch { .. }
        | Action::Move { .. }
        | Action::Sleep { .. }
        | Action::GiveUp { .. }
        | Action::Drain { .. } => None,
    };
    plan.actions.iter().filter_map(wake).collect()
}

#[test]
fn a_machine_that_sleeps_is_woken_before_one_is_launched() {
    let mut snapshot = house();
    snapshot.images[0].asleep_timeout = Span::from_secs(3_600);
    let small = class(&mut snapshot, 0, &[SMALL]);
    let asleep = Phase::Asleep(NOW - Span::from_secs(5));
    let sleeper = machine(&mut snapshot, 1, SMALL, asleep);
    assert_eq!(planned(&snapshot).actions, [], "it sleeps on");
    let build = queue(&mut snapshot, small, 1, 0);
    assert_eq!(woken(&planned(&snapshot)), [(sleeper, 0)]);
    // Its own type is dry, another one of its zone is not; its disk cannot leave the zone.
    snapshot.images[0].offerings = vec![
        OfferingView {
            available_after: Some(NOW + Span::from_secs(60)),
            ..offering(10, Market::OnDemand, 0)
        },
        OfferingView {
            zone: 1,
            ..offering(11, Market::OnDemand, 1)
        },
        offering(12, Market::OnDemand, 2),
    ];
    assert_eq!(woken(&planned(&snapshot)), [(sleeper, 2)]);
    snapshot.images[0].offerings.pop();
    let plan = planned(&snapshot);
    assert_eq!(woken(&plan), [], "a cold launch elsewhere");
    assert_eq!(launched(&plan), [(build, SMALL)]);
}

#[test]
fn what_sleeps_counts_against_no_limit_but_waking_does() {
    let mut snapshot = house();
    snapshot.limits[0].machines = Some(1);
    snapshot.images[0].asleep_timeout = Span::from_secs(3_600);
    let small = class(&mut snapshot, 0, &[SMALL]);
    for id in 1..=3 {
        machine(&mut snapshot, id, SMALL, Phase::Asleep(NOW));
    }
    queue(&mut snapshot, small, 1, 0);
    queue(&mut snapshot, small, 2, 0);
    let plan = planned(&snapshot);
    assert_eq!(woken(&plan).len(), 1);
    assert_eq!(plan.waiting[0].why, Blocked::Limit(FULL));
}

#[test]
fn machines_fall_asleep_as_far_as_their_policy_says() {
    let mut snapshot = house();
    snapshot.images[0].sleep = SleepKind::Stop;
    snapshot.images[0].max_asleep = 2;
    snapshot.images[0].asleep_timeout = Span::from_secs(3_600);
    let timely = machine(&mut snapshot, 1, SMALL, Phase::Asleep(NOW));
    let late = Phase::Asleep(NOW - Span::from_secs(3_600));
    let late = machine(&mut snapshot, 2, SMALL, late);
    let first = machine(&mut snapshot, 3, SMALL, idle_for(300));
    let second = machine(&mut snapshot, 4, SMALL, idle_for(301));
    let spot = machine(&mut snapshot, 5, SMALL, idle_for(302));
    snapshot.machines.get_mut(&spot).unwrap().market = Market::Spot;
    let plan = planned(&snapshot);
    let asleep = Action::Sleep {
        machine: first,
        how: SleepKind::Stop,
    };
    assert!(plan.actions.contains(&asleep), "{plan:?}");
    let drained: BTreeMap<MachineId, Reason> = drained(&plan).into_iter().collect();
    assert_eq!(drained.get(&late), Some(&Reason::AsleepTimeout));
    assert_eq!(drained.get(&second), Some(&Reason::IdleTimeout));
    assert_eq!(drained.get(&spot), Some(&Reason::IdleTimeout));
    assert!(!drained.contains_key(&timely));
}
