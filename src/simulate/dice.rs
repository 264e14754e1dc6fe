//! Seeded randomness in integers: the same on every machine.

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

use crate::model::{Span, Timestamp};

/// Draws that depend on nothing but the seed and their order.
#[derive(Debug)]
pub(super) struct Dice {
    rng: ChaCha8Rng,
}

impl Dice {
    /// `stream` keeps draws for one purpose apart from those for another.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self { rng }
    }

    /// A number below `bound`, or 0 when that is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let scaled = u128::from(self.rng.next_u64()) * u128::from(bound);
        u64::try_from(scaled >> 64).unwrap_or(0)
    }

    /// Whether something happens that happens so often in a thousand.
    pub(super) fn chance(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.below(1_000) < u64::from(per_mille)
    }

    /// A number of `least..=most`.
    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// A span of zero up to `most`.
    pub(super) fn up_to(&mut self, most: Span) -> Span {
        Span::from_micros(self.below(most.micros().saturating_add(1)))
    }

    /// The place of one of `count` things; 0 when there are none.
    pub(super) fn place(&mut self, count: usize) -> usize {
        let bound = u64::try_from(count).unwrap_or(u64::MAX);
        usize::try_from(self.below(bound)).unwrap_or(0)
    }

    /// The bits of an identity, sortable by time.
    pub(super) fn identity(&mut self, now: Timestamp) -> u128 {
        let millis = u64::try_from(now.micros() / 1_000).unwrap_or(0);
        let random = u128::from(self.rng.next_u64()) << 64 | u128::from(self.rng.next_u64());
        ulid::Ulid::from_parts(millis, random).0
    }

    /// A log-normal draw: `spread_percent` is the standard deviation of the natural logarithm.
    pub(super) fn around(&mut self, median: Span, spread_percent: u32) -> Span {
        if spread_percent == 0 {
            return median;
        }
        let exponent = self.normal() * i64::from(spread_percent) / 100;
        let scaled = (u128::from(median.micros()) * exp(exponent)) >> 32;
        Span::from_micros(u64::try_from(scaled).unwrap_or(u64::MAX))
    }

    /// When something happens after `from` that happens to so many of a thousand in an hour; none
    /// within what any machine lives.
    pub(super) fn hazard(&mut self, from: Timestamp, per_mille_hour: u32) -> Option<Timestamp> {
        /// Beyond any machine's life, sleep included.
        const HOURS: u64 = 24 * 14;
        const HOUR: Span = Span::from_secs(3_600);
        if per_mille_hour == 0 {
            return None;
        }
        let hour = (0..HOURS).find(|_| self.chance(per_mille_hour))?;
        Some(from + Span::from_secs(hour * 3_600) + self.up_to(HOUR))
    }

    /// A standard normal draw in units of 2^-16: the sum of twelve uniform ones, less six.
    fn normal(&mut self) -> i64 {
        let mut sum = -6 * (1 << 16);
        for _ in 0..3 {
            let bits = self.rng.next_u64();
            for part in 0..4 {
                sum += i64::try_from(bits >> (16 * part) & 0xffff).unwrap_or(0);
            }
        }
        sum
    }
}

/// The exponential of `x` (in units of 2^-16), in units of 2^-32: (1 + x/1024)^1024, which is within
/// one percent for what medians are spread by.
fn exp(x: i64) -> u128 {
    /// e^4: no draw is further from its median.
    const MOST: i64 = 4 << 16;
    let base = (1_i64 << 32) + (x.clamp(-MOST, MOST) << 16) / 1_024;
    let mut power = u128::try_from(base).unwrap_or(0);
    for _ in 0..10 {
        power = (power * power) >> 32;
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_draws_are_below_the_median() {
        let mut dice = Dice::new(1, 0);
        let median = Span::from_secs(26);
        let draws: Vec<Span> = (0..4_000).map(|_| dice.around(median, 50)).collect();
        let below = draws.iter().filter(|draw| **draw < median).count();
        assert!((1_850..2_150).contains(&below), "{below}");
        // One standard deviation above the median: 15.9 % lie beyond e^0.5.
        let far = Span::from_millis(26_000 * 1_649 / 1_000);
        let beyond = draws.iter().filter(|draw| **draw > far).count();
        assert!((560..710).contains(&beyond), "{beyond}");
    }

    #[test]
    fn the_exponential_is_right() {
        let as_per_mille = |x: i64| (exp(x) * 1_000) >> 32;
        assert_eq!(as_per_mille(0), 1_000);
        assert!((2_710..2_720).contains(&as_per_mille(1 << 16)));
        assert!((366..369).contains(&as_per_mille(-1 << 16)));
    }

    #[test]
    fn a_hazard_has_its_rate() {
        let mut dice = Dice::new(2, 0);
        let start = Timestamp::from_micros(0);
        let within = start + Span::from_secs(3_600);
        let hits = (0..2_000).filter(|_| dice.hazard(start, 100).is_some_and(|at| at < within));
        let hits = hits.count();
        assert!((150..250).contains(&hits), "{hits}");
    }

    #[test]
    fn equal_seeds_draw_equally() {
        let draw = |seed| {
            let mut dice = Dice::new(seed, 3);
            (dice.below(1_000_000), dice.between(3, 9), dice.chance(500))
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
