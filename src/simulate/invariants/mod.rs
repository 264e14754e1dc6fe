//! What must hold after every step, checked against the books and what was written; see the list in
//! the crate's docs.

use std::collections::{BTreeMap, BTreeSet};

use crate::books::Books;
use crate::model::{
    AttemptId, AttemptState, Build, BuildId, BuildState, Change, Entry, Launch, Left, Machine,
    MachineId, Money, Span, Timestamp, Usage,
};
use crate::planner::Plan;
use crate::provider::ProviderError;

use super::rows::Rows;
use super::written::Written;
use hosts::Hosts;
use limits::Limits;
use money::Spending;
use refusals::Refusals;
use standby::Standby;
use turns::Turns;

mod hosts;
mod limits;
mod money;
mod refusals;
mod standby;
mod turns;

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Watch {
    accepted: usize,
    finished: BTreeSet<BuildId>,
    bills: BTreeMap<MachineId, Bill>,
    /// The machine that an instance was given to.
    owners: BTreeMap<String, MachineId>,
    limits: Limits,
    hosts: Hosts,
    refusals: Refusals,
    spending: Spending,
    standby: Standby,
    turns: Turns,
}

/// Entries of a machine, added up.
#[derive(Debug, Clone, Copy, Default)]
struct Bill {
    sum: Money,
    until: Option<Timestamp>,
}

impl Watch {
    /// Looks at a transaction and at the books after it; the error says what does not hold.
    pub(super) fn look(
        &mut self,
        changes: &[Change],
        books: &Books,
        now: Timestamp,
    ) -> Result<(), String> {
        for change in changes {
            if let Written::Entry(entry) = Written::of(change) {
                self.add_up(entry)?;
            }
        }
        for change in changes {
            self.look_at(Written::of(change), books, now)?;
        }
        self.limits.look(books, now)?;
        self.spending.look(books)?;
        look_at_claims(books)?;
        look_at_view(books)
    }

    fn look_at(
        &mut self,
        written: Written<'_>,
        books: &Books,
        now: Timestamp,
    ) -> Result<(), String> {
        match written {
            Written::NewBuild(build) => {
                self.accepted += 1;
                self.spending.build(build.id, &build.spec);
                self.look_at_result(build)
            }
            Written::Build(build) => self.look_at_result(build),
            Written::NewMachine(machine) => {
                self.limits.launched(machine, books, now);
                self.refusals.launched(machine, now)?;
                self.look_at_machine(machine, books)
            }
            Written::Machine(machine) => self.look_at_machine(machine, books),
            Written::Attempt(attempt) => {
                self.hosts.attempt(attempt, books);
                Ok(())
            }
            Written::Image(image) => {
                self.refusals.image(image);
                Ok(())
            }
            Written::Policy => {
                self.spending.policies_changed(now);
                self.turns.clear();
                Ok(())
            }
            Written::Entry(entry) => {
                self.standby.entry(entry);
                self.spending.entry(entry, books);
                Ok(())
            }
            Written::Event(_) | Written::Nothing => Ok(()),
        }
    }

    fn look_at_machine(&mut self, machine: &Machine, books: &Books) -> Result<(), String> {
        self.look_at_bill(machine)?;
        self.look_at_instance(machine)?;
        self.limits.machine(machine);
        self.spending.machine(machine);
        self.hosts.machine(machine, books)
    }

    /// A machine has said what is left of an attempt, and how full it is.
    pub(super) fn tidied(
        &mut self,
        machine: MachineId,
        attempt: AttemptId,
        left: Option<Left>,
        usage: Usage,
    ) {
        self.hosts.tidied(machine, attempt, left, usage);
    }

    /// A launch was answered with refusals.
    pub(super) fn refused(&mut self, launch: &Launch, refusals: &[ProviderError], now: Timestamp) {
        self.refusals.take(launch, refusals, now);
    }

    /// The orchestrator has begun anew, and with it what it only keeps in memory.
    pub(super) fn restarted(&mut self, now: Timestamp) {
        self.spending.restarted(now);
        self.refusals.clear();
        self.standby.restarted();
        self.turns.clear();
    }

    /// Nobody looks after machines until a time.
    pub(super) fn trouble(&mut self, from: Timestamp, to: Timestamp) {
        self.spending.trouble(from, to);
    }

    /// The clock jumps ahead.
    pub(super) fn jump(&mut self, from: Timestamp, span: Span) {
        self.spending.jump(from, span);
    }

    /// Looks at a plan before it is carried out.
    pub(super) fn look_at_plan(
        &mut self,
        books: &Books,
        plan: &Plan,
        now: Timestamp,
    ) -> Result<(), String> {
        self.standby.look(books, plan, now)?;
        self.turns.look(&books.snapshot, plan)
    }

    /// The entries of a machine follow one another.
    fn add_up(&mut self, entry: &Entry) -> Result<(), String> {
        let bill = self.bills.entry(entry.machine).or_default();
        if bill.until.is_some_and(|until| until != entry.from) {
            let id = entry.machine;
            return Err(format!("the bill of {id} has a gap or an overlap"));
        }
        bill.sum += entry.amount;
        bill.until = Some(entry.to);
        Ok(())
    }

    /// A result is final.
    fn look_at_result(&mut self, build: &Build) -> Result<(), String> {
        if self.finished.contains(&build.id) {
            return Err(format!("{} changes after its result", build.id));
        }
        if build.state.is_finished() {
            self.finished.insert(build.id);
        }
        Ok(())
    }

    /// What a machine cost is what its entries say, at every moment.
    fn look_at_bill(&self, machine: &Machine) -> Result<(), String> {
        let sum = self.bills.get(&machine.id).copied().unwrap_or_default().sum;
        if machine.billed == sum {
            return Ok(());
        }
        let (id, billed) = (machine.id, machine.billed);
        Err(format!(
            "{id} is billed {billed}, and its entries say {sum}"
        ))
    }

    /// An instance belongs to one machine, a machine to one instance.
    fn look_at_instance(&mut self, machine: &Machine) -> Result<(), String> {
        let Some(instance) = machine.state.instance() else {
            return Ok(());
        };
        let owner = *self.owners.entry(instance.0.clone()).or_insert(machine.id);
        if owner == machine.id {
            return Ok(());
        }
        Err(format!(
            "{instance} belongs to {owner} and to {}",
            machine.id
        ))
    }

    /// What must hold when everything is over.
    pub(super) fn look_at_end(&self, rows: Option<&Rows>, spent: Money) -> Result<(), String> {
        let billed: Money = self.bills.values().map(|bill| bill.sum).sum();
        if billed != spent {
            return Err(format!(
                "machines cost {billed}, and the categories say {spent}"
            ));
        }
        if self.finished.len() != self.accepted {
            let (accepted, over) = (self.accepted, self.finished.len());
            return Err(format!(
                "{accepted} builds were accepted, and {over} are over"
            ));
        }
        if rows.is_none_or(Rows::is_over) {
            return Ok(());
        }
        Err("the store has rows that are not over".to_owned())
    }
}

/// Builds, attempts and machines agree on who has whom: a build is bound to one machine at most, has
/// one attempt then and none otherwise, and only machines that can have builds have any.
fn look_at_claims(books: &Books) -> Result<(), String> {
    let mut bound = 0;
    for build in books.builds.values() {
        let Some((machine, attempt)) = build.state.binding() else {
            continue;
        };
        bound += 1;
        let id = build.id;
        let row = books.attempts.get(&attempt);
        let Some(row) = row.filter(|row| row.build == id && row.machine == machine) else {
            return Err(format!("{id} has no attempt {attempt} on {machine}"));
        };
        let is_running = matches!(build.state, BuildState::Running { .. });
        if is_running != matches!(row.state, AttemptState::Running { .. }) {
            return Err(format!(
                "{id} is {}, its attempt {}",
                build.state.word(),
                row.state.word()
            ));
        }
        let holder = books.machines.get(&machine);
        if !holder.is_some_and(|m| m.state.claims().contains(&(id, attempt))) {
            return Err(format!(
                "{id} is bound to {machine}, which does not have it"
            ));
        }
    }
    let claims = books.machines.values().map(|m| m.state.claims().len());
    let claimed: usize = claims.sum();
    if claimed == bound && books.attempts.len() == bound {
        return Ok(());
    }
    let attempts = books.attempts.len();
    Err(format!(
        "{bound} builds are bound, {claimed} claims of machines, {attempts} attempts open"
    ))
}

/// The planner sees what is in the books.
fn look_at_view(books: &Books) -> Result<(), String> {
    let snapshot = &books.snapshot;
    let queued = books.builds.values();
    let queued = queued.filter(|build| matches!(build.state, BuildState::Queued { .. }));
    let queued: Vec<BuildId> = queued.map(|build| build.id).collect();
    if !snapshot.queued.keys().eq(queued.iter()) {
        return Err("the planner's queue is not that of the books".to_owned());
    }
    let in_classes = snapshot.classes.values();
    let in_classes = in_classes.map(|class| class.ready.len() + class.later.len());
    if in_classes.sum::<usize>() != queued.len() {
        return Err("the planner's classes do not hold its queue".to_owned());
    }
    if !snapshot.machines.keys().eq(books.machines.keys()) {
        return Err("the planner's machines are not those of the books".to_owned());
    }
    Ok(())
}
