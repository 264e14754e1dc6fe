//! The fields of our own formats, and how each is read from text.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::model::{Requirement, Requirements, Span, Timestamp};
use crate::spec::parse_constraint;

use super::Recorded;
use crate::simulate::Work;

/// The names of all fields, the required ones first: keys of a line, columns of a table.
pub(super) const NAMES: [&str; 11] = [
    "submit",
    "run_s",
    "id",
    "start",
    "name",
    "project",
    "priority",
    "image",
    "labels",
    "requires",
    "deadline_s",
];

/// A build's fields as texts; an empty text is an absent field.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    pub(super) submit: String,
    pub(super) run_s: String,
    pub(super) start: String,
    pub(super) name: String,
    pub(super) project: String,
    pub(super) priority: String,
    pub(super) image: String,
    pub(super) deadline_s: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) requires: BTreeMap<String, String>,
}

impl Fields {
    /// The build that they describe.
    ///
    /// # Errors
    /// What is wrong with the first field that cannot be used, and what was expected.
    pub(super) fn recorded(self) -> Result<Recorded, String> {
        let needed = |name: &str, text: &str| match text {
            "" => Err(format!(
                "{name} is missing; every build needs submit and run_s"
            )),
            _ => Ok(()),
        };
        needed("submit", &self.submit)?;
        needed("run_s", &self.run_s)?;
        let work = Work {
            submit: moment("submit", &self.submit)?,
            run: seconds("run_s", &self.run_s)?,
            project: or(self.project, "default"),
            name: or(self.name, "build"),
            priority: if_there(&self.priority, |text| number("priority", text))?.unwrap_or(0),
            labels: self.labels,
            requires: self
                .requires
                .into_iter()
                .map(|(name, text)| Ok((name.clone(), requirement(&name, &text)?)))
                .collect::<Result<Requirements, String>>()?,
            image: Some(self.image).filter(|image| !image.is_empty()),
            deadline: if_there(&self.deadline_s, |text| seconds("deadline_s", text))?,
            ..Work::default()
        };
        Ok(Recorded {
            work,
            started: if_there(&self.start, |text| moment("start", text))?,
        })
    }
}

fn or(text: String, default: &str) -> String {
    if text.is_empty() {
        default.to_owned()
    } else {
        text
    }
}

fn if_there<T>(
    text: &str,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    if text.is_empty() {
        Ok(None)
    } else {
        read(text).map(Some)
    }
}

fn number<T: FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{name}: {text:?} is not a whole number"))
}

/// A time in RFC 3339, or in seconds since the Unix epoch.
fn moment(name: &str, text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp::from_micros(time.as_microsecond()));
    }
    let micros = micros(text).and_then(|micros| i64::try_from(micros).ok());
    micros.map(Timestamp::from_micros).ok_or_else(|| {
        format!(
            "{name}: {text:?} is not a time; expected 2026-11-21T08:00:00Z or seconds since 1970"
        )
    })
}

/// A length of time in seconds, with or without a fraction.
pub(super) fn seconds(name: &str, text: &str) -> Result<Span, String> {
    micros(text).map(Span::from_micros).ok_or_else(|| {
        format!("{name}: {text:?} is not a length of time; expected seconds, as in 90 or 12.5")
    })
}

/// Micro-units of a decimal number, exactly: no detour by binary fractions.
fn micros(text: &str) -> Option<u64> {
    const PLACES: usize = 6;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let fraction: String = fraction
        .chars()
        .chain("000000".chars())
        .take(PLACES)
        .collect();
    let whole: u64 = whole.parse().ok()?;
    whole
        .checked_mul(1_000_000)?
        .checked_add(fraction.parse().ok()?)
}

/// Seconds as text that [`seconds`] reads back exactly.
pub(super) fn seconds_text(span: Span) -> String {
    let (whole, fraction) = (span.micros() / 1_000_000, span.micros() % 1_000_000);
    if fraction == 0 {
        return whole.to_string();
    }
    format!("{whole}.{fraction:06}")
        .trim_end_matches('0')
        .to_owned()
}

/// A requirement as the API writes it: `present`, `absent`, or alternatives joined by `|`.
fn requirement(name: &str, text: &str) -> Result<Requirement, String> {
    match text {
        "present" | "true" | "" => return Ok(Requirement::Present),
        "absent" | "false" => return Ok(Requirement::Absent),
        _ => {}
    }
    text.split('|')
        .map(|alternative| parse_constraint(alternative).map_err(|error| error.to_string()))
        .collect::<Result<_, _>>()
        .map(Requirement::AnyOf)
        .map_err(|error| format!("requires.{name}: {error}"))
}

/// A requirement as text that [`requirement`] reads back.
pub(super) fn requirement_text(requirement: &Requirement) -> String {
    match requirement {
        Requirement::Present => "present".to_owned(),
        Requirement::Absent => "absent".to_owned(),
        Requirement::AnyOf(constraints) => {
            let texts: Vec<_> = constraints.iter().map(ToString::to_string).collect();
            texts.join(" | ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_and_written_exactly() {
        for (text, micros) in [
            ("0", 0),
            ("90", 90_000_000),
            ("0.1", 100_000),
            ("12.345678", 12_345_678),
            ("3.000001", 3_000_001),
        ] {
            let span = seconds("run_s", text).unwrap();
            assert_eq!(span.micros(), micros, "{text}");
            assert_eq!(seconds_text(span), text);
        }
        for text in ["", "-1", "1e3", ".5", "1.x", "99999999999999999999", "inf"] {
            assert!(seconds("run_s", text).is_err(), "{text}");
        }
    }

    #[test]
    fn requirements_are_written_as_they_are_read() {
        for text in ["present", "absent", "3.12", "2.7 | >=3.11, <3.13"] {
            let read = requirement("python", text).unwrap();
            assert_eq!(requirement_text(&read), text);
        }
        let error = requirement("python", "~=3").unwrap_err();
        assert!(error.starts_with("requires.python: "), "{error}");
    }
}
