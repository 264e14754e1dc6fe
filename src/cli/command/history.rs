//! `dormouse history`

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::api::view::{BuildDetail, BuildStateWord, BuildSummary, ResultWord};
use crate::cli::arguments::When;
use crate::cli::client::{Client, Query};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::words;
use crate::cli::report::{Outcome, Report, file_error};
use crate::simulate::trace::{Line, write};

/// Export what was built, for `dormouse simulate`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  dormouse history export --since 28d --write mine.jsonl")]
pub(crate) struct History {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Export(Export),
}

/// Write the builds that ran, a JSON object per line
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse history export --since 28d --write mine.jsonl
  dormouse history export | dormouse simulate --trace /dev/stdin --format history

Builds that never began are left out: canceled, skipped, or without a machine. What builds need of
an image is looked up once per project and name, at the newest of them.

docs/simulate.md describes the lines.")]
struct Export {
    /// Only builds submitted at or after this: a day, a time, or how long ago (28d)
    #[arg(long, value_name = "WHEN")]
    since: Option<When>,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Most builds looked at, the newest first
    #[arg(long, short = 'n', value_name = "ROWS", default_value_t = 100_000)]
    limit: u32,
}

impl History {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        match self.command {
            Command::Export(export) => export.run(ctx).await,
        }
    }
}

impl Export {
    async fn run(self, ctx: &Context) -> Outcome {
        let client = ctx.client()?;
        let query = Query::from([("state", BuildStateWord::Finished.word().to_owned())]);
        let (mut builds, more): (Vec<BuildSummary>, bool) =
            client.list(&["builds"], &query, self.limit).await?;
        ctx.more(more, self.limit);
        if let Some(since) = self.since {
            let since = since.at(ctx.output.now);
            builds.retain(|build| build.submitted_at >= since);
        }
        let looked_at = builds.len();
        builds.retain(ran);
        let left_out = looked_at - builds.len();
        let details = details(&client, &builds).await?;
        builds.sort_by_key(|build| (build.submitted_at, build.id));
        let lines = builds.iter().filter_map(|build| {
            let detail = details.get(&(build.project.clone(), build.name.clone()));
            line(build, detail)
        });
        let text = write(lines).map_err(|error| {
            Report::new(
                Exit::Failure,
                "history",
                format!("cannot write a build as JSON: {error}"),
            )
        })?;
        let wrote = words::count(u64::try_from(builds.len()).unwrap_or(u64::MAX), "build");
        match &self.write {
            Some(path) => {
                std::fs::write(path, text).map_err(|error| file_error("write", path, &error))?;
                ctx.output
                    .note(&format!("{wrote} written to {}", path.display()));
            }
            None => ctx.output.text(&text)?,
        }
        if left_out > 0 {
            ctx.output
                .note(&format!("{left_out} that never began were left out"));
        }
        Ok(Exit::Success)
    }
}

/// Whether a machine spent the build's time on it.
fn ran(build: &BuildSummary) -> bool {
    let is_told = build.started_at.is_some() && build.finished_at.is_some();
    is_told
        && build.result.is_some_and(|result| match result {
            ResultWord::Success | ResultWord::Failure | ResultWord::TimedOut => true,
            // What was cut off says nothing about how long it takes.
            ResultWord::Canceled
            | ResultWord::InfraFailure
            | ResultWord::Skipped
            | ResultWord::OverBudget => false,
        })
}

/// By project and name.
type Details = BTreeMap<(String, String), BuildDetail>;

async fn details(client: &Client, newest_first: &[BuildSummary]) -> Outcome<Details> {
    let mut found = Details::new();
    for build in newest_first {
        let key = (build.project.clone(), build.name.clone());
        if found.contains_key(&key) {
            continue;
        }
        let id = build.id.to_string();
        let detail = client.get(&["builds", &id], &Query::new()).await?;
        found.insert(key, detail);
    }
    Ok(found)
}

fn line(build: &BuildSummary, detail: Option<&BuildDetail>) -> Option<Line> {
    let (start, end) = build.started_at.zip(build.finished_at)?;
    Some(Line {
        id: build.id.to_string(),
        submit: build.submitted_at,
        start: Some(start),
        run_s: Line::seconds(end.since(start)),
        name: build.name.clone(),
        project: build.project.clone(),
        priority: build.priority,
        image: detail.and_then(|detail| detail.image.clone()),
        labels: build.labels.clone(),
        requires: detail
            .map(|detail| detail.requires.clone())
            .unwrap_or_default(),
        deadline_s: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::trace::{Format, read};

    fn summary(result: &str) -> BuildSummary {
        serde_json::from_value(serde_json::json!({
            "id": "bld_00000000000000000000000001",
            "pipeline": "pl_00000000000000000000000001",
            "name": "test (3.12)", "project": "web", "labels": {"branch": "main"}, "matrix": {},
            "priority": 2, "state": "finished", "since": "2026-11-02T09:10:00Z", "result": result,
            "reason": null, "attempts": 1, "machine": null, "cancel_asked": false,
            "submitted_at": "2026-11-02T09:00:00Z", "started_at": "2026-11-02T09:00:30.5Z",
            "finished_at": "2026-11-02T09:10:00Z"
        }))
        .unwrap()
    }

    #[test]
    fn what_is_exported_can_be_simulated() {
        let build = summary("success");
        let mut line = line(&build, None).unwrap();
        line.requires = [("python", ">=3.12"), ("docker", "present"), ("os", "a | b")]
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .into();
        let text = write([line]).unwrap();
        let trace = read(&text, Format::History).unwrap();
        let [recorded] = trace.builds.as_slice() else {
            panic!("{trace:?}");
        };
        assert_eq!(recorded.work.submit, build.submitted_at);
        assert_eq!(recorded.started, build.started_at);
        assert_eq!(recorded.work.run.micros(), 569_500_000);
        assert_eq!(recorded.work.labels, build.labels);
        assert_eq!(recorded.work.priority, 2);
        assert_eq!(
            crate::matching::describe(&recorded.work.requires),
            "docker, os a or b, python >=3.12"
        );
    }

    #[test]
    fn only_what_ran_to_its_end_is_exported() {
        for (result, is_exported) in [
            ("success", true),
            ("failure", true),
            ("timed_out", true),
            ("canceled", false),
            ("infra_failure", false),
            ("skipped", false),
        ] {
            assert_eq!(ran(&summary(result)), is_exported, "{result}");
        }
        let unstarted = BuildSummary {
            started_at: None,
            ..summary("success")
        };
        assert!(!ran(&unstarted));
    }
}
