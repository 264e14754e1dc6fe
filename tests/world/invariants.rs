//! The invariants of the crate page, checked on a world that has come to rest.

use std::collections::BTreeMap;

use dormouse::books::DEFAULT_MAX_MACHINES;
use dormouse::model::{
    Attempt, AttemptState, Build, Event, EventKind, Machine, MachineId, MachineState, Money,
    Outcome, Policy, Subject, Timestamp,
};
use dormouse::provider::Origin;
use dormouse::provider::simulated::Life;
use dormouse::store::{CostGroup, Store};

use super::world::World;

/// Checks a world in which every build is finished and every machine gone.
pub(crate) fn check(world: &World) {
    let machines = world.all_machines();
    let lives = owned(world, &machines);
    for build in world.builds() {
        let attempts = world.attempts(build.id);
        check_build(world, &build, &attempts);
        for attempt in &attempts {
            check_attempt(world, &build, attempt);
        }
    }
    for machine in &machines {
        check_machine(world, machine, &lives);
    }
    check_money(world, &machines);
    check_limits(world, &machines, &lives);
}

/// The instances that were launched for machines of ours, each with its machine.
fn owned(world: &World, machines: &[Machine]) -> Vec<(MachineId, Life)> {
    let lives = world.cloud.lives();
    if !world.has_fleet {
        let ours = |life: Life| match life.origin {
            Origin::Machine(id) if machines.iter().any(|m| m.id == id) => Some((id, life)),
            Origin::Machine(_) | Origin::Launch(_) => None,
        };
        return lives.into_iter().filter_map(ours).collect();
    }
    for life in &lives {
        assert!(life.to.is_some(), "{} is left: {life:?}", life.id);
    }
    let mut owned: BTreeMap<String, MachineId> = BTreeMap::new();
    for machine in machines {
        for message in world.messages(&Subject::Machine(machine.id)) {
            let Some(instance) = message.strip_prefix("the provider accepted the launch as ")
            else {
                continue;
            };
            let before = owned.insert(instance.to_owned(), machine.id);
            assert_eq!(before, None, "{instance} belongs to two machines");
        }
    }
    let with_owner = |life: Life| Some((*owned.get(&life.id.0)?, life));
    lives.into_iter().filter_map(with_owner).collect()
}

fn of_kind(events: &[Event], kind: EventKind) -> usize {
    events.iter().filter(|event| event.kind == kind).count()
}

/// One result, one event per change, as many attempts as were bound.
fn check_build(world: &World, build: &Build, attempts: &[Attempt]) {
    let id = build.id;
    assert!(build.state.is_finished(), "{id} has no result");
    let events = world.events(Some(&Subject::Build(id)));
    assert_eq!(
        of_kind(&events, EventKind::BuildFinished),
        1,
        "{id}: {events:#?}"
    );
    assert_eq!(
        events.last().map(|event| event.kind),
        Some(EventKind::BuildFinished),
        "{id} changed after its result: {events:#?}"
    );
    assert_eq!(
        of_kind(&events, EventKind::BuildBound),
        attempts.len(),
        "{id}: bound without an attempt"
    );
    let begun = u32::try_from(attempts.len()).unwrap();
    assert_eq!(build.attempts, begun, "{id}: miscounted its attempts");
    let got_no_machine = |attempt: &&Attempt| {
        let AttemptState::Finished { outcome, .. } = &attempt.state else {
            return false;
        };
        matches!(outcome, Outcome::NotLaunched(_))
    };
    let spared = attempts.iter().filter(got_no_machine).count();
    assert_eq!(build.spared, u32::try_from(spared).unwrap(), "{id}: spared");
    assert!(
        begun - build.spared <= build.spec.max_attempts || build.cancel.is_some(),
        "{id}: too many attempts"
    );
    for (place, attempt) in attempts.iter().enumerate() {
        assert_eq!(attempt.number, u32::try_from(place + 1).unwrap(), "{id}");
        assert!(
            matches!(attempt.state, AttemptState::Finished { .. }),
            "{id}: {} is not finished",
            attempt.id
        );
    }
    // At most one current attempt: each ended before the next was bound.
    for pair in attempts.windows(2) {
        let AttemptState::Finished { at, .. } = pair[0].state else {
            unreachable!("checked above");
        };
        assert!(at <= pair[1].bound_at, "{id}: two attempts at once");
    }
}

/// Ran at most once on its machine, and its log is home: all of it, unless the machine was lost.
fn check_attempt(world: &World, build: &Build, attempt: &Attempt) {
    let home = world.log_of(attempt.id);
    let stored = u64::try_from(home.len()).unwrap();
    assert_eq!(
        attempt.cursor.stored, stored,
        "{}: cursor and log",
        attempt.id
    );
    let Some(ran) = world.remote.ran(attempt.id) else {
        assert!(home.is_empty(), "{} has a log and never ran", attempt.id);
        return;
    };
    assert_eq!(ran.begun, 1, "{} ran {} times", attempt.id, ran.begun);
    let is_cut = u64::try_from(ran.printed.len()).unwrap() > build.spec.log_limit_bytes;
    let AttemptState::Finished { outcome, .. } = &attempt.state else {
        unreachable!("checked above");
    };
    match outcome {
        Outcome::Exited(_) if !is_cut => {
            assert_eq!(ran.printed.len(), home.len(), "{}: log length", attempt.id);
            assert!(ran.printed == home, "{}: log differs", attempt.id);
        }
        Outcome::Exited(_) => {}
        Outcome::TimedOut
        | Outcome::Canceled
        | Outcome::Infrastructure(_)
        | Outcome::Interrupted(_)
        | Outcome::NotLaunched(_) => assert!(
            is_cut || ran.printed.starts_with(&home),
            "{}: log at home is no prefix",
            attempt.id
        ),
    }
    if let Outcome::Exited(code) = outcome {
        assert_eq!(ran.code, Some(*code), "{}: exit code", attempt.id);
    }
}

/// Gone, with one event per change, one instance at most, and none of it left.
fn check_machine(world: &World, machine: &Machine, lives: &[(MachineId, Life)]) {
    let id = machine.id;
    assert!(
        matches!(machine.state, MachineState::Gone { .. }),
        "{id} is {}",
        machine.state.word()
    );
    let mut instances = lives.iter().filter(|(owner, _)| *owner == id);
    if let Some((_, life)) = instances.next() {
        assert!(life.to.is_some(), "{id} is gone, {} is not", life.id);
    }
    assert_eq!(instances.count(), 0, "{id} has several instances");
    let events = world.events(Some(&Subject::Machine(id)));
    for kind in [
        EventKind::MachineIntended,
        EventKind::MachineDraining,
        EventKind::MachineGone,
    ] {
        assert_eq!(of_kind(&events, kind), 1, "{id}: {kind:?} in {events:#?}");
    }
    let life = lives.iter().find(|(owner, _)| *owner == id);
    let life = life.map(|(_, life)| life);
    let naps = life.map_or(0, |life| life.asleep.len());
    for (kind, most) in [
        (EventKind::MachineLaunched, 1),
        (EventKind::MachineReady, 1 + naps),
    ] {
        let count = of_kind(&events, kind);
        assert!(count <= most, "{id}: {kind:?} in {events:#?}");
    }
    let keys = world.read(async |store| store.machine_keys(id).await);
    assert!(keys.unwrap().is_none(), "the keys of {id} are still there");
    check_price(world, machine, life, &events);
    assert_eq!(
        machine.billed_until, machine.since,
        "{id}: billed to its end"
    );
}

/// What it cost is its price for its time, by whole pieces where it is billed so; nothing if it was never launched, and less while it slept.
fn check_price(world: &World, machine: &Machine, life: Option<&Life>, events: &[Event]) {
    let id = machine.id;
    let span = machine.billed_until.since(machine.created_at);
    let paid = machine.billing.paid(span);
    let cost = machine.shape.price_usd_micro_per_hour.cost_of(paid);
    let Some(life) = life.filter(|_| world.has_fleet) else {
        let cost = if world.has_fleet { Money::ZERO } else { cost };
        assert_eq!(machine.billed, cost, "{id}: billed and price: {events:#?}");
        return;
    };
    if life.asleep.is_empty() {
        assert_eq!(machine.billed, cost, "{id}: billed and price: {events:#?}");
    } else {
        let floor = machine.asleep_usd_micro_per_hour.cost_of(span);
        assert!(machine.billed > floor, "{id}: {} {floor}", machine.billed);
    }
}

/// Build cost plus overhead is machine cost: in all, and for each image.
fn check_money(world: &World, machines: &[Machine]) {
    let billed: Money = machines.iter().map(|machine| machine.billed).sum();
    let mut by_image: BTreeMap<String, Money> = BTreeMap::new();
    for machine in machines {
        *by_image.entry(machine.image.clone()).or_default() += machine.billed;
    }
    let end = world.now();
    let costs = |group: CostGroup| {
        let begin = Timestamp::from_micros(0);
        world
            .read(async |store| store.costs(group, begin, end, 100_000).await)
            .unwrap()
    };
    let per_image: BTreeMap<String, Money> = costs(CostGroup::Image)
        .into_iter()
        .map(|row| (row.key, row.total))
        .collect();
    by_image.retain(|image, money| *money != Money::ZERO || per_image.contains_key(image));
    assert_eq!(per_image, by_image, "ledger and machines, by image");
    let rows = costs(CostGroup::Build);
    let in_all: Money = rows.iter().map(|row| row.total).sum();
    assert_eq!(in_all, billed, "builds and overhead, and machines");
    for row in rows.iter().filter(|row| !row.key.is_empty()) {
        let id = row.key.parse().unwrap();
        let cost = world
            .read(async |store| store.build_cost(id).await)
            .unwrap();
        assert_eq!(cost.total, row.total, "cost of {id}");
    }
}

/// At every launch, no limit that was in force was exceeded.
fn check_limits(world: &World, machines: &[Machine], lives: &[(MachineId, Life)]) {
    let policies = world.read(async |store| {
        let mut all = Vec::new();
        for current in store.policies(None).await.unwrap() {
            all.extend(store.policies(Some(&current.name)).await.unwrap());
        }
        all
    });
    for (machine, launch) in lives {
        // The decision was made when the machine was intended, maybe under an older policy.
        let intended = machines.iter().find(|m| m.id == *machine);
        let decided = intended.map_or(launch.from, |machine| machine.created_at);
        for (images, max) in limits_at(&policies, decided) {
            let covers = |life: &Life| images.is_empty() || images.contains(&life.image);
            let alive = lives.iter().filter(|(_, life)| is_up(life, launch.from));
            let count = alive.filter(|(_, life)| covers(life)).count();
            assert!(
                !covers(launch) || count <= usize::try_from(max).unwrap(),
                "{count} machines of {images:?} at {}, {max} allowed",
                launch.from
            );
        }
    }
}

/// Whether an instance was there, and not stopped.
fn is_up(life: &Life, at: Timestamp) -> bool {
    let within =
        |(from, to): &(Timestamp, Option<Timestamp>)| *from <= at && to.is_none_or(|to| at < to);
    within(&(life.from, life.to)) && !life.asleep.iter().any(within)
}

fn limits_at(policies: &[Policy], at: Timestamp) -> Vec<(Vec<String>, u32)> {
    let mut current: BTreeMap<&str, &Policy> = BTreeMap::new();
    for policy in policies.iter().filter(|policy| policy.applied_at <= at) {
        let known = current.entry(&policy.name).or_insert(policy);
        if policy.version > known.version {
            *known = policy;
        }
    }
    let mut limits: Vec<(Vec<String>, u32)> = current
        .values()
        // Which project a machine counted for at a moment is for the tests of such limits.
        .filter(|policy| policy.spec.projects.is_empty())
        .filter_map(|policy| Some((policy.spec.images.clone(), policy.spec.max_machines?)))
        .collect();
    if limits.iter().all(|(images, _)| !images.is_empty()) {
        limits.push((Vec::new(), DEFAULT_MAX_MACHINES));
    }
    limits
}
