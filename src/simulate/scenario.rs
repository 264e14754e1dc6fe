//! What is played, and what came of it.

use std::collections::BTreeMap;

use crate::model::{
    BuildResult, Category, ImageSpec, Money, PolicySpec, Rate, Requirements, Span, Timestamp,
};

/// One build of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// When it was submitted.
    pub submit: Timestamp,
    /// How long its steps take.
    pub run: Span,
    /// Whose it is.
    pub project: String,
    /// Its name within the project: builds of one name are alike.
    pub name: String,
    /// Higher first.
    pub priority: i32,
    /// Labels for policies.
    pub labels: BTreeMap<String, String>,
    /// What it needs of an image.
    pub requires: Requirements,
    /// The only image that it may run on.
    pub image: Option<String>,
    /// How long after its submission it should be over.
    pub deadline: Option<Span>,
}

/// What is played.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The catalogue.
    pub images: Vec<(String, ImageSpec)>,
    /// The policies.
    pub policies: Vec<(String, PolicySpec)>,
    /// The history, in order of submission.
    pub work: Vec<Work>,
    /// How the cloud behaves.
    pub cloud: CloudModel,
    /// Seed of everything random.
    pub seed: u64,
}

/// How the cloud behaves. Times vary around their medians by a log-normal factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudModel {
    /// Median time from the decision to launch to a machine that takes builds.
    pub boot: Span,
    /// Median time from the decision to wake to a machine that takes builds.
    pub wake: Span,
    /// Time from the end of a machine to the proof that it is gone.
    pub end: Span,
    /// Spread of the times: the standard deviation of their natural logarithm, in percent.
    pub spread_percent: u32,
    /// Launches of a thousand that fail to boot.
    pub boot_failures_per_mille: u32,
    /// Spot machines of a thousand that are taken back in an hour.
    pub reclaims_per_mille_hour: u32,
}

impl Default for CloudModel {
    /// EC2 as measured in 2026: about 26 s from launch to SSH, 21 s from stopped.
    fn default() -> Self {
        Self {
            boot: Span::from_secs(26),
            wake: Span::from_secs(21),
            end: Span::from_secs(5),
            spread_percent: 15,
            boot_failures_per_mille: 0,
            reclaims_per_mille_hour: 0,
        }
    }
}

/// What came of a scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Every build, in order of its end.
    pub builds: Vec<EndedBuild>,
    /// Every machine, in order of its launch.
    pub machines: Vec<MachineLife>,
    /// Money by what it was spent on.
    pub money: BTreeMap<Category, Money>,
    /// Machine time by what it was spent on.
    pub time: BTreeMap<Category, Span>,
    /// Passes of the planner.
    pub passes: u64,
    /// Hash over every event and entry, in order: equal for equal scenarios.
    pub hash: u64,
}

/// A build that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedBuild {
    /// Its place in the scenario's history.
    pub work: usize,
    /// How it ended.
    pub result: BuildResult,
    /// When the first step of its last attempt began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Timestamp,
    /// Attempts that it took.
    pub attempts: u32,
    /// Whether its last attempt waited for a machine to boot or to wake.
    pub cold: bool,
}

/// A machine that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineLife {
    /// Its image.
    pub image: String,
    /// What it cost while it ran.
    pub rate: Rate,
    /// When its launch was decided.
    pub created: Timestamp,
    /// When it could take builds, if it ever could.
    pub ready: Option<Timestamp>,
    /// When it was proved gone.
    pub gone: Timestamp,
    /// When it had a build, in order.
    pub busy: Vec<(Timestamp, Timestamp)>,
    /// When it was asleep, in order.
    pub asleep: Vec<(Timestamp, Timestamp)>,
}
