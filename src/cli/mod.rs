//! Floor 5: the command line.
//!
//! Parses, runs one command, prints what went wrong once. Commands speak to a server through the
//! public HTTP API only; `serve`, `demo` and `bench` hand over to `app`. Standard output has the
//! answer and nothing else: tables for people, JSON with `--json`, raw bytes for logs. Everything
//! beside the answer goes to standard error. `exit` has the table of exit codes.

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};

mod arguments;
mod client;
mod command;
mod context;
mod exit;
mod log;
mod output;
mod report;

use arguments::Globals;
use command::Command;
use context::Context;
use exit::Exit;
use report::Stop;

/// Keeps build machines asleep until a build needs them.
///
/// Queue builds, follow their logs, look after machines and images, and see what everything costs.
/// A server runs with `dormouse serve`; `dormouse demo` shows the whole on this host.
#[derive(Debug, Parser)]
#[command(
    name = "dormouse",
    version,
    propagate_version = true,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    globals: Globals,
}

/// Examples at the foot of the overview.
const EXAMPLES: &str = "\
Examples:
  dormouse demo
  dormouse serve &
  dormouse apply images/ policies/
  dormouse submit pipeline.yaml --follow
  dormouse logs latest --follow
";

/// The whole command line, as the parser, completions and man pages see it.
fn command() -> clap::Command {
    Cli::command().after_help(format!("{EXAMPLES}\n{}", exit::table()))
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    // Prints help and usage errors itself, and exits with 0 or 2.
    let matches = command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    run(cli).into()
}

fn run(cli: Cli) -> Exit {
    let ctx = match Context::of_this_process(cli.globals.clone()) {
        Ok(ctx) => ctx,
        Err(stop) => return end(stop, cli.globals.json, false),
    };
    let (json, color) = (ctx.output.is_json(), ctx.output.error_color);
    match cli.command.run(&ctx) {
        Ok(exit) => exit,
        Err(stop) => end(stop, json, color),
    }
}

/// Tells why the command stopped.
fn end(stop: Stop, json: bool, color: bool) -> Exit {
    match stop {
        Stop::Report(report) => {
            report.print(json, color);
            report.exit
        }
        // As `head` does with what it has seen enough of: no error.
        Stop::ReaderGone => Exit::Success,
    }
}
