//! `dormouse pipeline`

use clap::Args;

use crate::api::view::PipelineDetail;
use crate::cli::arguments::Target;
use crate::cli::command::pipelines::{tally, word};
use crate::cli::command::{builds, target};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Fields, Output, Tone, words};
use crate::cli::report::Outcome;

/// Show one pipeline with its builds
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse pipeline pl_01jd3x9k2v6q8w4e5r7t9y1s3f
  dormouse pipeline latest

JSON: one object, as in GET /api/v1/pipelines/{id}.")]
pub(crate) struct Pipeline {
    /// The pipeline's id, the id of one of its builds, or `latest`
    #[arg(value_name = "ID")]
    target: Target,
}

impl Pipeline {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let client = ctx.client()?;
        let id = target::the_pipeline(&client, self.target).await?;
        let detail = target::pipeline(&client, id).await?;
        ctx.output
            .answer(&detail, |detail| draw(detail, ctx.output))?;
        Ok(Exit::Success)
    }
}

/// A pipeline for people.
pub(crate) fn draw(detail: &PipelineDetail, output: Output) -> String {
    let pipeline = &detail.pipeline;
    let state = word(pipeline);
    let mut fields = Fields::default();
    fields.add("Pipeline", pipeline.id.to_string());
    fields.add("Name", pipeline.name.clone());
    fields.add("Project", pipeline.project.clone());
    fields.toned("State", state, Tone::of_word(state));
    fields.add("Builds", tally(pipeline));
    let submitted = words::ago(pipeline.submitted_at, output.now);
    fields.add(
        "Submitted",
        format!("{submitted} by {}", pipeline.submitted_by),
    );
    let labels = (!pipeline.labels.is_empty()).then(|| words::pairs(&pipeline.labels));
    fields.maybe("Labels", labels);
    let builds = builds::table(&detail.builds, output.now);
    format!(
        "{}\n{}",
        fields.draw(output.paper),
        builds.draw(output.paper)
    )
}
