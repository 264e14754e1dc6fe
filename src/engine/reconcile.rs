//! The planner's loop: look, decide, record, execute.
//!
//! A pass takes no hints: a nudge only makes it come sooner, and every pass sees everything.

use std::sync::Arc;

use crate::books::{Effect, Looked, look_at_budgets, next_cap, record};
use crate::model::{IllegalTransition, MachineId, MachineKeys, Span, Timestamp};
use crate::planner::{self, Plan, RecordedPass, Snapshot, Violation};
use crate::remote::machine_keys;

use super::engine::{Engine, Fault};

/// A pass is made at least this often, whatever was missed.
const LONGEST_PAUSE: Span = Span::from_secs(5);

impl Engine {
    pub(super) async fn plan_loop(self: Arc<Self>) {
        loop {
            let wake_at = match self.plan_once() {
                Ok(wake_at) => wake_at,
                Err(fault) => {
                    self.fault(fault);
                    return;
                }
            };
            let now = self.parts.clock.now();
            let pause = wake_at.map_or(LONGEST_PAUSE, |at| at.since(now).min(LONGEST_PAUSE));
            tokio::select! {
                () = self.nudged() => {}
                () = self.parts.clock.sleep(pause) => {}
            }
        }
    }

    /// One pass: decides under the lock, begins the commit, and carries out once it is durable.
    fn plan_once(self: &Arc<Self>) -> Result<Option<Timestamp>, Fault> {
        let begun = self.parts.clock.now();
        let mut plan = Plan::default();
        let mut violations = Vec::new();
        let mut looked = Looked::default();
        let mut next = None;
        let (effects, pending) = self.write(|draft| {
            draft.books.look_ahead(draft.now);
            looked = look_at_budgets(draft)?;
            (plan, violations) = self.decide(&draft.books.snapshot, draft.now);
            if !violations.is_empty() {
                return Ok(Vec::new());
            }
            let mut new_keys = |machine| self.new_keys(machine);
            let mut effects = Vec::with_capacity(plan.actions.len());
            for action in &plan.actions {
                effects.extend(record(draft, action, &mut new_keys)?);
            }
            draft.books.note_waits(&plan, draft.now);
            next = next_cap(draft.books, draft.now);
            Ok(effects)
        })?;
        if !violations.is_empty() {
            return Err(Fault::Plan(violations));
        }
        let took = self.parts.clock.now().since(begun);
        metrics::histogram!("dormouse_plan_seconds").record(took.to_std().as_secs_f64());
        metrics::counter!("dormouse_budget_warnings_total").increment(looked.warnings);
        if let Some(at) = next {
            plan.wake(at);
        }
        let stop = looked.stop;
        if effects.is_empty() && stop.is_empty() {
            // A build that was bound to a machine on its way up needs nothing to be done, but its
            // commit may fail as any other.
            self.leave(pending);
        } else {
            tracing::debug!(actions = effects.len(), ?took, "plan recorded");
            let engine = Arc::clone(self);
            self.spawn(async move {
                if engine.durable(pending).await.is_ok() {
                    for effect in effects {
                        engine.carry_out(effect);
                    }
                    for attempt in stop {
                        engine.wake_driver(attempt);
                    }
                }
            });
        }
        Ok(plan.wake_at)
    }

    /// Makes a plan and looks for what is wrong with it.
    fn decide(&self, snapshot: &Snapshot, now: Timestamp) -> (Plan, Vec<Violation>) {
        let mut ids = Vec::new();
        let plan = planner::plan(snapshot, now, &mut || {
            let id = self.parts.ids.bits(now);
            ids.push(id);
            id
        });
        let violations = planner::audit(snapshot, &plan, now);
        let passes = &self.parts.passes;
        if passes.wants(&plan, violations.is_empty()) {
            passes.keep(RecordedPass::new(snapshot, now, &ids, &plan));
        }
        (plan, violations)
    }

    fn carry_out(self: &Arc<Self>, effect: Effect) {
        let engine = Arc::clone(self);
        match effect {
            Effect::BringUp(machine) => self.spawn(engine.bring_up(machine)),
            Effect::Launch(machine, offerings) => self.gather(machine, offerings),
            Effect::Sleep(machine) => self.spawn(engine.fall_asleep(machine)),
            Effect::Drive(attempt) => self.spawn(engine.drive(attempt)),
            Effect::End(machine) => self.spawn(engine.end_machine(machine)),
        }
    }

    pub(super) fn new_keys(&self, machine: MachineId) -> Result<MachineKeys, IllegalTransition> {
        let (mut host, mut client) = ([0_u8; 32], [0_u8; 32]);
        self.parts.ids.fill(&mut host);
        self.parts.ids.fill(&mut client);
        // No seed is known for which this fails; if one exists, the state is loaded anew and the next
        // pass takes other seeds.
        machine_keys(machine, &host, &client).map_err(|error| {
            tracing::error!(machine.id = %machine, %error, "no keys for a machine");
            IllegalTransition {
                subject: machine.to_string(),
                from: "planned",
                to: "intended",
            }
        })
    }
}
