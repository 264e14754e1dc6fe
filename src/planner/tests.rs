//! Plans for literal snapshots, and properties over random ones. Every plan goes through the audit.

mod share;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

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

/// The ladder of one image: two zones of spot, one on-demand.
fn ladder(snapshot: &mut Snapshot, market: MarketChoice) {
    let image = &mut snapshot.images[0];
    image.market = market;
    image.offerings = vec![
        offering(10, Market::Spot, 0),
        OfferingView {
            zone: 1,
            ..offering(15, Market::Spot, 1)
        },
        offering(40, Market::OnDemand, 2),
    ];
}

fn places(plan: &Plan) -> Vec<(Market, Vec<usize>)> {
    let launch = |action: &Action| match action {
        Action::Launch {
            market, offerings, ..
        } => Some((*market, offerings.clone())),
        Action::Bind { .. }
        | Action::Wake { .. }
        | Action::Sleep { .. }
        | Action::GiveUp { .. }
        | Action::Drain { .. } => None,
    };
    plan.actions.iter().filter_map(launch).collect()
}

#[test]
fn a_launch_names_all_open_pools_of_the_first_market_that_has_any() {
    let mut snapshot = house();
    let small = class(&mut snapshot, 0, &[SMALL]);
    queue(&mut snapshot, small, 1, 0);
    ladder(&mut snapshot, MarketChoice::SpotWithFallback);
    assert_eq!(places(&planned(&snapshot)), [(Market::Spot, vec![0, 1])]);
    let later = NOW + Span::from_secs(60);
    snapshot.images[0].offerings[0].available_after = Some(later);
    assert_eq!(places(&planned(&snapshot)), [(Market::Spot, vec![1])]);
    snapshot.images[0].offerings[1].available_after = Some(later);
    assert_eq!(places(&planned(&snapshot)), [(Market::OnDemand, vec![2])]);
    snapshot.images[0].market = MarketChoice::Spot;
    let plan = planned(&snapshot);
    assert_eq!(places(&plan), []);
    assert_eq!(plan.waiting[0].why, Blocked::Dry(SMALL, later));
    assert_eq!(plan.wake_at, Some(later), "the next try is known");
    snapshot.images[0].market = MarketChoice::OnDemand;
    assert_eq!(places(&planned(&snapshot)), [(Market::OnDemand, vec![2])]);
}

#[test]
fn a_pool_whose_time_is_over_is_open_again() {
    let mut snapshot = house();
    let small = class(&mut snapshot, 0, &[SMALL]);
    queue(&mut snapshot, small, 1, 0);
    ladder(&mut snapshot, MarketChoice::Spot);
    snapshot.images[0].offerings[0].available_after = Some(NOW);
    assert_eq!(places(&planned(&snapshot)), [(Market::Spot, vec![0, 1])]);
}

#[test]
fn a_dry_image_gives_way_to_the_next_one() {
    let mut snapshot = house();
    let both = class(&mut snapshot, 0, &[SMALL, LARGE]);
    let build = queue(&mut snapshot, both, 1, 0);
    snapshot.images[0].offerings[0].available_after = Some(NOW + Span::from_secs(60));
    assert_eq!(launched(&planned(&snapshot)), [(build, LARGE)]);
}

#[test]
fn a_last_retry_takes_no_spare_capacity() {
    let mut snapshot = house();
    let small = class(&mut snapshot, 0, &[SMALL]);
    snapshot.classes.get_mut(&small).unwrap().on_demand = true;
    queue(&mut snapshot, small, 1, 0);
    ladder(&mut snapshot, MarketChoice::SpotWithFallback);
    let spot = machine(&mut snapshot, 1, SMALL, idle_for(1));
    snapshot.machines.get_mut(&spot).unwrap().market = Market::Spot;
    let plan = planned(&snapshot);
    assert_eq!(bound(&plan), []);
    assert_eq!(places(&plan), [(Market::OnDemand, vec![2])]);
    // Where the policy allows nothing else, it does.
    snapshot.images[0].market = MarketChoice::Spot;
    assert_eq!(bound(&planned(&snapshot)).len(), 1);
}

#[test]
fn a_build_that_finds_no_capacity_for_too_long_is_given_up() {
    let mut snapshot = house();
    snapshot.capacity_wait = Some(Span::from_secs(3_600));
    let small = class(&mut snapshot, 0, &[SMALL]);
    let build = queue(&mut snapshot, small, 1, 0);
    let later = NOW + Span::from_secs(60);
    snapshot.images[0].offerings[0].available_after = Some(later);
    assert_eq!(planned(&snapshot).actions, []);
    let class = snapshot.classes.get_mut(&small).unwrap();
    let mut key = class.ready.pop_first().unwrap();
    key.submitted_at = NOW - Span::from_secs(3_600);
    snapshot.enqueue(small, key, None);
    let plan = planned(&snapshot);
    let [
        Action::GiveUp {
            build: given,
            reason,
            ..
        },
    ] = plan.actions.as_slice()
    else {
        panic!("{plan:?}");
    };
    assert_eq!(*given, build);
    assert!(reason.contains("no capacity for 1h"), "{reason}");
}

#[test]
fn an_interrupted_machine_gets_no_build_and_goes() {
    let mut snapshot = house();
    let small = class(&mut snapshot, 0, &[SMALL]);
    let build = queue(&mut snapshot, small, 1, 0);
    let doomed = machine(&mut snapshot, 1, SMALL, idle_for(1));
    snapshot.machines.get_mut(&doomed).unwrap().is_interrupted = true;
    let plan = planned(&snapshot);
    assert_eq!(launched(&plan), [(build, SMALL)]);
    assert!(matches!(drained(&plan)[..], [(id, Reason::Interrupted(_))] if id == doomed));
}

fn woken(plan: &Plan) -> Vec<(MachineId, usize)> {
    let wake = |action: &Action| match action {
        Action::Wake {
            machine, offering, ..
        } => Some((*machine, *offering)),
        Action::Bind { .. }
        | Action::Launch { .. }
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

/// Offerings of a random image: price, whether spare capacity, when it is to be had, and the zone.
fn any_offerings() -> impl Strategy<Value = Vec<OfferingView>> {
    let one = (
        1_u64..60,
        any::<bool>(),
        prop::option::of(-9_i64..9),
        0_u32..2,
    );
    prop::collection::vec(one, 0..5).prop_map(|all| {
        let views = all.into_iter().enumerate();
        let views = views.map(|(place, (price, is_spot, dry, zone))| OfferingView {
            available_after: dry.map(seconds_from_now),
            zone,
            ..offering(price, market(is_spot), place)
        });
        let mut views: Vec<OfferingView> = views.collect();
        views.sort_unstable();
        views
    })
}

const fn market(is_spot: bool) -> Market {
    if is_spot {
        Market::Spot
    } else {
        Market::OnDemand
    }
}

fn seconds_from_now(secs: i64) -> Timestamp {
    Timestamp::from_micros(NOW.micros() + secs * 1_000_000)
}

fn any_image() -> impl Strategy<Value = ImageView> {
    let markets = prop::sample::select(vec![
        MarketChoice::OnDemand,
        MarketChoice::Spot,
        MarketChoice::SpotWithFallback,
    ]);
    let sleep = prop::sample::select(vec![SleepKind::Never, SleepKind::Stop]);
    let state = (any::<bool>(), any::<bool>(), 0_u64..600);
    (state, any_offerings(), markets, sleep, 0_u32..3).prop_map(
        |((active, cooling, idle), offerings, market, sleep, max_asleep)| ImageView {
            version: active.then_some(1),
            idle_timeout: Span::from_secs(idle),
            max_lifetime: Span::from_secs(3_600),
            max_builds: 2,
            paused: cooling.then(|| pause(NOW + Span::from_secs(5))),
            offerings,
            market,
            sleep,
            max_asleep,
            asleep_timeout: Span::from_secs(600),
            ..ImageView::default()
        },
    )
}

/// A random house: builds of random classes, machines in random phases, limits, cool-downs, markets
/// and pools that are dry.
pub(super) fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    let images = prop::collection::vec(any_image(), 1..6);
    let fitting = prop::collection::btree_set(0_usize..6, 0..4);
    let classes = prop::collection::vec((fitting, any::<bool>(), any::<bool>()), 1..6);
    let builds = prop::collection::vec((0_usize..6, -2_i32..3, prop::option::of(-9_i64..9)), 0..40);
    let machines = prop::collection::vec(
        (
            (0_usize..6, 0_u8..7, 0_u64..900, 0_u32..3),
            any::<bool>(),
            0_usize..6,
            any::<bool>(),
        ),
        0..20,
    );
    let limits = prop::collection::vec((prop::option::of(0_usize..6), 0_u32..15), 1..3);
    let patience = prop::option::of(0_u64..20);
    (images, classes, builds, machines, (limits, patience)).prop_map(
        |(images, classes, builds, machines, (limits, patience))| {
            let mut snapshot = house();
            snapshot.images = images;
            for (place, image) in snapshot.images.iter_mut().enumerate() {
                image.name = format!("image-{place}");
            }
            snapshot.capacity_wait = patience.map(Span::from_secs);
            let count = snapshot.images.len();
            let some_image = |place: usize| ImageIndex(place % count);
            for (id, (images, fresh, on_demand)) in (0_u32..).zip(&classes) {
                let images: BTreeSet<ImageIndex> = images.iter().map(|p| some_image(*p)).collect();
                let id = class(&mut snapshot, id, &images.into_iter().collect::<Vec<_>>());
                let class = snapshot.classes.get_mut(&id).unwrap();
                (class.fresh, class.on_demand) = (*fresh, *on_demand);
            }
            for (id, (place, priority, wait)) in (1_u128..).zip(builds) {
                let class = ClassId(u32::try_from(place % classes.len()).unwrap());
                let build = BuildId::from_bits(id);
                let key = QueueKey {
                    priority: Reverse(priority),
                    submitted_at: NOW - Span::from_secs(10),
                    build,
                };
                snapshot.enqueue(class, key, wait.map(seconds_from_now));
            }
            for (id, machine) in (1_u128..).zip(machines) {
                add_machine(&mut snapshot, id, machine);
            }
            snapshot.limits = limits
                .into_iter()
                .map(|(image, machines)| Limit {
                    name: "some".to_owned(),
                    scope: Scope {
                        images: image.map(|place| BTreeSet::from([some_image(place)])),
                        ..Scope::default()
                    },
                    machines: Some(machines),
                    ..Limit::default()
                })
                .collect();
            snapshot
        },
    )
}

/// Image, phase, time in it and builds done; whether spare capacity; offering; whether taken back.
type AnyMachine = ((usize, u8, u64, u32), bool, usize, bool);

fn add_machine(snapshot: &mut Snapshot, id: u128, any: AnyMachine) {
    let ((place, phase, age, done), is_spot, offering, is_interrupted) = any;
    let phase = match phase {
        0 => Phase::Coming { claimed: true },
        1 => Phase::Coming { claimed: false },
        2 => idle_for(age),
        3 => Phase::Busy,
        4 => Phase::Asleep(NOW - Span::from_secs(age)),
        5 => Phase::FallingAsleep,
        _ => Phase::Ending,
    };
    let image = ImageIndex(place % snapshot.images.len());
    let id = machine(snapshot, id, image, phase);
    let view = snapshot.machines.get_mut(&id).unwrap();
    let may_be_spot = !matches!(phase, Phase::Asleep(_) | Phase::FallingAsleep);
    view.builds_done = done;
    view.market = market(is_spot && may_be_spot);
    view.offering = Some(offering).filter(|place| *place < 5);
    view.is_interrupted = is_interrupted && is_spot && may_be_spot;
}

/// Whether a machine would do for a class, wherever it stands.
fn would_do(snapshot: &Snapshot, class: &Class, machine: &MachineView) -> bool {
    let image = &snapshot.images[machine.image.0];
    let is_sure = machine.market == Market::OnDemand || image.market == MarketChoice::Spot;
    !machine.is_interrupted
        && (!class.fresh || machine.builds_done == 0)
        && (!class.on_demand || is_sure)
}

/// Whether a machine that is asleep could be woken: its zone has some type.
fn could_wake(view: &ImageView, machine: &MachineView) -> bool {
    let was = view
        .offerings
        .iter()
        .find(|o| Some(o.place) == machine.offering);
    was.is_some_and(|was| {
        view.offerings
            .iter()
            .any(|o| o.zone == was.zone && o.market == Market::OnDemand && is_open(o))
    })
}

fn is_open(offering: &OfferingView) -> bool {
    offering.available_after.is_none_or(|after| after <= NOW)
}

/// Whether a machine for a class may be taken from an offering.
fn may_buy(class: &Class, view: &ImageView, offering: &OfferingView) -> bool {
    let is_allowed = match (view.market, offering.market) {
        (MarketChoice::OnDemand, market) => market == Market::OnDemand,
        (MarketChoice::Spot, market) => market == Market::Spot,
        (MarketChoice::SpotWithFallback, Market::Spot) => !class.on_demand,
        (MarketChoice::SpotWithFallback, Market::OnDemand) => true,
    };
    is_allowed && is_open(offering)
}

/// Machines per image that run after a plan, those on their way out included.
fn count_after(snapshot: &Snapshot, plan: &Plan) -> BTreeMap<ImageIndex, u32> {
    let mut count = BTreeMap::new();
    let is_awake = |machine: &&MachineView| !matches!(machine.phase, Phase::Asleep(_));
    for machine in snapshot.machines.values().filter(is_awake) {
        *count.entry(machine.image).or_default() += 1;
    }
    let woken = plan.actions.iter().filter_map(|action| {
        let Action::Wake { machine, .. } = action else {
            return None;
        };
        Some(snapshot.machines[machine].image)
    });
    for image in launched(plan)
        .into_iter()
        .map(|(_, image)| image)
        .chain(woken)
    {
        *count.entry(image).or_default() += 1;
    }
    count
}

proptest! {
    /// The audit finds nothing, and the same input gives the same plan.
    #[test]
    fn plans_are_sound_and_deterministic(snapshot in any_snapshot()) {
        prop_assert_eq!(planned(&snapshot), planned(&snapshot));
    }

    /// A build stays queued only while nothing that could run it is free and nothing may be launched.
    #[test]
    fn no_build_waits_for_what_is_there(snapshot in any_snapshot()) {
        let plan = planned(&snapshot);
        let used: BTreeSet<MachineId> = plan.actions.iter().filter_map(|action| match action {
            Action::Bind { machine, .. } | Action::Launch { machine, .. }
            | Action::Wake { machine, .. } | Action::Sleep { machine, .. }
            | Action::Drain { machine, .. } => Some(*machine),
            Action::GiveUp { .. } => None,
        }).collect();
        let count = count_after(&snapshot, &plan);
        for waiting in &plan.waiting {
            if matches!(waiting.why, Blocked::Backoff(_)) {
                continue;
            }
            let class = &snapshot.classes[&waiting.class];
            for candidate in &class.candidates {
                let view = &snapshot.images[candidate.image.0];
                let of_it = |(id, machine): &(&MachineId, &MachineView)| {
                    machine.image == candidate.image && !used.contains(id)
                        && would_do(&snapshot, class, machine)
                };
                let free = snapshot.machines.iter().filter(of_it).any(|(_, machine)| {
                    matches!(machine.phase, Phase::Idle(_) | Phase::Coming { claimed: false })
                });
                prop_assert!(!free, "a free machine of image {:?}", candidate.image);
                let limited = snapshot.limits.iter().any(|limit| {
                    let covers = |image| limit.scope.covers(image, None, &[]);
                    let covered = count.iter().filter(|(image, _)| covers(**image));
                    covers(candidate.image)
                        && Some(covered.map(|(_, count)| *count).sum::<u32>()) >= limit.machines
                });
                if view.version.is_none() || view.paused.is_some() || limited {
                    continue;
                }
                let asleep = snapshot.machines.iter().filter(of_it).any(|(_, machine)| {
                    matches!(machine.phase, Phase::Asleep(_)) && could_wake(view, machine)
                });
                prop_assert!(!asleep, "a sleeping machine of image {:?}", candidate.image);
                let offered = view.offerings.iter().any(|o| may_buy(class, view, o));
                prop_assert!(!offered, "capacity for image {:?}", candidate.image);
            }
        }
    }

    /// What is bought is for sale, on one market that the policy allows, cheapest first and none
    /// of it for more than twice as much.
    #[test]
    fn only_what_is_there_and_allowed_is_bought(snapshot in any_snapshot()) {
        let plan = planned(&snapshot);
        for action in &plan.actions {
            let Action::Launch { image, market, offerings, claim: Some((build, _)), .. } = action else {
                continue;
            };
            let class = &snapshot.classes[&snapshot.queued[build].class];
            let view = &snapshot.images[image.0];
            let bought: Vec<&OfferingView> = offerings
                .iter()
                .map(|place| view.offerings.iter().find(|o| o.place == *place).unwrap())
                .collect();
            prop_assert!(!bought.is_empty());
            prop_assert!(bought.iter().all(|o| o.market == *market && may_buy(class, view, o)));
            prop_assert!(bought.is_sorted_by_key(|offering| offering.price));
            let most = bought[0].price.micros_per_hour() * 2;
            prop_assert!(bought.iter().all(|o| o.price.micros_per_hour() <= most));
        }
    }

    /// A machine wakes as a type that its zone has, and only as many sleep as may.
    #[test]
    fn machines_sleep_and_wake_by_the_rules(snapshot in any_snapshot()) {
        let plan = planned(&snapshot);
        let mut asleep: BTreeMap<ImageIndex, u32> = BTreeMap::new();
        for machine in snapshot.machines.values() {
            if matches!(machine.phase, Phase::Asleep(_) | Phase::FallingAsleep) {
                *asleep.entry(machine.image).or_default() += 1;
            }
        }
        let before = asleep.clone();
        for action in &plan.actions {
            if let Action::Wake { machine, offering, .. } = action {
                let machine = &snapshot.machines[machine];
                let view = &snapshot.images[machine.image.0];
                let find = |place: usize| view.offerings.iter().find(|o| o.place == place);
                let (was, is) = (find(machine.offering.unwrap()), find(*offering));
                prop_assert_eq!(was.unwrap().zone, is.unwrap().zone);
                prop_assert!(is_open(is.unwrap()) && is.unwrap().market == Market::OnDemand);
                *asleep.get_mut(&machine.image).unwrap() -= 1;
            }
            if let Action::Sleep { machine, .. } = action {
                let machine = &snapshot.machines[machine];
                prop_assert_eq!(machine.market, Market::OnDemand);
                prop_assert!(snapshot.images[machine.image.0].sleep != SleepKind::Never);
                *asleep.entry(machine.image).or_default() += 1;
            }
        }
        for (id, _) in drained(&plan) {
            let machine = &snapshot.machines[&id];
            if matches!(machine.phase, Phase::Asleep(_)) {
                *asleep.get_mut(&machine.image).unwrap() -= 1;
            }
        }
        for (image, count) in asleep {
            let most = snapshot.images[image.0].max_asleep;
            prop_assert!(count <= most.max(before.get(&image).copied().unwrap_or(0)));
        }
    }

    /// Every queued build is either placed or reported as waiting.
    #[test]
    fn every_queued_build_is_accounted_for(snapshot in any_snapshot()) {
        let plan = planned(&snapshot);
        let is_placed = |action: &&Action| !matches!(action, Action::GiveUp { .. });
        let placed = plan.actions.iter().filter(is_placed).filter_map(Action::build).count();
        let waiting: usize = plan.waiting.iter().map(|waiting| waiting.builds).sum();
        prop_assert_eq!(placed + waiting, snapshot.queued.len());
    }

    /// With an empty queue, doing what the plans say ends all idle machines within the timeout.
    #[test]
    fn an_empty_queue_leads_to_no_machines(snapshot in any_snapshot()) {
        let mut snapshot = snapshot;
        for build in snapshot.queued.keys().copied().collect::<Vec<_>>() {
            snapshot.dequeue(build);
        }
        let later = NOW + Span::from_secs(600);
        let plan = plan(&snapshot, later, &mut || 1);
        let mut rests: BTreeSet<MachineId> = drained(&plan).into_iter().map(|(id, _)| id).collect();
        rests.extend(plan.actions.iter().filter_map(|action| {
            let Action::Sleep { machine, .. } = action else {
                return None;
            };
            Some(*machine)
        }));
        for (id, machine) in &snapshot.machines {
            let is_over = matches!(
                machine.phase,
                Phase::Idle(_) | Phase::Coming { claimed: false } | Phase::Asleep(_)
            );
            prop_assert!(!is_over || rests.contains(id));
        }
    }

    /// What a pass saw says all that it depended on, also after a journey as text.
    #[test]
    fn a_recorded_pass_gives_the_same_plan_again(snapshot in any_snapshot()) {
        let mut ids = Vec::new();
        let plan = plan(&snapshot, NOW, &mut || {
            ids.push(u128::MAX - ids.len() as u128);
            ids[ids.len() - 1]
        });
        let text = serde_json::to_string(&RecordedPass::new(&snapshot, NOW, &ids, &plan)).unwrap();
        let mut pass: RecordedPass = serde_json::from_str(&text).unwrap();
        let again = replay(&pass);
        prop_assert_eq!(again.differences, Vec::<String>::new());
        prop_assert_eq!(again.plan, plan);
        prop_assert_eq!(again.violations, Vec::new());
        pass.plan.wake_at = Some(Timestamp::from_micros(7));
        prop_assert_eq!(replay(&pass).differences.len(), 1);
    }
}
