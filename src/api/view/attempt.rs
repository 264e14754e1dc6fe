//! Attempts: what became of each try of a build.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::{Attempt, AttemptId, AttemptState, MachineId, Outcome, StepRecord, Timestamp};

/// When a step ran, how it exited, and where its log lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepTimes {
    /// Its place among the build's steps, from 0.
    pub index: u32,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// Its exit code, once it ended.
    pub exit_code: Option<i32>,
    /// Offset of its first byte in the attempt's log.
    pub log_start: u64,
    /// Offset behind its last byte, once it ended.
    pub log_end: Option<u64>,
}

impl From<&StepRecord> for StepTimes {
    fn from(record: &StepRecord) -> Self {
        Self {
            index: record.index,
            started_at: record.started_at,
            ended_at: record.ended_at,
            exit_code: record.exit_code,
            log_start: record.log_start,
            log_end: record.log_end,
        }
    }
}

/// How an attempt ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// Its script ran to its end; `exit_code` tells how.
    Exited,
    /// It ran out of time.
    TimedOut,
    /// It was stopped on request.
    Canceled,
    /// The machine, the network or the provider failed under it; `reason` tells how.
    Infrastructure,
    /// The provider took the machine back; `reason` tells how.
    Interrupted,
    /// No machine was launched for it, which does not count as a try; `reason` tells why.
    NotLaunched,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutcomeView {
    /// In one word.
    pub kind: OutcomeKind,
    /// The script's exit code, if it exited.
    pub exit_code: Option<i32>,
    /// What failed under it, if something did.
    pub reason: Option<String>,
}

impl From<&Outcome> for OutcomeView {
    fn from(outcome: &Outcome) -> Self {
        let (kind, exit_code, reason) = match outcome {
            Outcome::Exited(code) => (OutcomeKind::Exited, Some(*code), None),
            Outcome::TimedOut => (OutcomeKind::TimedOut, None, None),
            Outcome::Canceled => (OutcomeKind::Canceled, None, None),
            Outcome::Infrastructure(reason) => {
                (OutcomeKind::Infrastructure, None, Some(reason.clone()))
            }
            Outcome::Interrupted(reason) => (OutcomeKind::Interrupted, None, Some(reason.clone())),
            Outcome::NotLaunched(reason) => (OutcomeKind::NotLaunched, None, Some(reason.clone())),
        };
        Self {
            kind,
            exit_code,
            reason,
        }
    }
}

/// One try of a build on a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttemptView {
    /// Its identity.
    #[schema(value_type = String, example = "att_01jd3x9k2v6q8w4e5r7t9y1s3h")]
    pub id: AttemptId,
    /// 1 for the first try; names it in `?attempt=`.
    pub number: u32,
    /// The machine it is bound to.
    #[schema(value_type = String)]
    pub machine: MachineId,
    /// `bound`, `running` or `finished`.
    pub state: String,
    /// When it was bound.
    #[schema(value_type = String, format = DateTime)]
    pub bound_at: Timestamp,
    /// When its first step began.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it was over.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// How it ended.
    pub outcome: Option<OutcomeView>,
    /// Bytes of its log at home.
    pub log_bytes: u64,
    /// Steps that have begun.
    pub steps: Vec<StepTimes>,
}

impl From<&Attempt> for AttemptView {
    fn from(attempt: &Attempt) -> Self {
        let (since, end) = match &attempt.state {
            AttemptState::Bound => (None, None),
            AttemptState::Running { since } => (Some(*since), None),
            AttemptState::Finished { outcome, at } => (None, Some((outcome, *at))),
        };
        Self {
            id: attempt.id,
            number: attempt.number,
            machine: attempt.machine,
            state: attempt.state.word().to_owned(),
            bound_at: attempt.bound_at,
            started_at: attempt.steps.first().map(|step| step.started_at).or(since),
            finished_at: end.map(|(_, at)| at),
            outcome: end.map(|(outcome, _)| outcome.into()),
            log_bytes: attempt.cursor.stored,
            steps: attempt.steps.iter().map(StepTimes::from).collect(),
        }
    }
}
