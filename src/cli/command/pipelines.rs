//! `dormouse pipelines`

use clap::Args;

use crate::api::view::{PipelineSummary, ResultWord};
use crate::cli::client::Query;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Fit, Table, Tone, column, words};
use crate::cli::report::Outcome;
use crate::model::Timestamp;

/// List pipelines, newest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse pipelines
  dormouse pipelines --project compiler --limit 5

JSON: an array of pipelines, as in GET /api/v1/pipelines.")]
pub(crate) struct Pipelines {
    /// Only pipelines of this project
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// Most rows
    #[arg(long, short = 'n', value_name = "ROWS", default_value_t = 50)]
    limit: u32,
}

impl Pipelines {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let mut query = Query::new();
        query.extend(self.project.map(|name| ("project", name)));
        let client = ctx.client()?;
        let (pipelines, more) = client.list(&["pipelines"], &query, self.limit).await?;
        let now = ctx.output.now;
        ctx.output
            .list(&pipelines, "pipelines", |rows| table(rows, now))?;
        ctx.more(more, self.limit);
        Ok(Exit::Success)
    }
}

/// The one word for where a pipeline stands: its result once it has one.
pub(crate) fn word(pipeline: &PipelineSummary) -> &'static str {
    pipeline
        .result
        .map_or(pipeline.state.word(), ResultWord::word)
}

/// `3 success, 1 running`
pub(crate) fn tally(pipeline: &PipelineSummary) -> String {
    let parts: Vec<String> = pipeline
        .tally
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    words::or_none(parts.join(", "))
}

/// Pipelines as a table.
pub(crate) fn table(pipelines: &[PipelineSummary], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        column("ID", Fit::Whole),
        column("STATE", Fit::Whole),
        column("NAME", Fit::Shrink),
        column("BUILDS", Fit::Shrink),
        column("SUBMITTED", Fit::Drop(3)),
        column("PROJECT", Fit::Drop(2)),
        column("BY", Fit::Drop(1)),
    ]);
    for pipeline in pipelines {
        let word = word(pipeline);
        table.row([
            (pipeline.id.to_string(), Tone::Plain),
            (word.to_owned(), Tone::of_word(word)),
            (pipeline.name.clone(), Tone::Plain),
            (tally(pipeline), Tone::Plain),
            (words::ago(pipeline.submitted_at, now), Tone::Faint),
            (pipeline.project.clone(), Tone::Faint),
            (pipeline.submitted_by.clone(), Tone::Faint),
        ]);
    }
    table
}
