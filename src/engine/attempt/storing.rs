//! Brings an attempt's log into storage, and its end into the books in one transaction with the last
//! of the log.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::books::{Draft, MachineAfter, end_attempt};
use crate::logs::LogError;
use crate::model::{
    AttemptId, Change, Cursor, Extent, MachineId, MachineState, Outcome, StepRecord,
};
use crate::remote::Session;

use super::super::engine::{Engine, chain};
use super::{Driver, End};

/// A flush under way, up to its commit.
pub(super) type Storing = Pin<Box<dyn Future<Output = Result<Extent, NotStored>> + Send>>;

/// Why bytes did not become durable.
pub(super) enum NotStored {
    Log(LogError),
    Fault,
}

impl Driver {
    /// Begins a flush of all that is not stored, with the commit of its extent.
    pub(super) fn store(&mut self) {
        let Some(flush) = self.recorder.begin_flush() else {
            return;
        };
        let (engine, id) = (Arc::clone(&self.engine), self.attempt);
        let (consumed, steps) = (self.consumed, self.steps.clone());
        self.storing = Some(Box::pin(async move {
            let extent = flush.await.map_err(NotStored::Log)?;
            let written = engine.write_durably(|draft| {
                note_stored(draft, id, &extent, consumed, steps);
                Ok(())
            });
            written.await.map_err(|_| NotStored::Fault)?;
            Ok(extent)
        }));
    }

    pub(super) fn stored(&mut self, stored: Result<Extent, NotStored>) -> Option<End> {
        self.storing = None;
        match stored {
            Ok(extent) => {
                self.recorder.committed(&extent);
                None
            }
            Err(NotStored::Log(error)) => {
                let error = chain(&error);
                tracing::error!(attempt.id = %self.attempt, error, "log not stored, trying again");
                self.recorder.flush_failed(self.now());
                None
            }
            Err(NotStored::Fault) => Some(End::GivenUp),
        }
    }

    /// Stores the rest of the log and records the end in the same transaction.
    pub(super) async fn end(mut self, outcome: &Outcome, verdict: &str, after: MachineAfter) {
        let Some(last) = self.store_rest().await else {
            return;
        };
        let (id, steps, consumed) = (self.attempt, self.steps.clone(), self.consumed);
        let written = self.engine.write(|draft| {
            match &last {
                Some(extent) => note_stored(draft, id, extent, consumed, steps),
                None => {
                    draft.change_attempt(id, |attempt| {
                        attempt.steps = steps;
                        attempt.cursor = Cursor {
                            machine: consumed,
                            stored: attempt.cursor.stored,
                        };
                    });
                }
            }
            end_attempt(draft, id, outcome, verdict, after.clone())
        });
        let Ok(((), pending)) = written else { return };
        // The next decision may be made at once: its commit comes after this one.
        self.engine.nudge();
        if self.engine.durable(pending).await.is_err() {
            return;
        }
        if let Some(extent) = &last {
            self.recorder.committed(extent);
        }
        self.recorder.finish();
        leave(
            &self.engine,
            self.session,
            (self.attempt, self.machine),
            after,
        )
        .await;
    }

    /// Flushes until nothing is left; the last extent is not committed yet. `None` when the engine
    /// begins anew.
    pub(super) async fn store_rest(&mut self) -> Option<Option<Extent>> {
        loop {
            if let Some(storing) = self.storing.take() {
                let stored = storing.await;
                if self.stored(stored).is_some() {
                    return None;
                }
                continue;
            }
            let Some(flush) = self.recorder.begin_flush() else {
                return Some(None);
            };
            match flush.await {
                Ok(extent) => return Some(Some(extent)),
                Err(error) => {
                    let now = self.now();
                    let error = chain(&error);
                    tracing::error!(attempt.id = %self.attempt, error, "log not stored yet");
                    self.recorder.flush_failed(now);
                    let due = self.recorder.flush_at().unwrap_or(now);
                    self.engine.parts.clock.sleep(due.since(now)).await;
                }
            }
        }
    }
}

/// Tidies up on the machine, or ends it.
async fn leave(
    engine: &Arc<Engine>,
    session: Option<Arc<dyn Session>>,
    (attempt, machine): (AttemptId, MachineId),
    after: MachineAfter,
) {
    let is_ending = {
        let books = engine.books();
        let state = books.machines.get(&machine).map(|m| &m.state);
        matches!(state, Some(MachineState::Draining { .. }))
    };
    // Also if it was to end before, and has waited for this one.
    if is_ending {
        engine.end_machine_now(machine);
        return;
    }
    match after {
        // One that is to end goes on with its other builds first.
        MachineAfter::Idle | MachineAfter::Drain(_) => {
            let Some(session) = session else { return };
            let Err(error) = session.discard(attempt).await else {
                return;
            };
            let goes_on = {
                let books = engine.books();
                let machine = books.machines.get(&machine);
                machine.is_some_and(|machine| machine.state.endpoint().is_some())
            };
            // A machine that ends needs no tidying, and its end may have cut the session.
            if goes_on {
                tracing::warn!(attempt.id = %attempt, %error, "not tidied up");
            }
        }
        // Nothing ran on it.
        MachineAfter::Asleep => {}
    }
}

/// Records stored bytes and how far the machine's log was taken with them.
fn note_stored(
    draft: &mut Draft<'_>,
    id: AttemptId,
    extent: &Extent,
    consumed: u64,
    steps: Vec<StepRecord>,
) {
    let changed = draft.change_attempt(id, |attempt| {
        attempt.steps = steps;
        attempt.stored(extent, consumed);
    });
    if changed.is_some() {
        draft.record(Change::InsertExtent(extent.clone()));
    }
}

/// The end of the flush under way; never, when there is none.
pub(super) async fn settle(storing: &mut Option<Storing>) -> Result<Extent, NotStored> {
    match storing {
        Some(storing) => storing.await,
        None => std::future::pending().await,
    }
}
