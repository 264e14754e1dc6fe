//! The effective configuration as text: every setting, its value and where it comes from.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::layers::Given;
use super::problem::Source;
use super::settings::{ALL, Default};

/// One setting as it is in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Where it stands in the file.
    pub key: &'static str,
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
}

/// Every setting, in the order of the table.
pub(super) fn effective(read: &BTreeMap<&'static str, Given>) -> Vec<Effective> {
    ALL.iter()
        .map(|setting| {
            let given = read.get(setting.key());
            Effective {
                key: setting.key(),
                value: given
                    .map(|given| given.text.clone())
                    .filter(|text| !text.is_empty()),
                source: given.map_or(Source::Default, |given| given.source.clone()),
                default: default_text(setting.default()),
                variable: setting.variable(),
                accepts: setting.accepts(),
                doc: setting.doc(),
                is_secret: setting.is_secret(),
            }
        })
        .collect()
}

fn default_text(default: Default) -> String {
    match default {
        Default::Text(text) => text.to_owned(),
        Default::AmongUserData(name) => {
            format!("$XDG_DATA_HOME/{name}, else ~/.local/share/{name}")
        }
        Default::InDataDirectory(name) => format!("{name} in data_dir"),
        Default::Unset => "unset".to_owned(),
    }
}

/// The settings as a configuration file with each value's source as a comment. Unset settings and
/// secrets are commented out, so that the text is a valid file that says the same.
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
        for (depth, section) in sections.iter().enumerate().skip(kept) {
            let _ = writeln!(text, "{:indent$}{section}:", "", indent = depth * 2);
        }
        let indent = sections.len() * 2;
        let _ = writeln!(text, "{:indent$}# {}", "", setting.doc);
        let value = serde_yaml::to_string(setting.value.as_deref().unwrap_or_default())?;
        let off = if setting.is_secret || setting.value.is_none() {
            "# "
        } else {
            ""
        };
        let _ = writeln!(
            text,
            "{:indent$}{off}{name}: {} # {}",
            "",
            plain(value.trim_end()),
            setting.source
        );
        open = sections;
    }
    Ok(text)
}

/// Numbers and switches are strings to us, but read best without quotes; any scalar is accepted.
fn plain(value: &str) -> &str {
    let inner = value.trim_matches('\'');
    let is_word = !inner.is_empty() && inner.chars().all(|c| c.is_ascii_alphanumeric());
    if is_word { inner } else { value }
}
