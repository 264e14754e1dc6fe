//! How image versions fare.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::amount::MoneyView;
use super::catalogue::ImageStateWord;
use crate::books::{ImageHealth, ShapeHealth, VersionHealth};
use crate::model::{Span, Timestamp};

/// How an image has fared, newest version first. Counted are machines that are not gone, and the last
/// ten thousand or so that are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageHealthView {
    /// The catalogue name.
    pub image: String,
    /// Versions that are current or have had machines.
    pub versions: Vec<VersionHealthView>,
}

/// How a version of an image has fared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VersionHealthView {
    /// The version.
    pub version: u32,
    /// Whether new machines are launched from it.
    pub state: ImageStateWord,
    /// When it was applied, or released from quarantine.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// By shape.
    pub shapes: Vec<ShapeHealthView>,
}

/// How machines of one version and shape have fared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShapeHealthView {
    /// The provider's name for the shape.
    pub shape: String,
    /// Boots that worked.
    pub boots: u32,
    /// Boots that did not.
    pub failed_boots: u32,
    /// Time from the decision to launch to ready that half of the boots kept to.
    pub boot_p50_millis: Option<u64>,
    /// The same for 95 of 100.
    pub boot_p95_millis: Option<u64>,
    /// Attempts that ended on them, however they did.
    pub builds: u32,
    /// Attempts that failed for reasons of infrastructure once their machine was up.
    pub infrastructure_failures: u32,
    /// What failed boots and those attempts cost.
    pub failure_cost: MoneyView,
}

impl From<ImageHealth> for ImageHealthView {
    fn from(health: ImageHealth) -> Self {
        Self {
            image: health.image,
            versions: health.versions.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<VersionHealth> for VersionHealthView {
    fn from(health: VersionHealth) -> Self {
        Self {
            version: health.version,
            state: health.state.into(),
            since: health.since,
            shapes: health.shapes.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<ShapeHealth> for ShapeHealthView {
    fn from(health: ShapeHealth) -> Self {
        let millis = |span: Span| span.micros() / 1_000;
        Self {
            shape: health.shape,
            boots: health.boots,
            failed_boots: health.failed_boots,
            boot_p50_millis: health.boot_p50.map(millis),
            boot_p95_millis: health.boot_p95.map(millis),
            builds: health.builds,
            infrastructure_failures: health.infrastructure_failures,
            failure_cost: health.failure_cost.into(),
        }
    }
}
