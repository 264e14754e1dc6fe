//! `dormouse image`

use clap::{Args, Subcommand};
use serde_json::json;

use crate::api::view::{AcceptedView, ImageView, Page, VerdictView};
use crate::cli::client::Client;
use crate::cli::command::images::capabilities;
use crate::cli::command::{follow, images};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Fields, Fit, Output, Table, Tone, column, words};
use crate::cli::report::{Outcome, Report};

/// Show, verify or remove one image of the catalogue
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse image show debian-12
  dormouse image verify debian-12
  dormouse image remove debian-12")]
pub(crate) struct Image {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the current version and what came before
    #[command(after_help = "\
Example:
  dormouse image show debian-12

JSON: an array of versions, newest first, as in GET /api/v1/images/{name}.")]
    Show {
        /// The image's name
        name: String,
    },
    /// Boot a machine and compare what the catalogue claims with what the probes find
    #[command(after_help = "\
Example:
  dormouse image verify debian-12 && dormouse submit pipeline.yaml

Exits with 1 when a claim and a finding differ, else like the build that ran the probes.

JSON: {\"image\", \"build\", \"result\", \"verdicts\": […]}, as in GET /api/v1/builds/{id}/verdicts.")]
    Verify {
        /// The image's name
        name: String,
    },
    /// Take an image out of the catalogue; its machines finish their builds and end
    #[command(after_help = "\
Example:
  dormouse image remove debian-12

JSON: the image that was removed.")]
    Remove {
        /// The image's name
        name: String,
    },
}

impl Image {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let client = ctx.client()?;
        match self.action {
            Action::Show { name } => show(ctx, &client, &name).await,
            Action::Verify { name } => verify(ctx, &client, &name).await,
            Action::Remove { name } => remove(ctx, &client, &name).await,
        }
    }
}

async fn show(ctx: &Context, client: &Client, name: &str) -> Outcome {
    let versions: Page<ImageView> = client.get(&["images", name], &Vec::new()).await?;
    ctx.output
        .answer(&versions.items, |versions| draw(versions, ctx.output))?;
    Ok(Exit::Success)
}

async fn remove(ctx: &Context, client: &Client, name: &str) -> Outcome {
    let image: ImageView = client.delete(&["images", name]).await?;
    ctx.output.answer(&image, |image| {
        format!("removed {} v{}\n", image.name, image.version)
    })?;
    Ok(Exit::Success)
}

async fn verify(ctx: &Context, client: &Client, name: &str) -> Outcome {
    let accepted: AcceptedView = client.post(&["images", name, "verify"]).await?;
    let Some(build) = accepted.builds.first() else {
        let message = format!("the verification of {name} has no build");
        return Err(Report::new(Exit::Unavailable, "garbled", message).into());
    };
    let (detail, exit) = follow::quietly(ctx, client, accepted.pipeline).await?;
    let id = build.id.to_string();
    let path = ["builds", id.as_str(), "verdicts"];
    let verdicts: Page<VerdictView> = client.get(&path, &Vec::new()).await?;
    let answer = json!({
        "image": name,
        "build": id,
        "result": detail.pipeline.result,
        "verdicts": verdicts.items,
    });
    ctx.output.answer(&answer, |_| {
        verdict_table(&verdicts.items).draw(ctx.output.paper)
    })?;
    let differ = verdicts
        .items
        .iter()
        .filter(|verdict| !verdict.agrees)
        .count();
    if differ > 0 {
        let of = words::count(verdicts.items.len() as u64, "claim");
        ctx.output.note(&format!(
            "{differ} of {of} about {name} differ from what was found"
        ));
        return Ok(exit.max(Exit::Failure));
    }
    Ok(exit)
}

/// Claims and findings as a table.
pub(crate) fn verdict_table(verdicts: &[VerdictView]) -> Table {
    let mut table = Table::new(&[
        column("CAPABILITY", Fit::Whole),
        column("AGREES", Fit::Whole),
        column("CLAIMED", Fit::Shrink),
        column("FOUND", Fit::Shrink),
    ]);
    for verdict in verdicts {
        let (agrees, tone) = if verdict.agrees {
            ("yes", Tone::Good)
        } else {
            ("no", Tone::Bad)
        };
        table.row([
            (verdict.capability.clone(), Tone::Plain),
            (agrees.to_owned(), tone),
            (words::or_none(verdict.claimed.join(", ")), Tone::Plain),
            (words::or_none(verdict.found.join(", ")), Tone::Plain),
        ]);
    }
    table
}

/// An image with its history for people.
pub(crate) fn draw(versions: &[ImageView], output: Output) -> String {
    let Some(image) = versions.first() else {
        return String::new();
    };
    let mut fields = Fields::default();
    fields.add("Image", image.name.clone());
    fields.add("Description", image.description.clone());
    fields.add("Version", image.version.to_string());
    fields.toned(
        "State",
        image.state.word(),
        Tone::of_word(image.state.word()),
    );
    fields.add("Provider", image.provider.clone());
    fields.add("Reference", image.reference.to_string());
    fields.add("Login", image.login_user.clone());
    for shape in &image.shapes {
        let price = words::rate(shape.price.micro_usd_per_hour);
        let size = format!("{} vcpu, {} MiB", shape.vcpus, shape.memory_mib);
        fields.add("Shape", format!("{} ({size}) {price}", shape.name));
    }
    fields.add("Capabilities", capabilities(image));
    fields.maybe("Ready when", image.ready.clone());
    fields.add(
        "Probes",
        words::or_none(image.probes.keys().cloned().collect::<Vec<_>>().join(" ")),
    );
    fields.add("Boot timeout", image.boot_timeout.to_string());
    let slots = Some(image.slots).filter(|slots| *slots > 1);
    fields.maybe("Slots", slots.map(|slots| slots.to_string()));
    fields.add("Applied", words::ago(image.applied_at, output.now));
    let mut text = fields.draw(output.paper);
    if versions.len() > 1 {
        text.push('\n');
        text.push_str(&images::table(versions, output.now).draw(output.paper));
    }
    text
}
