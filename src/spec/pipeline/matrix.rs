//! The matrix of a build: every combination of its axes, less `exclude`, plus `include`.
//!
//! 1. Axes multiply in document order, the last one fastest.
//! 2. A combination goes when some `exclude` entry agrees with it in all the entry's keys.
//! 3. Each `include` entry in turn: to every combination from the axes with which it agrees in the
//!    axes that it names, its other keys are added (over those of earlier entries). If there is no
//!    such combination, it becomes a combination of its own, to which later entries add nothing.
//!
//! Values are texts as written: `3.10` and `"3.10"` are the same value.

use std::collections::{BTreeMap, BTreeSet};

use crate::spec::document::{Field, Key, Problems, quoted};
use crate::spec::limits::{LINE_CHARACTERS, NAME_CHARACTERS};
use crate::spec::text::check_line;

/// Most combinations that are looked at before `exclude` has thinned them out: enough for any
/// matrix that somebody can oversee, and quickly counted.
const MOST_PRODUCTS: usize = 1 << 16;

/// One combination: values by key, and the keys in the order in which the build's name shows them.
#[derive(Debug, Clone, Default)]
pub(super) struct Combination {
    pub(super) values: BTreeMap<String, String>,
    order: Vec<String>,
}

/// An axis with its values.
type Axis = (String, Vec<String>);
/// An entry of `include` or `exclude`.
type Rule<'d> = (Field<'d>, Vec<(String, String)>);

/// Reads and expands a matrix; at most `limit` combinations, at least one.
pub(super) fn read_matrix(
    field: &Field<'_>,
    limit: usize,
    problems: &mut Problems,
) -> Option<Vec<Combination>> {
    let told = problems.len();
    let mut axes: Vec<Axis> = Vec::new();
    let (mut include, mut exclude) = (Vec::new(), Vec::new());
    for (key, field) in field.entries(problems)? {
        match key.text {
            "include" => include = read_rules(&field, problems),
            "exclude" => exclude = read_rules(&field, problems),
            _ => axes.extend(read_axis(&key, &field, problems)),
        }
    }
    check_excludes(&axes, &exclude, problems);
    let mut combinations = multiply(field, &axes, &exclude, limit, problems)?;
    add_includes(&axes, &include, &mut combinations);
    if combinations.len() > limit {
        refuse_size(field, limit, problems);
        return None;
    }
    if combinations.is_empty() {
        // With values that could not be read there is no telling.
        if problems.len() == told {
            field.refuse(
                problems,
                "the matrix has no combination; expected at least one",
            );
        }
        return None;
    }
    check_unique(field, &combinations, problems);
    Some(combinations)
}

impl Combination {
    /// `test (3.12, sqlite)`; the bare name without a matrix.
    pub(super) fn name(&self, build: &str) -> String {
        if self.order.is_empty() {
            return build.to_owned();
        }
        let values = self.order.iter().filter_map(|key| self.values.get(key));
        let shown: Vec<_> = values
            .map(|value| if value.is_empty() { "\"\"" } else { value })
            .collect();
        format!("{build} ({})", shown.join(", "))
    }

    fn set(&mut self, key: &str, value: &str) {
        if !self.values.contains_key(key) {
            self.order.push(key.to_owned());
        }
        self.values.insert(key.to_owned(), value.to_owned());
    }

    fn set_all(&mut self, rule: &[(String, String)]) {
        for (key, value) in rule {
            self.set(key, value);
        }
    }

    fn has(&self, (key, value): &(String, String)) -> bool {
        self.values.get(key) == Some(value)
    }
}

fn read_axis(key: &Key<'_>, field: &Field<'_>, problems: &mut Problems) -> Option<Axis> {
    check_axis_name(key, problems);
    let mut values: Vec<String> = Vec::new();
    let items = field.list(problems)?;
    for item in &items {
        let Some(value) = read_value(item, problems) else {
            continue;
        };
        if values.contains(&value) {
            item.refuse(
                problems,
                format!("the value {} is there already", quoted(&value)),
            );
        } else {
            values.push(value);
        }
    }
    if items.is_empty() {
        field.refuse(problems, "the axis has no values; expected at least one");
    }
    Some((key.text.to_owned(), values))
}

fn check_axis_name(key: &Key<'_>, problems: &mut Problems) {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = key.text;
    let shaped = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(legal)
        && name.len() <= NAME_CHARACTERS;
    if !shaped {
        let message = format!(
            "{} cannot be named in a template; expected at most {NAME_CHARACTERS} letters, digits \
             or `_`, no digit first",
            quoted(name)
        );
        key.refuse(problems, message);
    }
}

fn read_value(field: &Field<'_>, problems: &mut Problems) -> Option<String> {
    let value = field.text(problems)?;
    if value.contains("${{") {
        field.refuse(
            problems,
            "templates are not rendered in a matrix; expected a plain value",
        );
    }
    if !value.is_empty() {
        check_line("a value", value, LINE_CHARACTERS, field, problems);
    }
    Some(value.to_owned())
}

fn read_rules<'d>(field: &Field<'d>, problems: &mut Problems) -> Vec<Rule<'d>> {
    let items = field.list(problems).unwrap_or_default();
    items
        .into_iter()
        .map(|item| read_rule(item, problems))
        .collect()
}

fn read_rule<'d>(field: Field<'d>, problems: &mut Problems) -> Rule<'d> {
    let mut values = Vec::new();
    let entries = field.entries(problems).unwrap_or_default();
    if entries.is_empty() {
        field.refuse(problems, "the entry has no keys; expected at least one");
    }
    for (key, value) in entries {
        check_axis_name(&key, problems);
        if let Some(value) = read_value(&value, problems) {
            values.push((key.text.to_owned(), value));
        }
    }
    (field, values)
}

/// An `exclude` that names no axis, or a value that its axis does not have, is a slip.
fn check_excludes(axes: &[Axis], exclude: &[Rule<'_>], problems: &mut Problems) {
    for (field, rule) in exclude {
        for (key, value) in rule {
            let Some((_, values)) = axes.iter().find(|(name, _)| name == key) else {
                let names: Vec<_> = axes.iter().map(|(name, _)| name.as_str()).collect();
                field.refuse(
                    problems,
                    crate::spec::document::unknown("axis", key, &names),
                );
                continue;
            };
            if !values.contains(value) {
                let values: Vec<_> = values.iter().map(String::as_str).collect();
                let what = format!("value of the axis {key}:");
                field.refuse(
                    problems,
                    crate::spec::document::unknown(&what, value, &values),
                );
            }
        }
    }
}

/// The product of the axes without what is excluded; stops at the first beyond `limit`.
fn multiply(
    field: &Field<'_>,
    axes: &[Axis],
    exclude: &[Rule<'_>],
    limit: usize,
    problems: &mut Problems,
) -> Option<Vec<Combination>> {
    if axes.is_empty() {
        return Some(Vec::new());
    }
    let product = axes.iter().try_fold(1_usize, |product, (_, values)| {
        product.checked_mul(values.len())
    });
    let Some(product) = product.filter(|product| *product <= MOST_PRODUCTS) else {
        refuse_size(field, limit, problems);
        return None;
    };
    let excluded = |combination: &Combination| {
        let agrees = |(_, rule): &Rule<'_>| {
            !rule.is_empty() && rule.iter().all(|pair| combination.has(pair))
        };
        exclude.iter().any(agrees)
    };
    let combinations: Vec<_> = (0..product)
        .map(|number| combination(axes, number))
        .filter(|combination| !excluded(combination))
        .take(limit + 1)
        .collect();
    Some(combinations)
}

/// Combination `number` of the axes, counted with the last axis fastest.
fn combination(axes: &[Axis], number: usize) -> Combination {
    let mut rest = number;
    let mut picked: Vec<(&str, &str)> = Vec::with_capacity(axes.len());
    for (name, values) in axes.iter().rev() {
        let place = rest.checked_rem(values.len()).unwrap_or(0);
        rest = rest.checked_div(values.len()).unwrap_or(0);
        picked.extend(
            values
                .get(place)
                .map(|value| (name.as_str(), value.as_str())),
        );
    }
    let mut combination = Combination::default();
    for (name, value) in picked.into_iter().rev() {
        combination.set(name, value);
    }
    combination
}

fn add_includes(axes: &[Axis], include: &[Rule<'_>], combinations: &mut Vec<Combination>) {
    let is_axis = |key: &str| axes.iter().any(|(name, _)| name == key);
    let from_axes = combinations.len();
    for (_, rule) in include {
        let mut added = false;
        for combination in combinations.iter_mut().take(from_axes) {
            let agrees = rule
                .iter()
                .filter(|(key, _)| is_axis(key))
                .all(|pair| combination.has(pair));
            if agrees {
                added = true;
                combination.set_all(rule);
            }
        }
        if !added {
            let mut own = Combination::default();
            own.set_all(rule);
            combinations.push(own);
        }
    }
}

fn refuse_size(field: &Field<'_>, limit: usize, problems: &mut Problems) {
    let message = format!("the matrix has more than {limit} combinations");
    field.refuse(problems, message);
}

/// Two combinations of one name could not be told apart.
fn check_unique(field: &Field<'_>, combinations: &[Combination], problems: &mut Problems) {
    let mut names = BTreeSet::new();
    for combination in combinations {
        let name = combination.name("");
        if !names.insert(name.clone()) {
            let name = quoted(name.trim());
            field.refuse(problems, format!("two combinations have the values {name}"));
        }
    }
}
