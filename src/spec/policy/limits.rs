//! `limits`: how much may be at once, or within an hour.

use super::super::document::{Problems, Table};
use super::read::{read_count, read_parsed, subtable};
use crate::model::PolicySpec;

pub(super) fn read_limits(table: &Table<'_>, spec: &mut PolicySpec, problems: &mut Problems) {
    const KEYS: [&str; 5] = [
        "machines",
        "vcpus",
        "builds",
        "launches_per_hour",
        "cost_per_hour",
    ];
    let Some(limits) = subtable("limits", &KEYS, table, problems) else {
        return;
    };
    // None at all is a way to pause.
    spec.max_machines = read_count("machines", 0, &limits, problems);
    spec.max_vcpus = read_count("vcpus", 0, &limits, problems);
    spec.max_builds = read_count("builds", 0, &limits, problems);
    spec.max_launches_per_hour = read_count("launches_per_hour", 0, &limits, problems);
    spec.max_cost_per_hour = read_parsed("cost_per_hour", &limits, problems);
}
