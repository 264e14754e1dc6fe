//! Events: one per state change.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::{BuildId, Event, MachineId, PipelineId, Subject, Timestamp};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// Its number; counts up without holes.
    pub number: u64,
    /// When it was decided.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// What happened, in one word. New words may come.
    #[schema(example = "build_finished")]
    pub kind: String,
    /// What it happened to.
    pub subject: SubjectView,
    /// One sentence for people.
    pub message: String,
}

impl EventView {
    /// An event with its number.
    pub fn new(number: u64, event: Event) -> Self {
        Self {
            number,
            at: event.at,
            kind: event.kind.word().to_owned(),
            subject: event.subject.into(),
            message: event.message,
        }
    }
}

/// What kind of thing an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    /// A pipeline.
    Pipeline,
    /// A build.
    Build,
    /// A machine.
    Machine,
    /// An image.
    Image,
    /// A policy.
    Policy,
}

impl SubjectKind {
    /// The word for it, as in every output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline",
            Self::Build => "build",
            Self::Machine => "machine",
            Self::Image => "image",
            Self::Policy => "policy",
        }
    }
}

/// What an event is about.
///
/// Its text form is what `?subject=` takes: the id of a pipeline, build or machine as it is, and
/// `image:NAME` or `policy:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubjectView {
    /// The kind of thing.
    pub kind: SubjectKind,
    /// Its id, or its name.
    pub id: String,
}

impl From<Subject> for SubjectView {
    fn from(subject: Subject) -> Self {
        let (kind, id) = match subject {
            Subject::Pipeline(id) => (SubjectKind::Pipeline, id.to_string()),
            Subject::Build(id) => (SubjectKind::Build, id.to_string()),
            Subject::Machine(id) => (SubjectKind::Machine, id.to_string()),
            Subject::Image(name) => (SubjectKind::Image, name),
            Subject::Policy(name) => (SubjectKind::Policy, name),
        };
        Self { kind, id }
    }
}

impl fmt::Display for SubjectView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            SubjectKind::Pipeline | SubjectKind::Build | SubjectKind::Machine => f.pad(&self.id),
            SubjectKind::Image | SubjectKind::Policy => {
                f.pad(&format!("{}:{}", self.kind.word(), self.id))
            }
        }
    }
}

/// A text that names no subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names nothing that events are about \
     (expected the id of a pipeline, build or machine, or image:NAME, or policy:NAME)"
)]
pub struct SubjectParseError(String);

impl SubjectParseError {
    /// For this text.
    pub(in crate::api) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl FromStr for SubjectView {
    type Err = SubjectParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_subject(text)
            .map(Self::from)
            .ok_or_else(|| SubjectParseError::new(text))
    }
}

/// The subject that a text names.
pub(in crate::api) fn parse_subject(text: &str) -> Option<Subject> {
    let named = |prefix| {
        text.strip_prefix(prefix)
            .filter(|name: &&str| !name.is_empty())
    };
    if let Ok(id) = text.parse::<PipelineId>() {
        Some(Subject::Pipeline(id))
    } else if let Ok(id) = text.parse::<BuildId>() {
        Some(Subject::Build(id))
    } else if let Ok(id) = text.parse::<MachineId>() {
        Some(Subject::Machine(id))
    } else if let Some(name) = named("image:") {
        Some(Subject::Image(name.to_owned()))
    } else {
        named("policy:").map(|name| Subject::Policy(name.to_owned()))
    }
}

/// One page of events, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// The events.
    pub items: Vec<EventView>,
    /// Pass this as `after` to get the events that follow, now or later.
    pub next: u64,
    /// The number of the newest event of all.
    pub last: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_read_what_they_print() {
        let subjects = [
            Subject::Pipeline(PipelineId::from_bits(1)),
            Subject::Build(BuildId::from_bits(2)),
            Subject::Machine(MachineId::from_bits(3)),
            Subject::Image("debian-12".to_owned()),
            Subject::Policy("default".to_owned()),
        ];
        for subject in subjects {
            let text = SubjectView::from(subject.clone()).to_string();
            assert_eq!(parse_subject(&text), Some(subject), "{text}");
        }
        for text in [
            "",
            "image:",
            "debian-12",
            "bld_",
            "tok_00000000000000000000000000",
        ] {
            assert_eq!(parse_subject(text), None, "{text}");
        }
    }
}
