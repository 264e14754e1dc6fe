//! `select`: what a policy speaks of.

use std::collections::BTreeMap;

use super::super::document::{Field, Problems, Table, quoted};
use super::super::limits::{LINE_CHARACTERS, NAME_CHARACTERS};
use super::super::text::{check_line, check_name};
use super::read::subtable;
use crate::model::PolicySpec;

/// Most labels that a policy may ask for: as many as a build may have.
const MOST_LABELS: usize = 32;

pub(super) fn read_select(table: &Table<'_>, spec: &mut PolicySpec, problems: &mut Problems) {
    const KEYS: [&str; 5] = ["projects", "images", "providers", "labels", "priority"];
    if let Some(field) = table.get("images") {
        spec.images = read_patterns("an image", field, problems);
    }
    let Some(select) = subtable("select", &KEYS, table, problems) else {
        return;
    };
    if let Some(field) = select.get("images") {
        if table.get("images").is_some() {
            field.refuse(
                problems,
                "the images are said twice; `images` alone is short for `select: {images}`",
            );
        }
        spec.images = read_patterns("an image", field, problems);
    }
    if let Some(field) = select.get("projects") {
        spec.projects = read_patterns("a project", field, problems);
    }
    if let Some(field) = select.get("providers") {
        spec.providers = read_patterns("a provider", field, problems);
    }
    if let Some(field) = select.get("labels") {
        spec.labels = read_labels(field, problems);
    }
    spec.priority = select
        .get("priority")
        .and_then(|field| read_priority(field, problems));
}

/// Names, in which `*` stands for any characters.
fn read_patterns(what: &str, field: &Field<'_>, problems: &mut Problems) -> Vec<String> {
    let items = field.list(problems).unwrap_or_default();
    let mut patterns: Vec<String> = Vec::with_capacity(items.len());
    for item in &items {
        let Some(pattern) = item.text(problems) else {
            continue;
        };
        if let Some(problem) = pattern_problem(what, pattern) {
            item.refuse(problems, problem);
        } else if patterns.iter().any(|other| other == pattern) {
            item.refuse(problems, format!("{} is there already", quoted(pattern)));
        }
        patterns.push(pattern.to_owned());
    }
    patterns
}

fn pattern_problem(what: &str, pattern: &str) -> Option<String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '*');
    let starts = pattern.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '*');
    let length = pattern.chars().count();
    if !starts || !pattern.chars().all(legal) {
        return Some(format!(
            "{} is no name for {what}; expected letters, digits, `.`, `_`, `-` or `+`, a letter or \
             digit first, and `*` for any characters",
            quoted(pattern)
        ));
    }
    (length > NAME_CHARACTERS).then(|| {
        format!(
            "the name of {what} has {length} characters; at most {NAME_CHARACTERS} are accepted"
        )
    })
}

fn read_labels(field: &Field<'_>, problems: &mut Problems) -> BTreeMap<String, String> {
    let entries = field.entries(problems).unwrap_or_default();
    if entries.len() > MOST_LABELS {
        let message = format!(
            "{} labels; at most {MOST_LABELS} are accepted",
            entries.len()
        );
        field.refuse(problems, message);
    }
    let mut labels = BTreeMap::new();
    for (key, field) in entries {
        check_name("a label", &key, problems);
        if let Some(value) = field.text(problems) {
            check_line("a label", value, LINE_CHARACTERS, &field, problems);
            labels.insert(key.text.to_owned(), value.to_owned());
        }
    }
    labels
}

fn read_priority(field: &Field<'_>, problems: &mut Problems) -> Option<(i32, i32)> {
    let range = parse_priority(field.text(problems)?);
    if range.is_none() {
        field.expected(
            problems,
            "a priority or a range of them, as in 10, \">=10\", \"<0\" or 0..99",
        );
    }
    range
}

fn parse_priority(text: &str) -> Option<(i32, i32)> {
    let text = text.trim();
    let number = |text: &str| text.trim().parse::<i32>().ok();
    let bound = |text: &str, open: i32| match text.trim() {
        "" => Some(open),
        text => number(text),
    };
    let (least, most) = if let Some(rest) = text.strip_prefix(">=") {
        (number(rest)?, i32::MAX)
    } else if let Some(rest) = text.strip_prefix('>') {
        (number(rest)?.checked_add(1)?, i32::MAX)
    } else if let Some(rest) = text.strip_prefix("<=") {
        (i32::MIN, number(rest)?)
    } else if let Some(rest) = text.strip_prefix('<') {
        (i32::MIN, number(rest)?.checked_sub(1)?)
    } else if let Some((least, most)) = text.split_once("..") {
        (bound(least, i32::MIN)?, bound(most, i32::MAX)?)
    } else {
        let only = number(text)?;
        (only, only)
    };
    (least <= most).then_some((least, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_one_or_a_range() {
        for (text, range) in [
            ("10", (10, 10)),
            ("-3", (-3, -3)),
            (">=10", (10, i32::MAX)),
            ("> 10", (11, i32::MAX)),
            ("<=0", (i32::MIN, 0)),
            ("<0", (i32::MIN, -1)),
            ("0..99", (0, 99)),
            ("-5 .. 5", (-5, 5)),
            ("10..", (10, i32::MAX)),
        ] {
            assert_eq!(parse_priority(text), Some(range), "{text}");
        }
        for text in [
            "",
            "high",
            ">",
            "5..1",
            "=3",
            ">2147483647",
            "1.5",
            ">=1..3",
        ] {
            assert_eq!(parse_priority(text), None, "{text}");
        }
    }
}
