//! `dormouse openapi`

use clap::Args;

use crate::api;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::report::Outcome;

/// Print the `OpenAPI` document of this version's HTTP API
#[derive(Debug, Args)]
#[command(
    about = "Print the OpenAPI document of this version's HTTP API",
    after_help = "\
Example:
  dormouse openapi > openapi.json

A running server has it at /api/v1/openapi.json, and a page to browse at /api/docs/."
)]
pub(crate) struct OpenApi {}

impl OpenApi {
    #[expect(clippy::unused_self, reason = "every command runs alike")]
    pub(crate) fn run(self, ctx: &Context) -> Outcome {
        ctx.output
            .text(&format!("{}\n", api::openapi_json().trim_end()))?;
        Ok(Exit::Success)
    }
}
