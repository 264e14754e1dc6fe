//! What limits and budgets leave for the rest of a pass.

use crate::model::{BuildId, Money, Span, Timestamp};

use super::budgets::{Part, Price, Purse};
use super::limits::{self, Load, Used, Wanted};
use super::plan::Blocked;
use super::snapshot::{Class, ImageIndex, MachineView, Phase, Snapshot};

/// What is left; it only shrinks while a pass goes on.
#[derive(Debug, Clone, Default)]
pub(super) struct Room {
    pub(super) used: Vec<Used>,
    purse: Purse,
    /// A machine left a limit: the next pass has room that this one does not give out.
    pub(super) has_grown: bool,
}

/// A place for a build, or for a machine to be at hand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) class: &'a Class,
    /// None for a machine to be at hand.
    pub(super) build: Option<BuildId>,
    pub(super) image: ImageIndex,
    /// The machine, if it is awake or coming.
    pub(super) present: Option<&'a MachineView>,
    pub(super) load: Load,
    /// Whether a machine is launched.
    pub(super) launch: bool,
}

impl<'a> Place<'a> {
    /// A machine that is awake or coming.
    pub(super) const fn on(
        class: &'a Class,
        build: Option<BuildId>,
        machine: &'a MachineView,
    ) -> Self {
        Self {
            class,
            build,
            image: machine.image,
            present: Some(machine),
            load: machine.load(),
            launch: false,
        }
    }

    fn wanted(&self) -> Wanted<'a> {
        Wanted {
            image: self.image,
            project: self.build.map(|_| self.class.project),
            rules: &self.class.rules,
            build: self.build.is_some(),
            present: self.present,
            load: self.load,
            launch: self.launch,
        }
    }

    /// The worst time until the first step.
    fn boot(&self, snapshot: &Snapshot) -> Span {
        let is_up = self.present.is_some_and(MachineView::is_up);
        let image = snapshot.image(self.image).filter(|_| !is_up);
        image.map_or(Span::ZERO, |image| image.boot_timeout)
    }
}

impl Room {
    pub(super) fn of(snapshot: &Snapshot, now: Timestamp) -> Self {
        let rules = limits::rules_by_machine(snapshot);
        Self {
            used: limits::used(snapshot, now, &rules),
            purse: Purse::of(snapshot, now),
            has_grown: false,
        }
    }

    /// Why a place may not be taken.
    pub(super) fn refuses(
        &self,
        snapshot: &Snapshot,
        now: Timestamp,
        place: &Place<'_>,
    ) -> Option<Blocked> {
        let wanted = place.wanted();
        let reached = limits::reached(snapshot, &self.used, &wanted).map(Blocked::Limit);
        reached.or_else(|| {
            let price = price(snapshot, place, &wanted);
            let no_room = self.purse.refuses(snapshot, now, &price);
            no_room.map(Blocked::Budget)
        })
    }

    /// Notes that a machine without a build is ended: what it uses is about to be free.
    pub(super) fn ends(&mut self, snapshot: &Snapshot, machine: &MachineView) {
        if matches!(machine.phase, Phase::Asleep(_)) {
            return;
        }
        for (limit, used) in snapshot.limits.iter().zip(&mut self.used) {
            let covers = limit.scope.covers(machine.image, machine.project, &[]);
            used.ending += u32::from(covers);
        }
    }

    /// What budgets leave for a machine without a build to stand on, by budget and part.
    pub(super) fn left_for(
        &self,
        snapshot: &Snapshot,
        machine: &MachineView,
    ) -> Vec<((usize, Part), Money)> {
        self.purse.left_for(snapshot, machine)
    }

    /// Takes a place.
    pub(super) fn take(&mut self, snapshot: &Snapshot, now: Timestamp, place: &Place<'_>) {
        let wanted = place.wanted();
        self.has_grown |= limits::take(snapshot, &mut self.used, &wanted, now);
        self.purse
            .take(snapshot, now, &price(snapshot, place, &wanted));
    }
}

fn price<'a>(snapshot: &Snapshot, place: &Place<'a>, wanted: &'a Wanted<'a>) -> Price<'a> {
    Price {
        class: place.class,
        build: place.build,
        wanted,
        boot: place.boot(snapshot),
    }
}
