//! Floors, ceilings and billed pieces on literal snapshots. Every plan goes through the audit.

use proptest::prelude::*;

use super::*;
use crate::model::{Billing, MachineId, Market, Money, Rate, Reason, SleepKind, Span, Timestamp};
use crate::planner::{Limit, Meter, OfferingView, Quota, Reached};

const NOW: Timestamp = Timestamp::from_micros(1_000_000_000_000);
const IMAGE: ImageIndex = ImageIndex(0);
const PRICE: Rate = Rate::from_micros_per_hour(3_600_000);

const fn secs(secs: u64) -> Span {
    Span::from_secs(secs)
}

/// One image, whose idle machines go after five minutes.
fn house() -> Snapshot {
    Snapshot {
        images: vec![ImageView {
            name: "linux".to_owned(),
            version: Some(1),
            idle_timeout: secs(300),
            max_lifetime: secs(86_400),
            max_builds: 100,
            offerings: vec![OfferingView {
                price: PRICE,
                market: Market::OnDemand,
                available_after: None,
                zone: 0,
                vcpus: 2,
                place: 0,
            }],
            sleep: SleepKind::Stop,
            max_asleep: 1,
            asleep_timeout: secs(1_000),
            ..ImageView::default()
        }],
        limits: vec![Limit {
            name: "default".to_owned(),
            machines: Some(10),
            ..Limit::default()
        }],
        ..Snapshot::default()
    }
}

fn floors(running: u32, asleep: u32) -> Floors {
    Floors {
        running,
        asleep,
        sleep: SleepKind::Stop,
        why: FloorWhy::Schedule,
        max_age: None,
        ceiling: None,
    }
}

fn with_floors(floors: Floors) -> Snapshot {
    let mut snapshot = house();
    snapshot.warm.insert(IMAGE, floors);
    snapshot
}

fn machine(snapshot: &mut Snapshot, id: u128, phase: Phase, builds_done: u32) -> MachineId {
    let view = MachineView {
        image: IMAGE,
        version: 1,
        price: PRICE,
        market: Market::OnDemand,
        offering: Some(0),
        is_interrupted: false,
        project: None,
        past: Past::default(),
        phase,
        created_at: NOW - secs(5_000),
        builds_done,
        claims: 0,
        free: 1,
        meter: Meter::default(),
        held_until: None,
    };
    snapshot.machines.insert(MachineId::from_bits(id), view);
    MachineId::from_bits(id)
}

fn idle_for(span: u64) -> Phase {
    Phase::Idle(NOW - secs(span))
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

/// What a plan does with machines, in words.
fn deeds(plan: &Plan) -> Vec<String> {
    let words = |action: &Action| match action {
        Action::Launch { claim, .. } => format!("launch {}", claim.is_some()),
        Action::Wake { machine, .. } => format!("wake {}", bits(*machine)),
        Action::Sleep { machine, .. } => format!("sleep {}", bits(*machine)),
        Action::Drain { machine, reason } => format!("end {} {reason:?}", bits(*machine)),
        Action::Bind { machine, .. } => format!("bind {}", bits(*machine)),
        Action::Move { machine, .. } => format!("move {}", bits(*machine)),
        Action::GiveUp { .. } => "give up".to_owned(),
    };
    plan.actions.iter().map(words).collect()
}

fn bits(id: MachineId) -> u128 {
    (0..10_000)
        .find(|n| MachineId::from_bits(*n) == id)
        .unwrap_or(0)
}

#[test]
fn an_empty_queue_without_a_floor_leads_to_no_machines() {
    let mut snapshot = house();
    snapshot.images[0].sleep = SleepKind::Never;
    machine(&mut snapshot, 1, idle_for(301), 1);
    machine(&mut snapshot, 2, Phase::Coming { claimed: false }, 0);
    assert_eq!(
        deeds(&planned(&snapshot)),
        ["end 1 IdleTimeout", "end 2 Unneeded"]
    );
}

#[test]
fn a_floor_is_filled_and_what_is_on_its_way_counts() {
    let mut snapshot = with_floors(floors(3, 0));
    machine(&mut snapshot, 1, Phase::Coming { claimed: false }, 0);
    machine(&mut snapshot, 2, Phase::Coming { claimed: true }, 0);
    machine(&mut snapshot, 3, Phase::Busy, 0);
    let plan = planned(&snapshot);
    assert_eq!(deeds(&plan), ["launch false", "launch false"]);
    assert_eq!(plan.floors[0].blocked, None);
}

#[test]
fn the_youngest_idle_machines_are_kept_and_the_others_go() {
    let mut snapshot = with_floors(floors(2, 0));
    snapshot.images[0].sleep = SleepKind::Never;
    for (id, age) in [(1, 900), (2, 400), (3, 600)] {
        machine(&mut snapshot, id, idle_for(age), 1);
    }
    let plan = planned(&snapshot);
    assert_eq!(deeds(&plan), ["end 1 IdleTimeout"]);
    let kept: Vec<_> = plan
        .kept
        .iter()
        .map(|kept| (bits(kept.machine), kept.why))
        .collect();
    let floor = KeptWhy::Floor(FloorWhy::Schedule);
    assert_eq!(kept, [(2, floor), (3, floor)]);
    let report = render(&snapshot, &plan, NOW);
    assert!(
        report.machines[0].contains("schedule"),
        "{:?}",
        report.machines
    );
}

#[test]
fn a_floor_ends_with_its_window_and_the_plan_wakes_for_it() {
    let mut snapshot = with_floors(floors(1, 0));
    snapshot.changes_at = Some(NOW + secs(77));
    machine(&mut snapshot, 1, idle_for(900), 1);
    assert_eq!(planned(&snapshot).wake_at, Some(NOW + secs(77)));
    snapshot.warm.clear();
    snapshot.images[0].sleep = SleepKind::Never;
    assert_eq!(deeds(&planned(&snapshot)), ["end 1 IdleTimeout"]);
}

#[test]
fn floors_stay_under_limits() {
    let mut snapshot = with_floors(floors(5, 0));
    snapshot.limits[0].machines = Some(2);
    let plan = planned(&snapshot);
    assert_eq!(deeds(&plan), ["launch false", "launch false"]);
    assert_eq!(
        plan.floors[0].blocked,
        Some(Blocked::Limit(Reached {
            limit: 0,
            quota: Quota::Machines,
            until: None,
        }))
    );
}

#[test]
fn a_machine_asleep_is_woken_before_one_is_launched() {
    let mut snapshot = with_floors(floors(2, 0));
    machine(&mut snapshot, 1, Phase::Asleep(NOW - secs(10)), 1);
    assert_eq!(deeds(&planned(&snapshot)), ["wake 1", "launch false"]);
}

#[test]
fn the_floor_of_machines_asleep_is_filled_with_new_ones() {
    let mut snapshot = with_floors(floors(1, 2));
    machine(&mut snapshot, 1, idle_for(5), 0);
    machine(&mut snapshot, 2, idle_for(7), 0);
    // The first is kept running, the second goes to sleep, another one is needed.
    assert_eq!(deeds(&planned(&snapshot)), ["sleep 2", "launch false"]);
    // Neither is ended for having slept too long.
    let mut rested = with_floors(floors(0, 2));
    machine(&mut rested, 1, Phase::Asleep(NOW - secs(5_000)), 1);
    machine(&mut rested, 2, Phase::Asleep(NOW - secs(4_000)), 1);
    machine(&mut rested, 3, Phase::Asleep(NOW - secs(3_000)), 1);
    assert_eq!(deeds(&planned(&rested)), ["end 1 AsleepTimeout"]);
}

#[test]
fn a_spare_that_nobody_used_is_replaced() {
    let mut old = floors(1, 0);
    old.max_age = Some(secs(5_000));
    let mut snapshot = with_floors(old);
    machine(&mut snapshot, 1, idle_for(10), 0);
    assert_eq!(deeds(&planned(&snapshot)), ["end 1 Unused", "launch false"]);
    // One that has run a build is no spare that lies about.
    let mut used = with_floors(old);
    machine(&mut used, 1, idle_for(10), 1);
    assert_eq!(deeds(&planned(&used)), Vec::<String>::new());
}

fn ceiling(max: i64, spent: i64) -> Ceiling {
    Ceiling {
        max: Money::from_micros(max),
        spent: Money::from_micros(spent),
        from: NOW - secs(40_000),
        until: NOW + secs(10_000),
    }
}

#[test]
fn a_ceiling_ends_the_floor_for_the_day() {
    let mut spent = floors(2, 0);
    // A second of standing by costs 1,000 micro-dollars.
    spent.ceiling = Some(ceiling(1_000_000, 800_000));
    let mut snapshot = with_floors(spent);
    snapshot.images[0].sleep = SleepKind::Never;
    machine(&mut snapshot, 1, idle_for(301), 1);
    // 800,000 and 301,000 are more than a million.
    let plan = planned(&snapshot);
    assert_eq!(deeds(&plan), ["end 1 IdleTimeout"]);
    assert_eq!(plan.wake_at, Some(NOW + secs(10_000)));
}

#[test]
fn a_plan_wakes_when_the_ceiling_will_be_reached() {
    let mut some_left = floors(1, 0);
    some_left.ceiling = Some(ceiling(2_000_000, 1_000_000));
    let mut snapshot = with_floors(some_left);
    machine(&mut snapshot, 1, idle_for(400), 1);
    let plan = planned(&snapshot);
    assert_eq!(deeds(&plan), Vec::<String>::new());
    // 600,000 are left, of which the last five minutes are not begun.
    assert_eq!(plan.wake_at, Some(NOW + secs(301)));
}

fn terms(timeout: u64, quantum: u64, minimum: u64) -> IdleTerms {
    IdleTerms {
        timeout: secs(timeout),
        why: IdleWhy::Said,
        billing: Billing {
            quantum: secs(quantum),
            minimum: secs(minimum),
        },
        billed_from: NOW - secs(1_000),
    }
}

#[test]
fn a_machine_stays_for_the_time_that_is_paid_and_goes_before_the_next_piece() {
    let idle_since = NOW - secs(10);
    let at = |terms: IdleTerms| terms.goes_at(idle_since).0;
    // By the second: the timeout.
    assert_eq!(at(terms(300, 0, 60)), idle_since + secs(300));
    // A minimum that is not used up.
    assert_eq!(at(terms(300, 0, 2_000)), NOW + secs(1_000));
    // By the hour: a timeout of five minutes buys no second one.
    assert_eq!(at(terms(300, 3_600, 0)), NOW + secs(2_600 - 120));
    // One of an hour buys one more.
    assert_eq!(at(terms(3_600, 3_600, 0)), NOW + secs(2_600 + 3_600 - 120));
    // A day for a machine that is rented by the day.
    assert_eq!(at(terms(300, 86_400, 86_400)), NOW + secs(85_400 - 120));
}

#[test]
fn the_report_says_what_a_boot_is_worth() {
    let mut snapshot = house();
    let id = machine(&mut snapshot, 1, idle_for(10), 1);
    let why = IdleWhy::Worth {
        boot: secs(40),
        value_of_wait: Rate::from_micros_per_hour(20_000_000),
        price: Rate::from_micros_per_hour(170_000),
        learnt_from: Some(212),
    };
    snapshot.idle.insert(
        id,
        IdleTerms {
            why,
            ..terms(200, 0, 0)
        },
    );
    let report = render(&snapshot, &planned(&snapshot), NOW);
    let said = &report.machines[0];
    assert!(
        said.contains("for another 3m 10s: a boot costs 40s x (1 + $20/h / $0.17/h)"),
        "{said}"
    );
    assert!(said.contains("212 gaps"), "{said}");
}

/// Machines in some phase, some idle for long, some asleep.
fn phases() -> impl Strategy<Value = Vec<(Phase, u32)>> {
    let phase = (0_u8..5, 1_u64..2_000).prop_map(|(kind, age)| match kind {
        0 => Phase::Idle(NOW - secs(age)),
        1 => Phase::Asleep(NOW - secs(age)),
        2 => Phase::Coming { claimed: false },
        3 => Phase::Busy,
        _ => Phase::FallingAsleep,
    });
    prop::collection::vec((phase, 0_u32..2), 0..8)
}

proptest! {
    /// Whatever there is, one pass brings the floor about or says what is in the way; never more than
    /// the limit, and nothing for money that is spent.
    #[test]
    fn floors_are_held_under_limits_and_ceilings(
        machines in phases(),
        running in 0_u32..5,
        asleep in 0_u32..3,
        limit in 0_u32..12,
        left in prop::option::of(-1_000_000_i64..5_000_000),
    ) {
        let mut wanted = floors(running, asleep);
        wanted.ceiling = left.map(|left| ceiling(10_000_000, 10_000_000 - left));
        let mut snapshot = with_floors(wanted);
        snapshot.limits[0].machines = Some(limit);
        for (id, (phase, builds)) in machines.iter().enumerate() {
            machine(&mut snapshot, id as u128 + 1, *phase, *builds);
        }
        let plan = planned(&snapshot);
        let mut left_over = 0_usize;
        for view in snapshot.machines.values() {
            left_over += usize::from(matches!(view.phase, Phase::Idle(_) | Phase::Coming { claimed: false }));
        }
        let (mut made, mut taken) = (0, 0);
        for action in &plan.actions {
            match action {
                Action::Launch { .. } | Action::Wake { .. } => made += 1,
                Action::Drain { machine, .. } | Action::Sleep { machine, .. } => {
                    let phase = snapshot.machines[machine].phase;
                    taken += usize::from(!matches!(phase, Phase::Asleep(_)));
                }
                Action::Bind { .. } | Action::Move { .. } | Action::GiveUp { .. } => {}
            }
        }
        let spares = left_over - taken + made;
        if left.is_some_and(|left| left <= 0) {
            prop_assert_eq!(made, 0);
        }
        let note = plan.floors.first();
        if let Some(note) = note.filter(|note| note.blocked.is_none()) {
            let wanted = usize::try_from(note.floors.running).unwrap();
            prop_assert!(spares >= wanted, "{} of {}", spares, wanted);
        }
        // Nothing is launched for idle machines that are ended at the same time.
        let idle_ended = plan.actions.iter().any(|action| {
            matches!(action, Action::Drain { reason: Reason::IdleTimeout, .. })
        });
        prop_assert!(made == 0 || !idle_ended || asleep > 0);
    }
}
