//! Following a pipeline to its end: progress, logs of what failed, the exit code.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::json;

use super::builds;
use crate::api::view::{
    AcceptedView, BuildDetail, BuildSummary, MachineView, PipelineDetail, PipelineState, ResultWord,
};
use crate::cli::client::{CallError, Client, Patience, Query};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::log::{self, Part};
use crate::cli::output::{Board, Output, Row, Tone, words};
use crate::cli::report::{Outcome, Report, Stop};
use crate::clock::{Clock as _, SystemClock};
use crate::model::{BuildId, MachineId, PipelineId, Rate, Timestamp};

/// Time between looks at the pipeline: a person sees steady progress, and a server with a hundred
/// followers answers two hundred small requests a second.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The first looks come faster, so that a short pipeline ends without a wait.
const FIRST_LOOKS: [Duration; 6] = [
    Duration::from_millis(50),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(200),
];

/// Failed builds whose logs are printed; the others are named.
const MOST_LOGS: usize = 5;

/// Bytes of a failed build's log that are printed, from its end: where the error is.
const MOST_LOG_BYTES: u64 = 64 * 1024;

/// Tells what was accepted, and follows it to its end if asked to.
pub(crate) async fn accepted(
    ctx: &Context,
    client: &Client,
    accepted: &AcceptedView,
    follow: bool,
) -> Outcome {
    let output = ctx.output;
    if !follow {
        output.answer(accepted, describe)?;
        return Ok(Exit::Success);
    }
    if output.is_json() {
        output.json_line(&json!({ "event": "accepted", "accepted": accepted }))?;
    } else {
        output.note(describe(accepted).trim_end());
    }
    let mut watch = Watch::new(client, output, true);
    let detail = interruptible(accepted.pipeline, watch.until_end(accepted.pipeline)).await?;
    if output.is_json() {
        let (pipeline, builds) = (&detail.pipeline, &detail.builds);
        output.json_line(&json!({ "event": "end", "pipeline": pipeline, "builds": builds }))?;
    } else {
        failed_logs(client, output, &detail).await?;
        output.note(&watch.verdict(&detail));
    }
    Ok(exit_of(&detail))
}

/// Follows a pipeline without telling its builds one by one as JSON or printing logs.
pub(crate) async fn quietly(
    ctx: &Context,
    client: &Client,
    id: PipelineId,
) -> Outcome<(PipelineDetail, Exit)> {
    let mut watch = Watch::new(client, ctx.output, false);
    let detail = interruptible(id, watch.until_end(id)).await?;
    let exit = exit_of(&detail);
    Ok((detail, exit))
}

/// `pl_… nightly: 12 builds queued`
fn describe(accepted: &AcceptedView) -> String {
    let builds = words::count(accepted.builds.len() as u64, "build");
    format!(
        "{} {}: {builds} queued\n",
        accepted.pipeline,
        words::printable(&accepted.name)
    )
}

fn exit_of(detail: &PipelineDetail) -> Exit {
    detail
        .pipeline
        .result
        .map_or(Exit::Failure, Exit::of_result)
}

/// Runs until done or until Ctrl-C, which only ends the watching.
async fn interruptible<T>(id: PipelineId, work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    tokio::select! {
        done = work => done,
        signal = tokio::signal::ctrl_c() => {
            let why = match signal {
                Ok(()) => format!("interrupted; {id} goes on"),
                Err(error) => format!("cannot wait for signals: {error}"),
            };
            let report = Report::new(Exit::Interrupted, "interrupted", why)
                .hint(format!("end it with `dormouse cancel {id}`"));
            Err(Stop::from(report))
        }
    }
}

/// What is known of a pipeline that is watched.
struct Watch<'a> {
    client: &'a Client,
    output: Output,
    patience: Patience,
    board: Board,
    tells_json: bool,
    told: BTreeMap<BuildId, &'static str>,
    prices: BTreeMap<MachineId, Option<Rate>>,
    costs: BTreeMap<BuildId, i64>,
}

impl<'a> Watch<'a> {
    fn new(client: &'a Client, output: Output, tells_json: bool) -> Self {
        Self {
            client,
            output,
            patience: Patience::new(output),
            board: Board::of_this_process(output),
            tells_json: tells_json && output.is_json(),
            told: BTreeMap::new(),
            prices: BTreeMap::new(),
            costs: BTreeMap::new(),
        }
    }

    async fn until_end(&mut self, id: PipelineId) -> Outcome<PipelineDetail> {
        let path = ["pipelines".to_owned(), id.to_string()];
        let mut pauses = FIRST_LOOKS.into_iter();
        loop {
            let detail: PipelineDetail = self.get(&path).await?;
            self.tell(&detail.builds)?;
            let rows = self.rows(&detail.builds).await?;
            self.board.show(&rows);
            if detail.pipeline.state == PipelineState::Finished {
                return Ok(detail);
            }
            tokio::time::sleep(pauses.next().unwrap_or(LOOK_EVERY)).await;
        }
    }

    /// Tells programs of every build whose word changed.
    fn tell(&mut self, builds: &[BuildSummary]) -> Outcome<()> {
        for build in builds {
            let word = builds::word(build);
            let is_new = self.told.insert(build.id, word) != Some(word);
            if is_new && self.tells_json {
                self.output
                    .json_line(&json!({ "event": "build", "build": build }))?;
            }
        }
        Ok(())
    }

    async fn rows(&mut self, builds: &[BuildSummary]) -> Outcome<Vec<Row>> {
        let now = SystemClock.now();
        let mut rows = Vec::with_capacity(builds.len());
        for build in builds {
            let word = builds::word(build);
            rows.push(Row {
                id: build.id,
                word,
                name: build.name.clone(),
                elapsed: builds::elapsed(build, now),
                cost: self
                    .cost(build, now)
                    .await?
                    .map_or_else(String::new, words::micro_usd),
                note: note(build),
                is_over: build.result.is_some(),
            });
        }
        Ok(rows)
    }

    /// What a build cost, or for one that runs, about what it cost so far.
    async fn cost(&mut self, build: &BuildSummary, now: Timestamp) -> Outcome<Option<i64>> {
        if build.result.is_some() && build.attempts > 0 {
            if let Some(cost) = self.costs.get(&build.id) {
                return Ok(Some(*cost));
            }
            let path = ["builds".to_owned(), build.id.to_string()];
            let detail: BuildDetail = self.get(&path).await?;
            let cost = detail.cost.total.micro_usd;
            self.costs.insert(build.id, cost);
            return Ok(Some(cost));
        }
        let Some(machine) = build.machine else {
            return Ok(None);
        };
        let price = self.price(machine).await?;
        let span = now.since(build.started_at.unwrap_or(build.since));
        Ok(price.map(|price| price.cost_of(span).micros()))
    }

    /// The price of a machine, asked for once; none when it is gone from the books.
    async fn price(&mut self, machine: MachineId) -> Outcome<Option<Rate>> {
        if let Some(price) = self.prices.get(&machine) {
            return Ok(*price);
        }
        let path = ["machines".to_owned(), machine.to_string()];
        let price = match self.get::<MachineView>(&path).await {
            Ok(view) => Some(Rate::from_micros_per_hour(
                view.shape.price.micro_usd_per_hour,
            )),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.into()),
        };
        self.prices.insert(machine, price);
        Ok(price)
    }

    /// Gets a value, waiting for a server that is away.
    async fn get<T: DeserializeOwned>(&mut self, path: &[String]) -> Result<T, CallError> {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        loop {
            match self.client.get(&path, &Query::new()).await {
                Ok(value) => {
                    self.patience.renew();
                    return Ok(value);
                }
                Err(error) => self.patience.wait(error).await?,
            }
        }
    }

    /// `nightly: failure (11 success, 1 failure), $0.0042`
    fn verdict(&self, detail: &PipelineDetail) -> String {
        let pipeline = &detail.pipeline;
        let word = super::pipelines::word(pipeline);
        let color = self.output.error_color;
        let result = crate::cli::output::paint(word, Tone::of_word(word), color);
        let tally = super::pipelines::tally(pipeline);
        let cost = words::micro_usd(self.costs.values().sum());
        format!(
            "{}: {result} ({tally}), {cost}",
            words::printable(&pipeline.name)
        )
    }
}

/// What a line says beside its state.
fn note(build: &BuildSummary) -> String {
    let machine = build.machine.map(|machine| format!("on {machine}"));
    let reason = build
        .reason
        .clone()
        .filter(|_| build.result != Some(ResultWord::Success));
    words::printable(&reason.or(machine).unwrap_or_default())
}

/// Prints the ends of the logs of builds that failed.
async fn failed_logs(client: &Client, output: Output, detail: &PipelineDetail) -> Outcome<()> {
    let failed: Vec<&BuildSummary> = detail
        .builds
        .iter()
        .filter(|build| match build.result {
            Some(
                ResultWord::Failure
                | ResultWord::TimedOut
                | ResultWord::InfraFailure
                | ResultWord::OverBudget,
            ) => true,
            Some(ResultWord::Success | ResultWord::Canceled | ResultWord::Skipped) | None => false,
        })
        .collect();
    for build in failed.iter().take(MOST_LOGS) {
        failed_log(client, output, build).await?;
    }
    if failed.len() > MOST_LOGS {
        let more = words::count((failed.len() - MOST_LOGS) as u64, "failed build");
        let id = detail.pipeline.id;
        output.note(&format!(
            "and {more} more: dormouse builds --pipeline {id} --state finished"
        ));
    }
    Ok(())
}

async fn failed_log(client: &Client, output: Output, build: &BuildSummary) -> Outcome<()> {
    let id = build.id;
    let path = ["builds", &id.to_string()];
    let detail: BuildDetail = client.get(&path, &Vec::new()).await?;
    let name = words::printable(&build.name);
    let reason = words::printable(build.reason.as_deref().unwrap_or_default());
    output.note(&format!(
        "--- {name} ({id}): {} {reason}",
        builds::word(build)
    ));
    let Some(attempt) = detail.attempts.last() else {
        return Ok(());
    };
    let part = Part {
        attempt: attempt.number,
        from: attempt.log_bytes.saturating_sub(MOST_LOG_BYTES),
        until: attempt.log_bytes,
    };
    if part.from > 0 {
        let left_out = words::bytes(part.from);
        output.note(&format!("--- {left_out} before this: dormouse logs {id}"));
    }
    log::copy(client, output, id, part).await
}
