//! `dormouse policy check`

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;

use super::super::apply::{MAX_DEPTH, collect, declaration, kind_by_place};
use crate::api::view::{
    ApplyRequest, CheckResponse, DeclarationFile, DeclarationKind, DocumentProblem,
};
use crate::cli::client::CallError;
use crate::cli::context::Context;
use crate::cli::exit::Exit;
use crate::cli::output::words;
use crate::cli::report::{Outcome, Report, usage};
use crate::model::{ImageSpec, Market, Policy, Timestamp};
use crate::policy::{self, Sold};
use crate::spec::document::{DocumentLimits, Place, Value, load};
use crate::spec::{Problem, parse_image, parse_policy};

/// What the files say, or every problem of them.
#[derive(Debug, Default)]
struct Checked {
    policies: Vec<(String, Policy)>,
    images: Vec<(String, String, ImageSpec)>,
    problems: Vec<DocumentProblem>,
}

pub(super) async fn check(ctx: &Context, paths: &[PathBuf]) -> Outcome {
    let mut files = Vec::new();
    for path in paths {
        collect(path, MAX_DEPTH, &mut files)?;
    }
    if files.is_empty() {
        return Err(usage("no .yaml or .yml file there").into());
    }
    let mut checked = Checked::default();
    let mut declarations = Vec::new();
    for path in &files {
        // Whatever is not below `images` is taken for a policy: that is what was asked for.
        let kind = kind_by_place(path).unwrap_or(DeclarationKind::Policy);
        let declaration = declaration(path, Some(kind))?;
        checked.add(kind, &declaration.file, &declaration.text);
        declarations.push(declaration);
    }
    if !checked.problems.is_empty() {
        return Err(problems(checked.problems).into());
    }
    let asked = ask_server(ctx, declarations).await?;
    let is_asked = asked.is_some();
    let warnings = asked.unwrap_or_else(|| checked.warnings());
    let policies: Vec<_> = checked
        .policies
        .iter()
        .map(|(file, policy)| json!({ "file": file, "name": policy.name }))
        .collect();
    let answer = json!({ "policies": policies, "warnings": warnings, "server": is_asked });
    ctx.output.answer(&answer, |_| {
        let warnings = warnings.iter().map(|line| format!("warning: {line}\n"));
        let policies = checked.policies.iter();
        let policies = policies.map(|(file, policy)| format!("ok: {file}: {}\n", policy.name));
        let images = checked.images.iter();
        let images = images.map(|(file, name, _)| format!("ok: {file}: image {name}\n"));
        warnings.chain(policies).chain(images).collect()
    })?;
    Ok(Exit::Success)
}

fn problems(problems: Vec<DocumentProblem>) -> Report {
    let count = words::count(problems.len() as u64, "problem");
    let mut report = Report::new(Exit::Usage, "invalid", format!("{count} in the files"));
    report.problems = problems;
    report.hint("docs/policies.md describes every key of a policy, docs/images.md of an image")
}

/// What the server would warn of; none where no server can be asked. What it finds wrong is an error.
async fn ask_server(
    ctx: &Context,
    declarations: Vec<DeclarationFile>,
) -> Outcome<Option<Vec<String>>> {
    // A configuration that cannot be read is told of by commands that need a server.
    let Ok(client) = ctx.client() else {
        return Ok(None);
    };
    let request = ApplyRequest { declarations };
    let asked: Result<CheckResponse, CallError> = client.post_json(&["check"], &request).await;
    let answer = match asked {
        Ok(answer) => answer,
        Err(CallError::Refused { problem, .. }) if !problem.problems.is_empty() => {
            return Err(problems(problem.problems).into());
        }
        Err(error) => {
            let note = "the files were looked at without the policies and images of a server";
            ctx.output.note(&format!("note: {error}; {note}"));
            return Ok(None);
        }
    };
    let lines = answer.items.into_iter().flat_map(|item| {
        let line = move |warning| format!("{}: {warning}", item.file);
        item.warnings.into_iter().map(line)
    });
    Ok(Some(lines.collect()))
}

impl Checked {
    fn add(&mut self, kind: DeclarationKind, file: &str, text: &str) {
        let found = match kind {
            DeclarationKind::Policy => self.add_policy(file, text),
            DeclarationKind::Image => parse_image(text).map(|(name, spec)| {
                self.images.push((file.to_owned(), name, spec));
            }),
        };
        if let Err(problems) = found {
            let problems = problems.into_iter();
            self.problems
                .extend(problems.map(|problem| in_file(file, problem)));
        }
    }

    fn add_policy(&mut self, file: &str, text: &str) -> Result<(), Vec<Problem>> {
        let (name, spec) = parse_policy(text)?;
        let other = self.policies.iter().find(|(_, policy)| policy.name == name);
        let twice = other.map(|(other, _)| {
            let place = name_place(text);
            Problem {
                line: place.line,
                column: place.column,
                path: "name".to_owned(),
                message: format!("{other} has a policy of the name {name}, too"),
            }
        });
        let policy = Policy {
            name,
            version: 1,
            spec,
            applied_at: Timestamp::default(),
            rev: 0,
        };
        self.policies.push((file.to_owned(), policy));
        twice.map_or(Ok(()), |problem| Err(vec![problem]))
    }

    /// What is allowed but hardly meant.
    fn warnings(&self) -> Vec<String> {
        let files: BTreeMap<&str, &str> = self
            .policies
            .iter()
            .map(|(file, policy)| (policy.name.as_str(), file.as_str()))
            .collect();
        let file_of = |name: &str| files.get(name).copied().unwrap_or_default();
        let policies: Vec<Policy> = self
            .policies
            .iter()
            .map(|(_, policy)| policy.clone())
            .collect();
        let rivals = policy::rivals(&policies).into_iter();
        let rivals = rivals.map(|rivals| format!("{}: {rivals}", file_of(&rivals.yields)));
        let images: Vec<Sold> = self.images.iter().filter_map(sold).collect();
        let unsold = policy::unsold(&policies, &images).into_iter();
        let unsold = unsold.map(|unsold| {
            let file = unsold.policy.as_deref().map_or("", file_of);
            format!("{file}: {unsold} (unless the provider sells more than the image's file says)")
        });
        let unheard = policy::unheard(&policies).into_iter();
        let unheard = unheard.map(|unheard| format!("{}: {unheard}", file_of(&unheard.policy)));
        rivals.chain(unheard).chain(unsold).collect()
    }
}

/// Where an image can be had by its own file: sizes that it lists have one price, which is that of
/// capacity on demand. What a provider makes of a wish is not known here.
fn sold((_, name, spec): &(String, String, ImageSpec)) -> Option<Sold> {
    (!spec.shapes.is_empty()).then(|| Sold {
        image: name.clone(),
        provider: spec.provider.clone(),
        markets: vec![Market::OnDemand],
    })
}

fn in_file(file: &str, problem: Problem) -> DocumentProblem {
    DocumentProblem {
        file: Some(file.to_owned()),
        line: problem.line,
        column: problem.column,
        path: problem.path,
        message: problem.message,
    }
}

/// Where a policy file, which has been read before, says its name.
fn name_place(text: &str) -> Place {
    let document = load(text, &DocumentLimits::default()).ok();
    let found = document.and_then(|document| match document.root.value {
        Value::Map(entries) => entries.into_iter().find(|entry| entry.key == "name"),
        Value::Scalar(_) | Value::List(_) => None,
    });
    found.map_or(Place::START, |entry| entry.value.place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(checked: &mut Checked, file: &str, text: &str) {
        checked.add(DeclarationKind::Policy, file, text);
    }

    #[test]
    fn files_are_checked_one_by_one_and_together() {
        let mut checked = Checked::default();
        policy(
            &mut checked,
            "a.yaml",
            "name: web\nidle: {timeout: 5m}\nselect: {projects: [web]}\n",
        );
        policy(
            &mut checked,
            "b.yaml",
            "# again\nname: web\nlimits: {machines: x}\n",
        );
        policy(&mut checked, "c.yaml", "# again\nname:  web\n");
        checked.add(DeclarationKind::Image, "d.yaml", "name: a\nshapes: 7\n");
        let told: Vec<_> = checked
            .problems
            .iter()
            .map(|p| {
                (
                    p.file.as_deref().unwrap(),
                    p.line,
                    p.column,
                    p.path.as_str(),
                )
            })
            .collect();
        assert_eq!(
            told[..2],
            [
                ("b.yaml", 3, 20, "limits.machines"),
                ("c.yaml", 2, 8, "name")
            ]
        );
        assert!(told.contains(&("d.yaml", 2, 9, "shapes")), "{told:?}");
    }

    #[test]
    fn rivals_are_warned_of() {
        let mut checked = Checked::default();
        let file = |name: &str, timeout: &str| {
            format!("name: {name}\nselect: {{projects: [web]}}\nidle: {{timeout: {timeout}}}\n")
        };
        policy(&mut checked, "z.yaml", &file("a", "auto"));
        policy(&mut checked, "y.yaml", &file("b", "5m"));
        policy(&mut checked, "x.yaml", &file("c", "auto"));
        assert!(checked.problems.is_empty());
        assert_eq!(
            checked.warnings(),
            [
                "y.yaml: policies b and a may speak of the same, as specifically, and say \
                 different things of idle.timeout; a holds, for its name comes first",
                "x.yaml: policies c and b may speak of the same, as specifically, and say \
                 different things of idle.timeout; b holds, for its name comes first",
            ]
        );
    }

    #[test]
    fn images_that_nobody_sells_as_asked_are_warned_of() {
        let mut checked = Checked::default();
        let image = |name: &str, shapes: &str| {
            format!(
                "name: {name}\nprovider: here\nlogin: {{user: ci}}\nshapes: {shapes}\n\
                 capabilities: {{linux: true}}\n"
            )
        };
        let listed = "[{name: s, vcpus: 1, memory: 1GiB, price: $1/h}]";
        let kind = DeclarationKind::Image;
        checked.add(kind, "i.yaml", &image("listed", listed));
        checked.add(kind, "w.yaml", &image("wished", "{vcpus: 2..4}"));
        policy(&mut checked, "p.yaml", "name: cheap\nmarket: spot\n");
        assert_eq!(checked.problems.len(), 0, "{:?}", checked.problems);
        let warnings = checked.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].starts_with("p.yaml: policy cheap asks for spot capacity for image listed"),
            "{warnings:?}"
        );
        policy(
            &mut checked,
            "q.yaml",
            "name: q\nselect: {images: [listed]}\nmarket: spot-with-fallback\n",
        );
        assert_eq!(checked.warnings(), Vec::<String>::new());
    }
}
