//! Step 2: queued builds to machines: busy ones that have room first, then idle ones, then ones that
//! are tidied up and idle in a moment, then ones that are coming anyway, then ones asleep, then launches on the cheapest fitting image that limits and
//! capacity allow.

use crate::model::{AttemptId, BuildId, MachineId, Market, MarketChoice, Rate, Timestamp};

use super::budgets::Part;
use super::image_set::ImageSet;
use super::kinds::{Kind, Kinds, Shut};
use super::limits::Load;
use super::plan::{Action, Blocked, Plan, Waiting};
use super::rest;
use super::retire::{IdleKey, Pool};
use super::room::{Place, Room};
use super::slots::{Shared, room, with_build};
use super::snapshot::{
    Candidate, Class, ClassId, ImageIndex, ImageView, MachineView, OfferingView, Paused, QueueKey,
    Snapshot,
};
use super::stock::Stock;
use super::turns::Turns;

/// Places builds, flow by flow and within a flow by age, until nothing more can be placed.
///
/// A class that was blocked once stays blocked: what the pool gains during a pass is room on machines
/// that the class could have had alone, and did not fit. So the pass looks at each class, and at each
/// placed build, once. A blocked class never holds up another one, which is work conservation; within
/// a class the queue order is strict.
pub(super) fn place(
    snapshot: &Snapshot,
    now: Timestamp,
    pool: &mut Pool,
    plan: &mut Plan,
    fresh_id: &mut dyn FnMut() -> u128,
) {
    let mut kinds = Kinds::default();
    let classes = snapshot.classes.iter();
    let mut cursors: Vec<Cursor<'_>> = classes
        .filter_map(|(id, class)| Cursor::new((*id, class), now, &mut kinds))
        .collect();
    let mut turns = Turns::new(snapshot);
    for (place, cursor) in cursors.iter_mut().enumerate() {
        if let Some(head) = cursor.queue.next() {
            turns.enter(cursor.class.flow(), head, place);
        }
    }
    while let Some((key, place)) = turns.next() {
        let Some(cursor) = cursors.get_mut(place) else {
            continue;
        };
        let Some(kind) = kinds.get_mut(cursor.kind) else {
            continue;
        };
        let flow = cursor.class.flow();
        let goes_on = match choose(snapshot, now, (&mut *pool, kind), cursor, key.build) {
            Ok(choice) => {
                match choice.into_action(key.build, fresh_id) {
                    Entered::Acts(action) => {
                        pool.shared.placed(snapshot, cursor.class, &action, now);
                        plan.actions.push(action);
                        turns.charge(flow);
                    }
                    Entered::Waits(why) => plan.waiting.push(Waiting {
                        class: cursor.id,
                        builds: 1,
                        first: key.build,
                        why,
                    }),
                }
                true
            }
            Err(why) => {
                let waiting = cursor.waiting(key, why);
                let goes_on = waiting.builds < cursor.total - cursor.done;
                cursor.done += waiting.builds;
                plan.waiting.push(waiting);
                goes_on
            }
        };
        if let Some(next) = cursor.queue.next().filter(|_| goes_on) {
            turns.enter(flow, next, place);
        }
    }
    for (id, class) in &snapshot.classes {
        report_later(*id, class, now, plan);
    }
    plan.waiting.sort_by_key(|waiting| waiting.first);
    let untils = plan
        .waiting
        .iter()
        .filter_map(|waiting| waiting.why.until());
    for until in untils.collect::<Vec<_>>() {
        plan.wake(until);
    }
    let is_limited = |waiting: &Waiting| matches!(waiting.why, Blocked::Limit(_));
    if pool.room.has_grown && plan.waiting.iter().any(is_limited) {
        plan.wake(now);
    }
}

impl Blocked {
    /// When time alone may end the wait.
    pub const fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Paused(_, Paused { until, .. })
            | Self::Dry(_, until)
            | Self::Backoff(until)
            | Self::Tidying(_, until) => Some(*until),
            Self::Limit(reached) => reached.until,
            Self::Budget(no_room) => no_room.until,
            Self::NoImage | Self::Unresolved(_) | Self::NotSold(..) => None,
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
    /// Builds that are placed, or reported.
    done: usize,
    /// The place of its kind.
    kind: usize,
}

impl<'a> Cursor<'a> {
    fn new(
        (id, class): (ClassId, &'a Class),
        now: Timestamp,
        kinds: &mut Kinds<'a>,
    ) -> Option<Self> {
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
            done: 0,
            kind: kinds.place_of(class),
        })
    }

    /// The builds that wait with `first`: one whose own amount is used up waits alone.
    fn waiting(&self, first: QueueKey, why: Blocked) -> Waiting {
        let builds = if is_its_own(&why) {
            1
        } else {
            self.total - self.done
        };
        Waiting {
            class: self.id,
            builds,
            first: first.build,
            why,
        }
    }
}

/// Whether it is in the way of one build only.
pub(super) const fn is_its_own(why: &Blocked) -> bool {
    matches!(why, Blocked::Budget(no_room) if matches!(no_room.part, Part::Build(_)))
}

/// Where a build goes.
pub(super) enum Choice {
    Machine(MachineId),
    /// Onto this machine in a moment, or elsewhere after this time.
    Await(MachineId, Timestamp),
    Wake(MachineId, usize),
    Launch(Candidate, u32, Open),
}

/// What a plan says of a place that was found.
enum Entered {
    Acts(Action),
    Waits(Blocked),
}

impl Choice {
    fn into_action(self, build: BuildId, fresh_id: &mut dyn FnMut() -> u128) -> Entered {
        let mut attempt = || AttemptId::from_bits(fresh_id());
        Entered::Acts(match self {
            Self::Await(machine, until) => {
                return Entered::Waits(Blocked::Tidying(machine, until));
            }
            Self::Machine(machine) => Action::Bind {
                build,
                attempt: attempt(),
                machine,
            },
            Self::Wake(machine, offering) => Action::Wake {
                machine,
                offering,
                claim: Some((build, attempt())),
            },
            Self::Launch(candidate, version, open) => Action::Launch {
                claim: Some((build, attempt())),
                machine: MachineId::from_bits(fresh_id()),
                image: candidate.image,
                version,
                market: open.market,
                offerings: open.places,
            },
        })
    }
}

fn choose(
    snapshot: &Snapshot,
    now: Timestamp,
    (pool, kind): (&mut Pool, &mut Kind),
    cursor: &mut Cursor<'_>,
    build: BuildId,
) -> Result<Choice, Blocked> {
    let mut why = Blocked::NoImage;
    let mut search = Search {
        snapshot,
        now,
        class: cursor.class,
        build: Some(build),
        why: &mut why,
    };
    let up = search
        .join(pool, Shared::take_busy)
        .or_else(|| search.take(&mut pool.idle, &mut pool.room, &mut kind.idle))
        .map(Choice::Machine);
    let choice = up
        .or_else(|| search.await_tidying(pool))
        .or_else(|| search.join(pool, Shared::take_coming).map(Choice::Machine))
        .or_else(|| {
            let taken = search.take(&mut pool.coming, &mut pool.room, &mut kind.coming);
            taken.map(Choice::Machine)
        })
        .or_else(|| search.wake(pool, &mut kind.asleep))
        .or_else(|| search.launch(pool, &mut kind.launch));
    cursor.done += usize::from(choice.is_some());
    choice.ok_or(why)
}

/// Takes a machine that has builds, and room, and that is accepted for one more.
type Joining = fn(
    &mut Shared,
    &Snapshot,
    &Class,
    &mut dyn FnMut(&MachineView) -> bool,
) -> Option<(MachineId, MachineView)>;

/// A machine, with its key in the pool.
type Found<'a, T> = ((T, MachineId), &'a MachineView);

/// The search for a build's place.
pub(super) struct Search<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) now: Timestamp,
    pub(super) class: &'a Class,
    /// None for a machine to be at hand.
    pub(super) build: Option<BuildId>,
    /// The best reason so far for finding none.
    pub(super) why: &'a mut Blocked,
}

impl<'a> Search<'a> {
    /// Joins the builds of a machine that has room for one more.
    fn join(&mut self, pool: &mut Pool, take: Joining) -> Option<MachineId> {
        let (snapshot, class, build) = (self.snapshot, self.class, self.build);
        let Pool { shared, room, .. } = pool;
        let mut has_room = |view: &MachineView| self.has_room(room, &Place::on(class, build, view));
        let (id, view) = take(shared, snapshot, class, &mut has_room)?;
        room.take(snapshot, self.now, &Place::on(class, build, &view));
        Some(id)
    }

    /// Takes a machine that has no build.
    pub(super) fn take<T: Copy + Ord>(
        &mut self,
        machines: &mut Stock<(T, MachineId)>,
        room: &mut Room,
        shut: &mut Shut,
    ) -> Option<MachineId> {
        let is_there = machines.meets(&self.class.candidates, shut.images());
        if !is_there && (shut.is_silent() || self.is_decided()) {
            return None;
        }
        for candidate in &self.class.candidates {
            if shut.is_shut(candidate.image) {
                self.blocked_by(shut.why(candidate.image));
                continue;
            }
            match self.find(room, machines.of(candidate.image).copied()) {
                Ok((key, machine)) => {
                    machines.remove(candidate.image, &key);
                    let place = Place::on(self.class, self.build, machine);
                    room.take(self.snapshot, self.now, &place);
                    return Some(key.1);
                }
                Err(refused) => self.closed(candidate.image, refused, shut),
            }
        }
        None
    }

    /// A machine that will be idle in a moment. Nothing is placed on it, so it takes no room.
    fn await_tidying(&mut self, pool: &mut Pool) -> Option<Choice> {
        if !pool
            .tidying
            .meets(&self.class.candidates, &ImageSet::default())
        {
            return None;
        }
        for candidate in &self.class.candidates {
            let Some(image) = self.snapshot.image(candidate.image) else {
                continue;
            };
            let found = pool.tidying.of(candidate.image).copied().find_map(|key| {
                let awaited = pool.awaited.get(&key.1);
                let view = awaited.or_else(|| self.snapshot.machines.get(&key.1))?;
                let place = Place::on(self.class, self.build, view);
                let fits = self.now < rest::tidy_until(key.0.0)
                    && suits(self.snapshot, self.class, view)
                    && self.has_room(&pool.room, &place);
                fits.then_some((key, *view))
            });
            let Some((key, view)) = found else {
                continue;
            };
            let then = with_build(self.class, view);
            if room(image, &then) == 0 {
                pool.tidying.remove(candidate.image, &key);
            }
            pool.awaited.insert(key.1, then);
            return Some(Choice::Await(key.1, rest::tidy_until(key.0.0)));
        }
        None
    }

    /// The first of some machines that fits and for which there is room, or why there is none.
    fn find<T>(
        &self,
        room: &Room,
        machines: impl Iterator<Item = (T, MachineId)>,
    ) -> Result<Found<'a, T>, Option<Blocked>> {
        let mut refused = None;
        for key in machines {
            let machine = self.snapshot.machines.get(&key.1);
            let Some(machine) = machine.filter(|m| suits(self.snapshot, self.class, m)) else {
                continue;
            };
            let place = Place::on(self.class, self.build, machine);
            match room.refuses(self.snapshot, self.now, &place) {
                None => return Ok((key, machine)),
                Some(why) => {
                    refused = Some(match refused {
                        Some(known) => sooner(known, why),
                        None => why,
                    });
                }
            }
        }
        Err(refused)
    }

    /// Nothing of an image will do: not now, and not in this pass for any build of the kind, unless
    /// it is this one build's own amount that is used up.
    fn closed(&mut self, image: ImageIndex, why: Option<Blocked>, shut: &mut Shut) {
        self.blocked_by(why.as_ref());
        if !why.as_ref().is_some_and(is_its_own) {
            shut.shut(image, why);
        }
    }

    fn has_room(&mut self, room: &Room, place: &Place<'_>) -> bool {
        let refused = room.refuses(self.snapshot, self.now, place);
        let has_room = refused.is_none();
        if let Some(why) = refused {
            self.blocked(why);
        }
        has_room
    }

    fn blocked(&mut self, why: Blocked) {
        let known = std::mem::replace(self.why, Blocked::NoImage);
        *self.why = sooner(known, why);
    }

    fn blocked_by(&mut self, why: Option<&Blocked>) {
        if let Some(why) = why.filter(|_| !self.is_decided()) {
            self.blocked(why.clone());
        }
    }

    /// Whether no further reason is worth more than the one that is known.
    const fn is_decided(&self) -> bool {
        matches!(self.why, Blocked::Limit(_) | Blocked::Budget(_))
    }

    /// A place on a machine that is to be woken or launched.
    pub(super) const fn cold(&self, image: ImageIndex, load: Load, launch: bool) -> Place<'a> {
        Place {
            class: self.class,
            build: self.build,
            image,
            present: None,
            load,
            launch,
        }
    }
}

/// A machine to be at hand: woken, or launched, on the one candidate of `class`. The error is what is
/// in the way.
pub(super) fn spare(
    snapshot: &Snapshot,
    now: Timestamp,
    pool: &mut Pool,
    class: &Class,
    may_wake: bool,
) -> Result<Choice, Blocked> {
    let mut why = Blocked::NoImage;
    let mut search = Search {
        snapshot,
        now,
        class,
        build: None,
        why: &mut why,
    };
    let Kind { asleep, launch, .. } = &mut Kind::default();
    let woken = may_wake.then(|| search.wake(pool, asleep)).flatten();
    let choice = woken.or_else(|| search.launch(pool, launch));
    choice.ok_or(why)
}

/// Whether a machine is as fresh and as sure as a class needs it.
pub(super) fn suits(snapshot: &Snapshot, class: &Class, machine: &MachineView) -> bool {
    is_fresh(class, machine)
        && rest::may_follow(class, machine)
        && is_sure(snapshot, class, machine)
}

/// Whether a machine is as fresh as a class needs it.
pub(super) const fn is_fresh(class: &Class, machine: &MachineView) -> bool {
    !class.fresh || machine.builds_done == 0
}

/// Whether a machine is as sure as a class needs it.
pub(super) fn is_sure(snapshot: &Snapshot, class: &Class, machine: &MachineView) -> bool {
    // Where the policy knows spare capacity only, a last retry takes that, too.
    let only_spot = || {
        let image = snapshot.image(machine.image);
        image.is_some_and(|image| image.market == MarketChoice::Spot)
    };
    !class.on_demand || machine.market == Market::OnDemand || only_spot()
}

impl<'a> Search<'a> {
    /// Wakes the machine that fell asleep last, as what it was if there is capacity for that, else as
    /// the cheapest type that its zone has: its disk cannot leave the zone.
    fn wake(&mut self, pool: &mut Pool, shut: &mut Shut) -> Option<Choice> {
        let is_there = pool.asleep.meets(&self.class.candidates, shut.images());
        if !is_there && (shut.is_silent() || self.is_decided()) {
            return None;
        }
        for candidate in &self.class.candidates {
            if shut.is_shut(candidate.image) {
                self.blocked_by(shut.why(candidate.image));
                continue;
            }
            let Some((key, offering)) = self.sleeper(pool, candidate.image) else {
                shut.shut(candidate.image, None);
                continue;
            };
            let place = self.cold(candidate.image, load_of(offering), false);
            if let Some(why) = pool.room.refuses(self.snapshot, self.now, &place) {
                self.closed(candidate.image, Some(why), shut);
                continue;
            }
            pool.room.take(self.snapshot, self.now, &place);
            pool.asleep.remove(candidate.image, &key);
            return Some(Choice::Wake(key.1, offering.place));
        }
        None
    }

    /// The machine of an image to wake first, and as what.
    fn sleeper(&self, pool: &Pool, index: ImageIndex) -> Option<(IdleKey, &'a OfferingView)> {
        let snapshot = self.snapshot;
        let image = snapshot.image(index)?;
        if is_paused(image, self.now) {
            return None;
        }
        pool.asleep.of(index).find_map(|key| {
            let machine = snapshot.machines.get(&key.1);
            machine.filter(|machine| suits(snapshot, self.class, machine))?;
            Some((*key, wake_as(snapshot, image, key.1, self.now)?))
        })
    }

    fn launch(&mut self, pool: &mut Pool, shut: &mut Shut) -> Option<Choice> {
        let is_hopeless = self.class.candidates.images().is_within(shut.images());
        for candidate in &self.class.candidates {
            if shut.is_shut(candidate.image) {
                self.blocked_by(shut.why(candidate.image));
                if is_hopeless && self.is_decided() {
                    return None;
                }
                continue;
            }
            match self.launch_of(*candidate, pool) {
                Ok(choice) => return Some(choice),
                Err(why) => self.closed(candidate.image, Some(why), shut),
            }
        }
        None
    }

    fn launch_of(&self, candidate: Candidate, pool: &mut Pool) -> Result<Choice, Blocked> {
        let image = self.snapshot.image(candidate.image);
        let image = image.ok_or(Blocked::NoImage)?;
        let version = image.version.ok_or(Blocked::NoImage)?;
        if let Some(paused) = image.paused.filter(|paused| self.now < paused.until) {
            return Err(Blocked::Paused(candidate.image, paused));
        }
        let open = self.open_pools(candidate.image, image, &pool.room)?;
        let place = self.cold(candidate.image, open.most, true);
        pool.room.take(self.snapshot, self.now, &place);
        Ok(Choice::Launch(candidate, version, open))
    }

    /// The ladder within an image: its types and zones on the first market that has any open, at once,
    /// for only the provider knows their depth. Types that limits or budgets have no room for are left
    /// out. The error is why there are none.
    pub(super) fn open_pools(
        &self,
        index: ImageIndex,
        image: &ImageView,
        room: &Room,
    ) -> Result<Open, Blocked> {
        // Most limits do not ask what is bought: one look is enough then.
        let any = self.cold(index, Load::default(), true);
        if let Some(why) = room.refuses(self.snapshot, self.now, &any) {
            return Err(why);
        }
        let mut opens_at = None;
        for market in markets(self.class, image) {
            let of_market = image.offerings.iter().filter(|o| o.market == market);
            let open = of_market.clone().filter(|o| is_open(o, self.now));
            let refuses = |offering: &OfferingView| {
                let place = self.cold(index, load_of(offering), true);
                room.refuses(self.snapshot, self.now, &place)
            };
            let open: Vec<&OfferingView> = open.collect();
            let mut fitting = open.iter().filter(|o| refuses(o).is_none()).peekable();
            if let Some(cheapest) = fitting.peek() {
                let dearest = dearest_beside(cheapest.price);
                let worth = fitting.take_while(|offering| offering.price <= dearest);
                let chosen: Vec<&OfferingView> = worth.take(MOST_POOLS).copied().collect();
                return Ok(Open::of(market, &chosen));
            }
            // What is in the way of the cheapest is what people can do most about.
            if let Some(why) = open.first().and_then(|cheapest| refuses(cheapest)) {
                return Err(why);
            }
            let closed = of_market.filter_map(|offering| offering.available_after);
            opens_at = closed.chain(opens_at).min();
        }
        Err(match opens_at {
            Some(until) => Blocked::Dry(index, until),
            None => match markets(self.class, image).last() {
                Some(market) if !image.offerings.is_empty() => Blocked::NotSold(index, market),
                Some(_) | None => Blocked::Unresolved(index),
            },
        })
    }
}

pub(super) const fn load_of(offering: &OfferingView) -> Load {
    Load {
        vcpus: offering.vcpus,
        rate: offering.price,
    }
}

pub(super) fn wake_as<'a>(
    snapshot: &Snapshot,
    image: &'a ImageView,
    machine: MachineId,
    now: Timestamp,
) -> Option<&'a OfferingView> {
    let was = snapshot.machines.get(&machine)?.offering?;
    let was = image.offerings.iter().find(|o| o.place == was)?;
    let open =
        |o: &&OfferingView| o.market == Market::OnDemand && o.zone == was.zone && is_open(o, now);
    let cheapest = || image.offerings.iter().find(open);
    Some(was).filter(open).or_else(cheapest)
}

/// Pools that are open for a launch.
pub(super) struct Open {
    pub(super) market: Market,
    pub(super) places: Vec<usize>,
    /// The most that the machine may become.
    most: Load,
}

impl Open {
    fn of(market: Market, chosen: &[&OfferingView]) -> Self {
        let vcpus = chosen.iter().map(|offering| offering.vcpus).max();
        let rate = chosen.iter().map(|offering| offering.price).max();
        Self {
            market,
            places: chosen.iter().map(|offering| offering.place).collect(),
            most: Load {
                vcpus: vcpus.unwrap_or_default(),
                rate: rate.unwrap_or_default(),
            },
        }
    }
}

/// The markets to try, in order.
pub(super) fn markets(class: &Class, image: &ImageView) -> impl Iterator<Item = Market> {
    let markets = match image.market {
        MarketChoice::OnDemand => [Some(Market::OnDemand), None],
        MarketChoice::Spot => [Some(Market::Spot), None],
        MarketChoice::SpotWithFallback if class.on_demand => [Some(Market::OnDemand), None],
        MarketChoice::SpotWithFallback => [Some(Market::Spot), Some(Market::OnDemand)],
    };
    markets.into_iter().flatten()
}

/// Pools that one launch may name at most: ten to twenty types over all zones give the provider's
/// choice room enough.
const MOST_POOLS: usize = 40;

/// Room for choice is worth something, but a launch must not cost more than twice what it could.
pub(super) const fn dearest_beside(cheapest: Rate) -> Rate {
    Rate::from_micros_per_hour(cheapest.micros_per_hour().saturating_mul(2))
}

pub(super) fn is_open(offering: &OfferingView, now: Timestamp) -> bool {
    offering.available_after.is_none_or(|after| after <= now)
}

fn is_paused(image: &ImageView, now: Timestamp) -> bool {
    image.paused.is_some_and(|paused| now < paused.until)
}

/// The reason worth telling: a limit or a budget (somebody can act) before a wait (it passes), and of waits the
/// shortest.
fn sooner(known: Blocked, other: Blocked) -> Blocked {
    match (&known, &other) {
        (Blocked::Limit(_) | Blocked::Budget(_), _) => known,
        (_, Blocked::Limit(_) | Blocked::Budget(_)) | (Blocked::NoImage, _) => other,
        _ => match (known.until(), other.until()) {
            (Some(one), Some(two)) if two < one => other,
            (None, Some(_)) => other,
            (Some(_) | None, _) => known,
        },
    }
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
