//! What can be woken or launched for a build: the ladder over images, markets, types and zones.

use crate::model::{MachineId, Market, MarketChoice, Rate, Timestamp};

use super::kinds::Shut;
use super::limits::Load;
use super::place::Choice;
use super::plan::Blocked;
use super::retire::{IdleKey, Pool};
use super::room::Room;
use super::search::{Search, suits};
use super::snapshot::{Candidate, Class, ImageIndex, ImageView, OfferingView, Snapshot};

impl<'a> Search<'a> {
    /// Wakes the machine that fell asleep last, as what it was if there is capacity for that, else as
    /// the cheapest type that its zone has: its disk cannot leave the zone.
    pub(super) fn wake(&mut self, pool: &mut Pool, shut: &mut Shut) -> Option<Choice> {
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

    pub(super) fn launch(&mut self, pool: &mut Pool, shut: &mut Shut) -> Option<Choice> {
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
