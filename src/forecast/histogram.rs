//! Lengths of time in buckets that grow with them, with old ones fading.

use std::collections::BTreeMap;

use super::week::week_of;
use crate::model::{Span, Timestamp};

/// Counts of lengths of time. Each power of two is cut into four buckets, which is as exact as a
/// timeout has to be; what is shorter than a second is one bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Weights by bucket.
    weights: BTreeMap<u8, u64>,
    /// The week that the weights are of.
    week: i64,
}

/// The weight of one sample; it loses a quarter with each week, so that four weeks later it counts
/// for less than a third.
const ONE: u64 = 1_024;

/// Quarters of a second: the unit in which buckets are cut.
const QUARTER_MICROS: u64 = 250_000;

impl Histogram {
    /// Adds a length of time that was seen at `at`.
    pub fn add(&mut self, span: Span, at: Timestamp) {
        self.fade(week_of(at));
        *self.weights.entry(bucket(span)).or_default() += ONE;
    }

    /// Adds what another one holds.
    pub fn merge(&mut self, other: &Self) {
        self.fade(other.week);
        for (bucket, weight) in &other.weights {
            *self.weights.entry(*bucket).or_default() += weight;
        }
    }

    /// How many samples it holds, faded ones in part.
    pub fn samples(&self) -> u64 {
        self.weights.values().sum::<u64>() / ONE
    }

    /// Weight, middle and upper end of each bucket that holds anything, the shortest first.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (u64, Span, Span)> {
        self.weights.iter().map(|(bucket, weight)| {
            let (lower, upper) = (lower_end(*bucket), lower_end(bucket.saturating_add(1)));
            let middle = Span::from_micros(u64::midpoint(lower.micros(), upper.micros()));
            (*weight, middle, upper)
        })
    }

    fn fade(&mut self, week: i64) {
        /// After so many weeks nothing is left of anything that fits into memory.
        const FORGOTTEN: i64 = 100;
        let weeks = (week - self.week).clamp(0, FORGOTTEN);
        self.week = self.week.max(week);
        for _ in 0..weeks {
            if self.weights.is_empty() {
                return;
            }
            for weight in self.weights.values_mut() {
                *weight = *weight * 3 / 4;
            }
            self.weights.retain(|_, weight| *weight > 0);
        }
    }
}

fn bucket(span: Span) -> u8 {
    let quarters = span.micros() / QUARTER_MICROS;
    if quarters < 4 {
        return 0;
    }
    let power = quarters.ilog2();
    let part = (quarters >> (power - 2)) & 3;
    let place = 1 + u64::from(power - 2) * 4 + part;
    u8::try_from(place).unwrap_or(u8::MAX)
}

fn lower_end(bucket: u8) -> Span {
    let Some(place) = bucket.checked_sub(1) else {
        return Span::ZERO;
    };
    let (power, part) = (u32::from(place / 4), u64::from(place % 4));
    let quarters = (4 + part).checked_shl(power).unwrap_or(u64::MAX);
    Span::from_micros(quarters.saturating_mul(QUARTER_MICROS))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_length_lies_between_the_ends_of_its_bucket(secs in 0_u64..30_000_000) {
            let span = Span::from_secs(secs);
            let bucket = bucket(span);
            prop_assert!(lower_end(bucket) <= span && span < lower_end(bucket + 1));
        }
    }

    #[test]
    fn what_is_old_fades() {
        let mut histogram = Histogram::default();
        let week = Span::from_secs(7 * 24 * 3_600);
        let mut at = Timestamp::from_micros(0);
        for _ in 0..100 {
            histogram.add(Span::from_secs(10), at);
        }
        assert_eq!(histogram.samples(), 100);
        for _ in 0..4 {
            at = at + week;
        }
        histogram.add(Span::from_secs(1_000), at);
        assert_eq!(histogram.samples(), 1 + 31);
        at = at + Span::from_secs(60 * 7 * 24 * 3_600);
        histogram.add(Span::from_secs(1_000), at);
        assert_eq!(histogram.samples(), 1);
    }
}
