//! The pauses between tries of outside calls: growing, with jitter, without an end of their own;
//! each caller has its own deadline.

use std::time::Duration;

use backoff::ExponentialBackoff;

/// Pauses of 100 ms and more, up to 5 s.
pub(super) fn backoff() -> ExponentialBackoff {
    ExponentialBackoff {
        initial_interval: Duration::from_millis(100),
        max_interval: Duration::from_secs(5),
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    }
}
