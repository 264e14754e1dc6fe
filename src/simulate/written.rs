//! What a transaction says, as far as the outcome of a run or an invariant depends on it. Must not
//! judge anything. Callers: `record`, `invariants`.

use crate::model::{Attempt, Build, Change, Entry, Event, Image, Machine};

/// One change, by what it is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Written<'a> {
    /// A build was accepted.
    NewBuild(&'a Build),
    /// A build has changed.
    Build(&'a Build),
    /// An attempt has begun or changed.
    Attempt(&'a Attempt),
    /// A launch or a machine that is to be at hand was decided.
    NewMachine(&'a Machine),
    /// A machine has changed.
    Machine(&'a Machine),
    /// An image version was applied, or has changed its state.
    Image(&'a Image),
    /// A policy was applied.
    Policy,
    /// Money was spent.
    Entry(&'a Entry),
    /// Something happened that people are told.
    Event(&'a Event),
    /// It says nothing that the others do not say.
    Nothing,
}

impl<'a> Written<'a> {
    /// What a change says.
    pub(super) const fn of(change: &'a Change) -> Self {
        match change {
            Change::InsertBuild(build) => Self::NewBuild(build),
            Change::UpdateBuild(build, _) => Self::Build(build),
            Change::InsertAttempt(attempt) | Change::UpdateAttempt(attempt, _) => {
                Self::Attempt(attempt)
            }
            Change::InsertMachine(machine) => Self::NewMachine(machine),
            Change::UpdateMachine(machine, _) => Self::Machine(machine),
            Change::InsertImage(image) | Change::UpdateImage(image, _) => Self::Image(image),
            Change::InsertPolicy(_) => Self::Policy,
            Change::AppendEntry(entry) => Self::Entry(entry),
            Change::AppendEvent(event) => Self::Event(event),
            Change::InsertPipeline(_)
            | Change::PutMachineKeys(_)
            | Change::DeleteMachineKeys(_)
            | Change::InsertLaunch(_)
            | Change::DeleteLaunch(_)
            | Change::InsertExtent(_)
            | Change::AppendBudgetNote(_)
            | Change::InsertToken(_)
            | Change::RevokeToken(..) => Self::Nothing,
        }
    }
}
