//! What a pipeline document becomes: builds without identities yet.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{Requirements, Span, Step};

/// A pipeline document, expanded: builds without identities yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PipelineDraft {
    /// The document's name for it.
    pub name: String,
    /// Whose work it is.
    pub project: String,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// Higher runs first.
    pub priority: i32,
    /// The builds, in document order, matrix order within.
    pub builds: Vec<BuildDraft>,
}

/// One build of an expanded pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuildDraft {
    /// Unique in the pipeline, with the matrix values.
    pub name: String,
    /// The pipeline's labels with its own over them.
    pub labels: BTreeMap<String, String>,
    /// Higher runs first.
    pub priority: i32,
    /// This combination of the matrix.
    pub matrix: BTreeMap<String, String>,
    /// What it needs of an image.
    pub requires: Requirements,
    /// The only image it may run on.
    pub image: Option<String>,
    /// Only a machine that has run nothing yet will do.
    pub fresh: bool,
    /// How long after its submission it should be over.
    pub deadline: Option<Span>,
    /// Places in `PipelineDraft::builds` of the builds that must succeed first.
    pub needs: Vec<usize>,
    /// What to run.
    pub steps: Vec<Step>,
    /// Environment of every step: the pipeline's with its own over it.
    pub env: BTreeMap<String, String>,
    /// Longest time from first step to end.
    pub timeout: Span,
    /// Attempts that infrastructure failures may use up.
    pub max_attempts: u32,
    /// Log bytes kept.
    pub log_limit_bytes: u64,
    /// Where the build stands in the document: line and column, for problems found later.
    pub place: (u32, u32),
}
