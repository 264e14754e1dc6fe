//! One appended money record.

use serde::{Deserialize, Serialize};

use super::id::{AttemptId, BuildId, MachineId, PipelineId};
use super::money::Money;
use super::time::Timestamp;

/// Money spent on a machine over a stretch of time, attributed. Never changed: a correction is a
/// new entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The machine that was paid for.
    pub machine: MachineId,
    /// The image it was launched from.
    pub image: String,
    /// The build that caused it; none for overhead.
    pub build: Option<BuildId>,
    /// The attempt that caused it.
    pub attempt: Option<AttemptId>,
    /// The build's pipeline.
    pub pipeline: Option<PipelineId>,
    /// The build's project.
    pub project: Option<String>,
    /// What the money was for.
    pub category: Category,
    /// Begin of the stretch.
    pub from: Timestamp,
    /// End of the stretch.
    pub to: Timestamp,
    /// How much.
    pub amount: Money,
}

/// What money was spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// From launch to readiness.
    Boot,
    /// A build's attempt that gave the result.
    Work,
    /// A build's attempt that infrastructure ended.
    Retry,
    /// Ready without work.
    Idle,
    /// From the decision to end it to the proof that it is gone.
    Drain,
}

impl Category {
    /// The word for it, as in every output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::Work => "work",
            Self::Retry => "retry",
            Self::Idle => "idle",
            Self::Drain => "drain",
        }
    }
}
