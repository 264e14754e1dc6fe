//! `dormouse demo`

use clap::Args;

use crate::app;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::report::{Outcome, Report};

/// See it work: a server, images, machines and a real pipeline on this host, in a minute
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse demo
  dormouse demo --keep

Everything lives in a temporary directory and is gone afterwards. With --keep it goes on serving,
so that the other commands can be tried, until Ctrl-C.")]
pub(crate) struct Demo {
    /// Go on serving at the end, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

impl Demo {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        app::demo(app::DemoOptions {
            keep: self.keep,
            json: ctx.output.is_json(),
        })
        .await
        .map_err(|error| Report::new(Exit::Failure, "demo", format!("{error:#}")))?;
        Ok(Exit::Success)
    }
}
