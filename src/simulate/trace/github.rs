//! Jobs of GitHub Actions, as `gh api repos/O/R/actions/runs/ID/jobs` prints them: one document or
//! many behind one another, with or without `--slurp`.
//!
//! Field meanings: <https://docs.github.com/en/rest/actions/workflow-jobs>. Times are whole seconds.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Deserializer, Value};

use super::{Problems, Recorded, Trace, TraceError};
use crate::model::{Requirement, Timestamp};
use crate::simulate::Work;

/// What we use of a job; everything may be missing or null, and there is much more.
#[derive(Debug, Deserialize)]
struct Job {
    status: Option<String>,
    conclusion: Option<String>,
    created_at: Option<Timestamp>,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
    name: Option<String>,
    workflow_name: Option<String>,
    head_branch: Option<String>,
    run_url: Option<String>,
    runner_id: Option<u64>,
    #[serde(default)]
    labels: Vec<String>,
}

/// Reads jobs.
pub(super) fn read(text: &str) -> Result<Trace, TraceError> {
    let mut trace = Trace::default();
    let mut problems = Problems::default();
    let mut documents = Deserializer::from_str(text).into_iter::<Value>();
    let mut from = 0;
    while let Some(document) = documents.next() {
        let line = line_of(text, from);
        from = documents.byte_offset();
        match document {
            Ok(document) => read_document(document, line, &mut trace, &mut problems),
            Err(error) => {
                // Behind broken JSON nothing can be told apart.
                problems.add(error.line(), error.to_string());
                break;
            }
        }
    }
    problems.finish(trace)
}

/// The line of the first character at or behind `offset` that is not white space.
fn line_of(text: &str, offset: usize) -> usize {
    let rest = text.get(offset..).unwrap_or_default();
    let blank = rest.len() - rest.trim_start().len();
    let before = text.get(..offset + blank).unwrap_or_default();
    1 + before.matches('\n').count()
}

/// An answer of the API, a list of such answers, or a list of jobs.
fn read_document(document: Value, line: usize, trace: &mut Trace, problems: &mut Problems) {
    const EXPECTED: &str = "expected what `gh api repos/OWNER/REPO/actions/runs/ID/jobs` prints, \
                            an object with a list `jobs`";
    match document {
        Value::Array(parts) => {
            for part in parts {
                read_document(part, line, trace, problems);
            }
        }
        Value::Object(mut object) => match object.remove("jobs") {
            Some(Value::Array(jobs)) => {
                for job in jobs {
                    read_job(job, line, trace, problems);
                }
            }
            Some(_) => problems.add(line, format!("`jobs` is no list; {EXPECTED}")),
            None if object.contains_key("started_at") => {
                read_job(Value::Object(object), line, trace, problems);
            }
            None => problems.add(line, format!("no jobs in it; {EXPECTED}")),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            problems.add(line, EXPECTED);
        }
    }
}

fn read_job(job: Value, line: usize, trace: &mut Trace, problems: &mut Problems) {
    let id = job.get("id").map_or("?".to_owned(), Value::to_string);
    let job: Job = match serde_json::from_value(job) {
        Ok(job) => job,
        Err(error) => return problems.add(line, format!("job {id}: {error}")),
    };
    if let Some(why) = did_not_run(&job) {
        return trace.leave_out(why);
    }
    match recorded(job) {
        Ok(build) => trace.builds.push(build),
        Err(message) => problems.add(line, format!("job {id}: {message}")),
    }
}

/// Why a job took no machine's time, or not all that it will take.
fn did_not_run(job: &Job) -> Option<&'static str> {
    let has_runner = job.runner_id.is_some_and(|id| id != 0);
    match job.conclusion.as_deref() {
        Some("skipped") => Some("skipped"),
        Some("cancelled") if !has_runner => Some("canceled before they ran"),
        None => Some("not over yet"),
        Some(_) if job.status.as_deref().is_some_and(|s| s != "completed") => Some("not over yet"),
        Some(_) => None,
    }
}

fn recorded(job: Job) -> Result<Recorded, String> {
    let missing = |name: &str| format!("{name} is missing; expected a time");
    let started = job.started_at.ok_or_else(|| missing("started_at"))?;
    let ended = job.completed_at.ok_or_else(|| missing("completed_at"))?;
    if ended < started {
        return Err(format!(
            "completed_at {ended} is before started_at {started}"
        ));
    }
    // Some exports leave it out; and clocks of theirs differ, so that some start before they exist.
    let submit = job.created_at.map_or(started, |at| at.min(started));
    let name = job.name.unwrap_or_else(|| "job".to_owned());
    let branch = job.head_branch.map(|branch| ("branch".to_owned(), branch));
    Ok(Recorded {
        work: Work {
            submit,
            run: ended.since(started),
            project: job
                .run_url
                .as_deref()
                .and_then(repository)
                .unwrap_or_else(|| "github".to_owned()),
            name: match job.workflow_name {
                Some(workflow) => format!("{workflow} / {name}"),
                None => name,
            },
            priority: 0,
            labels: branch.into_iter().collect::<BTreeMap<_, _>>(),
            requires: job.labels.iter().filter_map(|label| needs(label)).collect(),
            image: None,
            ..Work::default()
        },
        started: Some(started),
    })
}

/// Each label of `runs-on` is a flag that the image must have; that a runner is one's own is no
/// property of an image.
fn needs(label: &str) -> Option<(String, Requirement)> {
    let name = label.trim().to_lowercase();
    (!name.is_empty() && name != "self-hosted").then_some((name, Requirement::Present))
}

/// `owner/name` of `https://api.github.com/repos/owner/name/actions/runs/1`.
fn repository(run_url: &str) -> Option<String> {
    let (_, path) = run_url.split_once("/repos/")?;
    let (repository, _) = path.split_once("/actions/")?;
    Some(repository.to_owned())
}
