//! The search for one build's place among machines: who fits, for whom there is room, and what is in the
//! way. What can be woken or launched is in `pools`.

use crate::model::{BuildId, MachineId, Market, MarketChoice, Timestamp};

use super::image_set::ImageSet;
use super::kinds::{Kind, Shut};
use super::limits::Load;
use super::place::{Choice, is_its_own};
use super::plan::Blocked;
use super::rest;
use super::retire::Pool;
use super::room::{Place, Room};
use super::slots::{Shared, room, with_build};
use super::snapshot::{Class, ImageIndex, MachineView, Snapshot};
use super::stock::Stock;

/// Takes a machine that has builds, and room, and that is accepted for one more.
type Joining = fn(
    &mut Shared,
    &Snapshot,
    &Class,
    &mut dyn FnMut(&MachineView) -> bool,
) -> Option<(MachineId, MachineView)>;

/// A machine, with its key in the pool.
pub(super) type Found<'a, T> = ((T, MachineId), &'a MachineView);

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
    pub(super) fn join(&mut self, pool: &mut Pool, take: Joining) -> Option<MachineId> {
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
        let (key, machine) = self.look(machines, room, shut)?;
        machines.remove(machine.image, &key);
        let place = Place::on(self.class, self.build, machine);
        room.take(self.snapshot, self.now, &place);
        Some(key.1)
    }

    /// The machine without a build that is taken first.
    pub(super) fn look<T: Copy + Ord>(
        &mut self,
        machines: &Stock<(T, MachineId)>,
        room: &Room,
        shut: &mut Shut,
    ) -> Option<Found<'a, T>> {
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
                Ok(found) => return Some(found),
                Err(refused) => self.closed(candidate.image, refused, shut),
            }
        }
        None
    }

    /// A machine that will be idle in a moment. Nothing is placed on it, so it takes no room.
    pub(super) fn await_tidying(&mut self, pool: &mut Pool) -> Option<Choice> {
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
    pub(super) fn closed(&mut self, image: ImageIndex, why: Option<Blocked>, shut: &mut Shut) {
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

    pub(super) fn blocked(&mut self, why: Blocked) {
        let known = std::mem::replace(self.why, Blocked::NoImage);
        *self.why = sooner(known, why);
    }

    pub(super) fn blocked_by(&mut self, why: Option<&Blocked>) {
        if let Some(why) = why.filter(|_| !self.is_decided()) {
            self.blocked(why.clone());
        }
    }

    /// Whether no further reason is worth more than the one that is known.
    pub(super) const fn is_decided(&self) -> bool {
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

/// The reason worth telling: a limit or a budget (somebody can act) before a wait (it passes), and of waits the
/// shortest.
pub(super) fn sooner(known: Blocked, other: Blocked) -> Blocked {
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
