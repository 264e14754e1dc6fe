//! Polls that callers share: however many ask, one is under way, and none gets an answer whose
//! question was put before it asked.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// Shares polls for a `T`.
#[derive(Debug)]
pub(super) struct Polls<T> {
    /// Least time from the beginning of one to the beginning of the next.
    distance: Duration,
    /// How many have begun.
    begun: AtomicU64,
    last: Mutex<Last<T>>,
}

#[derive(Debug)]
struct Last<T> {
    /// Which one it was, counted from 1.
    number: u64,
    begun_at: Option<Instant>,
    answer: Option<T>,
}

impl<T: Clone> Polls<T> {
    /// Nothing polled yet.
    pub(super) fn new(distance: Duration) -> Self {
        Self {
            distance,
            begun: AtomicU64::new(0),
            last: Mutex::new(Last {
                number: 0,
                begun_at: None,
                answer: None,
            }),
        }
    }

    /// The answer of a poll that begins after this call.
    pub(super) async fn after_now<F>(&self, poll: impl FnOnce() -> F) -> T
    where
        F: Future<Output = T>,
    {
        let wanted = self.begun.load(Ordering::SeqCst) + 1;
        // Whoever comes to hold this polls for all who wait; when it is dropped, the next one does.
        let mut last = self.last.lock().await;
        if last.number >= wanted
            && let Some(answer) = &last.answer
        {
            return answer.clone();
        }
        if let Some(begun_at) = last.begun_at {
            sleep_until(begun_at + self.distance).await;
        }
        last.begun_at = Some(Instant::now());
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let answer = poll().await;
        last.number = number;
        last.answer = Some(answer.clone());
        answer
    }
}

#[cfg(test)]
#[path = "tests/polls.rs"]
mod tests;
