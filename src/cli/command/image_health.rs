//! `dormouse image health` and `dormouse image release`

use crate::api::view::{ImageHealthView, ImageView, Page};
use crate::cli::client::Client;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Fit, Table, Tone, column, numbers, words};
use crate::cli::report::Outcome;

/// Shows how one image fares, or all of the catalogue.
pub(crate) async fn show(ctx: &Context, client: &Client, name: Option<String>) -> Outcome {
    let names = match name {
        Some(name) => vec![name],
        None => names(client).await?,
    };
    let mut all: Vec<ImageHealthView> = Vec::with_capacity(names.len());
    for name in names {
        let path = ["images", name.as_str(), "health"];
        all.push(client.get(&path, &Vec::new()).await?);
    }
    ctx.output.list(&all, "images", table)?;
    Ok(Exit::Success)
}

async fn names(client: &Client) -> Outcome<Vec<String>> {
    let page: Page<ImageView> = client.get(&["images"], &Vec::new()).await?;
    let mut names: Vec<String> = page.items.into_iter().map(|image| image.name).collect();
    names.dedup();
    Ok(names)
}

/// Makes a quarantined version current again.
pub(crate) async fn release(ctx: &Context, client: &Client, name: &str) -> Outcome {
    let image: ImageView = client.post(&["images", name, "release"]).await?;
    ctx.output.answer(&image, |image| {
        format!("released {} v{}\n", image.name, image.version)
    })?;
    Ok(Exit::Success)
}

/// How images fare, a row for each version and shape.
pub(crate) fn table(images: &[ImageHealthView]) -> Table {
    let mut table = Table::new(&[
        column("IMAGE", Fit::Whole),
        column("STATE", Fit::Whole),
        column("SHAPE", Fit::Shrink),
        numbers("BOOTS", Fit::Whole),
        numbers("FAILED", Fit::Whole),
        numbers("P50", Fit::Drop(2)),
        numbers("P95", Fit::Drop(3)),
        numbers("BUILDS", Fit::Drop(5)),
        numbers("INFRA FAILURES", Fit::Drop(4)),
        numbers("COST OF FAILURES", Fit::Drop(1)),
    ]);
    let time = |millis: Option<u64>| millis.map_or(words::NONE.to_owned(), words::millis);
    for image in images {
        for version in &image.versions {
            let name = format!("{} v{}", image.image, version.version);
            let state = version.state.word();
            if version.shapes.is_empty() {
                let none = || (words::NONE.to_owned(), Tone::Faint);
                table.row([
                    (name.clone(), Tone::Plain),
                    (state.to_owned(), Tone::of_word(state)),
                    none(),
                    none(),
                    none(),
                    none(),
                    none(),
                    none(),
                    none(),
                    none(),
                ]);
            }
            for shape in &version.shapes {
                let bad = |count: u32| if count > 0 { Tone::Bad } else { Tone::Plain };
                table.row([
                    (name.clone(), Tone::Plain),
                    (state.to_owned(), Tone::of_word(state)),
                    (shape.shape.clone(), Tone::Plain),
                    (shape.boots.to_string(), Tone::Plain),
                    (shape.failed_boots.to_string(), bad(shape.failed_boots)),
                    (time(shape.boot_p50_millis), Tone::Plain),
                    (time(shape.boot_p95_millis), Tone::Plain),
                    (shape.builds.to_string(), Tone::Plain),
                    (
                        shape.infrastructure_failures.to_string(),
                        bad(shape.infrastructure_failures),
                    ),
                    (words::money(&shape.failure_cost), Tone::Plain),
                ]);
            }
        }
    }
    table
}
