//! The configuration file: where it is looked for, and its keys with their places.

use std::path::{Path, PathBuf};

use super::ec2;
use super::environment::Environment;
use super::layers::{Given, Layers, unknown_key};
use super::problem::{ConfigError, Source};
use super::settings::{self, Section};
use crate::spec::document::{self, DocumentLimits, Entry, Node, Place, Value};

/// The file's name where nobody gives another.
const FILE_NAME: &str = "dormouse.yaml";

/// The directory for services.
const SYSTEM_DIRECTORY: &str = "/etc/dormouse";

/// The configuration file to read: the one asked for (which must then exist), the one that
/// `DORMOUSE_CONFIG` names, or the first that exists of `./dormouse.yaml`,
/// `$XDG_CONFIG_HOME/dormouse/dormouse.yaml` (else below `~/.config`) and
/// `/etc/dormouse/dormouse.yaml`.
pub fn find(asked: Option<&Path>, environment: &Environment) -> Option<PathBuf> {
    let named = asked
        .map(Path::to_owned)
        .or_else(|| environment.get("DORMOUSE_CONFIG").map(PathBuf::from));
    named.or_else(|| {
        let user = environment.user_directory("XDG_CONFIG_HOME", ".config");
        [
            Some(PathBuf::from(FILE_NAME)),
            user.map(|directory| directory.join("dormouse").join(FILE_NAME)),
            Some(Path::new(SYSTEM_DIRECTORY).join(FILE_NAME)),
        ]
        .into_iter()
        .flatten()
        .find(|path| path.is_file())
    })
}

/// Lays the values of a file over what was there.
pub(super) fn give_file(layers: &mut Layers, path: &Path) -> Result<(), ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    give_text(layers, path, &text);
    Ok(())
}

/// Lays the values of a document over what was there; `path` names it in problems.
fn give_text(layers: &mut Layers, path: &Path, text: &str) {
    // A file with nothing but comments is a template that nobody has filled in.
    let is_blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    if text.lines().all(is_blank) {
        return;
    }
    let mut walk = Walk { layers, path };
    match document::load(text, &DocumentLimits::default()) {
        Ok(document) => walk.section("", &document.root),
        Err(problems) => {
            for problem in problems {
                let (line, column) = (problem.line, problem.column);
                walk.refuse(Place { line, column }, problem.message);
            }
        }
    }
}

/// One pass over a document.
struct Walk<'a> {
    layers: &'a mut Layers,
    path: &'a Path,
}

impl Walk<'_> {
    /// The settings below a dotted key; empty for the document.
    fn section(&mut self, section: &str, node: &Node) {
        match &node.value {
            Value::Map(entries) => {
                for entry in entries {
                    self.entry(section, entry);
                }
            }
            // A section whose settings are all commented out is no mistake.
            Value::Scalar(_) if node.is_null() => {}
            Value::Scalar(_) | Value::List(_) => {
                let place = if section.is_empty() {
                    "the document"
                } else {
                    section
                };
                let found = node.describe();
                self.refuse(
                    node.place,
                    format!("{place}: expected settings, found {found}"),
                );
            }
        }
    }

    fn entry(&mut self, section: &str, entry: &Entry) {
        let key = if section.is_empty() {
            entry.key.clone()
        } else {
            format!("{section}.{}", entry.key)
        };
        match settings::section(&key) {
            Some(Section::Fixed) => self.section(&key, &entry.value),
            Some(Section::Named(name)) => self.named(&key, name, entry),
            None => self.setting(&key, entry),
        }
    }

    /// A section whose name the operator chose.
    fn named(&mut self, key: &str, name: &str, entry: &Entry) {
        if let Err(message) = ec2::check_name(name) {
            self.refuse(entry.place, format!("{key}: {message}"));
            return;
        }
        let source = self.source(entry.place);
        self.layers.name(key, source);
        self.section(key, &entry.value);
    }

    fn setting(&mut self, key: &str, entry: &Entry) {
        let Some(setting) = settings::find(key) else {
            self.refuse(entry.place, unknown_key(key));
            return;
        };
        match &entry.value.value {
            Value::Scalar(scalar) if !scalar.is_null() => {
                let source = self.source(entry.value.place);
                let given = Given::one(scalar.text.clone(), source);
                self.layers.give(key, given);
            }
            Value::List(items) if setting.is_list() => {
                self.list(key, entry.value.place, items);
            }
            Value::Scalar(_) | Value::List(_) | Value::Map(_) => {
                let found = entry.value.describe();
                let wanted = if setting.is_list() {
                    "a list"
                } else {
                    "a single value"
                };
                let source = self.source(entry.value.place);
                let problem = format!("expected {wanted}, found {found}");
                self.layers.spoil(key, source, &problem);
            }
        }
    }

    fn list(&mut self, key: &str, place: Place, items: &[Node]) {
        let mut parts = Vec::new();
        for item in items {
            match &item.value {
                Value::Scalar(scalar) if !scalar.is_null() => {
                    parts.push((scalar.text.clone(), self.source(item.place)));
                }
                Value::Scalar(_) | Value::List(_) | Value::Map(_) => {
                    let found = item.describe();
                    let source = self.source(item.place);
                    let problem = format!("expected a single value, found {found}");
                    self.layers.spoil(key, source, &problem);
                }
            }
        }
        if self.layers.is_spoilt(key) {
            return;
        }
        let texts: Vec<&str> = parts.iter().map(|(text, _)| text.as_str()).collect();
        let (text, source) = (texts.join(", "), self.source(place));
        self.layers.give(
            key,
            Given {
                text,
                source,
                parts,
            },
        );
    }

    fn refuse(&mut self, at: Place, message: String) {
        let source = self.source(at);
        self.layers.refuse(source, message);
    }

    fn source(&self, at: Place) -> Source {
        Source::File {
            path: self.path.to_owned(),
            line: at.line,
            column: at.column,
        }
    }
}
