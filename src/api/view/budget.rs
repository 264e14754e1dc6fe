//! Budgets and approvals.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::amount::MoneyView;
use crate::books::BudgetReport;
use crate::model::{AtLimit, BudgetPart, Money, Timestamp};

/// How one part of a budget stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BudgetView {
    /// The policy that declares it.
    pub policy: String,
    /// Its name.
    pub budget: String,
    /// What the amount is for: `all`, `project`, `image`, `pipeline`, `build`.
    pub each: String,
    /// The project's or image's name, or the id; empty for all.
    pub part: String,
    /// In which time: `hour`, `day`, `week`, `month`, `life`.
    pub per: String,
    /// When the present period began; none for a life.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub from: Option<Timestamp>,
    /// When it ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub to: Option<Timestamp>,
    /// The amount, with what was approved and what the period before left.
    pub total: MoneyView,
    /// What of that was approved.
    pub approved: MoneyView,
    /// Spent in the period, time not yet billed included.
    pub spent: MoneyView,
    /// What running machines may still cost at worst.
    pub committed: MoneyView,
    /// What is left.
    pub left: MoneyView,
    /// What the period will have cost at its end, if the rest of it costs per hour what the last seven
    /// days did; none for a life.
    pub forecast: Option<MoneyView>,
    /// What becomes of builds for which there is no room: `hold`, `fail`, `on_approval`.
    pub at_limit: String,
    /// How it stands.
    pub state: BudgetState,
}

/// How a budget stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BudgetState {
    /// There is room.
    Open,
    /// So much is spent that people were warned.
    Warned,
    /// All of it is spent or committed.
    Full,
}

impl BudgetState {
    /// The word for it, as in every output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Warned => "warned",
            Self::Full => "full",
        }
    }

    fn of(report: &BudgetReport) -> Self {
        let share = i128::from(report.total.micros()) * i128::from(report.warn_at_percent) / 100;
        let is_warned = report.warn_at_percent > 0 && i128::from(report.spent.micros()) >= share;
        if report.spent + report.committed >= report.total {
            Self::Full
        } else if is_warned {
            Self::Warned
        } else {
            Self::Open
        }
    }
}

impl From<BudgetReport> for BudgetView {
    fn from(report: BudgetReport) -> Self {
        let state = BudgetState::of(&report);
        let left = report.total - report.spent - report.committed;
        let (each, part) = match &report.part {
            BudgetPart::All => ("all", String::new()),
            BudgetPart::Project(name) => ("project", name.clone()),
            BudgetPart::Image(name) => ("image", name.clone()),
            BudgetPart::Pipeline(id) => ("pipeline", id.to_string()),
            BudgetPart::Build(id) => ("build", id.to_string()),
        };
        let at_limit: AtLimit = report.at_limit;
        Self {
            policy: report.policy,
            budget: report.budget,
            each: each.to_owned(),
            part,
            per: report.per.word().to_owned(),
            from: report.window.map(|(from, _)| from),
            to: report.window.map(|(_, to)| to),
            total: report.total.into(),
            approved: report.approved.into(),
            spent: report.spent.into(),
            committed: report.committed.into(),
            left: left.max(Money::ZERO).into(),
            forecast: report.forecast.map(MoneyView::from),
            at_limit: at_limit.word().to_owned(),
            state,
        }
    }
}

/// More money for a budget, in its present period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveBudget {
    /// The policy's name.
    pub policy: String,
    /// The budget's name.
    pub budget: String,
    /// How much more, in whole micro-dollars; above zero.
    pub micro_usd: i64,
    /// For which project, image, pipeline or build of a budget that is for each; all if not given.
    #[serde(default)]
    pub part: Option<String>,
    /// Why, for the record.
    #[serde(default)]
    pub reason: String,
}
