//! Where values come from: default < file < environment < flags, each kept with its source.

use std::collections::{BTreeMap, BTreeSet};

use super::environment::Environment;
use super::problem::{ConfigProblem, Source};
use super::settings::{ALL, find, sections, variable};
use crate::spec::document::nearest;

/// Variables that no setting has but that mean something to the command line.
const CLIENT_VARIABLES: [&str; 4] = [
    "DORMOUSE_CONFIG",
    "DORMOUSE_PROJECT",
    "DORMOUSE_SERVER",
    "DORMOUSE_TOKEN",
];

/// What variables begin with that set something in a section whose name the file gives.
const TEMPLATES: [&str; 1] = ["DORMOUSE_PROVIDERS_EC2_"];

/// An option of the command line that sets a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// As it is written: `--listen`.
    pub name: String,
    /// The setting's key.
    pub key: String,
    /// Its text.
    pub value: String,
}

/// A value as somebody wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) source: Source,
    /// The parts of a list that was written as one, each with its place.
    pub(super) parts: Vec<(String, Source)>,
}

impl Given {
    /// A single value.
    pub(super) const fn one(text: String, source: Source) -> Self {
        let parts = Vec::new();
        Self {
            text,
            source,
            parts,
        }
    }
}

/// All values that were given, by key, in rising order of precedence; and keys that no setting has.
#[derive(Debug, Default)]
pub(super) struct Layers {
    given: BTreeMap<String, Vec<Given>>,
    pub(super) problems: Vec<ConfigProblem>,
    /// The sections that an operator named, and where: `providers.ec2.NAME`.
    named: BTreeMap<String, Source>,
    /// Settings that were given something which is no value at all.
    spoilt: BTreeSet<String>,
}

impl Layers {
    /// Lays a value over those that were there.
    pub(super) fn give(&mut self, key: &str, given: Given) {
        if find(key).is_some() {
            self.given.entry(key.to_owned()).or_default().push(given);
        } else {
            self.refuse(given.source, unknown_key(key));
        }
    }

    /// Notes a section that the operator named, by its key.
    pub(super) fn name(&mut self, key: &str, source: Source) {
        self.named.insert(key.to_owned(), source);
    }

    /// The names of the sections below `section` that an operator named, and where.
    pub(super) fn names(&self, section: &str) -> Vec<(String, Source)> {
        let name = |key: &str| Some(key.strip_prefix(section)?.strip_prefix('.')?.to_owned());
        let named = self.named.iter();
        named
            .filter_map(|(key, source)| Some((name(key)?, source.clone())))
            .collect()
    }

    /// Notes a problem that is not about one setting's value.
    pub(super) fn refuse(&mut self, source: Source, message: String) {
        self.problems.push(ConfigProblem {
            source,
            key: None,
            message,
        });
    }

    /// Notes that a setting was given something which is no value at all.
    pub(super) fn spoil(&mut self, key: &str, source: Source, problem: &str) {
        self.refuse(source, format!("{key}: {problem}"));
        self.spoilt.insert(key.to_owned());
    }

    /// Whether a setting was given something which is no value at all.
    pub(super) fn is_spoilt(&self, key: &str) -> bool {
        self.spoilt.contains(key)
    }

    /// Lays the environment over what was there. It sets what sections have that the file names,
    /// and names none itself: where a name ends and a setting begins does not show in a variable.
    pub(super) fn give_environment(&mut self, environment: &Environment) {
        let mut meant: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for key in self.keys() {
            meant.entry(variable(&key)).or_default().push(key);
        }
        for (name, keys) in meant {
            let Some(value) = environment.get(&name) else {
                continue;
            };
            let source = Source::Environment(name);
            match keys.as_slice() {
                [key] => self.give(key, Given::one(value.to_owned(), source)),
                several => {
                    let both = several.join(" or ");
                    self.refuse(
                        source,
                        format!("may mean {both}: rename one of the sections"),
                    );
                }
            }
        }
    }

    /// The keys of all settings, templates once for each section that has a name.
    pub(super) fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for setting in ALL {
            let key = setting.key();
            match key.split_once(".*.") {
                None => keys.push(key.to_owned()),
                Some((section, _)) => {
                    let names = self.names(section).into_iter();
                    keys.extend(names.map(|(name, _)| setting.key_for(&name)));
                }
            }
        }
        keys
    }

    /// Lays the options of the command line over what was there.
    pub(super) fn give_flags(&mut self, flags: &[Flag]) {
        for flag in flags {
            let source = Source::Flag(flag.name.clone());
            self.give(&flag.key, Given::one(flag.value.clone(), source));
        }
    }

    /// The values of one setting, in rising order of precedence.
    pub(super) fn take(&mut self, key: &str) -> Vec<Given> {
        self.given.remove(key).unwrap_or_default()
    }
}

/// `unknown setting "lisen", did you mean "listen"?` A key that lacks its section is near to the one
/// that ends in it; below a section with a name, the same name is meant.
pub(super) fn unknown_key(key: &str) -> String {
    let words: Vec<&str> = key.split('.').collect();
    let here = |pattern: &str| -> String {
        let wanted = pattern.split('.').enumerate();
        let filled = wanted.map(|(at, want)| match want {
            "*" => words.get(at).copied().unwrap_or("NAME"),
            word => word,
        });
        filled.collect::<Vec<_>>().join(".")
    };
    let keys: Vec<String> = ALL.iter().map(|setting| here(setting.key())).collect();
    let sections: Vec<String> = sections().map(here).collect();
    let last = format!(".{key}");
    let ends_so = keys.iter().find(|known| known.ends_with(&last));
    let all = || sections.iter().chain(&keys).map(String::as_str);
    match ends_so.map(String::as_str).or_else(|| nearest(key, all())) {
        Some(near) => format!("unknown setting {key:?}, did you mean {near:?}?"),
        None => format!("unknown setting {key:?}, `dormouse config show --defaults` lists all"),
    }
}

/// One sentence per variable that looks like a setting but is none, as far as the settings go that
/// `keys` names. Only a warning: other programs and later versions may share the prefix.
pub(super) fn stray_variables(keys: &[String], environment: &Environment) -> Vec<String> {
    let known: Vec<String> = keys.iter().map(|key| variable(key)).collect();
    environment
        .names_with("DORMOUSE_")
        .filter(|name| !CLIENT_VARIABLES.contains(name))
        .filter(|name| !known.iter().any(|variable| variable == name))
        .map(|name| {
            // Of variables for sections with names only those of sections that the file has.
            let named = TEMPLATES.iter().find(|start| name.starts_with(**start));
            let start = named.copied().unwrap_or_default();
            let alike = known.iter().filter(|variable| variable.starts_with(start));
            match nearest(name, alike.map(String::as_str)) {
                Some(near) => format!("${name} sets nothing, did you mean ${near}?"),
                None if named.is_some() => {
                    format!("${name} sets nothing, the file names no such section")
                }
                None => format!("${name} sets nothing"),
            }
        })
        .collect()
}
