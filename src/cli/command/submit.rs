//! `dormouse submit`

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::api::view::AcceptedView;
use crate::cli::client::{CallError, Client};
use crate::cli::command::follow;
use crate::cli::context::Context;
use crate::cli::report::{Outcome, Report, file_error, usage};

/// More is refused by the server; what is longer is not a pipeline but a mistake.
const MAX_BYTES: u64 = 1 << 20;

/// Queue a pipeline
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse submit pipeline.yaml --follow
  dormouse submit - --idempotency-key \"$GIT_COMMIT\" < pipeline.yaml
  dormouse submit pipeline.yaml --project compiler --json | jq -r .pipeline

With --follow: progress on standard error (a line per change where that is no terminal), at the end
the logs of failed builds on standard output; the exit code tells the result. Ctrl-C stops
following, not the pipeline.

JSON: what was accepted, as in POST /api/v1/pipelines. With --follow a line each:
{\"event\": \"accepted\", \"accepted\"}, {\"event\": \"build\", \"build\"} for every change of a
build, {\"event\": \"end\", \"pipeline\", \"builds\"}.")]
#[expect(
    clippy::doc_markdown,
    reason = "the docs are help texts, shown as they are"
)]
pub(crate) struct Submit {
    /// The document, YAML or JSON; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Wait for the result, showing progress; the exit code tells it
    #[arg(long, short)]
    follow: bool,
    /// Submitting again with the same key and document queues nothing new
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Project to charge, for a document that names none [default: $DORMOUSE_PROJECT]
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
}

impl Submit {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        let document = document(ctx, &self.file, self.project.as_deref())?;
        let client = ctx.client()?;
        let posted = post(&client, document, self.idempotency_key.as_deref()).await;
        let accepted = posted.map_err(|error| named(error, &self.file))?;
        if accepted.repeated {
            ctx.output
                .note("this was accepted before; nothing new is queued");
        }
        follow::accepted(ctx, &client, &accepted, self.follow).await
    }
}

/// The document of a file, with the project that was asked for or the environment names.
pub(super) fn document(ctx: &Context, file: &Path, asked: Option<&str>) -> Result<String, Report> {
    let document = read(file)?;
    match asked.or_else(|| ctx.environment.get("DORMOUSE_PROJECT")) {
        Some(project) => with_project(document, project, asked.is_some()),
        None => Ok(document),
    }
}

async fn post(
    client: &Client,
    document: String,
    key: Option<&str>,
) -> Result<AcceptedView, CallError> {
    let mut request = client
        .request(reqwest::Method::POST, &["pipelines"])
        .header(reqwest::header::CONTENT_TYPE, "application/yaml")
        .body(document);
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    client.value(request).await
}

fn read(path: &Path) -> Result<String, Report> {
    let failed = |error: std::io::Error| file_error("read", path, &error);
    let source: Box<dyn std::io::Read> = if path == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(path).map_err(failed)?)
    };
    let mut text = String::new();
    let length = source.take(MAX_BYTES + 1).read_to_string(&mut text);
    if length.map_err(failed)? as u64 > MAX_BYTES {
        return Err(usage(format!(
            "{} is longer than {MAX_BYTES} bytes",
            path.display()
        )));
    }
    Ok(text)
}

/// The document with a project, if it names none. The line goes behind the others, so that the
/// places in problems stay right. An explicit wish that cannot be met is refused; a document that
/// cannot be read is left to the server, which says where it is wrong.
fn with_project(document: String, project: &str, is_explicit: bool) -> Result<String, Report> {
    let Ok(serde_yaml::Value::Mapping(keys)) = serde_yaml::from_str(&document) else {
        return Ok(document);
    };
    if let Some(named) = keys.get("project") {
        let other = named.as_str() != Some(project);
        return if is_explicit && other {
            Err(usage("--project names another project than the document")
                .hint("take `project` out of one of them"))
        } else {
            Ok(document)
        };
    }
    let quoted = serde_json::Value::from(project).to_string();
    let body = document.trim_end();
    Ok(match body.strip_suffix('}') {
        Some(open) if body.starts_with('{') => {
            let comma = if keys.is_empty() { "" } else { "," };
            format!("{open}{comma} \"project\": {quoted}}}\n")
        }
        Some(_) | None => format!("{body}\nproject: {quoted}\n"),
    })
}

/// Problems with the file's name, as compilers tell them.
pub(super) fn named(error: CallError, file: &Path) -> Report {
    let mut report = Report::from(error);
    for problem in &mut report.problems {
        problem
            .file
            .get_or_insert_with(|| file.display().to_string());
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(document: &str) -> String {
        with_project(document.to_owned(), "a: b", true).unwrap()
    }

    #[test]
    fn a_document_without_a_project_gets_one_behind_its_lines() {
        for document in [
            "name: x\nbuilds: {}\n",
            "name: x\nbuilds: {}",
            "{\"name\": \"x\", \"builds\": {}}",
            "{\"name\": \"x\",\n \"builds\": {}\n}\n",
            "{}",
        ] {
            let text = added(document);
            let value: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
            assert_eq!(value["project"].as_str(), Some("a: b"), "{text}");
            let first = document.lines().next().unwrap().trim_end_matches('}');
            assert!(text.starts_with(first), "{text}");
        }
    }

    #[test]
    fn a_document_that_names_its_project_keeps_it() {
        let document = "project: mine\n".to_owned();
        assert_eq!(
            with_project(document.clone(), "mine", true).unwrap(),
            document
        );
        assert_eq!(
            with_project(document.clone(), "other", false).unwrap(),
            document
        );
        assert!(with_project(document, "other", true).is_err());
    }

    #[test]
    fn what_cannot_be_read_is_left_to_the_server() {
        for document in ["{", "- a", "", "a: [", "x"] {
            assert_eq!(added(document), document);
        }
    }
}
