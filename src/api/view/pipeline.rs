//! Pipelines: what a submission became.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::build::{BuildStateWord, BuildSummary, ResultWord};
use crate::engine::Accepted;
use crate::model::{Build, BuildId, Pipeline, PipelineId, Timestamp};
use crate::store::Tally;

/// The answer to a submission or a retry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AcceptedView {
    /// The pipeline.
    #[schema(value_type = String, example = "pl_01jd3x9k2v6q8w4e5r7t9y1s3h")]
    pub pipeline: PipelineId,
    /// What the document called it.
    pub name: String,
    /// Its builds, in document order.
    pub builds: Vec<BuildRef>,
    /// Whether the same submission had been accepted before; nothing new was queued then.
    pub repeated: bool,
}

/// A build, named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BuildRef {
    /// The build.
    #[schema(value_type = String, example = "bld_01jd3x9k2v6q8w4e5r7t9y1s3h")]
    pub id: BuildId,
    /// Its name, with the matrix values.
    #[schema(example = "test (3.12, sqlite)")]
    pub name: String,
    /// Where it stands.
    pub state: BuildStateWord,
}

impl From<&Build> for BuildRef {
    fn from(build: &Build) -> Self {
        Self {
            id: build.id,
            name: build.spec.name.clone(),
            state: BuildStateWord::from(&build.state),
        }
    }
}

impl From<Accepted> for AcceptedView {
    fn from(accepted: Accepted) -> Self {
        Self {
            pipeline: accepted.pipeline.id,
            name: accepted.pipeline.name,
            builds: accepted.builds.iter().map(BuildRef::from).collect(),
            repeated: accepted.repeated,
        }
    }
}

/// Where a pipeline stands, derived from its builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PipelineState {
    /// No build has begun.
    Queued,
    /// Some build has begun, not all have ended.
    Running,
    /// Every build has its result; `result` tells the pipeline's.
    Finished,
}

impl PipelineState {
    /// The word for it, as in every output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Finished => "finished",
        }
    }
}

/// A pipeline, and how its builds stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PipelineSummary {
    /// Its identity.
    #[schema(value_type = String, example = "pl_01jd3x9k2v6q8w4e5r7t9y1s3h")]
    pub id: PipelineId,
    /// What the document called it.
    pub name: String,
    /// Whose work it is.
    pub project: String,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// Higher runs first.
    pub priority: i32,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub submitted_at: Timestamp,
    /// The name of the token that submitted it.
    pub submitted_by: String,
    /// How many builds it has.
    pub builds: u32,
    /// Number of builds by state word, or by result word once finished.
    pub tally: BTreeMap<String, u32>,
    /// Where it stands.
    pub state: PipelineState,
    /// How it ended: success when every build succeeded, else the worst result of its builds.
    pub result: Option<ResultWord>,
}

impl PipelineSummary {
    /// A pipeline with its tally.
    pub fn new(pipeline: Pipeline, tally: Tally) -> Self {
        let (state, result) = standing(&tally);
        Self {
            id: pipeline.id,
            name: pipeline.name,
            project: pipeline.project,
            labels: pipeline.labels,
            priority: pipeline.priority,
            submitted_at: pipeline.submitted_at,
            submitted_by: pipeline.submitted_by,
            builds: pipeline.builds,
            tally,
            state,
            result,
        }
    }
}

/// State words of builds that have not begun.
const NOT_BEGUN: [&str; 2] = ["waiting", "queued"];

/// State words of builds that have begun and not ended.
const UNDER_WAY: [&str; 2] = ["bound", "running"];

/// Where a pipeline with this tally stands, and how it ended.
fn standing(tally: &Tally) -> (PipelineState, Option<ResultWord>) {
    let has = |words: &[&str]| {
        words
            .iter()
            .any(|word| tally.get(*word).is_some_and(|count| *count > 0))
    };
    let worst = ResultWord::WORST_FIRST
        .into_iter()
        .find(|result| has(&[result.word()]));
    if has(&UNDER_WAY) || (has(&NOT_BEGUN) && worst.is_some()) {
        (PipelineState::Running, None)
    } else if has(&NOT_BEGUN) {
        (PipelineState::Queued, None)
    } else {
        (PipelineState::Finished, worst)
    }
}

/// A pipeline with all of its builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PipelineDetail {
    /// The pipeline.
    pub pipeline: PipelineSummary,
    /// Its builds, in the order of their ids.
    pub builds: Vec<BuildSummary>,
}

/// The answer to the cancellation of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CancelCount {
    /// How many unfinished builds were asked to end.
    pub asked: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(counts: &[(&str, u32)]) -> Tally {
        counts
            .iter()
            .map(|(word, count)| ((*word).to_owned(), *count))
            .collect()
    }

    #[test]
    fn a_pipeline_stands_where_its_builds_stand() {
        use PipelineState::{Finished, Queued, Running};
        let cases = [
            (&[("queued", 2), ("waiting", 1)][..], Queued, None),
            (&[("queued", 1), ("success", 1)], Running, None),
            (&[("bound", 1), ("queued", 3)], Running, None),
            (&[("running", 1), ("success", 3)], Running, None),
            (&[("success", 3)], Finished, Some(ResultWord::Success)),
            (
                &[("success", 3), ("failure", 1), ("skipped", 2)],
                Finished,
                Some(ResultWord::Failure),
            ),
            (
                &[("failure", 1), ("infra_failure", 1)],
                Finished,
                Some(ResultWord::InfraFailure),
            ),
            (
                &[("running", 0), ("success", 1)],
                Finished,
                Some(ResultWord::Success),
            ),
        ];
        for (counts, state, result) in cases {
            assert_eq!(standing(&tally(counts)), (state, result), "{counts:?}");
        }
    }
}
