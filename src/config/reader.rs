//! Reads layered texts into typed values, noting every problem and every effective value.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::kind::Kind;
use super::layers::{Given, Layers};
use super::problem::{ConfigProblem, Source};
use super::settings::{self, Default, Describe, Setting};

/// What a secret shows instead of itself.
const REDACTED: &str = "[secret]";

/// Reads settings one by one.
#[derive(Debug)]
pub(super) struct Reader {
    layers: Layers,
    /// What relative paths of the environment and of flags count from.
    directory: PathBuf,
    user_data: Option<PathBuf>,
    data_directory: Option<PathBuf>,
    pub(super) problems: Vec<ConfigProblem>,
    /// The effective text of each setting read so far, and its source.
    pub(super) effective: BTreeMap<String, Given>,
}

impl Reader {
    pub(super) fn new(mut layers: Layers, directory: &Path, environment: &Environment) -> Self {
        Self {
            problems: std::mem::take(&mut layers.problems),
            layers,
            directory: directory.to_owned(),
            user_data: environment.user_directory("XDG_DATA_HOME", ".local/share"),
            data_directory: None,
            effective: BTreeMap::new(),
        }
    }

    /// Takes note of the data directory, where other defaults lie.
    ///
    /// Only a user without a home directory has none by default, and is told here, once.
    pub(super) fn data_directory_is(&mut self, directory: Option<&PathBuf>) {
        self.data_directory = directory.cloned();
        if directory.is_none() && self.problems.is_empty() {
            let problem = "has no default without a home directory, expected an absolute path";
            self.refuse(&settings::DATA_DIR, problem);
        }
    }

    /// Notes that the effective value of a setting does not go with others.
    pub(super) fn refuse(&mut self, setting: &'static dyn Describe, message: &str) {
        let given = self.effective.get(setting.key());
        let source = given.map_or(Source::Default, |given| given.source.clone());
        self.refuse_at(source, setting.key(), message);
    }

    /// Notes that something is wrong at a place.
    pub(super) fn refuse_at(&mut self, source: Source, key: &str, message: &str) {
        self.problems.push(ConfigProblem {
            source,
            key: Some(key.to_owned()),
            message: message.to_owned(),
        });
    }

    /// The names of the sections below `section` that an operator named, and where.
    pub(super) fn names(&self, section: &str) -> Vec<(String, Source)> {
        self.layers.names(section)
    }

    /// The keys of all settings, templates once for each section that has a name.
    pub(super) fn keys(&self) -> Vec<String> {
        self.layers.keys()
    }

    /// Whether a setting that was read has got a value from anybody, right or wrong.
    pub(super) fn is_given(&self, key: &str) -> bool {
        let given = self.effective.get(key);
        given.is_some_and(|given| given.source != Source::Default) || self.layers.is_spoilt(key)
    }

    /// The value of a setting. Every text that was given is read, so that a wrong one shows even
    /// while a later one hides it. `None` after a problem, or when nothing gives it a value.
    pub(super) fn read<K: Kind>(&mut self, setting: &'static Setting<K>) -> Option<K::Value> {
        self.read_at(setting, setting.key.to_owned())
    }

    /// The value of a setting at a key of its pattern.
    pub(super) fn read_at<K: Kind>(
        &mut self,
        setting: &'static Setting<K>,
        key: String,
    ) -> Option<K::Value> {
        let mut given = self.layers.take(&key);
        if given.is_empty() {
            given.extend(self.default_of(setting));
        }
        let mut value = None;
        for one in &given {
            value = setting.kind.read(&one.text, &self.base_of(&one.source));
            if value.is_none() {
                let refusal = self.refusal(setting, &key, one);
                self.problems.push(refusal);
            }
        }
        let source = given.pop().map_or(Source::Default, |last| last.source);
        let text = value
            .as_ref()
            .map_or_else(String::new, |value| setting.kind.print(value));
        self.effective.insert(key, Given::one(text, source));
        value
    }

    fn default_of<K: Kind>(&self, setting: &Setting<K>) -> Option<Given> {
        let text = match setting.default {
            Default::Text(text) => text.to_owned(),
            Default::AmongUserData(name) => {
                self.user_data.as_ref()?.join(name).display().to_string()
            }
            Default::InDataDirectory(name) => self
                .data_directory
                .as_ref()?
                .join(name)
                .display()
                .to_string(),
            Default::Unset | Default::Required => return None,
        };
        Some(Given::one(text, Source::Default))
    }

    /// Relative paths count from the file they stand in, else from the working directory.
    fn base_of(&self, source: &Source) -> PathBuf {
        match source {
            Source::File { path, .. } => self
                .directory
                .join(path.parent().unwrap_or_else(|| Path::new(""))),
            Source::Default | Source::Environment(_) | Source::Flag(_) => self.directory.clone(),
        }
    }

    /// What is wrong with a text; of a list, with its first part that is wrong.
    fn refusal<K: Kind>(&self, setting: &Setting<K>, key: &str, given: &Given) -> ConfigProblem {
        let base = self.base_of(&given.source);
        let is_wrong = |part: &&(String, Source)| setting.kind.read(&part.0, &base).is_none();
        let (text, source) = match given.parts.iter().find(is_wrong) {
            Some((text, source)) => (text, source),
            None => (&given.text, &given.source),
        };
        let shown = if setting.kind.is_secret() {
            REDACTED.to_owned()
        } else {
            format!("{text:?}")
        };
        let accepts = setting.kind.accepts();
        ConfigProblem {
            source: source.clone(),
            key: Some(key.to_owned()),
            message: format!("{shown} is not accepted, expected {accepts}"),
        }
    }
}
