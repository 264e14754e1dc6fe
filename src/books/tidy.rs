//! What a machine says after a build: that nothing is left of it, and how full the machine is. Until
//! then it takes no further build, and never when something is left or it is too full: the planner
//! ends it.

use crate::model::{
    AttemptId, EventKind, Left, MachineId, MachineState, Money, Outcome, Subject, Usage,
};

use super::books::Books;
use super::draft::Draft;

impl Books {
    /// Notes that nothing is left of an attempt. This reaches the store with the next change of the
    /// machine: a transaction of its own would cost every build one, and after a restart the machine
    /// is asked again at worst.
    pub(crate) fn tidied(&mut self, id: MachineId, attempt: AttemptId, usage: Usage) {
        let Some(mut machine) = self.machines.get(&id).cloned() else {
            return;
        };
        machine.record.unproved.remove(&attempt);
        machine.record.usage = usage;
        self.put_machine(machine);
    }

    /// Whether a machine is up and has not said yet that nothing is left of an attempt.
    pub(crate) fn is_unproved(&self, id: MachineId, attempt: AttemptId) -> bool {
        self.machines.get(&id).is_some_and(|machine| {
            machine.state.endpoint().is_some() && machine.record.unproved.contains(&attempt)
        })
    }
}

/// Writes down that something is left of an attempt.
pub(crate) fn not_tidied(
    draft: &mut Draft<'_>,
    (id, attempt): (MachineId, AttemptId),
    left: Left,
    detail: &str,
) {
    let noted = draft.change_machine(id, |machine| {
        machine.record.unproved.remove(&attempt);
        machine.record.left = Some(left);
    });
    if noted.is_some() {
        let message = format!("takes no further build: {}{detail}", left.sentence());
        draft.event(Subject::Machine(id), EventKind::MachineNote, message);
    }
}

/// Notes on a machine how attempts ended on it that have just been taken off it, together; they had
/// shared its last stretch with others, and bear their part of what it cost.
pub(super) fn note_end(
    draft: &mut Draft<'_>,
    id: MachineId,
    (ended, shared_by): (&[AttemptId], usize),
    outcome: &Outcome,
    billed_before: Money,
) {
    draft.change_machine(id, |machine| {
        if matches!(
            machine.state,
            MachineState::Idle { .. } | MachineState::Busy { .. }
        ) {
            machine.record.unproved.extend(ended);
        }
        if matches!(outcome, Outcome::Infrastructure(_)) {
            let count = u32::try_from(ended.len()).unwrap_or(u32::MAX);
            machine.record.infrastructure_failures += count;
            let cost = (machine.billed - billed_before).micros();
            let of = i64::try_from(shared_by).unwrap_or(i64::MAX).max(1);
            let part = cost.saturating_mul(i64::from(count)) / of;
            machine.record.failure_cost += Money::from_micros(part);
        }
    });
}
