//! One row per state change, for people, `dormouse events` and streams.

use serde::{Deserialize, Serialize};

use super::change::Subject;
use super::time::Timestamp;

/// Something that happened. The store numbers events in commit order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it was decided.
    pub at: Timestamp,
    /// What it happened to.
    pub subject: Subject,
    /// What happened.
    pub kind: EventKind,
    /// One sentence for people; holds no secret.
    pub message: String,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A pipeline was accepted.
    PipelineSubmitted,
    /// A build became ready to run, at first or again.
    BuildQueued,
    /// A build got a machine.
    BuildBound,
    /// A build got another machine, for that one was up before the first.
    BuildMoved,
    /// A build's first step began.
    BuildStarted,
    /// An end was asked for.
    BuildCancelAsked,
    /// A build got its result.
    BuildFinished,
    /// A launch was decided.
    MachineIntended,
    /// The provider accepted the launch.
    MachineLaunched,
    /// A machine can take builds.
    MachineReady,
    /// A machine will be ended.
    MachineDraining,
    /// A machine is proved gone.
    MachineGone,
    /// A machine was found again after a restart.
    MachineAdopted,
    /// Something about a machine that a person may want to know.
    MachineNote,
    /// An image version became current, or was removed.
    ImageApplied,
    /// Something about an image that a person may want to know.
    ImageNote,
    /// A policy version became current.
    PolicyApplied,
    /// Much of a budget is spent.
    BudgetWarned,
    /// Somebody approved more than a budget's amount.
    BudgetApproved,
}

impl EventKind {
    /// The word for it, as in every output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::PipelineSubmitted => "pipeline_submitted",
            Self::BuildQueued => "build_queued",
            Self::BuildBound => "build_bound",
            Self::BuildMoved => "build_moved",
            Self::BuildStarted => "build_started",
            Self::BuildCancelAsked => "build_cancel_asked",
            Self::BuildFinished => "build_finished",
            Self::MachineIntended => "machine_intended",
            Self::MachineLaunched => "machine_launched",
            Self::MachineReady => "machine_ready",
            Self::MachineDraining => "machine_draining",
            Self::MachineGone => "machine_gone",
            Self::MachineAdopted => "machine_adopted",
            Self::MachineNote => "machine_note",
            Self::ImageApplied => "image_applied",
            Self::ImageNote => "image_note",
            Self::PolicyApplied => "policy_applied",
            Self::BudgetWarned => "budget_warned",
            Self::BudgetApproved => "budget_approved",
        }
    }
}
