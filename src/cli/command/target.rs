//! From what somebody wrote to the pipeline or build that is meant.

use crate::api::view::{BuildSummary, PipelineDetail, PipelineSummary};
use crate::cli::arguments::Target;
use crate::cli::client::{CallError, Client};
use crate::cli::exit::Exit;
use crate::cli::report::{Outcome, Report, usage};
use crate::model::{BuildId, PipelineId};

/// Most builds that an error lists.
const SHOWN_BUILDS: usize = 10;

/// The one build that is meant: itself, the only one of a pipeline, or the newest.
pub(crate) async fn the_build(client: &Client, target: Target) -> Outcome<BuildId> {
    match target {
        Target::Build(id) => Ok(id),
        Target::Pipeline(id) => {
            let detail = pipeline(client, id).await?;
            match detail.builds.as_slice() {
                [only] => Ok(only.id),
                builds => Err(which_build(id, builds).into()),
            }
        }
        Target::Latest => {
            let (builds, _) = client
                .list::<BuildSummary>(&["builds"], &Vec::new(), 1)
                .await?;
            Ok(builds.first().ok_or_else(|| nothing_yet("build"))?.id)
        }
    }
}

/// The pipeline that is meant: itself, the one of a build, or the newest.
pub(crate) async fn the_pipeline(client: &Client, target: Target) -> Outcome<PipelineId> {
    match target {
        Target::Pipeline(id) => Ok(id),
        Target::Build(id) => {
            let detail: crate::api::view::BuildDetail = client
                .get(&["builds", &id.to_string()], &Vec::new())
                .await?;
            Ok(detail.build.pipeline)
        }
        Target::Latest => newest_pipeline(client).await,
    }
}

/// A target that is known by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// A pipeline.
    Pipeline(PipelineId),
    /// A build.
    Build(BuildId),
}

/// What is meant, by its id; `latest` is the newest pipeline.
pub(crate) async fn known(client: &Client, target: Target) -> Outcome<Known> {
    match target {
        Target::Pipeline(id) => Ok(Known::Pipeline(id)),
        Target::Build(id) => Ok(Known::Build(id)),
        Target::Latest => newest_pipeline(client).await.map(Known::Pipeline),
    }
}

/// A pipeline with its builds.
pub(crate) async fn pipeline(client: &Client, id: PipelineId) -> Result<PipelineDetail, CallError> {
    client
        .get(&["pipelines", &id.to_string()], &Vec::new())
        .await
}

async fn newest_pipeline(client: &Client) -> Outcome<PipelineId> {
    let (pipelines, _) = client
        .list::<PipelineSummary>(&["pipelines"], &Vec::new(), 1)
        .await?;
    Ok(pipelines.first().ok_or_else(|| nothing_yet("pipeline"))?.id)
}

fn which_build(id: PipelineId, builds: &[BuildSummary]) -> Report {
    let shown = builds.iter().take(SHOWN_BUILDS);
    let mut lines: Vec<String> = shown
        .map(|build| format!("  {}  {}", build.id, build.name))
        .collect();
    if builds.len() > SHOWN_BUILDS {
        lines.push(format!("  … all: dormouse builds --pipeline {id}"));
    }
    let hint = format!("name one of them:\n{}", lines.join("\n"));
    usage(format!("{id} has {} builds", builds.len())).hint(hint)
}

fn nothing_yet(what: &str) -> Report {
    Report::new(
        Exit::Refused,
        "not-found",
        format!("there is no {what} yet"),
    )
    .hint("submit one: dormouse submit pipeline.yaml")
}
