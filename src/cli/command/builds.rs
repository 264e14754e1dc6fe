//! `dormouse builds`

use clap::Args;

use crate::api::view::{BuildStateWord, BuildSummary, ResultWord};
use crate::cli::client::Query;
use crate::cli::command::parse_word;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Fit, Table, Tone, column, numbers, words};
use crate::cli::report::Outcome;
use crate::model::{PipelineId, Timestamp};

/// List builds, newest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse builds --state running
  dormouse builds --result failure --project compiler --limit 10
  dormouse builds --json | jq -r '.[].id'

JSON: an array of builds, as in GET /api/v1/builds.")]
#[expect(
    clippy::doc_markdown,
    reason = "the docs are help texts, shown as they are"
)]
pub(crate) struct Builds {
    /// Only builds of this pipeline
    #[arg(long, value_name = "ID")]
    pipeline: Option<PipelineId>,
    /// Only builds of this project
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// Only builds in this state: waiting, queued, bound, running, finished
    #[arg(long, value_name = "STATE", value_parser = parse_word::<BuildStateWord>)]
    state: Option<BuildStateWord>,
    /// Only builds that ended so: success, failure, canceled, timed_out, infra_failure, skipped,
    /// over_budget
    #[arg(long, value_name = "RESULT", value_parser = parse_word::<ResultWord>)]
    result: Option<ResultWord>,
    /// Most rows
    #[arg(long, short = 'n', value_name = "ROWS", default_value_t = 50)]
    limit: u32,
}

impl Builds {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let mut query = Query::new();
        query.extend(self.pipeline.map(|id| ("pipeline", id.to_string())));
        query.extend(self.project.map(|name| ("project", name)));
        query.extend(self.state.map(|state| ("state", state.word().to_owned())));
        query.extend(
            self.result
                .map(|result| ("result", result.word().to_owned())),
        );
        let (builds, more) = ctx.client()?.list(&["builds"], &query, self.limit).await?;
        let now = ctx.output.now;
        ctx.output
            .list(&builds, "builds", |builds| table(builds, now))?;
        ctx.more(more, self.limit);
        Ok(Exit::Success)
    }
}

/// The one word for where a build stands: its result once it has one.
pub(crate) fn word(build: &BuildSummary) -> &'static str {
    build.result.map_or(build.state.word(), ResultWord::word)
}

/// How long it runs or ran; a dash before its first step.
pub(crate) fn elapsed(build: &BuildSummary, now: Timestamp) -> String {
    build.started_at.map_or(words::NONE.to_owned(), |start| {
        words::length(build.finished_at.unwrap_or(now).since(start))
    })
}

/// Builds as a table.
pub(crate) fn table(builds: &[BuildSummary], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        column("ID", Fit::Whole),
        column("STATE", Fit::Whole),
        column("NAME", Fit::Shrink),
        numbers("TOOK", Fit::Drop(3)),
        column("SINCE", Fit::Drop(4)),
        column("PROJECT", Fit::Drop(2)),
        column("REASON", Fit::Drop(1)),
    ]);
    for build in builds {
        let word = word(build);
        table.row([
            (build.id.to_string(), Tone::Plain),
            (word.to_owned(), Tone::of_word(word)),
            (build.name.clone(), Tone::Plain),
            (elapsed(build, now), Tone::Plain),
            (words::ago(build.since, now), Tone::Faint),
            (build.project.clone(), Tone::Faint),
            (build.reason.clone().unwrap_or_default(), Tone::Faint),
        ]);
    }
    table
}
