//! `dormouse policy`

mod check;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::api::view::{EffectiveView, Page, PolicyRef, PolicyView};
use crate::cli::client::{Client, Query};
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::{Fit, Output, Table, Tone, column, words};
use crate::cli::report::{Outcome, Report, usage};

/// Show what policies say of something, or check policy files
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dormouse policy show --for web/debian-12
  dormouse policy show default
  dormouse policy check policies/")]
pub(crate) struct Policy {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what holds for a project, an image or a build, and which policy says so
    #[command(after_help = "\
Examples:
  dormouse policy show --for web/debian-12
  dormouse policy show --for web --label tier=nightly --priority 10
  dormouse policy show --for /debian-12 --json | jq '.knobs[] | select(.policy)'
  dormouse policy show default > policies/default.yaml

With a name: that policy, as a file. Without one: every knob with the policy that decides it, and
the limits and budgets, all of which hold. What is left out is not known, so that policies that
select by it do not speak.

JSON: one object, as in GET /api/v1/policies/effective; with a name, as in GET /api/v1/policies.")]
    Show {
        /// A policy, to be shown as a file
        #[arg(value_name = "NAME", conflicts_with_all = ["subject", "labels", "priority"])]
        name: Option<String>,
        /// The project, the image, or both
        #[arg(long = "for", value_name = "PROJECT/IMAGE")]
        subject: Option<String>,
        /// A label of the build; may be given several times
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
        labels: Vec<String>,
        /// The priority of the build
        #[arg(long, value_name = "N", allow_negative_numbers = true)]
        priority: Option<i32>,
    },
    /// Tell every problem of policy files, with file, line and column; needs no server
    #[command(after_help = "\
Examples:
  dormouse policy check policies/
  dormouse policy check policies/ images/
  dormouse policy check policies/web.yaml && dormouse apply policies/web.yaml

Warns of two policies that say different things of the same with only their names to decide, and of
images that cannot be had on the market that a policy asks for. Where a server answers, the files
are looked at beside its policies and images; else on their own. Files below a directory `images`
are image files.

JSON: {\"policies\": [{\"file\", \"name\"}], \"warnings\", \"server\"}, the last being whether one answered;
problems come as an error on standard error.")]
    Check {
        /// Files or directories
        #[arg(value_name = "PATH", required = true)]
        paths: Vec<PathBuf>,
    },
}

impl Policy {
    pub(crate) async fn run(self, ctx: &Context) -> Outcome {
        match self.action {
            Action::Show {
                name: Some(name), ..
            } => show_file(ctx, &ctx.client()?, &name).await,
            Action::Show {
                name: None,
                subject,
                labels,
                priority,
            } => {
                let mut query = subject_query(subject.as_deref())?;
                if !labels.is_empty() {
                    query.push(("labels", labels.join(",")));
                }
                query.extend(priority.map(|priority| ("priority", priority.to_string())));
                show_effective(ctx, &ctx.client()?, &query).await
            }
            Action::Check { paths } => check::check(ctx, &paths).await,
        }
    }
}

fn label(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.contains(',') => Ok(text.to_owned()),
        Some(_) | None => Err("expected a label with its value, as in tier=nightly".to_owned()),
    }
}

/// `web/debian-12`, `web`, `/debian-12`
fn subject_query(text: Option<&str>) -> Result<Query, Report> {
    let Some(text) = text else {
        return Ok(Query::new());
    };
    let (project, image) = text.split_once('/').unwrap_or((text, ""));
    if (project.is_empty() && image.is_empty()) || image.contains('/') {
        let message = format!("{text} is neither a project nor an image");
        return Err(usage(message).hint("write PROJECT/IMAGE, PROJECT, or /IMAGE"));
    }
    let parts = [("project", project), ("image", image)].into_iter();
    let given = parts.filter(|(_, name)| !name.is_empty());
    Ok(given.map(|(key, name)| (key, name.to_owned())).collect())
}

async fn show_file(ctx: &Context, client: &Client, name: &str) -> Outcome {
    let page: Page<PolicyView> = client.get(&["policies"], &Vec::new()).await?;
    let Some(policy) = page.items.iter().find(|policy| policy.name == name) else {
        let report = Report::new(Exit::Refused, "not_found", format!("no policy {name}"));
        return Err(report
            .hint("`dormouse policies` lists them; --for shows what holds for a project or image")
            .into());
    };
    ctx.output
        .answer(policy, |policy| policy.document.clone())?;
    Ok(Exit::Success)
}

async fn show_effective(ctx: &Context, client: &Client, query: &Query) -> Outcome {
    let effective: EffectiveView = client.get(&["policies", "effective"], query).await?;
    ctx.output
        .answer(&effective, |effective| draw(effective, ctx.output))?;
    Ok(Exit::Success)
}

/// What holds, for people.
pub(crate) fn draw(effective: &EffectiveView, output: Output) -> String {
    let mut knobs = Table::new(&[
        column("KNOB", Fit::Whole),
        column("VALUE", Fit::Shrink),
        column("SAID BY", Fit::Whole),
    ]);
    for knob in &effective.knobs {
        let value = knob.value.clone().unwrap_or_else(|| words::NONE.to_owned());
        knobs.row([
            (knob.key.clone(), Tone::Plain),
            (value, Tone::Plain),
            source(knob.policy.as_ref()),
        ]);
    }
    let mut limits = Table::new(&[
        column("LIMIT", Fit::Whole),
        column("VALUE", Fit::Shrink),
        column("SAID BY", Fit::Whole),
    ]);
    for limit in &effective.limits {
        limits.row([
            (limit.key.clone(), Tone::Plain),
            (limit.value.clone(), Tone::Plain),
            source(limit.policy.as_ref()),
        ]);
    }
    format!(
        "{}\n{}",
        knobs.draw(output.paper),
        limits.draw(output.paper)
    )
}

/// `web v3`
fn source(policy: Option<&PolicyRef>) -> (String, Tone) {
    policy.map_or_else(
        || ("built-in".to_owned(), Tone::Faint),
        |policy| (format!("{} v{}", policy.name, policy.version), Tone::Plain),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_a_project_an_image_or_both() {
        let query = |text| subject_query(Some(text)).map_err(|report| report.message);
        let pair = |key, value: &str| (key, value.to_owned());
        assert_eq!(
            query("web/debian-12"),
            Ok(vec![pair("project", "web"), pair("image", "debian-12")])
        );
        assert_eq!(query("web"), Ok(vec![pair("project", "web")]));
        assert_eq!(query("/debian-12"), Ok(vec![pair("image", "debian-12")]));
        assert!(query("/").is_err() && query("").is_err() && query("a/b/c").is_err());
    }

    #[test]
    fn labels_have_a_key_and_a_value() {
        assert_eq!(label("tier=nightly"), Ok("tier=nightly".to_owned()));
        assert!(label("tier").is_err() && label("=x").is_err() && label("a=b,c=d").is_err());
    }
}
