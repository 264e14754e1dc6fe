//! People who are asked for money: what builds wait for is approved after a while.

use std::collections::BTreeSet;

use crate::books::{Approval, approve};
use crate::model::{AtLimit, BudgetPart, Money, Span};
use crate::planner::NoRoom;

use super::coverage::Situation;
use super::events::Event;
use super::run::SimulationError;
use super::simulation::Simulation;

/// What people have been asked for and have not answered: policy, budget, and of which part.
pub(super) type Approvals = BTreeSet<(String, String, BudgetPart)>;

/// How soon somebody tries again whom a server that is down does not hear.
const TRY_AGAIN: Span = Span::from_secs(60);

impl Simulation<'_> {
    /// Somebody will approve what a build lacks, unless time alone or nothing at all helps it.
    pub(super) fn ask_for_money(&mut self, no_room: &NoRoom) {
        let view = self.books.snapshot.budgets.get(no_room.budget);
        let (Some(within), Some(view)) = (self.scenario.approves_within, view) else {
            return;
        };
        let helps = match view.at_limit {
            AtLimit::OnApproval => true,
            // What has an end of its own is as good as lost without more.
            AtLimit::Hold => view.is_cap(),
            AtLimit::Fail => false,
        };
        if !helps || !view.is_known {
            return;
        }
        let (policy, budget) = (view.policy.clone(), view.name.clone());
        let lacks = (no_room.needs - no_room.left).max(Money::ZERO) + view.amount;
        let part = self.books.part_name(no_room.part);
        let asked = (policy.clone(), budget.clone(), part.clone());
        if !self.approvals.insert(asked) {
            return;
        }
        let approval = Approval {
            policy,
            budget,
            part: Some(part),
            amount: lacks,
            reason: String::new(),
        };
        let at = self.at + self.dice.up_to(within);
        self.queue.enter(at, Event::Approve(Box::new(approval)));
    }

    /// Somebody approves more of a budget.
    pub(super) fn approve(&mut self, approval: &Approval) -> Result<(), SimulationError> {
        if self.is_down {
            let again = Event::Approve(Box::new(approval.clone()));
            self.queue.enter(self.at + TRY_AGAIN, again);
            return Ok(());
        }
        self.coverage.note(Situation::Approved);
        let part = approval.part.clone().unwrap_or(BudgetPart::All);
        let asked = (approval.policy.clone(), approval.budget.clone(), part);
        self.approvals.remove(&asked);
        // One that is gone meanwhile needs no approval.
        self.write(|draft| Ok(approve(draft, approval, "somebody").is_ok()))?;
        self.nudge();
        Ok(())
    }
}
