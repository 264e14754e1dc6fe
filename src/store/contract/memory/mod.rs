//! The naive model: maps, a clone per commit, and loops.

mod tables;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::Fixture;
use crate::model::{
    Attempt, AttemptId, BudgetNote, Build, BuildId, Change, Entry, Event, Extent, Image,
    ImageState, Machine, MachineId, MachineKeys, Pipeline, PipelineId, Policy, Subject, Timestamp,
    Token,
};
use crate::store::rounds::RowName;
use crate::store::{
    BuildFilter, CostGroup, CostRow, OpenWork, Page, PastAttempt, SpentRow, Store, StoreError,
    Tally,
};
use tables::{Refusal, Tables, no_cost, page};

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
