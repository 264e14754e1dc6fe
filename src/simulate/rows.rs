//! A model of the store: what is durable, for starting again from. It holds what the real one holds,
//! and refuses what the real one refuses.

use std::collections::BTreeMap;

use crate::model::{
    Attempt, AttemptId, AttemptState, Build, BuildId, BuildResult, Change, Image, ImageState,
    Launch, LaunchId, Machine, MachineId, MachineState, Policy, Timestamp,
};
use crate::store::OpenWork;

use super::past::Past;

/// Rows by identity.
#[derive(Debug, Default)]
pub(super) struct Rows {
    builds: BTreeMap<BuildId, Build>,
    results: BTreeMap<BuildId, BuildResult>,
    attempts: BTreeMap<AttemptId, Attempt>,
    machines: BTreeMap<MachineId, Machine>,
    ended: BTreeMap<MachineId, Machine>,
    images: BTreeMap<(String, u32), Image>,
    policies: BTreeMap<String, Policy>,
    launches: BTreeMap<LaunchId, Launch>,
    /// What no open work needs.
    pub(super) past: Past,
}

impl Rows {
    /// Applies a transaction; the error names a row that was written from an old reading.
    pub(super) fn apply(&mut self, changes: &[Change]) -> Result<(), String> {
        for change in changes {
            self.apply_one(change)?;
            self.past.take(change);
        }
        Ok(())
    }

    fn apply_one(&mut self, change: &Change) -> Result<(), String> {
        let is_sound = match change {
            Change::InsertBuild(build) => {
                let is_new = !self.results.contains_key(&build.id);
                self.put_build(build).is_none() && is_new
            }
            Change::UpdateBuild(build, read) => {
                self.put_build(build).is_some_and(|old| old.rev == *read)
            }
            Change::InsertAttempt(attempt) => self.put_attempt(attempt).is_none(),
            Change::UpdateAttempt(attempt, read) => self
                .put_attempt(attempt)
                .is_some_and(|old| old.rev == *read),
            Change::InsertMachine(machine) => {
                let is_new = !self.ended.contains_key(&machine.id);
                self.put_machine(machine).is_none() && is_new
            }
            Change::UpdateMachine(machine, read) => self
                .put_machine(machine)
                .is_some_and(|old| old.rev == *read),
            Change::InsertImage(image) => {
                let key = (image.name.clone(), image.version);
                self.images.insert(key, image.clone()).is_none()
            }
            Change::UpdateImage(image, read) => {
                let key = (image.name.clone(), image.version);
                let old = self.images.insert(key, image.clone());
                old.is_some_and(|old| old.rev == *read)
            }
            Change::InsertPolicy(policy) => {
                let old = self.policies.insert(policy.name.clone(), policy.clone());
                old.is_none_or(|old| old.version < policy.version)
            }
            Change::InsertLaunch(launch) => {
                self.launches.insert(launch.id, launch.clone()).is_none()
            }
            Change::DeleteLaunch(id) => self.launches.remove(id).is_some(),
            // They are in no book.
            Change::InsertPipeline(_)
            | Change::PutMachineKeys(_)
            | Change::DeleteMachineKeys(_)
            | Change::InsertExtent(_)
            | Change::AppendEntry(_)
            | Change::AppendBudgetNote(_)
            | Change::AppendEvent(_)
            | Change::InsertToken(_)
            | Change::RevokeToken(..) => true,
        };
        if is_sound {
            return Ok(());
        }
        Err(format!("conflicting write: {change:?}"))
    }

    fn put_build(&mut self, build: &Build) -> Option<Build> {
        match build.state.result() {
            Some(result) => {
                self.results.insert(build.id, result);
                self.builds.remove(&build.id)
            }
            None => self.builds.insert(build.id, build.clone()),
        }
    }

    fn put_attempt(&mut self, attempt: &Attempt) -> Option<Attempt> {
        if matches!(attempt.state, AttemptState::Finished { .. }) {
            return self.attempts.remove(&attempt.id);
        }
        self.attempts.insert(attempt.id, attempt.clone())
    }

    fn put_machine(&mut self, machine: &Machine) -> Option<Machine> {
        if matches!(machine.state, MachineState::Gone { .. }) {
            self.ended.insert(machine.id, machine.clone());
            return self.machines.remove(&machine.id);
        }
        self.machines.insert(machine.id, machine.clone())
    }

    /// Everything that is not over.
    pub(super) fn open_work(&self) -> OpenWork {
        let is_newest = |image: &Image| {
            let newer = (image.name.clone(), image.version + 1)..=(image.name.clone(), u32::MAX);
            self.images.range(newer).next().is_none()
        };
        let is_told = |image: &&Image| {
            let is_of_it = |m: &Machine| m.image == image.name && m.image_version == image.version;
            image.state == ImageState::Active
                || is_newest(image)
                || self.machines.values().any(is_of_it)
        };
        let needs = self.builds.values().flat_map(|build| &build.spec.needs);
        let needed = needs.filter_map(|need| Some((*need, *self.results.get(need)?)));
        OpenWork {
            builds: self.builds.values().cloned().collect(),
            attempts: self.attempts.values().cloned().collect(),
            machines: self.machines.values().cloned().collect(),
            images: self.images.values().filter(is_told).cloned().collect(),
            policies: self.policies.values().cloned().collect(),
            launches: self.launches.values().cloned().collect(),
            needed: needed.collect(),
        }
    }

    /// Machines whose launch was decided since then and that are gone or on their way out.
    pub(super) fn ended_machines(&self, since: Timestamp) -> Vec<Machine> {
        let is_ending = |m: &&Machine| matches!(m.state, MachineState::Draining { .. });
        let ending = self.machines.values().filter(is_ending);
        let ended = self.ended.values().chain(ending);
        ended.filter(|m| m.created_at >= since).cloned().collect()
    }

    /// A machine, gone or not.
    pub(super) fn machine(&self, id: MachineId) -> Option<&Machine> {
        self.machines.get(&id).or_else(|| self.ended.get(&id))
    }

    /// All machines there ever were.
    pub(super) fn all_machines(&self) -> impl Iterator<Item = &Machine> {
        self.machines.values().chain(self.ended.values())
    }

    /// All image versions there ever were.
    pub(super) fn all_images(&self) -> impl Iterator<Item = &Image> {
        self.images.values()
    }

    /// Whether nothing is open.
    pub(super) fn is_over(&self) -> bool {
        self.builds.is_empty() && self.attempts.is_empty() && self.machines.is_empty()
    }
}
