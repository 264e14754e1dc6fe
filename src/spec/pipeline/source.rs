//! The document with its fixed values read and its templates compiled, before expansion.

use super::build::{BuildSource, read_build};
use super::template::{Templates, Text};
use crate::model::Span;
use crate::spec::document::{Field, Key, Problems, Table};
use crate::spec::limits::PipelineLimits;
use crate::spec::text::{check_name, read_name};

/// A pipeline as written.
pub(super) struct PipelineSource<'e> {
    pub(super) name: String,
    pub(super) project: String,
    pub(super) shared: Shared<'e>,
    pub(super) builds: Vec<BuildSource<'e>>,
    /// The `builds` map, for problems with all of them.
    pub(super) field: Field<'e>,
}

/// What a pipeline gives to all its builds and a build can say for itself.
#[derive(Default)]
pub(super) struct Shared<'e> {
    pub(super) labels: Vec<(Key<'e>, Text<'e>)>,
    pub(super) env: Vec<(Key<'e>, Text<'e>)>,
    pub(super) priority: Option<i32>,
    pub(super) timeout: Option<Span>,
    pub(super) deadline: Option<Span>,
}

/// Everything that reading needs besides the field at hand.
#[derive(Clone, Copy)]
pub(super) struct Reading<'e> {
    pub(super) templates: &'e Templates<'e>,
    pub(super) limits: &'e PipelineLimits,
}

/// Shortest timeout: below it, nothing can start in time.
const LEAST_TIMEOUT: Span = Span::from_millis(1);

/// Longest deadline: what may take longer than a month is in no hurry.
const MOST_DEADLINE: Span = Span::from_secs(31 * 24 * 3_600);

/// Name of the project of a pipeline that does not say.
const DEFAULT_PROJECT: &str = "default";

pub(super) fn read_pipeline<'e>(
    root: &Field<'e>,
    templates: &'e Templates<'e>,
    limits: &'e PipelineLimits,
    problems: &mut Problems,
) -> Option<PipelineSource<'e>> {
    const KEYS: [&str; 8] = [
        "name", "project", "labels", "priority", "env", "timeout", "deadline", "builds",
    ];
    let reading = Reading { templates, limits };
    let table = root.table(&KEYS, problems)?;
    let name = table.required("name", problems);
    let name = name.and_then(|field| read_name("a pipeline", field, problems));
    let project = match table.get("project") {
        Some(field) => read_name("a project", field, problems),
        None => Some(DEFAULT_PROJECT.to_owned()),
    };
    let shared = reading.shared(&table, problems);
    let field = table.required("builds", problems)?;
    let entries = field.entries(problems)?;
    if entries.is_empty() {
        field.refuse(problems, "there are no builds; expected at least one");
    }
    let builds = entries
        .into_iter()
        .filter_map(|(key, field)| read_build(reading, key, &field, problems))
        .collect();
    Some(PipelineSource {
        // A wrong name must not hide problems of the builds.
        name: name.unwrap_or_default(),
        project: project.unwrap_or_default(),
        shared,
        builds,
        field: field.clone(),
    })
}

impl<'e> Reading<'e> {
    pub(super) fn shared(self, table: &Table<'e>, problems: &mut Problems) -> Shared<'e> {
        let most = self.limits.priority;
        Shared {
            labels: self.labels(table.get("labels"), problems),
            env: self.env(table.get("env"), problems),
            priority: table
                .get("priority")
                .and_then(|field| field.integer(-most..=most, problems)),
            timeout: self.timeout(table, problems),
            deadline: read_deadline(table, problems),
        }
    }

    /// A timeout, within the limit.
    pub(super) fn timeout(self, table: &Table<'e>, problems: &mut Problems) -> Option<Span> {
        let range = LEAST_TIMEOUT..=self.limits.timeout;
        table.get("timeout")?.parse_within(range, problems)
    }

    fn labels(
        self,
        field: Option<&Field<'e>>,
        problems: &mut Problems,
    ) -> Vec<(Key<'e>, Text<'e>)> {
        let entries = field
            .and_then(|field| field.entries(problems))
            .unwrap_or_default();
        let mut labels = Vec::with_capacity(entries.len());
        for (key, field) in entries {
            check_name("a label", &key, problems);
            labels.extend(
                self.templates
                    .text(&field, problems)
                    .map(|text| (key, text)),
            );
        }
        labels
    }

    /// Environment variables; one without a value is empty.
    pub(super) fn env(
        self,
        field: Option<&Field<'e>>,
        problems: &mut Problems,
    ) -> Vec<(Key<'e>, Text<'e>)> {
        let entries = field
            .and_then(|field| field.entries(problems))
            .unwrap_or_default();
        let mut variables = Vec::with_capacity(entries.len());
        for (key, field) in entries {
            check_variable_name(&key, problems);
            let text = self.templates.text_or_nothing(&field, problems);
            variables.extend(text.map(|text| (key, text)));
        }
        variables
    }
}

/// When a build should be over, counted from its submission. It bounds nothing, so that the limit of
/// timeouts does not hold for it.
fn read_deadline(table: &Table<'_>, problems: &mut Problems) -> Option<Span> {
    let range = LEAST_TIMEOUT..=MOST_DEADLINE;
    table.get("deadline")?.parse_within(range, problems)
}

/// Names that begin like this are set by the runner on the machine.
const RESERVED: &str = "DORMOUSE_";

fn check_variable_name(key: &Key<'_>, problems: &mut Problems) {
    let name = key.text;
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') || !name.chars().all(legal)
    {
        let message = format!(
            "{} is no name for a variable; expected letters, digits or `_`, no digit first",
            crate::spec::document::quoted(name)
        );
        key.refuse(problems, message);
    } else if name.starts_with(RESERVED) {
        let message = format!("names that begin with {RESERVED} are set by the runner");
        key.refuse(problems, message);
    }
}
