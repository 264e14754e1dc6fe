//! What the audit finds.

use super::*;

#[test]
fn the_audit_finds_what_a_wrong_planner_would_do() {
    let mut snapshot = house();
    snapshot.limits[0].machines = Some(1);
    let small = class(&mut snapshot, 0, &[SMALL]);
    let build = queue(&mut snapshot, small, 1, 0);
    let busy = machine(&mut snapshot, 1, SMALL, Phase::Busy);
    let attempt = crate::model::AttemptId::from_bits(9);
    let drain = Action::Drain {
        machine: busy,
        reason: Reason::IdleTimeout,
    };
    let bind = Action::Bind {
        build,
        attempt,
        machine: busy,
    };
    let launch = Action::Launch {
        machine: MachineId::from_bits(7),
        image: LARGE,
        version: 1,
        market: Market::OnDemand,
        offerings: vec![0],
        claim: Some((BuildId::from_bits(2), attempt)),
    };
    let found = |actions: Vec<Action>| {
        let plan = Plan {
            actions,
            ..Plan::default()
        };
        audit(&snapshot, &plan, NOW)
    };
    assert_eq!(found(vec![drain]), [Violation::DrainsWork(busy)]);
    assert_eq!(found(vec![bind]), [Violation::NotFree(busy)]);
    let violations = found(vec![launch]);
    assert_eq!(violations[0], Violation::NotQueued(BuildId::from_bits(2)));
    assert!(matches!(
        violations[1],
        Violation::OverLimit { planned: 2, .. }
    ));
}
