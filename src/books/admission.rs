//! What budgets ask for while builds run: an end at a cap, a warning, an approval.

use crate::model::{
    AtLimit, AttemptId, BudgetEach, BudgetNews, BudgetNote, BudgetPart, BuildId, BuildResult,
    Change, EventKind, IllegalTransition, Money, Period, Rate, Span, Subject, Timestamp,
};
use crate::planner::{BudgetView, Part, Standing};

use super::Books;
use super::draft::Draft;
use super::spend::is_of;
use super::wishes::end_as;

/// What was found when the budgets were looked at.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// Attempts that have to be stopped.
    pub(crate) stop: Vec<AttemptId>,
    /// People were warned so many times.
    pub(crate) warnings: u64,
}

/// Looks at what is spent: ends builds whose cap is reached, and warns people once per window.
pub(crate) fn look_at_budgets(draft: &mut Draft<'_>) -> Result<Looked, IllegalTransition> {
    let now = draft.now;
    draft.books.roll_windows(now);
    let mut looked = Looked::default();
    for place in 0..draft.books.snapshot.budgets.len() {
        let snapshot = &draft.books.snapshot;
        let Some(view) = snapshot.budgets.get(place).filter(|view| view.is_known) else {
            continue;
        };
        let (view, standings) = (view.clone(), view.standings(snapshot, now));
        let percent = draft.books.declared(place).map_or(0, |b| b.warn_at_percent);
        for (part, standing) in standings {
            looked.warnings += u64::from(warn(draft, &view, part, &standing, percent));
            if view.is_cap() {
                stop_at_cap(draft, &view, part, &standing, &mut looked)?;
            }
        }
    }
    Ok(looked)
}

/// Ends the builds of a part whose amount is used up.
fn stop_at_cap(
    draft: &mut Draft<'_>,
    view: &BudgetView,
    part: Part,
    standing: &Standing,
    looked: &mut Looked,
) -> Result<(), IllegalTransition> {
    let bound: Vec<(BuildId, Rate)> = running(&draft.books.snapshot, view, part);
    let total = view.total(part);
    if bound.is_empty() || total > standing.spent {
        return Ok(());
    }
    let whom = draft.books.part_name(part);
    let reason = format!(
        "budget {:?} of policy {:?} allows {total} for {whom}, and {} are spent",
        view.name, view.policy, standing.spent
    );
    for (build, _) in bound {
        looked
            .stop
            .extend(end_as(draft, build, &reason, BuildResult::OverBudget)?);
    }
    Ok(())
}

/// When the next cap is reached, if all goes on as it does. To be asked once a plan is recorded: the
/// builds that it has given a machine begin to cost with it.
pub(crate) fn next_cap(books: &Books, now: Timestamp) -> Option<Timestamp> {
    let snapshot = &books.snapshot;
    let caps = snapshot.budgets.iter();
    let caps = caps.filter(|view| view.is_cap() && view.is_known);
    let ends = caps.flat_map(|view| {
        let standings = view.standings(snapshot, now).into_iter();
        standings.filter_map(move |(part, standing)| {
            let rates = running(snapshot, view, part).into_iter();
            let rate = rates.map(|(_, rate)| rate.micros_per_hour()).sum();
            let left = view.total(part) - standing.spent;
            Some(now + lasts(left.max(Money::from_micros(1)), rate)?)
        })
    });
    ends.min()
}

/// The builds of a part that have a machine, and what that costs.
fn running(
    snapshot: &crate::planner::Snapshot,
    view: &BudgetView,
    part: Part,
) -> Vec<(BuildId, Rate)> {
    let bound = snapshot.bound.iter().filter_map(|(id, bound)| {
        let machine = snapshot.machines.get(&bound.machine)?;
        let is_its = part == Part::Build(*id) || part == Part::Pipeline(bound.pipeline);
        let covers = view
            .scope
            .covers(machine.image, Some(bound.project), &bound.rules);
        (is_its && covers).then_some((*id, machine.meter.rate))
    });
    bound.collect()
}

/// How long an amount lasts, rounded up; none at no cost.
fn lasts(left: Money, micros_per_hour: u64) -> Option<Span> {
    const HOUR: u128 = 3_600_000_000;
    let left = u128::try_from(left.micros()).ok()?;
    let micros = (left * HOUR).div_ceil(u128::from(micros_per_hour).max(1));
    (micros_per_hour > 0).then(|| Span::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)))
}

/// Warns, if that has not been done in this window; whether it was.
fn warn(
    draft: &mut Draft<'_>,
    view: &BudgetView,
    part: Part,
    standing: &Standing,
    percent: u32,
) -> bool {
    let total = view.total(part);
    let share = i128::from(total.micros()) * i128::from(percent) / 100;
    if percent == 0 || i128::from(standing.spent.micros()) < share || standing.spent <= Money::ZERO
    {
        return false;
    }
    let whom = draft.books.part_name(part);
    let mut notes = draft.books.spend.notes.iter();
    let is_known =
        notes.any(|note| note.what == BudgetNews::Warned && note.part == whom && is_of(view, note));
    if is_known {
        return false;
    }
    let of_whom = match &whom {
        BudgetPart::All => String::new(),
        BudgetPart::Project(_)
        | BudgetPart::Image(_)
        | BudgetPart::Pipeline(_)
        | BudgetPart::Build(_) => format!(" of {whom}"),
    };
    let until = view
        .window
        .map(|(_, to)| format!("; it begins anew at {to}"));
    let message = format!(
        "{} of {total} of budget {:?}{of_whom} are spent{}",
        standing.spent,
        view.name,
        until.unwrap_or_default()
    );
    note(draft, view, whom, BudgetNews::Warned);
    draft.event(
        Subject::Policy(view.policy.clone()),
        EventKind::BudgetWarned,
        message,
    );
    true
}

fn note(draft: &mut Draft<'_>, view: &BudgetView, part: BudgetPart, what: BudgetNews) {
    let note = BudgetNote {
        at: draft.now,
        policy: view.policy.clone(),
        budget: view.name.clone(),
        part,
        what,
    };
    draft.books.spend.notes.push(note.clone());
    draft.record(Change::AppendBudgetNote(note));
}

/// What somebody approves.
#[derive(Debug, Clone)]
pub struct Approval {
    /// The policy's name.
    pub policy: String,
    /// The budget's name.
    pub budget: String,
    /// For which part; none for each.
    pub part: Option<BudgetPart>,
    /// How much more.
    pub amount: Money,
    /// Why.
    pub reason: String,
}

/// Why an approval is not possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotApproved {
    /// There is no such budget.
    Unknown,
    /// It has no such parts.
    OtherParts(BudgetEach),
}

/// Adds to a budget's amount for its present window.
pub(crate) fn approve(
    draft: &mut Draft<'_>,
    approval: &Approval,
    by: &str,
) -> Result<(), NotApproved> {
    let now = draft.now;
    draft.books.roll_windows(now);
    let mut budgets = draft.books.snapshot.budgets.iter();
    let is_it = |view: &&BudgetView| view.policy == approval.policy && view.name == approval.budget;
    let view = budgets.find(is_it).cloned().ok_or(NotApproved::Unknown)?;
    let part = approval.part.clone().unwrap_or(BudgetPart::All);
    let fits = match (&part, view.each) {
        (BudgetPart::All, _)
        | (BudgetPart::Project(_), BudgetEach::Project)
        | (BudgetPart::Image(_), BudgetEach::Image)
        | (BudgetPart::Pipeline(_), BudgetEach::Pipeline)
        | (BudgetPart::Build(_), BudgetEach::Build) => true,
        (
            BudgetPart::Project(_)
            | BudgetPart::Image(_)
            | BudgetPart::Pipeline(_)
            | BudgetPart::Build(_),
            _,
        ) => false,
    };
    if !fits {
        return Err(NotApproved::OtherParts(view.each));
    }
    let amount = approval.amount;
    let because = match approval.reason.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    let message = format!(
        "{amount} more of budget {:?} for {part}, by {by}{because}",
        view.name
    );
    let news = BudgetNews::Approved {
        amount,
        by: by.to_owned(),
        reason: approval.reason.clone(),
    };
    note(draft, &view, part, news);
    draft.event(
        Subject::Policy(view.policy),
        EventKind::BudgetApproved,
        message,
    );
    draft.books.refresh_approvals();
    Ok(())
}

/// How one part of a budget stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetReport {
    /// The policy's name.
    pub policy: String,
    /// The budget's name.
    pub budget: String,
    /// Which part.
    pub part: BudgetPart,
    /// In which time.
    pub per: Period,
    /// The present window; none for a life.
    pub window: Option<(Timestamp, Timestamp)>,
    /// Its amount, with what was approved and what the window before left.
    pub total: Money,
    /// What of that was approved.
    pub approved: Money,
    /// Spent, time not yet billed included.
    pub spent: Money,
    /// What running machines may still cost at worst.
    pub committed: Money,
    /// What becomes of builds for which there is no room.
    pub at_limit: AtLimit,
    /// What the window will have cost at its end; set by who knows the past.
    pub forecast: Option<Money>,
    /// Share of the amount from which on people are warned.
    pub warn_at_percent: u32,
}

impl Books {
    /// How all parts of all budgets stand that have any use; those without at least as a whole.
    pub(crate) fn budget_reports(&mut self, now: Timestamp) -> Vec<(usize, Part, BudgetReport)> {
        self.roll_windows(now);
        let mut reports = Vec::new();
        for (place, view) in self.snapshot.budgets.iter().enumerate() {
            let mut standings = view.standings(&self.snapshot, now);
            if view.each == BudgetEach::All {
                standings.entry(Part::All).or_default();
            }
            for (part, standing) in standings {
                let approved = view.total(part) - unapproved(view).total(part);
                let report = BudgetReport {
                    policy: view.policy.clone(),
                    budget: view.name.clone(),
                    part: self.part_name(part),
                    per: view.per,
                    window: view.window,
                    total: view.total(part),
                    approved,
                    spent: standing.spent,
                    committed: standing.committed,
                    at_limit: view.at_limit,
                    forecast: None,
                    warn_at_percent: self.declared(place).map_or(0, |b| b.warn_at_percent),
                };
                reports.push((place, part, report));
            }
        }
        reports
    }
}

fn unapproved(view: &BudgetView) -> BudgetView {
    BudgetView {
        approved: std::collections::BTreeMap::new(),
        ..view.clone()
    }
}
