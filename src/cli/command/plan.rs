//! `dormouse plan`

use std::path::PathBuf;

use clap::Args;

use crate::api::view::PlanView;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Output, Tone, words};
use crate::cli::report::{Outcome, file_error};

/// Print what the planner would do now, what waits, and why; changes nothing
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse plan
  dormouse plan --json | jq '.waiting[].why'

  dormouse plan --record pass.json && dormouse replay pass.json

JSON: one object, as in GET /api/v1/plan.")]
pub(crate) struct Plan {
    /// Write the pass, with all that goes into it, to a file for `dormouse replay`
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

impl Plan {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let client = ctx.client()?;
        if let Some(path) = self.record {
            let pass: serde_json::Value = client.get(&["plan", "recording"], &Vec::new()).await?;
            std::fs::write(&path, pass.to_string())
                .map_err(|error| file_error("write", &path, &error))?;
            ctx.output.note(&format!("recorded in {}", path.display()));
        }
        let plan: PlanView = client.get(&["plan"], &Vec::new()).await?;
        ctx.output.answer(&plan, |plan| draw(plan, ctx.output))?;
        Ok(Exit::Success)
    }
}

/// A plan for people.
pub(crate) fn draw(plan: &PlanView, output: Output) -> String {
    let waiting: Vec<String> = plan
        .waiting
        .iter()
        .map(|group| {
            let builds = words::count(group.builds, "build");
            let first = group.first;
            format!(
                "{builds} needing {}: {} (first {first})",
                group.requires, group.why
            )
        })
        .collect();
    let mut text = section("Actions", &plan.actions, output);
    text.push_str(&section("Waiting", &waiting, output));
    text.push_str(&section("Machines", &plan.machines, output));
    let wake = plan.wake_at.map(|at| words::length(at.since(plan.at)));
    text + &wake.map_or_else(String::new, |when| {
        format!("Time alone changes this in {when}.\n")
    })
}

fn section(title: &str, lines: &[String], output: Output) -> String {
    let mut text = format!("{}\n", output.paint(title, Tone::Active));
    if lines.is_empty() {
        text.push_str("  nothing\n");
    }
    text.extend(
        lines
            .iter()
            .map(|line| format!("  {}\n", words::printable(line))),
    );
    text
}
