//! The planner's loop: look, decide, record, execute.
//!
//! A pass takes no hints: a nudge only makes it come sooner, and every pass sees everything.

use std::sync::Arc;

use crate::model::{
    Attempt, AttemptId, AttemptState, BuildId, BuildResult, BuildState, Category, Change, Cursor,
    EventKind, IllegalTransition, Image, Machine, MachineId, MachineKeys, MachineState, Money,
    Offering, Span, Subject, Timestamp,
};
use crate::planner::{self, Action, ImageIndex, Plan};
use crate::remote::machine_keys;

use super::draft::Draft;
use super::engine::{Engine, Fault};
use super::outcome::finish_build;
use super::sleep::becomes;

/// A pass is made at least this often, whatever was missed.
const LONGEST_PAUSE: Span = Span::from_secs(5);

/// A recorded decision that is ready to be carried out.
#[derive(Debug, Clone)]
enum Effect {
    BringUp(MachineId),
    Launch(MachineId, Vec<Offering>),
    Sleep(MachineId),
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
            Effect::Launch(machine, offerings) => self.gather(machine, offerings),
            Effect::Sleep(machine) => self.spawn(engine.fall_asleep(machine)),
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
                offerings,
                build,
                attempt,
                ..
            } => self.record_launch_of(draft, *machine, (*image, offerings), (*build, *attempt)),
            Action::Wake {
                machine,
                offering,
                build,
                attempt,
            } => {
                let claim = (*build, *attempt);
                wake(draft, *machine, *offering, claim)?;
                bind(draft, claim, *machine, "a machine that is woken for it")?;
                Ok(Some(Effect::BringUp(*machine)))
            }
            Action::Sleep { machine, how } => {
                let state = draft.books.machines.get(machine).map(|m| &m.state);
                let Some(instance) = state.and_then(MachineState::instance).cloned() else {
                    return Ok(None);
                };
                let next = MachineState::FallingAsleep {
                    instance,
                    how: *how,
                };
                draft.enter_machine(*machine, next, Some((Category::Idle, None)))?;
                let message = format!("put to sleep ({})", how.word());
                draft.event(Subject::Machine(*machine), EventKind::MachineNote, message);
                Ok(Some(Effect::Sleep(*machine)))
            }
            Action::GiveUp { build, reason } => {
                finish_build(draft, *build, BuildResult::InfraFailure, reason)?;
                Ok(None)
            }
            Action::Drain { machine, reason } => {
                let Some(state) = draft.books.machines.get(machine).map(|m| &m.state) else {
                    return Ok(None);
                };
                let category = match state {
                    MachineState::Idle { .. }
                    | MachineState::FallingAsleep { .. }
                    | MachineState::Asleep { .. } => Category::Idle,
                    MachineState::Intended { .. }
                    | MachineState::Booting { .. }
                    | MachineState::Waking { .. }
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
    /// Records the intent; a provider with a fleet gets it with others like it, any other at once.
    fn record_launch_of(
        &self,
        draft: &mut Draft<'_>,
        machine: MachineId,
        (index, places): (ImageIndex, &[usize]),
        claim: (BuildId, AttemptId),
    ) -> Result<Option<Effect>, IllegalTransition> {
        let Some(image) = draft.books.image_at(index).cloned() else {
            return Ok(None);
        };
        let offerings = draft.books.offerings_at(&image, places);
        let Some(cheapest) = offerings.first() else {
            return Ok(None);
        };
        let provider = self.provider(&image.spec.provider);
        let has_fleet = provider.is_some_and(|provider| provider.fleet().is_some());
        if !has_fleet {
            draft.record(Change::PutMachineKeys(self.new_keys(machine)?));
        }
        intend(draft, machine, &image, cheapest, claim);
        let what = "a machine that is launched for it";
        bind(draft, claim, machine, what)?;
        Ok(Some(if has_fleet {
            Effect::Launch(machine, offerings)
        } else {
            Effect::BringUp(machine)
        }))
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
        MachineState::Waking { instance, .. } => (
            MachineState::Waking {
                instance: instance.clone(),
                claim: Some(claim),
            },
            None,
            None,
        ),
        MachineState::Intended { .. }
        | MachineState::FallingAsleep { .. }
        | MachineState::Asleep { .. }
        | MachineState::Busy { .. }
        | MachineState::Draining { .. }
        | MachineState::Gone { .. } => (MachineState::Intended { claim: Some(claim) }, None, None),
    };
    draft.enter_machine(id, next, bill)?;
    Ok(effect)
}

/// Begins to wake a machine, as what the plan says.
fn wake(
    draft: &mut Draft<'_>,
    id: MachineId,
    place: usize,
    claim: (BuildId, AttemptId),
) -> Result<(), IllegalTransition> {
    let Some(machine) = draft.books.machines.get(&id) else {
        return Ok(());
    };
    let MachineState::Asleep { instance } = machine.state.clone() else {
        return Ok(());
    };
    let key = (machine.image.clone(), machine.image_version);
    let image = draft.books.images.get(&key).cloned();
    let offering = image.map(|image| draft.books.offerings_at(&image, &[place]));
    if let Some(offering) = offering.unwrap_or_default().first() {
        draft.change_machine(id, |machine| becomes(machine, offering));
    }
    let next = MachineState::Waking {
        instance,
        claim: Some(claim),
    };
    draft.enter_machine(id, next, Some((Category::Idle, None)))?;
    let subject = Subject::Machine(id);
    draft.event(
        subject,
        EventKind::MachineNote,
        "woken for a build".to_owned(),
    );
    Ok(())
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
    offering: &Offering,
    claim: (BuildId, AttemptId),
) {
    let shape = offering.shape.clone();
    let message = format!(
        "launch of image {} version {} on {} at {}",
        image.name,
        image.version,
        offering.pool(),
        shape.price_usd_micro_per_hour
    );
    draft.insert_machine(Machine {
        id,
        image: image.name.clone(),
        image_version: image.version,
        provider: image.spec.provider.clone(),
        shape,
        zone: offering.zone.clone(),
        market: offering.market,
        asleep_usd_micro_per_hour: offering.asleep,
        launch: None,
        tariff: None,
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
