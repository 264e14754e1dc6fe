//! What is said of images, offerings and machines: a case per rule, and that it agrees with the plan.

use super::*;
use crate::model::{Full, Left, Resource, Reuse};

const LATER: Timestamp = Timestamp::from_micros(NOW.micros() + 60_000_000);

/// A house with one queued build for small machines.
fn waiting_house() -> (Snapshot, ClassId, BuildId) {
    let mut snapshot = house();
    let small = class(&mut snapshot, 0, &[SMALL]);
    let build = queue(&mut snapshot, small, 1, 0);
    (snapshot, small, build)
}

fn look(snapshot: &Snapshot, build: BuildId) -> Chances {
    chances(snapshot, build, NOW).expect("it is queued")
}

fn machine_verdict(snapshot: &Snapshot, build: BuildId, id: MachineId) -> MachineVerdict {
    let chances = look(snapshot, build);
    let mut machines = chances.images.iter().flat_map(|image| &image.machines);
    let found = machines.find(|chance| chance.machine == id);
    found.expect("it is of a candidate").verdict.clone()
}

fn offering_verdicts(snapshot: &Snapshot, build: BuildId) -> Vec<OfferingVerdict> {
    let offerings = look(snapshot, build).images[0].offerings.clone();
    offerings.into_iter().map(|chance| chance.verdict).collect()
}

fn set(snapshot: &mut Snapshot, id: MachineId, change: impl FnOnce(&mut MachineView)) {
    change(snapshot.machines.get_mut(&id).expect("it is there"));
}

#[test]
fn idle_machines_rank_last_in_first_out_and_before_launches() {
    let (mut snapshot, _, build) = waiting_house();
    let older = machine(&mut snapshot, 1, SMALL, idle_for(100));
    let newer = machine(&mut snapshot, 2, SMALL, idle_for(10));
    let asleep = machine(&mut snapshot, 3, SMALL, Phase::Asleep(NOW));
    snapshot.images[0].asleep_timeout = Span::from_secs(3_600);
    let rank = |id| machine_verdict(&snapshot, build, id);
    assert_eq!(rank(newer), MachineVerdict::Rank(1));
    assert_eq!(rank(older), MachineVerdict::Rank(2));
    assert_eq!(rank(asleep), MachineVerdict::Rank(3));
    let action = look(&snapshot, build).action;
    assert!(matches!(action, Some(Action::Bind { machine, .. }) if machine == newer));
}

#[test]
fn each_machine_that_cannot_take_it_has_its_rule() {
    let (mut snapshot, small, build) = waiting_house();
    snapshot.limits[0].machines = Some(7);
    let full = machine(&mut snapshot, 1, SMALL, Phase::Busy);
    let ending = machine(&mut snapshot, 2, SMALL, Phase::Ending);
    let dozing = machine(&mut snapshot, 3, SMALL, Phase::FallingAsleep);
    let held = machine(&mut snapshot, 4, SMALL, idle_for(10));
    let interrupted = machine(&mut snapshot, 5, SMALL, idle_for(10));
    let old = machine(&mut snapshot, 6, SMALL, idle_for(10));
    let used = machine(&mut snapshot, 7, SMALL, idle_for(10));
    set(&mut snapshot, held, |m| m.held_until = Some(LATER));
    set(&mut snapshot, interrupted, |m| m.is_interrupted = true);
    set(&mut snapshot, old, |m| m.version = 0);
    snapshot.classes.get_mut(&small).expect("it is there").fresh = true;
    let said = |id| machine_verdict(&snapshot, build, id);
    assert_eq!(said(full), MachineVerdict::Full);
    assert_eq!(said(ending), MachineVerdict::Ending);
    assert_eq!(said(dozing), MachineVerdict::FallingAsleep);
    assert_eq!(said(held), MachineVerdict::Held(LATER));
    assert_eq!(said(interrupted), MachineVerdict::Interrupted);
    assert_eq!(said(old), MachineVerdict::Ends(Reason::ImageChanged));
    assert_eq!(said(used), MachineVerdict::Used);
    let blocked = look(&snapshot, build).blocked;
    assert!(matches!(blocked, Some(Blocked::Limit(_))), "{blocked:?}");
}

#[test]
fn each_rule_of_reuse_has_its_own_verdict() {
    let (mut snapshot, small, build) = waiting_house();
    snapshot.limits[0].machines = Some(12);
    snapshot.images[0].max_builds = 7;
    snapshot.images[0].max_lifetime = Span::from_secs(3_600);
    snapshot.images[0].slots = 2;
    let mut used = |id: u128, change: fn(&mut MachineView)| {
        let id = machine(&mut snapshot, id, SMALL, idle_for(10));
        set(&mut snapshot, id, |m| {
            (m.builds_done, m.project) = (1, Some(ProjectIndex(0)));
            change(m);
        });
        id
    };
    let kept = used(1, |m| m.past.reuse = Reuse::Never);
    let others = used(2, |m| {
        (m.past.reuse, m.project) = (Reuse::Project, Some(ProjectIndex(1)));
    });
    let unclean = used(3, |m| m.past.left = Some(Left::Directory));
    let full = used(4, |m| m.past.usage.disk = Some(97));
    let old = used(5, |m| m.created_at = NOW - Span::from_secs(4_000));
    let worn = used(6, |m| m.builds_done = 7);
    let tidying = used(7, |m| m.past.is_tidying = true);
    let beside = used(8, |m| {
        (m.phase, m.builds_done, m.claims, m.free) = (Phase::Busy, 6, 1, 1);
    });
    let plain = used(9, |_| {});
    let disk = Full {
        what: Resource::Disk,
        percent: 97,
    };
    let age = Span::from_secs(3_600);
    for (id, expected, words) in [
        (
            kept,
            MachineVerdict::Reuse(Minds::ThoseBefore),
            "wants nobody after it",
        ),
        (
            others,
            MachineVerdict::Reuse(Minds::ProjectBefore),
            "only their own project",
        ),
        (
            unclean,
            MachineVerdict::Unclean(Left::Directory),
            "cannot be removed",
        ),
        (full, MachineVerdict::TooFull(disk), "disk 97 % full"),
        (old, MachineVerdict::TooOld(age), "older than 1h"),
        (worn, MachineVerdict::WornOut(7), "run 7 in all"),
        (tidying, MachineVerdict::Tidying, "tidied up"),
        (beside, MachineVerdict::WornOut(7), "run 7 in all"),
        (plain, MachineVerdict::Rank(1), "can take"),
    ] {
        let verdict = machine_verdict(&snapshot, build, id);
        assert_eq!(verdict, expected);
        let said = machine_words(&snapshot, &verdict);
        assert!(said.contains(words), "{said}");
    }
    for (wanted, project, expected) in [
        (Reuse::Never, 0, Minds::TheBuild),
        (Reuse::Project, 1, Minds::ProjectOfBuild),
    ] {
        let class = snapshot.classes.get_mut(&small).unwrap();
        class.project = ProjectIndex(project);
        class.reuse = [(SMALL, wanted)].into();
        let verdict = machine_verdict(&snapshot, build, plain);
        assert_eq!(verdict, MachineVerdict::Reuse(expected));
    }
}

#[test]
fn a_market_on_which_nothing_is_sold_is_no_wait_for_news() {
    let (mut snapshot, _, build) = waiting_house();
    snapshot.images[0].market = MarketChoice::Spot;
    let chances = look(&snapshot, build);
    let why = Blocked::NotSold(SMALL, Market::Spot);
    assert_eq!(chances.blocked, Some(why.clone()));
    assert_eq!(chances.images[0].blocked, Some(why.clone()));
    let said = blocked_words(&snapshot, &why);
    assert!(said.contains("asks for spot capacity"), "{said}");
    let market = OfferingVerdict::Market(MarketChoice::Spot);
    assert_eq!(offering_verdicts(&snapshot, build), [market]);
    // With a market on which it is sold, or while nothing is known, it is another matter.
    snapshot.images[0].market = MarketChoice::SpotWithFallback;
    assert_eq!(look(&snapshot, build).blocked, None);
    snapshot.images[0].offerings.clear();
    assert_eq!(
        look(&snapshot, build).blocked,
        Some(Blocked::Unresolved(SMALL))
    );
}

#[test]
fn spot_is_refused_for_what_needs_surer_capacity() {
    let (mut snapshot, small, build) = waiting_house();
    snapshot.images[0].market = MarketChoice::SpotWithFallback;
    snapshot.images[0].offerings = vec![
        offering(4, Market::Spot, 0),
        offering(10, Market::OnDemand, 1),
    ];
    let spot = machine(&mut snapshot, 1, SMALL, idle_for(10));
    set(&mut snapshot, spot, |m| m.market = Market::Spot);
    let first = |snapshot: &Snapshot| machine_verdict(snapshot, build, spot);
    assert_eq!(first(&snapshot), MachineVerdict::Rank(1));
    snapshot
        .classes
        .get_mut(&small)
        .expect("it is there")
        .on_demand = true;
    assert_eq!(first(&snapshot), MachineVerdict::Spot);
    let expected = [OfferingVerdict::Spot, OfferingVerdict::Rank(1)];
    assert_eq!(offering_verdicts(&snapshot, build), expected);
}

#[test]
fn machines_and_room_go_to_builds_whose_turn_is_earlier() {
    let mut snapshot = house();
    let small = class(&mut snapshot, 0, &[SMALL]);
    let first = queue(&mut snapshot, small, 1, 0);
    let second = queue(&mut snapshot, small, 2, 0);
    let only = machine(&mut snapshot, 1, SMALL, idle_for(10));
    snapshot.limits[0].machines = Some(1);
    let verdict = machine_verdict(&snapshot, second, only);
    assert_eq!(verdict, MachineVerdict::Taken(first));
    let chances = look(&snapshot, second);
    assert_eq!((chances.ahead, chances.action), (1, None));
    let full = Blocked::Limit(Reached {
        limit: 0,
        quota: Quota::Machines,
        until: None,
    });
    assert_eq!(chances.blocked, Some(full.clone()));
    let offerings = offering_verdicts(&snapshot, second);
    assert_eq!(offerings, [OfferingVerdict::Blocked(full)]);
}

#[test]
fn each_offering_has_its_rule_or_its_rank() {
    let (mut snapshot, _, build) = waiting_house();
    let mut dry = offering(1, Market::OnDemand, 0);
    dry.available_after = Some(LATER);
    let image = &mut snapshot.images[0];
    image.market = MarketChoice::OnDemand;
    image.offerings = vec![
        dry,
        offering(2, Market::Spot, 1),
        offering(10, Market::OnDemand, 2),
        offering(20, Market::OnDemand, 3),
        offering(21, Market::OnDemand, 4),
    ];
    let expected = [
        OfferingVerdict::Dry(LATER),
        OfferingVerdict::Market(MarketChoice::OnDemand),
        OfferingVerdict::Rank(1),
        OfferingVerdict::Rank(2),
        OfferingVerdict::Dear(Rate::from_micros_per_hour(10)),
    ];
    assert_eq!(offering_verdicts(&snapshot, build), expected);
    // With spot allowed, it is asked first.
    snapshot.images[0].market = MarketChoice::SpotWithFallback;
    let verdicts = offering_verdicts(&snapshot, build);
    assert_eq!(verdicts[1], OfferingVerdict::Rank(1));
    assert_eq!(verdicts[2], OfferingVerdict::Behind(Market::Spot));
}

#[test]
fn a_pause_is_in_the_way_of_all_of_an_image() {
    let (mut snapshot, _, build) = waiting_house();
    let paused = Paused {
        until: LATER,
        why: PauseReason::Failures,
    };
    snapshot.images[0].paused = Some(paused);
    let why = Blocked::Paused(SMALL, paused);
    let chances = look(&snapshot, build);
    assert_eq!(chances.images[0].blocked, Some(why.clone()));
    assert_eq!(
        chances.blocked.as_ref().and_then(Blocked::until),
        Some(LATER)
    );
    assert_eq!(
        offering_verdicts(&snapshot, build),
        [OfferingVerdict::Blocked(why)]
    );
}

#[test]
fn a_machine_asleep_waits_for_capacity_in_its_zone() {
    let (mut snapshot, _, build) = waiting_house();
    snapshot.images[0].asleep_timeout = Span::from_secs(3_600);
    let asleep = machine(&mut snapshot, 1, SMALL, Phase::Asleep(NOW));
    snapshot.images[0].offerings[0].available_after = Some(LATER);
    let verdict = machine_verdict(&snapshot, build, asleep);
    assert_eq!(verdict, MachineVerdict::Dry(Some(LATER)));
}

#[test]
fn candidates_come_in_the_order_in_which_they_are_tried() {
    let mut snapshot = house();
    let both = class(&mut snapshot, 0, &[LARGE, SMALL]);
    let build = queue(&mut snapshot, both, 1, 0);
    let images = look(&snapshot, build).images;
    let images = images.iter().map(|image| image.image);
    assert_eq!(images.collect::<Vec<_>>(), [SMALL, LARGE]);
    assert_eq!(chances(&snapshot, BuildId::from_bits(9), NOW), None);
}

proptest! {
    /// What is said never contradicts what is done: a build that stays queued has no machine that
    /// would take it and no offering that a launch would ask; one that gets a machine has either.
    #[test]
    fn what_is_said_agrees_with_the_plan(snapshot in any_snapshot()) {
        let plan = planned(&snapshot);
        for build in snapshot.queued.keys() {
            let chances = look(&snapshot, *build);
            let is_placed = plan.actions.iter().any(|action| {
                !matches!(action, Action::GiveUp { .. }) && action.build() == Some(*build)
            });
            prop_assert_eq!(chances.action.is_some(), is_placed);
            let machines = chances.images.iter().flat_map(|image| &image.machines);
            let mut machines = machines.map(|chance| &chance.verdict);
            let offerings = chances.images.iter().flat_map(|image| &image.offerings);
            let mut offerings = offerings.map(|chance| &chance.verdict);
            let has_chance = machines.any(|v| matches!(v, MachineVerdict::Rank(_)))
                || offerings.any(|v| matches!(v, OfferingVerdict::Rank(_)));
            let is_later = snapshot.queued[build].not_before.is_some_and(|at| at > NOW);
            if is_placed {
                prop_assert!(has_chance);
            } else if !is_later {
                prop_assert!(!has_chance, "{:?}", chances);
                prop_assert!(chances.blocked.is_some());
            }
        }
    }
}
