//! What is played, and what came of it.

use std::collections::BTreeMap;

use crate::matching;
use crate::model::{
    BuildResult, Category, Image, ImageSpec, ImageState, Money, PolicySpec, Rate, Requirements,
    Span, Timestamp,
};

use super::coverage::Coverage;
use super::faults::{Disturbance, Faults};
use super::run::SimulationError;

/// One build of a history. Builds that follow one another in it with the same instant and project are
/// one pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    /// Only a machine that has run nothing yet will do.
    pub fresh: bool,
    /// Longest time from its first step to its end; an hour or twice its run, whichever is longer,
    /// when not said.
    pub timeout: Option<Span>,
    /// Places in the history of builds of the same pipeline that must succeed first.
    pub needs: Vec<usize>,
}

/// What is played.
#[derive(Debug, Clone, Default)]
pub struct Scenario {
    /// The catalogue.
    pub images: Vec<(String, ImageSpec)>,
    /// The policies.
    pub policies: Vec<(String, PolicySpec)>,
    /// The history, in order of submission.
    pub work: Vec<Work>,
    /// How the cloud behaves.
    pub cloud: CloudModel,
    /// What goes wrong now and then.
    pub faults: Faults,
    /// What happens beside the history, in order of time.
    pub disturbances: Vec<(Timestamp, Disturbance)>,
    /// Longest time until somebody approves what builds wait for; none if nobody ever does.
    pub approves_within: Option<Span>,
    /// Whether the invariants are checked after every step, which takes several times as long.
    pub is_watched: bool,
    /// Seed of everything random.
    pub seed: u64,
}

impl Scenario {
    /// Whether the orchestrator is killed in it.
    pub(super) fn has_restarts(&self) -> bool {
        let mut disturbances = self.disturbances.iter();
        disturbances.any(|(_, what)| matches!(what, Disturbance::Restart { .. }))
    }

    /// Whether it can be played at all: what a server would refuse is found before it begins.
    pub(super) fn check(&self) -> Result<(), SimulationError> {
        for (name, spec) in &self.images {
            if spec.shapes.is_empty() {
                return Err(SimulationError::NoShapes(name.clone()));
            }
        }
        let pairs = self.work.windows(2).enumerate();
        for (place, pair) in pairs {
            if let [one, two] = pair
                && two.submit < one.submit
            {
                return Err(SimulationError::Unordered(place + 1));
            }
        }
        let images: Vec<Image> = self
            .images
            .iter()
            .map(|(name, spec)| Image {
                name: name.clone(),
                version: 1,
                state: ImageState::Active,
                spec: spec.clone(),
                applied_at: Timestamp::default(),
                released_at: None,
                rev: 0,
            })
            .collect();
        let mut known = BTreeMap::new();
        for (place, work) in self.work.iter().enumerate() {
            let pin = work.image.as_deref();
            let refusal = known.entry((&work.requires, pin)).or_insert_with(|| {
                matching::match_catalogue(&work.requires, pin, images.iter()).refusal(pin)
            });
            if let Some(why) = refusal {
                return Err(SimulationError::NoImage {
                    work: place,
                    name: work.name.clone(),
                    why: why.clone(),
                });
            }
        }
        Ok(())
    }
}

/// How the cloud behaves. Times vary around their medians by a log-normal factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudModel {
    /// Median time from the decision to launch to a machine that takes builds.
    pub boot: Span,
    /// Median time from the decision to wake to a machine that takes builds.
    pub wake: Span,
    /// Median time from the decision to let it sleep to a machine that is asleep.
    pub sleep: Span,
    /// Time from the end of a machine to the proof that it is gone.
    pub end: Span,
    /// Time from binding a build to a warm machine to its first step.
    pub start: Span,
    /// Spread of the times: the standard deviation of their natural logarithm, in percent.
    pub spread_percent: u32,
    /// Launches of a thousand that fail to boot.
    pub boot_failures_per_mille: u32,
    /// Spot machines of a thousand that are taken back in an hour.
    pub reclaims_per_mille_hour: u32,
    /// What spot capacity costs, in percent of the list price; none when there is no such.
    pub spot_percent: Option<u32>,
    /// What a machine costs while it is asleep.
    pub asleep: Rate,
    /// Zones in which every shape is to be had.
    pub zones: u32,
    /// Most machines that may run at once in a market; none when there is no quota.
    pub quota: Option<u32>,
    /// Whether like launches go out as one recorded request, as to EC2, or one by one.
    pub has_fleet: bool,
}

impl Default for CloudModel {
    /// EC2 as measured in 2026: about 26 s from launch to SSH, 21 s from stopped.
    fn default() -> Self {
        Self {
            boot: Span::from_secs(26),
            wake: Span::from_secs(21),
            sleep: Span::from_secs(15),
            end: Span::from_secs(5),
            start: Span::from_millis(250),
            spread_percent: 15,
            boot_failures_per_mille: 0,
            reclaims_per_mille_hour: 0,
            // Current families are about 60 % cheaper.
            spot_percent: Some(40),
            // 8 GiB of gp3 at $0.08 per GiB and month.
            asleep: Rate::from_micros_per_hour(877),
            zones: 1,
            quota: None,
            has_fleet: true,
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
    /// When the last machine was gone.
    pub end: Timestamp,
    /// Passes of the planner.
    pub passes: u64,
    /// Situations that came up.
    pub coverage: Coverage,
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
