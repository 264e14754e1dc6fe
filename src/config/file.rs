//! The configuration file: where it is looked for, and its keys with their places.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

use super::environment::Environment;
use super::layers::{Layers, unknown_key};
use super::problem::{ConfigError, Source};
use super::settings::{ALL, sections};

/// The file's name where nobody gives another.
const FILE_NAME: &str = "dormouse.yaml";

/// The directory for services.
const SYSTEM_DIRECTORY: &str = "/etc/dormouse";

/// More would not be a configuration but a mistake.
const MAX_BYTES: usize = 1 << 20;

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
pub(super) fn give_text(layers: &mut Layers, path: &Path, text: &str) {
    let mut walk = Walk {
        layers,
        path,
        open: Vec::new(),
        seen: BTreeSet::new(),
    };
    if text.len() > MAX_BYTES {
        walk.refuse(
            Marker::new(0, 1, 0),
            format!("is longer than {MAX_BYTES} bytes"),
        );
        return;
    }
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => walk.step(event, span),
            Err(error) => {
                // What follows a syntax error cannot be trusted.
                walk.refuse(*error.marker(), format!("is not YAML: {}", error.info()));
                return;
            }
        }
    }
}

/// What is open around the present place in the document.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    /// A mapping with this dotted key (empty for the document), waiting for the next key.
    Section(String),
    /// The value of this dotted key comes next.
    Value(String),
    /// The value of a refused key comes next.
    SkippedValue,
    /// A refused block: nothing in it is read.
    SkippedBlock,
}

/// One pass over a document.
struct Walk<'a> {
    layers: &'a mut Layers,
    path: &'a Path,
    open: Vec<Level>,
    seen: BTreeSet<String>,
}

impl Walk<'_> {
    fn step(&mut self, event: Event<'_>, span: Span) {
        match event {
            Event::Scalar(text, style, ..) => self.scalar(&text, style, span.start),
            Event::MappingStart(..) => self.mapping(span.start),
            Event::SequenceStart(..) => {
                self.refuse_node(span.start, "a list");
                self.open.push(Level::SkippedBlock);
            }
            Event::Alias(_) => self.refuse_node(span.start, "an alias"),
            Event::MappingEnd | Event::SequenceEnd => {
                self.open.pop();
            }
            // The frame around the document says nothing.
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => {}
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, at: Marker) {
        match self.open.last().cloned() {
            Some(Level::Section(section)) => self.key(&section, text, at),
            Some(Level::Value(key)) => {
                self.open.pop();
                self.value(&key, text, style, at);
            }
            Some(Level::SkippedValue) => {
                self.open.pop();
            }
            Some(Level::SkippedBlock) => {}
            // An empty document is one null; anything else is no mapping.
            None if is_null(text, style) => {}
            None => self.refuse(
                at,
                "expected settings, as in `listen: 127.0.0.1:8470`".to_owned(),
            ),
        }
    }

    fn key(&mut self, section: &str, name: &str, at: Marker) {
        let key = if section.is_empty() {
            name.to_owned()
        } else {
            format!("{section}.{name}")
        };
        if !self.seen.insert(key.clone()) {
            self.refuse(at, format!("{key} stands here a second time"));
        }
        if !is_setting(&key) && !is_section(&key) {
            self.refuse(at, unknown_key(&key));
            self.open.push(Level::SkippedValue);
        } else {
            self.open.push(Level::Value(key));
        }
    }

    fn value(&mut self, key: &str, text: &str, style: ScalarStyle, at: Marker) {
        let null = is_null(text, style);
        if is_section(key) {
            // A section whose settings are all commented out is no mistake.
            if !null {
                self.refuse(
                    at,
                    format!("{key} is a section, expected settings below it"),
                );
            }
        } else if null {
            self.refuse(
                at,
                format!("{key} has no value; leave the line out for the default"),
            );
        } else {
            let source = self.source(at);
            self.layers.give(key, text.to_owned(), source);
        }
    }

    fn mapping(&mut self, at: Marker) {
        let section = match self.open.last() {
            None => Some(String::new()),
            Some(Level::Value(key)) if is_section(key) => Some(key.clone()),
            Some(_) => None,
        };
        if let Some(section) = section {
            self.open.pop();
            self.open.push(Level::Section(section));
        } else {
            self.refuse_node(at, "a mapping");
            self.open.push(Level::SkippedBlock);
        }
    }

    /// Refuses a node that is neither the name nor the value of a setting.
    fn refuse_node(&mut self, at: Marker, what: &str) {
        match self.open.last().cloned() {
            Some(Level::Value(key)) => {
                self.open.pop();
                self.refuse(at, format!("{key} is {what}, expected a single value"));
            }
            Some(Level::Section(_)) => {
                self.refuse(at, format!("expected the name of a setting, not {what}"));
                self.open.push(Level::SkippedValue);
            }
            None => self.refuse(at, format!("expected settings, not {what}")),
            Some(Level::SkippedValue) => {
                self.open.pop();
            }
            Some(Level::SkippedBlock) => {}
        }
    }

    fn refuse(&mut self, at: Marker, message: String) {
        let source = self.source(at);
        self.layers.refuse(source, message);
    }

    fn source(&self, at: Marker) -> Source {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Source::File {
            path: self.path.to_owned(),
            line: number(at.line()),
            column: number(at.col()).saturating_add(1),
        }
    }
}

fn is_null(text: &str, style: ScalarStyle) -> bool {
    style == ScalarStyle::Plain && ["", "~", "null"].contains(&text)
}

fn is_setting(key: &str) -> bool {
    ALL.iter().any(|setting| setting.key() == key)
}

fn is_section(key: &str) -> bool {
    sections().any(|section| section == key)
}
