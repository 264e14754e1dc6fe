//! A pass of the planner: when it is due, what it decides, and what is done with that.

use crate::books::{Effect, look_at_budgets, next_cap, record};
use crate::model::{BuildResult, Market, MarketChoice, Span, Timestamp};
use crate::planner::{self, Action, Blocked, Plan};

use super::cloud::REQUEST;
use super::coverage::Situation;
use super::events::{Gathered, Task};
use super::run::{Decide, SimulationError};
use super::simulation::{Simulation, no_keys};

impl Simulation<'_> {
    /// Asks for a plan if the engine would, and carries it out.
    pub(super) fn pass_if_due(&mut self, decide: &mut dyn Decide) -> Result<(), SimulationError> {
        let now = self.now();
        let is_due = self.is_nudged || self.wake_at.is_some_and(|at| at <= now);
        if self.is_down || !is_due {
            return Ok(());
        }
        self.is_nudged = false;
        self.record.outcome.passes += 1;
        let looked = self.write(|draft| {
            draft.books.look_ahead(draft.now);
            look_at_budgets(draft)
        })?;
        for attempt in looked.stop {
            self.coverage.note(Situation::StoppedAtCap);
            self.ask_stop(attempt);
        }
        let ids = &mut self.ids;
        let plan = decide.decide(&self.books.snapshot, now, &mut || ids.identity(now));
        // One that does nothing and asks to be made again at once would be asked for for ever.
        let is_again = |at: &Timestamp| *at > now || !plan.actions.is_empty();
        self.wake_at = plan.wake_at.filter(is_again);
        self.wake_for_caps();
        let is_whole = self.wake_at.is_none_or(|at| at > now);
        self.note_plan(&plan);
        if self.scenario.is_watched {
            let held = self.watch.look_at_plan(&self.books, &plan, now);
            held.map_err(|what| self.broken(what))?;
        }
        if plan.actions.is_empty() {
            return Ok(());
        }
        let violations = planner::audit(&self.books.snapshot, &plan, now);
        if !violations.is_empty() {
            return Err(SimulationError::Plan {
                at: now,
                violations,
            });
        }
        let effects = self.write(|draft| {
            let mut effects = Vec::with_capacity(plan.actions.len());
            for action in &plan.actions {
                effects.extend(record(draft, action, &mut |machine| Ok(no_keys(machine)))?);
            }
            Ok(effects)
        })?;
        self.wake_for_caps();
        self.carry_out(effects)?;
        if self.scenario.is_watched && is_whole {
            self.look_again(&plan, decide)?;
        }
        Ok(())
    }

    /// Has another pass made when the next build's own amount is spent.
    fn wake_for_caps(&mut self) {
        let next = next_cap(&self.books, self.now());
        self.wake_at = [self.wake_at, next].into_iter().flatten().min();
    }

    /// What a pass has decided is decided: another one at the same instant places nothing more.
    fn look_again(&mut self, first: &Plan, decide: &mut dyn Decide) -> Result<(), SimulationError> {
        let now = self.now();
        self.books.look_ahead(now);
        let ids = &mut self.ids;
        let plan = decide.decide(&self.books.snapshot, now, &mut || ids.identity(now));
        // Machines to be at hand are another matter: what was placed has taught the forecast.
        let is_placed = |action: &&Action| match action {
            Action::Bind { .. }
            | Action::Move { .. }
            | Action::Launch { claim: Some(_), .. }
            | Action::Wake { claim: Some(_), .. } => true,
            Action::Launch { claim: None, .. }
            | Action::Wake { claim: None, .. }
            | Action::Sleep { .. }
            | Action::GiveUp { .. }
            | Action::Drain { .. } => false,
        };
        match plan.actions.iter().find(is_placed) {
            Some(action) => Err(self.broken(format!(
                "a second pass places more: {action:?} after {first:?}"
            ))),
            None => Ok(()),
        }
    }

    /// Carries out what a plan comes to; like launches go together.
    fn carry_out(&mut self, effects: Vec<Effect>) -> Result<(), SimulationError> {
        let mut groups: Vec<Gathered> = Vec::new();
        for effect in effects {
            match effect {
                Effect::BringUp(machine) => self.bring_up(machine),
                Effect::Launch(machine, offerings) => {
                    let Some(row) = self.books.machines.get(&machine) else {
                        continue;
                    };
                    let is_like = |group: &&mut Gathered| {
                        group.image == row.image
                            && group.version == row.image_version
                            && group.offerings == offerings
                    };
                    if let Some(group) = groups.iter_mut().find(is_like) {
                        group.machines.push(machine);
                        continue;
                    }
                    groups.push(Gathered {
                        image: row.image.clone(),
                        version: row.image_version,
                        offerings,
                        machines: vec![machine],
                    });
                }
                Effect::Sleep(machine) => self.fall_asleep(machine)?,
                Effect::Drive(attempt) => self.drive(attempt),
                Effect::End(machine) => self.after(Span::ZERO, Task::End(machine)),
            }
        }
        for group in groups {
            self.after(REQUEST, Task::Record(Box::new(group)));
        }
        Ok(())
    }

    fn note_plan(&mut self, plan: &Plan) {
        for action in &plan.actions {
            self.coverage.note(match action {
                Action::GiveUp {
                    result: BuildResult::OverBudget,
                    ..
                } => Situation::GivenUpForMoney,
                Action::GiveUp { .. } => Situation::GivenUpForCapacity,
                Action::Launch { claim: None, .. } => Situation::SpareLaunched,
                Action::Wake { claim: None, .. } => Situation::SpareWoken,
                // They come to what machines and builds tell.
                Action::Bind { .. }
                | Action::Move { .. }
                | Action::Launch { .. }
                | Action::Wake { .. }
                | Action::Sleep { .. }
                | Action::Drain { .. } => continue,
            });
        }
        if self.scenario.is_watched {
            let first = plan.waiting.first();
            let why =
                first.map(|waiting| planner::blocked_words(&self.books.snapshot, &waiting.why));
            self.last_wait = why.unwrap_or_default();
        }
        for waiting in &plan.waiting {
            if let Blocked::Budget(no_room) = &waiting.why {
                self.ask_for_money(no_room);
            }
            if let Some(situation) = Situation::waiting_for(&self.books.snapshot, &waiting.why) {
                self.coverage.note(situation);
            }
        }
        let snapshot = &self.books.snapshot;
        let is_surer = |action: &Action| match action {
            Action::Launch {
                image,
                claim: Some((build, _)),
                market: Market::OnDemand,
                ..
            } => {
                let queued = snapshot.queued.get(build);
                let class = queued.and_then(|queued| snapshot.classes.get(&queued.class));
                let market = snapshot.image(*image).map(|image| image.market);
                class.is_some_and(|class| class.on_demand) && market != Some(MarketChoice::OnDemand)
            }
            Action::Bind { .. }
            | Action::Move { .. }
            | Action::Launch { .. }
            | Action::Wake { .. }
            | Action::Sleep { .. }
            | Action::GiveUp { .. }
            | Action::Drain { .. } => false,
        };
        if plan.actions.iter().any(is_surer) {
            self.coverage.note(Situation::Surer);
        }
        let ceilings = snapshot.warm.values().filter_map(|floors| floors.ceiling);
        if ceilings
            .into_iter()
            .any(|ceiling| ceiling.spent >= ceiling.max)
        {
            self.coverage.note(Situation::CeilingReached);
        }
    }
}
