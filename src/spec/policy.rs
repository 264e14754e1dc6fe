//! Policy files: what the operator wants. The format is described in `docs/policies.md`.

use super::document::{DocumentLimits, Field, Problem, Problems, Table, load};
use super::text::{read_name, required_name};
use crate::model::{PolicySpec, Span};

/// Longest time a policy may speak of; longer is as good as never, which is to leave it out.
const MOST_SPAN: Span = Span::from_secs(365 * 24 * 3_600);

/// Shortest lifetime that lets a machine do anything.
const LEAST_LIFETIME: Span = Span::from_secs(1);

/// Most machines and builds a policy may speak of; leave it out for no limit.
const MOST_COUNT: u32 = 1_000_000;

/// Reads a policy file: its name and what it says.
///
/// # Errors
/// Every problem of the file.
pub fn parse_policy(text: &str) -> Result<(String, PolicySpec), Vec<Problem>> {
    const KEYS: [&str; 5] = ["name", "images", "limits", "idle", "reuse"];
    let document = load(text, &DocumentLimits::default())?;
    let mut problems = Problems::default();
    let table = Field::root(&document.root).table(&KEYS, &mut problems);
    let policy = table.and_then(|table| read_policy(&table, &mut problems));
    problems.finish(policy)
}

fn read_policy(table: &Table<'_>, problems: &mut Problems) -> Option<(String, PolicySpec)> {
    let name = required_name("a policy", "name", table, problems);
    let images = table
        .get("images")
        .map(|field| read_images(field, problems));
    let mut spec = PolicySpec {
        images: images.unwrap_or_default(),
        ..PolicySpec::default()
    };
    if let Some(limits) = subtable("limits", &["machines"], table, problems) {
        // None at all is a way to pause.
        spec.max_machines = read_count("machines", 0, &limits, problems);
    }
    if let Some(idle) = subtable("idle", &["timeout"], table, problems) {
        // No time at all: a machine goes as soon as it has nothing to do.
        spec.idle_timeout = read_span("timeout", Span::ZERO, &idle, problems);
    }
    if let Some(reuse) = subtable("reuse", &["builds", "lifetime"], table, problems) {
        spec.max_builds_per_machine = read_count("builds", 1, &reuse, problems);
        spec.max_lifetime = read_span("lifetime", LEAST_LIFETIME, &reuse, problems);
    }
    Some((name?, spec))
}

fn subtable<'d>(
    key: &str,
    known: &[&str],
    table: &Table<'d>,
    problems: &mut Problems,
) -> Option<Table<'d>> {
    table.get(key)?.table(known, problems)
}

fn read_count(key: &str, least: u32, table: &Table<'_>, problems: &mut Problems) -> Option<u32> {
    table.get(key)?.integer(least..=MOST_COUNT, problems)
}

fn read_span(key: &str, least: Span, table: &Table<'_>, problems: &mut Problems) -> Option<Span> {
    table.get(key)?.parse_within(least..=MOST_SPAN, problems)
}

fn read_images(field: &Field<'_>, problems: &mut Problems) -> Vec<String> {
    let items = field.list(problems).unwrap_or_default();
    let names = items
        .iter()
        .filter_map(|item| read_name("an image", item, problems));
    names.collect()
}
