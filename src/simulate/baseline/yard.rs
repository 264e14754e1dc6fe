//! What the models share: a look at the queue and the machines, and the making of actions.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{AttemptId, BuildId, MachineId, Market, Reason, Span, Timestamp};
use crate::planner::{
    Action, Class, ClassId, IdleWhy, ImageIndex, Kept, KeptWhy, OfferingView, Phase, Plan,
    QueueKey, Snapshot,
};

/// A pass of a model: machines by what they are good for, and the plan so far.
pub(super) struct Yard<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) now: Timestamp,
    fresh: &'a mut dyn FnMut() -> u128,
    /// Idle machines by image, with the time since which they are.
    pub(super) idle: BTreeMap<ImageIndex, BTreeSet<(Timestamp, MachineId)>>,
    /// Machines on their way up that no build waits for, by image.
    pub(super) coming: BTreeMap<ImageIndex, BTreeSet<MachineId>>,
    /// Machines of an image that are not gone, whatever they do, those of this plan included.
    pub(super) alive: BTreeMap<ImageIndex, usize>,
    plan: Plan,
}

impl<'a> Yard<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        now: Timestamp,
        fresh: &'a mut dyn FnMut() -> u128,
    ) -> Self {
        let mut yard = Self {
            snapshot,
            now,
            fresh,
            idle: BTreeMap::new(),
            coming: BTreeMap::new(),
            alive: BTreeMap::new(),
            plan: Plan::default(),
        };
        for (id, machine) in &snapshot.machines {
            *yard.alive.entry(machine.image).or_default() += 1;
            match machine.phase {
                Phase::Idle(since) => {
                    let idle = yard.idle.entry(machine.image).or_default();
                    idle.insert((since, *id));
                }
                Phase::Coming { claimed: false } => {
                    yard.coming.entry(machine.image).or_default().insert(*id);
                }
                // They have what they are for, or are lost to builds.
                Phase::Coming { claimed: true }
                | Phase::Busy
                | Phase::Asleep(_)
                | Phase::FallingAsleep
                | Phase::Ending => {}
            }
        }
        yard
    }

    pub(super) fn finish(self) -> Plan {
        self.plan
    }

    /// Builds that may be placed now, in order; asks to be woken for those that may be later.
    pub(super) fn queue(&mut self) -> Vec<(QueueKey, ClassId)> {
        let mut queue = Vec::new();
        let mut later = None;
        for (id, class) in &self.snapshot.classes {
            queue.extend(class.ready.iter().map(|key| (*key, *id)));
            for (at, key) in &class.later {
                if *at <= self.now {
                    queue.push((*key, *id));
                } else {
                    later = Some(later.map_or(*at, |earlier: Timestamp| earlier.min(*at)));
                    break;
                }
            }
        }
        if let Some(at) = later {
            self.wake(at);
        }
        queue.sort_unstable();
        queue
    }

    /// The images that can build a class, best first.
    pub(super) fn images(&self, class: ClassId) -> Vec<ImageIndex> {
        let class = self.snapshot.classes.get(&class);
        let candidates = class
            .into_iter()
            .flat_map(|class: &Class| &class.candidates);
        candidates.map(|candidate| candidate.image).collect()
    }

    /// Asks for another pass at `at`, if nothing earlier was asked.
    pub(super) fn wake(&mut self, at: Timestamp) {
        let wake_at = &mut self.plan.wake_at;
        *wake_at = Some(wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Runs a build on a machine that is idle or coming.
    pub(super) fn bind(&mut self, build: BuildId, image: ImageIndex, machine: MachineId) {
        if let Some(idle) = self.idle.get_mut(&image) {
            idle.retain(|(_, id)| *id != machine);
        }
        if let Some(coming) = self.coming.get_mut(&image) {
            coming.remove(&machine);
        }
        let attempt = AttemptId::from_bits((self.fresh)());
        self.plan.actions.push(Action::Bind {
            build,
            attempt,
            machine,
        });
    }

    /// Launches a machine at the list price, for a build or to be at hand; false when it cannot be
    /// launched now.
    pub(super) fn launch(&mut self, image: ImageIndex, build: Option<BuildId>) -> bool {
        let Some(view) = self.snapshot.image(image) else {
            return false;
        };
        let paused = view
            .paused
            .map(|paused| paused.until)
            .filter(|until| self.now < *until);
        let dry = |until: Option<Timestamp>| until.filter(|until| self.now < *until);
        let listed = view.offerings.iter();
        let listed = listed.filter(|offering| offering.market == Market::OnDemand);
        let (open, closed): (Vec<&OfferingView>, Vec<&OfferingView>) =
            listed.partition(|offering| dry(offering.available_after).is_none());
        let (Some(version), None, false) = (view.version, paused, open.is_empty()) else {
            let opens = closed
                .iter()
                .filter_map(|offering| dry(offering.available_after));
            if let Some(at) = opens.chain(paused).min() {
                self.wake(at);
            }
            return false;
        };
        *self.alive.entry(image).or_default() += 1;
        let machine = MachineId::from_bits((self.fresh)());
        let claim = build.map(|build| (build, AttemptId::from_bits((self.fresh)())));
        self.plan.actions.push(Action::Launch {
            machine,
            image,
            version,
            market: Market::OnDemand,
            offerings: open.iter().map(|offering| offering.place).collect(),
            claim,
        });
        true
    }

    /// Ends idle machines that have been so for `timeout`, the longest idle first, but keeps `floor`
    /// of them; wakes for the others.
    pub(super) fn expire(&mut self, image: ImageIndex, timeout: Span, floor: usize) {
        let idle = self.idle.get(&image).cloned().unwrap_or_default();
        let spare = idle.len().saturating_sub(floor);
        for (place, (since, machine)) in idle.into_iter().enumerate() {
            let until = since + timeout;
            if place >= spare {
                continue;
            }
            if until <= self.now {
                self.plan.actions.push(Action::Drain {
                    machine,
                    reason: Reason::IdleTimeout,
                });
            } else {
                let why = KeptWhy::Idle(IdleWhy::Said);
                self.plan.kept.push(Kept {
                    machine,
                    until,
                    why,
                });
                self.wake(until);
            }
        }
    }

    /// Every image that has machines or offerings.
    pub(super) fn all_images(&self) -> impl Iterator<Item = ImageIndex> + use<> {
        (0..self.snapshot.images.len()).map(ImageIndex)
    }
}
