//! What builds lose to machines that fail under them, by what became of tries before.

use crate::model::Span;

use super::{Spread, plus};

/// Of twenty builds one may have more retries than the high figures count: as with times, of which
/// 95 % did not exceed the upper end.
const ONE_IN: u128 = 20;

/// Tries of the past, and those of them that infrastructure ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retries {
    /// Tries that had a machine.
    pub tries: u32,
    /// Those that failed for reasons of infrastructure.
    pub failed: u32,
    /// How long these had their machines, all together.
    pub lost: Span,
    /// How long one had it at most.
    pub longest: Span,
}

impl Retries {
    /// Machine time that a build loses which may be tried `most` times, where each further try waits
    /// for a machine that boots: nothing, as an average, and as much as one in twenty builds.
    pub fn lost_by(&self, most: u32, boot: Spread<Span>) -> Spread<Span> {
        let again = most.saturating_sub(1);
        if self.failed == 0 || again == 0 {
            return Spread::default();
        }
        let each = times(self.lost, 1, self.failed);
        // Each try fails with the same chance p: a build has p / (1 - p) retries on average.
        let passed = self.tries.saturating_sub(self.failed).max(1);
        let average = times(plus(each, boot.likely), self.failed, passed);
        let likely = average.min(times(plus(each, boot.likely), again, 1));
        let high = times(plus(self.longest, boot.high), self.seldom_more(again), 1);
        Spread {
            low: Span::ZERO,
            likely,
            high: high.max(likely),
        }
    }

    /// Retries of which hardly any build has more; `most` at most.
    fn seldom_more(&self, most: u32) -> u32 {
        let (mut failed, mut tries) = (u128::from(self.failed), u128::from(self.tries.max(1)));
        let mut retries = 0;
        while retries < most && failed.saturating_mul(ONE_IN) > tries {
            retries += 1;
            failed = failed.saturating_mul(u128::from(self.failed));
            tries = tries.saturating_mul(u128::from(self.tries.max(1)));
        }
        retries
    }
}

fn times(span: Span, by: u32, over: u32) -> Span {
    let product = u128::from(span.micros()) * u128::from(by) / u128::from(over.max(1));
    Span::from_micros(u64::try_from(product).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Span {
        Span::from_secs(secs)
    }

    const BOOT: Spread<Span> = Spread {
        low: secs(5),
        likely: secs(20),
        high: secs(60),
    };

    fn retries(tries: u32, failed: u32) -> Retries {
        Retries {
            tries,
            failed,
            lost: secs(100 * u64::from(failed)),
            longest: secs(300),
        }
    }

    #[test]
    fn what_never_failed_costs_nothing() {
        assert_eq!(retries(50, 0).lost_by(3, BOOT), Spread::default());
        assert_eq!(Retries::default().lost_by(3, BOOT), Spread::default());
        // A build that is tried once is not tried again.
        assert_eq!(retries(50, 25).lost_by(1, BOOT), Spread::default());
    }

    #[test]
    fn the_average_is_likely_and_one_in_twenty_is_high() {
        for (tries, failed, likely, retried) in [
            (100, 2, 120 * 2 / 98, 0),
            (100, 5, 120 * 5 / 95, 0),
            (100, 6, 120 * 6 / 94, 1),
            (100, 30, 120 * 30 / 70, 2),
            (100, 90, 2 * 120, 2),
            (7, 7, 2 * 120, 2),
        ] {
            let lost = retries(tries, failed).lost_by(3, BOOT);
            let whole = |span: Span| span.micros() / 1_000_000;
            assert_eq!(lost.low, Span::ZERO);
            assert_eq!(whole(lost.likely), likely, "{failed} of {tries}");
            let high = (retried * 360).max(likely);
            assert_eq!(whole(lost.high), high, "{failed} of {tries}");
        }
    }
}
