//! `dormouse policies`

use clap::Args;

use crate::api::view::{Page, PolicyView};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Fit, Table, Tone, column, numbers, words};
use crate::cli::report::Outcome;
use crate::model::Timestamp;

/// List the policies: what they speak of, and what they say of it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse policies
  dormouse apply policies/ && dormouse policies --json

A dash is what a policy leaves to others; `dormouse policy show` tells what holds in the end.

JSON: an array of policies, as in GET /api/v1/policies.")]
pub(crate) struct Policies {}

impl Policies {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let page: Page<PolicyView> = ctx.client()?.get(&["policies"], &Vec::new()).await?;
        let now = ctx.output.now;
        ctx.output
            .list(&page.items, "policies", |policies| table(policies, now))?;
        Ok(Exit::Success)
    }
}

/// Policies as a table; a dash is a knob that falls through.
pub(crate) fn table(policies: &[PolicyView], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        column("NAME", Fit::Whole),
        numbers("VERSION", Fit::Drop(2)),
        column("SPEAKS OF", Fit::Shrink),
        numbers("MACHINES", Fit::Whole),
        numbers("BUDGETS", Fit::Drop(7)),
        column("MARKET", Fit::Drop(6)),
        numbers("IDLE", Fit::Whole),
        numbers("WARM", Fit::Drop(5)),
        numbers("LIFETIME", Fit::Drop(4)),
        numbers("BUILDS", Fit::Drop(3)),
        column("APPLIED", Fit::Drop(1)),
    ]);
    for policy in policies {
        let said = |key: &str| {
            let mut says = policy.says.iter();
            let found = says.find(|said| said.key == key);
            found.map_or(words::NONE.to_owned(), |said| said.value.clone())
        };
        table.row([
            (policy.name.clone(), Tone::Plain),
            (policy.version.to_string(), Tone::Plain),
            (selectors(policy), Tone::Plain),
            (said("limits.machines"), Tone::Plain),
            (count(policy, "budgets"), Tone::Plain),
            (said("market.buy"), Tone::Plain),
            (said("idle.timeout"), Tone::Plain),
            (count(policy, "warm.windows"), Tone::Plain),
            (said("reuse.lifetime"), Tone::Plain),
            (said("reuse.builds"), Tone::Plain),
            (words::ago(policy.applied_at, now), Tone::Faint),
        ]);
    }
    table
}

/// `projects [web], labels {tier: nightly}`
fn selectors(policy: &PolicyView) -> String {
    let selects = policy.says.iter().filter_map(|said| {
        let key = said.key.strip_prefix("select.")?;
        Some(format!("{key} {}", said.value))
    });
    let selects: Vec<String> = selects.collect();
    if selects.is_empty() {
        "everything".to_owned()
    } else {
        selects.join(", ")
    }
}

/// How many items of a list a policy has.
fn count(policy: &PolicyView, key: &str) -> String {
    match policy.says.iter().filter(|said| said.key == key).count() {
        0 => words::NONE.to_owned(),
        count => count.to_string(),
    }
}
