//! `dormouse cost`

use clap::Args;

use crate::api::view::{CostGroupWord, CostReport, CostRowView};
use crate::cli::arguments::When;
use crate::cli::client::Query;
use crate::cli::command::parse_word;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Fit, Output, Table, Tone, column, numbers, words};
use crate::cli::report::Outcome;

/// Report what machines cost, and what for
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse cost --by project --from 30d
  dormouse cost --by day --from 2026-11-01 --to 2026-12-01
  dormouse cost --by build --limit 10 --json

Categories: boot (until a machine is ready), work (builds), retry (work that an infrastructure
failure threw away), idle (waiting for a build), drain (on the way down). An empty key is overhead
that belongs to no group; the sum over all rows is exactly what the machines cost.

What may be spent, and a forecast: dormouse budgets.

JSON: one object, as in GET /api/v1/cost; money in whole micro-dollars.")]
pub(crate) struct Cost {
    /// Group by: build, pipeline, project, image, day
    #[arg(long, value_name = "GROUP", default_value = "project", value_parser = parse_word::<CostGroupWord>)]
    by: CostGroupWord,
    /// Only what began at or after this: a day, a time, or how long ago (30d)
    #[arg(long, value_name = "WHEN")]
    from: Option<When>,
    /// Only what began before this
    #[arg(long, value_name = "WHEN")]
    to: Option<When>,
    /// Most rows, the dearest first
    #[arg(long, short = 'n', value_name = "ROWS", default_value_t = 50)]
    limit: u32,
}

impl Cost {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let now = ctx.output.now;
        let mut query = Query::from([
            ("by", self.by.word().to_owned()),
            ("limit", self.limit.to_string()),
        ]);
        query.extend(self.from.map(|from| ("from", from.at(now).to_string())));
        query.extend(self.to.map(|to| ("to", to.at(now).to_string())));
        let report: CostReport = ctx.client()?.get(&["cost"], &query).await?;
        ctx.output
            .answer(&report, |report| draw(report, ctx.output))?;
        for (image, source) in &report.prices {
            ctx.output.note(&format!("prices of {image}: {source}"));
        }
        if report.truncated {
            let hint = format!(
                "only the {} dearest; the total leaves the others out",
                report.rows.len()
            );
            ctx.output.note(&hint);
        }
        Ok(Exit::Success)
    }
}

/// A report for people.
pub(crate) fn draw(report: &CostReport, output: Output) -> String {
    let mut table = Table::new(&[
        column(report.by.title(), Fit::Shrink),
        numbers("TOTAL", Fit::Whole),
        numbers("WORK", Fit::Drop(6)),
        numbers("BOOT", Fit::Drop(5)),
        numbers("IDLE", Fit::Drop(4)),
        numbers("RETRY", Fit::Drop(3)),
        numbers("DRAIN", Fit::Drop(2)),
        numbers("TIME", Fit::Drop(1)),
    ]);
    for row in &report.rows {
        let key = if row.key.is_empty() {
            "(overhead)"
        } else {
            &row.key
        };
        table.row(cells(row, key.to_owned()));
    }
    let total = words::money(&report.total);
    format!("{}total {total}\n", table.draw(output.paper))
}

fn cells(row: &CostRowView, key: String) -> [(String, Tone); 8] {
    let part = |category: &str| {
        let amount = row.by_category.get(category).map(words::money);
        (
            amount.unwrap_or_else(|| words::NONE.to_owned()),
            Tone::Faint,
        )
    };
    let time: u64 = row.time_millis.values().sum();
    [
        (key, Tone::Plain),
        (words::money(&row.total), Tone::Plain),
        part("work"),
        part("boot"),
        part("idle"),
        part("retry"),
        part("drain"),
        (words::millis(time), Tone::Faint),
    ]
}

/// Names of groups as table titles.
trait Title {
    fn title(self) -> &'static str;
}

impl Title for CostGroupWord {
    fn title(self) -> &'static str {
        match self {
            Self::Build => "BUILD",
            Self::Pipeline => "PIPELINE",
            Self::Project => "PROJECT",
            Self::Image => "IMAGE",
            Self::Day => "DAY",
        }
    }
}
