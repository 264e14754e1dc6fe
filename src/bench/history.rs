//! `bench history`: answers of a server whose database holds many finished builds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock::IdSource;
use crate::model::{
    Attempt, AttemptId, AttemptState, Build, BuildId, BuildResult, BuildSpec, BuildState, Category,
    Change, Cursor, Entry, Event, EventKind, MachineId, Money, Outcome, Pipeline, PipelineId, Span,
    Step, StepRecord, Subject, Timestamp,
};
use crate::store::{SqliteStore, Store};

use super::host::Stopwatch;
use super::quantile::{millis, summary};
use super::server::Server;

/// How much.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Finished builds
    #[arg(long, default_value_t = 100_000)]
    builds: u32,
    /// Requests of each kind
    #[arg(long, default_value_t = 400)]
    requests: usize,
}

/// Builds per pipeline, and pipelines per commit.
const PER_PIPELINE: u32 = 20;
const PER_COMMIT: u32 = 25;

pub(super) async fn run(options: &Options) -> anyhow::Result<Value> {
    let directory = tempfile::Builder::new()
        .prefix("dormouse-bench-")
        .tempdir()?;
    std::fs::create_dir(directory.path().join("data"))?;
    let watch = Stopwatch::start();
    let store = SqliteStore::open(&directory.path().join("data/dormouse.sqlite")).await?;
    let builds = fill(&store, options.builds).await?;
    store.close().await;
    let filled = watch.elapsed();
    let server = Server::on(directory).await?;
    let mut times: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for round in 0..options.requests {
        // A different build each time, from all over the history.
        let id = builds.get(round * 7_919 % builds.len().max(1)).copied();
        let one = id.map(|id| format!("/builds/{id}")).unwrap_or_default();
        for (what, path) in [
            ("last_50_builds", "/builds?limit=50"),
            ("last_50_of_a_project", "/builds?limit=50&project=project-3"),
            ("last_50_failures", "/builds?limit=50&result=failure"),
            ("one_build_with_steps", one.as_str()),
            ("last_50_pipelines", "/pipelines?limit=50"),
        ] {
            let watch = Stopwatch::start();
            let _: Value = server.get(path).await?;
            times.entry(what).or_default().push(watch.elapsed());
        }
    }
    server.stop().await?;
    let answers: BTreeMap<&str, Value> = times
        .into_iter()
        .map(|(what, times)| (what, summary(times)))
        .collect();
    Ok(json!({
        "bench": "history",
        "method": "finished builds written through the store's commit, then a server on that \
                   database; requests one after the other over one HTTP connection, body read and \
                   parsed",
        "builds": options.builds, "fill_ms": millis(filled),
        "answers": answers,
    }))
}

/// Fills the store with finished pipelines; the ids of all builds.
async fn fill(store: &SqliteStore, builds: u32) -> anyhow::Result<Vec<BuildId>> {
    let ids = IdSource::from_seed(1);
    let mut made = Vec::new();
    let mut changes = Vec::new();
    for number in 0..builds.div_ceil(PER_PIPELINE) {
        let at = Timestamp::from_micros(1_700_000_000_000_000 + i64::from(number) * 60_000_000);
        pipeline(&ids, number, at, &mut changes, &mut made);
        if number % PER_COMMIT == PER_COMMIT - 1 {
            store.commit(std::mem::take(&mut changes)).await?;
        }
    }
    store.commit(changes).await?;
    Ok(made)
}

fn pipeline(
    ids: &IdSource,
    number: u32,
    at: Timestamp,
    changes: &mut Vec<Change>,
    made: &mut Vec<BuildId>,
) {
    let pipeline = Pipeline {
        id: PipelineId::from_bits(ids.bits(at)),
        name: format!("pipeline {number}"),
        project: format!("project-{}", number % 10),
        labels: BTreeMap::new(),
        priority: 0,
        submitted_at: at,
        submitted_by: "bench".to_owned(),
        idempotency: None,
        builds: PER_PIPELINE,
    };
    changes.push(Change::InsertPipeline(pipeline.clone()));
    let first = ids.bits(at);
    for place in 0..PER_PIPELINE {
        let id = BuildId::from_bits(first + u128::from(place));
        made.push(id);
        build(ids, &pipeline, id, place, changes);
    }
}

fn build(ids: &IdSource, pipeline: &Pipeline, id: BuildId, place: u32, changes: &mut Vec<Change>) {
    let at = pipeline.submitted_at;
    let end = at + Span::from_secs(30);
    let result = if place == 7 {
        BuildResult::Failure
    } else {
        BuildResult::Success
    };
    let (machine, attempt) = (
        MachineId::from_bits(ids.bits(at)),
        AttemptId::from_bits(ids.bits(at)),
    );
    let steps = ["checkout", "compile", "test"];
    changes.push(Change::InsertBuild(Build {
        id,
        spec: Arc::new(spec(pipeline, place, &steps)),
        state: BuildState::Finished {
            result,
            reason: String::new(),
            started_at: Some(at),
            at: end,
        },
        attempts: 1,
        spared: 0,
        cancel: None,
        rev: 4,
    }));
    changes.push(Change::InsertAttempt(finished_attempt(
        id,
        attempt,
        machine,
        (at, end),
    )));
    changes.push(Change::AppendEntry(Entry {
        machine,
        image: format!("image-{}", place % 5),
        build: Some(id),
        attempt: Some(attempt),
        pipeline: Some(pipeline.id),
        project: Some(pipeline.project.clone()),
        category: Category::Work,
        from: at,
        to: end,
        amount: Money::from_micros(83),
    }));
    for kind in [
        EventKind::BuildBound,
        EventKind::BuildStarted,
        EventKind::BuildFinished,
    ] {
        let (subject, message) = (Subject::Build(id), kind.word().to_owned());
        changes.push(Change::AppendEvent(Event {
            at,
            subject,
            kind,
            message,
        }));
    }
}

fn finished_attempt(
    build: BuildId,
    id: AttemptId,
    machine: MachineId,
    (at, end): (Timestamp, Timestamp),
) -> Attempt {
    let record = |index: u32| StepRecord {
        index,
        started_at: at,
        ended_at: Some(end),
        exit_code: Some(0),
        log_start: u64::from(index) * 1_000,
        log_end: Some(u64::from(index) * 1_000 + 1_000),
    };
    Attempt {
        id,
        build,
        number: 1,
        machine,
        bound_at: at,
        state: AttemptState::Finished {
            outcome: Outcome::Exited(0),
            at: end,
        },
        steps: (0..3).map(record).collect(),
        cursor: Cursor {
            machine: 3_100,
            stored: 3_000,
        },
        rev: 3,
    }
}

fn spec(pipeline: &Pipeline, place: u32, steps: &[&str]) -> BuildSpec {
    BuildSpec {
        pipeline: pipeline.id,
        name: format!("test ({place})"),
        project: pipeline.project.clone(),
        labels: BTreeMap::new(),
        priority: 0,
        matrix: BTreeMap::from([("number".to_owned(), place.to_string())]),
        requires: BTreeMap::new(),
        image: None,
        fresh: false,
        deadline: None,
        needs: Vec::new(),
        steps: steps
            .iter()
            .map(|name| Step {
                name: (*name).to_owned(),
                run: format!("make {name} JOBS=4 VERBOSE=1"),
                env: BTreeMap::new(),
                timeout: None,
                continue_on_error: false,
                always: false,
            })
            .collect(),
        env: BTreeMap::from([("CI".to_owned(), "true".to_owned())]),
        timeout: Span::from_secs(3_600),
        max_attempts: 3,
        log_limit_bytes: 1 << 28,
        submitted_at: pipeline.submitted_at,
    }
}
