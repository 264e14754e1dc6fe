//! What happens when: a queue by time, and by order of entry within an instant.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::books::Approval;
use crate::model::{AttemptId, LaunchId, MachineId, Offering, Timestamp};

use super::cloud::InstanceNumber;

/// Something that happens at an instant.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// The disturbance at this place of the scenario.
    Disturb(usize),
    /// An instance is announced to be taken back.
    Notice(InstanceNumber),
    /// An instance is taken back, or fails.
    Taken(InstanceNumber, Taken),
    /// The orchestrator starts again.
    Start,
    /// Somebody approves more of a budget.
    Approve(Box<Approval>),
    /// A task of the orchestrator comes due; those of one that was killed since are lost.
    Task(u32, Task),
}

/// Why an instance is taken from us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Its provider wants its capacity back.
    Reclaimed,
    /// It failed.
    Failed,
    /// It ended while it booted.
    Unbootable,
}

/// What the orchestrator has to do or to look at.
#[derive(Debug, Clone)]
pub(super) enum Task {
    /// Record a launch of machines that were gathered.
    Record(Box<Gathered>),
    /// Send a recorded launch, or send it again.
    Send(LaunchId),
    /// Launch a machine by itself.
    Launch(MachineId),
    /// Wake a machine.
    Wake(MachineId),
    /// See whether a machine is up.
    LookUp(MachineId),
    /// Begin an attempt.
    Begin(AttemptId),
    /// See whether an attempt is over.
    LookOver(AttemptId),
    /// See whether an attempt has stopped that was asked to.
    Stopped(AttemptId),
    /// Learn that nothing is left of an attempt, or what is.
    Tidy(MachineId, AttemptId),
    /// Give up on learning that.
    NotTidied(MachineId, AttemptId),
    /// See whether a machine is asleep.
    LookAsleep(MachineId),
    /// End a machine, or see whether it is gone.
    End(MachineId),
    /// Hear of a notice.
    Hear(InstanceNumber),
    /// Compare what the cloud lists with the books.
    Sweep,
    /// Find out where images can be launched.
    Resolve,
}

/// Like machines that wait to be launched together.
#[derive(Debug, Clone)]
pub(super) struct Gathered {
    /// The image, by name.
    pub(super) image: String,
    /// Its version.
    pub(super) version: u32,
    /// Where they may be taken from.
    pub(super) offerings: Vec<Offering>,
    /// The machines.
    pub(super) machines: Vec<MachineId>,
}

/// Events to come.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    entered: u64,
}

#[derive(Debug)]
struct Entry {
    at: Timestamp,
    entered: u64,
    event: Event,
}

impl Queue {
    /// Enters an event.
    pub(super) fn enter(&mut self, at: Timestamp, event: Event) {
        self.entered += 1;
        let entered = self.entered;
        self.heap.push(Reverse(Entry { at, entered, event }));
    }

    /// When the next event is due.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// The next event that is due at `at`.
    pub(super) fn due(&mut self, at: Timestamp) -> Option<Event> {
        if self.next()? > at {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry.event)
    }
}

impl Entry {
    const fn key(&self) -> (Timestamp, u64) {
        (self.at, self.entered)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}
