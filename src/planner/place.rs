//! Step 2: queued builds to machines: idle ones first, then ones that are coming anyway, then ones
//! asleep, then launches on the cheapest fitting image that limits and capacity allow.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::model::{AttemptId, BuildId, MachineId, Market, MarketChoice, Rate, Timestamp};

use super::plan::{Action, Blocked, Plan, Waiting};
use super::rest;
use super::retire::{IdleKey, Pool};
use super::snapshot::{
    Candidate, Class, ClassId, ImageIndex, ImageView, OfferingView, Paused, QueueKey, Snapshot,
};

/// Places builds in queue order until nothing more can be placed.
///
/// Nothing in the pool grows during a pass, so a class that was blocked once stays blocked: the
/// pass looks at each class, and at each placed build, once. A blocked class never holds up another
/// one, which is work conservation; within a class the queue order is strict.
pub(super) fn place(
    snapshot: &Snapshot,
    now: Timestamp,
    pool: &mut Pool,
    plan: &mut Plan,
    fresh_id: &mut dyn FnMut() -> u128,
) {
    let mut cursors: Vec<Cursor<'_>> = snapshot
        .classes
        .iter()
        .filter_map(|(id, class)| Cursor::new(*id, class, now))
        .collect();
    let mut heads: BinaryHeap<Reverse<(QueueKey, usize)>> = cursors
        .iter_mut()
        .enumerate()
        .filter_map(|(place, cursor)| Some(Reverse((cursor.queue.next()?, place))))
        .collect();
    while let Some(Reverse((key, place))) = heads.pop() {
        let Some(cursor) = cursors.get_mut(place) else {
            continue;
        };
        match choose(snapshot, now, pool, cursor) {
            Ok(choice) => {
                choice.enter(plan, (cursor.id, key.build), fresh_id);
                if let Some(next) = cursor.queue.next() {
                    heads.push(Reverse((next, place)));
                }
            }
            Err(why) => plan.waiting.push(cursor.waiting(key, why)),
        }
    }
    for (id, class) in &snapshot.classes {
        report_later(*id, class, now, plan);
    }
    plan.waiting.sort_by_key(|waiting| waiting.first);
    for until in plan
        .waiting
        .iter()
        .filter_map(|waiting| waiting.why.until())
        .collect::<Vec<_>>()
    {
        plan.wake(until);
    }
}

impl Blocked {
    /// When time alone may end the wait.
    const fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Paused(_, Paused { until, .. })
            | Self::Dry(_, until)
            | Self::Backoff(until)
            | Self::Tidying(_, until) => Some(*until),
            Self::NoImage | Self::Limit(_) | Self::Unresolved(_) => None,
        }
    }
}

/// How far a class has been looked at.
struct Cursor<'a> {
    id: ClassId,
    class: &'a Class,
    /// Builds whose time has come, in queue order.
    queue: Box<dyn Iterator<Item = QueueKey> + 'a>,
    total: usize,
    placed: usize,
    /// Candidates before this one have no idle machine left.
    idle_from: usize,
}

impl<'a> Cursor<'a> {
    fn new(id: ClassId, class: &'a Class, now: Timestamp) -> Option<Self> {
        let due: Vec<QueueKey> = class
            .later
            .iter()
            .take_while(|(at, _)| *at <= now)
            .map(|(_, key)| *key)
            .collect();
        let total = class.ready.len() + due.len();
        let queue: Box<dyn Iterator<Item = QueueKey>> = if due.is_empty() {
            Box::new(class.ready.iter().copied())
        } else {
            let mut all: Vec<QueueKey> = class.ready.iter().copied().chain(due).collect();
            all.sort_unstable();
            Box::new(all.into_iter())
        };
        (total > 0).then_some(Self {
            id,
            class,
            queue,
            total,
            placed: 0,
            idle_from: 0,
        })
    }

    const fn waiting(&self, first: QueueKey, why: Blocked) -> Waiting {
        Waiting {
            class: self.id,
            builds: self.total - self.placed,
            first: first.build,
            why,
        }
    }
}

/// Where a build goes.
enum Choice {
    Machine(MachineId),
    /// Onto this machine in a moment, or elsewhere after this time.
    Await(MachineId, Timestamp),
    Wake(MachineId, usize),
    Launch(Candidate, u32, Open),
}

impl Choice {
    fn enter(
        self,
        plan: &mut Plan,
        (class, build): (ClassId, BuildId),
        fresh_id: &mut dyn FnMut() -> u128,
    ) {
        if let Self::Await(machine, until) = self {
            plan.waiting.push(Waiting {
                class,
                builds: 1,
                first: build,
                why: Blocked::Tidying(machine, until),
            });
            return;
        }
        let attempt = AttemptId::from_bits(fresh_id());
        plan.actions.push(match self {
            Self::Machine(machine) | Self::Await(machine, _) => Action::Bind {
                build,
                attempt,
                machine,
            },
            Self::Wake(machine, offering) => Action::Wake {
                machine,
                offering,
                claim: Some((build, attempt)),
            },
            Self::Launch(candidate, version, open) => Action::Launch {
                machine: MachineId::from_bits(fresh_id()),
                image: candidate.image,
                version,
                market: open.market,
                offerings: open.places,
                claim: Some((build, attempt)),
            },
        });
    }
}

fn choose(
    snapshot: &Snapshot,
    now: Timestamp,
    pool: &mut Pool,
    cursor: &mut Cursor<'_>,
) -> Result<Choice, Blocked> {
    let class = cursor.class;
    let ready = take_idle(snapshot, pool, cursor)
        .map(Choice::Machine)
        .or_else(|| take_tidying(snapshot, now, pool, class))
        .or_else(|| take_coming(snapshot, pool, class).map(Choice::Machine));
    let choice = match ready.or_else(|| wake(snapshot, now, pool, cursor.class)) {
        Some(choice) => choice,
        None => launch(snapshot, now, pool, cursor.class)?,
    };
    cursor.placed += 1;
    Ok(choice)
}

fn take_idle(snapshot: &Snapshot, pool: &mut Pool, cursor: &mut Cursor<'_>) -> Option<MachineId> {
    let class = cursor.class;
    while let Some(candidate) = class.candidates.get(cursor.idle_from) {
        if let Some(idle) = pool.idle.get_mut(&candidate.image) {
            let found = idle.iter().find(|(_, id)| fits(snapshot, class, *id));
            let found = found.copied();
            if let Some(key) = found {
                idle.remove(&key);
                return Some(key.1);
            }
        }
        cursor.idle_from += 1;
    }
    None
}

/// The machine that will be idle in a moment.
fn take_tidying(
    snapshot: &Snapshot,
    now: Timestamp,
    pool: &mut Pool,
    class: &Class,
) -> Option<Choice> {
    if pool.tidying.is_empty() {
        return None;
    }
    class.candidates.iter().find_map(|candidate| {
        let tidying = pool.tidying.get_mut(&candidate.image)?;
        let is_awaited =
            |(since, id): &&IdleKey| now < rest::tidy_until(since.0) && fits(snapshot, class, *id);
        let found = tidying.iter().find(is_awaited).copied()?;
        tidying.remove(&found);
        Some(Choice::Await(found.1, rest::tidy_until(found.0.0)))
    })
}

fn take_coming(snapshot: &Snapshot, pool: &mut Pool, class: &Class) -> Option<MachineId> {
    if pool.coming.is_empty() {
        return None;
    }
    class.candidates.iter().find_map(|candidate| {
        let coming = pool.coming.get_mut(&candidate.image)?;
        let found = coming.iter().find(|(_, id)| fits(snapshot, class, *id));
        let found = found.copied()?;
        coming.remove(&found);
        Some(found.1)
    })
}

/// Whether a machine is as fresh and as sure as a class needs it.
fn fits(snapshot: &Snapshot, class: &Class, machine: MachineId) -> bool {
    let Some(machine) = snapshot.machines.get(&machine) else {
        return false;
    };
    // Where the policy knows spare capacity only, a last retry takes that, too.
    let only_spot = || {
        let image = snapshot.image(machine.image);
        image.is_some_and(|image| image.market == MarketChoice::Spot)
    };
    (!class.fresh || machine.builds_done == 0)
        && rest::may_follow(class, machine)
        && (!class.on_demand || machine.market == Market::OnDemand || only_spot())
}

/// Wakes the machine that fell asleep last, as what it was if there is capacity for that, else as
/// the cheapest type that its zone has: its disk cannot leave the zone.
fn wake(snapshot: &Snapshot, now: Timestamp, pool: &mut Pool, class: &Class) -> Option<Choice> {
    if pool.asleep.is_empty() {
        return None;
    }
    for candidate in &class.candidates {
        let Some(image) = snapshot.image(candidate.image) else {
            continue;
        };
        if is_paused(image, now) || reached_limit(snapshot, pool, candidate).is_some() {
            continue;
        }
        let asleep = pool.asleep.get(&candidate.image).into_iter().flatten();
        let found = asleep
            .filter(|(_, id)| fits(snapshot, class, *id))
            .find_map(|key| Some((*key, wake_as(snapshot, image, key.1, now)?)));
        let Some((key, offering)) = found else {
            continue;
        };
        if let Some(asleep) = pool.asleep.get_mut(&candidate.image) {
            asleep.remove(&key);
        }
        *pool.count.entry(candidate.image).or_default() += 1;
        return Some(Choice::Wake(key.1, offering));
    }
    None
}

fn wake_as(
    snapshot: &Snapshot,
    image: &ImageView,
    machine: MachineId,
    now: Timestamp,
) -> Option<usize> {
    let was = snapshot.machines.get(&machine)?.offering?;
    let was = image.offerings.iter().find(|o| o.place == was)?;
    let open =
        |o: &&OfferingView| o.market == Market::OnDemand && o.zone == was.zone && is_open(o, now);
    let cheapest = || image.offerings.iter().find(open);
    let offering = Some(was).filter(open).or_else(cheapest)?;
    Some(offering.place)
}

/// Pools that are open for a launch.
struct Open {
    market: Market,
    places: Vec<usize>,
}

fn launch(
    snapshot: &Snapshot,
    now: Timestamp,
    pool: &mut Pool,
    class: &Class,
) -> Result<Choice, Blocked> {
    let mut why = Blocked::NoImage;
    for candidate in &class.candidates {
        let Some(image) = snapshot.image(candidate.image) else {
            continue;
        };
        let Some(version) = image.version else {
            continue;
        };
        if let Some(paused) = image.paused.filter(|paused| now < paused.until) {
            why = sooner(why, Blocked::Paused(candidate.image, paused));
            continue;
        }
        if let Some(limit) = reached_limit(snapshot, pool, candidate) {
            why = sooner(why, Blocked::Limit(limit));
            continue;
        }
        match open_pools(class, image, now) {
            Ok(open) => {
                *pool.count.entry(candidate.image).or_default() += 1;
                return Ok(Choice::Launch(*candidate, version, open));
            }
            Err(Some(until)) => why = sooner(why, Blocked::Dry(candidate.image, until)),
            Err(None) => why = sooner(why, Blocked::Unresolved(candidate.image)),
        }
    }
    Err(why)
}

/// The ladder within an image: its types and zones on the first market that has any open, at once,
/// for only the provider knows their depth.
///
/// The error is when the first closed pool opens again; none when there are no pools at all.
fn open_pools(class: &Class, image: &ImageView, now: Timestamp) -> Result<Open, Option<Timestamp>> {
    let markets = match image.market {
        MarketChoice::OnDemand => [Some(Market::OnDemand), None],
        MarketChoice::Spot => [Some(Market::Spot), None],
        MarketChoice::SpotWithFallback if class.on_demand => [Some(Market::OnDemand), None],
        MarketChoice::SpotWithFallback => [Some(Market::Spot), Some(Market::OnDemand)],
    };
    let mut opens_at = None;
    for market in markets.into_iter().flatten() {
        let of_market = image.offerings.iter().filter(|o| o.market == market);
        let mut open = of_market.clone().filter(|o| is_open(o, now)).peekable();
        if let Some(cheapest) = open.peek() {
            let dearest = dearest_beside(cheapest.price);
            let worth = open.take_while(|offering| offering.price <= dearest);
            let places = worth.take(MOST_POOLS).map(|offering| offering.place);
            return Ok(Open {
                market,
                places: places.collect(),
            });
        }
        let closed = of_market.filter_map(|offering| offering.available_after);
        opens_at = closed.chain(opens_at).min();
    }
    Err(opens_at)
}

/// Pools that one launch may name at most: ten to twenty types over all zones give the provider's
/// choice room enough.
const MOST_POOLS: usize = 40;

/// Room for choice is worth something, but a launch must not cost more than twice what it could.
const fn dearest_beside(cheapest: Rate) -> Rate {
    Rate::from_micros_per_hour(cheapest.micros_per_hour().saturating_mul(2))
}

fn is_open(offering: &OfferingView, now: Timestamp) -> bool {
    offering.available_after.is_none_or(|after| after <= now)
}

fn is_paused(image: &ImageView, now: Timestamp) -> bool {
    image.paused.is_some_and(|paused| now < paused.until)
}

/// The reason worth telling: a limit (somebody can act) before a wait (it passes), and of waits the
/// shortest.
fn sooner(known: Blocked, other: Blocked) -> Blocked {
    match (&known, &other) {
        (Blocked::Limit(_), _) => known,
        (_, Blocked::Limit(_)) | (Blocked::NoImage, _) => other,
        _ => match (known.until(), other.until()) {
            (Some(one), Some(two)) if two < one => other,
            (None, Some(_)) => other,
            (Some(_) | None, _) => known,
        },
    }
}

fn reached_limit(snapshot: &Snapshot, pool: &Pool, candidate: &Candidate) -> Option<usize> {
    snapshot.limits.iter().position(|limit| {
        let covered = |(image, count): (&ImageIndex, &u32)| limit.covers(*image).then_some(*count);
        limit.covers(candidate.image)
            && pool.count.iter().filter_map(covered).sum::<u32>() >= limit.machines
    })
}

/// Builds that wait for their time are reported and woken for, not placed.
fn report_later(id: ClassId, class: &Class, now: Timestamp, plan: &mut Plan) {
    let mut later = class.later.iter().skip_while(|(at, _)| *at <= now);
    let Some((at, key)) = later.next() else {
        return;
    };
    plan.waiting.push(Waiting {
        class: id,
        builds: 1 + later.count(),
        first: key.build,
        why: Blocked::Backoff(*at),
    });
}
