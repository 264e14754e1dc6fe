//! A look at every image, shape and machine on behalf of one build.

use std::collections::BTreeMap;

use crate::model::{BuildId, MachineId, MarketChoice, Rate, Reason, Span, Timestamp};

use super::super::plan::Blocked;
use super::super::pools::{dearest_beside, is_open, load_of, markets, wake_as};
use super::super::rest::{self, Minds};
use super::super::retire::{Pool, is_held, must_end};
use super::super::room::Place;
use super::super::search::{Search, is_fresh, is_sure};
use super::super::slots;
use super::super::snapshot::{
    Class, ImageIndex, ImageView, MachineView, OfferingView, Phase, Snapshot,
};
use super::{ImageChances, MachineChance, MachineVerdict, OfferingChance, OfferingVerdict};

/// A look at everything on behalf of one build.
pub(super) struct Look<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) now: Timestamp,
    pub(super) class: &'a Class,
    pub(super) build: BuildId,
    /// What is left when it is the build's turn.
    pub(super) pool: &'a Pool,
    /// Machines that other builds get, whose turn is earlier.
    pub(super) taken: BTreeMap<MachineId, BuildId>,
}

impl Look<'_> {
    pub(super) fn images(&self) -> Vec<ImageChances> {
        let mut machines = self.machines();
        let candidates = self.class.candidates.iter();
        let images = candidates.filter_map(|candidate| {
            let image = self.snapshot.image(candidate.image)?;
            let (blocked, offerings) = self.offerings(candidate.image, image);
            Some(ImageChances {
                image: candidate.image,
                blocked,
                offerings,
                machines: machines.remove(&candidate.image).unwrap_or_default(),
            })
        });
        images.collect()
    }

    /// The offerings of an image, and why none of them will do.
    fn offerings(
        &self,
        index: ImageIndex,
        image: &ImageView,
    ) -> (Option<Blocked>, Vec<OfferingChance>) {
        let mut why = Blocked::NoImage;
        let search = self.search(&mut why);
        let paused = image.paused.filter(|paused| self.now < paused.until);
        let open = match paused {
            Some(paused) => Err(Blocked::Paused(index, paused)),
            None if image.version.is_none() => Err(Blocked::NoImage),
            None => search.open_pools(index, image, &self.pool.room),
        };
        let refuses = |offering: &OfferingView| {
            let place = search.cold(index, load_of(offering), true);
            self.pool.room.refuses(self.snapshot, self.now, &place)
        };
        let verdict = |offering: &OfferingView| {
            if let Some(closed) = self.closed(image, offering) {
                return closed;
            }
            let in_the_way = || refuses(offering).map(OfferingVerdict::Blocked);
            let open = match &open {
                Err(why) => {
                    return in_the_way().unwrap_or_else(|| OfferingVerdict::Blocked(why.clone()));
                }
                Ok(open) if open.market != offering.market => {
                    return OfferingVerdict::Behind(open.market);
                }
                Ok(open) => open,
            };
            let rank = open.places.iter().zip(1_u32..);
            let mut rank = rank.filter(|(place, _)| **place == offering.place);
            if let Some((_, rank)) = rank.next() {
                return OfferingVerdict::Rank(rank);
            }
            in_the_way().unwrap_or_else(|| beyond(image, &open.places, offering))
        };
        let chances = image.offerings.iter().map(|offering| OfferingChance {
            place: offering.place,
            price: offering.price,
            verdict: verdict(offering),
        });
        let chances = chances.collect();
        (open.err(), chances)
    }

    /// Why an offering is not asked whatever there is room for.
    fn closed(&self, image: &ImageView, offering: &OfferingView) -> Option<OfferingVerdict> {
        if !markets(self.class, image).any(|market| market == offering.market) {
            let is_policy = match image.market {
                MarketChoice::OnDemand | MarketChoice::Spot => true,
                MarketChoice::SpotWithFallback => false,
            };
            return Some(if is_policy {
                OfferingVerdict::Market(image.market)
            } else {
                OfferingVerdict::Spot
            });
        }
        let until = offering
            .available_after
            .filter(|_| !is_open(offering, self.now));
        until.map(OfferingVerdict::Dry)
    }

    /// The machines of all candidates, by image, those with a rank first.
    fn machines(&self) -> BTreeMap<ImageIndex, Vec<MachineChance>> {
        let mut machines: BTreeMap<ImageIndex, Vec<MachineChance>> = BTreeMap::new();
        let mut ranks = BTreeMap::new();
        for (id, rank) in self.in_order().into_iter().zip(1_u32..) {
            ranks.insert(id, rank);
            if let Some(machine) = self.snapshot.machines.get(&id) {
                let verdict = MachineVerdict::Rank(rank);
                let chance = MachineChance {
                    machine: id,
                    verdict,
                };
                machines.entry(machine.image).or_default().push(chance);
            }
        }
        let is_candidate = |image| self.class.candidates.iter().any(|c| c.image == image);
        for (id, machine) in &self.snapshot.machines {
            if ranks.contains_key(id) || !is_candidate(machine.image) {
                continue;
            }
            let verdict = self.refuses((*id, machine)).unwrap_or_else(|| {
                let taken = self.taken.get(id).copied();
                taken.map_or(MachineVerdict::Full, MachineVerdict::Taken)
            });
            machines
                .entry(machine.image)
                .or_default()
                .push(MachineChance {
                    machine: *id,
                    verdict,
                });
        }
        machines
    }

    /// The machines that would take the build, in the order in which they are asked: the steps of
    /// `place`, and within each the pool's order.
    fn in_order(&self) -> Vec<MachineId> {
        let pool = self.pool;
        let images = || self.class.candidates.iter().map(|c| c.image);
        let busy = images().flat_map(|image| pool.shared.busy_of(image));
        let idle = images().flat_map(|image| pool.idle.of(image));
        let idle = idle.map(|(_, id)| *id);
        let claimed = images().flat_map(|image| pool.shared.coming_of(image));
        let coming = images().flat_map(|image| pool.coming.of(image));
        let coming = coming.map(|(_, id)| *id);
        let asleep = images().flat_map(|image| pool.asleep.of(image));
        let asleep = asleep.map(|(_, id)| *id);
        let all = busy.chain(idle).chain(claimed).chain(coming).chain(asleep);
        let takes = |id: &MachineId| {
            let machine = self.snapshot.machines.get(id);
            let is_free = !self.taken.contains_key(id) || !self.has_none_left(*id);
            is_free && machine.is_some_and(|machine| self.refuses((*id, machine)).is_none())
        };
        all.filter(takes).collect()
    }

    /// Whether builds whose turn is earlier leave nothing of a machine.
    fn has_none_left(&self, id: MachineId) -> bool {
        let machine = self.snapshot.machines.get(&id);
        machine.is_none_or(|machine| machine.free <= 1)
    }

    /// The rule that keeps a machine from the build.
    fn refuses(&self, (id, machine): (MachineId, &MachineView)) -> Option<MachineVerdict> {
        if let Some(leaves) = self.leaves((id, machine)) {
            return Some(leaves);
        }
        let image = self.snapshot.image(machine.image)?;
        let has_builds = match machine.phase {
            Phase::Busy | Phase::Coming { claimed: true } => true,
            Phase::Idle(_)
            | Phase::Asleep(_)
            | Phase::Coming { claimed: false }
            | Phase::FallingAsleep
            | Phase::Ending => false,
        };
        if has_builds && slots::room(image, machine) == 0 {
            return Some(if machine.free == 0 {
                MachineVerdict::Full
            } else {
                MachineVerdict::WornOut(image.max_builds)
            });
        }
        if !is_fresh(self.class, machine) || (has_builds && self.class.fresh) {
            return Some(MachineVerdict::Used);
        }
        if !is_sure(self.snapshot, self.class, machine) {
            return Some(MachineVerdict::Spot);
        }
        if let Some(minds) = rest::who_minds(self.class, machine) {
            return Some(MachineVerdict::Reuse(minds));
        }
        if machine.past.is_tidying {
            return Some(MachineVerdict::Tidying);
        }
        let mut why = Blocked::NoImage;
        let search = self.search(&mut why);
        let place = if matches!(machine.phase, Phase::Asleep(_)) {
            if let Some(paused) = image.paused.filter(|paused| self.now < paused.until) {
                let why = Blocked::Paused(machine.image, paused);
                return Some(MachineVerdict::Blocked(why));
            }
            let Some(offering) = wake_as(self.snapshot, image, id, self.now) else {
                return Some(MachineVerdict::Dry(opens_at(image, machine)));
            };
            search.cold(machine.image, load_of(offering), false)
        } else {
            Place::on(self.class, Some(self.build), machine)
        };
        let refused = self.pool.room.refuses(self.snapshot, self.now, &place);
        refused.map(MachineVerdict::Blocked)
    }

    /// Why a machine takes no more builds at all.
    fn leaves(&self, (id, machine): (MachineId, &MachineView)) -> Option<MachineVerdict> {
        match machine.phase {
            Phase::Ending => return Some(MachineVerdict::Ending),
            Phase::FallingAsleep => return Some(MachineVerdict::FallingAsleep),
            Phase::Idle(_) | Phase::Asleep(_) | Phase::Busy | Phase::Coming { .. } => {}
        }
        if is_held(machine, self.now) {
            return machine.held_until.map(MachineVerdict::Held);
        }
        // One with builds takes no more when it would end were it idle.
        let at_leisure = match machine.phase {
            Phase::Busy | Phase::Coming { claimed: true } => Phase::Idle(self.now),
            Phase::Idle(_)
            | Phase::Asleep(_)
            | Phase::Coming { claimed: false }
            | Phase::FallingAsleep
            | Phase::Ending => machine.phase,
        };
        let at_leisure = MachineView {
            phase: at_leisure,
            ..*machine
        };
        let reason = must_end(self.snapshot, (id, &at_leisure), self.now)?;
        Some(self.ends_for(reason, machine))
    }

    /// The verdict for a machine that takes no more builds, for this reason.
    fn ends_for(&self, reason: Reason, machine: &MachineView) -> MachineVerdict {
        let image = self.snapshot.image(machine.image);
        let most = image.map_or(u32::MAX, |image| image.max_builds);
        match reason {
            Reason::Interrupted(_) => MachineVerdict::Interrupted,
            Reason::Unclean(left) => MachineVerdict::Unclean(left),
            Reason::Full(full) => MachineVerdict::TooFull(full),
            Reason::Lifetime => {
                MachineVerdict::TooOld(image.map_or(Span::ZERO, |image| image.max_lifetime))
            }
            // Who wants nobody after it leaves a machine that has run as many builds as it may.
            Reason::BuildCount if machine.builds_done < most => {
                MachineVerdict::Reuse(Minds::ThoseBefore)
            }
            Reason::BuildCount => MachineVerdict::WornOut(most),
            other @ (Reason::IdleTimeout
            | Reason::ImageChanged
            | Reason::BootFailed(_)
            | Reason::Failed(_)
            | Reason::NoCapacity(_)
            | Reason::AsleepTimeout
            | Reason::Unused
            | Reason::Unneeded
            | Reason::MakeRoom
            | Reason::Requested(_)) => MachineVerdict::Ends(other),
        }
    }

    const fn search<'a>(&'a self, why: &'a mut Blocked) -> Search<'a> {
        Search {
            snapshot: self.snapshot,
            now: self.now,
            class: self.class,
            build: Some(self.build),
            why,
        }
    }
}

/// Why a launch that names other places does not name this one, for which there is room.
fn beyond(image: &ImageView, places: &[usize], offering: &OfferingView) -> OfferingVerdict {
    let first = places.first();
    let cheapest = image.offerings.iter().find(|o| Some(&o.place) == first);
    let cheapest = cheapest.map_or(Rate::default(), |cheapest| cheapest.price);
    if offering.price > dearest_beside(cheapest) {
        OfferingVerdict::Dear(cheapest)
    } else {
        OfferingVerdict::Many
    }
}

/// When a machine that is asleep may be woken again.
fn opens_at(image: &ImageView, machine: &MachineView) -> Option<Timestamp> {
    let was = image
        .offerings
        .iter()
        .find(|o| Some(o.place) == machine.offering)?;
    let in_zone = image.offerings.iter().filter(|o| o.zone == was.zone);
    in_zone.filter_map(|o| o.available_after).min()
}
