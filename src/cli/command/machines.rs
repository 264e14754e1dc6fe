//! `dormouse machines`

use clap::Args;

use crate::api::view::MachineView;
use crate::cli::client::Query;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Fit, Table, Tone, column, numbers, words};
use crate::cli::report::Outcome;
use crate::model::Timestamp;

/// List machines with their state and running cost
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse machines
  dormouse machines --all --limit 200
  dormouse machines --json | jq 'map(.cost.micro_usd) | add'

JSON: an array of machines, as in GET /api/v1/machines.")]
pub(crate) struct Machines {
    /// Also machines that are gone
    #[arg(long)]
    all: bool,
    /// Most rows
    #[arg(long, short = 'n', value_name = "ROWS", default_value_t = 50)]
    limit: u32,
}

impl Machines {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let query = Query::from([("all", self.all.to_string())]);
        let client = ctx.client()?;
        let (machines, more) = client.list(&["machines"], &query, self.limit).await?;
        let now = ctx.output.now;
        ctx.output
            .list(&machines, "machines", |rows| table(rows, now))?;
        ctx.more(more, self.limit);
        Ok(Exit::Success)
    }
}

/// Machines as a table.
pub(crate) fn table(machines: &[MachineView], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        column("ID", Fit::Whole),
        column("STATE", Fit::Whole),
        column("IMAGE", Fit::Shrink),
        numbers("COST", Fit::Drop(6)),
        column("SINCE", Fit::Drop(5)),
        numbers("AGE", Fit::Drop(4)),
        numbers("BUILDS", Fit::Drop(3)),
        column("BUILD", Fit::Drop(2)),
        column("REASON", Fit::Drop(1)),
    ]);
    for machine in machines {
        let state = machine.state.word();
        let build = match machine.builds.as_slice() {
            [] => words::NONE.to_owned(),
            [id] => id.to_string(),
            [id, more @ ..] => format!("{id} +{}", more.len()),
        };
        table.row([
            (machine.id.to_string(), Tone::Plain),
            (state.to_owned(), Tone::of_word(state)),
            (
                format!("{} v{}", machine.image, machine.image_version),
                Tone::Plain,
            ),
            (words::money(&machine.cost), Tone::Plain),
            (words::ago(machine.since, now), Tone::Faint),
            (words::millis(machine.age_millis), Tone::Faint),
            (machine.builds_done.to_string(), Tone::Plain),
            (build, Tone::Faint),
            (why(machine), Tone::Faint),
        ]);
    }
    table
}

/// Why it is ended or kept.
fn why(machine: &MachineView) -> String {
    machine.hold.as_ref().map_or_else(
        || machine.reason.clone().unwrap_or_default(),
        |hold| format!("held by {}: {}", hold.owner, hold.reason),
    )
}
