//! `dormouse logs`

use clap::Args;

use crate::api::view::BuildDetail;
use crate::cli::arguments::Target;
use crate::cli::client::Client;
use crate::cli::command::target::the_build;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::log::{self, Part, Wish};
use crate::cli::report::{Outcome, Report, usage};
use crate::model::BuildId;

/// Print the log of a build, byte for byte
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse logs latest --follow
  dormouse logs bld_01jd3x9k2v6q8w4e5r7t9y1s3f --step unit --timestamps
  dormouse logs bld_01jd3x9k2v6q8w4e5r7t9y1s3f --offset 1048576 > rest.log

Standard output gets the bytes of the build and nothing else; notes go to standard error.
--follow survives a restart of the server without losing or repeating a byte, and goes on with
the next attempt when a machine fails.

JSON: a line per piece, as in GET /api/v1/builds/{id}/log/stream:
{\"attempt\", \"offset\", \"at\", \"text\"} or \"base64\" where the bytes are no UTF-8.")]
pub(crate) struct Logs {
    /// The build's id, a pipeline's id if it has one build, or `latest`
    #[arg(value_name = "ID")]
    target: Target,
    /// Wait for more until the build ends
    #[arg(long, short)]
    follow: bool,
    /// Put the time each line came home before it
    #[arg(long, short)]
    timestamps: bool,
    /// Only this step, by name or by number from 0
    #[arg(long, value_name = "STEP", conflicts_with_all = ["follow", "offset"])]
    step: Option<String>,
    /// Which attempt, from 1 [default: the last, or all from the present one on with --follow]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,
    /// Begin at this byte
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 0,
        hide_default_value = true
    )]
    offset: u64,
}

impl Logs {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let client = ctx.client()?;
        let build = the_build(&client, self.target).await?;
        if self.follow {
            let wish = Wish {
                build,
                attempt: self.attempt,
                from: self.offset,
                until: None,
                timestamps: self.timestamps,
            };
            log::stream(&client, ctx.output, wish).await?;
            return Ok(Exit::Success);
        }
        let Some(part) = self.part(ctx, &client, build).await? else {
            ctx.output.note("no attempt of this build has begun yet");
            return Ok(Exit::Success);
        };
        if self.timestamps || ctx.output.is_json() {
            let wish = Wish {
                build,
                attempt: Some(part.attempt),
                from: part.from,
                until: Some(part.until),
                timestamps: self.timestamps,
            };
            log::stream(&client, ctx.output, wish).await?;
        } else {
            log::copy(&client, ctx.output, build, part).await?;
        }
        Ok(Exit::Success)
    }

    /// Which bytes are meant; `None` when there is no log yet.
    async fn part(&self, ctx: &Context, client: &Client, build: BuildId) -> Outcome<Option<Part>> {
        let path = ["builds", &build.to_string()];
        let detail: BuildDetail = client.get(&path, &Vec::new()).await?;
        let attempt = match self.attempt {
            None => detail.attempts.last(),
            Some(number) => {
                let found = detail
                    .attempts
                    .iter()
                    .find(|attempt| attempt.number == number);
                Some(found.ok_or_else(|| no_attempt(build, number, detail.attempts.len()))?)
            }
        };
        let Some(attempt) = attempt else {
            return Ok(None);
        };
        let mut part = Part {
            attempt: attempt.number,
            from: self.offset,
            until: attempt.log_bytes,
        };
        if let Some(step) = &self.step {
            let index = step_index(&detail, step)?;
            let Some(times) = attempt.steps.iter().find(|times| times.index == index) else {
                ctx.output.note("this step has not begun");
                return Ok(Some(Part { until: 0, ..part }));
            };
            part.from = times.log_start;
            part.until = times.log_end.unwrap_or(attempt.log_bytes);
        }
        Ok(Some(part))
    }
}

fn no_attempt(build: BuildId, number: u32, attempts: usize) -> Report {
    let message = format!("{build} has no attempt {number}");
    Report::new(Exit::Refused, "not-found", message).hint(format!("it has {attempts} so far"))
}

fn step_index(detail: &BuildDetail, step: &str) -> Result<u32, Report> {
    let number: Option<u32> = step.parse().ok();
    let by_name = detail.steps.iter().find(|known| known.name == step);
    let by_number = || {
        detail
            .steps
            .iter()
            .find(|known| Some(known.index) == number)
    };
    by_name.or_else(by_number).map_or_else(
        || {
            let names: Vec<&str> = detail
                .steps
                .iter()
                .map(|known| known.name.as_str())
                .collect();
            Err(usage(format!("{} has no step {step:?}", detail.build.id))
                .hint(format!("its steps are {}", names.join(", "))))
        },
        |found| Ok(found.index),
    )
}
