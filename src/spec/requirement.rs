//! Requirements and capability values, as documents write them.

use std::borrow::Cow;

use super::document::{Field, Problems, Style, Value, quoted};
use super::limits::LINE_CHARACTERS;
use super::text::{check_line, check_name};
use crate::model::{Capabilities, CapabilityValue, Constraint, Operator, Requirement, Version};

/// A text that is not a constraint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintParseError {
    /// There is nothing, as a whole or between two commas.
    #[error("a constraint is empty; {FORMS}")]
    Empty,
    /// A part of a list of comparisons begins with no operator.
    #[error("{} has no operator; commas join comparisons that must all hold, a list [a, b] names alternatives", quoted(.0))]
    NoOperator(String),
    /// It begins with an operator that there is not.
    #[error("{} begins with no known operator; {FORMS}", quoted(.0))]
    UnknownOperator(String),
    /// An ordering operator stands before a text that is no version.
    #[error("{} cannot be compared with {}: a version begins with a digit", quoted(.1), .0.sign())]
    NoVersion(Operator, String),
}

/// What a constraint may be.
const FORMS: &str = "expected a value, a version such as 3.12 (which accepts 3.12.x), or \
                     comparisons with ==, !=, <, <=, >, >= joined by commas, as in \">=3.11, <3.13\"";

/// Reads a constraint: a plain value, or comparisons joined by commas.
///
/// # Errors
/// What is wrong with the text, and what would be accepted.
pub fn parse_constraint(text: &str) -> Result<Constraint, ConstraintParseError> {
    let text = text.trim();
    let plain = !text.starts_with(['=', '!', '<', '>', '~', '^']) && !text.contains(',');
    if plain && !text.is_empty() {
        return Ok(Constraint::Is(text.to_owned()));
    }
    let comparisons = text.split(',').map(parse_comparison);
    comparisons.collect::<Result<_, _>>().map(Constraint::All)
}

fn parse_comparison(text: &str) -> Result<(Operator, String), ConstraintParseError> {
    let text = text.trim();
    let begins = |sign: &str| text.strip_prefix(sign).map(str::trim_start);
    let found = Operator::SIGNS
        .iter()
        .find_map(|(sign, operator)| Some((*operator, begins(sign)?)));
    let Some((operator, value)) = found else {
        return Err(match text.chars().next() {
            None => ConstraintParseError::Empty,
            Some('=' | '!' | '~' | '^') => ConstraintParseError::UnknownOperator(text.to_owned()),
            Some(_) => ConstraintParseError::NoOperator(text.to_owned()),
        });
    };
    if value.is_empty() {
        return Err(ConstraintParseError::Empty);
    }
    if value.starts_with(['=', '!', '<', '>', '~', '^']) {
        return Err(ConstraintParseError::UnknownOperator(text.to_owned()));
    }
    let any_text = matches!(operator, Operator::Equal | Operator::NotEqual);
    if !any_text && Version::parse(value).is_none() {
        return Err(ConstraintParseError::NoVersion(operator, value.to_owned()));
    }
    Ok((operator, value.to_owned()))
}

/// A requirement from the rendered texts of a document: `listed` says whether they stood in a list.
///
/// `true` and `false` mean presence and absence whether quoted or not, so that a template may
/// render them; no capability has these words as a value.
pub(super) fn parse_requirement(
    texts: &[(Cow<'_, str>, &Field<'_>)],
    listed: bool,
    problems: &mut Problems,
) -> Option<Requirement> {
    let mut constraints = Vec::with_capacity(texts.len());
    for (text, field) in texts {
        match (text.trim(), listed) {
            ("true", false) => return Some(Requirement::Present),
            ("false", false) => return Some(Requirement::Absent),
            ("true" | "false", true) => {
                let message = "true and false (presence, absence) cannot stand in a list of values";
                field.refuse(problems, message);
            }
            (text, _) => match parse_constraint(text) {
                Ok(constraint) => constraints.push(constraint),
                Err(error) => {
                    let hint = empty_hint(&error, field);
                    field.refuse(problems, format!("{error}{hint}"));
                }
            },
        }
    }
    (constraints.len() == texts.len()).then_some(Requirement::AnyOf(constraints))
}

/// `python: >3` is YAML for a folded text that is empty.
fn empty_hint(error: &ConstraintParseError, field: &Field<'_>) -> &'static str {
    let folded =
        matches!(&field.node().value, Value::Scalar(scalar) if scalar.style == Style::Block);
    if folded && *error == ConstraintParseError::Empty {
        "; a text that begins with \">\" needs quotes"
    } else {
        ""
    }
}

/// What a capability may be.
const VALUES: &str = "true, false, a value or a list of values";

/// The capabilities of an image file.
pub(super) fn read_capabilities(field: &Field<'_>, problems: &mut Problems) -> Capabilities {
    let mut capabilities = Capabilities::new();
    for (key, field) in field.entries(problems).unwrap_or_default() {
        check_name("a capability", &key, problems);
        capabilities.insert(key.text.to_owned(), read_capability(&field, problems));
    }
    capabilities
}

/// One value of a capability, or a word for presence.
fn read_value<'d>(item: &Field<'d>, problems: &mut Problems) -> Option<&'d str> {
    if item.node().is_null() {
        item.expected(problems, VALUES);
        return None;
    }
    let text = item.text(problems)?.trim();
    check_line("a value", text, LINE_CHARACTERS, item, problems);
    if text.contains(',') {
        let message = "a value cannot have a comma; expected a list, as in [3.11.9, 3.12.4]";
        item.refuse(problems, message);
    }
    Some(text)
}

fn read_capability(field: &Field<'_>, problems: &mut Problems) -> CapabilityValue {
    let items = field.one_or_more();
    if items.is_empty() {
        field.refuse(problems, format!("the list is empty; expected {VALUES}"));
    }
    let mut values = Vec::with_capacity(items.len());
    for item in &items {
        let Some(text) = read_value(item, problems) else {
            continue;
        };
        match (text, field.is_scalar()) {
            ("true", true) => return CapabilityValue::Flag(true),
            ("false", true) => return CapabilityValue::Flag(false),
            ("true" | "false", false) => item.expected(problems, "a value"),
            (text, _) => values.push(text.to_owned()),
        }
    }
    CapabilityValue::Values(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_print_what_they_read() {
        for (text, printed) in [
            ("3.12", "3.12"),
            (" debian ", "debian"),
            (">=3.11", ">=3.11"),
            (">= 3.11 ,<3.13", ">=3.11, <3.13"),
            ("==9.0", "==9.0"),
            ("!=windows", "!=windows"),
            ("<4, >3, <=5, !=3.7", "<4, >3, <=5, !=3.7"),
        ] {
            let constraint = parse_constraint(text).unwrap();
            assert_eq!(constraint.to_string(), printed, "{text}");
            assert_eq!(parse_constraint(printed), Ok(constraint), "{text}");
        }
    }

    #[test]
    fn what_is_no_constraint_is_told_why() {
        let texts = [
            "",
            " , ",
            ">=",
            ">=3,",
            "3.11, 3.12",
            "=3",
            "~=3.1",
            "^3",
            "!3",
            ">=bookworm",
            ">=<3",
            "<>3",
        ];
        let errors = texts.map(|text| {
            let error = parse_constraint(text).expect_err(text);
            format!("{text:14} {error}")
        });
        let shown = errors.join("\n");
        insta::assert_snapshot!(shown);
    }
}
