//! The rows of the naive model, and what is asked of them.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::model::{
    Attempt, AttemptId, BudgetNote, Build, BuildId, BuildResult, Change, Entry, Event, Extent,
    Image, ImageState, Launch, LaunchId, Machine, MachineId, MachineKeys, MachineState, Money,
    Pipeline, PipelineId, Policy, Span, Timestamp, Token, TokenId,
};
use crate::store::{CostRow, OpenWork, Page, SpentRow, Tally};

/// All rows, by their keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Tables {
    pub(super) pipelines: BTreeMap<PipelineId, Pipeline>,
    pub(super) builds: BTreeMap<BuildId, Build>,
    pub(super) attempts: BTreeMap<AttemptId, Attempt>,
    pub(super) machines: BTreeMap<MachineId, Machine>,
    pub(super) keys: BTreeMap<MachineId, MachineKeys>,
    pub(super) launches: BTreeMap<LaunchId, Launch>,
    pub(super) images: BTreeMap<(String, u32), Image>,
    pub(super) policies: BTreeMap<(String, u32), Policy>,
    pub(super) extents: BTreeMap<(AttemptId, u64), Extent>,
    pub(super) entries: Vec<Entry>,
    pub(super) events: Vec<Event>,
    pub(super) notes: Vec<BudgetNote>,
    pub(super) tokens: BTreeMap<TokenId, Token>,
}

/// Why a change is not applied.
pub(super) enum Refusal {
    Conflict,
    NoParent,
}

fn insert<K: Ord, V>(rows: &mut BTreeMap<K, V>, key: K, row: V) -> Result<(), Refusal> {
    match rows.insert(key, row) {
        None => Ok(()),
        Some(_) => Err(Refusal::Conflict),
    }
}

fn update<K: Ord, V>(
    rows: &mut BTreeMap<K, V>,
    key: &K,
    row: V,
    is_as_read: impl FnOnce(&V) -> bool,
) -> Result<(), Refusal> {
    match rows.get_mut(key) {
        Some(stored) if is_as_read(stored) => {
            *stored = row;
            Ok(())
        }
        Some(_) | None => Err(Refusal::Conflict),
    }
}

fn unique(is_taken: bool) -> Result<(), Refusal> {
    if is_taken {
        Err(Refusal::Conflict)
    } else {
        Ok(())
    }
}

fn parent(exists: bool) -> Result<(), Refusal> {
    if exists {
        Ok(())
    } else {
        Err(Refusal::NoParent)
    }
}

impl Tables {
    #[expect(clippy::wildcard_enum_match_arm, reason = "one match in two functions")]
    pub(super) fn apply(&mut self, change: &Change) -> Result<(), Refusal> {
        match change.clone() {
            Change::InsertPipeline(new) => {
                let key = new.idempotency.as_ref().map(|(key, _)| key);
                unique(key.is_some_and(|key| self.by_key(key).is_some()))?;
                insert(&mut self.pipelines, new.id, new)
            }
            Change::InsertBuild(new) => {
                unique(self.builds.contains_key(&new.id))?;
                parent(self.pipelines.contains_key(&new.spec.pipeline))?;
                insert(&mut self.builds, new.id, new)
            }
            Change::UpdateBuild(mut new, read) => {
                // What was submitted never changes.
                if let Some(stored) = self.builds.get(&new.id) {
                    new.spec = stored.spec.clone();
                }
                update(&mut self.builds, &new.id.clone(), new, |b| b.rev == read)
            }
            Change::InsertAttempt(new) => {
                let taken = |a: &Attempt| (a.build, a.number) == (new.build, new.number);
                unique(self.attempts.values().any(taken) || self.attempts.contains_key(&new.id))?;
                parent(self.builds.contains_key(&new.build))?;
                insert(&mut self.attempts, new.id, new)
            }
            Change::UpdateAttempt(new, read) => {
                update(&mut self.attempts, &new.id.clone(), new, |a| a.rev == read)
            }
            Change::InsertMachine(new) => insert(&mut self.machines, new.id, new),
            Change::UpdateMachine(new, read) => {
                update(&mut self.machines, &new.id.clone(), new, |m| m.rev == read)
            }
            Change::PutMachineKeys(keys) => {
                parent(self.machines.contains_key(&keys.machine))?;
                self.keys.insert(keys.machine, keys);
                Ok(())
            }
            Change::DeleteMachineKeys(machine) => {
                self.keys.remove(&machine);
                Ok(())
            }
            Change::InsertLaunch(new) => insert(&mut self.launches, new.id, new),
            Change::DeleteLaunch(launch) => {
                self.launches.remove(&launch);
                Ok(())
            }
            change => self.apply_rest(change),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "one match in two functions")]
    pub(super) fn apply_rest(&mut self, change: Change) -> Result<(), Refusal> {
        match change {
            Change::InsertImage(new) => {
                insert(&mut self.images, (new.name.clone(), new.version), new)
            }
            Change::UpdateImage(new, read) => {
                let key = (new.name.clone(), new.version);
                update(&mut self.images, &key, new, |i| i.rev == read)
            }
            Change::InsertPolicy(new) => {
                insert(&mut self.policies, (new.name.clone(), new.version), new)
            }
            Change::InsertExtent(new) => {
                unique(self.extents.contains_key(&(new.attempt, new.start)))?;
                parent(self.attempts.contains_key(&new.attempt))?;
                insert(&mut self.extents, (new.attempt, new.start), new)
            }
            Change::AppendEntry(entry) => {
                self.entries.push(entry);
                Ok(())
            }
            Change::AppendBudgetNote(note) => {
                self.notes.push(note);
                Ok(())
            }
            Change::AppendEvent(event) => {
                self.events.push(event);
                Ok(())
            }
            Change::InsertToken(new) => {
                unique(self.tokens.values().any(|token| token.hash == new.hash))?;
                insert(&mut self.tokens, new.id, new)
            }
            Change::RevokeToken(id, at) => {
                let token = self.tokens.get_mut(&id).ok_or(Refusal::Conflict)?;
                token.revoked_at.get_or_insert(at);
                Ok(())
            }
            other => unreachable!("{other:?} is handled above"),
        }
    }

    pub(super) fn by_key(&self, key: &str) -> Option<&Pipeline> {
        let has_key = |p: &&Pipeline| p.idempotency.as_ref().is_some_and(|(k, _)| k == key);
        self.pipelines.values().find(has_key)
    }

    pub(super) fn tally(&self, pipeline: PipelineId) -> Tally {
        let mut tally = Tally::new();
        for build in self.builds.values().filter(|b| b.spec.pipeline == pipeline) {
            let word = build.state.result().map(BuildResult::word);
            let word = word.unwrap_or(build.state.word());
            *tally.entry(word.to_owned()).or_default() += 1;
        }
        tally
    }

    pub(super) fn is_present(machine: &Machine) -> bool {
        !matches!(machine.state, MachineState::Gone { .. })
    }

    /// A row for each entry; how rows are gathered is no part of the contract.
    pub(super) fn spent(&self, entry: &Entry, since: Timestamp) -> SpentRow {
        let spec = entry.build.and_then(|id| self.builds.get(&id));
        let spec = spec.map(|build| build.spec.clone());
        let machine = self.machines.get(&entry.machine);
        let overhead_of = machine.and_then(|machine| machine.project.clone());
        SpentRow {
            project: entry.project.clone().or(overhead_of),
            image: entry.image.clone(),
            pipeline: entry.pipeline,
            build: entry.build,
            labels: spec.as_ref().map(|s| s.labels.clone()).unwrap_or_default(),
            priority: spec.map(|spec| spec.priority),
            amount: crate::ledger::between(entry, since, Timestamp::from_micros(i64::MAX)),
        }
    }

    pub(super) fn current_policies(&self) -> Vec<Policy> {
        let mut current: BTreeMap<&str, &Policy> = BTreeMap::new();
        for policy in self.policies.values() {
            current.insert(&policy.name, policy);
        }
        current.into_values().cloned().collect()
    }

    pub(super) fn is_newest(&self, image: &Image) -> bool {
        let newest = self.images.keys().filter(|(name, _)| *name == image.name);
        newest
            .max()
            .is_some_and(|(_, newest)| *newest == image.version)
    }

    pub(super) fn images_where(&self, wanted: impl Fn(&Image) -> bool) -> Vec<Image> {
        let mut images: Vec<Image> = self
            .images
            .values()
            .filter(|i| wanted(i))
            .cloned()
            .collect();
        images.sort_by_key(|image| (image.name.clone(), Reverse(image.version)));
        images
    }

    pub(super) fn open_work(&self) -> OpenWork {
        let builds: Vec<Build> = self
            .builds
            .values()
            .filter(|build| !build.state.is_finished())
            .cloned()
            .collect();
        let bound = |id: &AttemptId| {
            let binding = |b: &Build| b.state.binding().is_some_and(|(_, attempt)| attempt == *id);
            builds.iter().any(binding)
        };
        let machines: Vec<Machine> = self
            .machines
            .values()
            .filter(|m| Self::is_present(m))
            .cloned()
            .collect();
        let has_machine = |image: &Image| {
            let key = (&image.name, image.version);
            machines.iter().any(|m| (&m.image, m.image_version) == key)
        };
        let mut needed = BTreeMap::new();
        for id in builds.iter().flat_map(|build| &build.spec.needs) {
            let build = self.builds.get(id);
            if let Some(result) = build.and_then(|build| build.state.result()) {
                needed.insert(*id, result);
            }
        }
        OpenWork {
            attempts: self
                .attempts
                .values()
                .filter(|attempt| bound(&attempt.id))
                .cloned()
                .collect(),
            images: self.images_where(|i| {
                i.state == ImageState::Active || has_machine(i) || self.is_newest(i)
            }),
            policies: self.current_policies(),
            launches: self.launches.values().cloned().collect(),
            machines,
            builds,
            needed,
        }
    }

    pub(super) fn costs(
        &self,
        key: impl Fn(&Entry) -> String,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Vec<CostRow> {
        let mut groups: BTreeMap<String, CostRow> = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| wanted(entry)) {
            let key = key(entry);
            let row = groups.entry(key.clone()).or_insert_with(|| no_cost(key));
            let time = row.time.entry(entry.category).or_default();
            *time = Span::from_micros(time.micros() + entry.to.since(entry.from).micros());
            *row.by_category.entry(entry.category).or_default() += entry.amount;
            row.total += entry.amount;
        }
        let mut rows: Vec<CostRow> = groups.into_values().collect();
        rows.sort_by_key(|row| (Reverse(row.total), row.key.clone()));
        rows
    }
}

pub(super) fn no_cost(key: String) -> CostRow {
    CostRow {
        key,
        by_category: BTreeMap::new(),
        time: BTreeMap::new(),
        total: Money::ZERO,
    }
}

pub(super) fn page<Id: Ord + Copy, V: Clone>(
    rows: &BTreeMap<Id, V>,
    page: &Page<Id>,
    wanted: impl Fn(&V) -> bool,
) -> Vec<V> {
    rows.iter()
        .rev()
        .filter(|(id, row)| page.before.is_none_or(|before| **id < before) && wanted(row))
        .map(|(_, row)| row.clone())
        .take(usize::try_from(page.limit).unwrap())
        .collect()
}
