//! One try of a build on a machine.

use serde::{Deserialize, Serialize};

use super::id::{AttemptId, BuildId, MachineId};
use super::log::Extent;
use super::time::Timestamp;
use super::transition::IllegalTransition;

/// One try of a build on a machine: its steps, and how far its log has come home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its identity; also names its directory on the machine.
    pub id: AttemptId,
    /// The build it tries.
    pub build: BuildId,
    /// 1 for the first try.
    pub number: u32,
    /// The machine it is bound to.
    pub machine: MachineId,
    /// When it was bound.
    pub bound_at: Timestamp,
    /// Where it stands.
    pub state: AttemptState,
    /// Steps that have begun, in order.
    pub steps: Vec<StepRecord>,
    /// How far its log has come home.
    pub cursor: Cursor,
    /// Write counter for compare-and-set.
    pub rev: u64,
}

/// Where an attempt stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum AttemptState {
    /// Not known to have begun on the machine.
    Bound,
    /// The machine said that it runs.
    Running {
        /// When we heard of it.
        since: Timestamp,
    },
    /// It is over, and its log is home as far as it can be had.
    Finished {
        /// How it ended.
        outcome: Outcome,
        /// When we recorded it.
        at: Timestamp,
    },
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its script ran to its end with this exit code; 0 is success.
    Exited(i32),
    /// It ran out of time.
    TimedOut,
    /// It was stopped on request.
    Canceled,
    /// The machine, the network or the provider failed under it, for this reason.
    Infrastructure(String),
    /// The provider took the machine back, for this reason.
    Interrupted(String),
    /// No machine was launched for it, for this reason; it does not count as a try.
    NotLaunched(String),
}

/// A step that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Its place among the build's steps, from 0.
    pub index: u32,
    /// When its begin marker came home.
    pub started_at: Timestamp,
    /// When its end marker came home.
    pub ended_at: Option<Timestamp>,
    /// Its exit code, once it ended.
    pub exit_code: Option<i32>,
    /// Offset of its first log byte at home.
    pub log_start: u64,
    /// Offset behind its last log byte at home, once it ended.
    pub log_end: Option<u64>,
}

/// How far an attempt's log has come home: both counts move in the transaction that records the
/// extent of the stored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cursor {
    /// Bytes of the log file on the machine that have been taken, step markers included.
    pub machine: u64,
    /// Bytes stored at home, without markers.
    pub stored: u64,
}

impl AttemptState {
    /// The word for it, as in every output.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Running { .. } => "running",
            Self::Finished { .. } => "finished",
        }
    }
}

impl Attempt {
    /// Moves the attempt to `next`, counting the write.
    ///
    /// # Errors
    /// [`IllegalTransition`] when it is finished already, or would step back.
    pub fn enter(&mut self, next: AttemptState) -> Result<(), IllegalTransition> {
        use AttemptState::{Bound, Finished, Running};
        let legal = matches!(
            (&self.state, &next),
            (Bound, Running { .. }) | (Bound | Running { .. }, Finished { .. })
        );
        if !legal {
            return Err(IllegalTransition {
                subject: self.id.to_string(),
                from: self.state.word(),
                to: next.word(),
            });
        }
        self.state = next;
        self.rev += 1;
        Ok(())
    }

    /// Takes note of the steps that have begun.
    pub fn note_steps(&mut self, steps: Vec<StepRecord>) {
        self.steps = steps;
        self.rev += 1;
    }

    /// Takes note of stored log bytes: the cursor moves to the end of `extent`, of which the
    /// machine's log file holds the last byte before `machine`.
    pub fn stored(&mut self, extent: &Extent, machine: u64) {
        self.cursor = Cursor {
            machine,
            stored: extent.start + extent.len,
        };
        self.rev += 1;
    }
}
