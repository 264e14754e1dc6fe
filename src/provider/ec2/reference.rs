//! What an image file says of its AMI, and what a launch is told of the AMI that was found. Pure:
//! the calls are in `ami`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::errors::refuse;
use crate::model::{CapabilityValue, ImageSpec};
use crate::provider::{ErrorKind, ProviderError};

/// What we are doing, as errors say it.
pub(super) const OPERATION: &str = "resolving the image";

/// Largest root volume, in GiB: what gp3 takes.
const MOST_GIB: u32 = 65_536;

/// The keys that say which AMI it is; exactly one of them is used.
const SOURCES: &str = "`ami`, `ssm` or `launch_template`";

/// The `reference` of an image, validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// Where the AMI is found.
    pub source: Source,
    /// What the root volume is to be like.
    pub root: Root,
    /// Whether its machines are launched so that they can hibernate.
    pub hibernate: bool,
    /// Shell commands that run as root at first boot, after ours.
    pub user_data: Option<String>,
}

/// Where an AMI is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// By its id.
    Id(String),
    /// The newest of an owner's whose name matches.
    Newest(Named),
    /// In an SSM parameter.
    Parameter(String),
    /// In a launch template.
    Template(Template),
}

/// AMIs by owner and name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    /// `self`, `amazon`, `aws-marketplace` or an account number.
    #[serde(deserialize_with = "text")]
    pub owner: String,
    /// The name, with `*` and `?` as wildcards.
    pub name: String,
}

/// A launch template by name or id.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Template {
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// Its id.
    #[serde(default)]
    pub id: Option<String>,
    /// A number, `$Latest` or `$Default`.
    #[serde(default = "default_version", deserialize_with = "text")]
    pub version: String,
}

/// What the root volume is to be like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Root {
    /// Its size in GiB; default: the AMI's.
    #[serde(default, rename = "size", deserialize_with = "gib")]
    pub gib: Option<u32>,
    /// How it is stored.
    #[serde(default, rename = "type")]
    pub kind: VolumeKind,
    /// Operations per second; default: what is included.
    #[serde(default)]
    pub iops: Option<u32>,
    /// MiB per second, of gp3; default: what is included.
    #[serde(default)]
    pub throughput: Option<u32>,
}

/// How a volume is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum VolumeKind {
    /// General purpose, of a fixed speed.
    #[default]
    Gp3,
    /// General purpose, faster when bigger.
    Gp2,
    /// Of a speed that is paid for.
    Io1,
    /// The same, more durable.
    Io2,
}

impl VolumeKind {
    /// The word for it, as AWS takes it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Gp3 => "gp3",
            Self::Gp2 => "gp2",
            Self::Io1 => "io1",
            Self::Io2 => "io2",
        }
    }
}

/// What was found for an image: all that a launch must know, so that preparing one asks nobody. Its
/// JSON is [`Resolution::reference`](crate::provider::Resolution).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Resolved {
    /// The AMI.
    pub ami: String,
    /// As AWS calls it: `x86_64` or `arm64`.
    pub architecture: String,
    /// The device that the root volume is, as in `/dev/xvda`.
    pub root_device: String,
    /// How big the root volume is to be.
    pub root_gib: u32,
    /// How it is to be stored.
    pub volume: VolumeKind,
    /// Its operations per second, if they were chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iops: Option<u32>,
    /// Its MiB per second, if they were chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throughput: Option<u32>,
    /// Whether the root volume must be encrypted.
    pub encrypted: bool,
    /// Whether machines are launched so that they can hibernate.
    pub hibernate: bool,
    /// Subnets to launch into, by zone.
    pub subnets: BTreeMap<String, Vec<String>>,
}

impl Resolved {
    /// As text; the same value always gives the same text.
    pub(super) fn to_text(&self) -> String {
        // A struct of texts, numbers and flags: its JSON cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// From the text.
    ///
    /// # Errors
    /// `Config`, for a text that was not written by this version: the image is resolved again soon.
    pub(super) fn parse(text: &str) -> Result<Self, ProviderError> {
        serde_json::from_str(text).map_err(|error| {
            let message = format!("what was found for the image cannot be read: {error}");
            refuse(OPERATION, ErrorKind::Config, message)
        })
    }
}

/// The reference as it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    ami: Option<Value>,
    #[serde(default)]
    ssm: Option<String>,
    #[serde(default)]
    launch_template: Option<Template>,
    #[serde(default)]
    root: Root,
    #[serde(default)]
    hibernate: bool,
    #[serde(default)]
    user_data: Option<String>,
}

impl Reference {
    /// Reads what the image file says.
    ///
    /// # Errors
    /// `Config`, with what would be accepted.
    pub(super) fn read(spec: &ImageSpec) -> Result<Self, ProviderError> {
        read(&spec.reference)
            .map_err(|why| refuse(OPERATION, ErrorKind::Config, format!("reference: {why}")))
    }
}

fn read(reference: &Value) -> Result<Reference, String> {
    if !reference.is_object() {
        return Err(format!("expected a map with {SOURCES}"));
    }
    let raw: Raw = serde_json::from_value(reference.clone()).map_err(|error| error.to_string())?;
    let source = match (raw.ami, raw.ssm, raw.launch_template) {
        (Some(ami), None, None) => read_ami(ami)?,
        (None, Some(name), None) => Source::Parameter(name),
        (None, None, Some(template)) => {
            if template.name.is_some() == template.id.is_some() {
                return Err("launch_template: expected either `name` or `id`".to_owned());
            }
            Source::Template(template)
        }
        _ => return Err(format!("expected exactly one of {SOURCES}")),
    };
    check_root(&raw.root)?;
    Ok(Reference {
        source,
        root: raw.root,
        hibernate: raw.hibernate,
        user_data: raw.user_data,
    })
}

fn read_ami(ami: Value) -> Result<Source, String> {
    match ami {
        Value::String(id) if id.starts_with("ami-") => Ok(Source::Id(id)),
        Value::Object(_) => serde_json::from_value(ami)
            .map(Source::Newest)
            .map_err(|error| format!("ami: {error}")),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            Err(
                "ami: expected an id as in ami-0123456789abcdef0, or a map of `owner` and `name`"
                    .to_owned(),
            )
        }
    }
}

fn check_root(root: &Root) -> Result<(), String> {
    let paid = matches!(root.kind, VolumeKind::Io1 | VolumeKind::Io2);
    if paid && root.iops.is_none() {
        return Err(format!("root: {} needs `iops`", root.kind.word()));
    }
    if root.kind == VolumeKind::Gp2 && root.iops.is_some() {
        return Err("root: the speed of gp2 follows its size; expected no `iops`".to_owned());
    }
    if root.kind != VolumeKind::Gp3 && root.throughput.is_some() {
        return Err("root: only gp3 takes `throughput`".to_owned());
    }
    Ok(())
}

/// The architecture that an image file claims: by its capability `arch`, as AWS calls it.
///
/// # Errors
/// `Config` for a claim that no AMI can meet.
pub(super) fn claimed_architecture(
    spec: &ImageSpec,
) -> Result<Option<&'static str>, ProviderError> {
    let Some(CapabilityValue::Values(values)) = spec.capabilities.get("arch") else {
        return Ok(None);
    };
    let mut known = values.iter().map(|value| match value.as_str() {
        "x86_64" | "amd64" | "x64" => Some("x86_64"),
        "arm64" | "aarch64" => Some("arm64"),
        _ => None,
    });
    let first = known.next().flatten();
    if first.is_none() || known.any(|other| other != first) {
        let claim = values.join(", ");
        let message = format!(
            "the image claims arch: {claim}; an AMI is either x86_64 (amd64) or arm64 (aarch64)"
        );
        return Err(refuse(OPERATION, ErrorKind::Config, message));
    }
    Ok(first)
}

fn default_version() -> String {
    "$Default".to_owned()
}

/// A text; a number, which an account or a version may look like, is taken as it is written.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            Err(serde::de::Error::custom("expected a text"))
        }
    }
}

fn gib<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let written = String::deserialize(deserializer)?;
    let number = written.strip_suffix("GiB").map(str::trim);
    let size = number.and_then(|number| number.parse::<u32>().ok());
    match size.filter(|size| (1..=MOST_GIB).contains(size)) {
        Some(size) => Ok(Some(size)),
        None => Err(serde::de::Error::custom(format!(
            "root.size: {written:?} is not 1GiB to {MOST_GIB}GiB, as in 30GiB"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_forms_are_read() {
        let source = |value: Value| read(&value).unwrap().source;
        assert_eq!(
            source(json!({"ami": "ami-1"})),
            Source::Id("ami-1".to_owned())
        );
        let named = Named {
            owner: "136693071363".to_owned(),
            name: "debian-12-*".to_owned(),
        };
        for owner in [json!("136693071363"), json!(136_693_071_363_u64)] {
            let value = json!({"ami": {"owner": owner, "name": "debian-12-*"}});
            assert_eq!(source(value), Source::Newest(named.clone()));
        }
        assert_eq!(
            source(json!({"ssm": "/a/b"})),
            Source::Parameter("/a/b".to_owned())
        );
        let Source::Template(template) = source(json!({"launch_template": {"id": "lt-1"}})) else {
            panic!("no template");
        };
        assert_eq!(template.version, "$Default");
        let reference = read(&json!({
            "ami": "ami-1", "hibernate": true, "user_data": "echo",
            "root": {"size": "30GiB", "type": "io2", "iops": 4000}
        }))
        .unwrap();
        assert_eq!(
            (reference.root.gib, reference.root.iops),
            (Some(30), Some(4_000))
        );
        assert_eq!(reference.root.kind.word(), "io2");
        assert!(reference.hibernate && reference.user_data.is_some());
    }

    #[test]
    fn what_is_wrong_is_told_in_one_sentence() {
        for (value, part) in [
            (Value::Null, "expected a map with `ami`"),
            (json!({}), "expected exactly one of"),
            (
                json!({"ami": "ami-1", "ssm": "/x"}),
                "expected exactly one of",
            ),
            (json!({"ami": "debian"}), "expected an id as in ami-"),
            (json!({"ami": {"owner": "self"}}), "missing field `name`"),
            (
                json!({"amy": "ami-1"}),
                "unknown field `amy`, expected one of `ami`",
            ),
            (
                json!({"launch_template": {}}),
                "expected either `name` or `id`",
            ),
            (
                json!({"ami": "ami-1", "root": {"size": "30GB"}}),
                "as in 30GiB",
            ),
            (
                json!({"ami": "ami-1", "root": {"size": "0GiB"}}),
                "is not 1GiB to",
            ),
            (
                json!({"ami": "ami-1", "root": {"type": "st1"}}),
                "unknown variant `st1`",
            ),
            (
                json!({"ami": "ami-1", "root": {"type": "io1"}}),
                "io1 needs `iops`",
            ),
            (
                json!({"ami": "ami-1", "root": {"type": "gp2", "throughput": 200}}),
                "only gp3",
            ),
        ] {
            let error = read(&value).expect_err(&value.to_string());
            assert!(error.contains(part), "{value}: {error}");
        }
    }

    #[test]
    fn what_was_found_survives_its_text() {
        let resolved = Resolved {
            ami: "ami-1".to_owned(),
            architecture: "arm64".to_owned(),
            root_device: "/dev/xvda".to_owned(),
            root_gib: 8,
            volume: VolumeKind::Gp3,
            iops: None,
            throughput: Some(250),
            encrypted: false,
            hibernate: false,
            subnets: BTreeMap::from([("a".to_owned(), vec!["subnet-1".to_owned()])]),
        };
        assert_eq!(Resolved::parse(&resolved.to_text()), Ok(resolved));
        let error = Resolved::parse("ami-1").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
    }
}
