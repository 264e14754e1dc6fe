//! `dormouse cancel`

use clap::Args;

use crate::api::view::{BuildSummary, CancelCount};
use crate::cli::arguments::Target;
use crate::cli::command::target::Known;
use crate::cli::command::{builds, target};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::words;
use crate::cli::report::Outcome;

/// Ask for the end of a build, or of every unfinished build of a pipeline
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse cancel bld_01jd3x9k2v6q8w4e5r7t9y1s3f
  dormouse cancel latest

A build that has its result keeps it. `latest` is the newest pipeline.

JSON: the build, as in POST /api/v1/builds/{id}/cancel, or {\"asked\": N} for a pipeline.")]
pub(crate) struct Cancel {
    /// The id of a build or a pipeline, or `latest`
    #[arg(value_name = "ID")]
    target: Target,
}

impl Cancel {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let client = ctx.client()?;
        match target::known(&client, self.target).await? {
            Known::Build(id) => {
                let build: BuildSummary =
                    client.post(&["builds", &id.to_string(), "cancel"]).await?;
                ctx.output.answer(&build, |build| {
                    let word = builds::word(build);
                    match build.result {
                        Some(_) => format!("{id} is over already: {word}\n"),
                        None => format!("asked {id} to end; it is {word} now\n"),
                    }
                })?;
            }
            Known::Pipeline(id) => {
                let path = ["pipelines", &id.to_string(), "cancel"];
                let count: CancelCount = client.post(&path).await?;
                ctx.output.answer(&count, |count| {
                    let builds = words::count(count.asked.into(), "unfinished build");
                    format!("asked {builds} of {id} to end\n")
                })?;
            }
        }
        Ok(Exit::Success)
    }
}
