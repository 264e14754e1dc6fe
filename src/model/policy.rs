//! What the operator wants: which work and machines a policy speaks of, and what holds for them.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::budget::Budget;
use super::money::{Money, Rate};
use super::schedule::WarmWindow;
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

/// The validated content of a policy file.
///
/// It speaks of what its selectors have in common: a build must have one of the projects and all of
/// the labels, and a priority in the range; it, or its machine, must be of one of the images and
/// providers. Names may hold `*`. An absent knob falls through to the next less specific policy that
/// speaks of the same, then to the built-in value. Limits and budgets do not fall through: all hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySpec {
    /// Images it speaks of, by name; empty for all.
    #[serde(default)]
    pub images: Vec<String>,
    /// Projects it speaks of; empty for all.
    #[serde(default)]
    pub projects: Vec<String>,
    /// Providers it speaks of; empty for all.
    #[serde(default)]
    pub providers: Vec<String>,
    /// Labels that a build must have, with these values.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Least and most priority of the builds it speaks of.
    #[serde(default)]
    pub priority: Option<(i32, i32)>,

    /// Most machines at once among what it speaks of.
    #[serde(default)]
    pub max_machines: Option<u32>,
    /// Most virtual processors at once.
    #[serde(default)]
    pub max_vcpus: Option<u32>,
    /// Most builds that have a machine at once.
    #[serde(default)]
    pub max_builds: Option<u32>,
    /// Most launches within any hour.
    #[serde(default)]
    pub max_launches_per_hour: Option<u32>,
    /// Most that machines may cost per hour, all that are up or on their way together.
    #[serde(default)]
    pub max_cost_per_hour: Option<Rate>,
    /// What may be spent.
    #[serde(default)]
    pub budgets: Vec<Budget>,

    /// How long a machine may stand idle before it goes away.
    #[serde(default)]
    pub idle_timeout: Option<IdleTimeout>,
    /// What an hour of somebody waiting for a build is worth.
    #[serde(default)]
    pub value_of_wait: Option<Rate>,
    /// Whether machines that stood idle for long enough are put to sleep rather than ended.
    #[serde(default)]
    pub sleep: Option<SleepKind>,
    /// Most machines asleep at once, per image.
    #[serde(default)]
    pub max_asleep: Option<u32>,
    /// How long a machine may be asleep before it goes away.
    #[serde(default)]
    pub asleep_timeout: Option<Span>,
    /// Machines to be at hand before anybody asks, per image.
    #[serde(default)]
    pub warm: Option<Warm>,

    /// How capacity is bought.
    #[serde(default)]
    pub market: Option<MarketChoice>,
    /// Builds for which spare capacity will not do, although the market would allow it.
    #[serde(default)]
    pub on_demand: Option<OnDemandWhen>,

    /// Whose builds may follow one another on a machine.
    #[serde(default)]
    pub reuse: Option<Reuse>,
    /// Age at which a machine takes no further build.
    #[serde(default)]
    pub max_lifetime: Option<Span>,
    /// Builds after which a machine takes no further one.
    #[serde(default)]
    pub max_builds_per_machine: Option<u32>,
    /// Builds that a machine may run side by side; its image must allow as many.
    #[serde(default)]
    pub slots: Option<u32>,
    /// How full a machine may get before it takes no further build.
    #[serde(default)]
    pub rest_at: Option<RestAt>,

    /// Share of a project beside others; 1 when not said.
    #[serde(default)]
    pub weight: Option<u32>,
    /// What becomes of builds when the same pipeline is submitted anew for the same branch.
    #[serde(default)]
    pub superseded: Option<Superseded>,
    /// When a new image version is taken to be bad.
    #[serde(default)]
    pub quarantine: Option<Quarantine>,
}

/// How long a machine may stand idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdleTimeout {
    /// As long as waiting for the next build is worth less than a boot: from the value of a wait,
    /// measured boots, price and what was learned of the gaps between builds.
    Auto,
    /// So long.
    After(Span),
}

impl fmt::Display for IdleTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::After(span) => span.fmt(f),
        }
    }
}

impl Serialize for IdleTimeout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::After(span) => span.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for IdleTimeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IdleTimeoutVisitor)
    }
}

/// A span is written as [`Span`] is; rows from before `auto` hold nothing else.
struct IdleTimeoutVisitor;

impl Visitor<'_> for IdleTimeoutVisitor {
    type Value = IdleTimeout;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("auto or a length of time")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        if text == "auto" {
            return Ok(IdleTimeout::Auto);
        }
        text.parse().map(IdleTimeout::After).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, micros: u64) -> Result<Self::Value, E> {
        Ok(IdleTimeout::After(Span::from_micros(micros)))
    }
}

/// Machines to be at hand before anybody asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warm {
    /// Floors by the clock; where several hold at once, the highest of each kind.
    #[serde(default)]
    pub windows: Vec<WarmWindow>,
    /// Whether machines are also kept for what arrived at the same hour of past weeks.
    #[serde(default)]
    pub forecast: bool,
    /// What standing by may cost per day; no more is kept beyond it.
    #[serde(default)]
    pub max_cost_per_day: Option<Money>,
    /// Age at which a machine that has run nothing is replaced.
    #[serde(default)]
    pub max_age: Option<Span>,
}

/// Builds for which spare capacity will not do. The last retry of a build never takes any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnDemandWhen {
    /// Expected to take longer than this.
    #[serde(default)]
    pub longer_than: Option<Span>,
    /// With less time than this between their expected end and their deadline.
    #[serde(default)]
    pub deadline_within: Option<Span>,
    /// More likely than this many percent to be interrupted, as observed.
    #[serde(default)]
    pub risk_above_percent: Option<u32>,
}

/// Whose builds may follow one another on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reuse {
    /// Each machine runs one build.
    Never,
    /// Those of one project.
    Project,
    /// Anybody's.
    #[default]
    Any,
}

impl Reuse {
    /// The one of two that allows less.
    #[must_use]
    pub const fn stricter(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never, _) | (_, Self::Never) => Self::Never,
            (Self::Project, _) | (_, Self::Project) => Self::Project,
            (Self::Any, Self::Any) => Self::Any,
        }
    }

    /// The word for it, as in policy files.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Project => "project",
            Self::Any => "any",
        }
    }
}

/// How full a machine may get, in percent of what it has, before it takes no further build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestAt {
    /// Of the file system of the work directory.
    pub disk_percent: u32,
    /// Of that file system's inodes.
    pub inodes_percent: u32,
    /// Of its memory.
    pub memory_percent: u32,
}

impl Default for RestAt {
    /// A tenth is what file systems keep for root, and what compilers need at once.
    fn default() -> Self {
        Self {
            disk_percent: 90,
            inodes_percent: 90,
            memory_percent: 90,
        }
    }
}

/// What becomes of builds when the same pipeline is submitted anew for the same branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Superseded {
    /// They go on.
    #[default]
    Keep,
    /// Those that have not begun are canceled.
    Collapse,
    /// Those that run are canceled, too.
    Cancel,
}

impl Superseded {
    /// The word for it, as in policy files.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Collapse => "collapse",
            Self::Cancel => "cancel",
        }
    }
}

/// When a new image version is taken to be bad: then the one before it is launched again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Boots that failed in a row, with none that worked; 0 for never.
    pub failures: u32,
}

impl Default for Quarantine {
    /// One failed boot is bad luck, two may be; three in a row without any success are the image.
    fn default() -> Self {
        Self { failures: 3 }
    }
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
