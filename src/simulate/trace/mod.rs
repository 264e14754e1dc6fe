//! Histories of builds as files: text in, [`Recorded`] builds out, and back.
//!
//! Four formats: our own (a JSON object per line, or CSV with a header of the same names), what
//! `gh api …/actions/runs/ID/jobs` prints, and the Standard Workload Format. Reading is pure, tells
//! every line that it cannot use, and counts what it leaves out: a history that silently lost the long
//! builds would make any policy look good. `docs/simulate.md` describes the formats.

mod fields;
mod github;
mod history;
mod swf;
mod table;

use std::collections::BTreeMap;

use crate::model::Timestamp;

use super::Work;

pub use history::{Line, write};

#[cfg(test)]
mod tests;

/// Problems that are told one by one; behind them, the rest is only counted.
const MOST_PROBLEMS: usize = 20;

/// How a history is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Our own: a JSON object per line.
    History,
    /// Our own as a table: the same names in the header.
    Csv,
    /// Jobs of GitHub Actions, as its REST API lists them.
    GithubJobs,
    /// The Standard Workload Format, version 2.2.
    Swf,
}

impl Format {
    /// Every format, in the order in which people are told of them.
    pub const ALL: [Self; 4] = [Self::History, Self::Csv, Self::GithubJobs, Self::Swf];

    /// The word for it on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::History => "history",
            Self::Csv => "csv",
            Self::GithubJobs => "github-jobs",
            Self::Swf => "swf",
        }
    }

    /// The format of a file, by the end of its name, else by its first characters; `None` when
    /// neither says.
    pub fn of_file(name: &str, text: &str) -> Option<Self> {
        let extension = name.rsplit_once('.').map(|(_, extension)| extension);
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("jsonl" | "ndjson") => Some(Self::History),
            Some("csv") => Some(Self::Csv),
            Some("swf") => Some(Self::Swf),
            Some(_) | None => Self::of_text(text),
        }
    }

    fn of_text(text: &str) -> Option<Self> {
        let first = text.lines().find(|line| !line.trim().is_empty())?.trim();
        if first.starts_with('[') {
            return Some(Self::GithubJobs);
        }
        if first.starts_with('{') {
            let has_jobs = first.contains("\"jobs\"") || first == "{";
            return Some(if has_jobs {
                Self::GithubJobs
            } else {
                Self::History
            });
        }
        let numbers = first.split_ascii_whitespace();
        if first.starts_with(';') || numbers.filter(|n| n.parse::<f64>().is_ok()).count() == 18 {
            return Some(Self::Swf);
        }
        let header: Vec<_> = first.split(',').map(str::trim).collect();
        (header.contains(&"submit") && header.contains(&"run_s")).then_some(Self::Csv)
    }
}

/// A build of a history, and when it really began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// What is played again.
    pub work: Work,
    /// When its first step began, if the history says so.
    pub started: Option<Timestamp>,
}

/// A history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// Its builds, in order of submission.
    pub builds: Vec<Recorded>,
    /// What is no build that ran, by why it was left out.
    pub left_out: BTreeMap<&'static str, usize>,
    /// What the reader took for granted.
    pub notes: Vec<String>,
}

impl Trace {
    fn leave_out(&mut self, why: &'static str) {
        *self.left_out.entry(why).or_default() += 1;
    }

    fn in_order(mut self) -> Self {
        self.builds.sort_by_key(|build| build.work.submit);
        self
    }
}

/// A line that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// What is wrong, and what was expected.
    pub message: String,
}

/// A history with lines that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} of the history cannot be used", lines(self.problems.len() + self.more))]
pub struct TraceError {
    /// The first of them.
    pub problems: Vec<Problem>,
    /// How many there are behind those.
    pub more: usize,
    /// What the other lines say.
    pub good: Trace,
}

fn lines(count: usize) -> String {
    if count == 1 {
        "a line".to_owned()
    } else {
        format!("{count} lines")
    }
}

/// What went wrong so far.
#[derive(Debug, Default)]
struct Problems {
    first: Vec<Problem>,
    more: usize,
}

impl Problems {
    fn add(&mut self, line: usize, message: impl Into<String>) {
        if self.first.len() < MOST_PROBLEMS {
            let message = message.into();
            self.first.push(Problem { line, message });
        } else {
            self.more += 1;
        }
    }

    fn finish(self, trace: Trace) -> Result<Trace, TraceError> {
        if self.first.is_empty() {
            return Ok(trace.in_order());
        }
        Err(TraceError {
            problems: self.first,
            more: self.more,
            good: trace.in_order(),
        })
    }
}

/// Reads a history.
///
/// # Errors
/// Every line that cannot be used, with what the others say.
pub fn read(text: &str, format: Format) -> Result<Trace, TraceError> {
    // Some programs begin a text with a mark of its encoding.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match format {
        Format::History => history::read(text),
        Format::Csv => table::read(text),
        Format::GithubJobs => github::read(text),
        Format::Swf => swf::read(text),
    }
}
