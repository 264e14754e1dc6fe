//! Policy files: what the operator wants. The format is described in `docs/policies.md`.
//!
//! A file per section. What a section reads goes straight into the spec; sections that contradict
//! one another are refused by the one that is read later. `policy::document` writes the same format.

use super::document::{DocumentLimits, Field, Problem, Problems, Table, load};
use super::text::required_name;
use crate::model::PolicySpec;

mod budget;
mod idle;
mod limits;
mod machines;
mod market;
mod read;
mod select;
mod warm;

#[cfg(test)]
mod tests;

/// Reads a policy file: its name and what it says.
///
/// # Errors
/// Every problem of the file.
pub fn parse_policy(text: &str) -> Result<(String, PolicySpec), Vec<Problem>> {
    const KEYS: [&str; 11] = [
        "name", "select", "images", "limits", "budgets", "market", "idle", "warm", "reuse",
        "share", "health",
    ];
    let document = load(text, &DocumentLimits::default())?;
    let mut problems = Problems::default();
    let table = Field::root(&document.root).table(&KEYS, &mut problems);
    let policy = table.and_then(|table| read_policy(&table, &mut problems));
    problems.finish(policy)
}

fn read_policy(table: &Table<'_>, problems: &mut Problems) -> Option<(String, PolicySpec)> {
    let name = required_name("a policy", "name", table, problems);
    let mut spec = PolicySpec::default();
    select::read_select(table, &mut spec, problems);
    limits::read_limits(table, &mut spec, problems);
    if let Some(field) = table.get("budgets") {
        spec.budgets = budget::read_budgets(field, problems);
    }
    if let Some(field) = table.get("market") {
        market::read_market(field, &mut spec, problems);
    }
    idle::read_idle(table, &mut spec, problems);
    // After the limits and the idle policy, which bound what can be at hand.
    warm::read_warm(table, &mut spec, problems);
    machines::read_reuse(table, &mut spec, problems);
    machines::read_share(table, &mut spec, problems);
    machines::read_health(table, &mut spec, problems);
    if !spec.labels.is_empty() || spec.priority.is_some() {
        refuse_machines(table, problems);
    }
    Some((name?, spec))
}

/// A machine has neither labels nor a priority, so a policy that selects by them never speaks of one.
fn refuse_machines(table: &Table<'_>, problems: &mut Problems) {
    const OF_MACHINES: [&str; 3] = ["warm", "reuse", "health"];
    const OF_IDLE_MACHINES: [&str; 3] = ["timeout", "then", "asleep"];
    let mut refuse = |field: Option<&Field<'_>>| {
        if let Some(field) = field {
            field.refuse(
                problems,
                "machines have neither labels nor a priority, so this would never hold; say it in a \
                 policy that selects projects, images or providers",
            );
        }
    };
    for key in OF_MACHINES {
        refuse(table.get(key));
    }
    // What else `idle` may say was read before; here only these keys matter.
    let idle = table
        .get("idle")
        .and_then(|field| field.table(&OF_IDLE_MACHINES, &mut Problems::default()));
    for key in OF_IDLE_MACHINES {
        refuse(idle.as_ref().and_then(|idle| idle.get(key)));
    }
}
