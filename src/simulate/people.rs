//! What people do: submit the history, and disturb.

use crate::books::{
    Books, Ending, FAILURE_WINDOW, apply_image, apply_policy, cancel, end_idle, insert,
    not_launched, release, row, supersede,
};
use crate::model::{
    Build, BuildId, ImageSpec, Machine, MachineId, MachineState, Pipeline, PipelineId, PolicySpec,
    Pool, Reason, Span, Step,
};
use crate::spec::BuildDraft;

use super::coverage::Situation;
use super::events::{Event, Task};
use super::faults::Disturbance;
use super::run::SimulationError;
use super::scenario::Work;
use super::simulation::{RESOLVES, Simulation};

type Done = Result<(), SimulationError>;

/// Attempts that infrastructure failures may use up: as pipelines have it by default.
const ATTEMPTS: u32 = 3;
/// How soon people try again what a server that is down does not take.
const TRY_AGAIN: Span = Span::from_secs(60);
/// How long it takes until all that was left undone is asked for again.
const AFTERMATH: Span = Span::from_secs(15);
/// Shortest timeout of a build that says none.
const TIMEOUT: Span = Span::from_secs(3_600);

impl Simulation<'_> {
    /// Submits the builds of the history whose time has come.
    pub(super) fn submit_due(&mut self) -> Done {
        let scenario = self.scenario;
        while let Some(first) = scenario.work.get(self.next_work) {
            if self.is_down || first.submit > self.at {
                return Ok(());
            }
            let rest = scenario.work.get(self.next_work..).unwrap_or_default();
            let is_with_it =
                |work: &&Work| work.submit == first.submit && work.project == first.project;
            let count = rest.iter().take_while(is_with_it).count();
            let begin = self.next_work;
            let places: Vec<usize> = (begin..begin + count).collect();
            self.submit(&places)?;
            self.next_work += count;
        }
        Ok(())
    }

    /// Submits builds of the history as a pipeline.
    fn submit(&mut self, places: &[usize]) -> Done {
        let scenario = self.scenario;
        let works = places.iter().filter_map(|place| scenario.work.get(*place));
        let works: Vec<&Work> = works.collect();
        let Some(first) = works.first() else {
            return Ok(());
        };
        let now = self.now();
        let pipeline = Pipeline {
            id: PipelineId::from_bits(self.ids.identity(now)),
            name: first.name.clone(),
            project: first.project.clone(),
            labels: first.labels.clone(),
            priority: first.priority,
            submitted_at: now,
            submitted_by: "simulator".to_owned(),
            idempotency: None,
            builds: u32::try_from(works.len()).unwrap_or(u32::MAX),
        };
        // Ids ascend in document order, as in the engine.
        let bits = self.ids.identity(now);
        let ids = (0_u128..)
            .zip(&works)
            .map(|(place, _)| BuildId::from_bits(bits + place));
        let ids: Vec<BuildId> = ids.collect();
        let builds: Vec<Build> = works
            .iter()
            .zip(&ids)
            .map(|(work, id)| row(&pipeline, &ids, *id, draft_of(work, places)))
            .collect();
        for (id, place) in ids.iter().zip(places) {
            self.record.is_for(*id, *place);
        }
        let stopping = self.write(|draft| {
            insert(draft, pipeline.clone(), builds);
            supersede(draft, &pipeline, ids)
        })?;
        for attempt in stopping {
            self.coverage.note(Situation::SupersededRunning);
            self.ask_stop(attempt);
        }
        self.nudge();
        Ok(())
    }

    pub(super) fn apply_image(&mut self, name: &str, spec: &ImageSpec) -> Done {
        self.write(|draft| {
            apply_image(draft, name.to_owned(), spec.clone());
            draft.books.catalogue_changed();
            Ok(())
        })
    }

    pub(super) fn apply_policy(&mut self, name: &str, spec: &PolicySpec) -> Done {
        self.write(|draft| {
            apply_policy(draft, name.to_owned(), spec.clone());
            draft.books.catalogue_changed();
            Ok(())
        })?;
        self.know_spent();
        self.nudge();
        Ok(())
    }

    /// What happens beside the history.
    pub(super) fn disturb(&mut self, place: usize) -> Done {
        let scenario = self.scenario;
        let Some((_, disturbance)) = scenario.disturbances.get(place) else {
            return Ok(());
        };
        match disturbance {
            Disturbance::Drought { percent, lasts } => {
                let pools = self.pools();
                self.cloud.drought(pools, *percent, self.at + *lasts);
            }
            Disturbance::Wave { percent } => self.cloud.wave(*percent, self.at),
            Disturbance::Outage { lasts } => {
                self.cloud.outage(self.at + *lasts);
                let now = self.now();
                self.watch.trouble(now, now + *lasts + AFTERMATH);
            }
            Disturbance::Refusals { what, lasts } => self.cloud.refuse(what, self.at + *lasts),
            Disturbance::Restart { down } => self.kill(*down),
            Disturbance::ClockJump(span) => self.jump(*span),
            Disturbance::Policy(..)
            | Disturbance::Image(..)
            | Disturbance::BadImage(..)
            | Disturbance::Release
            | Disturbance::Cancel { .. }
            | Disturbance::Retry
            | Disturbance::EndMachine
                if self.is_down =>
            {
                self.queue.enter(self.at + TRY_AGAIN, Event::Disturb(place));
            }
            Disturbance::Policy(name, spec) => {
                self.coverage.note(Situation::PolicyChanged);
                self.floors_lifted = false;
                self.apply_policy(name, spec)?;
            }
            Disturbance::Image(name, spec) => self.change_image(name, spec)?,
            Disturbance::BadImage(name, spec) => {
                self.change_image(name, spec)?;
                if let Some(image) = self.books.image(name) {
                    self.cloud.spoil(name, image.version);
                }
            }
            Disturbance::Release => self.release_some_image()?,
            Disturbance::Cancel { percent } => self.cancel_some(*percent)?,
            Disturbance::Retry => self.retry()?,
            Disturbance::EndMachine => self.end_some_machine()?,
        }
        self.let_cloud_go_on();
        Ok(())
    }

    fn change_image(&mut self, name: &str, spec: &ImageSpec) -> Done {
        self.coverage.note(Situation::ImageChanged);
        self.apply_image(name, spec)?;
        self.after(RESOLVES, Task::Resolve);
        self.nudge();
        Ok(())
    }

    /// Has an image version tried anew that was quarantined.
    fn release_some_image(&mut self) -> Done {
        let mut names = self.scenario.images.iter().map(|(name, _)| name);
        let Some(name) = names.find(|name| self.books.quarantined(name).is_some()) else {
            return Ok(());
        };
        self.coverage.note(Situation::ReleasedByPerson);
        self.write(|draft| Ok(release(draft, name, "somebody")))?;
        self.after(RESOLVES, Task::Resolve);
        self.nudge();
        Ok(())
    }

    fn pools(&self) -> Vec<Pool> {
        let images = self.books.current_images().cloned();
        let mut pools: Vec<Pool> = images
            .flat_map(|image| self.books.offerings(&image))
            .map(|offering| offering.pool())
            .collect();
        pools.sort_unstable();
        pools.dedup();
        pools
    }

    fn cancel_some(&mut self, percent: u32) -> Done {
        let open: Vec<BuildId> = self.books.builds.keys().copied().collect();
        for id in open {
            if self.dice.below(100) >= u64::from(percent) {
                continue;
            }
            if let Some(build) = self.books.builds.get(&id) {
                self.coverage.note(Situation::canceled_in(&build.state));
            }
            let attempt = self.write(|draft| cancel(draft, id, "canceled by somebody"))?;
            if let Some(attempt) = attempt {
                self.ask_stop(attempt);
            }
        }
        self.nudge();
        Ok(())
    }

    /// Submits a build anew that ended without success.
    fn retry(&mut self) -> Done {
        let failed = self.record.without_success();
        let Some(work) = failed.get(self.dice.place(failed.len())).copied() else {
            return Ok(());
        };
        self.coverage.note(Situation::RetriedByPerson);
        self.submit(&[work])
    }

    fn end_some_machine(&mut self) -> Done {
        let machines: Vec<MachineId> = self.books.machines.keys().copied().collect();
        let Some(id) = machines.get(self.dice.place(machines.len())).copied() else {
            return Ok(());
        };
        let ending = self.write(|draft| end_idle(draft, id, "somebody"))?;
        match ending {
            Ending::Begun(_) => {
                self.coverage.note(Situation::EndedByPerson);
                self.end_now(id);
            }
            Ending::HasBuild(_) => self.coverage.note(Situation::NotEndedByPerson),
            Ending::Unknown => {}
        }
        self.nudge();
        Ok(())
    }

    /// The orchestrator's clock jumps ahead: everybody who waits for a time looks at it.
    fn jump(&mut self, span: Span) {
        self.watch.jump(self.now(), span);
        self.ahead = Span::from_micros(self.ahead.micros() + span.micros());
        if self.is_down {
            return;
        }
        for machine in self.books.machines.values() {
            self.coverage.note(Situation::jumped_in(&machine.state));
        }
        let machines: Vec<MachineId> = self.books.machines.keys().copied().collect();
        for id in machines {
            self.after(Span::ZERO, Task::LookUp(id));
        }
        let attempts: Vec<_> = self.books.attempts.keys().copied().collect();
        for id in attempts {
            self.after(Span::ZERO, Task::LookOver(id));
        }
        self.nudge();
    }

    /// The orchestrator is killed: what it was about to do is lost, what is durable is not.
    fn kill(&mut self, down: Span) {
        if self.is_down {
            return;
        }
        for machine in self.books.machines.values() {
            self.coverage.note(Situation::restarted_in(&machine.state));
        }
        self.is_down = true;
        let now = self.now();
        self.watch.trouble(now, now + down + AFTERMATH);
        self.epoch += 1;
        self.stopping.clear();
        self.stubborn.clear();
        self.queue.enter(self.at + down, Event::Start);
    }

    /// The orchestrator starts again from what is durable.
    pub(super) fn start(&mut self) -> Done {
        self.is_down = false;
        let now = self.now();
        let rows = self.rows.get_or_insert_default();
        let (open, ended) = (rows.open_work(), rows.ended_machines(now - FAILURE_WINDOW));
        self.books = Books::load(open);
        self.know_providers();
        self.books
            .count_failures(ended, super::simulation::FAILURES);
        self.recall();
        self.watch.restarted(now);
        let machines: Vec<Machine> = self.books.machines.values().cloned().collect();
        for machine in machines {
            self.adopt(&machine)?;
        }
        let launches: Vec<_> = self.books.launches.keys().copied().collect();
        for launch in launches {
            self.after(Span::ZERO, Task::Send(launch));
        }
        self.after(RESOLVES, Task::Resolve);
        self.sweep_soon();
        self.nudge();
        Ok(())
    }

    /// Takes up a machine where the books have it.
    fn adopt(&mut self, machine: &Machine) -> Done {
        let id = machine.id;
        if let Some(number) = machine.state.instance().map(super::cloud::number_of) {
            for attempt in &machine.record.unproved {
                self.prove_clean(id, *attempt, number)?;
            }
        }
        match &machine.state {
            // A recorded launch is sent again; one that was not recorded was never sent.
            MachineState::Intended { .. } if self.scenario.cloud.has_fleet => {
                let launches = &self.books.launches;
                if !machine
                    .launch
                    .is_some_and(|launch| launches.contains_key(&launch))
                {
                    self.coverage.note(Situation::NeverSent);
                    let why = "the server was restarted before the launch was sent";
                    let reason = Reason::Failed(why.to_owned());
                    self.write(|draft| not_launched(draft, id, why, reason))?;
                }
            }
            MachineState::Intended { .. }
            | MachineState::Booting { .. }
            | MachineState::Waking { .. } => self.bring_up(id),
            MachineState::Busy {
                claims, instance, ..
            } => {
                for (_, attempt) in claims.as_slice() {
                    self.drive(*attempt);
                }
                self.hear_again(instance);
            }
            MachineState::Idle { instance, .. } => self.hear_again(instance),
            MachineState::FallingAsleep { .. } => self.after(Span::ZERO, Task::LookAsleep(id)),
            MachineState::Draining { .. } => self.end_now(id),
            MachineState::Asleep { .. } | MachineState::Gone { .. } => {}
        }
        Ok(())
    }

    /// A notice that was given before stands on the machine for whoever asks.
    fn hear_again(&mut self, instance: &crate::model::InstanceId) {
        let number = super::cloud::number_of(instance);
        if self.cloud.is_announced(number) {
            self.after(Span::from_secs(1), Task::Hear(number));
        }
    }
}

fn draft_of(work: &Work, places: &[usize]) -> BuildDraft {
    let twice = Span::from_micros(work.run.micros().saturating_mul(2));
    let needs = work.needs.iter();
    let needs = needs.filter_map(|need| places.iter().position(|place| place == need));
    BuildDraft {
        name: work.name.clone(),
        labels: work.labels.clone(),
        priority: work.priority,
        matrix: std::collections::BTreeMap::new(),
        requires: work.requires.clone(),
        image: work.image.clone(),
        fresh: work.fresh,
        deadline: work.deadline,
        needs: needs.collect(),
        steps: vec![Step {
            name: "run".to_owned(),
            run: String::new(),
            env: std::collections::BTreeMap::new(),
            timeout: None,
            continue_on_error: false,
            always: false,
        }],
        env: std::collections::BTreeMap::new(),
        timeout: work.timeout.unwrap_or(twice.max(TIMEOUT)),
        max_attempts: ATTEMPTS,
        log_limit_bytes: 0,
        place: (0, 0),
    }
}
