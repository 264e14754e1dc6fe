//! Checks a plan against its snapshot before execution: the invariants as code.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{AttemptId, BuildId, MachineId, Market, Money, Timestamp};

use super::audit_limits::over_limits;
use super::plan::{Action, Plan};
use super::rest;
use super::retire::is_held;
use super::slots::{launched, room, with_build};
use super::snapshot::{Class, ImageIndex, MachineView, Meter, Phase, Queued, Snapshot};

/// A plan that must not be executed: the planner has a bug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A build is placed that is not queued, or not due.
    #[error("{0} is placed but not waiting for a machine, or for one to come up")]
    NotQueued(BuildId),
    /// A build is placed twice.
    #[error("{0} is placed twice")]
    PlacedTwice(BuildId),
    /// A machine is used twice.
    #[error("{0} is used twice")]
    UsedTwice(MachineId),
    /// A build is bound to a machine that cannot take one.
    #[error("{0} cannot take a build")]
    NotFree(MachineId),
    /// A build is bound to a machine on which it must not follow, or be followed by, what ran there.
    #[error("{build} must not run on {machine} after what ran there")]
    NotShared {
        /// The build.
        build: BuildId,
        /// The machine.
        machine: MachineId,
    },
    /// A build that asks for a machine of its own would share one, or get one that has run others.
    #[error("{build} is placed on {machine}, which it would not have to itself")]
    NotAlone {
        /// The build.
        build: BuildId,
        /// The machine.
        machine: MachineId,
    },
    /// A build is placed on an image that cannot build it, or that is not current.
    #[error("{build} is placed on image {image}, which is not a candidate")]
    NotACandidate {
        /// The build.
        build: BuildId,
        /// The image's name.
        image: String,
    },
    /// A machine to be at hand is launched or woken that the next pass would end.
    #[error("{machine} would be made ready from image {image}, which is not current")]
    OldSpare {
        /// The machine.
        machine: MachineId,
        /// The image's name.
        image: String,
    },
    /// A machine with a build, or one that a person keeps, would be drained.
    #[error("{0} has a build or is held, and would be drained or put to sleep")]
    DrainsWork(MachineId),
    /// The plan exceeds a limit.
    #[error("limit {limit:?} of {max} {quota} would be exceeded: {planned}")]
    OverLimit {
        /// The limit's name.
        limit: String,
        /// What it counts.
        quota: &'static str,
        /// Its value.
        max: u64,
        /// As many after the plan.
        planned: u64,
    },
    /// The plan exceeds a budget.
    #[error("budget {budget:?} would be exceeded by {by}")]
    OverBudget {
        /// The budget's name.
        budget: String,
        /// By how much, if all goes as badly as it may.
        by: Money,
    },
}

/// Finds everything wrong with a plan; empty for a good one.
pub fn audit(snapshot: &Snapshot, plan: &Plan, now: Timestamp) -> Vec<Violation> {
    let mut check = Check {
        snapshot,
        now,
        builds: BTreeSet::new(),
        machines: BTreeSet::new(),
        taken: BTreeMap::new(),
        violations: Vec::new(),
    };
    for action in &plan.actions {
        check.action(action);
    }
    check.violations.extend(over_limits(snapshot, plan, now));
    check.violations
}

const fn is_up_or_coming(phase: Phase) -> bool {
    match phase {
        Phase::Idle(_) | Phase::Busy | Phase::Coming { .. } => true,
        Phase::Asleep(_) | Phase::FallingAsleep | Phase::Ending => false,
    }
}

impl Action {
    /// The queued build that is placed, if the action places one.
    pub fn build(&self) -> Option<BuildId> {
        match self {
            Self::Bind { build, .. } | Self::GiveUp { build, .. } => Some(*build),
            Self::Launch { claim, .. } | Self::Wake { claim, .. } => claim.map(|claim| claim.0),
            Self::Move { .. } | Self::Sleep { .. } | Self::Drain { .. } => None,
        }
    }
}

/// A machine as the actions so far leave it.
#[derive(Clone, Copy)]
struct Taken {
    view: MachineView,
    room: u32,
    /// No build has ever been on it.
    is_fresh: bool,
}

struct Check<'a> {
    snapshot: &'a Snapshot,
    now: Timestamp,
    builds: BTreeSet<BuildId>,
    machines: BTreeSet<MachineId>,
    /// Machines that get builds, and what those leave of their room.
    taken: BTreeMap<MachineId, Taken>,
    violations: Vec<Violation>,
}

impl Check<'_> {
    fn action(&mut self, action: &Action) {
        match action {
            Action::Bind { build, machine, .. } => {
                if !self.taken.contains_key(machine) {
                    self.machine_once(*machine);
                    self.look(*machine, is_up_or_coming);
                }
                self.fill(*build, *machine);
            }
            Action::Move {
                build,
                from,
                machine,
            } => {
                self.machine_once(*machine);
                self.look(*machine, |phase| matches!(phase, Phase::Idle(_)));
                self.moved(*build, *from, *machine);
            }
            Action::Wake { claim, machine, .. } => {
                self.machine_once(*machine);
                self.look(*machine, |phase| matches!(phase, Phase::Asleep(_)));
                match (claim, self.taken.get(machine).copied()) {
                    (Some((build, _)), _) => self.fill(*build, *machine),
                    (None, Some(woken)) => {
                        self.spare(*machine, woken.view.image, woken.view.version);
                    }
                    (None, None) => self.violations.push(Violation::NotFree(*machine)),
                }
            }
            Action::GiveUp { build, .. } => {
                if !self.builds.insert(*build) {
                    self.violations.push(Violation::PlacedTwice(*build));
                }
                if !self.snapshot.queued.contains_key(build) {
                    self.violations.push(Violation::NotQueued(*build));
                }
            }
            Action::Sleep { machine, .. } => {
                self.machine_once(*machine);
                self.drain(*machine, |phase| matches!(phase, Phase::Idle(_)));
            }
            Action::Launch {
                machine,
                image,
                version,
                market,
                claim,
                ..
            } => self.launch(*machine, (*image, *version, *market), *claim),
            Action::Drain { machine, .. } => {
                self.machine_once(*machine);
                self.drain(*machine, |phase| {
                    matches!(
                        phase,
                        Phase::Idle(_) | Phase::Asleep(_) | Phase::Coming { claimed: false }
                    )
                });
            }
        }
    }

    fn launch(
        &mut self,
        machine: MachineId,
        launch: (ImageIndex, u32, Market),
        claim: Option<(BuildId, AttemptId)>,
    ) {
        self.machine_once(machine);
        let (image, version, _) = launch;
        let slots = self.snapshot.image(image).map_or(1, |view| view.slots);
        let taken = Taken {
            view: launched(launch, slots.max(1), Meter::default()),
            room: slots.max(1),
            is_fresh: true,
        };
        self.taken.insert(machine, taken);
        match claim {
            Some((build, _)) => self.fill(build, machine),
            None => self.spare(machine, image, version),
        }
    }

    fn machine_once(&mut self, machine: MachineId) {
        if !self.machines.insert(machine) {
            self.violations.push(Violation::UsedTwice(machine));
        }
    }

    /// Takes note of a machine of the snapshot that is to get builds, if it is in the right phase.
    fn look(&mut self, id: MachineId, is_right: impl Fn(Phase) -> bool) {
        let Some(machine) = self.snapshot.machines.get(&id) else {
            return;
        };
        let image = self.snapshot.image(machine.image);
        let rests = image.is_some_and(|image| rest::must_rest(machine, image).is_some());
        if !is_right(machine.phase) || machine.past.is_tidying || rests {
            return;
        }
        let room = image.map_or(0, |image| room(image, machine));
        let is_without_work = machine.claims == 0;
        let taken = Taken {
            view: *machine,
            // One without work takes one build, whatever it allows side by side.
            room: room.max(u32::from(is_without_work && machine.phase != Phase::Busy)),
            is_fresh: machine.builds_done == 0 && is_without_work,
        };
        self.taken.insert(id, taken);
    }

    /// Gives a machine a build.
    fn fill(&mut self, build: BuildId, id: MachineId) {
        let Some(taken) = self.taken.get(&id).copied().filter(|taken| taken.room > 0) else {
            self.violations.push(Violation::NotFree(id));
            return;
        };
        let queued = self.snapshot.queued.get(&build);
        let class = queued.and_then(|queued| self.snapshot.classes.get(&queued.class));
        let wants_fresh = class.is_some_and(|class| class.fresh);
        let machine = id;
        if wants_fresh && !taken.is_fresh {
            self.violations.push(Violation::NotAlone { build, machine });
        }
        if class.is_some_and(|class| !rest::may_follow(class, &taken.view)) {
            self.violations
                .push(Violation::NotShared { build, machine });
        }
        let after = Taken {
            room: if wants_fresh { 0 } else { taken.room - 1 },
            is_fresh: false,
            view: class.map_or(taken.view, |class| with_build(class, taken.view)),
        };
        self.taken.insert(id, after);
        self.build(build, taken.view.image, taken.view.version);
    }

    /// Gives a machine a build that has been waiting for the launch of another one.
    fn moved(&mut self, build: BuildId, from: MachineId, machine: MachineId) {
        let snapshot = self.snapshot;
        let bound = snapshot.bound.get(&build);
        let was = snapshot.machines.get(&from);
        let waits = bound.is_some_and(|bound| bound.machine == from && bound.began.is_none())
            && was.is_some_and(|was| matches!(was.phase, Phase::Coming { .. }));
        let class = snapshot.coming.get(&build).map(|(class, _)| class);
        let class = class.and_then(|class| snapshot.classes.get(class));
        let (Some(class), true) = (class, waits && self.builds.insert(build)) else {
            self.violations.push(Violation::NotQueued(build));
            return;
        };
        let Some(taken) = self.taken.get(&machine).copied() else {
            self.violations.push(Violation::NotFree(machine));
            return;
        };
        if class.fresh && !taken.is_fresh {
            self.violations.push(Violation::NotAlone { build, machine });
        }
        if !rest::may_follow(class, &taken.view) {
            self.violations
                .push(Violation::NotShared { build, machine });
        }
        self.can_build(build, class, (taken.view.image, taken.view.version));
    }

    /// A machine to be at hand is of a current version.
    fn spare(&mut self, machine: MachineId, image: ImageIndex, version: u32) {
        let view = self.snapshot.image(image);
        if view.is_none_or(|view| view.version != Some(version)) {
            let image = view.map_or_else(|| format!("#{}", image.0), |view| view.name.clone());
            self.violations.push(Violation::OldSpare { machine, image });
        }
    }

    fn build(&mut self, build: BuildId, image: ImageIndex, version: u32) {
        if !self.builds.insert(build) {
            self.violations.push(Violation::PlacedTwice(build));
        }
        let due = |queued: &&Queued| queued.not_before.is_none_or(|at| at <= self.now);
        let queued = self.snapshot.queued.get(&build).filter(due);
        let Some(class) = queued.and_then(|queued| self.snapshot.classes.get(&queued.class)) else {
            self.violations.push(Violation::NotQueued(build));
            return;
        };
        self.can_build(build, class, (image, version));
    }

    /// A build runs on a current version of an image that can build it.
    fn can_build(&mut self, build: BuildId, class: &Class, (image, version): (ImageIndex, u32)) {
        let view = self.snapshot.image(image);
        let current = view.is_some_and(|view| view.version == Some(version));
        if !current
            || !class
                .candidates
                .iter()
                .any(|candidate| candidate.image == image)
        {
            let image = view.map_or_else(|| format!("#{}", image.0), |view| view.name.clone());
            self.violations
                .push(Violation::NotACandidate { build, image });
        }
    }

    fn drain(&mut self, id: MachineId, without_work: impl Fn(Phase) -> bool) {
        let drainable = self
            .snapshot
            .machines
            .get(&id)
            .is_some_and(|machine| without_work(machine.phase) && !is_held(machine, self.now));
        if !drainable {
            self.violations.push(Violation::DrainsWork(id));
        }
    }
}
