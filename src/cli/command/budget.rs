//! `dormouse budget`

use clap::{Args, Subcommand};

use crate::api::view::{ApproveBudget, BudgetView, Page};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::report::{Outcome, usage};
use crate::model::Rate;

/// Approve more money for a budget (admins only)
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  dormouse budget approve default/monthly --amount '$20' --reason release")]
pub(crate) struct Budget {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add to a budget's amount until its present period ends
    #[command(after_help = "\
Examples:
  dormouse budget approve default/monthly --amount '$20'
  dormouse budget approve web/daily --amount 2.50 --for docs --reason \"release\"

JSON: the budget as it stands now, as in GET /api/v1/budgets.")]
    Approve {
        /// Policy and budget, as `dormouse budgets` shows them
        #[arg(value_name = "POLICY/BUDGET")]
        budget: String,
        /// How much more, in dollars
        #[arg(long, value_name = "DOLLARS", value_parser = parse_dollars)]
        amount: i64,
        /// Only for this project, image, pipeline or build, where the budget is for each
        #[arg(long = "for", value_name = "NAME|ID")]
        part: Option<String>,
        /// Why, for the record
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// `20`, `$20` or `2.50` in micro-dollars.
fn parse_dollars(text: &str) -> Result<i64, String> {
    let expected = || format!("{text:?} is not an amount (expected dollars, as in $20 or 2.50)");
    let amount = text.parse::<Rate>().map_err(|_| expected())?;
    i64::try_from(amount.micros_per_hour()).map_err(|_| expected())
}

impl Budget {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let Action::Approve {
            budget,
            amount,
            part,
            reason,
        } = self.action;
        let Some((policy, name)) = budget.split_once('/') else {
            return Err(usage(format!("{budget:?} is not POLICY/BUDGET")).into());
        };
        let request = ApproveBudget {
            policy: policy.to_owned(),
            budget: name.to_owned(),
            micro_usd: amount,
            part,
            reason,
        };
        let path = ["budgets", "approvals"];
        let page: Page<BudgetView> = ctx.client()?.post_json(&path, &request).await?;
        ctx.output
            .list(&page.items, "budgets", super::budgets::table)?;
        Ok(Exit::Success)
    }
}
