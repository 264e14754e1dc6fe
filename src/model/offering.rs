//! Where a machine can be had: instance type, zone and market, with a price.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::catalogue::Shape;
use super::id::{LaunchId, MachineId};
use super::money::Rate;
use super::secret::Secret;
use super::time::Timestamp;

/// How capacity is bought.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Market {
    /// At the list price, for as long as it is wanted.
    #[default]
    OnDemand,
    /// Spare capacity, cheaper, taken back on short notice.
    Spot,
}

impl Market {
    /// The word for it, as in every output.
    pub const fn word(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::Spot => "spot",
        }
    }
}

/// Capacity that is there or not there as one: a type in a zone on a market.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pool {
    /// The provider's name for the shape (an instance type).
    pub shape: String,
    /// The provider's name for the place; empty when it has only one.
    pub zone: String,
    /// How it is bought.
    pub market: Market,
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.shape)?;
        if !self.zone.is_empty() {
            write!(f, "in {} ", self.zone)?;
        }
        f.write_str(self.market.word())
    }
}

/// A shape that can be bought in a zone on a market.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Offering {
    /// The size, with all that a running machine of it costs per hour.
    pub shape: Shape,
    /// The provider's name for the place; empty when it has only one.
    pub zone: String,
    /// How it is bought.
    pub market: Market,
    /// What a machine of it still costs while it is asleep.
    pub asleep: Rate,
}

impl Offering {
    /// The pool it is taken from.
    pub fn pool(&self) -> Pool {
        Pool {
            shape: self.shape.name.clone(),
            zone: self.zone.clone(),
            market: self.market,
        }
    }
}

/// Shapes by what they must be like, for providers that know what they sell. What is not said does
/// not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShapeWish {
    /// Exactly these, by name; then nothing else is said.
    #[serde(default)]
    pub types: Vec<String>,
    /// Least and most virtual processors.
    #[serde(default)]
    pub vcpus: Option<(u32, u32)>,
    /// Least and most memory in MiB.
    #[serde(default)]
    pub memory_mib: Option<(u32, u32)>,
    /// Families, as in `c7i`.
    #[serde(default)]
    pub families: Vec<String>,
    /// Processor architectures, as in `x86_64`; the image's own when not said.
    #[serde(default)]
    pub architectures: Vec<String>,
    /// Whether it has disks of its own.
    #[serde(default)]
    pub local_disk: Option<bool>,
    /// Not these; `*` stands for any characters.
    #[serde(default)]
    pub exclude: Vec<String>,
}

/// A launch that was decided and recorded, and may have reached the provider: one request for one
/// or more like machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Its identity; travels as a tag of the instances.
    pub id: LaunchId,
    /// The provider it goes to.
    pub provider: String,
    /// The image that is launched, by name.
    pub image: String,
    /// The version of that image.
    pub image_version: u32,
    /// The pools that it asks for.
    pub pools: Vec<Pool>,
    /// The machines it is for. Instances are given to them in this order.
    pub machines: Vec<MachineId>,
    /// The idempotency token: never used for another request.
    pub token: String,
    /// The request, byte for byte; it holds what the machines are let in with.
    pub request: Secret,
    /// When it was recorded.
    pub at: Timestamp,
}
