//! What follows when an attempt or a build ends: results, requeues, dependents, bills.

use crate::model::{
    AttemptId, AttemptState, BuildId, BuildResult, BuildState, EventKind, IllegalTransition,
    MachineId, MachineState, Outcome, Reason, Span, Subject, Timestamp,
};

use super::draft::Draft;
use super::sharing::shares;

/// First wait before the attempt after an infrastructure failure; doubles with each attempt.
const FIRST_RETRY_WAIT: Span = Span::from_secs(1);
/// Longest such wait.
const LONGEST_RETRY_WAIT: Span = Span::from_secs(120);

/// What becomes of the machine on which an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MachineAfter {
    /// It can take the next build.
    Idle,
    /// It could not be woken, and sleeps on.
    Asleep,
    /// It must go, for this reason.
    Drain(Reason),
}

/// Ends an attempt, its build unless that gets another try, and the machine's claim.
///
/// `verdict` is one sentence about the end, for the build's reason.
pub(crate) fn end_attempt(
    draft: &mut Draft<'_>,
    id: AttemptId,
    outcome: &Outcome,
    verdict: &str,
    after: MachineAfter,
) -> Result<(), IllegalTransition> {
    end_attempts(draft, &[id], outcome, verdict, after)
}

/// The same for attempts of one machine that end together. A machine that has other builds goes on
/// with them; if it is to end, it takes no more and ends with the last.
pub(crate) fn end_attempts(
    draft: &mut Draft<'_>,
    ids: &[AttemptId],
    outcome: &Outcome,
    verdict: &str,
    after: MachineAfter,
) -> Result<(), IllegalTransition> {
    let mut builds = Vec::with_capacity(ids.len());
    let mut on = None;
    for id in ids {
        let Some(attempt) = draft.books.attempts.get(id) else {
            continue;
        };
        builds.push(attempt.build);
        on = Some(attempt.machine);
        let finished = AttemptState::Finished {
            outcome: outcome.clone(),
            at: draft.now,
        };
        if let Some(result) = draft.change_attempt(*id, |attempt| attempt.enter(finished)) {
            result?;
        }
    }
    if let Some(machine) = on {
        release_machine(draft, machine, ids, outcome, after)?;
    }
    for build in builds {
        end_or_requeue(draft, build, outcome, verdict)?;
    }
    Ok(())
}

/// Frees the machine of claims and bills the stretch that ends with them.
fn release_machine(
    draft: &mut Draft<'_>,
    id: MachineId,
    ended: &[AttemptId],
    outcome: &Outcome,
    after: MachineAfter,
) -> Result<(), IllegalTransition> {
    let Some(machine) = draft.books.machines.get(&id) else {
        return Ok(());
    };
    let claims = machine.state.claims();
    if !claims.iter().any(|(_, attempt)| ended.contains(attempt)) {
        return Ok(());
    }
    let Some(next) = released(&machine.state, ended, after) else {
        return Ok(());
    };
    let message = match &next {
        MachineState::Draining { reason, .. } => Some(reason.sentence()),
        MachineState::Busy {
            ends: Some(reason), ..
        } => Some(format!("takes no more builds: {}", reason.sentence())),
        MachineState::Intended { .. }
        | MachineState::Booting { .. }
        | MachineState::Idle { .. }
        | MachineState::Busy { ends: None, .. }
        | MachineState::FallingAsleep { .. }
        | MachineState::Asleep { .. }
        | MachineState::Waking { .. }
        | MachineState::Gone { .. } => None,
    };
    let kind = match &next {
        MachineState::Draining { .. } => EventKind::MachineDraining,
        MachineState::Intended { .. }
        | MachineState::Booting { .. }
        | MachineState::Idle { .. }
        | MachineState::Busy { .. }
        | MachineState::FallingAsleep { .. }
        | MachineState::Asleep { .. }
        | MachineState::Waking { .. }
        | MachineState::Gone { .. } => EventKind::MachineNote,
    };
    let bill = shares(draft, machine, Some((ended, outcome)));
    draft.enter_shared_machine(id, next, Some(bill))?;
    if let Some(message) = message {
        draft.event(Subject::Machine(id), kind, message);
    }
    Ok(())
}

/// What a machine becomes when the attempts in `ended` leave it; none for one that has no claim.
fn released(
    state: &MachineState,
    ended: &[AttemptId],
    after: MachineAfter,
) -> Option<MachineState> {
    let instance = state.instance().cloned();
    Some(match state {
        MachineState::Busy {
            instance,
            endpoint,
            claims,
            ends,
        } => {
            let asked = match after {
                MachineAfter::Drain(reason) => Some(reason),
                MachineAfter::Idle | MachineAfter::Asleep => None,
            };
            let (instance, endpoint, claims) = (instance.clone(), *endpoint, claims.without(ended));
            match ends.clone().or(asked) {
                ends if !claims.is_empty() => MachineState::Busy {
                    instance,
                    endpoint,
                    claims,
                    ends,
                },
                Some(reason) => MachineState::Draining {
                    instance: Some(instance),
                    reason,
                },
                None => MachineState::Idle { instance, endpoint },
            }
        }
        MachineState::Intended { claims } => match (claims.without(ended), after) {
            (claims, MachineAfter::Drain(reason)) if claims.is_empty() => {
                MachineState::Draining { instance, reason }
            }
            (claims, _) => MachineState::Intended { claims },
        },
        MachineState::Booting { instance, claims } => match (claims.without(ended), after) {
            (claims, MachineAfter::Drain(reason)) if claims.is_empty() => MachineState::Draining {
                instance: Some(instance.clone()),
                reason,
            },
            (claims, _) => MachineState::Booting {
                instance: instance.clone(),
                claims,
            },
        },
        MachineState::Waking { instance, claims } => {
            let instance = instance.clone();
            match (claims.without(ended), after) {
                (claims, MachineAfter::Drain(reason)) if claims.is_empty() => {
                    let instance = Some(instance);
                    MachineState::Draining { instance, reason }
                }
                (claims, MachineAfter::Asleep) if claims.is_empty() => {
                    MachineState::Asleep { instance }
                }
                (claims, _) => MachineState::Waking { instance, claims },
            }
        }
        // They have no claim, so they never get here.
        MachineState::Idle { .. }
        | MachineState::FallingAsleep { .. }
        | MachineState::Asleep { .. }
        | MachineState::Draining { .. }
        | MachineState::Gone { .. } => return None,
    })
}

fn end_or_requeue(
    draft: &mut Draft<'_>,
    id: BuildId,
    outcome: &Outcome,
    verdict: &str,
) -> Result<(), IllegalTransition> {
    let Some(build) = draft.books.builds.get(&id) else {
        return Ok(());
    };
    let result = match (outcome, &build.cancel) {
        (Outcome::Exited(0), _) => BuildResult::Success,
        (Outcome::TimedOut, _) => BuildResult::TimedOut,
        (
            Outcome::Canceled
            | Outcome::Infrastructure(_)
            | Outcome::Interrupted(_)
            | Outcome::NotLaunched(_)
            | Outcome::Exited(_),
            Some(cancel),
        ) => {
            let (result, reason) = (cancel.result, cancel.reason.clone());
            return finish_build(draft, id, result, &reason);
        }
        (Outcome::Exited(_), None) => BuildResult::Failure,
        (Outcome::Canceled, None) => BuildResult::Canceled,
        (Outcome::NotLaunched(_), None) => return queue_again(draft, id, verdict),
        (Outcome::Infrastructure(_) | Outcome::Interrupted(_), None)
            if build.attempts - build.spared < build.spec.max_attempts =>
        {
            return requeue(draft, id, verdict);
        }
        (Outcome::Infrastructure(_) | Outcome::Interrupted(_), None) => BuildResult::InfraFailure,
    };
    finish_build(draft, id, result, verdict)
}

fn requeue(draft: &mut Draft<'_>, id: BuildId, verdict: &str) -> Result<(), IllegalTransition> {
    let Some(build) = draft.books.builds.get(&id) else {
        return Ok(());
    };
    let tries = build.attempts - build.spared;
    let not_before = draft.now + retry_wait(tries);
    let message = format!(
        "attempt {tries} of {} failed: {verdict}; next one at {not_before}",
        build.spec.max_attempts
    );
    draft.enter_build(
        id,
        BuildState::Queued {
            since: draft.now,
            not_before,
        },
        message,
    )?;
    Ok(())
}

/// Queues a build anew that got no machine, which is no fault of anything that ran: the planner
/// knows by now where not to look again. Should it not, it looks less and less often.
fn queue_again(draft: &mut Draft<'_>, id: BuildId, why: &str) -> Result<(), IllegalTransition> {
    /// As many rungs as a ladder of markets and images commonly has.
    const AT_ONCE: u32 = 4;
    let Some(spared) = draft.change_build(id, |build| {
        build.spared += 1;
        build.spared
    }) else {
        return Ok(());
    };
    let looking_since = draft.books.snapshot.looking_since.get(&id).copied();
    if let (Some(since), Some(patience)) = (looking_since, draft.books.snapshot.capacity_wait)
        && draft.now >= since + patience
    {
        let reason = format!("no capacity for {patience}: {why}");
        return finish_build(draft, id, BuildResult::InfraFailure, &reason);
    }
    let not_before = match spared.checked_sub(AT_ONCE) {
        None | Some(0) => draft.now,
        Some(more) => draft.now + retry_wait(more),
    };
    let queued = BuildState::Queued {
        since: draft.now,
        not_before,
    };
    draft.enter_build(id, queued, format!("no machine was launched for it: {why}"))?;
    Ok(())
}

/// 1 s, 2 s, 4 s … up to the longest: long enough for a blip, short enough for a person.
fn retry_wait(attempts: u32) -> Span {
    let doubled = FIRST_RETRY_WAIT.micros() << attempts.saturating_sub(1).min(16);
    Span::from_micros(doubled).min(LONGEST_RETRY_WAIT)
}

/// Gives a build its result, and its dependents what follows from it.
///
/// Works through the dependents with a list of its own rather than by recursion: a chain of needs
/// may be as long as a pipeline is large.
pub(crate) fn finish_build(
    draft: &mut Draft<'_>,
    id: BuildId,
    result: BuildResult,
    reason: &str,
) -> Result<(), IllegalTransition> {
    let mut work = vec![(id, result, reason.to_owned())];
    while let Some((id, result, reason)) = work.pop() {
        let Some(build) = draft.books.builds.get(&id) else {
            continue;
        };
        let name = build.spec.name.clone();
        let started_at = started_at(draft, id);
        let message = match reason.as_str() {
            "" => result.word().to_owned(),
            reason => format!("{}: {reason}", result.word()),
        };
        let next = BuildState::Finished {
            result,
            reason,
            started_at,
            at: draft.now,
        };
        draft.enter_build(id, next, message)?;
        for dependent in draft.books.dependents.remove(&id).unwrap_or_default() {
            if result == BuildResult::Success {
                queue_if_ready(draft, dependent)?;
            } else {
                let reason = format!("needs {name:?}, which ended as {}", result.word());
                work.push((dependent, BuildResult::Skipped, reason));
            }
        }
    }
    Ok(())
}

fn started_at(draft: &Draft<'_>, id: BuildId) -> Option<Timestamp> {
    match draft.books.builds.get(&id)?.state {
        BuildState::Running { since, .. } => Some(since),
        BuildState::Waiting
        | BuildState::Queued { .. }
        | BuildState::Bound { .. }
        | BuildState::Finished { .. } => None,
    }
}

/// Queues a waiting build once the last of what it needs has succeeded.
fn queue_if_ready(draft: &mut Draft<'_>, id: BuildId) -> Result<(), IllegalTransition> {
    if draft.books.one_need_met(id) {
        let queued = BuildState::Queued {
            since: draft.now,
            not_before: draft.now,
        };
        draft.enter_build(id, queued, "all it needs has succeeded".to_owned())?;
    }
    Ok(())
}
