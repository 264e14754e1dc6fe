//! What a submission would start, cost and take.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::amount::{MoneyView, RateView};
use crate::model::{Money, Span, Timestamp};
use crate::planner::{Quote, QuotedBuild, Spread};

/// What a submission would start, cost and take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuoteView {
    /// The moment it was made for.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Its builds, in document order.
    pub builds: Vec<QuotedBuildView>,
    /// From now to the end of the last build.
    pub took: MillisRange,
    /// Boots and work of all builds.
    pub cost: MoneyRange,
    /// Idle time of the machines beside, if nobody else has builds for them, and what is paid for in
    /// whole pieces and not used.
    pub idle: MoneyRange,
    /// Machines that would be launched or woken at once.
    pub launches: u32,
    /// Budgets that would hold builds back, each with its figures.
    pub held_by: Vec<String>,
    /// What else to know.
    pub notes: Vec<String>,
}

/// What one build would become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuotedBuildView {
    /// Its name.
    pub name: String,
    /// Where it would run, or why it would wait.
    pub place: String,
    /// The price of the machine.
    pub price: Option<RateView>,
    /// From now to the first step of the try that counts.
    pub start: MillisRange,
    /// From its first step to its end.
    pub run: MillisRange,
    /// What that is known from.
    #[schema(example = "no history: its timeout of 1h")]
    pub basis: String,
    /// Its boot, if it waits for one, and its work, with tries that fail for reasons of infrastructure.
    pub cost: MoneyRange,
}

/// A length of time with its range, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MillisRange {
    /// Seldom less.
    pub low_millis: u64,
    /// As often less as more.
    pub likely_millis: u64,
    /// Seldom more.
    pub high_millis: u64,
}

/// An amount of money with its range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MoneyRange {
    /// Seldom less.
    pub low: MoneyView,
    /// As often less as more.
    pub likely: MoneyView,
    /// Seldom more.
    pub high: MoneyView,
}

impl From<Spread<Span>> for MillisRange {
    fn from(spread: Spread<Span>) -> Self {
        Self {
            low_millis: spread.low.micros() / 1_000,
            likely_millis: spread.likely.micros() / 1_000,
            high_millis: spread.high.micros() / 1_000,
        }
    }
}

impl From<Spread<Money>> for MoneyRange {
    fn from(spread: Spread<Money>) -> Self {
        Self {
            low: spread.low.into(),
            likely: spread.likely.into(),
            high: spread.high.into(),
        }
    }
}

impl From<QuotedBuild> for QuotedBuildView {
    fn from(build: QuotedBuild) -> Self {
        Self {
            name: build.name,
            place: build.place,
            price: build.price.map(RateView::from),
            start: build.start.into(),
            run: build.run.into(),
            basis: build.basis,
            cost: build.cost.into(),
        }
    }
}

impl From<Quote> for QuoteView {
    fn from(quote: Quote) -> Self {
        Self {
            at: quote.at,
            builds: quote.builds.into_iter().map(Into::into).collect(),
            took: quote.took.into(),
            cost: quote.cost.into(),
            idle: quote.idle.into(),
            launches: quote.launches,
            held_by: quote.held_by,
            notes: quote.notes,
        }
    }
}
