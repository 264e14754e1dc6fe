//! Limits: what there is at once, and what was launched within the hour.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::books::{Books, DEFAULT_MAX_MACHINES, is_coming};
use crate::model::{
    Build, BuildId, BuildSpec, Machine, MachineId, MachineState, Policy, Rate, Span, Timestamp,
};
use crate::policy::{self, Subject};

const HOUR: Span = Span::from_secs(3_600);

/// What limits count.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// Machines that count: those that run, are on their way up, or from there on their way out.
    awake: BTreeSet<MachineId>,
    /// The project that each of them counts for.
    projects: BTreeMap<MachineId, Option<String>>,
    /// Launches of the last hour.
    launches: VecDeque<Launched>,
    /// Builds that have a machine.
    bound: BTreeSet<BuildId>,
    /// What has begun to count with the present transaction.
    new: Vec<New>,
}

#[derive(Debug)]
struct Launched {
    at: Timestamp,
    image: String,
    provider: String,
    build: Option<Arc<BuildSpec>>,
}

#[derive(Debug)]
enum New {
    /// A machine runs, or is going to.
    Machine(MachineId),
    /// A machine counts for another project than this one.
    Project(MachineId, Option<String>),
    /// A launch was decided.
    Launch,
}

impl Limits {
    /// A launch was decided.
    pub(super) fn launched(&mut self, machine: &Machine, books: &Books, now: Timestamp) {
        let build = machine.launched_for;
        let build = build.and_then(|build| books.builds.get(&build));
        self.launches.push_back(Launched {
            at: now,
            image: machine.image.clone(),
            provider: machine.provider.clone(),
            build: build.map(|build| Arc::clone(&build.spec)),
        });
        self.new.push(New::Launch);
    }

    /// A machine has changed.
    pub(super) fn machine(&mut self, machine: &Machine) {
        if self.has_risen(machine) {
            self.new.push(New::Machine(machine.id));
        }
        if matches!(machine.state, MachineState::Gone { .. }) {
            self.projects.remove(&machine.id);
            return;
        }
        let before = self.projects.insert(machine.id, machine.project.clone());
        if let Some(before) = before.filter(|before| *before != machine.project) {
            self.new.push(New::Project(machine.id, before));
        }
    }

    /// Whether a machine has begun to run, or is going to, with this change.
    fn has_risen(&mut self, machine: &Machine) -> bool {
        match machine.state {
            MachineState::Asleep { .. } | MachineState::Gone { .. } => {
                self.awake.remove(&machine.id);
                false
            }
            // One that is ended in its sleep does not wake for that.
            MachineState::Draining { .. } => false,
            MachineState::Intended { .. }
            | MachineState::Booting { .. }
            | MachineState::Idle { .. }
            | MachineState::Busy { .. }
            | MachineState::FallingAsleep { .. }
            | MachineState::Waking { .. } => {
                self.awake.insert(machine.id) && is_coming(&machine.state)
            }
        }
    }

    /// A limit may be exceeded when it was lowered, but nothing more may come then.
    pub(super) fn look(&mut self, books: &Books, now: Timestamp) -> Result<(), String> {
        self.launches.retain(|launch| now < launch.at + HOUR);
        let bound = books
            .builds
            .values()
            .filter(|b| b.state.binding().is_some());
        let bound: BTreeSet<BuildId> = bound.map(|build| build.id).collect();
        let has_more = bound.difference(&self.bound).next().is_some();
        let begun: Vec<BuildId> = bound.difference(&self.bound).copied().collect();
        self.bound = bound;
        for new in std::mem::take(&mut self.new) {
            match new {
                New::Machine(id) => self.look_at_machines(id, None, books)?,
                New::Project(id, before) => self.look_at_machines(id, Some(&before), books)?,
                New::Launch => self.look_at_launches(books)?,
            }
        }
        if has_more {
            self.look_at_builds(&begun, books)?;
        }
        Ok(())
    }

    /// There are no more machines than each policy allows that speaks of a new one.
    fn look_at_machines(
        &self,
        id: MachineId,
        before: Option<&Option<String>>,
        books: &Books,
    ) -> Result<(), String> {
        let Some(new) = books.machines.get(&id).filter(|_| self.awake.contains(&id)) else {
            return Ok(());
        };
        let awake = || {
            books
                .machines
                .values()
                .filter(|m| self.awake.contains(&m.id))
        };
        let mut is_limited = false;
        for policy in books.policies.values() {
            let spec = &policy.spec;
            is_limited |= spec.max_machines.is_some() && speaks_of_all(policy);
            let counted = before.is_some_and(|project| covers(policy, new, project.as_deref()));
            if counted || !covers(policy, new, new.project.as_deref()) {
                continue;
            }
            let covered = || awake().filter(|m| covers(policy, m, m.project.as_deref()));
            let name = &policy.name;
            exceeded(name, "machines", covered().count(), spec.max_machines)?;
            let vcpus: u32 = covered().map(|m| m.shape.vcpus).sum();
            exceeded(name, "vcpus", vcpus, spec.max_vcpus)?;
            let rate = covered().map(|m| m.shape.price_usd_micro_per_hour.micros_per_hour());
            let most = spec.max_cost_per_hour.map(Rate::micros_per_hour);
            exceeded(name, "micro-dollars an hour", rate.sum::<u64>(), most)?;
        }
        if is_limited {
            return Ok(());
        }
        let most = Some(DEFAULT_MAX_MACHINES);
        exceeded("built-in", "machines", awake().count(), most)
    }

    fn look_at_launches(&self, books: &Books) -> Result<(), String> {
        let Some(last) = self.launches.back() else {
            return Ok(());
        };
        for policy in books.policies.values() {
            let of_it = self.launches.iter().filter(|l| l.is_of(policy));
            if last.is_of(policy) {
                let most = policy.spec.max_launches_per_hour;
                exceeded(&policy.name, "launches an hour", of_it.count(), most)?;
            }
        }
        Ok(())
    }

    fn look_at_builds(&self, begun: &[BuildId], books: &Books) -> Result<(), String> {
        let is_of = |policy: &Policy, build: &Build| {
            let machine = build.state.binding().map(|(machine, _)| machine);
            let machine = machine.and_then(|id| books.machines.get(&id));
            policy::speaks_of(&policy.spec, &subject(&build.spec, machine))
        };
        for policy in books.policies.values() {
            let of_it = |id: &&BuildId| {
                let build = books.builds.get(id);
                build.is_some_and(|build| is_of(policy, build))
            };
            if policy.spec.max_builds.is_some() && begun.iter().any(|id| of_it(&id)) {
                let count = self.bound.iter().filter(of_it).count();
                exceeded(&policy.name, "builds", count, policy.spec.max_builds)?;
            }
        }
        Ok(())
    }
}

impl Launched {
    fn is_of(&self, policy: &Policy) -> bool {
        let spec = self.build.as_ref();
        let subject = Subject {
            project: spec.map(|spec| spec.project.as_str()),
            image: Some(&self.image),
            provider: Some(&self.provider),
            labels: spec.map(|spec| &spec.labels),
            priority: spec.map(|spec| spec.priority),
        };
        policy::speaks_of(&policy.spec, &subject)
    }
}

fn subject<'a>(spec: &'a BuildSpec, machine: Option<&'a Machine>) -> Subject<'a> {
    Subject {
        project: Some(&spec.project),
        image: machine.map(|machine| machine.image.as_str()),
        provider: machine.map(|machine| machine.provider.as_str()),
        labels: Some(&spec.labels),
        priority: Some(spec.priority),
    }
}

/// Whether a policy has no selectors.
fn speaks_of_all(policy: &Policy) -> bool {
    policy::speaks_of(&policy.spec, &Subject::default())
}

fn covers(policy: &Policy, machine: &Machine, project: Option<&str>) -> bool {
    let subject = Subject {
        project,
        image: Some(&machine.image),
        provider: Some(&machine.provider),
        ..Subject::default()
    };
    policy::speaks_of(&policy.spec, &subject)
}

fn exceeded<N: TryInto<u64>, M: Into<u64>>(
    policy: &str,
    what: &str,
    count: N,
    most: Option<M>,
) -> Result<(), String> {
    let (count, most) = (count.try_into().unwrap_or(u64::MAX), most.map(Into::into));
    match most {
        Some(most) if count > most => Err(format!(
            "policy {policy:?} allows {most} {what}, and there are {count}"
        )),
        Some(_) | None => Ok(()),
    }
}
