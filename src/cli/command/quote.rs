//! `dormouse quote`

use std::path::PathBuf;

use clap::Args;

use crate::api::view::{MillisRange, MoneyRange, QuoteView};
use crate::cli::command::submit::{document, named};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Fields, Fit, Output, Table, Tone, column, numbers, words};
use crate::cli::report::Outcome;

/// Say what a pipeline would start, cost and take; queues nothing
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse quote pipeline.yaml
  dormouse quote pipeline.yaml --json | jq .cost.high.text

Ranges come from builds of the same name, or of the project; where there are none, the timeout is
the upper end.

JSON: one object, as in POST /api/v1/quote.")]
#[expect(
    clippy::doc_markdown,
    reason = "the docs are help texts, shown as they are"
)]
pub(crate) struct Quote {
    /// The document, YAML or JSON; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Project to charge, for a document that names none [default: $DORMOUSE_PROJECT]
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
}

impl Quote {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let document = document(ctx, &self.file, self.project.as_deref())?;
        let client = ctx.client()?;
        let request = client
            .request(reqwest::Method::POST, &["quote"])
            .header(reqwest::header::CONTENT_TYPE, "application/yaml")
            .body(document);
        let quote: QuoteView = client
            .value(request)
            .await
            .map_err(|error| named(error, &self.file))?;
        ctx.output.answer(&quote, |quote| draw(quote, ctx.output))?;
        Ok(Exit::Success)
    }
}

/// A quote for people.
pub(crate) fn draw(quote: &QuoteView, output: Output) -> String {
    let mut table = Table::new(&[
        column("BUILD", Fit::Whole),
        column("PLACE", Fit::Shrink),
        numbers("PRICE", Fit::Drop(1)),
        numbers("STARTS IN", Fit::Drop(3)),
        numbers("RUNS FOR", Fit::Drop(4)),
        numbers("COST", Fit::Whole),
        column("KNOWN FROM", Fit::Drop(2)),
    ]);
    for build in &quote.builds {
        let price = build.price.as_ref();
        let price = price.map(|price| words::rate(price.micro_usd_per_hour));
        table.row([
            (build.name.clone(), Tone::Plain),
            (build.place.clone(), Tone::Plain),
            (price.unwrap_or_else(|| words::NONE.to_owned()), Tone::Plain),
            (times(build.start), Tone::Plain),
            (times(build.run), Tone::Plain),
            (amounts(&build.cost), Tone::Plain),
            (build.basis.clone(), Tone::Faint),
        ]);
    }
    let mut fields = Fields::default();
    let likely = words::millis(quote.took.likely_millis);
    fields.add("Takes", format!("{}, likely {likely}", times(quote.took)));
    let likely = words::money(&quote.cost.likely);
    fields.add(
        "Costs",
        format!("{}, likely {likely}", amounts(&quote.cost)),
    );
    fields.add("Idle beside", amounts(&quote.idle));
    let launches = words::count(u64::from(quote.launches), "machine");
    fields.add("Starts", format!("{launches} at once"));
    for held in &quote.held_by {
        fields.toned("Held by", held.clone(), Tone::Odd);
    }
    for note in &quote.notes {
        fields.add("Note", note.clone());
    }
    let (table, fields) = (table.draw(output.paper), fields.draw(output.paper));
    format!("{table}\n{fields}")
}

/// `40s`, or `40s to 2m 00s`.
fn times(range: MillisRange) -> String {
    let low = words::millis(range.low_millis);
    between(low, &words::millis(range.high_millis))
}

fn amounts(range: &MoneyRange) -> String {
    between(words::money(&range.low), &words::money(&range.high))
}

fn between(low: String, high: &str) -> String {
    if low == high {
        low
    } else {
        format!("{low} to {high}")
    }
}
