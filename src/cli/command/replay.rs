//! `dormouse replay`

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::api::view::PlanView;
use crate::cli::command::plan;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Tone, words};
use crate::cli::report::{Outcome, Report, file_error};
use crate::planner::{self, RecordedPass};

/// Make recorded passes of the planner again, here, and tell what differs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse plan --record pass.json && dormouse replay pass.json
  dormouse replay /var/lib/dormouse/plans/*.json --json | jq 'select(.same | not)'

A server records with `engine.record_plans`, and always what breaks the planner's own rules. The
exit code is 1 when a plan differs from the recorded one or breaks a rule.

JSON: an array, an object per file: {\"file\", \"version\", \"same\", \"differences\", \"violations\",
\"plan\"}.")]
pub(crate) struct Replay {
    /// Files written by `dormouse plan --record` or by a server
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// What came of one file.
#[derive(Debug, Serialize)]
struct Replayed {
    file: String,
    /// The program that recorded it.
    version: String,
    same: bool,
    differences: Vec<String>,
    violations: Vec<String>,
    plan: PlanView,
}

impl Replay {
    pub(crate) fn run(self, ctx: &Context) -> Outcome {
        let replayed = self.files.iter().map(|path| replay(path));
        let replayed = replayed.collect::<Result<Vec<_>, Report>>()?;
        let all_same = replayed
            .iter()
            .all(|one| one.same && one.violations.is_empty());
        ctx.output.answer(&replayed, |replayed| {
            let texts = replayed.iter().map(|one| draw(one, ctx));
            texts.collect::<Vec<_>>().join("\n")
        })?;
        Ok(if all_same {
            Exit::Success
        } else {
            Exit::Failure
        })
    }
}

fn replay(path: &Path) -> Result<Replayed, Report> {
    let text = std::fs::read(path).map_err(|error| file_error("read", path, &error))?;
    let pass: RecordedPass = serde_json::from_slice(&text).map_err(|error| {
        let message = format!("{} is no recorded pass: {error}", path.display());
        Report::new(Exit::Usage, "replay", message)
            .hint("expected what `dormouse plan --record FILE` writes, of this version")
    })?;
    let again = planner::replay(&pass);
    Ok(Replayed {
        file: path.display().to_string(),
        version: pass.version,
        same: again.differences.is_empty(),
        differences: again.differences,
        violations: again.violations.iter().map(ToString::to_string).collect(),
        plan: planner::render(&pass.snapshot, &again.plan, pass.at).into(),
    })
}

fn draw(one: &Replayed, ctx: &Context) -> String {
    let verdict = if one.same {
        ctx.output.paint("the same plan", Tone::Good)
    } else {
        ctx.output.paint("another plan", Tone::Bad)
    };
    let mut text = format!(
        "{}: {verdict}, recorded by version {}\n",
        one.file, one.version
    );
    for difference in &one.differences {
        text.push_str("  ");
        text.push_str(&words::printable(difference));
        text.push('\n');
    }
    for violation in &one.violations {
        text.push_str("  breaks a rule: ");
        text.push_str(&words::printable(violation));
        text.push('\n');
    }
    text + &plan::draw(&one.plan, ctx.output)
}
