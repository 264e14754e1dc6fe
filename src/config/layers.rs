//! Where values come from: default < file < environment < flags, each kept with its source.

use std::collections::BTreeMap;

use super::environment::Environment;
use super::problem::{ConfigProblem, Source};
use super::settings::{ALL, sections};
use crate::spec::document::nearest;

/// Variables that no setting has but that mean something to the command line.
const CLIENT_VARIABLES: [&str; 4] = [
    "DORMOUSE_CONFIG",
    "DORMOUSE_PROJECT",
    "DORMOUSE_SERVER",
    "DORMOUSE_TOKEN",
];

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
}

/// All values that were given, by key, in rising order of precedence; and keys that no setting has.
#[derive(Debug, Default)]
pub(super) struct Layers {
    given: BTreeMap<&'static str, Vec<Given>>,
    pub(super) problems: Vec<ConfigProblem>,
}

impl Layers {
    /// Lays a value over those that were there.
    pub(super) fn give(&mut self, key: &str, text: String, source: Source) {
        match ALL.iter().find(|setting| setting.key() == key) {
            Some(setting) => self
                .given
                .entry(setting.key())
                .or_default()
                .push(Given { text, source }),
            None => self.refuse(source, unknown_key(key)),
        }
    }

    /// Notes a problem that is not about one setting's value.
    pub(super) fn refuse(&mut self, source: Source, message: String) {
        self.problems.push(ConfigProblem {
            source,
            key: None,
            message,
        });
    }

    /// Lays the environment over what was there.
    pub(super) fn give_environment(&mut self, environment: &Environment) {
        for setting in ALL {
            let name = setting.variable();
            if let Some(value) = environment.get(&name) {
                let text = value.to_owned();
                self.give(setting.key(), text, Source::Environment(name));
            }
        }
    }

    /// Lays the options of the command line over what was there.
    pub(super) fn give_flags(&mut self, flags: &[Flag]) {
        for flag in flags {
            let source = Source::Flag(flag.name.clone());
            self.give(&flag.key, flag.value.clone(), source);
        }
    }

    /// The values of one setting, in rising order of precedence.
    pub(super) fn take(&mut self, key: &str) -> Vec<Given> {
        self.given.remove(key).unwrap_or_default()
    }
}

/// `unknown setting "lisen", did you mean "listen"?` A key that lacks its section is near to the one
/// that ends in it.
pub(super) fn unknown_key(key: &str) -> String {
    let keys = ALL.iter().map(|setting| setting.key());
    let last = format!(".{key}");
    let ends_so = ALL
        .iter()
        .map(|setting| setting.key())
        .find(|known| known.ends_with(&last));
    match ends_so.or_else(|| nearest(key, sections().chain(keys))) {
        Some(near) => format!("unknown setting {key:?}, did you mean {near:?}?"),
        None => format!("unknown setting {key:?}, `dormouse config show --defaults` lists all"),
    }
}

/// One sentence per variable that looks like a setting but is none. Only a warning: other programs
/// and later versions may share the prefix.
pub(super) fn stray_variables(environment: &Environment) -> Vec<String> {
    let known: Vec<String> = ALL.iter().map(|setting| setting.variable()).collect();
    environment
        .names_with("DORMOUSE_")
        .filter(|name| !CLIENT_VARIABLES.contains(name))
        .filter(|name| !known.iter().any(|variable| variable == name))
        .map(
            |name| match nearest(name, known.iter().map(String::as_str)) {
                Some(near) => format!("${name} sets nothing, did you mean ${near}?"),
                None => format!("${name} sets nothing"),
            },
        )
        .collect()
}
