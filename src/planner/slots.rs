//! Machines that have builds and room for more: which of them a build joins.
//!
//! A build that joins others costs nothing more, so such machines come before all others of their
//! image. Steps of `place` put machines in as they give them builds; `retire` those that have some.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::model::{MachineId, Market, Rate, Timestamp};

use super::image_set::ImageSet;
use super::plan::Action;
use super::rest;
use super::retire::{is_held, must_end};
use super::search::suits;
use super::snapshot::{Class, ImageIndex, ImageView, MachineView, Meter, Past, Phase, Snapshot};
use super::stock::Stock;

/// Machines with builds and room, as far as a pass has come.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Those that run builds, by image.
    busy: Stock<ShareKey>,
    /// Those on their way up that builds wait for, by image.
    coming: Stock<ShareKey>,
    /// Machines as the pass leaves them, where that is not as the snapshot has them.
    changed: BTreeMap<MachineId, MachineView>,
}

/// The order in which machines of an image are filled: the fullest first, so that emptier ones run
/// out of work and can go; then the youngest, for the older ones have less of their life before
/// them; then by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ShareKey {
    free: u32,
    created_at: Reverse<Timestamp>,
    machine: MachineId,
}

/// Builds that a machine can still take: as many as it has room for, and no more than its policy
/// lets it run in all. Those that it has begun count, or a machine would outrun its policy.
pub(super) fn room(image: &ImageView, machine: &MachineView) -> u32 {
    let begun = machine.builds_done.saturating_add(machine.claims);
    machine.free.min(image.max_builds.saturating_sub(begun))
}

impl Shared {
    /// Adds a machine that has builds, if it can take more.
    pub(super) fn offer(
        &mut self,
        snapshot: &Snapshot,
        now: Timestamp,
        (id, machine): (MachineId, &MachineView),
    ) {
        // Most machines are full: nothing else need be asked of them.
        if machine.free == 0 {
            return;
        }
        // What would end were it idle gets no more to do.
        let at_leisure = MachineView {
            phase: Phase::Idle(now),
            ..*machine
        };
        if is_held(machine, now) || must_end(snapshot, (id, &at_leisure), now).is_some() {
            return;
        }
        self.add(snapshot, id, machine);
    }

    fn add(&mut self, snapshot: &Snapshot, id: MachineId, machine: &MachineView) {
        let free = snapshot
            .image(machine.image)
            .map_or(0, |image| room(image, machine));
        if free == 0 {
            return;
        }
        let key = ShareKey {
            free,
            created_at: Reverse(machine.created_at),
            machine: id,
        };
        let of_phase = match machine.phase {
            Phase::Busy => &mut self.busy,
            Phase::Coming { .. } => &mut self.coming,
            // They have no builds.
            Phase::Idle(_) | Phase::Asleep(_) | Phase::FallingAsleep | Phase::Ending => return,
        };
        of_phase.add(machine.image, key);
    }

    /// Machines of an image that run builds and have room, in the order in which they are filled.
    pub(super) fn busy_of(&self, image: ImageIndex) -> impl Iterator<Item = MachineId> + '_ {
        self.busy.of(image).map(|key| key.machine)
    }

    /// The same of machines on their way up.
    pub(super) fn coming_of(&self, image: ImageIndex) -> impl Iterator<Item = MachineId> + '_ {
        self.coming.of(image).map(|key| key.machine)
    }

    /// The machine that runs builds and takes one more of a class, if there is one.
    /// `accepts` has the last word.
    pub(super) fn take_busy(
        &mut self,
        snapshot: &Snapshot,
        class: &Class,
        accepts: &mut dyn FnMut(&MachineView) -> bool,
    ) -> Option<(MachineId, MachineView)> {
        take(&mut self.busy, &self.changed, (snapshot, class), accepts)
    }

    /// The machine on its way up for other builds that takes one more of a class, if there is one.
    /// `accepts` has the last word.
    pub(super) fn take_coming(
        &mut self,
        snapshot: &Snapshot,
        class: &Class,
        accepts: &mut dyn FnMut(&MachineView) -> bool,
    ) -> Option<(MachineId, MachineView)> {
        take(&mut self.coming, &self.changed, (snapshot, class), accepts)
    }

    /// Notes that a build of a class was placed: its machine may have room for another one.
    pub(super) fn placed(
        &mut self,
        snapshot: &Snapshot,
        class: &Class,
        action: &Action,
        now: Timestamp,
    ) {
        let (id, before) = match action {
            Action::Bind { machine, .. } => {
                let changed = self.changed.get(machine);
                match changed.or_else(|| snapshot.machines.get(machine)) {
                    Some(before) => (*machine, *before),
                    None => return,
                }
            }
            Action::Wake {
                machine, offering, ..
            } => match snapshot.machines.get(machine) {
                // It no longer costs what its disk costs.
                Some(before) => {
                    let meter = snapshot.meter(before.image, &[*offering], now);
                    (*machine, MachineView { meter, ..*before })
                }
                None => return,
            },
            Action::Launch {
                machine,
                image,
                version,
                market,
                offerings,
                ..
            } => {
                let view = snapshot.image(*image);
                let slots = view.map_or(1, |image| image.slots.max(1));
                let meter = snapshot.meter(*image, offerings, now);
                let launch = (*image, *version, *market);
                (*machine, launched(launch, slots, meter))
            }
            Action::Move { .. }
            | Action::Sleep { .. }
            | Action::GiveUp { .. }
            | Action::Drain { .. } => return,
        };
        let after = with_build(class, before);
        if after.free > 0 {
            self.add(snapshot, id, &after);
            self.changed.insert(id, after);
        }
    }
}

/// A machine once it has been given a build of a class.
pub(super) fn with_build(class: &Class, before: MachineView) -> MachineView {
    MachineView {
        phase: match before.phase {
            Phase::Idle(_) | Phase::Busy => Phase::Busy,
            Phase::Coming { .. } | Phase::Asleep(_) | Phase::FallingAsleep | Phase::Ending => {
                Phase::Coming { claimed: true }
            }
        },
        past: rest::past_with(class, &before),
        project: Some(class.project),
        claims: before.claims + 1,
        // Who asked for a machine that has run nothing has it alone.
        free: if class.fresh {
            0
        } else {
            before.free.saturating_sub(1)
        },
        ..before
    }
}

/// A machine whose launch the pass has decided.
pub(super) fn launched(
    (image, version, market): (ImageIndex, u32, Market),
    slots: u32,
    meter: Meter,
) -> MachineView {
    MachineView {
        image,
        version,
        price: Rate::default(),
        market,
        offering: None,
        is_interrupted: false,
        project: None,
        past: Past::default(),
        phase: Phase::Coming { claimed: false },
        created_at: meter.coming_since,
        meter,
        builds_done: 0,
        claims: 0,
        free: slots,
        held_until: None,
    }
}

fn take(
    machines: &mut Stock<ShareKey>,
    changed: &BTreeMap<MachineId, MachineView>,
    (snapshot, class): (&Snapshot, &Class),
    accepts: &mut dyn FnMut(&MachineView) -> bool,
) -> Option<(MachineId, MachineView)> {
    // One that has a build is not fresh.
    if class.fresh || !machines.meets(&class.candidates, &ImageSet::default()) {
        return None;
    }
    class.candidates.iter().find_map(|candidate| {
        let fitting = |key: &ShareKey| {
            let known = changed.get(&key.machine);
            let view = known.or_else(|| snapshot.machines.get(&key.machine))?;
            (suits(snapshot, class, view) && accepts(view)).then_some((*key, *view))
        };
        let (key, view) = machines.of(candidate.image).find_map(fitting)?;
        machines.remove(candidate.image, &key);
        Some((key.machine, view))
    })
}
