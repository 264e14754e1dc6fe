//! Properties of plans for random houses.

use super::*;

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
            Action::Bind { machine, .. } | Action::Move { machine, .. } | Action::Launch { machine, .. }
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
