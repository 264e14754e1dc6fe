//! `dormouse bench`: hidden, for those who work on Dormouse.

use clap::Args;

use crate::bench;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::report::{Outcome, Report};

/// Measure this build of Dormouse on this host; prints JSON
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  dormouse bench dispatch | jq

Each measurement starts its own server and machines and leaves nothing behind.")]
pub(crate) struct Bench {
    #[command(subcommand)]
    scenario: bench::Bench,
}

impl Bench {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let result = self
            .scenario
            .run()
            .await
            .map_err(|error| Report::new(Exit::Failure, "bench", format!("{error:#}")))?;
        ctx.output.text(&format!("{result:#}\n"))?;
        Ok(Exit::Success)
    }
}
