//! Commits in the order in which they were decided, without waiting for one before deciding the
//! next.
//!
//! The books are changed under a lock and the commit is begun under the same lock; the store applies
//! commits in the order in which they were begun. A caller that must not act before its decision is
//! durable waits for the [`Pending`] commit. When a commit fails, the books are ahead of the store:
//! the engine stops, loads its state anew and goes on, as after a restart.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::sync::mpsc;

use crate::model::Change;
use crate::store::{Store, StoreError};

/// A commit under way.
#[must_use = "a commit must be awaited, or left to the journal"]
pub(super) struct Pending {
    state: State,
}

enum State {
    Done(Result<(), StoreError>),
    Running(Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>),
}

/// Begins a commit: when this returns, its place in the order is taken.
pub(super) fn begin(store: &Arc<dyn Store>, changes: Vec<Change>) -> Pending {
    if changes.is_empty() {
        return Pending {
            state: State::Done(Ok(())),
        };
    }
    let store = Arc::clone(store);
    let mut commit = Box::pin(async move { store.commit(changes).await });
    // The store takes its place in the order at the first poll; the real waker comes later.
    let state = match commit
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(result) => State::Done(result),
        Poll::Pending => State::Running(commit),
    };
    Pending { state }
}

impl Future for Pending {
    type Output = Result<(), StoreError>;

    /// Ready when the commit is durable, or failed.
    fn poll(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            State::Done(result) => Poll::Ready(result.clone()),
            State::Running(commit) => commit.as_mut().poll(ctx),
        }
    }
}

/// Waits for a commit; whoever stops waiting leaves it to the watch, so that its failure is noticed
/// even so.
pub(super) struct Waiting {
    watch: Watch,
    pending: Option<Pending>,
}

impl Waiting {
    pub(super) const fn new(watch: Watch, pending: Pending) -> Self {
        Self {
            watch,
            pending: Some(pending),
        }
    }

    /// Returns when the commit is durable, or failed.
    pub(super) async fn durable(mut self) -> Result<(), StoreError> {
        let Some(pending) = &mut self.pending else {
            return Ok(());
        };
        let result = pending.await;
        self.pending = None;
        result
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(pending) = self.pending.take() {
            self.watch.leave(pending);
        }
    }
}

/// Watches commits that nobody waits for; the first failure is reported.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    sender: mpsc::UnboundedSender<Pending>,
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending")
    }
}

impl Watch {
    /// A watch, and the task that does its work: it ends with the first failed commit, or with
    /// `Ok` when all watches are gone.
    ///
    /// The channel has no bound of its own: what is in it is bounded by the commits that the store
    /// has taken.
    pub(super) fn new() -> (Self, impl Future<Output = Result<(), StoreError>> + Send) {
        let (sender, mut receiver) = mpsc::unbounded_channel::<Pending>();
        let work = async move {
            while let Some(pending) = receiver.recv().await {
                pending.await?;
            }
            Ok(())
        };
        (Self { sender }, work)
    }

    /// Leaves a commit to the watch.
    pub(super) fn leave(&self, pending: Pending) {
        // The receiver is gone only when the engine is stopping and loads its state anew anyway.
        let _ = self.sender.send(pending);
    }
}
