//! What happens to a machine, written into a transaction: accepted, ready, asleep, not up, gone.

use crate::ledger;
use crate::model::{
    AttemptId, Category, Change, Endpoint, EventKind, IllegalTransition, InstanceId, MachineId,
    MachineState, Offering, Outcome, Reason, Span, Subject,
};
use crate::provider::ProviderError;

use super::capacity::FailureBudget;
use super::draft::Draft;
use super::outcome::{MachineAfter, end_attempts};
use super::sharing::shares;

/// Whether a machine is on its way up.
pub(crate) const fn is_coming(state: &MachineState) -> bool {
    matches!(
        state,
        MachineState::Intended { .. } | MachineState::Booting { .. } | MachineState::Waking { .. }
    )
}

/// The provider has accepted the launch of a machine that it takes by itself.
pub(crate) fn launched(
    draft: &mut Draft<'_>,
    id: MachineId,
    instance: &InstanceId,
) -> Result<(), IllegalTransition> {
    let state = draft.books.machines.get(&id).map(|machine| &machine.state);
    let Some(MachineState::Intended { claims }) = state else {
        return Ok(());
    };
    let next = MachineState::Booting {
        instance: instance.clone(),
        claims: claims.clone(),
    };
    draft.enter_machine(id, next, None)?;
    let message = format!("the provider accepted the launch as {instance}");
    draft.event(Subject::Machine(id), EventKind::MachineLaunched, message);
    Ok(())
}

/// Opens the machine for builds: busy with those that wait for it, else idle. The attempts that
/// begin now.
pub(crate) fn ready(
    draft: &mut Draft<'_>,
    id: MachineId,
    endpoint: Endpoint,
) -> Result<Vec<AttemptId>, IllegalTransition> {
    let Some(machine) = draft.books.machines.get(&id) else {
        return Ok(Vec::new());
    };
    let (MachineState::Booting { instance, claims } | MachineState::Waking { instance, claims }) =
        &machine.state
    else {
        return Ok(Vec::new());
    };
    let (instance, claims) = (instance.clone(), claims.clone());
    let begun = match machine.state {
        MachineState::Waking { .. } => (machine.since, "it was woken"),
        MachineState::Intended { .. }
        | MachineState::Booting { .. }
        | MachineState::Idle { .. }
        | MachineState::Busy { .. }
        | MachineState::FallingAsleep { .. }
        | MachineState::Asleep { .. }
        | MachineState::Draining { .. }
        | MachineState::Gone { .. } => (machine.created_at, "the launch was decided"),
    };
    let took = draft.now.since(begun.0);
    let took = Span::from_millis(took.micros() / 1_000);
    let bill = shares(draft, machine, None);
    let attempts = claims.as_slice().iter().map(|claim| claim.1).collect();
    let next = if claims.is_empty() {
        MachineState::Idle { instance, endpoint }
    } else {
        MachineState::Busy {
            instance,
            endpoint,
            claims,
            ends: None,
        }
    };
    draft.enter_shared_machine(id, next, Some(bill))?;
    let message = format!("ready {took} after {}", begun.1);
    draft.event(Subject::Machine(id), EventKind::MachineReady, message);
    Ok(attempts)
}

/// A machine that was put to sleep is stopped.
pub(crate) fn asleep(
    draft: &mut Draft<'_>,
    id: MachineId,
    instance: InstanceId,
) -> Result<(), IllegalTransition> {
    let next = MachineState::Asleep { instance };
    draft.enter_machine(id, next, Some((Category::Idle, None)))?;
    let message = "asleep; a build that fits wakes it".to_owned();
    draft.event(Subject::Machine(id), EventKind::MachineNote, message);
    Ok(())
}

/// A machine that cannot sleep is ended: it would be paid for.
pub(crate) fn not_asleep(
    draft: &mut Draft<'_>,
    id: MachineId,
    instance: InstanceId,
    why: &str,
) -> Result<(), IllegalTransition> {
    let reason = Reason::Failed(format!("it does not fall asleep: {why}"));
    let message = reason.sentence();
    let next = MachineState::Draining {
        instance: Some(instance),
        reason,
    };
    draft.enter_machine(id, next, Some((Category::Idle, None)))?;
    draft.event(Subject::Machine(id), EventKind::MachineDraining, message);
    Ok(())
}

/// Writes down that a machine was not woken.
pub(crate) fn sleep_on(
    draft: &mut Draft<'_>,
    id: MachineId,
    error: &ProviderError,
    is_for_good: bool,
) -> Result<(), IllegalTransition> {
    let Some(machine) = draft.books.machines.get(&id).cloned() else {
        return Ok(());
    };
    let MachineState::Waking { instance, claims } = machine.state.clone() else {
        return Ok(());
    };
    let why = format!("it could not be woken: {}", error.message);
    let key = (machine.image.clone(), machine.image_version);
    if let Some(image) = draft
        .books
        .images
        .get(&key)
        .cloned()
        .filter(|_| !is_for_good)
    {
        let pools = [machine.pool()];
        if let Some(note) = draft.books.refused(&image, &pools, error, draft.now) {
            let subject = Subject::Image(image.name.clone());
            draft.event(subject, EventKind::ImageNote, note);
        }
    }
    draft.event(Subject::Machine(id), EventKind::MachineNote, why.clone());
    let reason = Reason::Failed(why.clone());
    if !claims.is_empty() {
        let after = if is_for_good {
            MachineAfter::Drain(reason)
        } else {
            MachineAfter::Asleep
        };
        let outcome = Outcome::NotLaunched(why.clone());
        return end_attempts(draft, &attempts_of(&machine.state), &outcome, &why, after);
    }
    if is_for_good {
        let message = reason.sentence();
        let next = MachineState::Draining {
            instance: Some(instance),
            reason,
        };
        draft.enter_machine(id, next, Some((Category::Boot, None)))?;
        draft.event(Subject::Machine(id), EventKind::MachineDraining, message);
    } else {
        let next = MachineState::Asleep { instance };
        draft.enter_machine(id, next, Some((Category::Boot, None)))?;
    }
    Ok(())
}

/// The attempts bound to a machine.
pub(super) fn attempts_of(state: &MachineState) -> Vec<AttemptId> {
    state.claims().iter().map(|claim| claim.1).collect()
}

/// What a machine becomes that is woken as another type.
pub(crate) fn becomes(machine: &mut crate::model::Machine, offering: &Offering) {
    machine.shape = offering.shape.clone();
    machine.zone.clone_from(&offering.zone);
    machine.market = offering.market;
    machine.asleep_usd_micro_per_hour = offering.asleep;
}

/// Ends a machine that did not come up; its builds get another try, its image a pause. `console` are
/// the last lines that the machine wrote.
pub(crate) fn boot_failed(
    draft: &mut Draft<'_>,
    id: MachineId,
    why: &str,
    console: Option<String>,
    budget: FailureBudget,
) -> Result<(), IllegalTransition> {
    let Some(machine) = draft.books.machines.get(&id) else {
        return Ok(());
    };
    // What is billed already was for what it did before it slept.
    let cost = ledger::cost_at(machine, draft.now) - machine.billed;
    let (image, state) = (machine.image.clone(), machine.state.clone());
    if !is_coming(&state) {
        return Ok(());
    }
    if let Some(console) = console {
        let builds = state.claims().iter().map(|claim| Subject::Build(claim.0));
        for subject in builds.chain([Subject::Machine(id)]) {
            draft.event(subject, EventKind::MachineNote, console.clone());
        }
    }
    give_up(draft, id, &state, why)?;
    let failure = (draft.now, cost);
    if let Some(note) = draft.books.launch_failed(&image, failure, budget) {
        draft.event(Subject::Image(image), EventKind::ImageNote, note);
    }
    Ok(())
}

/// Ends the attempts that wait for a machine that does not come up, and begins its end.
fn give_up(
    draft: &mut Draft<'_>,
    id: MachineId,
    state: &MachineState,
    why: &str,
) -> Result<(), IllegalTransition> {
    let reason = Reason::BootFailed(why.to_owned());
    if !state.claims().is_empty() {
        let outcome = Outcome::Infrastructure(why.to_owned());
        let after = MachineAfter::Drain(reason);
        return end_attempts(draft, &attempts_of(state), &outcome, why, after);
    }
    if is_coming(state) {
        let instance = state.instance().cloned();
        let message = reason.sentence();
        let next = MachineState::Draining { instance, reason };
        draft.enter_machine(id, next, Some((Category::Boot, None)))?;
        draft.event(Subject::Machine(id), EventKind::MachineDraining, message);
    }
    Ok(())
}

/// A machine that was ended is proved gone.
pub(crate) fn gone(draft: &mut Draft<'_>, id: MachineId) -> Result<(), IllegalTransition> {
    let Some(machine) = draft.books.machines.get(&id) else {
        return Ok(());
    };
    let MachineState::Draining { reason, instance } = &machine.state else {
        return Ok(());
    };
    let (reason, has_instance) = (reason.clone(), instance.is_some());
    // Its launch is settled, or was never recorded.
    if !has_instance && draft.books.capacity.skills(&machine.provider).fleet {
        draft.waive(id);
    }
    draft.enter_machine(
        id,
        MachineState::Gone { reason },
        Some((Category::Drain, None)),
    )?;
    draft.record(Change::DeleteMachineKeys(id));
    let cost = draft.last_cost(id);
    let message = format!("proved gone; it cost {cost} in all");
    draft.event(Subject::Machine(id), EventKind::MachineGone, message);
    Ok(())
}
