//! `dormouse budgets`

use clap::Args;

use crate::api::view::{BudgetState, BudgetView, Page};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Fit, Table, Tone, column, numbers, words};
use crate::cli::report::Outcome;

/// Show how budgets stand: spent, committed, left, and a forecast
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse budgets
  dormouse budgets --json

SPENT counts time that is not billed yet. COMMITTED is what running machines may still cost at worst:
boot and timeout of their builds, and the idle time after. FORECAST is what the period will have cost
at its end if each hour left costs what an hour of the last seven days did.

JSON: an array of budgets, as in GET /api/v1/budgets.")]
pub(crate) struct Budgets {}

impl Budgets {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let page: Page<BudgetView> = ctx.client()?.get(&["budgets"], &Vec::new()).await?;
        ctx.output.list(&page.items, "budgets", table)?;
        Ok(Exit::Success)
    }
}

/// Budgets as a table.
pub(crate) fn table(budgets: &[BudgetView]) -> Table {
    let mut table = Table::new(&[
        column("BUDGET", Fit::Whole),
        column("FOR", Fit::Shrink),
        column("PER", Fit::Drop(3)),
        numbers("AMOUNT", Fit::Whole),
        numbers("SPENT", Fit::Whole),
        numbers("COMMITTED", Fit::Drop(4)),
        numbers("LEFT", Fit::Whole),
        numbers("FORECAST", Fit::Drop(2)),
        column("ENDS", Fit::Drop(1)),
        column("STATE", Fit::Whole),
    ]);
    for budget in budgets {
        let none = || words::NONE.to_owned();
        let part = if budget.part.is_empty() {
            budget.each.clone()
        } else {
            budget.part.clone()
        };
        let ends = budget.to.map_or_else(none, |to| minutes(&to.to_string()));
        table.row([
            (format!("{}/{}", budget.policy, budget.budget), Tone::Plain),
            (part, Tone::Plain),
            (budget.per.clone(), Tone::Plain),
            (words::money(&budget.total), Tone::Plain),
            (words::money(&budget.spent), Tone::Plain),
            (words::money(&budget.committed), Tone::Faint),
            (words::money(&budget.left), Tone::Plain),
            (
                budget.forecast.as_ref().map_or_else(none, words::money),
                Tone::Faint,
            ),
            (ends, Tone::Faint),
            (budget.state.word().to_owned(), tone(budget.state)),
        ]);
    }
    table
}

/// A time (RFC 3339, UTC) without its seconds.
fn minutes(time: &str) -> String {
    /// Letters of `2026-11-21T08:00`.
    const MINUTES: usize = 16;
    let minutes = time.get(..MINUTES).unwrap_or(time).replace('T', " ");
    format!("{minutes}Z")
}

const fn tone(state: BudgetState) -> Tone {
    match state {
        BudgetState::Open => Tone::Good,
        BudgetState::Warned => Tone::Odd,
        BudgetState::Full => Tone::Bad,
    }
}
