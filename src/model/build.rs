//! Pipelines and builds: what was submitted, and where each unit of work stands.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::{AttemptId, BuildId, MachineId, PipelineId};
use super::requirement::Requirements;
use super::time::{Span, Timestamp};
use super::transition::IllegalTransition;

/// What one submission expanded to. Immutable; its state is derived from its builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pipeline {
    /// Its identity.
    pub id: PipelineId,
    /// What the document called it.
    pub name: String,
    /// Whose work it is; costs are reported by it.
    pub project: String,
    /// Free labels for people and policies.
    pub labels: BTreeMap<String, String>,
    /// Higher runs first.
    pub priority: i32,
    /// When it was accepted.
    pub submitted_at: Timestamp,
    /// The name of the token that submitted it.
    pub submitted_by: String,
    /// The client's `Idempotency-Key`, with a hash of the document it came with.
    pub idempotency: Option<(String, String)>,
    /// How many builds it has.
    pub builds: u32,
}

/// One unit of work: the immutable spec, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Its identity.
    pub id: BuildId,
    /// What never changes after submission.
    pub spec: Arc<BuildSpec>,
    /// Where it stands.
    pub state: BuildState,
    /// Attempts begun so far.
    pub attempts: u32,
    /// Those of them that do not count against the spec's number: no machine was to be had.
    pub spared: u32,
    /// Set once somebody or something asked for its end.
    pub cancel: Option<Cancel>,
    /// Write counter for compare-and-set.
    pub rev: u64,
}

/// What a build is, fixed at submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildSpec {
    /// The pipeline it belongs to.
    pub pipeline: PipelineId,
    /// Unique in its pipeline, with the matrix values: `test (3.12, sqlite)`.
    pub name: String,
    /// From the pipeline.
    pub project: String,
    /// From the pipeline and the build.
    pub labels: BTreeMap<String, String>,
    /// Higher runs first.
    pub priority: i32,
    /// This combination of the matrix.
    pub matrix: BTreeMap<String, String>,
    /// What it needs of an image.
    pub requires: Requirements,
    /// The only image it may run on, by name.
    pub image: Option<String>,
    /// Only a machine that has run nothing yet will do.
    pub fresh: bool,
    /// How long after its submission it should be over: it is bought surer capacity as that nears.
    #[serde(default)]
    pub deadline: Option<Span>,
    /// Builds of the same pipeline that must succeed first.
    pub needs: Vec<BuildId>,
    /// What to run, in order.
    pub steps: Vec<Step>,
    /// Environment of every step.
    pub env: BTreeMap<String, String>,
    /// Longest time from its first step to its end.
    pub timeout: Span,
    /// Attempts that infrastructure failures may use up.
    pub max_attempts: u32,
    /// Log bytes kept; what follows is cut with a marker.
    pub log_limit_bytes: u64,
    /// When it was accepted.
    pub submitted_at: Timestamp,
}

/// One command of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Unique in its build.
    pub name: String,
    /// A POSIX shell script, run with `-e`.
    pub run: String,
    /// Environment of this step, over the build's.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Longest time it may take.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// Its failure does not fail the build.
    #[serde(default)]
    pub continue_on_error: bool,
    /// It runs after a failed step too.
    #[serde(default)]
    pub always: bool,
}

/// A wish to end a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// When it was asked.
    pub at: Timestamp,
    /// Who asked, and why.
    pub reason: String,
    /// What the build will end as: `Canceled`, `TimedOut` or `OverBudget`.
    pub result: BuildResult,
}

/// How a build ended. Exactly one, and it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildResult {
    /// Every step that counts exited 0.
    Success,
    /// A step that counts exited otherwise.
    Failure,
    /// Somebody asked for its end.
    Canceled,
    /// It or one of its steps ran out of time.
    TimedOut,
    /// Machines failed under it until its attempts were used up.
    InfraFailure,
    /// A build that it needs did not succeed.
    Skipped,
    /// A budget had no more for it.
    OverBudget,
}

impl BuildResult {
    /// The word for it, as in every output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Canceled => "canceled",
            Self::TimedOut => "timed_out",
            Self::InfraFailure => "infra_failure",
            Self::Skipped => "skipped",
            Self::OverBudget => "over_budget",
        }
    }
}

/// Where a build stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum BuildState {
    /// Builds that it needs have not finished.
    Waiting,
    /// It may run as soon as a machine can be had.
    Queued {
        /// When it got here.
        since: Timestamp,
        /// Not to be tried before: the wait after an infrastructure failure.
        not_before: Timestamp,
    },
    /// It has a machine, which may still be booting.
    Bound {
        /// The machine that will run it.
        machine: MachineId,
        /// The attempt that was begun for it.
        attempt: AttemptId,
        /// When it was bound.
        since: Timestamp,
    },
    /// Its steps run.
    Running {
        /// The machine that runs it.
        machine: MachineId,
        /// The attempt under way.
        attempt: AttemptId,
        /// When the first step began.
        since: Timestamp,
    },
    /// It has its result.
    Finished {
        /// How it ended.
        result: BuildResult,
        /// One sentence on why, for results other than success.
        reason: String,
        /// When its last attempt's first step began.
        started_at: Option<Timestamp>,
        /// When it ended.
        at: Timestamp,
    },
}

impl BuildState {
    /// The word for it, as in every output.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Queued { .. } => "queued",
            Self::Bound { .. } => "bound",
            Self::Running { .. } => "running",
            Self::Finished { .. } => "finished",
        }
    }

    /// The machine and attempt it is bound to, if it is.
    pub const fn binding(&self) -> Option<(MachineId, AttemptId)> {
        match self {
            Self::Bound {
                machine, attempt, ..
            }
            | Self::Running {
                machine, attempt, ..
            } => Some((*machine, *attempt)),
            Self::Waiting | Self::Queued { .. } | Self::Finished { .. } => None,
        }
    }

    /// How it ended, once it did.
    pub const fn result(&self) -> Option<BuildResult> {
        match self {
            Self::Finished { result, .. } => Some(*result),
            Self::Waiting | Self::Queued { .. } | Self::Bound { .. } | Self::Running { .. } => None,
        }
    }

    /// Whether it has its result.
    pub const fn is_finished(&self) -> bool {
        matches!(self, Self::Finished { .. })
    }
}

impl Build {
    /// Moves the build to `next`, counting the write.
    ///
    /// # Errors
    /// [`IllegalTransition`] when the build cannot go there from its present state: a result never
    /// changes, only a queued build is bound, and one that is bound moves with its attempt.
    pub fn enter(&mut self, next: BuildState) -> Result<(), IllegalTransition> {
        use BuildState::{Bound, Finished, Queued, Running, Waiting};
        let legal = match (&self.state, &next) {
            (Waiting | Bound { .. } | Running { .. }, Queued { .. })
            | (Queued { .. }, Bound { .. })
            | (Waiting | Queued { .. } | Bound { .. } | Running { .. }, Finished { .. }) => true,
            (Bound { attempt: bound, .. }, Running { attempt, .. }) => bound == attempt,
            (
                Bound {
                    attempt: bound,
                    machine: from,
                    ..
                },
                Bound {
                    attempt, machine, ..
                },
            ) => bound == attempt && from != machine,
            _ => false,
        };
        if !legal {
            return Err(IllegalTransition {
                subject: self.id.to_string(),
                from: self.state.word(),
                to: next.word(),
            });
        }
        if matches!(next, Bound { .. }) && !matches!(self.state, Bound { .. }) {
            self.attempts += 1;
        }
        self.state = next;
        self.rev += 1;
        Ok(())
    }

    /// Records the wish to end it; the first wish stands.
    pub fn ask_cancel(&mut self, cancel: Cancel) {
        if self.cancel.is_none() {
            self.cancel = Some(cancel);
            self.rev += 1;
        }
    }
}
