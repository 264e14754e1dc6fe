//! Knows when nothing more happens at the present moment.
//!
//! All tasks of a world run on one current-thread runtime, which parks its thread only when no task
//! is ready. If then no call to the store and no log pack is under way, nothing can happen before
//! the clock moves: that is quiet, exactly, without waiting for any length of time.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

/// Shared by the runtime's hook, the watched store and whoever waits.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    under_way: AtomicI64,
    reached_it: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

/// Something under way outside of the runtime's thread, until dropped.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Quiet>);

impl Quiet {
    /// Notes that something is under way.
    pub(crate) fn begin(self: &Arc<Self>) -> UnderWay {
        self.shift(1);
        UnderWay(Arc::clone(self))
    }

    /// Notes that `by` more things are under way; fewer, when it is negative.
    pub(crate) fn shift(&self, by: i64) {
        self.under_way.fetch_add(by, Ordering::SeqCst);
    }

    /// To be called whenever the runtime has no task that is ready.
    pub(crate) fn parked(&self) {
        if self.under_way.load(Ordering::SeqCst) != 0 {
            return;
        }
        if let Some(waker) = self.waiting.lock().unwrap().take() {
            self.reached_it.store(true, Ordering::SeqCst);
            waker.wake();
        }
    }

    /// Returns when it is quiet.
    pub(crate) async fn reached(&self) {
        self.reached_it.store(false, Ordering::SeqCst);
        poll_fn(|ctx| {
            if self.reached_it.swap(false, Ordering::SeqCst) {
                return Poll::Ready(());
            }
            *self.waiting.lock().unwrap() = Some(ctx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.shift(-1);
    }
}
