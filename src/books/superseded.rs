//! Builds that nobody waits for any more: the same pipeline was submitted anew for the same branch.

use std::collections::BTreeMap;

use crate::model::{
    AttemptId, BuildId, BuildState, IllegalTransition, Pipeline, PipelineId, Superseded,
};
use crate::policy;

use super::books::Books;
use super::draft::Draft;
use super::wishes::{cancel, is_machine_coming};

/// Labels that say which line of work a pipeline belongs to, the first that is there.
const LINE_LABELS: [&str; 2] = ["branch", "ref"];
/// What a retry is known by: it repeats builds that somebody wants to see again, and is not news.
const RETRY_LABEL: &str = "retry_of";
/// Lines that are kept without an open build of theirs, for there may be as many as branches.
const KEPT_LINES: usize = 1_024;

/// A line of work, of which only the newest pipeline counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    project: String,
    name: String,
    branch: String,
}

/// Open pipelines by their line, with their builds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(BTreeMap<Line, BTreeMap<PipelineId, Vec<BuildId>>>);

fn line_of(pipeline: &Pipeline) -> Option<Line> {
    let label = |label| pipeline.labels.get(label).cloned();
    Some(Line {
        project: pipeline.project.clone(),
        name: pipeline.name.clone(),
        branch: LINE_LABELS.into_iter().find_map(label)?,
    })
}

impl Books {
    /// Notes a pipeline with its open builds, if a newer one may supersede it.
    pub(crate) fn know_pipeline(&mut self, pipeline: &Pipeline, builds: Vec<BuildId>) {
        let Some(line) = line_of(pipeline) else {
            return;
        };
        if self.lines.0.len() >= KEPT_LINES {
            self.forget_lines();
        }
        let line = self.lines.0.entry(line).or_default();
        line.insert(pipeline.id, builds);
    }

    /// Open pipelines that a newer one may supersede, by their builds: after a restart their names are
    /// in the store only.
    pub(crate) fn pipelines_in_lines(&self) -> BTreeMap<PipelineId, Vec<BuildId>> {
        let mut found: BTreeMap<PipelineId, Vec<BuildId>> = BTreeMap::new();
        for build in self.builds.values() {
            if LINE_LABELS
                .into_iter()
                .any(|label| build.spec.labels.contains_key(label))
            {
                found.entry(build.spec.pipeline).or_default().push(build.id);
            }
        }
        found
    }

    fn forget_lines(&mut self) {
        let Self { lines, builds, .. } = self;
        lines.0.retain(|_, pipelines| {
            pipelines.retain(|_, ids| ids.iter().any(|id| builds.contains_key(id)));
            !pipelines.is_empty()
        });
    }

    /// What policies say of the builds that a pipeline supersedes.
    fn superseding(&self, pipeline: &Pipeline) -> Superseded {
        let subject = policy::Subject {
            project: Some(&pipeline.project),
            labels: Some(&pipeline.labels),
            priority: Some(pipeline.priority),
            ..policy::Subject::default()
        };
        let effective = policy::effective(self.policies.values(), &subject);
        effective.terms.superseded
    }
}

/// Ends the builds that a pipeline supersedes, which was just inserted with `builds`; attempts whose
/// drivers have to stop them.
pub(crate) fn supersede(
    draft: &mut Draft<'_>,
    pipeline: &Pipeline,
    builds: Vec<BuildId>,
) -> Result<Vec<AttemptId>, IllegalTransition> {
    let Some(line) = line_of(pipeline) else {
        return Ok(Vec::new());
    };
    let what = draft.books.superseding(pipeline);
    let is_retry = pipeline.labels.contains_key(RETRY_LABEL);
    let older = match what {
        Superseded::Keep => None,
        Superseded::Collapse | Superseded::Cancel => draft.books.lines.0.get(&line).cloned(),
    };
    draft.books.know_pipeline(pipeline, builds);
    let reason = format!("superseded by {}", pipeline.id);
    let mut stopping = Vec::new();
    for ids in older.into_iter().filter(|_| !is_retry).flatten() {
        // Last first: a build is canceled before one that it needs could skip it.
        for id in ids.1.into_iter().rev() {
            if what == Superseded::Cancel || !has_begun(draft, id) {
                stopping.extend(cancel(draft, id, &reason)?);
            }
        }
    }
    Ok(stopping)
}

/// Whether a build runs, or is about to.
fn has_begun(draft: &Draft<'_>, id: BuildId) -> bool {
    let Some(build) = draft.books.builds.get(&id) else {
        return true;
    };
    match build.state {
        BuildState::Waiting | BuildState::Queued { .. } => false,
        BuildState::Bound { machine, .. } => !is_machine_coming(draft, machine),
        BuildState::Running { .. } | BuildState::Finished { .. } => true,
    }
}
