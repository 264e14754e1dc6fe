//! Images: dormant machines in the catalogue, as versioned rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::capability::Capabilities;
use super::money::Rate;
use super::offering::ShapeWish;
use super::time::{Span, Timestamp};

/// One version of an image. Applying a changed file makes the next version; a machine keeps the
/// version it was launched with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The catalogue name, unique among images.
    pub name: String,
    /// 1 for the first row of this name, then counting up.
    pub version: u32,
    /// Whether new machines may be launched from it.
    pub state: ImageState,
    /// What the file said.
    pub spec: ImageSpec,
    /// When this version was applied.
    pub applied_at: Timestamp,
    /// Write counter for compare-and-set.
    pub rev: u64,
}

/// Whether an image version may be launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageState {
    /// The current version of its name.
    Active,
    /// A newer version took its place; its machines drain.
    Superseded,
    /// Removed from the catalogue; its machines drain.
    Removed,
}

/// The validated content of an image file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSpec {
    /// One sentence for people.
    #[serde(default)]
    pub description: String,
    /// The configured provider that can boot it.
    pub provider: String,
    /// What the provider needs to find the image; its shape is the provider's business.
    #[serde(default)]
    pub reference: serde_json::Value,
    /// How to log in.
    pub login: Login,
    /// The sizes it may run on, with prices; none when the provider finds them by `wish`.
    pub shapes: Vec<Shape>,
    /// What sizes must be like that the provider finds, with their prices.
    #[serde(default)]
    pub wish: Option<ShapeWish>,
    /// What it can build.
    pub capabilities: Capabilities,
    /// A command that exits 0 once the machine can take builds.
    #[serde(default)]
    pub ready: Option<String>,
    /// Per capability, a command that prints the values a booted machine really has, one a line.
    #[serde(default)]
    pub probes: BTreeMap<String, String>,
    /// How long a boot may take before it counts as failed.
    pub boot_timeout: Span,
    /// Builds that a machine of it can run side by side, if its policy allows as many.
    #[serde(default = "one_slot")]
    pub slots: u32,
    /// How its machines are billed, where that is not as their provider bills machines as such.
    #[serde(default)]
    pub billing: Option<Billing>,
}

/// Most builds side by side that an image may allow. Each is followed on a channel of its own of the
/// machine's one connection, and an OpenSSH server takes ten of those unless it is told otherwise
/// (`MaxSessions`): two are left for shells that tidy up after builds.
pub const MOST_SLOTS: u32 = 8;

/// Images of before machines could have several builds allow one.
const fn one_slot() -> u32 {
    1
}

/// In which pieces machine time is billed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Billing {
    /// A begun piece is paid for whole; zero for time as it is used.
    #[serde(default)]
    pub quantum: Span,
    /// The least that is paid for.
    #[serde(default)]
    pub minimum: Span,
}

impl Billing {
    /// How much time is paid for when `used` is used without a break.
    pub fn paid(self, used: Span) -> Span {
        let used = used.max(self.minimum).micros();
        match self.quantum.micros() {
            0 => Span::from_micros(used),
            quantum => Span::from_micros(used.div_ceil(quantum).saturating_mul(quantum)),
        }
    }
}

/// How to log in to a machine of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The account that runs builds.
    pub user: String,
}

/// A size of machine, with its price.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shape {
    /// The provider's name for it (an instance type).
    pub name: String,
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// What a running machine costs.
    pub price_usd_micro_per_hour: Rate,
}
