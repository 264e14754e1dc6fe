//! Markets, pools that are dry, and machines that are taken back.

use super::*;

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
        | Action::Move { .. }
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
