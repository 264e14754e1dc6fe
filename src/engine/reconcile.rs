//! The planner's loop: look, decide, record, execute.
//!
//! A pass takes no hints: a nudge only makes it come sooner, and every pass sees everything.

use std::sync::Arc;

use crate::model::{
    Attempt, AttemptId, AttemptState, BuildId, BuildState, Category, Change, Cursor, EventKind,
    IllegalTransition, Image, Machine, MachineId, MachineKeys, MachineState, Money, Shape, Span,
    Subject, Timestamp,
};
use crate::planner::{self, Action, Plan};
use crate::remote::machine_keys;

use super::draft::Draft;
use super::engine::{Engine, Fault};

/// A pass is made at least this often, whatever was missed.
const LONGEST_PAUSE: Span = Span::from_secs(5);

/// A recorded decision that is ready to be carried out.
#[derive(Debug, Clone, Copy)]
enum Effect {
    BringUp(MachineId),
    Drive(AttemptId),
    End(MachineId),
}

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
        let (effects, pending) = self.write(|draft| {
            plan = self.decide(draft);
            violations = planner::audit(&draft.books.snapshot, &plan, draft.now);
            if !violations.is_empty() {
                return Ok(Vec::new());
            }
            let mut effects = Vec::with_capacity(plan.actions.len());
            for action in &plan.actions {
                effects.extend(self.record(draft, action)?);
            }
            Ok(effects)
        })?;
        if !violations.is_empty() {
            return Err(Fault::Plan(violations));
        }
        let took = self.parts.clock.now().since(begun);
        metrics::histogram!("dormouse_plan_seconds").record(took.to_std().as_secs_f64());
        if effects.is_empty() {
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
                }
            });
        }
        Ok(plan.wake_at)
    }

    fn decide(&self, draft: &Draft<'_>) -> Plan {
        let mut fresh = || self.parts.ids.bits(draft.now);
        planner::plan(&draft.books.snapshot, draft.now, &mut fresh)
    }

    fn carry_out(self: &Arc<Self>, effect: Effect) {
        let engine = Arc::clone(self);
        match effect {
            Effect::BringUp(machine) => self.spawn(engine.bring_up(machine)),
            Effect::Drive(attempt) => self.spawn(engine.drive(attempt)),
            Effect::End(machine) => self.spawn(engine.end_machine(machine)),
        }
    }

    /// Writes one action into the transaction; what has to be done once that is durable.
    fn record(
        &self,
        draft: &mut Draft<'_>,
        action: &Action,
    ) -> Result<Option<Effect>, IllegalTransition> {
        match action {
            Action::Bind {
                build,
                attempt,
                machine,
            } => {
                let effect = claim(draft, *machine, (*build, *attempt))?;
                bind(draft, (*build, *attempt), *machine, "a warm machine")?;
                Ok(effect)
            }
            Action::Launch {
                machine,
                image,
                shape,
                build,
                attempt,
                ..
            } => {
                let Some(image) = draft.books.image_at(*image).cloned() else {
                    return Ok(None);
                };
                let Some(shape) = image.spec.shapes.get(*shape).cloned() else {
                    return Ok(None);
                };
                draft.record(Change::PutMachineKeys(self.new_keys(*machine)?));
                intend(draft, *machine, &image, shape, (*build, *attempt));
                bind(
                    draft,
                    (*build, *attempt),
                    *machine,
                    "a machine that is launched for it",
                )?;
                Ok(Some(Effect::BringUp(*machine)))
            }
            Action::Drain { machine, reason } => {
                let Some(state) = draft.books.machines.get(machine).map(|m| &m.state) else {
                    return Ok(None);
                };
                let category = match state {
                    MachineState::Idle { .. } => Category::Idle,
                    MachineState::Intended { .. }
                    | MachineState::Booting { .. }
                    | MachineState::Busy { .. }
                    | MachineState::Draining { .. }
                    | MachineState::Gone { .. } => Category::Boot,
                };
                let instance = state.instance().cloned();
                let next = MachineState::Draining {
                    instance,
                    reason: reason.clone(),
                };
                draft.enter_machine(*machine, next, Some((category, None)))?;
                let subject = Subject::Machine(*machine);
                draft.event(subject, EventKind::MachineDraining, reason.sentence());
                Ok(Some(Effect::End(*machine)))
            }
        }
    }
}

impl Engine {
    fn new_keys(&self, machine: MachineId) -> Result<MachineKeys, IllegalTransition> {
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

/// Gives a free machine its build.
fn claim(
    draft: &mut Draft<'_>,
    id: MachineId,
    claim: (BuildId, AttemptId),
) -> Result<Option<Effect>, IllegalTransition> {
    let Some(machine) = draft.books.machines.get(&id) else {
        return Ok(None);
    };
    let (next, bill, effect) = match &machine.state {
        MachineState::Idle { instance, endpoint } => (
            MachineState::Busy {
                instance: instance.clone(),
                endpoint: *endpoint,
                claim,
            },
            Some((Category::Idle, None)),
            Some(Effect::Drive(claim.1)),
        ),
        MachineState::Booting { instance, .. } => (
            MachineState::Booting {
                instance: instance.clone(),
                claim: Some(claim),
            },
            None,
            None,
        ),
        MachineState::Intended { .. }
        | MachineState::Busy { .. }
        | MachineState::Draining { .. }
        | MachineState::Gone { .. } => (MachineState::Intended { claim: Some(claim) }, None, None),
    };
    draft.enter_machine(id, next, bill)?;
    Ok(effect)
}

fn bind(
    draft: &mut Draft<'_>,
    (build, attempt): (BuildId, AttemptId),
    machine: MachineId,
    what: &str,
) -> Result<(), IllegalTransition> {
    let bound = BuildState::Bound {
        machine,
        attempt,
        since: draft.now,
    };
    draft.enter_build(build, bound, format!("bound to {machine}, {what}"))?;
    let number = draft
        .books
        .builds
        .get(&build)
        .map_or(1, |build| build.attempts);
    draft.insert_attempt(Attempt {
        id: attempt,
        build,
        number,
        machine,
        bound_at: draft.now,
        state: AttemptState::Bound,
        steps: Vec::new(),
        cursor: Cursor::default(),
        rev: 0,
    });
    Ok(())
}

fn intend(
    draft: &mut Draft<'_>,
    id: MachineId,
    image: &Image,
    shape: Shape,
    claim: (BuildId, AttemptId),
) {
    let message = format!(
        "launch of image {} version {} on {} at {}",
        image.name, image.version, shape.name, shape.price_usd_micro_per_hour
    );
    draft.insert_machine(Machine {
        id,
        image: image.name.clone(),
        image_version: image.version,
        provider: image.spec.provider.clone(),
        shape,
        launched_for: Some(claim.0),
        state: MachineState::Intended { claim: Some(claim) },
        since: draft.now,
        created_at: draft.now,
        builds_done: 0,
        billed_until: draft.now,
        billed: Money::ZERO,
        hold: None,
        rev: 0,
    });
    draft.event(Subject::Machine(id), EventKind::MachineIntended, message);
}
