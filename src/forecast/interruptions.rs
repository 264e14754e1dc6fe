//! How often spare capacity is taken back.

use std::collections::BTreeMap;

use super::week::week_of;
use crate::model::{Pool, Span, Timestamp};

/// Machine time without an interruption that each pool is credited with: one interruption in the
/// first minutes says little.
const CREDIT: Span = Span::from_secs(10 * 3_600);

/// Pools that are remembered; beyond, the one that was silent for longest is forgotten.
const POOLS: usize = 8_192;

/// Interruptions and machine time by provider and pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interruptions {
    pools: BTreeMap<(String, Pool), Seen>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    week: i64,
    /// Machine time; a quarter is forgotten with each week.
    micros: u64,
    /// Interruptions, in thousandths; fades in the same way.
    thousandths: u64,
}

impl Interruptions {
    /// A machine of a pool ended after `lived`, taken back or not.
    pub fn learn(
        &mut self,
        (provider, pool): (&str, &Pool),
        lived: Span,
        is_taken_back: bool,
        at: Timestamp,
    ) {
        let key = (provider.to_owned(), pool.clone());
        if !self.pools.contains_key(&key) && self.pools.len() >= POOLS {
            let oldest = self.pools.iter().min_by_key(|(_, seen)| seen.week);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.pools.remove(&oldest);
            }
        }
        let seen = self.pools.entry(key).or_default();
        seen.fade(week_of(at));
        seen.micros = seen.micros.saturating_add(lived.micros());
        seen.thousandths += if is_taken_back { 1_000 } else { 0 };
    }

    /// How likely it is, in percent, that a machine of one of these pools is taken back within
    /// `span`: interruptions per machine time, times the span.
    pub fn risk_percent<'a>(
        &self,
        provider: &str,
        pools: impl IntoIterator<Item = &'a Pool>,
        span: Span,
    ) -> u32 {
        let (mut micros, mut thousandths) = (u128::from(CREDIT.micros()), 0_u128);
        for pool in pools {
            let key = (provider.to_owned(), pool.clone());
            if let Some(seen) = self.pools.get(&key) {
                micros += u128::from(seen.micros);
                thousandths += u128::from(seen.thousandths);
            }
        }
        let percent = thousandths * u128::from(span.micros()) / micros / 10;
        u32::try_from(percent.min(100)).unwrap_or(100)
    }
}

impl Seen {
    fn fade(&mut self, week: i64) {
        for _ in 0..(week - self.week).clamp(0, 100) {
            self.micros = self.micros / 4 * 3;
            self.thousandths = self.thousandths * 3 / 4;
        }
        self.week = self.week.max(week);
    }
}
