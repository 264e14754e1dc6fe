//! Money in integer micro-dollars; rates in micro-dollars per hour. No floating point.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::time::Span;

/// An amount in micro-dollars (one millionth of a US dollar).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Money(i64);

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From micro-dollars.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Micro-dollars.
    pub const fn micros(self) -> i64 {
        self.0
    }
}

impl Add for Money {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sub for Money {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Neg for Money {
    type Output = Self;

    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micros = self.0.unsigned_abs();
        f.pad(&format!(
            "{sign}${}.{:06}",
            micros / 1_000_000,
            micros % 1_000_000
        ))
    }
}

/// A text that is not an amount of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an amount (expected dollars with at most six decimals, as in $20 or $0.50)")]
pub struct MoneyParseError(String);

impl FromStr for Money {
    type Err = MoneyParseError;

    /// `$20`, `0.50`; amounts that people write are never negative.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let micros = (!text.contains('/')).then(|| parse_dollars(text)).flatten();
        micros
            .and_then(|micros| i64::try_from(micros).ok())
            .map(Self)
            .ok_or_else(|| MoneyParseError(text.to_owned()))
    }
}

/// A price per hour, in micro-dollars per hour.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Rate(u64);

/// Microseconds in an hour: rates are per hour, spans in microseconds.
const MICROS_PER_HOUR: u128 = 3_600_000_000;

impl Rate {
    /// From micro-dollars per hour.
    pub const fn from_micros_per_hour(micros: u64) -> Self {
        Self(micros)
    }

    /// Micro-dollars per hour.
    pub const fn micros_per_hour(self) -> u64 {
        self.0
    }

    /// What `span` costs at this rate, rounded down to a whole micro-dollar.
    ///
    /// Bill a machine by the difference of two cumulative costs, never by adding up rounded pieces:
    /// differences telescope, so the pieces add up to the whole exactly.
    pub fn cost_of(self, span: Span) -> Money {
        let micros = u128::from(self.0) * u128::from(span.micros()) / MICROS_PER_HOUR;
        Money(i64::try_from(micros).unwrap_or(i64::MAX))
    }
}

/// A text that is not a price.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a price per hour (expected dollars with at most six decimals, as in 0.0416)")]
pub struct RateParseError(String);

impl FromStr for Rate {
    type Err = RateParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_dollars(text)
            .map(Self)
            .ok_or_else(|| RateParseError(text.to_owned()))
    }
}

/// `0.0416`, `$0.0416` or `$0.0416/h` to micro-dollars.
fn parse_dollars(text: &str) -> Option<u64> {
    let number = text.trim();
    let number = number.strip_prefix('$').unwrap_or(number);
    let number = number.strip_suffix("/h").unwrap_or(number);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 6 {
        return None;
    }
    let micros: u64 = format!("{fraction:0<6}").parse().ok()?;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(1_000_000)?
        .checked_add(micros)
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!(
            "${}.{:06}/h",
            self.0 / 1_000_000,
            self.0 % 1_000_000
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_read_what_they_print() {
        for text in ["0.0416", "$1", "12.5", "$0.000001/h"] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!(rate.to_string().parse(), Ok(rate), "{text}");
        }
        for text in ["", "$", ".5", "-1", "1.0000001", "1e3", "free"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn amounts_read_what_they_print() {
        for text in ["$20", "0.50", "$0.000001", "9223372036854.775807"] {
            let money: Money = text.parse().unwrap();
            assert_eq!(money.to_string().parse(), Ok(money), "{text}");
        }
        for text in ["", "$", "-1", "$3/h", "1.0000001", "9223372036854.775808"] {
            assert!(text.parse::<Money>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_hour_costs_the_rate() {
        let rate = Rate::from_micros_per_hour(41_600);
        assert_eq!(
            rate.cost_of(Span::from_secs(3_600)),
            Money::from_micros(41_600)
        );
        assert_eq!(rate.cost_of(Span::from_micros(1)), Money::ZERO);
    }

    #[test]
    fn negative_amounts_print_their_sign_first() {
        assert_eq!(Money::from_micros(-1_500_000).to_string(), "-$1.500000");
    }
}
