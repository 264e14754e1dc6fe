//! Whose turn it is.

use super::limits::{DOCS, WEB, class_of, projects};
use super::*;

/// Places one build at a time on the only machine, and says whose builds went when.
fn serve(flows: &[(u32, i32)], each: u32) -> Vec<usize> {
    let mut snapshot = house();
    let weights: Vec<u32> = flows.iter().map(|(weight, _)| *weight).collect();
    projects(&mut snapshot, &weights);
    let only = machine(&mut snapshot, 1, SMALL, idle_for(1));
    snapshot.limits[0].machines = Some(1);
    let mut owners = BTreeMap::new();
    let mut next = 1;
    for (place, (_, priority)) in flows.iter().enumerate() {
        let id = class_of(
            &mut snapshot,
            u32::try_from(place).unwrap(),
            ProjectIndex(place),
        );
        snapshot.classes.get_mut(&id).unwrap().priority = *priority;
        for _ in 0..each {
            owners.insert(queue(&mut snapshot, id, next, *priority), place);
            next += 1;
        }
    }
    let mut served = Vec::new();
    while !snapshot.queued.is_empty() {
        let plan = planned(&snapshot);
        let placed = bound(&plan);
        assert_eq!(
            placed.len(),
            1,
            "a free machine and builds that wait: {plan:?}"
        );
        assert_eq!(placed[0].1, only);
        snapshot.charge(placed[0].0);
        snapshot.dequeue(placed[0].0);
        served.push(owners[&placed[0].0]);
    }
    served
}

#[test]
fn a_higher_priority_goes_first_but_nothing_starves() {
    let served = serve(&[(1, 0), (1, 5)], 64);
    let first_low = served.iter().position(|flow| *flow == 0).unwrap();
    assert!(first_low <= 32, "{first_low}");
    let high_among_first = served[..33].iter().filter(|flow| **flow == 1).count();
    assert_eq!(high_among_first, 32);
}

#[test]
fn twice_the_weight_gets_twice_the_machines() {
    let served = serve(&[(2, 0), (1, 0)], 60);
    let first = served[..90].iter().filter(|flow| **flow == 0).count();
    assert!((58..=60).contains(&first), "{first}");
}

#[test]
fn a_flow_that_comes_late_gets_its_share_and_no_more() {
    let mut shares = Shares::default();
    let (early, late) = (
        Flow {
            project: WEB,
            priority: 0,
        },
        Flow {
            project: DOCS,
            priority: 0,
        },
    );
    shares.enter(early);
    for _ in 0..1_000 {
        shares.charge(early, 1);
    }
    shares.enter(late);
    let mut turns = [0, 0];
    for _ in 0..10 {
        let place = usize::from(shares.tag(late) < shares.tag(early));
        shares.charge([early, late][place], 1);
        turns[place] += 1;
    }
    assert!(turns[1] >= 4 && turns[1] <= 6, "{turns:?}");
}

#[test]
fn a_flow_that_could_not_be_placed_keeps_the_credit_of_one_build() {
    let mut shares = Shares::default();
    let (stuck, other) = (
        Flow {
            project: WEB,
            priority: 0,
        },
        Flow {
            project: DOCS,
            priority: 0,
        },
    );
    shares.enter(stuck);
    shares.enter(other);
    for _ in 0..1_000 {
        shares.charge(other, 1);
    }
    let mut ahead = 0;
    while shares.tag(stuck) < shares.tag(other) {
        shares.charge(stuck, 1);
        ahead += 1;
    }
    assert!((1..=3).contains(&ahead), "{ahead}");
}

/// Two flows wait for one image, and builds of a third one, on another image, get machines all the
/// time. Of the two the higher priority goes first once there is room, however long that was.
#[test]
fn a_higher_priority_goes_first_however_long_others_went_on() {
    let flow = |project, priority| Flow {
        project: ProjectIndex(project),
        priority,
    };
    let (high, low, other) = (flow(0, 1), flow(1, -1), flow(2, 0));
    let mut shares = Shares::default();
    for flow in [high, low, other] {
        shares.enter(flow);
    }
    let mut served = Vec::new();
    for _ in 0..10 {
        for _ in 0..20 {
            shares.charge(other, 1);
        }
        // The younger of equals waits.
        let next = if shares.tag(low) < shares.tag(high) {
            low
        } else {
            high
        };
        shares.charge(next, 1);
        served.push(next.priority);
    }
    let highs = served.iter().filter(|priority| **priority == 1).count();
    assert!(highs >= 5, "{served:?}");
}

proptest! {
    /// Bounded overtaking: the k-th build of a flow waits for at most k times (sum of weights / its
    /// weight) placements and one for each flow; and no machine stands free while builds wait.
    #[test]
    fn nothing_starves(flows in prop::collection::vec((1_u32..5, -3_i32..4), 1..5)) {
        let each = 12;
        let served = serve(&flows, each);
        let weight = |(weight, priority): &(u32, i32)| {
            let doubled = u32::try_from(*priority + 10).unwrap();
            u64::from(*weight) << doubled
        };
        let sum: u64 = flows.iter().map(weight).sum();
        for (place, flow) in flows.iter().enumerate() {
            let turns = served.iter().enumerate().filter(|(_, served)| **served == place);
            for (k, (at, _)) in (1_u64..).zip(turns) {
                let most = (k * sum).div_ceil(weight(flow)) + flows.len() as u64;
                prop_assert!(at as u64 <= most, "build {k} of {flow:?} at {at}, {most} allowed");
            }
        }
    }
}
