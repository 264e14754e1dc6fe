//! How long builds take.

use super::recent::Recent;
use crate::model::{Span, Timestamp};

/// Builds of a project from which on its others are taken to be like them.
const PROJECT_SAMPLES: usize = 5;

/// How long builds take, by their name and by their project.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Durations {
    by_name: Recent<(String, String)>,
    by_project: Recent<String>,
}

impl Durations {
    /// A build ran to its end in `took`.
    pub fn learn(&mut self, project: &str, name: &str, took: Span, at: Timestamp) {
        let key = (project.to_owned(), name.to_owned());
        self.by_name.add(&key, took, at);
        self.by_project.add(&project.to_owned(), took, at);
    }

    /// What `percent` of the builds of this name did not exceed, else of this project once enough
    /// are known; none when nothing is.
    pub fn expected(
        &self,
        (project, name): (&str, &str),
        percent: usize,
        now: Timestamp,
    ) -> Option<Span> {
        let key = (project.to_owned(), name.to_owned());
        if let Some((span, _)) = self.by_name.quantile(&key, percent, now) {
            return Some(span);
        }
        let of_project = self.by_project.quantile(&project.to_owned(), percent, now);
        let (span, samples) = of_project?;
        (samples >= PROJECT_SAMPLES).then_some(span)
    }
}
