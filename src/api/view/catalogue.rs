//! The catalogue, and applying files to it and to the policies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::amount::RateView;
use crate::books::Applied;
use crate::engine::{Checked, ProbeVerdict};
use crate::model::{Capabilities, CapabilityValue, Image, ImageState, Shape, Span, Timestamp};

/// A size of machine, with its price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShapeView {
    /// The provider's name for it.
    #[schema(example = "t3.medium")]
    pub name: String,
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// What a running machine costs.
    pub price: RateView,
}

impl From<Shape> for ShapeView {
    fn from(shape: Shape) -> Self {
        Self {
            name: shape.name,
            vcpus: shape.vcpus,
            memory_mib: shape.memory_mib,
            price: shape.price_usd_micro_per_hour.into(),
        }
    }
}

/// Whether an image version may be launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImageStateWord {
    /// The current version of its name.
    Active,
    /// A newer version took its place; its machines drain.
    Superseded,
    /// It never booted, and a version before it is current again in its place.
    Quarantined,
    /// Removed from the catalogue; its machines drain.
    Removed,
}

impl ImageStateWord {
    /// The word for it, as in every output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Superseded => "superseded",
            Self::Quarantined => "quarantined",
            Self::Removed => "removed",
        }
    }
}

impl From<ImageState> for ImageStateWord {
    fn from(state: ImageState) -> Self {
        match state {
            ImageState::Active => Self::Active,
            ImageState::Superseded => Self::Superseded,
            ImageState::Quarantined => Self::Quarantined,
            ImageState::Removed => Self::Removed,
        }
    }
}

/// One version of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageView {
    /// The catalogue name.
    pub name: String,
    /// Its version, counting up from 1.
    pub version: u32,
    /// Whether new machines may be launched from it.
    pub state: ImageStateWord,
    /// One sentence for people.
    pub description: String,
    /// The provider that can boot it.
    pub provider: String,
    /// What the provider needs to find it.
    pub reference: serde_json::Value,
    /// The account that runs builds.
    pub login_user: String,
    /// The sizes it may run on.
    pub shapes: Vec<ShapeView>,
    /// What it can build: each value of each capability; a plain flag is `true` or `false`.
    pub capabilities: BTreeMap<String, Vec<String>>,
    /// A command that exits 0 once the machine can take builds.
    pub ready: Option<String>,
    /// Per capability, a command that prints the values a booted machine really has.
    pub probes: BTreeMap<String, String>,
    /// How long a boot may take before it counts as failed.
    #[schema(value_type = String, example = "2m")]
    pub boot_timeout: Span,
    /// Builds that a machine of it can run side by side, if its policy allows as many.
    pub slots: u32,
    /// When this version was applied.
    #[schema(value_type = String, format = DateTime)]
    pub applied_at: Timestamp,
}

impl From<Image> for ImageView {
    fn from(image: Image) -> Self {
        let spec = image.spec;
        Self {
            name: image.name,
            version: image.version,
            state: image.state.into(),
            description: spec.description,
            provider: spec.provider,
            reference: spec.reference,
            login_user: spec.login.user,
            shapes: spec.shapes.into_iter().map(ShapeView::from).collect(),
            capabilities: capability_texts(spec.capabilities),
            ready: spec.ready,
            probes: spec.probes,
            boot_timeout: spec.boot_timeout,
            slots: spec.slots,
            applied_at: image.applied_at,
        }
    }
}

fn capability_texts(capabilities: Capabilities) -> BTreeMap<String, Vec<String>> {
    capabilities
        .into_iter()
        .map(|(name, value)| match value {
            CapabilityValue::Flag(flag) => (name, vec![flag.to_string()]),
            CapabilityValue::Values(values) => (name, values),
        })
        .collect()
}

/// One capability of a verified image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerdictView {
    /// The capability.
    pub capability: String,
    /// What the catalogue claims.
    pub claimed: Vec<String>,
    /// What the probe printed, a value a line; empty when it failed.
    pub found: Vec<String>,
    /// Whether claim and finding agree.
    pub agrees: bool,
}

impl From<ProbeVerdict> for VerdictView {
    fn from(verdict: ProbeVerdict) -> Self {
        Self {
            capability: verdict.capability,
            claimed: verdict.claimed,
            found: verdict.found,
            agrees: verdict.agrees,
        }
    }
}

/// What a file declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeclarationKind {
    /// An image of the catalogue.
    Image,
    /// A policy.
    Policy,
}

impl DeclarationKind {
    /// The word for it, as in every output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Policy => "policy",
        }
    }
}

/// One file to apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclarationFile {
    /// What it declares.
    pub kind: DeclarationKind,
    /// What to call it in problems.
    #[schema(example = "images/debian-12.yaml")]
    pub file: String,
    /// Its text, YAML.
    pub text: String,
}

/// Files to apply: all of them, or none when one has a problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// The files.
    pub declarations: Vec<DeclarationFile>,
}

/// What applying one file did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppliedView {
    /// What it declares.
    pub kind: DeclarationKind,
    /// The file, as it was called in the request.
    pub file: String,
    /// The name of the image or policy.
    pub name: String,
    /// Its version now.
    pub version: u32,
    /// Whether the version is new; else the stored one says the same already.
    pub changed: bool,
    /// What is allowed, and hardly meant.
    #[serde(default)]
    pub warnings: Vec<String>,
}

impl AppliedView {
    /// What applying `file` did.
    pub fn new(file: DeclarationFile, applied: Applied, warnings: Vec<String>) -> Self {
        let (name, version, changed) = match applied {
            Applied::Unchanged { name, version } => (name, version, false),
            Applied::Changed { name, version } => (name, version, true),
        };
        Self {
            kind: file.kind,
            file: file.file,
            name,
            version,
            changed,
            warnings,
        }
    }
}

/// What applying files did, in the order of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ApplyResponse {
    /// One row a file.
    pub items: Vec<AppliedView>,
}

/// A file that could be applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckedView {
    /// What it declares.
    pub kind: DeclarationKind,
    /// The file, as it was called in the request.
    pub file: String,
    /// The name of the image or policy.
    pub name: String,
    /// What is allowed, and hardly meant.
    pub warnings: Vec<String>,
}

impl CheckedView {
    /// What was found in `file`.
    pub fn new(file: DeclarationFile, checked: Checked) -> Self {
        Self {
            kind: file.kind,
            file: file.file,
            name: checked.name,
            warnings: checked.warnings,
        }
    }
}

/// What was found in files, in the order of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CheckResponse {
    /// One row a file.
    pub items: Vec<CheckedView>,
}
