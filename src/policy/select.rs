//! Which policies speak of a thing, and which of two is the more specific.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::model::{Policy, PolicySpec};

/// What a policy may speak of: a build, a machine, or a class of either. What is not known of a
/// thing is only spoken of by policies that do not ask.
#[derive(Debug, Clone, Copy, Default)]
pub struct Subject<'a> {
    /// The project.
    pub project: Option<&'a str>,
    /// The image.
    pub image: Option<&'a str>,
    /// The image's provider.
    pub provider: Option<&'a str>,
    /// The build's labels.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// The build's priority.
    pub priority: Option<i32>,
}

/// Whether a policy speaks of a thing.
pub fn speaks_of(spec: &PolicySpec, subject: &Subject<'_>) -> bool {
    names(&spec.projects, subject.project)
        && names(&spec.images, subject.image)
        && names(&spec.providers, subject.provider)
        && labels(&spec.labels, subject.labels)
        && spec.priority.is_none_or(|(least, most)| {
            subject
                .priority
                .is_some_and(|priority| (least..=most).contains(&priority))
        })
}

fn names(patterns: &[String], name: Option<&str>) -> bool {
    let is_one = |name: &str| patterns.iter().any(|pattern| is_like(pattern, name));
    patterns.is_empty() || name.is_some_and(is_one)
}

fn labels(wanted: &BTreeMap<String, String>, labels: Option<&BTreeMap<String, String>>) -> bool {
    let has = |(key, value): (&String, &String)| {
        let found = labels.and_then(|labels| labels.get(key));
        found.is_some_and(|found| is_like(value, found))
    };
    wanted.iter().all(has)
}

/// Whether a name is what a pattern says, in which `*` stands for any characters.
pub(crate) fn is_like(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

/// How narrowly a policy selects; the derived order is the rule, the most specific first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Specificity {
    /// By labels or priority.
    builds: Reverse<bool>,
    /// By project.
    projects: Reverse<bool>,
    /// By image.
    images: Reverse<bool>,
    /// By provider.
    providers: Reverse<bool>,
    /// Patterns among its names: a name is more specific than a pattern.
    patterns: usize,
    /// The last word.
    name: String,
}

impl Specificity {
    /// Of a policy.
    pub fn of(policy: &Policy) -> Self {
        let spec = &policy.spec;
        let names = spec
            .projects
            .iter()
            .chain(&spec.images)
            .chain(&spec.providers);
        Self {
            builds: Reverse(!spec.labels.is_empty() || spec.priority.is_some()),
            projects: Reverse(!spec.projects.is_empty()),
            images: Reverse(!spec.images.is_empty()),
            providers: Reverse(!spec.providers.is_empty()),
            patterns: names.filter(|name| name.contains('*')).count(),
            name: policy.name.clone(),
        }
    }

    /// Whether only the names decide which of the two is the more specific.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        let nameless = |of: &Self| Self {
            name: String::new(),
            ..of.clone()
        };
        nameless(self) == nameless(other)
    }
}
