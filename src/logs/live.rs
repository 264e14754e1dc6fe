//! Logs that are being recorded right now: where followers find what is not stored yet.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::model::AttemptId;

use super::reader::Chunk;
use super::tail::Tail;

/// The log of one attempt, shared by its recorder and its readers.
#[derive(Debug)]
pub(super) struct Live {
    recording: Mutex<Recording>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Recording {
    tail: Tail,
    phase: Phase,
}

/// Whether more comes from a recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// More may come.
    Open,
    /// The log is complete.
    Finished,
    /// The recorder is gone, but the log is not complete: another recorder takes over, from the
    /// first byte that is not stored.
    Abandoned,
}

/// What a reader finds at an offset.
#[derive(Debug)]
pub(super) enum Look {
    /// These bytes.
    Bytes(Chunk),
    /// Bytes that are in storage, as are all before `until`.
    Stored {
        /// Where the tail begins.
        until: u64,
    },
    /// Nothing: the log does not go so far.
    End(Phase),
}

impl Live {
    pub(super) fn new(stored: u64) -> Self {
        Self {
            recording: Mutex::new(Recording {
                tail: Tail::new(stored),
                phase: Phase::Open,
            }),
            changed: watch::Sender::new(()),
        }
    }

    /// Lets the recorder work on the tail, then wakes the followers.
    pub(super) fn change<T>(&self, work: impl FnOnce(&mut Tail) -> T) -> T {
        let result = work(&mut self.lock().tail);
        self.changed.send_replace(());
        result
    }

    /// Asks something about the tail.
    pub(super) fn ask<T>(&self, question: impl FnOnce(&Tail) -> T) -> T {
        question(&self.lock().tail)
    }

    /// Ends the recording, the first time it is called; wakes the followers.
    pub(super) fn end(&self, phase: Phase) {
        {
            let mut recording = self.lock();
            match recording.phase {
                Phase::Open => recording.phase = phase,
                Phase::Finished | Phase::Abandoned => {}
            }
        }
        self.changed.send_replace(());
    }

    /// What there is at `offset`, of the bytes before `to`.
    pub(super) fn look(&self, offset: u64, to: u64) -> Look {
        let recording = self.lock();
        if offset < recording.tail.start() {
            return Look::Stored {
                until: recording.tail.start(),
            };
        }
        match (recording.phase, recording.tail.read(offset, to)) {
            // What an abandoned tail holds may never be stored; the next recorder brings it again.
            (Phase::Abandoned, _) => Look::End(Phase::Abandoned),
            (Phase::Open | Phase::Finished, Some(chunk)) => Look::Bytes(chunk),
            (phase @ (Phase::Open | Phase::Finished), None) => Look::End(phase),
        }
    }

    /// Tells when [`look`](Self::look) may give something else.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Recording> {
        self.recording
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// All logs that are being recorded, and how much memory they hold together.
#[derive(Debug)]
pub(super) struct Registry {
    live: Mutex<BTreeMap<AttemptId, Arc<Live>>>,
    arrived: watch::Sender<()>,
    held: AtomicU64,
}

impl Registry {
    pub(super) fn new() -> Self {
        Self {
            live: Mutex::default(),
            arrived: watch::Sender::new(()),
            held: AtomicU64::new(0),
        }
    }

    /// Enters a log that is being recorded from now on, instead of an earlier recording of it.
    pub(super) fn enter(&self, attempt: AttemptId, live: Arc<Live>) {
        let former = self.lock().insert(attempt, live);
        if let Some(former) = former {
            former.end(Phase::Abandoned);
        }
        self.arrived.send_replace(());
    }

    /// Takes a log out, unless another recording has taken its place.
    pub(super) fn leave(&self, attempt: AttemptId, live: &Arc<Live>) {
        let mut all = self.lock();
        if all
            .get(&attempt)
            .is_some_and(|present| Arc::ptr_eq(present, live))
        {
            all.remove(&attempt);
        }
    }

    /// The log of this attempt, if it is being recorded.
    pub(super) fn get(&self, attempt: AttemptId) -> Option<Arc<Live>> {
        self.lock().get(&attempt).cloned()
    }

    /// Tells when [`get`](Self::get) may find something that was not there before.
    pub(super) fn arrivals(&self) -> watch::Receiver<()> {
        self.arrived.subscribe()
    }

    /// Bytes that all recorders together hold in memory.
    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    pub(super) fn hold(&self, bytes: u64) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn let_go(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<AttemptId, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
