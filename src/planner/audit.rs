//! Checks a plan against its snapshot before execution: the invariants as code.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{BuildId, MachineId, Timestamp};

use super::plan::{Action, Plan};
use super::rest;
use super::retire::is_held;
use super::snapshot::{ImageIndex, MachineView, Phase, Queued, Snapshot};

/// A plan that must not be executed: the planner has a bug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A build is placed that is not queued, or not due.
    #[error("{0} is placed but not waiting for a machine")]
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
    /// The launches exceed a limit.
    #[error("limit {limit:?} of {max} machines would be exceeded: {planned}")]
    OverLimit {
        /// The limit's name.
        limit: String,
        /// Its value.
        max: u32,
        /// Machines after the plan.
        planned: u32,
    },
}

/// Finds everything wrong with a plan; empty for a good one.
pub fn audit(snapshot: &Snapshot, plan: &Plan, now: Timestamp) -> Vec<Violation> {
    let mut check = Check {
        snapshot,
        now,
        builds: BTreeSet::new(),
        machines: BTreeSet::new(),
        launches: BTreeMap::new(),
        violations: Vec::new(),
    };
    for action in &plan.actions {
        check.action(action);
    }
    check.limits();
    check.violations
}

impl Action {
    /// The build that is placed, if the action places one.
    pub fn build(&self) -> Option<BuildId> {
        match self {
            Self::Bind { build, .. } | Self::GiveUp { build, .. } => Some(*build),
            Self::Launch { claim, .. } | Self::Wake { claim, .. } => claim.map(|claim| claim.0),
            Self::Sleep { .. } | Self::Drain { .. } => None,
        }
    }
}

struct Check<'a> {
    snapshot: &'a Snapshot,
    now: Timestamp,
    builds: BTreeSet<BuildId>,
    machines: BTreeSet<MachineId>,
    launches: BTreeMap<ImageIndex, u32>,
    violations: Vec<Violation>,
}

impl Check<'_> {
    fn action(&mut self, action: &Action) {
        match action {
            Action::Bind { build, machine, .. } => {
                self.machine_once(*machine);
                let free =
                    |phase| matches!(phase, Phase::Idle(_) | Phase::Coming { claimed: false });
                self.take(Some(*build), *machine, free);
            }
            Action::Wake { claim, machine, .. } => {
                self.machine_once(*machine);
                let build = claim.map(|claim| claim.0);
                self.take(build, *machine, |phase| matches!(phase, Phase::Asleep(_)));
                if let Some(machine) = self.snapshot.machines.get(machine) {
                    *self.launches.entry(machine.image).or_default() += 1;
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
                claim,
                ..
            } => {
                self.machine_once(*machine);
                match claim {
                    Some((build, _)) => self.build(*build, *image, *version),
                    None => self.spare(*machine, *image, *version),
                }
                *self.launches.entry(*image).or_default() += 1;
            }
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

    fn machine_once(&mut self, machine: MachineId) {
        if !self.machines.insert(machine) {
            self.violations.push(Violation::UsedTwice(machine));
        }
    }

    fn take(&mut self, build: Option<BuildId>, id: MachineId, free: impl Fn(Phase) -> bool) {
        let is_rested = |machine: &MachineView| {
            let image = self.snapshot.image(machine.image);
            machine.past.is_tidying
                || image.is_some_and(|image| rest::must_rest(machine, image).is_some())
        };
        let free = |machine: &&MachineView| free(machine.phase) && !is_rested(machine);
        let machine = self.snapshot.machines.get(&id).filter(free);
        match (machine, build) {
            (Some(machine), Some(build)) => {
                self.shared(build, id, machine);
                self.build(build, machine.image, machine.version);
            }
            (Some(machine), None) => self.spare(id, machine.image, machine.version),
            (None, _) => self.violations.push(Violation::NotFree(id)),
        }
    }

    /// A build follows only what it may follow.
    fn shared(&mut self, build: BuildId, machine: MachineId, view: &MachineView) {
        let queued = self.snapshot.queued.get(&build);
        let class = queued.and_then(|queued| self.snapshot.classes.get(&queued.class));
        if class.is_some_and(|class| !rest::may_follow(class, view)) {
            let violation = Violation::NotShared { build, machine };
            self.violations.push(violation);
        }
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

    fn limits(&mut self) {
        for limit in &self.snapshot.limits {
            let covered = |image: &ImageIndex| u32::from(limit.covers(*image));
            let present: u32 = self
                .snapshot
                .machines
                .values()
                .filter(|m| !matches!(m.phase, Phase::Asleep(_)))
                .map(|m| covered(&m.image))
                .sum();
            let launched: u32 = self
                .launches
                .iter()
                .map(|(i, count)| covered(i) * count)
                .sum();
            if launched > 0 && present + launched > limit.machines {
                self.violations.push(Violation::OverLimit {
                    limit: limit.name.clone(),
                    max: limit.machines,
                    planned: present + launched,
                });
            }
        }
    }
}
