//! `reuse`, `share` and `health`: how machines are used, who gets how much, and what is bad.

use super::super::document::{Field, Problems, Table};
use super::read::{read_choice, read_count, read_percent, read_span, subtable};
use crate::model::{PolicySpec, Quarantine, RestAt, Reuse, Span, Superseded};

/// Shortest lifetime that lets a machine do anything.
const LEAST_LIFETIME: Span = Span::from_secs(1);

/// Most builds side by side: more than the largest machines have processors is a slip.
const MOST_SLOTS: u32 = 1_024;

/// Largest share; shares only matter beside one another.
const MOST_WEIGHT: u32 = 1_000;

/// Most failed boots before a version is bad: each of them costs minutes and money.
const MOST_FAILURES: u32 = 100;

pub(super) fn read_reuse(table: &Table<'_>, spec: &mut PolicySpec, problems: &mut Problems) {
    const KEYS: [&str; 5] = ["by", "builds", "lifetime", "slots", "rest_at"];
    let Some(reuse) = subtable("reuse", &KEYS, table, problems) else {
        return;
    };
    spec.reuse = reuse.get("by").and_then(|field| read_by(field, problems));
    spec.max_builds_per_machine = read_count("builds", 1, &reuse, problems);
    spec.max_lifetime = read_span("lifetime", LEAST_LIFETIME, &reuse, problems);
    spec.slots = reuse
        .get("slots")
        .and_then(|field| field.integer(1..=MOST_SLOTS, problems));
    spec.rest_at = reuse
        .get("rest_at")
        .and_then(|field| read_rest_at(field, problems));
    if spec.reuse == Some(Reuse::Never) {
        check_one_build(spec, &reuse, problems);
    }
}

fn read_by(field: &Field<'_>, problems: &mut Problems) -> Option<Reuse> {
    let choices = [Reuse::Never, Reuse::Project, Reuse::Any];
    let choices = choices.map(|choice| (choice.word(), choice));
    read_choice("choice", choices, field, problems)
}

fn read_rest_at(field: &Field<'_>, problems: &mut Problems) -> Option<RestAt> {
    let table = field.table(&["disk", "inodes", "memory"], problems)?;
    let built_in = RestAt::default();
    let disk = read_percent("disk", 1, &table, problems);
    let inodes = read_percent("inodes", 1, &table, problems);
    let memory = read_percent("memory", 1, &table, problems);
    Some(RestAt {
        disk_percent: disk.unwrap_or(built_in.disk_percent),
        inodes_percent: inodes.unwrap_or(built_in.inodes_percent),
        memory_percent: memory.unwrap_or(built_in.memory_percent),
    })
}

/// A machine that is never used again has one build.
fn check_one_build(spec: &PolicySpec, reuse: &Table<'_>, problems: &mut Problems) {
    let several = [
        ("builds", spec.max_builds_per_machine),
        ("slots", spec.slots),
    ];
    for (key, count) in several {
        if let (Some(field), Some(2..)) = (reuse.get(key), count) {
            field.refuse(
                problems,
                "with `by: never` a machine runs one build; expected 1, or `by: project` or `by: any`",
            );
        }
    }
}

pub(super) fn read_share(table: &Table<'_>, spec: &mut PolicySpec, problems: &mut Problems) {
    let Some(share) = subtable("share", &["weight", "superseded"], table, problems) else {
        return;
    };
    spec.weight = share
        .get("weight")
        .and_then(|field| field.integer(1..=MOST_WEIGHT, problems));
    let choices = [Superseded::Keep, Superseded::Collapse, Superseded::Cancel];
    let choices = choices.map(|choice| (choice.word(), choice));
    spec.superseded = share
        .get("superseded")
        .and_then(|field| read_choice("choice", choices, field, problems));
}

pub(super) fn read_health(table: &Table<'_>, spec: &mut PolicySpec, problems: &mut Problems) {
    let Some(health) = subtable("health", &["quarantine"], table, problems) else {
        return;
    };
    let Some(quarantine) = subtable("quarantine", &["failures"], &health, problems) else {
        return;
    };
    let failures = quarantine
        .required("failures", problems)
        .and_then(|field| field.integer(0..=MOST_FAILURES, problems));
    spec.quarantine = failures.map(|failures| Quarantine { failures });
}
