//! Builds and their steps.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::attempt::{AttemptView, StepTimes};
use super::cost::CostRowView;
use super::requires::requirement_texts;
use crate::model::{
    Attempt, Build, BuildId, BuildResult, BuildState, Cancel, MachineId, PipelineId, Span, Step,
    StepRecord, Timestamp,
};
use crate::store::CostRow;

/// Where a build stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BuildStateWord {
    /// Builds that it needs have not finished.
    Waiting,
    /// It may run as soon as a machine can be had.
    Queued,
    /// It has a machine, which may still be booting.
    Bound,
    /// Its steps run.
    Running,
    /// It has its result.
    Finished,
}

impl BuildStateWord {
    /// The word for it, as in every output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Queued => "queued",
            Self::Bound => "bound",
            Self::Running => "running",
            Self::Finished => "finished",
        }
    }
}

impl From<&BuildState> for BuildStateWord {
    fn from(state: &BuildState) -> Self {
        match state {
            BuildState::Waiting => Self::Waiting,
            BuildState::Queued { .. } => Self::Queued,
            BuildState::Bound { .. } => Self::Bound,
            BuildState::Running { .. } => Self::Running,
            BuildState::Finished { .. } => Self::Finished,
        }
    }
}

/// How a build ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResultWord {
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

impl ResultWord {
    /// The order in which one result speaks for many: what a person must look at comes first, and
    /// a skipped build is only ever the consequence of another.
    pub const WORST_FIRST: [Self; 7] = [
        Self::InfraFailure,
        Self::Failure,
        Self::OverBudget,
        Self::TimedOut,
        Self::Canceled,
        Self::Skipped,
        Self::Success,
    ];

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

impl From<BuildResult> for ResultWord {
    fn from(result: BuildResult) -> Self {
        match result {
            BuildResult::Success => Self::Success,
            BuildResult::Failure => Self::Failure,
            BuildResult::Canceled => Self::Canceled,
            BuildResult::TimedOut => Self::TimedOut,
            BuildResult::InfraFailure => Self::InfraFailure,
            BuildResult::Skipped => Self::Skipped,
            BuildResult::OverBudget => Self::OverBudget,
        }
    }
}

impl From<ResultWord> for BuildResult {
    fn from(word: ResultWord) -> Self {
        match word {
            ResultWord::Success => Self::Success,
            ResultWord::Failure => Self::Failure,
            ResultWord::Canceled => Self::Canceled,
            ResultWord::TimedOut => Self::TimedOut,
            ResultWord::InfraFailure => Self::InfraFailure,
            ResultWord::Skipped => Self::Skipped,
            ResultWord::OverBudget => Self::OverBudget,
        }
    }
}

/// A build, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BuildSummary {
    /// Its identity.
    #[schema(value_type = String, example = "bld_01jd3x9k2v6q8w4e5r7t9y1s3h")]
    pub id: BuildId,
    /// The pipeline it belongs to.
    #[schema(value_type = String, example = "pl_01jd3x9k2v6q8w4e5r7t9y1s3h")]
    pub pipeline: PipelineId,
    /// Unique in its pipeline, with the matrix values.
    #[schema(example = "test (3.12, sqlite)")]
    pub name: String,
    /// Whose work it is.
    pub project: String,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// This combination of the matrix.
    pub matrix: BTreeMap<String, String>,
    /// Higher runs first.
    pub priority: i32,
    /// Where it stands.
    pub state: BuildStateWord,
    /// When it got there; for a waiting build, when it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// How it ended.
    pub result: Option<ResultWord>,
    /// One sentence on why, for results other than success.
    pub reason: Option<String>,
    /// Attempts begun so far.
    pub attempts: u32,
    /// The machine that it is bound to or runs on.
    #[schema(value_type = Option<String>)]
    pub machine: Option<MachineId>,
    /// Whether somebody or something asked for its end.
    pub cancel_asked: bool,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub submitted_at: Timestamp,
    /// When the first step of its last attempt began.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}

/// What a build's state says, state by state.
struct Standing {
    since: Timestamp,
    started_at: Option<Timestamp>,
    end: Option<(BuildResult, String, Timestamp)>,
}

impl Standing {
    fn of(build: &Build) -> Self {
        let open = |since, started_at| Self {
            since,
            started_at,
            end: None,
        };
        match &build.state {
            BuildState::Waiting => open(build.spec.submitted_at, None),
            BuildState::Queued { since, .. } | BuildState::Bound { since, .. } => {
                open(*since, None)
            }
            BuildState::Running { since, .. } => open(*since, Some(*since)),
            BuildState::Finished {
                result,
                reason,
                started_at,
                at,
            } => Self {
                since: *at,
                started_at: *started_at,
                end: Some((*result, reason.clone(), *at)),
            },
        }
    }
}

impl From<&Build> for BuildSummary {
    fn from(build: &Build) -> Self {
        let standing = Standing::of(build);
        let (result, reason, finished_at) = match standing.end {
            Some((result, reason, at)) => (
                Some(result.into()),
                Some(reason).filter(|text| !text.is_empty()),
                Some(at),
            ),
            None => (None, None, None),
        };
        let spec = &build.spec;
        Self {
            id: build.id,
            pipeline: spec.pipeline,
            name: spec.name.clone(),
            project: spec.project.clone(),
            labels: spec.labels.clone(),
            matrix: spec.matrix.clone(),
            priority: spec.priority,
            state: BuildStateWord::from(&build.state),
            since: standing.since,
            result,
            reason,
            attempts: build.attempts,
            machine: build.state.binding().map(|(machine, _)| machine),
            cancel_asked: build.cancel.is_some(),
            submitted_at: spec.submitted_at,
            started_at: standing.started_at,
            finished_at,
        }
    }
}

/// A wish to end a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CancelView {
    /// When it was asked.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who asked, and why.
    pub reason: String,
    /// What the build will end as.
    pub result: ResultWord,
}

impl From<&Cancel> for CancelView {
    fn from(cancel: &Cancel) -> Self {
        Self {
            at: cancel.at,
            reason: cancel.reason.clone(),
            result: cancel.result.into(),
        }
    }
}

/// Everything about one build. The environment is left out: people put secrets there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BuildDetail {
    /// The build.
    pub build: BuildSummary,
    /// What it needs of an image, by capability: `present`, `absent`, or alternatives joined by ` | `.
    pub requires: BTreeMap<String, String>,
    /// The only image it may run on.
    pub image: Option<String>,
    /// Only a machine that has run nothing yet will do.
    pub fresh: bool,
    /// Builds of the same pipeline that must succeed first.
    #[schema(value_type = Vec<String>)]
    pub needs: Vec<BuildId>,
    /// Longest time from its first step to its end.
    #[schema(value_type = String, example = "30m")]
    pub timeout: Span,
    /// How long after its submission it should be over; nothing happens when it is not.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "2h")]
    pub deadline: Option<Span>,
    /// Attempts that infrastructure failures may use up.
    pub max_attempts: u32,
    /// Log bytes kept.
    pub log_limit_bytes: u64,
    /// Not to be tried before: the wait after an infrastructure failure.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub not_before: Option<Timestamp>,
    /// The wish to end it.
    pub cancel: Option<CancelView>,
    /// Its steps, in order, with what its last attempt made of them.
    pub steps: Vec<StepView>,
    /// Its attempts, first to last.
    pub attempts: Vec<AttemptView>,
    /// What it cost so far.
    pub cost: CostRowView,
}

impl BuildDetail {
    /// A build with its attempts, first to last, and its cost.
    pub fn new(build: &Build, attempts: &[Attempt], cost: CostRow) -> Self {
        let spec = &build.spec;
        let not_before = match &build.state {
            BuildState::Queued { not_before, .. } => Some(*not_before),
            BuildState::Waiting
            | BuildState::Bound { .. }
            | BuildState::Running { .. }
            | BuildState::Finished { .. } => None,
        };
        Self {
            build: BuildSummary::from(build),
            requires: requirement_texts(&spec.requires),
            image: spec.image.clone(),
            fresh: spec.fresh,
            needs: spec.needs.clone(),
            timeout: spec.timeout,
            deadline: spec.deadline,
            max_attempts: spec.max_attempts,
            log_limit_bytes: spec.log_limit_bytes,
            not_before,
            cancel: build.cancel.as_ref().map(CancelView::from),
            steps: step_views(build, attempts.last()),
            attempts: attempts.iter().map(AttemptView::from).collect(),
            cost: cost.into(),
        }
    }
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// It has not begun, and may yet.
    Pending,
    /// It runs.
    Running,
    /// It exited 0.
    Success,
    /// It exited otherwise.
    Failure,
    /// It began and was cut off: no exit code ever came.
    Cut,
    /// It never began, and will not.
    NotRun,
}

impl StepState {
    /// The word for it, as in every output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cut => "cut",
            Self::NotRun => "not_run",
        }
    }
}

/// A step of a build, and what the last attempt made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    /// Its place, from 0.
    pub index: u32,
    /// Unique in its build.
    pub name: String,
    /// The shell script.
    pub run: String,
    /// Longest time it may take.
    #[schema(value_type = Option<String>, example = "10m")]
    pub timeout: Option<Span>,
    /// Its failure does not fail the build.
    pub continue_on_error: bool,
    /// It runs after a failed step too.
    pub always: bool,
    /// What became of it.
    pub state: StepState,
    /// When it ran and how it ended, once it began.
    pub times: Option<StepTimes>,
}

fn step_views(build: &Build, attempt: Option<&Attempt>) -> Vec<StepView> {
    let over = build.state.is_finished();
    (0_u32..)
        .zip(&build.spec.steps)
        .map(|(index, step)| {
            let records = attempt.map_or(&[][..], |attempt| &attempt.steps);
            let record = records.iter().find(|record| record.index == index);
            step_view(index, step, record, over)
        })
        .collect()
}

fn step_view(index: u32, step: &Step, record: Option<&StepRecord>, over: bool) -> StepView {
    let state = match record.map(|record| (record.exit_code, record.ended_at)) {
        None if over => StepState::NotRun,
        None => StepState::Pending,
        Some((Some(0), _)) => StepState::Success,
        Some((Some(_), _)) => StepState::Failure,
        Some((None, None)) if !over => StepState::Running,
        Some((None, _)) => StepState::Cut,
    };
    StepView {
        index,
        name: step.name.clone(),
        run: step.run.clone(),
        timeout: step.timeout,
        continue_on_error: step.continue_on_error,
        always: step.always,
        state,
        times: record.map(StepTimes::from),
    }
}
