//! Floor 1: documents to values. Pipelines, images and policies, with every error of a document at
//! once, each with its place.
//!
//! [`document`] is the one mechanism for all of them. [`parse_pipeline`] reads and expands: matrix,
//! templates, requirements, needs. Nothing here knows the catalogue or the store; whether an image
//! can build what a pipeline needs is for `matching`. Callers: `engine` (submissions,
//! declarations), `cli` (checks before sending), `config` (its own file, through `document`).

pub mod document;

mod draft;
mod image;
mod limits;
mod pipeline;
mod policy;
mod requirement;
mod size;
mod text;
mod wish;

pub use document::Problem;
pub use draft::{BuildDraft, PipelineDraft};
pub use image::parse_image;
pub use limits::PipelineLimits;
pub use pipeline::parse_pipeline;
pub use policy::parse_policy;
pub use requirement::{ConstraintParseError, parse_constraint};
pub use size::{ByteSize, ByteSizeParseError};

#[cfg(test)]
mod tests;
