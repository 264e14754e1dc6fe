//! The fake desk's budgets: one of each scope, and what was approved.

use std::sync::Mutex;

use super::things::NOW;
use crate::books::{Approval, BudgetReport};
use crate::engine::DeskError;
use crate::model::{AtLimit, BudgetPart, BuildId, Money, Period, Span};

/// Budgets, and approvals as they came.
#[derive(Debug)]
pub(super) struct FakeBudgets {
    reports: Mutex<Vec<BudgetReport>>,
    approvals: Mutex<Vec<(Approval, String)>>,
}

/// An amount in millionths of a dollar, of which so much is spent and committed.
fn report(budget: &str, part: BudgetPart, per: Period, amounts: [i64; 3]) -> BudgetReport {
    let [total, spent, committed] = amounts.map(Money::from_micros);
    BudgetReport {
        policy: "default".to_owned(),
        budget: budget.to_owned(),
        part,
        per,
        window: (per != Period::Life).then(|| (NOW, NOW + Span::from_secs(86_400))),
        total,
        approved: Money::ZERO,
        spent,
        committed,
        at_limit: AtLimit::Hold,
        forecast: (per != Period::Life).then(|| spent + spent),
        warn_at_percent: 80,
    }
}

impl Default for FakeBudgets {
    fn default() -> Self {
        let web = BudgetPart::Project("web".to_owned());
        let odd = BudgetPart::Project("a \"b\"\\c".to_owned());
        let debian = BudgetPart::Image("debian-12".to_owned());
        let build = BudgetPart::Build(BuildId::from_bits(7));
        let reports = vec![
            report(
                "all",
                BudgetPart::All,
                Period::Day,
                [9_000_000, 7_199_999, 0],
            ),
            report(
                "monthly",
                web,
                Period::Month,
                [20_000_000, 17_000_000, 4_000_000],
            ),
            report("monthly", odd, Period::Month, [20_000_000, 16_000_000, 1]),
            report("hourly", debian, Period::Hour, [500_000, 0, 499_999]),
            report("cap", build, Period::Life, [5_000_000, 10, 20]),
        ];
        Self {
            reports: Mutex::new(reports),
            approvals: Mutex::default(),
        }
    }
}

impl FakeBudgets {
    pub(super) fn reports(&self) -> Vec<BudgetReport> {
        self.reports.lock().unwrap().clone()
    }

    /// Adds to the budgets of that name.
    pub(super) fn approve(&self, approval: Approval, who: &str) -> Result<(), DeskError> {
        let mut reports = self.reports.lock().unwrap();
        let is_it = |r: &&mut BudgetReport| {
            r.policy == approval.policy
                && r.budget == approval.budget
                && approval.part.as_ref().is_none_or(|part| *part == r.part)
        };
        let mut found = false;
        for report in reports.iter_mut().filter(is_it) {
            found = true;
            report.total += approval.amount;
            report.approved += approval.amount;
        }
        if !found {
            return Err(DeskError::NotFound {
                what: "budget",
                id: format!("{}/{}", approval.policy, approval.budget),
            });
        }
        self.approvals
            .lock()
            .unwrap()
            .push((approval, who.to_owned()));
        Ok(())
    }

    /// What was approved, and by whom.
    pub(super) fn approved(&self) -> Vec<(Approval, String)> {
        self.approvals.lock().unwrap().clone()
    }
}
