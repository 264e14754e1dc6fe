//! `dormouse retry`

use clap::Args;

use crate::api::view::AcceptedView;
use crate::cli::arguments::Target;
use crate::cli::command::target::Known;
use crate::cli::command::{follow, target};
use crate::cli::context::Context;
use crate::cli::report::Outcome;

/// Queue a finished build again, or the builds of a pipeline that did not succeed
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse retry bld_01jd3x9k2v6q8w4e5r7t9y1s3f
  dormouse retry latest --follow

The result is a new pipeline; what has run keeps its result, log and cost.

JSON: what was accepted, as in POST /api/v1/builds/{id}/retry; with --follow as in `submit`.")]
pub(crate) struct Retry {
    /// The id of a build or a pipeline, or `latest`
    #[arg(value_name = "ID")]
    target: Target,
    /// Wait for the result, showing progress; the exit code tells it
    #[arg(long, short)]
    follow: bool,
}

impl Retry {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let client = ctx.client()?;
        let (kind, id) = match target::known(&client, self.target).await? {
            Known::Build(id) => ("builds", id.to_string()),
            Known::Pipeline(id) => ("pipelines", id.to_string()),
        };
        let accepted: AcceptedView = client.post(&[kind, &id, "retry"]).await?;
        follow::accepted(ctx, &client, &accepted, self.follow).await
    }
}
