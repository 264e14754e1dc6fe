//! Our own format as a table: CSV with a header.

use std::collections::BTreeMap;

use csv::{ReaderBuilder, StringRecord, Trim};

use super::fields::{Fields, NAMES};
use super::{Problems, Recorded, Trace, TraceError};

/// Reads a table.
pub(super) fn read(text: &str) -> Result<Trace, TraceError> {
    let mut trace = Trace::default();
    let mut problems = Problems::default();
    let mut reader = ReaderBuilder::new()
        .trim(Trim::All)
        .flexible(true)
        .from_reader(text.as_bytes());
    let columns = match reader.headers().map_err(|error| error.to_string()) {
        Ok(header) => columns(header),
        Err(error) => Err(error),
    };
    let columns = match columns {
        Ok(columns) => columns,
        Err(message) => {
            problems.add(1, message);
            return problems.finish(trace);
        }
    };
    for record in reader.records() {
        match record {
            Ok(record) => {
                let line = record.position().map_or(0, csv::Position::line);
                match recorded(&columns, &record) {
                    Ok(build) => trace.builds.push(build),
                    Err(message) => problems.add(usize::try_from(line).unwrap_or(0), message),
                }
            }
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                problems.add(usize::try_from(line).unwrap_or(0), error.to_string());
            }
        }
    }
    problems.finish(trace)
}

/// The names of the columns.
fn columns(header: &StringRecord) -> Result<Vec<String>, String> {
    let columns: Vec<_> = header.iter().map(str::to_owned).collect();
    let known = || format!("columns: {}", NAMES.join(", "));
    if let Some(unknown) = columns.iter().find(|name| !NAMES.contains(&name.as_str())) {
        return Err(format!("{unknown:?} is no column; {}", known()));
    }
    for needed in ["submit", "run_s"] {
        if !columns.iter().any(|name| name == needed) {
            return Err(format!("there is no column {needed}; {}", known()));
        }
    }
    Ok(columns)
}

fn recorded(columns: &[String], record: &StringRecord) -> Result<Recorded, String> {
    if record.len() != columns.len() {
        let (is, should) = (record.len(), columns.len());
        return Err(format!("{is} fields; expected {should}, as the header has"));
    }
    let mut fields = Fields::default();
    for (name, text) in columns.iter().zip(record) {
        let text = text.to_owned();
        match name.as_str() {
            "submit" => fields.submit = text,
            "run_s" => fields.run_s = text,
            "start" => fields.start = text,
            "name" => fields.name = text,
            "project" => fields.project = text,
            "priority" => fields.priority = text,
            "image" => fields.image = text,
            "deadline_s" => fields.deadline_s = text,
            "labels" => fields.labels = pairs(&text, '=')?,
            "requires" => fields.requires = pairs(&text, ':')?,
            // The identity is for people, and there are no others: the header was looked at.
            _ => {}
        }
    }
    fields.recorded()
}

/// `os=linux; team=core`, or `python: >=3.12; docker`: a name alone stands for its presence.
fn pairs(text: &str, separator: char) -> Result<BTreeMap<String, String>, String> {
    let parts = text
        .split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once(separator).unwrap_or((part, ""));
            let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
            if name.is_empty() {
                return Err(format!(
                    "{part:?} has no name; expected name{separator}value, joined by semicolons"
                ));
            }
            Ok((name, value))
        })
        .collect()
}
