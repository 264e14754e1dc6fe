//! Money and prices: exact integers, with a text for people.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::{Money, Rate};

/// An amount of money.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct MoneyView {
    /// Micro-dollars: one millionth of a US dollar, exact.
    #[schema(example = 1234)]
    pub micro_usd: i64,
    /// The same for people.
    #[schema(example = "$0.001234")]
    pub text: String,
}

impl From<Money> for MoneyView {
    fn from(money: Money) -> Self {
        Self {
            micro_usd: money.micros(),
            text: money.to_string(),
        }
    }
}

/// A price per hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RateView {
    /// Micro-dollars per hour, exact.
    #[schema(example = 41600)]
    pub micro_usd_per_hour: u64,
    /// The same for people.
    #[schema(example = "$0.041600/h")]
    pub text: String,
}

impl From<Rate> for RateView {
    fn from(rate: Rate) -> Self {
        Self {
            micro_usd_per_hour: rate.micros_per_hour(),
            text: rate.to_string(),
        }
    }
}
