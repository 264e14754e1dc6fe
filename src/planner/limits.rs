//! Limits: what there may be at once among what a policy speaks of, and how much of it is used.
//!
//! Use is counted by running totals, one per limit: a pass looks at each machine once, and at each
//! limit once per place that it tries, however many images and machines there are.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::{MachineId, Rate, Span, Timestamp};

use super::snapshot::{ImageIndex, MachineView, Phase, ProjectIndex, Snapshot};

/// What launches are counted over.
pub const LAUNCH_WINDOW: Span = Span::from_secs(3_600);

/// Names a policy that asks for labels or a priority; builds know which of them speak of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Rule(pub u32);

/// What a limit or a budget speaks of.
///
/// A machine counts for the project whose build it runs or ran last. One that asks for labels or a
/// priority speaks of a machine only while it has a build with them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Images; none for all.
    pub images: Option<BTreeSet<ImageIndex>>,
    /// Projects; none for all.
    pub projects: Option<BTreeSet<ProjectIndex>>,
    /// What a build must be.
    pub rule: Option<Rule>,
}

impl Scope {
    /// Whether it speaks of what is of an image and, for builds with these rules, of a project.
    pub fn covers(&self, image: ImageIndex, project: Option<ProjectIndex>, rules: &[Rule]) -> bool {
        let of_image = |images: &BTreeSet<ImageIndex>| images.contains(&image);
        let of_project = |projects: &BTreeSet<ProjectIndex>| {
            project.is_some_and(|project| projects.contains(&project))
        };
        self.images.as_ref().is_none_or(of_image)
            && self.projects.as_ref().is_none_or(of_project)
            && self.rule.is_none_or(|rule| rules.contains(&rule))
    }
}

/// What there may be at once, or within an hour, among what a policy speaks of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// The policy that says so, for reports.
    pub name: String,
    /// What it speaks of.
    pub scope: Scope,
    /// Most machines, in whatever phase but asleep.
    pub machines: Option<u32>,
    /// Most virtual processors of such machines.
    pub vcpus: Option<u32>,
    /// Most builds that have a machine.
    pub builds: Option<u32>,
    /// Most launches within any hour, failed ones included.
    pub launches_per_hour: Option<u32>,
    /// Most that such machines may cost per hour, all together.
    pub cost_per_hour: Option<Rate>,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Quota {
    /// Machines.
    Machines,
    /// Virtual processors.
    Vcpus,
    /// Builds that have a machine.
    Builds,
    /// Launches within the hour.
    Launches,
    /// Dollars per hour.
    Cost,
}

/// A limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// Its place in `Snapshot::limits`.
    pub limit: usize,
    /// What of it.
    pub quota: Quota,
    /// When time alone makes room.
    pub until: Option<Timestamp>,
}

/// A launch of the last hour.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchView {
    /// When it was decided.
    pub at: Timestamp,
    /// Of which image.
    pub image: ImageIndex,
    /// For whose build; none for a machine to be at hand.
    pub project: Option<ProjectIndex>,
    /// The rules of that build.
    pub rules: Vec<Rule>,
}

/// What a machine adds to what is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Virtual processors.
    pub vcpus: u32,
    /// What it costs.
    pub rate: Rate,
}

/// What is used of a limit.
#[derive(Debug, Clone, Default)]
pub(super) struct Used {
    pub(super) machines: u32,
    pub(super) vcpus: u32,
    pub(super) builds: u32,
    pub(super) micros_per_hour: u64,
    /// Launches of the last hour, ascending.
    pub(super) launches: Vec<Timestamp>,
    /// Machines on their way out.
    pub(super) ending: u32,
}

/// What somebody wants to use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) image: ImageIndex,
    /// The build's project and rules; no project for a machine to be at hand.
    pub(super) project: Option<ProjectIndex>,
    pub(super) rules: &'a [Rule],
    /// Whether there is a build.
    pub(super) build: bool,
    /// The machine that is there already, and changes hands.
    pub(super) present: Option<&'a MachineView>,
    pub(super) load: Load,
    /// Whether a machine is launched for it.
    pub(super) launch: bool,
}

/// The rules of the builds that machines have.
pub(super) fn rules_by_machine(snapshot: &Snapshot) -> BTreeMap<MachineId, Vec<Rule>> {
    let mut rules: BTreeMap<MachineId, Vec<Rule>> = BTreeMap::new();
    for bound in snapshot.bound.values().filter(|b| !b.rules.is_empty()) {
        rules.entry(bound.machine).or_default().extend(&bound.rules);
    }
    rules
}

/// What is used of each limit before anything is planned.
pub(super) fn used(
    snapshot: &Snapshot,
    now: Timestamp,
    rules: &BTreeMap<MachineId, Vec<Rule>>,
) -> Vec<Used> {
    let mut used = vec![Used::default(); snapshot.limits.len()];
    for (id, machine) in &snapshot.machines {
        if matches!(machine.phase, Phase::Asleep(_)) {
            continue;
        }
        let rules = rules.get(id).map_or(&[][..], Vec::as_slice);
        let covering = |(limit, _): &(&Limit, &mut Used)| {
            limit.scope.covers(machine.image, machine.project, rules)
        };
        for (_, used) in snapshot.limits.iter().zip(&mut used).filter(covering) {
            used.add_machine(machine.load());
            used.ending += u32::from(machine.phase == Phase::Ending);
        }
    }
    for bound in snapshot.bound.values() {
        let Some(machine) = snapshot.machines.get(&bound.machine) else {
            continue;
        };
        for (limit, used) in snapshot.limits.iter().zip(&mut used) {
            let covers = limit
                .scope
                .covers(machine.image, Some(bound.project), &bound.rules);
            used.builds += u32::from(covers);
        }
    }
    for launch in snapshot
        .launches
        .iter()
        .filter(|l| now < l.at + LAUNCH_WINDOW)
    {
        for (limit, used) in snapshot.limits.iter().zip(&mut used) {
            if limit
                .scope
                .covers(launch.image, launch.project, &launch.rules)
            {
                used.launches.push(launch.at);
            }
        }
    }
    used
}

impl MachineView {
    /// What it adds to what is used.
    pub const fn load(&self) -> Load {
        Load {
            vcpus: self.meter.vcpus,
            rate: self.meter.rate,
        }
    }
}

impl Used {
    pub(super) const fn add_machine(&mut self, load: Load) {
        self.machines += 1;
        self.vcpus = self.vcpus.saturating_add(load.vcpus);
        self.micros_per_hour = self
            .micros_per_hour
            .saturating_add(load.rate.micros_per_hour());
    }

    /// What of a limit keeps `wanted` out, of which it speaks.
    fn refuses(&self, limit: &Limit, wanted: &Wanted<'_>) -> Option<(Quota, Option<Timestamp>)> {
        let is_full = |most: Option<u32>, used: u32| most.is_some_and(|most| used >= most);
        if wanted.build && is_full(limit.builds, self.builds) {
            return Some((Quota::Builds, None));
        }
        if limit.is_its(wanted.present) {
            return None;
        }
        let vcpus = self.vcpus.saturating_add(wanted.load.vcpus);
        let rate = wanted.load.rate.micros_per_hour();
        let cost = Rate::from_micros_per_hour(self.micros_per_hour.saturating_add(rate));
        if is_full(limit.machines, self.machines) {
            return Some((Quota::Machines, None));
        }
        if limit.vcpus.is_some_and(|most| vcpus > most) {
            return Some((Quota::Vcpus, None));
        }
        if limit.cost_per_hour.is_some_and(|most| cost > most) {
            return Some((Quota::Cost, None));
        }
        let most = limit.launches_per_hour.filter(|_| wanted.launch)?;
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let beyond = self.launches.len().checked_sub(most)?;
        // Once this one and those before it are an hour old, there is room for one more.
        let until = self.launches.get(beyond).map(|at| *at + LAUNCH_WINDOW);
        Some((Quota::Launches, until))
    }
}

impl Limit {
    /// Whether a machine that has no build counts already.
    fn is_its(&self, present: Option<&MachineView>) -> bool {
        present.is_some_and(|machine| self.scope.covers(machine.image, machine.project, &[]))
    }

    /// Whether it counts machines at all.
    const fn counts_machines(&self) -> bool {
        self.machines.is_some() || self.vcpus.is_some() || self.cost_per_hour.is_some()
    }
}

/// The first limit that has no room for `wanted`.
pub(super) fn reached(snapshot: &Snapshot, used: &[Used], wanted: &Wanted<'_>) -> Option<Reached> {
    let limits = snapshot.limits.iter().zip(used).enumerate();
    let mut covering = limits.filter(|(_, (limit, _))| {
        limit
            .scope
            .covers(wanted.image, wanted.project, wanted.rules)
    });
    covering.find_map(|(place, (limit, used))| {
        let (quota, until) = used.refuses(limit, wanted)?;
        Some(Reached {
            limit: place,
            quota,
            until,
        })
    })
}

/// Counts what was decided; true when a machine left a limit, which then has room again.
///
/// That room is not given out in the same pass: what is used must only grow, so that a class that was
/// blocked once stays blocked and is looked at once.
pub(super) fn take(
    snapshot: &Snapshot,
    used: &mut [Used],
    wanted: &Wanted<'_>,
    now: Timestamp,
) -> bool {
    let mut left = false;
    for (limit, used) in snapshot.limits.iter().zip(used) {
        let was_its = limit.is_its(wanted.present);
        if !limit
            .scope
            .covers(wanted.image, wanted.project, wanted.rules)
        {
            left |= was_its && limit.counts_machines();
            continue;
        }
        used.builds += u32::from(wanted.build);
        if !was_its {
            used.add_machine(wanted.load);
        }
        if wanted.launch {
            used.launches.push(now);
        }
    }
    left
}
