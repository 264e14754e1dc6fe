//! `dormouse explain`

use clap::Args;

use crate::api::view::{AttemptReportView, ExplanationView};
use crate::cli::arguments::Target;
use crate::cli::client::Client;
use crate::cli::command::target::{self, Known};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::table::Column;
use crate::cli::output::{Fields, Fit, Output, Table, Tone, column, numbers, words};
use crate::cli::report::Outcome;
use crate::model::BuildId;

/// Most builds of a pipeline that are explained: beyond it the reasons repeat.
const MOST_BUILDS: usize = 20;

/// Say why a build stands where it stands, by image, shape and machine, and what would change it
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
                    ctx.output.note(&format!(
                        "every build of {id} has its result; with a build's id, this tells where \
                             and why there it ran"
                    ));
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
    if let Some(awaited) = &explanation.waits_for {
        fields.add("Waits for", awaited.clone());
    }
    if let Some(at) = explanation.next_try {
        fields.add("Next try", at.to_string());
    }
    if let Some(ahead) = explanation.ahead {
        let builds = words::count(ahead, "older build");
        fields.add("Ahead", format!("{builds} of its project and priority"));
    }
    let mut table = Table::new(&[
        numbers("RANK", Fit::Whole),
        column("IMAGE", Fit::Whole),
        numbers("PRICE FROM", Fit::Drop(1)),
        column("VERDICT", Fit::Shrink),
    ]);
    for image in &explanation.images {
        let (rank, tone) = ranked(image.rank);
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
    let mut parts = vec![fields.draw(output.paper)];
    let attempts = explanation.attempts.iter();
    parts.extend(attempts.map(|attempt| draw_attempt(attempt, output)));
    if !table.is_empty() {
        parts.push(table.draw(output.paper));
    }
    parts.extend(shapes(explanation).map(|table| table.draw(output.paper)));
    parts.extend(machines(explanation).map(|table| table.draw(output.paper)));
    parts.extend(remedies(explanation, output));
    parts.join("\n")
}

/// One try, with all that was noted of it.
fn draw_attempt(attempt: &AttemptReportView, output: Output) -> String {
    let mut fields = Fields::default();
    let machine = attempt.machine.to_string();
    fields.add(
        "On",
        match &attempt.place {
            Some(place) => format!("{machine} ({place})"),
            None => machine,
        },
    );
    fields.maybe("Why there", attempt.why.clone());
    let waited = words::millis(attempt.waited_millis);
    fields.add(
        "Queued for",
        match &attempt.waited_for {
            Some(why) => format!("{waited}: {why}"),
            None => waited,
        },
    );
    fields.maybe("Began after", attempt.ready_millis.map(words::millis));
    fields.maybe("Ran for", attempt.ran_millis.map(words::millis));
    fields.add("Outcome", attempt.outcome.clone());
    let title = format!("Attempt {}", attempt.number);
    let title = output.paint(&title, Tone::Active);
    format!("{title}\n{}", fields.draw(output.paper))
}

/// A rank, and how much its row matters.
fn ranked(rank: Option<u32>) -> (String, Tone) {
    match rank {
        Some(rank) => (rank.to_string(), Tone::Plain),
        None => (words::NONE.to_owned(), Tone::Faint),
    }
}

const RANK: Column = numbers("RANK", Fit::Whole);
const IMAGE: Column = column("IMAGE", Fit::Whole);
const VERDICT: Column = column("VERDICT", Fit::Shrink);

/// Where candidates can be launched.
fn shapes(explanation: &ExplanationView) -> Option<Table> {
    let mut table = Table::new(&[
        RANK,
        IMAGE,
        column("SHAPE", Fit::Whole),
        column("ZONE", Fit::Drop(2)),
        column("MARKET", Fit::Drop(3)),
        numbers("PRICE", Fit::Drop(4)),
        VERDICT,
    ]);
    for image in &explanation.images {
        for shape in &image.shapes {
            let (rank, tone) = ranked(shape.rank);
            let zone = Some(shape.zone.as_str()).filter(|zone| !zone.is_empty());
            table.row([
                (rank, tone),
                (image.image.clone(), tone),
                (shape.shape.clone(), tone),
                (zone.unwrap_or(words::NONE).to_owned(), tone),
                (shape.market.word().to_owned(), tone),
                (words::rate(shape.price.micro_usd_per_hour), tone),
                (shape.verdict.clone(), tone),
            ]);
        }
    }
    (!table.is_empty()).then_some(table)
}

/// The machines of candidates.
fn machines(explanation: &ExplanationView) -> Option<Table> {
    let mut table = Table::new(&[
        RANK,
        column("MACHINE", Fit::Whole),
        column("IMAGE", Fit::Drop(1)),
        column("STATE", Fit::Drop(2)),
        VERDICT,
    ]);
    for image in &explanation.images {
        for machine in &image.machines {
            let (rank, tone) = ranked(machine.rank);
            table.row([
                (rank, tone),
                (machine.machine.to_string(), tone),
                (image.image.clone(), tone),
                (machine.state.clone(), tone),
                (machine.verdict.clone(), tone),
            ]);
        }
    }
    (!table.is_empty()).then_some(table)
}

/// The commands that change something, what each is good for behind it.
fn remedies(explanation: &ExplanationView, output: Output) -> Option<String> {
    if explanation.remedies.is_empty() {
        return None;
    }
    let mut text = format!("{}\n", output.paint("What you could do", Tone::Active));
    for remedy in &explanation.remedies {
        let command = words::printable(&remedy.command);
        let effect = words::printable(&remedy.effect);
        for piece in ["  ", &command, "\n      ", &effect, "\n"] {
            text.push_str(piece);
        }
    }
    Some(text)
}
