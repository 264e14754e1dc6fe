//! One build of the document, before expansion.

use super::matrix::{Combination, read_matrix};
use super::source::{Reading, Shared};
use super::template::Text;
use crate::model::Span;
use crate::spec::document::{Field, Key, Problems, Table};
use crate::spec::size::ByteSize;
use crate::spec::text::check_name;

/// A build as written.
pub(super) struct BuildSource<'e> {
    pub(super) key: Key<'e>,
    pub(super) field: Field<'e>,
    pub(super) shared: Shared<'e>,
    pub(super) requires: Vec<RequirementSource<'e>>,
    pub(super) image: Option<Text<'e>>,
    pub(super) fresh: bool,
    pub(super) needs: Vec<Field<'e>>,
    pub(super) steps: Vec<StepSource<'e>>,
    pub(super) combinations: Vec<Combination>,
    pub(super) max_attempts: u32,
    pub(super) log_limit_bytes: u64,
}

/// A requirement as written.
pub(super) struct RequirementSource<'e> {
    pub(super) capability: Key<'e>,
    pub(super) texts: Vec<Text<'e>>,
    pub(super) listed: bool,
}

/// A step as written.
pub(super) struct StepSource<'e> {
    pub(super) field: Field<'e>,
    pub(super) name: Option<Text<'e>>,
    pub(super) run: Text<'e>,
    pub(super) env: Vec<(Key<'e>, Text<'e>)>,
    pub(super) timeout: Option<Span>,
    pub(super) continue_on_error: bool,
    pub(super) always: bool,
}

pub(super) fn read_build<'e>(
    reading: Reading<'e>,
    key: Key<'e>,
    field: &Field<'e>,
    problems: &mut Problems,
) -> Option<BuildSource<'e>> {
    const KEYS: [&str; 13] = [
        "requires",
        "image",
        "fresh",
        "steps",
        "needs",
        "matrix",
        "env",
        "timeout",
        "deadline",
        "priority",
        "labels",
        "retry",
        "log_limit",
    ];
    check_name("a build", &key, problems);
    let table = field.table(&KEYS, problems)?;
    let requires = table
        .get("requires")
        .map(|field| reading.requires(field, problems));
    let image = table
        .get("image")
        .and_then(|field| reading.templates.text(field, problems));
    let steps = table
        .required("steps", problems)
        .map(|field| reading.steps(field, problems));
    Some(BuildSource {
        key,
        field: field.clone(),
        shared: reading.shared(&table, problems),
        requires: requires.unwrap_or_default(),
        image,
        fresh: read_flag("fresh", &table, problems),
        needs: table
            .get("needs")
            .map(Field::one_or_more)
            .unwrap_or_default(),
        steps: steps.unwrap_or_default(),
        combinations: reading.combinations(&table, problems),
        max_attempts: reading.max_attempts(&table, problems),
        log_limit_bytes: reading.log_limit(&table, problems),
    })
}

fn read_flag(key: &str, table: &Table<'_>, problems: &mut Problems) -> bool {
    let field = table.get(key);
    field
        .and_then(|field| field.flag(problems))
        .unwrap_or(false)
}

impl<'e> Reading<'e> {
    fn requires(self, field: &Field<'e>, problems: &mut Problems) -> Vec<RequirementSource<'e>> {
        let entries = field.entries(problems).unwrap_or_default();
        let read = |(key, field)| self.requirement(key, &field, problems);
        entries.into_iter().map(read).collect()
    }

    fn requirement(
        self,
        capability: Key<'e>,
        field: &Field<'e>,
        problems: &mut Problems,
    ) -> RequirementSource<'e> {
        check_name("a capability", &capability, problems);
        let items = field.one_or_more();
        if items.is_empty() {
            let message = "the list is empty; expected at least one value or constraint";
            field.refuse(problems, message);
        }
        let texts = items
            .iter()
            .filter_map(|item| self.templates.text(item, problems));
        RequirementSource {
            capability,
            texts: texts.collect(),
            listed: !field.is_scalar(),
        }
    }

    fn steps(self, field: &Field<'e>, problems: &mut Problems) -> Vec<StepSource<'e>> {
        let Some(items) = field.list(problems) else {
            return Vec::new();
        };
        let most = self.limits.steps;
        if items.len() > most {
            let message = format!("{} steps; at most {most} are accepted", items.len());
            field.refuse(problems, message);
        } else if items.is_empty() {
            field.refuse(problems, "there are no steps; expected at least one");
        }
        let items = items.iter().take(most);
        items.filter_map(|item| self.step(item, problems)).collect()
    }

    /// A step: a script alone, or a map.
    fn step(self, field: &Field<'e>, problems: &mut Problems) -> Option<StepSource<'e>> {
        const KEYS: [&str; 6] = [
            "name",
            "run",
            "env",
            "timeout",
            "continue_on_error",
            "always",
        ];
        if field.is_scalar() {
            return Some(StepSource {
                field: field.clone(),
                name: None,
                run: self.templates.text(field, problems)?,
                env: Vec::new(),
                timeout: None,
                continue_on_error: false,
                always: false,
            });
        }
        let table = field.table(&KEYS, problems)?;
        let name = table
            .get("name")
            .and_then(|field| self.templates.text(field, problems));
        let run = table.required("run", problems);
        let run = run.and_then(|field| self.templates.text(field, problems));
        let env = self.env(table.get("env"), problems);
        let timeout = self.timeout(&table, problems);
        let continue_on_error = read_flag("continue_on_error", &table, problems);
        let always = read_flag("always", &table, problems);
        Some(StepSource {
            field: field.clone(),
            name,
            run: run?,
            env,
            timeout,
            continue_on_error,
            always,
        })
    }

    /// The combinations of the matrix; a single empty one when there is no matrix.
    fn combinations(self, table: &Table<'e>, problems: &mut Problems) -> Vec<Combination> {
        let Some(field) = table.get("matrix") else {
            return vec![Combination::default()];
        };
        read_matrix(field, self.limits.combinations, problems).unwrap_or_default()
    }

    /// The first attempt and those that `retry` adds.
    fn max_attempts(self, table: &Table<'e>, problems: &mut Problems) -> u32 {
        let retry = table.get("retry");
        let retry = retry.and_then(|field| field.table(&["infrastructure"], problems));
        let retries = retry.and_then(|retry| {
            let field = retry.required("infrastructure", problems)?;
            field.integer(0..=self.limits.retries, problems)
        });
        1 + retries.unwrap_or(self.limits.default_retries)
    }

    fn log_limit(self, table: &Table<'e>, problems: &mut Problems) -> u64 {
        let range = ByteSize(1)..=ByteSize(self.limits.log_bytes);
        let limit = table.get("log_limit");
        let limit = limit.and_then(|field| field.parse_within(range, problems));
        limit.map_or(self.limits.default_log_bytes, |ByteSize(bytes)| bytes)
    }
}
