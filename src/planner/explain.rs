//! What every image, shape and machine means for one queued build: the rule that keeps it away, or
//! the rank it has.
//!
//! It asks the very predicates that `place` asks, after a pass of `place` has given the builds whose
//! turn is earlier their machines; it has no rules of its own and decides nothing. Caller: `engine`.

use std::collections::BTreeMap;

use crate::model::{BuildId, MachineId, Market, MarketChoice, Rate, Reason, Timestamp};

use super::place::{
    self, Search, dearest_beside, is_fresh, is_its_own, is_open, is_sure, load_of, markets, suits,
    wake_as,
};
use super::plan::{Action, Blocked, Plan, Waiting};
use super::report::blocked_words;
use super::retire::{self, Pool, is_held, must_end};
use super::room::Place;
use super::slots;
use super::snapshot::{
    Class, ImageIndex, ImageView, MachineView, OfferingView, Phase, Queued, Snapshot,
};

/// What everything means for one queued build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chances {
    /// What a pass would do for it now, if anything.
    pub action: Option<Action>,
    /// Why it stays queued, if it does.
    pub blocked: Option<Blocked>,
    /// Queued builds of its project and priority that are older.
    pub ahead: usize,
    /// Its candidates, best first.
    pub images: Vec<ImageChances>,
}

/// What a candidate image means for a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageChances {
    /// The image.
    pub image: ImageIndex,
    /// Why nothing of it can be launched, if that is so.
    pub blocked: Option<Blocked>,
    /// Where it can be launched, cheapest first.
    pub offerings: Vec<OfferingChance>,
    /// Its machines, those with a rank first.
    pub machines: Vec<MachineChance>,
}

/// What an offering means for a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferingChance {
    /// Its place in the engine's list of the image's offerings.
    pub place: usize,
    /// What it costs.
    pub price: Rate,
    /// What is in its way, or its rank.
    pub verdict: OfferingVerdict,
}

/// Whether an offering would be asked for a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfferingVerdict {
    /// A launch would name it, in this place from 1 on.
    Rank(u32),
    /// Its market is not one that the policy allows.
    Market(MarketChoice),
    /// It may be taken back, and the build needs capacity that is not.
    Spot,
    /// It had no capacity; it is tried again then.
    Dry(Timestamp),
    /// A limit, a budget or a pause is in the way.
    Blocked(Blocked),
    /// It costs more than twice what this one costs, which is to be had.
    Dear(Rate),
    /// A launch names enough others that are cheaper.
    Many,
    /// This market is asked first, and has capacity.
    Behind(Market),
}

/// What a machine means for a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineChance {
    /// The machine.
    pub machine: MachineId,
    /// What is in its way, or its rank.
    pub verdict: MachineVerdict,
}

/// Whether a machine would take a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachineVerdict {
    /// It would, as this one from 1 on.
    Rank(u32),
    /// It runs as many builds as it may, or will when it is up.
    Full,
    /// It goes to this build, whose turn is earlier.
    Taken(BuildId),
    /// A person keeps it until then.
    Held(Timestamp),
    /// Its provider takes it back.
    Interrupted,
    /// It ends, or takes no more builds and ends after those it has, for this reason.
    Ends(Reason),
    /// It is on its way out.
    Ending,
    /// It is on its way to sleep, and can be woken once it is.
    FallingAsleep,
    /// It has run builds or has one, and the build asks for one that has not.
    Used,
    /// It may be taken back, and the build needs capacity that is not.
    Spot,
    /// It is for other builds.
    Unsuited,
    /// It is asleep, and there is no capacity in its zone to wake it; tried again then.
    Dry(Option<Timestamp>),
    /// A limit, a budget or a pause is in the way.
    Blocked(Blocked),
}

/// What everything means for a build; none when it is not queued.
pub fn chances(snapshot: &Snapshot, build: BuildId, now: Timestamp) -> Option<Chances> {
    let queued = snapshot.queued.get(&build)?;
    let class = snapshot.classes.get(&queued.class)?;
    let mut plan = Plan::default();
    let mut pool = retire::usable(snapshot, now, &mut plan);
    // Nothing of this plan is carried out: its identities only have to differ.
    let mut last_id = 0;
    let mut fresh_id = || {
        last_id += 1;
        last_id
    };
    place::place(snapshot, now, &mut pool, &mut plan, &mut fresh_id);
    let turn = plan.actions.iter().position(|a| a.build() == Some(build));
    let earlier = plan.actions.iter().take(turn.unwrap_or(usize::MAX));
    let taken = earlier.filter_map(taken_by).collect();
    if turn.is_some() {
        // What it takes itself is there for it.
        pool = retire::usable(snapshot, now, &mut Plan::default());
    }
    let look = Look {
        snapshot,
        now,
        class,
        build,
        pool: &pool,
        taken,
    };
    Some(Chances {
        action: turn.and_then(|turn| plan.actions.get(turn)).cloned(),
        blocked: waiting_of(&plan, queued, now).map(|waiting| waiting.why.clone()),
        ahead: ahead(snapshot, class, queued),
        images: look.images(),
    })
}

fn taken_by(action: &Action) -> Option<(MachineId, BuildId)> {
    match action {
        Action::Bind { build, machine, .. }
        | Action::Wake {
            machine,
            claim: Some((build, _)),
            ..
        } => Some((*machine, *build)),
        Action::Launch { .. }
        | Action::Wake { .. }
        | Action::Sleep { .. }
        | Action::GiveUp { .. }
        | Action::Drain { .. } => None,
    }
}

/// The entry of a plan that says why a build stays queued.
pub fn waiting_for<'a>(
    snapshot: &Snapshot,
    plan: &'a Plan,
    build: BuildId,
    now: Timestamp,
) -> Option<&'a Waiting> {
    waiting_of(plan, snapshot.queued.get(&build)?, now)
}

fn waiting_of<'a>(plan: &'a Plan, queued: &Queued, now: Timestamp) -> Option<&'a Waiting> {
    let is_later = queued.not_before.is_some_and(|at| now < at);
    let mut of_class = plan.waiting.iter().filter(|w| w.class == queued.class);
    of_class.find(|waiting| match &waiting.why {
        Blocked::Backoff(_) => is_later,
        why if is_its_own(why) => waiting.first == queued.key.build,
        Blocked::NoImage
        | Blocked::Limit(_)
        | Blocked::Budget(_)
        | Blocked::Paused(..)
        | Blocked::Dry(..)
        | Blocked::Tidying(..)
        | Blocked::Unresolved(_) => !is_later,
    })
}

fn ahead(snapshot: &Snapshot, class: &Class, queued: &Queued) -> usize {
    let classes = snapshot.classes.values();
    let of_flow = classes.filter(|other| other.flow() == class.flow());
    of_flow
        .map(|other| other.ready.range(..queued.key).count())
        .sum()
}

/// A look at everything on behalf of one build.
struct Look<'a> {
    snapshot: &'a Snapshot,
    now: Timestamp,
    class: &'a Class,
    build: BuildId,
    /// What is left when it is the build's turn.
    pool: &'a Pool,
    /// Machines that other builds get, whose turn is earlier.
    taken: BTreeMap<MachineId, BuildId>,
}

impl Look<'_> {
    fn images(&self) -> Vec<ImageChances> {
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
            return Some(MachineVerdict::Full);
        }
        if !is_fresh(self.class, machine) || (has_builds && self.class.fresh) {
            return Some(MachineVerdict::Used);
        }
        if !is_sure(self.snapshot, self.class, machine) {
            return Some(MachineVerdict::Spot);
        }
        if machine.past.is_tidying || !suits(self.snapshot, self.class, machine) {
            return Some(MachineVerdict::Unsuited);
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
        Some(if machine.is_interrupted {
            MachineVerdict::Interrupted
        } else {
            MachineVerdict::Ends(reason)
        })
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

/// What an offering means, as a clause.
pub fn offering_words(snapshot: &Snapshot, verdict: &OfferingVerdict) -> String {
    match verdict {
        OfferingVerdict::Rank(_) => "a launch asks for it".to_owned(),
        OfferingVerdict::Market(choice) => {
            let allowed = match choice {
                MarketChoice::OnDemand => "on-demand",
                MarketChoice::Spot => "spot",
                MarketChoice::SpotWithFallback => "spot and on-demand",
            };
            format!("the policy allows {allowed} only")
        }
        OfferingVerdict::Spot => "the build needs capacity that is not taken back".to_owned(),
        OfferingVerdict::Dry(until) => format!("it had no capacity; tried again at {until}"),
        OfferingVerdict::Blocked(why) => blocked_words(snapshot, why),
        OfferingVerdict::Dear(cheapest) => {
            format!("it costs more than twice the cheapest, which is {cheapest}")
        }
        OfferingVerdict::Many => "a launch names enough that are cheaper".to_owned(),
        OfferingVerdict::Behind(market) => format!("{} is asked first", market.word()),
    }
}

/// What a machine means, as a clause.
pub fn machine_words(snapshot: &Snapshot, verdict: &MachineVerdict) -> String {
    match verdict {
        MachineVerdict::Rank(_) => "it can take the build".to_owned(),
        MachineVerdict::Full => "it runs as many builds as it may".to_owned(),
        MachineVerdict::Taken(build) => format!("it goes to {build}, whose turn is earlier"),
        MachineVerdict::Held(until) => format!("a person keeps it until {until}"),
        MachineVerdict::Interrupted => "its provider takes it back".to_owned(),
        MachineVerdict::Ends(reason) => format!("it takes no more builds: {}", reason.sentence()),
        MachineVerdict::Ending => "it is on its way out".to_owned(),
        MachineVerdict::FallingAsleep => {
            "it is falling asleep, and can be woken once it is".to_owned()
        }
        MachineVerdict::Used => {
            "the build asks for a machine that has run nothing, and it has".to_owned()
        }
        MachineVerdict::Spot => {
            "it is spot, and the build needs capacity that is not taken back".to_owned()
        }
        MachineVerdict::Unsuited => "its policy keeps it for other builds".to_owned(),
        MachineVerdict::Dry(Some(until)) => {
            format!("there is no capacity to wake it; tried again at {until}")
        }
        MachineVerdict::Dry(None) => "there is no capacity to wake it".to_owned(),
        MachineVerdict::Blocked(why) => blocked_words(snapshot, why),
    }
}
