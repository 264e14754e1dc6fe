//! Wishes of people to end things, written into a transaction.

use crate::model::{
    AttemptId, BuildId, BuildResult, BuildState, Cancel, Category, EventKind, IllegalTransition,
    Machine, MachineId, MachineState, Outcome, Reason, Subject,
};

use super::draft::Draft;
use super::machine_steps::is_coming;
use super::outcome::{MachineAfter, end_attempt, finish_build};

/// Records the wish, and ends the build if nothing runs for it yet; else the attempt whose driver
/// has to stop it.
pub(crate) fn cancel(
    draft: &mut Draft<'_>,
    id: BuildId,
    reason: &str,
) -> Result<Option<AttemptId>, IllegalTransition> {
    end_as(draft, id, reason, BuildResult::Canceled)
}

/// The same with another result.
pub(crate) fn end_as(
    draft: &mut Draft<'_>,
    id: BuildId,
    reason: &str,
    result: BuildResult,
) -> Result<Option<AttemptId>, IllegalTransition> {
    let Some(build) = draft.books.builds.get(&id) else {
        return Ok(None);
    };
    if build.cancel.is_some() {
        return Ok(None);
    }
    let state = build.state.clone();
    let wish = Cancel {
        at: draft.now,
        reason: reason.to_owned(),
        result,
    };
    draft.change_build(id, |build| build.ask_cancel(wish));
    draft.event(
        Subject::Build(id),
        EventKind::BuildCancelAsked,
        reason.to_owned(),
    );
    match state {
        BuildState::Waiting | BuildState::Queued { .. } => {
            finish_build(draft, id, result, reason)?;
            Ok(None)
        }
        BuildState::Bound {
            machine, attempt, ..
        } if is_machine_coming(draft, machine) => {
            // The machine stays on its way up: the planner gives it another build, or ends it.
            end_attempt(
                draft,
                attempt,
                &Outcome::Canceled,
                reason,
                MachineAfter::Idle,
            )?;
            Ok(None)
        }
        BuildState::Bound { attempt, .. } | BuildState::Running { attempt, .. } => {
            Ok(Some(attempt))
        }
        BuildState::Finished { .. } => Ok(None),
    }
}

fn is_machine_coming(draft: &Draft<'_>, id: MachineId) -> bool {
    draft
        .books
        .machines
        .get(&id)
        .is_some_and(|machine| is_coming(&machine.state))
}

/// What became of the wish to end a machine.
#[derive(Debug)]
pub(crate) enum Ending {
    /// It is on its way out.
    Begun(Box<Machine>),
    /// It has a build, as the sentence says.
    HasBuild(String),
    /// It is in no book.
    Unknown,
}

/// Begins the end of a machine without a build.
pub(crate) fn end_idle(
    draft: &mut Draft<'_>,
    id: MachineId,
    who: &str,
) -> Result<Ending, IllegalTransition> {
    let Some(machine) = draft.books.machines.get(&id) else {
        return Ok(Ending::Unknown);
    };
    let (instance, category) = match &machine.state {
        MachineState::Idle { instance, .. }
        | MachineState::FallingAsleep { instance, .. }
        | MachineState::Asleep { instance } => (Some(instance.clone()), Category::Idle),
        MachineState::Booting { instance, claims } | MachineState::Waking { instance, claims }
            if claims.is_empty() =>
        {
            (Some(instance.clone()), Category::Boot)
        }
        MachineState::Intended { claims } if claims.is_empty() => (None, Category::Boot),
        MachineState::Draining { .. } => return Ok(Ending::Begun(Box::new(machine.clone()))),
        MachineState::Intended { .. }
        | MachineState::Booting { .. }
        | MachineState::Waking { .. }
        | MachineState::Busy { .. }
        | MachineState::Gone { .. } => {
            let claims = machine.state.claims().iter();
            let builds: Vec<String> = claims.map(|(build, _)| build.to_string()).collect();
            return Ok(Ending::HasBuild(match builds.as_slice() {
                [build] => format!("{id} has a build ({build}); cancel that first"),
                builds => format!(
                    "{id} has builds ({}); cancel those first",
                    builds.join(", ")
                ),
            }));
        }
    };
    let reason = Reason::Requested(who.to_owned());
    let message = reason.sentence();
    draft.enter_machine(
        id,
        MachineState::Draining { instance, reason },
        Some((category, None)),
    )?;
    draft.event(Subject::Machine(id), EventKind::MachineDraining, message);
    let machine = draft.books.machines.get(&id).cloned();
    Ok(machine.map_or(Ending::Unknown, |machine| Ending::Begun(Box::new(machine))))
}
