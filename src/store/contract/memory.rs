//! The naive model: maps, a clone per commit, and loops.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::Fixture;
use crate::model::{
    Attempt, AttemptId, BudgetNote, Build, BuildId, BuildResult, Change, Entry, Event, Extent,
    Image, ImageState, Launch, LaunchId, Machine, MachineId, MachineKeys, MachineState, Money,
    Pipeline, PipelineId, Policy, Span, Subject, Timestamp, Token, TokenId,
};
use crate::store::rounds::RowName;
use crate::store::{
    BuildFilter, CostGroup, CostRow, OpenWork, Page, PastAttempt, SpentRow, Store, StoreError,
    Tally,
};

#[derive(Debug, Clone, Default)]
struct Tables {
    pipelines: BTreeMap<PipelineId, Pipeline>,
    builds: BTreeMap<BuildId, Build>,
    attempts: BTreeMap<AttemptId, Attempt>,
    machines: BTreeMap<MachineId, Machine>,
    keys: BTreeMap<MachineId, MachineKeys>,
    launches: BTreeMap<LaunchId, Launch>,
    images: BTreeMap<(String, u32), Image>,
    policies: BTreeMap<(String, u32), Policy>,
    extents: BTreeMap<(AttemptId, u64), Extent>,
    entries: Vec<Entry>,
    events: Vec<Event>,
    notes: Vec<BudgetNote>,
    tokens: BTreeMap<TokenId, Token>,
}

/// Why a change is not applied.
enum Refusal {
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
    fn apply(&mut self, change: &Change) -> Result<(), Refusal> {
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
    fn apply_rest(&mut self, change: Change) -> Result<(), Refusal> {
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

    fn by_key(&self, key: &str) -> Option<&Pipeline> {
        let has_key = |p: &&Pipeline| p.idempotency.as_ref().is_some_and(|(k, _)| k == key);
        self.pipelines.values().find(has_key)
    }

    fn tally(&self, pipeline: PipelineId) -> Tally {
        let mut tally = Tally::new();
        for build in self.builds.values().filter(|b| b.spec.pipeline == pipeline) {
            let word = build.state.result().map(BuildResult::word);
            let word = word.unwrap_or(build.state.word());
            *tally.entry(word.to_owned()).or_default() += 1;
        }
        tally
    }

    fn is_present(machine: &Machine) -> bool {
        !matches!(machine.state, MachineState::Gone { .. })
    }

    /// A row for each entry; how rows are gathered is no part of the contract.
    fn spent(&self, entry: &Entry, since: Timestamp) -> SpentRow {
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

    fn current_policies(&self) -> Vec<Policy> {
        let mut current: BTreeMap<&str, &Policy> = BTreeMap::new();
        for policy in self.policies.values() {
            current.insert(&policy.name, policy);
        }
        current.into_values().cloned().collect()
    }

    fn is_newest(&self, image: &Image) -> bool {
        let newest = self.images.keys().filter(|(name, _)| *name == image.name);
        newest
            .max()
            .is_some_and(|(_, newest)| *newest == image.version)
    }

    fn images_where(&self, wanted: impl Fn(&Image) -> bool) -> Vec<Image> {
        let mut images: Vec<Image> = self
            .images
            .values()
            .filter(|i| wanted(i))
            .cloned()
            .collect();
        images.sort_by_key(|image| (image.name.clone(), Reverse(image.version)));
        images
    }

    fn open_work(&self) -> OpenWork {
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

    fn costs(
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

fn no_cost(key: String) -> CostRow {
    CostRow {
        key,
        by_category: BTreeMap::new(),
        time: BTreeMap::new(),
        total: Money::ZERO,
    }
}

fn page<Id: Ord + Copy, V: Clone>(
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

/// The model as a store.
#[derive(Debug, Clone, Default)]
pub(super) struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
}

impl MemoryStore {
    fn read<T>(&self, answer: impl FnOnce(&Tables) -> T) -> T {
        answer(&self.tables.lock().unwrap())
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let mut tables = self.tables.lock().unwrap();
        let mut next = tables.clone();
        for change in &changes {
            next.apply(change).map_err(|refusal| match refusal {
                Refusal::Conflict => StoreError::Conflict {
                    row: RowName::of(change).unwrap().to_string(),
                },
                Refusal::NoParent => StoreError::Database {
                    operation: "committing",
                    detail: "no parent".to_owned(),
                },
            })?;
        }
        *tables = next;
        Ok(())
    }

    async fn open_work(&self) -> Result<OpenWork, StoreError> {
        Ok(self.read(Tables::open_work))
    }

    async fn pipeline(&self, id: PipelineId) -> Result<Option<Pipeline>, StoreError> {
        Ok(self.read(|t| t.pipelines.get(&id).cloned()))
    }

    async fn pipeline_by_key(&self, key: &str) -> Result<Option<Pipeline>, StoreError> {
        Ok(self.read(|t| t.by_key(key).cloned()))
    }

    async fn pipelines(
        &self,
        project: Option<&str>,
        at: Page<PipelineId>,
    ) -> Result<Vec<(Pipeline, Tally)>, StoreError> {
        let wanted = |p: &Pipeline| project.is_none_or(|project| p.project == project);
        Ok(self.read(|t| {
            let found = page(&t.pipelines, &at, wanted);
            found
                .into_iter()
                .map(|p| (p.clone(), t.tally(p.id)))
                .collect()
        }))
    }

    async fn tally(&self, id: PipelineId) -> Result<Tally, StoreError> {
        Ok(self.read(|t| t.tally(id)))
    }

    async fn build(&self, id: BuildId) -> Result<Option<Build>, StoreError> {
        Ok(self.read(|t| t.builds.get(&id).cloned()))
    }

    async fn builds(
        &self,
        filter: &BuildFilter,
        at: Page<BuildId>,
    ) -> Result<Vec<Build>, StoreError> {
        let wanted = |b: &Build| {
            let has_result = |wanted| b.state.result() == Some(wanted);
            filter.pipeline.is_none_or(|id| b.spec.pipeline == id)
                && filter.project.as_ref().is_none_or(|p| b.spec.project == *p)
                && filter.state.as_ref().is_none_or(|s| b.state.word() == s)
                && filter.result.is_none_or(has_result)
        };
        Ok(self.read(|t| page(&t.builds, &at, wanted)))
    }

    async fn attempt(&self, id: AttemptId) -> Result<Option<Attempt>, StoreError> {
        Ok(self.read(|t| t.attempts.get(&id).cloned()))
    }

    async fn attempts(&self, build: BuildId) -> Result<Vec<Attempt>, StoreError> {
        let of_build = |a: &&Attempt| a.build == build;
        let mut found: Vec<Attempt> =
            self.read(|t| t.attempts.values().filter(of_build).cloned().collect());
        found.sort_by_key(|attempt| attempt.number);
        Ok(found)
    }

    async fn past_attempts(&self, at: Page<AttemptId>) -> Result<Vec<PastAttempt>, StoreError> {
        Ok(self.read(|t| {
            let on_machine = |a: &Attempt| t.machines.contains_key(&a.machine);
            let found = page(&t.attempts, &at, on_machine);
            let past = found.into_iter().map(|attempt| PastAttempt {
                project: t.builds[&attempt.build].spec.project.clone(),
                build: t.builds[&attempt.build].spec.name.clone(),
                image: t.machines[&attempt.machine].image.clone(),
                attempt,
            });
            past.collect()
        }))
    }

    async fn machine(&self, id: MachineId) -> Result<Option<Machine>, StoreError> {
        Ok(self.read(|t| t.machines.get(&id).cloned()))
    }

    async fn machines(
        &self,
        with_gone: bool,
        at: Page<MachineId>,
    ) -> Result<Vec<Machine>, StoreError> {
        Ok(self.read(|t| page(&t.machines, &at, |m| with_gone || Tables::is_present(m))))
    }

    async fn machine_keys(&self, id: MachineId) -> Result<Option<MachineKeys>, StoreError> {
        Ok(self.read(|t| {
            let present = t.machines.get(&id).is_some_and(Tables::is_present);
            t.keys.get(&id).filter(|_| present).cloned()
        }))
    }

    async fn images(&self, name: Option<&str>) -> Result<Vec<Image>, StoreError> {
        Ok(self.read(|t| match name {
            Some(name) => t.images_where(|image| image.name == name),
            None => t.images_where(|image| image.state == ImageState::Active),
        }))
    }

    async fn policies(&self, name: Option<&str>) -> Result<Vec<Policy>, StoreError> {
        Ok(self.read(|t| match name {
            Some(name) => {
                let of_name = |p: &&Policy| p.name == name;
                t.policies.values().rev().filter(of_name).cloned().collect()
            }
            None => t.current_policies(),
        }))
    }

    async fn extents(
        &self,
        attempt: AttemptId,
        from: u64,
        to: u64,
    ) -> Result<Vec<Extent>, StoreError> {
        let overlaps = |e: &&Extent| {
            from < to && e.attempt == attempt && e.start < to && e.start + e.len > from
        };
        Ok(self.read(|t| t.extents.values().filter(overlaps).cloned().collect()))
    }

    async fn events(
        &self,
        subject: Option<&Subject>,
        after: u64,
        limit: u32,
    ) -> Result<Vec<(u64, Event)>, StoreError> {
        let wanted = |(number, event): &(u64, Event)| {
            *number > after && subject.is_none_or(|subject| event.subject == *subject)
        };
        let limit = usize::try_from(limit).unwrap();
        let numbered = |t: &Tables| {
            let events = (1..).zip(t.events.iter().cloned());
            events.filter(wanted).take(limit).collect()
        };
        Ok(self.read(numbered))
    }

    async fn last_event(&self) -> Result<u64, StoreError> {
        Ok(self.read(|t| t.events.len() as u64))
    }

    async fn costs(
        &self,
        group: CostGroup,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<CostRow>, StoreError> {
        let key = |entry: &Entry| match group {
            CostGroup::Build => entry.build.map(|id| id.to_string()).unwrap_or_default(),
            CostGroup::Pipeline => entry.pipeline.map(|id| id.to_string()).unwrap_or_default(),
            CostGroup::Project => entry.project.clone().unwrap_or_default(),
            CostGroup::Image => entry.image.clone(),
            CostGroup::Day => entry.from.to_string()[..10].to_owned(),
        };
        let mut rows = self.read(|t| t.costs(key, |e| from <= e.from && e.from < to));
        rows.truncate(usize::try_from(limit).unwrap());
        Ok(rows)
    }

    async fn spent(&self, since: Timestamp) -> Result<Vec<SpentRow>, StoreError> {
        let ends_after = |e: &&Entry| e.to > since || e.from >= since;
        Ok(self.read(|t| {
            let entries = t.entries.iter().filter(ends_after);
            entries.map(|entry| t.spent(entry, since)).collect()
        }))
    }

    async fn budget_notes(&self, since: Timestamp) -> Result<Vec<BudgetNote>, StoreError> {
        let notes = self.read(|t| t.notes.clone()).into_iter();
        let mut notes: Vec<BudgetNote> = notes.filter(|note| note.at >= since).collect();
        notes.sort_by_key(|note| note.at);
        Ok(notes)
    }

    async fn build_cost(&self, id: BuildId) -> Result<CostRow, StoreError> {
        let rows = self.read(|t| t.costs(|_| id.to_string(), |entry| entry.build == Some(id)));
        Ok(rows
            .into_iter()
            .next()
            .unwrap_or_else(|| no_cost(id.to_string())))
    }

    async fn token_by_hash(&self, hash: &str) -> Result<Option<Token>, StoreError> {
        let accepted = |t: &&Token| t.hash == hash && t.revoked_at.is_none();
        Ok(self.read(|t| t.tokens.values().find(accepted).cloned()))
    }

    async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        Ok(self.read(|t| t.tokens.values().rev().cloned().collect()))
    }
}

/// The model goes through the suite, too: what it fails, no engine is asked.
pub(in crate::store) struct MemoryFixture(MemoryStore);

#[async_trait]
impl Fixture for MemoryFixture {
    async fn new() -> Self {
        Self(MemoryStore::default())
    }

    fn store(&self) -> &dyn Store {
        &self.0
    }

    async fn reopen(&mut self) {}
}
