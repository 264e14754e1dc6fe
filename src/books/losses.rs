//! Machines that are taken back or vanish, written into a transaction.

use crate::model::{
    AttemptId, Category, EventKind, IllegalTransition, InstanceId, MachineId, MachineState,
    Outcome, Reason, Subject,
};
use crate::provider::Instance;

use super::draft::Draft;
use super::machine_steps::attempts_of;
use super::outcome::{MachineAfter, end_attempts};

/// Writes down that a machine vanished; the attempts on it, which are over. `most` interruptions of
/// an image within minutes are one too many.
pub(crate) fn lost(
    draft: &mut Draft<'_>,
    id: MachineId,
    loss: &Loss,
    most: u32,
) -> Result<Vec<AttemptId>, IllegalTransition> {
    let Some(state) = draft.books.machines.get(&id).map(|m| m.state.clone()) else {
        return Ok(Vec::new());
    };
    let (reason, outcome) = loss.consequence();
    note_reclaim(draft, id, loss, most);
    let (instance, category) = match &state {
        MachineState::Booting { instance, claims } | MachineState::Waking { instance, claims }
            if claims.is_empty() =>
        {
            (instance.clone(), Category::Boot)
        }
        MachineState::Booting { .. } | MachineState::Waking { .. } | MachineState::Busy { .. } => {
            let attempts = attempts_of(&state);
            let after = MachineAfter::Drain(reason);
            end_attempts(draft, &attempts, &outcome, loss.why(), after)?;
            return Ok(attempts);
        }
        MachineState::Idle { instance, .. }
        | MachineState::FallingAsleep { instance, .. }
        | MachineState::Asleep { instance } => (instance.clone(), Category::Idle),
        MachineState::Intended { .. }
        | MachineState::Draining { .. }
        | MachineState::Gone { .. } => return Ok(Vec::new()),
    };
    drain_lost(draft, id, instance, reason, category)?;
    Ok(Vec::new())
}

/// What a notice that a machine is taken back asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AfterNotice {
    /// Nothing: the notice is not news.
    Known,
    /// Nothing: no attempt runs.
    Nothing,
    /// Its attempts have to be stopped.
    Stop(Vec<AttemptId>),
    /// It need not be waited for.
    GiveUp,
}

/// Draws the consequences of a notice, once.
pub(crate) fn interrupted(
    draft: &mut Draft<'_>,
    id: MachineId,
    why: &str,
    most: u32,
) -> AfterNotice {
    if draft.books.interrupted.contains_key(&id) {
        return AfterNotice::Known;
    }
    let Some(machine) = draft.books.machines.get(&id).cloned() else {
        return AfterNotice::Known;
    };
    let after = match machine.state {
        MachineState::Busy { .. } => AfterNotice::Stop(attempts_of(&machine.state)),
        // There is nothing to wait for.
        MachineState::Booting { .. } => AfterNotice::GiveUp,
        MachineState::Intended { .. }
        | MachineState::Idle { .. }
        | MachineState::FallingAsleep { .. }
        | MachineState::Asleep { .. }
        | MachineState::Waking { .. } => AfterNotice::Nothing,
        MachineState::Draining { .. } | MachineState::Gone { .. } => return AfterNotice::Known,
    };
    draft.books.interrupt(id, why.to_owned());
    draft.event(Subject::Machine(id), EventKind::MachineNote, why.to_owned());
    let key = (machine.image.clone(), machine.image_version);
    if let Some(image) = draft.books.images.get(&key).cloned()
        && let Some(note) = draft
            .books
            .taken_back(&image, machine.pool(), draft.now, most)
    {
        let subject = Subject::Image(image.name.clone());
        draft.event(subject, EventKind::ImageNote, note);
    }
    after
}

/// How a machine was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Its provider took it back.
    Reclaimed(String),
    /// In any other way.
    Failed(String),
}

impl Loss {
    /// As a listing shows it.
    pub(crate) fn of(instance: &Instance) -> Self {
        match (instance.is_reclaimed, &instance.why) {
            (true, Some(why)) => Self::Reclaimed(why.clone()),
            (true, None) => Self::Reclaimed("its provider took it back".to_owned()),
            (false, Some(why)) => {
                Self::Failed(format!("its instance was ended from outside: {why}"))
            }
            (false, None) => Self::Failed("its instance was ended from outside".to_owned()),
        }
    }

    pub(crate) fn why(&self) -> &str {
        match self {
            Self::Reclaimed(why) | Self::Failed(why) => why,
        }
    }

    /// What follows for the machine, and for the attempt on it.
    fn consequence(&self) -> (Reason, Outcome) {
        match self.clone() {
            Self::Reclaimed(why) => (Reason::Interrupted(why.clone()), Outcome::Interrupted(why)),
            Self::Failed(why) => (Reason::Failed(why.clone()), Outcome::Infrastructure(why)),
        }
    }
}

/// A machine that was taken back without a notice tells as much of its pool as one with.
fn note_reclaim(draft: &mut Draft<'_>, id: MachineId, loss: &Loss, most: u32) {
    let is_news = matches!(loss, Loss::Reclaimed(_)) && !draft.books.interrupted.contains_key(&id);
    let Some(machine) = draft.books.machines.get(&id).filter(|_| is_news) else {
        return;
    };
    let key = (machine.image.clone(), machine.image_version);
    let pool = machine.pool();
    let Some(image) = draft.books.images.get(&key).cloned() else {
        return;
    };
    if let Some(note) = draft.books.taken_back(&image, pool, draft.now, most) {
        draft.event(
            Subject::Image(image.name.clone()),
            EventKind::ImageNote,
            note,
        );
    }
}

/// Ends a machine without a build that vanished.
fn drain_lost(
    draft: &mut Draft<'_>,
    id: MachineId,
    instance: InstanceId,
    reason: Reason,
    category: Category,
) -> Result<(), IllegalTransition> {
    let message = reason.sentence();
    let next = MachineState::Draining {
        instance: Some(instance),
        reason,
    };
    draft.enter_machine(id, next, Some((category, None)))?;
    draft.event(Subject::Machine(id), EventKind::MachineDraining, message);
    Ok(())
}
