//! `dormouse simulate`

mod load;
mod play;
mod show;
mod tune;

use std::path::PathBuf;

use clap::Args;

use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::report::{Outcome, Report, usage};
use crate::model::{Rate, Span};
use crate::simulate::generate::Length;
use crate::simulate::trace::Format;

/// Most builds of a made-up history: a month of them takes a quarter of an hour.
const MOST_BUILDS: u64 = 10_000_000;

/// Tell what a history of builds would have cost, under policies and other schedulers
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  dormouse simulate --generate month --builds 10000 --baselines
  dormouse history export --write mine.jsonl
  dormouse simulate --trace mine.jsonl --images images/ --policy policies/ --policy frugal.yaml
  gh api --paginate repos/acme/web/actions/runs/123/jobs > jobs.json
  dormouse simulate --trace jobs.json --machine-price '$0.17/h' --boot 40s --report report.html
  dormouse simulate --trace mine.jsonl --policy policies/ --tune --value-of-wait '$20/h'

Nothing is launched and no server is asked: the same planner, policies and accounts that run real
machines decide for simulated ones. docs/simulate.md tells what is modelled, and what is not.

JSON: one object with the history, the notes and a column per set of policies; money in
micro-dollars, times in microseconds.")]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub(crate) struct Simulate {
    /// History of builds: JSON lines, CSV, jobs of GitHub Actions, or SWF
    #[arg(long, value_name = "FILE", required_unless_present_any = ["generate", "check"])]
    trace: Option<PathBuf>,
    /// How the history is written, if the file does not say: history, csv, github-jobs, swf
    #[arg(long, value_name = "FORMAT", value_parser = parse_format, requires = "trace")]
    format: Option<Format>,
    /// Go on when lines of the history cannot be used
    #[arg(long, requires = "trace")]
    skip_bad_lines: bool,
    /// Make up a history of office hours instead: day, week, month
    #[arg(long, value_name = "LENGTH", value_parser = parse_length, conflicts_with = "trace")]
    generate: Option<Length>,
    /// Builds to make up
    #[arg(long, value_name = "N", default_value_t = 10_000, requires = "generate", value_parser = clap::value_parser!(u64).range(1..=MOST_BUILDS))]
    builds: u64,
    /// Write the history to this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Set of policies to try: a file or a directory; once per set [default: no policy at all]
    #[arg(long = "policy", value_name = "PATH")]
    policies: Vec<PathBuf>,
    /// Images to play it on [default: made up from what the history needs]
    #[arg(long, value_name = "PATH")]
    images: Vec<PathBuf>,
    /// Price of machines of images that do not say
    #[arg(long, value_name = "PRICE", default_value = "$0.17/h")]
    machine_price: Rate,
    /// Median time from launch to a machine that takes builds
    #[arg(long, value_name = "TIME", default_value = "26s")]
    boot: Span,
    /// Median time to wake a machine that is asleep
    #[arg(long, value_name = "TIME", default_value = "21s")]
    wake: Span,
    /// Compare with models of other schedulers
    #[arg(long)]
    baselines: bool,
    /// Of everything random; equal seeds give equal results
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Write a page with charts to this file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Search for the policy with the best balance of cost and wait
    #[arg(long, conflicts_with_all = ["baselines", "report"])]
    tune: bool,
    /// What an hour of somebody's waiting is worth, for --tune
    #[arg(long, value_name = "PRICE", default_value = "$20/h", requires = "tune")]
    value_of_wait: Rate,
    /// Play seeded days full of faults instead, checking every invariant after every step
    #[arg(long, conflicts_with_all = ["trace", "generate", "tune", "policies", "baselines"])]
    check: bool,
    /// Seeds to check, the last left out
    #[arg(long, value_name = "A..B", value_parser = parse_seeds, requires = "check", default_value = "0..100")]
    seeds: std::ops::Range<u64>,
}

impl Simulate {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let output = ctx.output;
        // Reckoning takes seconds to minutes: on a thread of its own, which Ctrl-C need not wait for.
        let (tell, told) = tokio::sync::oneshot::channel();
        let progress = show::Progress::of(output);
        let clear = progress.clone();
        std::thread::spawn(move || {
            // The one who asked is gone only when the process is about to be.
            let _ = tell.send(self.work(&progress));
        });
        let answer = tokio::select! {
            answer = told => answer,
            signal = tokio::signal::ctrl_c() => {
                clear.end();
                return signal.map(|()| Exit::Interrupted).map_err(|error| {
                    Report::new(Exit::Failure, "signal", format!("cannot wait for Ctrl-C: {error}")).into()
                });
            }
        };
        clear.end();
        let answer = answer.map_err(|_| {
            Report::new(
                Exit::Failure,
                "simulate",
                "the simulation broke off; this is a fault of dormouse",
            )
        })??;
        answer.print(ctx)
    }

    /// Everything but printing.
    fn work(&self, progress: &show::Progress) -> Result<show::Answer, Report> {
        if self.check {
            return play::check(self.seeds.clone(), progress);
        }
        let history = load::history(self)?;
        let sets = load::policy_sets(&self.policies)?;
        if self.tune {
            return tune::tune(self, &history, &sets, progress);
        }
        play::compare(self, history, sets, progress)
    }
}

fn parse_format(text: &str) -> Result<Format, String> {
    let known = Format::ALL.map(Format::word);
    let found = Format::ALL.into_iter().find(|format| format.word() == text);
    found.ok_or_else(|| format!("expected one of {}", known.join(", ")))
}

fn parse_length(text: &str) -> Result<Length, String> {
    match text {
        "day" => Ok(Length::Day),
        "week" => Ok(Length::Week),
        "month" => Ok(Length::Month),
        _ => Err("expected day, week or month".to_owned()),
    }
}

fn parse_seeds(text: &str) -> Result<std::ops::Range<u64>, String> {
    let range = text.split_once("..").and_then(|(from, to)| {
        let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
        (from < to).then_some(from..to)
    });
    range.ok_or_else(|| "expected two numbers, the second larger, as in 0..100".to_owned())
}

/// A simulation that cannot be played, or that broke a rule.
fn failed(error: &dyn std::error::Error) -> Report {
    usage(format!(
        "cannot simulate: {}",
        crate::cli::report::chain(error)
    ))
}
