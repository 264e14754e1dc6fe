//! Every build for every combination of its matrix, rendered and checked.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::build::{BuildSource, RequirementSource, StepSource};
use super::matrix::Combination;
use super::needs;
use super::source::PipelineSource;
use super::template::{Scope, Text};
use crate::model::{Requirements, Step};
use crate::spec::document::{Field, Key, Problems, quoted, shortened};
use crate::spec::draft::{BuildDraft, PipelineDraft};
use crate::spec::limits::{LINE_CHARACTERS, PipelineLimits};
use crate::spec::requirement::parse_requirement;
use crate::spec::size::ByteSize;
use crate::spec::text::{check_line, check_name_text, check_no_nul};

/// Longest name that a step takes from its script, in characters: the column of a table.
const STEP_NAME_CHARACTERS: usize = 60;

/// Renders the whole pipeline. `None` when it is too big to be rendered.
pub(super) fn expand(
    source: &PipelineSource<'_>,
    limits: &PipelineLimits,
    problems: &mut Problems,
) -> Option<PipelineDraft> {
    let count: usize = source
        .builds
        .iter()
        .map(|build| build.combinations.len())
        .sum();
    if count > limits.builds {
        let message = format!(
            "{count} builds with all combinations; at most {} are accepted",
            limits.builds
        );
        source.field.refuse(problems, message);
        return None;
    }
    let needs = needs::resolve(&source.builds, problems);
    let places = draft_places(&source.builds);
    let labels = pipeline_labels(source, limits, problems);
    let mut builds = Vec::with_capacity(count);
    let mut bytes = 0_usize;
    for (build, needed) in source.builds.iter().zip(&needs) {
        let needed: Vec<usize> = needed
            .iter()
            .filter_map(|place| places.get(*place))
            .flat_map(Clone::clone)
            .collect();
        for combination in &build.combinations {
            let one = OneBuild {
                pipeline: source,
                labels: &labels,
                build,
                combination,
                needs: &needed,
            };
            let draft = one.render(limits, problems);
            bytes = bytes.saturating_add(weight(&draft));
            if bytes > limits.expanded_bytes {
                refuse_weight(source, limits, problems);
                return None;
            }
            builds.push(draft);
        }
    }
    Some(PipelineDraft {
        name: source.name.clone(),
        project: source.project.clone(),
        labels,
        priority: source.shared.priority.unwrap_or(0),
        builds,
    })
}

/// For each build of the document, the places of its drafts.
fn draft_places(builds: &[BuildSource<'_>]) -> Vec<Range<usize>> {
    let mut next = 0;
    let ranges = builds.iter().map(|build| {
        let start = next;
        next += build.combinations.len();
        start..next
    });
    ranges.collect()
}

/// What a draft adds to the size of the pipeline: its texts, and a word for each need.
fn weight(draft: &BuildDraft) -> usize {
    let map = |map: &BTreeMap<String, String>| -> usize {
        map.iter().map(|(key, value)| key.len() + value.len()).sum()
    };
    let steps: usize = draft
        .steps
        .iter()
        .map(|step| step.name.len() + step.run.len() + map(&step.env))
        .sum();
    let needs = draft.needs.len() * size_of::<usize>();
    draft.name.len() + map(&draft.labels) + map(&draft.matrix) + map(&draft.env) + steps + needs
}

fn refuse_weight(source: &PipelineSource<'_>, limits: &PipelineLimits, problems: &mut Problems) {
    let message = format!(
        "with all combinations the builds take more than {}; put long scripts into files",
        ByteSize(u64::try_from(limits.expanded_bytes).unwrap_or(u64::MAX))
    );
    source.field.refuse(problems, message);
}

/// The pipeline's own labels; they cannot name a build or its matrix.
fn pipeline_labels(
    source: &PipelineSource<'_>,
    limits: &PipelineLimits,
    problems: &mut Problems,
) -> Labels {
    let scope = Scope::of_pipeline(&source.name, &source.project);
    let mut rendering = Rendering {
        scope,
        limits,
        problems,
    };
    rendering.labels(Labels::new(), &source.shared.labels)
}

type Labels = BTreeMap<String, String>;
type Variables = BTreeMap<String, String>;

/// One build for one combination, and what it inherits.
struct OneBuild<'b, 'e> {
    pipeline: &'b PipelineSource<'e>,
    labels: &'b Labels,
    build: &'b BuildSource<'e>,
    combination: &'b Combination,
    needs: &'b [usize],
}

impl OneBuild<'_, '_> {
    fn render(&self, limits: &PipelineLimits, problems: &mut Problems) -> BuildDraft {
        let Self {
            pipeline, build, ..
        } = self;
        let matrix = &self.combination.values;
        let name = self.combination.name(build.key.text);
        check_build_name(&name, build, problems);
        let scope = Scope::of_build(matrix, &name, &pipeline.name, &pipeline.project);
        let mut rendering = Rendering {
            scope,
            limits,
            problems,
        };
        let (shared, own) = (&pipeline.shared, &build.shared);
        BuildDraft {
            name,
            labels: rendering.labels(self.labels.clone(), &own.labels),
            priority: own.priority.or(shared.priority).unwrap_or(0),
            matrix: matrix.clone(),
            requires: rendering.requires(&build.requires),
            image: build
                .image
                .as_ref()
                .and_then(|image| rendering.image(image)),
            fresh: build.fresh,
            deadline: own.deadline.or(shared.deadline),
            needs: self.needs.to_vec(),
            steps: rendering.steps(&build.steps),
            env: rendering.env(&[&shared.env, &own.env], &build.field),
            timeout: own
                .timeout
                .or(shared.timeout)
                .unwrap_or(limits.default_timeout),
            max_attempts: build.max_attempts,
            log_limit_bytes: build.log_limit_bytes,
            place: (build.key.place.line, build.key.place.column),
        }
    }
}

/// The key has been checked; the values of the matrix may make it too long.
fn check_build_name(name: &str, build: &BuildSource<'_>, problems: &mut Problems) {
    let length = name.chars().count();
    if length > LINE_CHARACTERS {
        let message = format!(
            "the name {} has {length} characters with its matrix values; at most \
             {LINE_CHARACTERS} are accepted",
            quoted(name)
        );
        build.key.refuse(problems, message);
    }
}

/// Rendering of the texts of one build, or of the pipeline's own.
struct Rendering<'r> {
    scope: Scope,
    limits: &'r PipelineLimits,
    problems: &'r mut Problems,
}

impl Rendering<'_> {
    fn render<'e>(&mut self, text: &Text<'e>) -> Option<Cow<'e, str>> {
        text.render(&self.scope, self.problems)
    }

    /// `labels` with those of `texts` over them.
    fn labels(&mut self, mut labels: Labels, texts: &[(Key<'_>, Text<'_>)]) -> Labels {
        for (key, text) in texts {
            let Some(value) = self.render(text) else {
                continue;
            };
            check_line(
                "a label",
                &value,
                LINE_CHARACTERS,
                &text.field,
                self.problems,
            );
            labels.insert(key.text.to_owned(), value.into_owned());
            if labels.len() > self.limits.labels {
                let message = format!("more than {} labels", self.limits.labels);
                key.refuse(self.problems, message);
                break;
            }
        }
        labels
    }

    fn requires(&mut self, sources: &[RequirementSource<'_>]) -> Requirements {
        let mut requires = Requirements::new();
        for source in sources {
            let mut texts = Vec::with_capacity(source.texts.len());
            for text in &source.texts {
                let rendered = self.render(text);
                texts.extend(rendered.map(|rendered| (rendered, &text.field)));
            }
            if texts.is_empty() {
                continue; // Its problem is told already.
            }
            let requirement = parse_requirement(&texts, source.listed, self.problems);
            requires.extend(requirement.map(|it| (source.capability.text.to_owned(), it)));
        }
        requires
    }

    fn image(&mut self, text: &Text<'_>) -> Option<String> {
        let name = self.render(text)?;
        check_name_text("an image", &name, &text.field, self.problems);
        Some(name.into_owned())
    }

    fn steps(&mut self, sources: &[StepSource<'_>]) -> Vec<Step> {
        let mut names = BTreeSet::new();
        let mut steps = Vec::with_capacity(sources.len());
        for (index, source) in sources.iter().enumerate() {
            let Some(run) = self.run(&source.run) else {
                continue;
            };
            let name = match &source.name {
                Some(name) => self.step_name(name, &mut names),
                None => Some(free_name(&run, index + 1, &mut names)),
            };
            steps.extend(name.map(|name| Step {
                name,
                run,
                env: self.env(&[&source.env], &source.field),
                timeout: source.timeout,
                continue_on_error: source.continue_on_error,
                always: source.always,
            }));
        }
        steps
    }

    fn run(&mut self, text: &Text<'_>) -> Option<String> {
        let run = self.render(text)?;
        check_no_nul(&run, &text.field, self.problems);
        if run.trim().is_empty() {
            text.field.refuse(self.problems, "the script is empty");
        }
        let most = self.limits.run_bytes;
        if run.len() > most {
            let message = format!(
                "the script has {} bytes; at most {most} are accepted",
                run.len()
            );
            text.field.refuse(self.problems, message);
        }
        Some(run.into_owned())
    }

    fn step_name(&mut self, text: &Text<'_>, names: &mut BTreeSet<String>) -> Option<String> {
        let name = self.render(text)?.trim().to_owned();
        check_line(
            "the name",
            &name,
            LINE_CHARACTERS,
            &text.field,
            self.problems,
        );
        if !names.insert(name.clone()) {
            let message = format!("another step is named {}", quoted(&name));
            text.field.refuse(self.problems, message);
        }
        Some(name)
    }

    /// Several lists of variables, later ones over earlier ones. `field` is what they belong to.
    fn env(&mut self, lists: &[&[(Key<'_>, Text<'_>)]], field: &Field<'_>) -> Variables {
        let mut variables = Variables::new();
        for (key, text) in lists.iter().copied().flatten() {
            let Some(value) = self.render(text) else {
                continue;
            };
            check_no_nul(&value, &text.field, self.problems);
            let (length, most) = (key.text.len() + value.len(), self.limits.variable_bytes);
            if length > most {
                let message =
                    format!("the variable has {length} bytes; at most {most} are accepted");
                text.field.refuse(self.problems, message);
            }
            variables.insert(key.text.to_owned(), value.into_owned());
        }
        let bytes: usize = variables
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if bytes > self.limits.env_bytes {
            let most = self.limits.env_bytes;
            let message = format!("the environment has {bytes} bytes; at most {most} are accepted");
            field.refuse(self.problems, message);
        }
        if variables.len() > self.limits.env_variables {
            let (count, most) = (variables.len(), self.limits.env_variables);
            let message = format!("{count} variables; at most {most} are accepted");
            field.refuse(self.problems, message);
        }
        variables
    }
}

/// A name for a step that has none: its first line that says something, with the number of the step
/// if that is taken.
fn free_name(run: &str, number: usize, names: &mut BTreeSet<String>) -> String {
    let line = run.lines().map(str::trim).find(|line| !line.is_empty());
    let name = shortened(line.unwrap_or("step"), STEP_NAME_CHARACTERS);
    let numbered = (number..).map(|number| format!("{name} ({number})"));
    let mut free = std::iter::once(name.clone()).chain(numbered);
    let free = free.find(|name| !names.contains(name)).unwrap_or(name);
    names.insert(free.clone());
    free
}
