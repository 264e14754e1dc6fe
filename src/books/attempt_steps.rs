//! What happens in an attempt before its end, written into a transaction.

use crate::model::{AttemptId, AttemptState, BuildState, IllegalTransition, StepRecord};

use super::draft::Draft;

/// A step of an attempt began: these are all that have by now. With the first one the build runs.
pub(crate) fn step_began(
    draft: &mut Draft<'_>,
    id: AttemptId,
    steps: Vec<StepRecord>,
) -> Result<(), IllegalTransition> {
    let now = draft.now;
    let noted = draft.change_attempt(id, |attempt| {
        let is_first = matches!(attempt.state, AttemptState::Bound);
        attempt.note_steps(steps);
        if is_first {
            attempt.enter(AttemptState::Running { since: now })?;
        }
        Ok(is_first.then_some((attempt.build, attempt.machine)))
    });
    if let Some((build, machine)) = noted.transpose()?.flatten() {
        let next = BuildState::Running {
            machine,
            attempt: id,
            since: now,
        };
        draft.enter_build(build, next, "its first step began".to_owned())?;
    }
    Ok(())
}
