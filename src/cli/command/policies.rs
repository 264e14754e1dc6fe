//! `dormouse policies`

use clap::Args;

use crate::api::view::{Page, PolicyView};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Fit, Table, Tone, column, numbers, words};
use crate::cli::report::Outcome;
use crate::model::{Span, Timestamp};

/// List the policies: limits, idle time and lifetime of machines
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse policies
  dormouse apply policies/ && dormouse policies --json

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
        column("IMAGES", Fit::Shrink),
        numbers("MACHINES", Fit::Whole),
        numbers("IDLE", Fit::Whole),
        numbers("LIFETIME", Fit::Drop(4)),
        numbers("BUILDS", Fit::Drop(3)),
        column("APPLIED", Fit::Drop(1)),
    ]);
    let number = |value: Option<u32>| value.map_or(words::NONE.to_owned(), |n| n.to_string());
    let span = |value: Option<Span>| value.map_or(words::NONE.to_owned(), |s| s.to_string());
    for policy in policies {
        let images = if policy.images.is_empty() {
            "all".to_owned()
        } else {
            policy.images.join(" ")
        };
        let idle = policy.idle_timeout;
        let idle = idle.map_or(words::NONE.to_owned(), |idle| idle.to_string());
        table.row([
            (policy.name.clone(), Tone::Plain),
            (policy.version.to_string(), Tone::Plain),
            (images, Tone::Plain),
            (number(policy.max_machines), Tone::Plain),
            (idle, Tone::Plain),
            (span(policy.max_lifetime), Tone::Plain),
            (number(policy.max_builds_per_machine), Tone::Plain),
            (words::ago(policy.applied_at, now), Tone::Faint),
        ]);
    }
    table
}
