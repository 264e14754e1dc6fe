//! Limits and defaults of pipelines, each with its reason.

use super::document::DocumentLimits;
use crate::model::Span;

/// How big a pipeline may be. Every number bounds something that a careless or hostile document
/// could otherwise grow without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PipelineLimits {
    /// Size, depth and aliases of the document.
    pub document: DocumentLimits,
    /// Most combinations of one build's matrix. The same number as elsewhere in the field, so that
    /// matrices can be moved here.
    pub combinations: usize,
    /// Most builds of a pipeline, expanded. Four full matrices; more is two pipelines.
    pub builds: usize,
    /// Most steps of a build. A step costs a marker in the log and a row of the report.
    pub steps: usize,
    /// Most bytes that all texts and needs of the expanded builds may take together: the document
    /// is repeated by its matrix, and all of it is stored and held in memory.
    pub expanded_bytes: usize,
    /// Most variables in one environment.
    pub env_variables: usize,
    /// Most bytes of one environment, names and values. A quarter of what Linux takes for
    /// arguments and environment together with the smallest usual stack.
    pub env_bytes: usize,
    /// Longest variable, name and value, in bytes. Linux refuses to start a program that is given one
    /// of 128 KiB.
    pub variable_bytes: usize,
    /// Longest script of a step, in bytes.
    pub run_bytes: usize,
    /// Most labels of a build, pipeline labels included.
    pub labels: usize,
    /// Longest build or step. A forgotten digit must not hold a machine for months.
    pub timeout: Span,
    /// Most log bytes that a build may ask to keep.
    pub log_bytes: u64,
    /// Most extra attempts after infrastructure failures. Machines that fail this often have a
    /// reason that trying again does not cure.
    pub retries: u32,
    /// Time for a build that does not say: long for a test suite, short for a hang.
    pub default_timeout: Span,
    /// Extra attempts for a build that does not say: one machine that dies is chance, two are bad
    /// luck, three are a reason.
    pub default_retries: u32,
    /// Log bytes kept for a build that does not say: far above any log that somebody reads, far
    /// below a full disk.
    pub default_log_bytes: u64,
    /// Highest priority, and with a minus the lowest: three digits order any queue, and fit a
    /// column.
    pub priority: i32,
}

impl Default for PipelineLimits {
    fn default() -> Self {
        Self {
            document: DocumentLimits::default(),
            combinations: 256,
            builds: 1_000,
            steps: 100,
            expanded_bytes: 16 << 20,
            env_variables: 256,
            env_bytes: 512 << 10,
            variable_bytes: 127 << 10,
            run_bytes: 256 << 10,
            labels: 32,
            timeout: Span::from_secs(7 * 24 * 3_600),
            log_bytes: 10 << 30,
            retries: 10,
            default_timeout: Span::from_secs(3_600),
            default_retries: 2,
            default_log_bytes: 100 << 20,
            priority: 999,
        }
    }
}

/// Longest name of a pipeline, project, build, image, policy, capability or label, in characters.
/// Names stand in tables, paths and command lines.
pub(super) const NAME_CHARACTERS: usize = 64;

/// Longest name of a step or of a build with its matrix values, and longest value of a label or
/// capability, in characters: what a wide terminal shows on one line.
pub(super) const LINE_CHARACTERS: usize = 200;
