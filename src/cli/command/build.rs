//! `dormouse build`

use clap::Args;

use crate::api::view::{AttemptView, BuildDetail, StepView};
use crate::cli::arguments::Target;
use crate::cli::command::builds::{elapsed, word};
use crate::cli::command::target::the_build;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Fields, Fit, Output, Table, Tone, column, numbers, words};
use crate::cli::report::Outcome;
use crate::model::Timestamp;

/// Show one build: its steps, attempts, requirements and cost
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse build bld_01jd3x9k2v6q8w4e5r7t9y1s3f
  dormouse build latest --json | jq .cost.total

JSON: one object, as in GET /api/v1/builds/{id}.")]
pub(crate) struct Build {
    /// The build's id, a pipeline's id if it has one build, or `latest`
    #[arg(value_name = "ID")]
    target: Target,
}

impl Build {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let client = ctx.client()?;
        let id = the_build(&client, self.target).await?;
        let detail: BuildDetail = client
            .get(&["builds", &id.to_string()], &Vec::new())
            .await?;
        ctx.output
            .answer(&detail, |detail| draw(detail, ctx.output))?;
        Ok(Exit::Success)
    }
}

/// A build for people.
pub(crate) fn draw(detail: &BuildDetail, output: Output) -> String {
    let now = output.now;
    let sections = [
        fields(detail, now).draw(output.paper),
        steps(&detail.steps, now).draw(output.paper),
        attempts(&detail.attempts, now).draw(output.paper),
    ];
    sections
        .into_iter()
        .filter(|section| !section.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

fn fields(detail: &BuildDetail, now: Timestamp) -> Fields {
    let build = &detail.build;
    let state = word(build);
    let mut fields = Fields::default();
    fields.add("Build", build.id.to_string());
    fields.add("Name", build.name.clone());
    fields.add("Pipeline", build.pipeline.to_string());
    fields.add("Project", build.project.clone());
    fields.toned("State", state, Tone::of_word(state));
    fields.maybe("Reason", build.reason.clone());
    fields.maybe("Machine", build.machine.map(|id| id.to_string()));
    fields.add("Submitted", words::ago(build.submitted_at, now));
    fields.add("Took", elapsed(build, now));
    fields.add("Cost", words::money(&detail.cost.total));
    fields.add("Requires", requirements(detail));
    fields.maybe("Image", detail.image.clone());
    let fresh = detail.fresh.then(|| "only a fresh machine".to_owned());
    fields.maybe("Machine kind", fresh);
    let needs: Vec<String> = detail.needs.iter().map(ToString::to_string).collect();
    fields.maybe(
        "Needs",
        Some(needs.join(" ")).filter(|text| !text.is_empty()),
    );
    let labels = (!build.labels.is_empty()).then(|| words::pairs(&build.labels));
    fields.maybe("Labels", labels);
    fields.add("Timeout", detail.timeout.to_string());
    let deadline = detail.deadline.map(|after| build.submitted_at + after);
    fields.maybe("Deadline", deadline.map(|at| words::ago(at, now)));
    let not_before = detail.not_before.filter(|at| *at > now);
    fields.maybe("Next try", not_before.map(|at| words::ago(at, now)));
    let asked = detail.cancel.as_ref();
    fields.maybe("Cancel asked", asked.map(|cancel| cancel.reason.clone()));
    fields
}

/// `python >=3.12, sqlite`
fn requirements(detail: &BuildDetail) -> String {
    let one = |(name, what): (&String, &String)| match what.as_str() {
        "present" => name.clone(),
        "absent" => format!("no {name}"),
        what => format!("{name} {what}"),
    };
    let texts: Vec<String> = detail.requires.iter().map(one).collect();
    words::or_none(texts.join(", "))
}

fn steps(steps: &[StepView], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        numbers("STEP", Fit::Whole),
        column("STATE", Fit::Whole),
        column("NAME", Fit::Shrink),
        numbers("EXIT", Fit::Whole),
        numbers("TOOK", Fit::Drop(1)),
    ]);
    for step in steps {
        let times = step.times.as_ref();
        let code = times.and_then(|times| times.exit_code);
        let took = times.map(|times| times.ended_at.unwrap_or(now).since(times.started_at));
        let state = step.state.word();
        table.row([
            (step.index.to_string(), Tone::Plain),
            (state.to_owned(), Tone::of_word(state)),
            (step.name.clone(), Tone::Plain),
            (
                code.map_or(words::NONE.to_owned(), |code| code.to_string()),
                Tone::Plain,
            ),
            (
                took.map_or(words::NONE.to_owned(), words::length),
                Tone::Plain,
            ),
        ]);
    }
    table
}

fn attempts(attempts: &[AttemptView], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        numbers("ATTEMPT", Fit::Whole),
        column("STATE", Fit::Whole),
        column("MACHINE", Fit::Drop(3)),
        numbers("LOG", Fit::Drop(2)),
        column("BOUND", Fit::Drop(1)),
        column("OUTCOME", Fit::Shrink),
    ]);
    for attempt in attempts {
        table.row([
            (attempt.number.to_string(), Tone::Plain),
            (attempt.state.clone(), Tone::of_word(&attempt.state)),
            (attempt.machine.to_string(), Tone::Plain),
            (words::bytes(attempt.log_bytes), Tone::Plain),
            (words::ago(attempt.bound_at, now), Tone::Faint),
            (outcome(attempt), Tone::Plain),
        ]);
    }
    table
}

fn outcome(attempt: &AttemptView) -> String {
    use crate::api::view::OutcomeKind::{
        Canceled, Exited, Infrastructure, Interrupted, NotLaunched, TimedOut,
    };
    let Some(outcome) = &attempt.outcome else {
        return words::NONE.to_owned();
    };
    match (outcome.kind, outcome.exit_code) {
        (Exited, Some(code)) => format!("exited with {code}"),
        (Exited, None) => "exited".to_owned(),
        (TimedOut, _) => "ran out of time".to_owned(),
        (Canceled, _) => "canceled".to_owned(),
        (Infrastructure | Interrupted | NotLaunched, _) => outcome
            .reason
            .clone()
            .unwrap_or_else(|| "the machine failed".to_owned()),
    }
}
