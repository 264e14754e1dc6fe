//! Our own format: a JSON object per line.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Number, Value};

use super::fields::{Fields, NAMES, requirement_text, seconds_text};
use super::{Problems, Recorded, Trace, TraceError};
use crate::model::{Requirements, Span, Timestamp};

/// Reads a history of our own.
pub(super) fn read(text: &str) -> Result<Trace, TraceError> {
    let mut trace = Trace::default();
    let mut problems = Problems::default();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        match recorded(line) {
            Ok(build) => trace.builds.push(build),
            Err(message) => problems.add(index + 1, message),
        }
    }
    problems.finish(trace)
}

fn recorded(line: &str) -> Result<Recorded, String> {
    let object: Map<String, Value> = serde_json::from_str(line)
        .map_err(|error| format!("not a JSON object ({error}); expected one build per line"))?;
    let mut fields = Fields::default();
    for (name, value) in object {
        let slot = match name.as_str() {
            // For people: nothing refers to it.
            "id" => continue,
            "labels" => {
                fields.labels = texts(&name, value)?;
                continue;
            }
            "requires" => {
                fields.requires = texts(&name, value)?;
                continue;
            }
            "submit" => &mut fields.submit,
            "run_s" => &mut fields.run_s,
            "start" => &mut fields.start,
            "name" => &mut fields.name,
            "project" => &mut fields.project,
            "priority" => &mut fields.priority,
            "image" => &mut fields.image,
            "deadline_s" => &mut fields.deadline_s,
            _ => {
                let known = NAMES.join(", ");
                return Err(format!("{name:?} is no field; fields: {known}"));
            }
        };
        *slot = scalar(&name, value)?;
    }
    fields.recorded()
}

/// A text, or a number as text; null is an absent field.
fn scalar(name: &str, value: Value) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            Err(format!("{name}: expected a text or a number, not {value}"))
        }
    }
}

fn texts(name: &str, value: Value) -> Result<BTreeMap<String, String>, String> {
    match value {
        Value::Null => Ok(BTreeMap::new()),
        Value::Object(object) => object
            .into_iter()
            .map(|(key, value)| match value {
                Value::Bool(there) => Ok((key, there.to_string())),
                Value::Null
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_)
                | Value::Object(_) => Ok((key, scalar(name, value)?)),
            })
            .collect(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Err(format!(
            "{name}: expected an object of texts, as in {{\"os\": \"linux\"}}, not {value}"
        )),
    }
}

/// One line of a history of our own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Names the build where it comes from; for people.
    pub id: String,
    /// When it was submitted.
    pub submit: Timestamp,
    /// When its first step began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// Seconds from its first step to its end.
    pub run_s: Number,
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub project: String,
    /// Higher first.
    pub priority: i32,
    /// The only image that it may run on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Its labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What it needs, as the API writes it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub requires: BTreeMap<String, String>,
    /// Seconds after its submission by which it should be over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_s: Option<Number>,
}

impl Line {
    /// Of a build.
    pub fn new(id: String, build: &Recorded) -> Self {
        let work = &build.work;
        Self {
            id,
            submit: work.submit,
            start: build.started,
            run_s: Self::seconds(work.run),
            name: work.name.clone(),
            project: work.project.clone(),
            priority: work.priority,
            image: work.image.clone(),
            labels: work.labels.clone(),
            requires: requirement_texts(&work.requires),
            deadline_s: work.deadline.map(Self::seconds),
        }
    }

    /// Seconds as they stand in a line.
    pub fn seconds(span: Span) -> Number {
        // Digits and a point are a number of JSON.
        seconds_text(span)
            .parse()
            .unwrap_or_else(|_| Number::from(span.micros() / 1_000_000))
    }
}

fn requirement_texts(requires: &Requirements) -> BTreeMap<String, String> {
    let text = |(name, requirement): (&String, _)| (name.clone(), requirement_text(requirement));
    requires.iter().map(text).collect()
}

/// A history as text, in our own format.
///
/// # Errors
/// A line that cannot be written as JSON, which would be a bug.
pub fn write(lines: impl IntoIterator<Item = Line>) -> serde_json::Result<String> {
    let mut text = String::new();
    for line in lines {
        text.push_str(&serde_json::to_string(&line)?);
        text.push('\n');
    }
    Ok(text)
}
