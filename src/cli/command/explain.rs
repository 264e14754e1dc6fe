//! `dormouse explain`

use clap::Args;

use crate::api::view::ExplanationView;
use crate::cli::arguments::Target;
use crate::cli::client::Client;
use crate::cli::command::target::{self, Known};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Fields, Fit, Output, Table, Tone, column, numbers, words};
use crate::cli::report::Outcome;
use crate::model::BuildId;

/// Most builds of a pipeline that are explained: beyond it the reasons repeat.
const MOST_BUILDS: usize = 20;

/// Say why a build stands where it stands, image by image, and what happens next
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse explain bld_01jd3x9k2v6q8w4e5r7t9y1s3f
  dormouse explain latest

A pipeline stands for its unfinished builds; `latest` is the newest pipeline.

JSON: one object for a build, as in GET /api/v1/builds/{id}/explain; an array for a pipeline.")]
pub(crate) struct Explain {
    /// The id of a build or a pipeline, or `latest`
    #[arg(value_name = "ID")]
    target: Target,
}

impl Explain {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let client = ctx.client()?;
        match target::known(&client, self.target).await? {
            Known::Build(id) => {
                let explanation = explain(&client, id).await?;
                ctx.output
                    .answer(&explanation, |explanation| draw(explanation, ctx.output))?;
            }
            Known::Pipeline(id) => {
                let detail = target::pipeline(&client, id).await?;
                let open = detail.builds.iter().filter(|build| build.result.is_none());
                let mut explanations = Vec::new();
                for build in open.take(MOST_BUILDS) {
                    explanations.push(explain(&client, build.id).await?);
                }
                if explanations.is_empty() {
                    ctx.output
                        .note(&format!("every build of {id} has its result"));
                }
                ctx.output.answer(&explanations, |explanations| {
                    let texts = explanations.iter().map(|one| draw(one, ctx.output));
                    texts.collect::<Vec<_>>().join("\n")
                })?;
            }
        }
        Ok(Exit::Success)
    }
}

async fn explain(client: &Client, id: BuildId) -> Outcome<ExplanationView> {
    let path = ["builds", &id.to_string(), "explain"];
    Ok(client.get(&path, &Vec::new()).await?)
}

/// An explanation for people.
pub(crate) fn draw(explanation: &ExplanationView, output: Output) -> String {
    let mut fields = Fields::default();
    fields.add("Build", explanation.build.to_string());
    fields.toned(
        "State",
        explanation.state.clone(),
        Tone::of_word(&explanation.state),
    );
    fields.add("Why", explanation.summary.clone());
    fields.add("Next", explanation.next.clone());
    let mut table = Table::new(&[
        numbers("RANK", Fit::Whole),
        column("IMAGE", Fit::Whole),
        numbers("PRICE FROM", Fit::Drop(1)),
        column("VERDICT", Fit::Shrink),
    ]);
    for image in &explanation.images {
        let tone = if image.rank.is_some() {
            Tone::Plain
        } else {
            Tone::Faint
        };
        let rank = image
            .rank
            .map_or(words::NONE.to_owned(), |rank| rank.to_string());
        let price = image
            .price
            .as_ref()
            .map(|price| words::rate(price.micro_usd_per_hour));
        table.row([
            (rank, tone),
            (image.image.clone(), tone),
            (price.unwrap_or_else(|| words::NONE.to_owned()), tone),
            (image.verdict.clone(), tone),
        ]);
    }
    format!(
        "{}\n{}",
        fields.draw(output.paper),
        table.draw(output.paper)
    )
}
