//! Floor 5: the command line.
//!
//! Parses, runs one command, prints what went wrong once. Commands speak to a server through the
//! public HTTP API only; `serve`, `demo` and `bench` hand over to `app`. Standard output has the
//! answer and nothing else: tables for people, JSON with `--json`, raw bytes for logs. Everything
//! beside the answer goes to standard error. `exit` has the table of exit codes.

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

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
use report::{Stop, usage};

/// Keeps build machines asleep until a build needs them.
///
/// Queue builds, follow their logs, look after machines and images, and see what everything costs.
/// A server runs with `dormouse serve`; `dormouse demo` shows the whole on this host.
#[derive(Debug, Parser)]
#[command(name = "dormouse", version, max_term_width = 100)]
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
    let matches = command().try_get_matches();
    match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => run(cli),
        Err(error) => refuse(&error),
    }
    .into()
}

/// Prints help that was asked for, or why the command line cannot be read.
fn refuse(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        // Nobody to tell when even that fails.
        let _ = error.print();
        return Exit::Success;
    }
    if wants_json() {
        let text = error.render().to_string();
        let message = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
        usage(message).print(true, false);
    } else {
        let _ = error.print();
    }
    Exit::Usage
}

/// Whether JSON was asked for on a command line that cannot be read.
fn wants_json() -> bool {
    let words: Vec<_> = std::env::args_os().collect();
    let pair = |pair: &[std::ffi::OsString]| match pair {
        [name, value] => (name == "--output" || name == "-o") && value == "json",
        _ => false,
    };
    words
        .iter()
        .any(|word| word == "--json" || word == "--output=json" || word == "-ojson")
        || words.windows(2).any(pair)
}

fn run(cli: Cli) -> Exit {
    let ctx = match Context::of_this_process(cli.globals.clone()) {
        Ok(ctx) => ctx,
        Err(stop) => return end(stop, cli.globals.json, false),
    };
    if !cli.command.is_server() {
        log_requests(cli.globals.verbose);
    }
    let (json, color) = (ctx.output.is_json(), ctx.output.error_color);
    match cli.command.run(&ctx) {
        Ok(exit) => exit,
        Err(stop) => end(stop, json, color),
    }
}

/// With `-v`, tells on standard error what is asked of the server; with `-vv`, how.
fn log_requests(verbosity: u8) {
    let level = match verbosity {
        0 => return,
        1 => LevelFilter::DEBUG,
        2.. => LevelFilter::TRACE,
    };
    let mut targets = Targets::new().with_target("dormouse", level);
    if level == LevelFilter::TRACE {
        targets = targets.with_default(LevelFilter::DEBUG);
    }
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(targets)
        .with(lines.with_ansi(false).without_time())
        .init();
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
