//! Queues the builds of a pipeline, written into a transaction.

use std::sync::Arc;

use crate::model::{Build, BuildId, BuildSpec, BuildState, Change, EventKind, Pipeline, Subject};
use crate::spec::BuildDraft;

use super::draft::Draft;

pub(crate) fn row(pipeline: &Pipeline, ids: &[BuildId], id: BuildId, draft: BuildDraft) -> Build {
    let needs: Vec<BuildId> = draft
        .needs
        .iter()
        .filter_map(|place| ids.get(*place).copied())
        .collect();
    let state = if needs.is_empty() {
        BuildState::Queued {
            since: pipeline.submitted_at,
            not_before: pipeline.submitted_at,
        }
    } else {
        BuildState::Waiting
    };
    let spec = BuildSpec {
        pipeline: pipeline.id,
        name: draft.name,
        project: pipeline.project.clone(),
        labels: draft.labels,
        priority: draft.priority,
        matrix: draft.matrix,
        requires: draft.requires,
        image: draft.image,
        fresh: draft.fresh,
        deadline: draft.deadline,
        needs,
        steps: draft.steps,
        env: draft.env,
        timeout: draft.timeout,
        max_attempts: draft.max_attempts,
        log_limit_bytes: draft.log_limit_bytes,
        submitted_at: pipeline.submitted_at,
    };
    Build {
        id,
        spec: Arc::new(spec),
        state,
        attempts: 0,
        spared: 0,
        cancel: None,
        rev: 0,
    }
}

pub(crate) fn insert(draft: &mut Draft<'_>, pipeline: Pipeline, builds: Vec<Build>) {
    let message = format!(
        "{} of project {} with {} build(s), by {}",
        pipeline.name, pipeline.project, pipeline.builds, pipeline.submitted_by
    );
    let subject = Subject::Pipeline(pipeline.id);
    draft.record(Change::InsertPipeline(pipeline));
    draft.event(subject, EventKind::PipelineSubmitted, message);
    for build in builds {
        draft.insert_build(build);
    }
}
