//! The commands, one file each: what they take, what they ask the server, how the answer looks.

use clap::Subcommand;
use serde::de::DeserializeOwned;

use super::context::Context;
use super::report::Outcome;

mod apply;
mod bench;
mod build;
mod builds;
mod cancel;
mod completions;
mod config;
mod cost;
mod demo;
mod events;
mod explain;
mod follow;
mod image;
mod images;
mod logs;
mod machine;
mod machines;
mod man;
mod openapi;
mod pipeline;
mod pipelines;
mod plan;
mod policies;
mod retry;
mod serve;
mod submit;
mod target;
mod token;

#[cfg(test)]
mod tests;

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Serve(serve::Serve),
    Demo(demo::Demo),
    Apply(apply::Apply),
    Submit(submit::Submit),
    Pipelines(pipelines::Pipelines),
    Pipeline(pipeline::Pipeline),
    Builds(builds::Builds),
    Build(build::Build),
    Logs(logs::Logs),
    Cancel(cancel::Cancel),
    Retry(retry::Retry),
    Explain(explain::Explain),
    Plan(plan::Plan),
    Machines(machines::Machines),
    Machine(machine::Machine),
    Images(images::Images),
    Image(image::Image),
    Policies(policies::Policies),
    Events(events::Events),
    Cost(cost::Cost),
    Token(token::Token),
    Config(config::Config),
    Completions(completions::Completions),
    Man(man::Man),
    #[command(name = "openapi")]
    OpenApi(openapi::OpenApi),
    #[command(hide = true)]
    Bench(bench::Bench),
}

impl Command {
    /// Whether it runs a server of its own, which wants every processor.
    pub(super) const fn is_server(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Demo(_) | Self::Bench(_))
    }

    /// Does it.
    pub(super) async fn run(self, ctx: &Context) -> Outcome {
        match self {
            Self::Serve(command) => command.run(ctx).await,
            Self::Demo(command) => command.run(ctx).await,
            Self::Apply(command) => command.run(ctx).await,
            Self::Submit(command) => command.run(ctx).await,
            Self::Pipelines(command) => command.run(ctx).await,
            Self::Pipeline(command) => command.run(ctx).await,
            Self::Builds(command) => command.run(ctx).await,
            Self::Build(command) => command.run(ctx).await,
            Self::Logs(command) => command.run(ctx).await,
            Self::Cancel(command) => command.run(ctx).await,
            Self::Retry(command) => command.run(ctx).await,
            Self::Explain(command) => command.run(ctx).await,
            Self::Plan(command) => command.run(ctx).await,
            Self::Machines(command) => command.run(ctx).await,
            Self::Machine(command) => command.run(ctx).await,
            Self::Images(command) => command.run(ctx).await,
            Self::Image(command) => command.run(ctx).await,
            Self::Policies(command) => command.run(ctx).await,
            Self::Events(command) => command.run(ctx).await,
            Self::Cost(command) => command.run(ctx).await,
            Self::Token(command) => command.run(ctx).await,
            Self::Config(command) => command.run(ctx),
            Self::Completions(command) => command.run(ctx),
            Self::Man(command) => command.run(ctx),
            Self::OpenApi(command) => command.run(ctx),
            Self::Bench(command) => command.run(ctx).await,
        }
    }
}

/// Reads one of the words that the API uses for the values of an enum.
fn parse_word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}
