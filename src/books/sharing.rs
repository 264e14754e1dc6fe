//! Several builds on one machine: how many there may be, and who pays for what.

use crate::ledger::Payer;
use crate::model::{AttemptId, BuildId, Category, Image, Machine, MachineState, Outcome, Reuse};
use crate::policy::Terms;

use super::books::Books;
use super::draft::Draft;

/// Builds that a machine of an image may run side by side: both the image and the policy must say
/// so, and a machine for one build only never has two.
pub(super) fn slots(image: Option<&Image>, terms: &Terms) -> u32 {
    match terms.reuse {
        Reuse::Never => 1,
        Reuse::Project | Reuse::Any => {
            let allowed = image.map_or(1, |image| image.spec.slots);
            allowed.min(terms.slots).max(1)
        }
    }
}

impl Books {
    /// Builds that a machine can take beside those it has, of so many side by side.
    pub(super) fn room_on(&self, machine: &Machine, slots: u32) -> u32 {
        let claims = machine.state.claims();
        // Who asked for a machine that has run nothing does not want others in its way either.
        let is_fresh = |id: &BuildId| self.builds.get(id).is_some_and(|build| build.spec.fresh);
        let ends = matches!(&machine.state, MachineState::Busy { ends: Some(_), .. });
        if ends || claims.iter().any(|(build, _)| is_fresh(build)) {
            return 0;
        }
        slots.saturating_sub(u32::try_from(claims.len()).unwrap_or(u32::MAX))
    }
}

/// Who pays for the stretch that a machine with builds is in, and for what, when the attempts in
/// `ended` end with `outcome` now: while builds run, they share what it costs. A boot is paid by the
/// build that caused the launch, or shared by those that wait.
///
/// What an attempt had shared with others before its last stretch stays work, even if infrastructure
/// ends it: entries are never changed.
pub(super) fn shares(
    draft: &Draft<'_>,
    machine: &Machine,
    ended: Option<(&[AttemptId], &Outcome)>,
) -> Vec<(Category, Option<Payer>)> {
    let claims = machine.state.claims();
    let payer = |(build, attempt): &(BuildId, AttemptId)| draft.payer(*build, Some(*attempt));
    if matches!(machine.state, MachineState::Busy { .. }) {
        let category = |attempt: &AttemptId| match ended {
            Some((ids, outcome)) if ids.contains(attempt) => work_category(outcome),
            Some(_) | None => Category::Work,
        };
        let share = |claim: &(BuildId, AttemptId)| (category(&claim.1), payer(claim));
        return claims.iter().map(share).collect();
    }
    if let Some(cause) = launched_for(draft, machine) {
        return vec![(Category::Boot, Some(cause))];
    }
    let waiting: Vec<_> = claims.iter().map(|c| (Category::Boot, payer(c))).collect();
    if waiting.is_empty() {
        vec![(Category::Boot, None)]
    } else {
        waiting
    }
}

/// The build whose wait caused a launch, if it is not over.
fn launched_for(draft: &Draft<'_>, machine: &Machine) -> Option<Payer> {
    // One that is woken has been paid for by it long ago.
    if matches!(machine.state, MachineState::Waking { .. }) {
        return None;
    }
    let cause = machine.launched_for?;
    let claims = machine.state.claims();
    let attempt = claims.iter().find(|(build, _)| *build == cause);
    draft.payer(cause, attempt.map(|(_, attempt)| *attempt))
}

const fn work_category(outcome: &Outcome) -> Category {
    match outcome {
        Outcome::Infrastructure(_) | Outcome::Interrupted(_) | Outcome::NotLaunched(_) => {
            Category::Retry
        }
        Outcome::Exited(_) | Outcome::TimedOut | Outcome::Canceled => Category::Work,
    }
}
