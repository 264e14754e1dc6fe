//! What the operator wants: limits, idle time, lifetime, reuse.

use serde::{Deserialize, Serialize};

use super::time::{Span, Timestamp};

/// One version of a policy file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The policy's name, unique; `default` is the one that selects nothing in particular.
    pub name: String,
    /// 1 for the first row of this name, then counting up.
    pub version: u32,
    /// What the file said.
    pub spec: PolicySpec,
    /// When this version was applied.
    pub applied_at: Timestamp,
    /// Write counter for compare-and-set.
    pub rev: u64,
}

/// The validated content of a policy file. An absent knob falls through to the `default` policy,
/// then to the built-in value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySpec {
    /// Images it speaks of, by name; empty for all.
    #[serde(default)]
    pub images: Vec<String>,
    /// Most machines at once among the images it speaks of.
    #[serde(default)]
    pub max_machines: Option<u32>,
    /// How long a machine may stand idle before it goes away.
    #[serde(default)]
    pub idle_timeout: Option<Span>,
    /// Age at which a machine takes no further build.
    #[serde(default)]
    pub max_lifetime: Option<Span>,
    /// Builds after which a machine takes no further one.
    #[serde(default)]
    pub max_builds_per_machine: Option<u32>,
    /// How capacity is bought.
    #[serde(default)]
    pub market: Option<MarketChoice>,
    /// Whether machines that stood idle for long enough are put to sleep rather than ended.
    #[serde(default)]
    pub sleep: Option<SleepKind>,
    /// Most machines asleep at once, per image.
    #[serde(default)]
    pub max_asleep: Option<u32>,
    /// How long a machine may be asleep before it goes away.
    #[serde(default)]
    pub asleep_timeout: Option<Span>,
}

/// How capacity is bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarketChoice {
    /// At the list price only.
    #[default]
    OnDemand,
    /// Spare capacity only; builds wait when there is none.
    Spot,
    /// Spare capacity as long as there is any, and never for the last retry of a build.
    SpotWithFallback,
}

impl MarketChoice {
    /// The word for it, as in policy files.
    pub const fn word(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::Spot => "spot",
            Self::SpotWithFallback => "spot-with-fallback",
        }
    }
}

/// What becomes of a machine that stood idle for long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SleepKind {
    /// It is ended.
    #[default]
    Never,
    /// It is stopped; its disk is kept.
    Stop,
    /// Its memory is written to its disk, then it is stopped.
    Hibernate,
}

impl SleepKind {
    /// The word for it, as in policy files.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Stop => "stop",
            Self::Hibernate => "hibernate",
        }
    }
}
