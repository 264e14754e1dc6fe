//! What may be spent, on what, and in which time.

use serde::{Deserialize, Serialize};

use super::id::{BuildId, PipelineId};
use super::money::Money;
use super::time::Timestamp;

/// An amount that may be spent per period on what its policy speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Its name, unique within its policy; for reports and approvals.
    pub name: String,
    /// How much.
    pub amount: Money,
    /// What gets that amount: all that the policy speaks of together, or each part of it.
    #[serde(default)]
    pub each: BudgetEach,
    /// In which time.
    pub per: Period,
    /// IANA name of the time zone in which days begin.
    pub time_zone: String,
    /// Share of the amount, in percent, from which on people are warned.
    pub warn_at_percent: u32,
    /// What becomes of builds for which it has no room.
    #[serde(default)]
    pub at_limit: AtLimit,
    /// Most of an unspent amount that is added to the next period.
    #[serde(default)]
    pub roll_over: Money,
}

/// What gets a budget's amount.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum BudgetEach {
    /// All that its policy speaks of, together.
    #[default]
    All,
    /// Each project.
    Project,
    /// Each image.
    Image,
    /// Each pipeline.
    Pipeline,
    /// Each build.
    Build,
}

impl BudgetEach {
    /// The word for it, as in policy files.
    pub const fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Project => "project",
            Self::Image => "image",
            Self::Pipeline => "pipeline",
            Self::Build => "build",
        }
    }
}

/// In which time a budget may be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// From a full hour to the next.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday.
    Week,
    /// From the first of a month to its last.
    Month,
    /// As long as the build or pipeline lives that it is for.
    Life,
}

impl Period {
    /// The word for it, as in policy files.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Life => "life",
        }
    }
}

/// What becomes of builds for which a budget has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtLimit {
    /// They wait for the next period, or for a larger budget.
    #[default]
    Hold,
    /// They end as failed, with the reason.
    Fail,
    /// They wait until somebody approves more.
    OnApproval,
}

impl AtLimit {
    /// The word for it, as in policy files.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Fail => "fail",
            Self::OnApproval => "on_approval",
        }
    }
}

/// What has an amount of a budget of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "of", content = "id")]
pub enum BudgetPart {
    /// All that its policy speaks of; in an approval, each part of it.
    All,
    /// A project.
    Project(String),
    /// An image.
    Image(String),
    /// A pipeline.
    Pipeline(PipelineId),
    /// A build.
    Build(BuildId),
}

impl std::fmt::Display for BudgetPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.pad("all"),
            Self::Project(name) | Self::Image(name) => f.pad(name),
            Self::Pipeline(id) => std::fmt::Display::fmt(id, f),
            Self::Build(id) => std::fmt::Display::fmt(id, f),
        }
    }
}

/// What happened to a budget in the period in which it was noted. Never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetNote {
    /// When.
    pub at: Timestamp,
    /// The policy's name.
    pub policy: String,
    /// The budget's name.
    pub budget: String,
    /// To which part of it.
    pub part: BudgetPart,
    /// What.
    pub what: BudgetNews,
}

/// What happened to a budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BudgetNews {
    /// People were warned that much of it is spent.
    Warned,
    /// Somebody approved more.
    Approved {
        /// How much more.
        amount: Money,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
}
