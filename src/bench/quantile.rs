//! Quantiles of measured times.

use std::time::Duration;

use serde_json::{Value, json};

/// p50, p90, p99 and the maximum, in milliseconds with three decimals (nearest rank).
pub(super) fn summary(mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    json!({
        "count": times.len(),
        "p50_ms": at(&times, 50),
        "p90_ms": at(&times, 90),
        "p99_ms": at(&times, 99),
        "max_ms": at(&times, 100),
    })
}

fn at(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map_or(0.0, |time| millis(*time))
}

/// A time in milliseconds, to the microsecond.
pub(super) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
