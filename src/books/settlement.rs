//! What a recorded launch comes to, as one transaction: each machine gets its instance or is known to
//! have none, and what was in the way has its one consequence (`capacity`). Caller: `launcher`.

use crate::model::{
    Category, Change, EventKind, IllegalTransition, Launch, MachineId, MachineKeys, MachineState,
    Offering, Outcome, Pool, Reason, Subject,
};
use crate::provider::{ErrorKind, Instance, LaunchAnswer, ProviderError};

use super::draft::Draft;
use super::machine_steps::attempts_of;
use super::outcome::{MachineAfter, end_attempts};

/// Records a launch and makes its machines part of it, if all of them are still wanted: one that was
/// given up meanwhile may be in no book by the time of the answer.
pub(crate) fn record(draft: &mut Draft<'_>, launch: Launch, keys: &MachineKeys) -> bool {
    let is_intended = |id: &MachineId| {
        let machine = draft.books.machines.get(id);
        machine.is_some_and(|m| matches!(m.state, MachineState::Intended { .. }))
    };
    if !launch.machines.iter().all(is_intended) {
        return false;
    }
    for id in &launch.machines {
        draft.change_machine(*id, |machine| machine.launch = Some(launch.id));
        draft.record(Change::PutMachineKeys(MachineKeys {
            machine: *id,
            ..keys.clone()
        }));
    }
    draft.books.launches.insert(launch.id, launch.clone());
    draft.record(Change::InsertLaunch(launch));
    true
}

/// Writes the outcome of a launch; the machines that have to be brought up now.
pub(crate) fn settle(
    draft: &mut Draft<'_>,
    launch: &Launch,
    answer: &LaunchAnswer,
) -> Result<Vec<MachineId>, IllegalTransition> {
    let key = (launch.image.clone(), launch.image_version);
    let image = draft.books.images.get(&key).cloned();
    let offerings = image.as_ref().map(|image| draft.books.offerings(image));
    let offerings = offerings.unwrap_or_default();
    let why = refusal_words(&answer.refusals);
    let mut up = Vec::new();
    let mut instances = answer.instances.iter();
    // Those that builds wait for come first, should there not be enough.
    let mut machines = launch.machines.clone();
    machines.sort_by_key(|id| !is_awaited(draft, *id));
    for id in &machines {
        match instances.next() {
            Some(instance) => {
                draft.change_machine(*id, |machine| machine.at_most = None);
                reprice(draft, *id, instance.pool.as_ref(), &offerings);
                up.extend(give(draft, *id, instance)?);
            }
            None => not_launched(draft, *id, &why, Reason::NoCapacity(why.clone()))?,
        }
    }
    if let Some(image) = image {
        for refusal in consequential(&answer.refusals, answer, launch) {
            if let Some(note) = draft
                .books
                .refused(&image, &launch.pools, &refusal, draft.now)
            {
                let subject = Subject::Image(image.name.clone());
                draft.event(subject, EventKind::ImageNote, note);
            }
        }
    }
    if draft.books.launches.remove(&launch.id).is_some() {
        draft.record(Change::DeleteLaunch(launch.id));
    }
    Ok(up)
}

fn is_awaited(draft: &Draft<'_>, id: MachineId) -> bool {
    let machine = draft.books.machines.get(&id);
    machine.is_some_and(|machine| !machine.state.claims().is_empty())
}

/// The refusals of an answer; machines without an instance and without a word about it count as a
/// pool without capacity, or the same launch would be asked for again and again.
fn consequential(
    refusals: &[ProviderError],
    answer: &LaunchAnswer,
    launch: &Launch,
) -> Vec<ProviderError> {
    if !refusals.is_empty() || answer.instances.len() >= launch.machines.len() {
        return refusals.to_vec();
    }
    vec![ProviderError {
        operation: "launch",
        kind: ErrorKind::PoolEmpty,
        message: "fewer machines than asked for, without a reason".to_owned(),
        pools: launch.pools.clone(),
    }]
}

fn refusal_words(refusals: &[ProviderError]) -> String {
    /// One sentence for people; the log has them all.
    const SHOWN: usize = 3;
    let mut words: Vec<String> = refusals.iter().map(|r| r.message.clone()).collect();
    words.dedup();
    if words.is_empty() {
        return "fewer machines were launched than asked for".to_owned();
    }
    let more = words.len().saturating_sub(SHOWN);
    words.truncate(SHOWN);
    let more = if more > 0 {
        format!("; and {more} more")
    } else {
        String::new()
    };
    format!("{}{more}", words.join("; "))
}

/// Gives a machine its instance; the machine, if it has to be brought up.
fn give(
    draft: &mut Draft<'_>,
    id: MachineId,
    instance: &Instance,
) -> Result<Option<MachineId>, IllegalTransition> {
    let Some(state) = draft.books.machines.get(&id).map(|m| m.state.clone()) else {
        return Ok(None);
    };
    let subject = Subject::Machine(id);
    let message = format!("the provider accepted the launch as {}", instance.id);
    match state {
        MachineState::Intended { claims } => {
            let next = MachineState::Booting {
                instance: instance.id.clone(),
                claims,
            };
            draft.enter_machine(id, next, None)?;
            draft.event(subject, EventKind::MachineLaunched, message);
            Ok(Some(id))
        }
        // It was given up while its launch was on its way: now it can be ended by name.
        MachineState::Draining {
            instance: None,
            reason,
        } => {
            let next = MachineState::Draining {
                instance: Some(instance.id.clone()),
                reason,
            };
            draft.enter_machine(id, next, None)?;
            draft.event(subject, EventKind::MachineLaunched, message);
            Ok(None)
        }
        MachineState::Booting { .. }
        | MachineState::Idle { .. }
        | MachineState::Busy { .. }
        | MachineState::FallingAsleep { .. }
        | MachineState::Asleep { .. }
        | MachineState::Waking { .. }
        | MachineState::Draining { .. }
        | MachineState::Gone { .. } => Ok(None),
    }
}

/// Notes where a machine was really taken from, and at what price.
fn reprice(draft: &mut Draft<'_>, id: MachineId, pool: Option<&Pool>, offerings: &[Offering]) {
    let Some(offering) = offerings.iter().find(|o| Some(&o.pool()) == pool) else {
        return;
    };
    draft.change_machine(id, |machine| {
        machine.shape = offering.shape.clone();
        machine.zone.clone_from(&offering.zone);
        machine.market = offering.market;
        machine.asleep_usd_micro_per_hour = offering.asleep;
    });
}

/// A machine that has no instance and never will: its builds are queued anew, and it cost nothing.
pub(crate) fn not_launched(
    draft: &mut Draft<'_>,
    id: MachineId,
    why: &str,
    reason: Reason,
) -> Result<(), IllegalTransition> {
    let Some(state) = draft.books.machines.get(&id).map(|m| m.state.clone()) else {
        return Ok(());
    };
    if state.instance().is_some() {
        return Ok(());
    }
    draft.waive(id);
    match state {
        MachineState::Intended { ref claims } if !claims.is_empty() => {
            let outcome = Outcome::NotLaunched(why.to_owned());
            let (attempts, after) = (attempts_of(&state), MachineAfter::Drain(reason));
            end_attempts(draft, &attempts, &outcome, why, after)?;
        }
        MachineState::Intended { .. } => {
            let message = reason.sentence();
            let next = MachineState::Draining {
                instance: None,
                reason,
            };
            draft.enter_machine(id, next, None)?;
            draft.event(Subject::Machine(id), EventKind::MachineDraining, message);
        }
        MachineState::Draining { .. }
        | MachineState::Booting { .. }
        | MachineState::Idle { .. }
        | MachineState::Busy { .. }
        | MachineState::FallingAsleep { .. }
        | MachineState::Asleep { .. }
        | MachineState::Waking { .. }
        | MachineState::Gone { .. } => {}
    }
    let Some(MachineState::Draining { reason, .. }) =
        draft.books.machines.get(&id).map(|m| m.state.clone())
    else {
        return Ok(());
    };
    let gone = MachineState::Gone { reason };
    draft.enter_machine(id, gone, Some((Category::Boot, None)))?;
    draft.record(Change::DeleteMachineKeys(id));
    let message = format!("never launched: {why}");
    draft.event(Subject::Machine(id), EventKind::MachineGone, message);
    Ok(())
}
