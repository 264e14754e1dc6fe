//! `dormouse images`

use clap::Args;

use crate::api::view::{ImageView, Page};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Fit, Table, Tone, column, numbers, words};
use crate::cli::report::Outcome;
use crate::model::Timestamp;

/// List the catalogue: each image with what it can build
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse images
  dormouse images --json | jq -r '.[] | select(.capabilities.python) | .name'

JSON: an array of images, as in GET /api/v1/images.")]
pub(crate) struct Images {}

impl Images {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let page: Page<ImageView> = ctx.client()?.get(&["images"], &Vec::new()).await?;
        let now = ctx.output.now;
        ctx.output
            .list(&page.items, "images", |images| table(images, now))?;
        Ok(Exit::Success)
    }
}

/// Images as a table.
pub(crate) fn table(images: &[ImageView], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        column("NAME", Fit::Whole),
        numbers("VERSION", Fit::Drop(3)),
        column("STATE", Fit::Drop(2)),
        column("PROVIDER", Fit::Drop(4)),
        numbers("PRICE FROM", Fit::Drop(5)),
        column("CAPABILITIES", Fit::Shrink),
        column("APPLIED", Fit::Drop(1)),
    ]);
    for image in images {
        let state = image.state.word();
        table.row([
            (image.name.clone(), Tone::Plain),
            (image.version.to_string(), Tone::Plain),
            (state.to_owned(), Tone::of_word(state)),
            (image.provider.clone(), Tone::Plain),
            (cheapest(image), Tone::Plain),
            (capabilities(image), Tone::Plain),
            (words::ago(image.applied_at, now), Tone::Faint),
        ]);
    }
    table
}

fn cheapest(image: &ImageView) -> String {
    image
        .shapes
        .iter()
        .map(|shape| shape.price.micro_usd_per_hour)
        .min()
        .map_or(words::NONE.to_owned(), words::rate)
}

/// `cc gcc=12.2.0 python=3.11.9,3.12.4 -docker`
pub(crate) fn capabilities(image: &ImageView) -> String {
    let one = |(name, values): (&String, &Vec<String>)| match values.as_slice() {
        [value] if value == "true" => name.clone(),
        [value] if value == "false" => format!("-{name}"),
        values => format!("{name}={}", values.join(",")),
    };
    let texts: Vec<String> = image.capabilities.iter().map(one).collect();
    words::or_none(texts.join(" "))
}
