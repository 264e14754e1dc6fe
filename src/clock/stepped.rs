//! A clock that stands still until it is told to move: for simulations and tests.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;

use super::Clock;
use crate::model::{Span, Timestamp};

/// A clock whose time moves only by [`SteppedClock::advance`]. Clones show the same time.
#[derive(Debug, Clone)]
pub struct SteppedClock {
    hands: Arc<Mutex<Hands>>,
}

#[derive(Debug)]
struct Hands {
    now: Timestamp,
    /// Who waits until when. The number keeps sleepers of one moment in the order in which they came.
    sleepers: BTreeMap<(Timestamp, u64), Waker>,
    sleepers_so_far: u64,
}

impl SteppedClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self {
            hands: Arc::new(Mutex::new(Hands {
                now,
                sleepers: BTreeMap::new(),
                sleepers_so_far: 0,
            })),
        }
    }

    /// When the next sleeper wakes, if anybody sleeps.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let hands = self.hands();
        hands.sleepers.keys().next().map(|(at, _)| *at)
    }

    /// Moves the time by `span` and wakes everybody whose time has come, the earliest first.
    pub fn advance(&self, span: Span) {
        let target = self.now() + span;
        self.advance_to(target);
    }

    /// Moves the time to `target`, never back, and wakes everybody whose time has come, the
    /// earliest first.
    pub fn advance_to(&self, target: Timestamp) {
        let due = {
            let mut hands = self.hands();
            let now = hands.now.max(target);
            hands.now = now;
            let later = hands.sleepers.split_off(&(now, u64::MAX));
            std::mem::replace(&mut hands.sleepers, later)
        };
        for waker in due.into_values() {
            waker.wake();
        }
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Clock for SteppedClock {
    fn now(&self) -> Timestamp {
        self.hands().now
    }

    async fn sleep(&self, span: Span) {
        let until = self.now() + span;
        Sleep {
            clock: self,
            until,
            place: None,
        }
        .await;
    }
}

/// Waits until the clock shows `until`.
struct Sleep<'a> {
    clock: &'a SteppedClock,
    until: Timestamp,
    place: Option<(Timestamp, u64)>,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock;
        let mut hands = clock.hands();
        if hands.now >= self.until {
            return Poll::Ready(());
        }
        let place = self.place.unwrap_or_else(|| {
            hands.sleepers_so_far += 1;
            (self.until, hands.sleepers_so_far)
        });
        hands.sleepers.insert(place, ctx.waker().clone());
        drop(hands);
        self.place = Some(place);
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.clock.hands().sleepers.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;

    /// Notes in a shared list that it was woken.
    struct Noted(u64, Arc<Mutex<Vec<u64>>>);

    impl Wake for Noted {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    #[test]
    fn sleepers_wake_in_the_order_of_their_times() {
        let clock = SteppedClock::new(Timestamp::from_micros(0));
        let woken = Arc::new(Mutex::new(Vec::new()));
        let mut sleeps: Vec<_> = [3_u64, 1, 2, 9]
            .map(|secs| (secs, clock.sleep(Span::from_secs(secs))))
            .into();
        for (secs, sleep) in &mut sleeps {
            let waker = Waker::from(Arc::new(Noted(*secs, Arc::clone(&woken))));
            let polled = sleep.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        assert_eq!(clock.next_wake(), Some(Timestamp::from_micros(1_000_000)));
        clock.advance(Span::from_secs(5));
        assert_eq!(*woken.lock().unwrap(), [1, 2, 3]);
        assert_eq!(clock.next_wake(), Some(Timestamp::from_micros(9_000_000)));
    }

    #[test]
    fn a_sleep_that_is_dropped_leaves_nothing_behind() {
        let clock = SteppedClock::new(Timestamp::from_micros(0));
        let mut sleep = clock.sleep(Span::from_secs(1));
        let mut ctx = Context::from_waker(Waker::noop());
        assert!(sleep.as_mut().poll(&mut ctx).is_pending());
        assert!(clock.next_wake().is_some());
        drop(sleep);
        assert_eq!(clock.next_wake(), None);
    }

    #[test]
    fn no_time_to_sleep_is_no_sleep() {
        let clock = SteppedClock::new(Timestamp::from_micros(7));
        let mut ctx = Context::from_waker(Waker::noop());
        assert!(clock.sleep(Span::ZERO).as_mut().poll(&mut ctx).is_ready());
    }
}
