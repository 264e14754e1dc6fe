//! The commands, one file each: what they take, what they ask the server, how the answer looks.

use clap::Subcommand;
use serde::de::DeserializeOwned;
use tokio::runtime::Builder;

use super::context::Context;
use super::exit::Exit;
use super::report::{Outcome, Report};

mod apply;
mod bench;
mod budget;
mod budgets;
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
mod history;
mod image;
mod images;
mod local_machine;
mod logs;
mod machine;
mod machines;
mod man;
mod openapi;
mod pipeline;
mod pipelines;
mod plan;
mod policies;
mod policy;
mod replay;
mod retry;
mod serve;
mod simulate;
mod submit;
#[cfg(feature = "ec2")]
mod sweep;
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
    Replay(replay::Replay),
    Machines(machines::Machines),
    Machine(machine::Machine),
    Images(images::Images),
    Image(image::Image),
    Policies(policies::Policies),
    Policy(policy::Policy),
    Events(events::Events),
    Cost(cost::Cost),
    Budgets(budgets::Budgets),
    Budget(budget::Budget),
    History(history::History),
    Simulate(Box<simulate::Simulate>),
    #[cfg(feature = "ec2")]
    Sweep(sweep::Sweep),
    Token(token::Token),
    Config(config::Config),
    Completions(completions::Completions),
    Man(man::Man),
    #[command(name = "openapi")]
    OpenApi(openapi::OpenApi),
    #[command(hide = true)]
    Bench(bench::Bench),
    #[command(hide = true)]
    LocalMachine(local_machine::LocalMachine),
}

impl Command {
    /// Whether it runs a server, with a log of its own.
    pub(super) const fn is_server(&self) -> bool {
        matches!(
            self,
            Self::Serve(_) | Self::Demo(_) | Self::Bench(_) | Self::LocalMachine(_)
        )
    }

    /// Does it.
    pub(super) fn run(self, ctx: &Context) -> Outcome {
        match self {
            Self::Serve(command) => on_all_processors(command.run(ctx)),
            Self::Demo(command) => on_all_processors(command.run(ctx)),
            Self::Apply(command) => on_this_thread(command.run(ctx)),
            Self::Submit(command) => on_this_thread(command.run(ctx)),
            Self::Pipelines(command) => on_this_thread(command.run(ctx)),
            Self::Pipeline(command) => on_this_thread(command.run(ctx)),
            Self::Builds(command) => on_this_thread(command.run(ctx)),
            Self::Build(command) => on_this_thread(command.run(ctx)),
            Self::Logs(command) => on_this_thread(command.run(ctx)),
            Self::Cancel(command) => on_this_thread(command.run(ctx)),
            Self::Retry(command) => on_this_thread(command.run(ctx)),
            Self::Explain(command) => on_this_thread(command.run(ctx)),
            Self::Plan(command) => on_this_thread(command.run(ctx)),
            Self::Replay(command) => command.run(ctx),
            Self::Machines(command) => on_this_thread(command.run(ctx)),
            Self::Machine(command) => on_this_thread(command.run(ctx)),
            Self::Images(command) => on_this_thread(command.run(ctx)),
            Self::Image(command) => on_this_thread(command.run(ctx)),
            Self::Policies(command) => on_this_thread(command.run(ctx)),
            Self::Policy(command) => on_this_thread(command.run(ctx)),
            Self::Events(command) => on_this_thread(command.run(ctx)),
            Self::Cost(command) => on_this_thread(command.run(ctx)),
            Self::Budgets(command) => on_this_thread(command.run(ctx)),
            Self::Budget(command) => on_this_thread(command.run(ctx)),
            Self::History(command) => on_this_thread(command.run(ctx)),
            Self::Simulate(command) => on_this_thread(command.run(ctx)),
            #[cfg(feature = "ec2")]
            Self::Sweep(command) => on_this_thread(command.run(ctx)),
            Self::Token(command) => on_this_thread(command.run(ctx)),
            Self::Config(command) => command.run(ctx),
            Self::Completions(command) => command.run(ctx),
            Self::Man(command) => command.run(ctx),
            Self::OpenApi(command) => command.run(ctx),
            Self::Bench(command) => on_all_processors(command.run(ctx)),
            // It leaves its session, for which it must not have a second thread.
            Self::LocalMachine(command) => command.run(),
        }
    }
}

/// Runs a server, which takes every processor.
fn on_all_processors(work: impl Future<Output = Outcome>) -> Outcome {
    block_on(&mut Builder::new_multi_thread(), work)
}

/// Runs a client, which waits for the server most of the time and starts faster on one thread.
fn on_this_thread(work: impl Future<Output = Outcome>) -> Outcome {
    block_on(&mut Builder::new_current_thread(), work)
}

fn block_on(builder: &mut Builder, work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = builder.enable_all().build().map_err(|error| {
        let message = format!("cannot start: {error}");
        Report::new(Exit::Failure, "start", message)
    })?;
    runtime.block_on(work)
}

/// Reads one of the words that the API uses for the values of an enum.
fn parse_word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}
