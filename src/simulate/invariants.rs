//! What must hold after every step, checked against the books and what was written; see the list in
//! the crate's docs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::books::{Books, DEFAULT_MAX_MACHINES, is_coming};
use crate::model::{
    AttemptState, BuildId, BuildState, Change, Machine, MachineId, MachineState, Money, Policy,
    Span, Timestamp,
};
use crate::policy::{self, Subject};

use super::rows::Rows;

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Watch {
    accepted: usize,
    finished: BTreeSet<BuildId>,
    bills: BTreeMap<MachineId, Bill>,
    /// The machine that an instance was given to.
    owners: BTreeMap<String, MachineId>,
    /// Machines that count: those that run, are on their way up, or from there on their way out.
    awake: BTreeSet<MachineId>,
    /// Launches of the last hour: when, and of what.
    launches: VecDeque<(Timestamp, MachineId)>,
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
            if let Change::AppendEntry(entry) = change {
                let bill = self.bills.entry(entry.machine).or_default();
                if bill.until.is_some_and(|until| until != entry.from) {
                    return Err(format!(
                        "the bill of {} has a gap or an overlap",
                        entry.machine
                    ));
                }
                bill.sum += entry.amount;
                bill.until = Some(entry.to);
            }
        }
        let mut risen = Vec::new();
        for change in changes {
            match change {
                Change::InsertBuild(build) | Change::UpdateBuild(build, _) => {
                    self.accepted += usize::from(matches!(change, Change::InsertBuild(_)));
                    if self.finished.contains(&build.id) {
                        return Err(format!("{} changes after its result", build.id));
                    }
                    if build.state.is_finished() {
                        self.finished.insert(build.id);
                    }
                }
                Change::InsertMachine(machine) | Change::UpdateMachine(machine, _) => {
                    if matches!(change, Change::InsertMachine(_)) {
                        self.launches.push_back((now, machine.id));
                    }
                    self.look_at_bill(machine)?;
                    self.look_at_instance(machine)?;
                    if self.has_risen(machine) {
                        risen.push(machine);
                    }
                }
                // Entries were looked at; the others say nothing that must hold.
                Change::InsertPipeline(_)
                | Change::InsertAttempt(_)
                | Change::UpdateAttempt(..)
                | Change::PutMachineKeys(_)
                | Change::DeleteMachineKeys(_)
                | Change::InsertLaunch(_)
                | Change::DeleteLaunch(_)
                | Change::InsertImage(_)
                | Change::UpdateImage(..)
                | Change::InsertPolicy(_)
                | Change::InsertExtent(_)
                | Change::AppendEntry(_)
                | Change::AppendBudgetNote(_)
                | Change::AppendEvent(_)
                | Change::InsertToken(_)
                | Change::RevokeToken(..) => {}
            }
        }
        for machine in risen {
            self.look_at_limits(machine, books, now)?;
        }
        look_at_claims(books)?;
        look_at_view(books)
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

    /// Whether a machine has begun to run, or is going to, with this change.
    fn has_risen(&mut self, machine: &Machine) -> bool {
        match machine.state {
            MachineState::Asleep { .. } | MachineState::Gone { .. } => {
                self.awake.remove(&machine.id);
                false
            }
            // One that is ended in its sleep does not wake for that.
            MachineState::Draining { .. } => false,
            MachineState::Intended { .. }
            | MachineState::Booting { .. }
            | MachineState::Idle { .. }
            | MachineState::Busy { .. }
            | MachineState::FallingAsleep { .. }
            | MachineState::Waking { .. } => {
                self.awake.insert(machine.id) && is_coming(&machine.state)
            }
        }
    }

    /// A limit may be exceeded when it was lowered, but nothing may be launched or woken then.
    fn look_at_limits(
        &mut self,
        risen: &Machine,
        books: &Books,
        now: Timestamp,
    ) -> Result<(), String> {
        const HOUR: Span = Span::from_secs(3_600);
        self.launches.retain(|(at, _)| *at + HOUR > now);
        let mut is_limited = false;
        for policy in books.policies.values() {
            let spec = &policy.spec;
            is_limited |= spec.max_machines.is_some() && spec.images.is_empty();
            if !covers(policy, risen) {
                continue;
            }
            let covered = || {
                books
                    .machines
                    .values()
                    .filter(|m| self.awake.contains(&m.id) && covers(policy, m))
            };
            let name = &policy.name;
            exceeded(name, "machines", covered().count(), spec.max_machines)?;
            let vcpus: u32 = covered().map(|m| m.shape.vcpus).sum();
            exceeded(name, "vcpus", vcpus, spec.max_vcpus)?;
            let rate = covered().map(|m| m.shape.price_usd_micro_per_hour.micros_per_hour());
            let most = spec
                .max_cost_per_hour
                .map(crate::model::Rate::micros_per_hour);
            exceeded(name, "micro-dollars an hour", rate.sum::<u64>(), most)?;
        }
        if !is_limited {
            let all = books
                .machines
                .values()
                .filter(|m| self.awake.contains(&m.id))
                .count();
            exceeded("built-in", "machines", all, Some(DEFAULT_MAX_MACHINES))?;
        }
        Ok(())
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

fn covers(policy: &Policy, machine: &Machine) -> bool {
    let subject = Subject {
        project: machine.project.as_deref(),
        image: Some(&machine.image),
        provider: Some(&machine.provider),
        ..Subject::default()
    };
    policy::speaks_of(&policy.spec, &subject)
}

fn exceeded<N: TryInto<u64>, M: Into<u64>>(
    policy: &str,
    what: &str,
    count: N,
    most: Option<M>,
) -> Result<(), String> {
    let (count, most) = (count.try_into().unwrap_or(u64::MAX), most.map(Into::into));
    match most {
        Some(most) if count > most => Err(format!(
            "policy {policy:?} allows {most} {what}, and there are {count}"
        )),
        Some(_) | None => Ok(()),
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
