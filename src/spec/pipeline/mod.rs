//! Pipeline documents: read once, then expanded by matrix.
//!
//! `source` is the document with its fixed values read and its templates compiled; `expand` renders
//! it for every combination of `matrix`; `needs` checks the graph. The format is described in
//! `docs/pipelines.md`.

mod build;
mod expand;
mod matrix;
mod needs;
mod source;
mod template;

use super::document::{Field, Problem, Problems, load};
use super::draft::PipelineDraft;
use super::limits::PipelineLimits;
use template::Templates;

/// Reads a pipeline document (YAML, and so JSON) and expands it.
///
/// # Errors
/// Every problem of the document, in its order.
pub fn parse_pipeline(text: &str, limits: &PipelineLimits) -> Result<PipelineDraft, Vec<Problem>> {
    let document = load(text, &limits.document)?;
    let templates = Templates::new(&document.source);
    let mut problems = Problems::default();
    let root = Field::root(&document.root);
    let source = source::read_pipeline(&root, &templates, limits, &mut problems);
    let draft = source.and_then(|source| expand::expand(&source, limits, &mut problems));
    problems.finish(draft)
}

#[cfg(test)]
mod tests;
