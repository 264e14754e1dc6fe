//! The effective configuration as text: every setting, its value and where it comes from.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::layers::Given;
use super::problem::Source;
use super::settings::{ALL, Default, Describe, variable};

/// One setting as it is in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Where it stands in the file; with `NAME` in it for a setting of sections that an operator
    /// names, while there is none.
    pub key: String,
    /// Its value, readable as a value again; a placeholder for a secret; `None` when unset.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: Source,
    /// What it is when nobody says otherwise.
    pub default: String,
    /// The environment variable that sets it.
    pub variable: String,
    /// What is accepted.
    pub accepts: String,
    /// What it does.
    pub doc: &'static str,
    /// Whether the value is a placeholder.
    pub is_secret: bool,
    /// Whether it takes several values; they are shown with commas between.
    pub is_list: bool,
    /// Whether its key holds `NAME`, so that nothing sets it as it stands.
    pub is_template: bool,
}

/// Stands in the key of a template for a name.
const NAME: &str = "NAME";

/// Every setting, in the order of the table; those of sections with names section by section.
pub(super) fn effective(read: &BTreeMap<String, Given>, keys: &[String]) -> Vec<Effective> {
    let mut shown = Vec::new();
    let mut templates = Vec::new();
    for setting in ALL.iter().copied() {
        if setting.is_template() {
            templates.push(setting);
            continue;
        }
        sections(&mut shown, &std::mem::take(&mut templates), read, keys);
        shown.push(describe(setting, setting.key().to_owned(), read));
    }
    sections(&mut shown, &templates, read, keys);
    shown
}

/// The settings of neighbouring templates, for each name that there is.
fn sections(
    shown: &mut Vec<Effective>,
    templates: &[&'static dyn Describe],
    read: &BTreeMap<String, Given>,
    keys: &[String],
) {
    let Some(first) = templates.first() else {
        return;
    };
    let (before, after) = first.key().split_once('*').unwrap_or_default();
    let name = |key: &String| Some(key.strip_prefix(before)?.strip_suffix(after)?.to_owned());
    let mut names: Vec<String> = keys.iter().filter_map(name).collect();
    if names.is_empty() {
        names.push(NAME.to_owned());
    }
    for name in names {
        let all = templates.iter().copied();
        shown.extend(all.map(|setting| describe(setting, setting.key_for(&name), read)));
    }
}

fn describe(
    setting: &'static dyn Describe,
    key: String,
    read: &BTreeMap<String, Given>,
) -> Effective {
    let given = read.get(&key);
    Effective {
        value: given
            .map(|given| given.text.clone())
            .filter(|text| !text.is_empty()),
        source: given.map_or(Source::Default, |given| given.source.clone()),
        default: default_text(setting.default()),
        variable: variable(&key),
        accepts: setting.accepts(),
        doc: setting.doc(),
        is_secret: setting.is_secret(),
        is_list: setting.is_list(),
        is_template: given.is_none(),
        key,
    }
}

fn default_text(default: Default) -> String {
    match default {
        Default::Text(text) => text.to_owned(),
        Default::AmongUserData(name) => {
            format!("$XDG_DATA_HOME/{name}, else ~/.local/share/{name}")
        }
        Default::InDataDirectory(name) => format!("{name} in data_dir"),
        Default::Unset => "unset".to_owned(),
        Default::Required => "required".to_owned(),
    }
}

/// The settings as a configuration file with each value's source as a comment. Unset settings,
/// secrets and sections without a name are commented out, so that the text is a valid file that says
/// the same.
///
/// # Errors
/// When a value cannot be written as YAML.
pub fn yaml(settings: &[Effective]) -> Result<String, serde_yaml::Error> {
    let mut text = String::new();
    let mut open: Vec<&str> = Vec::new();
    for setting in settings {
        let mut sections: Vec<&str> = setting.key.split('.').collect();
        let name = sections.pop().unwrap_or_default();
        let kept = open
            .iter()
            .zip(&sections)
            .take_while(|(one, other)| one == other)
            .count();
        let off = |is_off: bool| if is_off { "# " } else { "" };
        for (depth, section) in sections.iter().enumerate().skip(kept) {
            let off = off(setting.is_template);
            let _ = writeln!(text, "{:indent$}{off}{section}:", "", indent = depth * 2);
        }
        let indent = sections.len() * 2;
        let _ = writeln!(text, "{:indent$}# {}", "", setting.doc);
        let off = off(setting.is_secret || setting.value.is_none());
        let value = written(setting)?;
        let source = &setting.source;
        let _ = writeln!(text, "{:indent$}{off}{name}: {value} # {source}", "");
        open = sections;
    }
    Ok(text)
}

/// The value as YAML.
fn written(setting: &Effective) -> Result<String, serde_yaml::Error> {
    let value = setting.value.as_deref().unwrap_or_default();
    if setting.is_list {
        let parts = value.split(", ").map(scalar);
        return Ok(format!(
            "[{}]",
            parts.collect::<Result<Vec<_>, _>>()?.join(", ")
        ));
    }
    scalar(value)
}

fn scalar(value: &str) -> Result<String, serde_yaml::Error> {
    let text = serde_yaml::to_string(value)?;
    Ok(plain(text.trim_end()).to_owned())
}

/// Numbers and switches are strings to us, but read best without quotes; any scalar is accepted.
fn plain(value: &str) -> &str {
    let inner = value.trim_matches('\'');
    let is_word = !inner.is_empty() && inner.chars().all(|c| c.is_ascii_alphanumeric());
    if is_word { inner } else { value }
}
