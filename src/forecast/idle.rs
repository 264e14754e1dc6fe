//! How long a machine may stand idle: ski rental, with what was learnt of the gaps.
//!
//! Standing idle costs its price; ending it costs a boot when the next build comes, which is paid
//! for twice: the machine's time, and somebody's wait. The two are equal after
//! `boot x (1 + value of the wait / price)`. To wait for just so long costs at most twice of what
//! somebody would pay who knows the future (Karlin et al. 1990; for a fleet with the most recently
//! idled machine taken first, Lu & Chen, arXiv 1112.0442). With the distribution of gaps known, the
//! length that costs least on average is better still; it is kept between a small share of the break-even
//! length and all of it, so that a bad forecast stays bounded (clamp policy, arXiv 2603.29233).

use super::histogram::Histogram;
use crate::model::{Rate, Span};

/// Longest time a machine is kept idle for a build that may come, whatever that is worth.
pub const LONGEST_IDLE: Span = Span::from_secs(4 * 3_600);
/// Longest time as long as too few gaps are known: the first days should surprise nobody.
pub const LONGEST_UNTAUGHT: Span = Span::from_secs(3_600);
/// For a machine that costs nothing: it still takes up memory and a place under limits.
pub const LONGEST_FREE: Span = Span::from_secs(3_600);
/// At least so small a part of the break-even length is waited for. Where builds come too far apart for
/// any wait to pay, as most do when nobody's time counts, a tenth of it cost 9 % of all boots on the
/// made-up month (`dormouse simulate --generate month`), a fortieth 2 %, and this next to nothing. What
/// a wrong forecast costs at most is a boot for each build, and an hour of other gaps teaches another.
const LEAST_PART: u64 = 400;

/// What is at stake when a machine stands idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stakes {
    /// How long the next build would wait without it.
    pub boot: Span,
    /// What an hour of that is worth.
    pub value_of_wait: Rate,
    /// What it costs.
    pub price: Rate,
}

impl Stakes {
    /// The time after which standing idle has cost as much as a boot.
    pub fn break_even(&self) -> Span {
        let price = u128::from(self.price.micros_per_hour());
        if price == 0 {
            return LONGEST_FREE;
        }
        let both = price + u128::from(self.value_of_wait.micros_per_hour());
        let micros = u128::from(self.boot.micros()) * both / price;
        Span::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)).min(LONGEST_IDLE)
    }
}

/// How long a machine may stand idle, and how that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleChoice {
    /// So long.
    pub timeout: Span,
    /// The break-even length, which it never exceeds.
    pub break_even: Span,
    /// Gaps that it was learnt from; none while they are too few.
    pub learnt_from: Option<u64>,
}

/// Chooses for a machine that becomes idle, of which `gaps` are known if there are enough of them.
pub fn choose_timeout(stakes: &Stakes, gaps: Option<&Histogram>) -> IdleChoice {
    let break_even = stakes.break_even();
    let learnt = gaps.map(|gaps| {
        let least = Span::from_micros(break_even.micros() / LEAST_PART);
        cheapest(gaps, break_even).clamp(least, break_even)
    });
    IdleChoice {
        timeout: learnt.unwrap_or(break_even.min(LONGEST_UNTAUGHT)),
        break_even,
        learnt_from: gaps.map(Histogram::samples),
    }
}

/// The timeout up to `break_even` that costs least over the known gaps; of equal ones the shortest.
///
/// A gap up to the timeout costs itself, a longer one the timeout and a boot.
fn cheapest(gaps: &Histogram, break_even: Span) -> Span {
    let boot = u128::from(break_even.micros());
    let mut longer: u128 = gaps.buckets().map(|(weight, ..)| u128::from(weight)).sum();
    let mut waited: u128 = 0;
    let mut best = (longer * boot, Span::ZERO);
    for (weight, middle, upper) in gaps.buckets() {
        let timeout = upper.min(break_even);
        if middle > break_even {
            break;
        }
        longer -= u128::from(weight);
        waited += u128::from(weight) * u128::from(middle.micros());
        let cost = waited + longer * (u128::from(timeout.micros()) + boot);
        best = best.min((cost, timeout));
    }
    best.1
}
