//! The planner's input: everything a decision depends on, and nothing else.
//!
//! The engine keeps it up to date change by change, so that a pass over a long queue does not begin
//! with copying it. Builds of like requirements share a [`Class`]: a pass looks at classes, and at
//! single builds only as long as they can be placed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::{
    BuildId, Left, MachineId, Market, MarketChoice, PipelineId, Rate, RestAt, Reuse, SleepKind,
    Span, Timestamp, Usage,
};

use super::budgets::BudgetView;
use super::image_set::Candidates;
use super::limits::{LaunchView, Limit, Rule};
use super::share::{Flow, Shares};

use super::standing::{Floors, IdleTerms};

/// Everything a decision depends on.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// Queued builds, by what they need.
    pub classes: BTreeMap<ClassId, Class>,
    /// Where each queued build stands in its class.
    pub queued: BTreeMap<BuildId, Queued>,
    /// Since when queued builds have looked for a machine, as far as that is not since their
    /// submission; a launch that came to nothing does not count.
    pub looking_since: BTreeMap<BuildId, Timestamp>,
    /// Machines that are not proved gone.
    pub machines: BTreeMap<MachineId, MachineView>,
    /// Images by index; an index never changes its image.
    pub images: Vec<ImageView>,
    /// Projects by index; an index never changes its project.
    pub projects: Vec<ProjectView>,
    /// Limits, every one of which must hold.
    pub limits: Vec<Limit>,
    /// Budgets, every one of which must have room.
    pub budgets: Vec<BudgetView>,
    /// Builds that have a machine.
    pub bound: BTreeMap<BuildId, BoundView>,
    /// Launches of the last hour, oldest first.
    pub launches: Vec<LaunchView>,
    /// Whose turn it is.
    pub shares: Shares,
    /// How long idle machines may stand so; their image's own timeout for those that are not here.
    pub idle: BTreeMap<MachineId, IdleTerms>,
    /// Machines to be at hand.
    pub warm: BTreeMap<ImageIndex, Floors>,
    /// When time alone makes something else of this snapshot, floors for one.
    pub changes_at: Option<Timestamp>,
    /// Builds that find no capacity for so long are given up; none to wait without end.
    pub capacity_wait: Option<Span>,
}

impl Snapshot {
    /// Puts a build into its class, to be placed from `not_before` on.
    pub fn enqueue(&mut self, class: ClassId, key: QueueKey, not_before: Option<Timestamp>) {
        let queue = self.classes.entry(class).or_default();
        self.shares.enter(queue.flow());
        match not_before {
            Some(at) => queue.later.insert((at, key)),
            None => queue.ready.insert(key),
        };
        self.queued.insert(
            key.build,
            Queued {
                class,
                key,
                not_before,
            },
        );
    }

    /// Takes a build out of the queue, if it is there.
    pub fn dequeue(&mut self, build: BuildId) {
        let Some(queued) = self.queued.remove(&build) else {
            return;
        };
        let Some(class) = self.classes.get_mut(&queued.class) else {
            return;
        };
        self.shares.leave(class.flow());
        match queued.not_before {
            Some(at) => class.later.remove(&(at, queued.key)),
            None => class.ready.remove(&queued.key),
        };
    }

    /// Notes that a queued build gets a machine: its flow has had its turn.
    pub fn charge(&mut self, build: BuildId) {
        let class = self.queued.get(&build).map(|queued| queued.class);
        if let Some(class) = class.and_then(|class| self.classes.get(&class)) {
            let flow = class.flow();
            self.shares.charge(flow, self.weight(flow));
        }
    }

    /// The weight of a flow's project.
    pub fn weight(&self, flow: Flow) -> u32 {
        self.projects
            .get(flow.project.0)
            .map_or(1, |project| project.weight)
    }

    /// What a machine that is launched or woken on one of these offerings uses up: the most that it may
    /// become.
    pub(super) fn meter(&self, image: ImageIndex, places: &[usize], now: Timestamp) -> Meter {
        let offerings = self
            .image(image)
            .into_iter()
            .flat_map(|image| &image.offerings);
        let named = offerings.filter(|offering| places.contains(&offering.place));
        Meter {
            vcpus: named.clone().map(|o| o.vcpus).max().unwrap_or_default(),
            rate: named.map(|o| o.price).max().unwrap_or_default(),
            unbilled_since: now,
            coming_since: now,
        }
    }

    /// The image behind an index, if the snapshot knows it.
    pub fn image(&self, index: ImageIndex) -> Option<&ImageView> {
        self.images.get(index.0)
    }
}

/// Where a queued build stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// Its class.
    pub class: ClassId,
    /// Its place in the order.
    pub key: QueueKey,
    /// When it may be placed, if it has to wait.
    pub not_before: Option<Timestamp>,
}

/// Names a class of builds with the same needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClassId(pub u32);

/// Place of an image in [`Snapshot::images`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct ImageIndex(pub usize);

/// Place of a project in [`Snapshot::projects`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct ProjectIndex(pub usize);

/// What the planner knows of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectView {
    /// Its name.
    pub name: String,
    /// Its share beside others; at least 1.
    pub weight: u32,
}

/// Builds of one project and priority with the same requirements, image pin and freshness, of which
/// the same policies speak.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Class {
    /// What they need, as text for people.
    pub requires: String,
    /// Whose they are.
    pub project: ProjectIndex,
    /// Higher first.
    pub priority: i32,
    /// Only a machine that has run nothing will do.
    pub fresh: bool,
    /// Spare capacity will not do: it is a last retry, or policies say so.
    pub on_demand: bool,
    /// What they want of who comes before and after them, where that is not anybody, by image.
    pub reuse: BTreeMap<ImageIndex, Reuse>,
    /// The policies that speak of them for their labels or priority.
    pub rules: Vec<Rule>,
    /// How long each may take; nothing while no budget asks.
    pub timeout: Span,
    /// The pipeline that they are of, where a budget asks.
    pub pipeline: Option<PipelineId>,
    /// Images that can build them, best first.
    pub candidates: Candidates,
    /// Builds that may be placed now.
    pub ready: BTreeSet<QueueKey>,
    /// Builds that wait until a time, after an infrastructure failure.
    pub later: BTreeSet<(Timestamp, QueueKey)>,
}

impl Class {
    /// The flow that its builds belong to.
    pub const fn flow(&self) -> Flow {
        Flow {
            project: self.project,
            priority: self.priority,
        }
    }
}

/// A build that has a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundView {
    /// The machine.
    pub machine: MachineId,
    /// Its project.
    pub project: ProjectIndex,
    /// Its pipeline.
    pub pipeline: PipelineId,
    /// The policies that speak of it for its labels or priority.
    pub rules: Vec<Rule>,
    /// When its first step began, if it has.
    pub began: Option<Timestamp>,
    /// How long it may take from then on.
    pub timeout: Span,
}

/// The order of the queue within a flow: priority, then age, then id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QueueKey {
    /// Higher first.
    pub priority: Reverse<i32>,
    /// Older first.
    pub submitted_at: Timestamp,
    /// Last resort; ids of one submission ascend in document order.
    pub build: BuildId,
}

/// An image that can build a class. The derived order is the policy among cold choices: cheapest,
/// then most specific, then by catalogue order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Candidate {
    /// Price of its cheapest offering.
    pub price: Rate,
    /// Capabilities that the class does not ask for.
    pub spare: u32,
    /// The image.
    pub image: ImageIndex,
}

/// What the planner knows of an image.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ImageView {
    /// Its catalogue name.
    pub name: String,
    /// The version that new machines are launched from; none when it was removed.
    pub version: Option<u32>,
    /// How long its machines may stand idle.
    pub idle_timeout: Span,
    /// Age at which its machines take no further build.
    pub max_lifetime: Span,
    /// Builds after which its machines take no further one.
    pub max_builds: u32,
    /// Builds that its machines may run side by side; none is as one.
    pub slots: u32,
    /// No launches before this time, and why.
    pub paused: Option<Paused>,
    /// Where it can be launched, cheapest first.
    pub offerings: Vec<OfferingView>,
    /// How its machines are bought.
    pub market: MarketChoice,
    /// What becomes of its machines that stood idle for long enough.
    pub sleep: SleepKind,
    /// Most of its machines asleep at once.
    pub max_asleep: u32,
    /// How long its machines may be asleep.
    pub asleep_timeout: Span,
    /// How full its machines may get.
    pub rest_at: RestAt,
    /// How long its machines may take to be ready.
    pub boot_timeout: Span,
}

/// Why an image is not launched for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Until then.
    pub until: Timestamp,
    /// Why.
    pub why: PauseReason,
}

/// Why an image is not launched for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PauseReason {
    /// Its last launches failed.
    Failures,
    /// Its failed launches have used up what an hour allows.
    Breaker,
    /// Its provider says that it cannot be launched as it is.
    Refused,
    /// Its provider lets us launch nothing.
    Provider,
}

/// What the planner knows of an offering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OfferingView {
    /// What a running machine costs.
    pub price: Rate,
    /// Its virtual processors.
    pub vcpus: u32,
    /// How it is bought.
    pub market: Market,
    /// It had no capacity; it may have some again from then on.
    pub available_after: Option<Timestamp>,
    /// Names the zone: offerings of one zone have the same.
    pub zone: u32,
    /// Place in the engine's list of the image's offerings.
    pub place: usize,
}

/// What the planner knows of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineView {
    /// Its image.
    pub image: ImageIndex,
    /// The version of the image.
    pub version: u32,
    /// Its price.
    pub price: Rate,
    /// How it was bought.
    pub market: Market,
    /// Its offering, by place in the engine's list; none when its image is no longer offered so.
    pub offering: Option<usize>,
    /// Its provider is about to take it back.
    pub is_interrupted: bool,
    /// The project whose build it ran last, or was launched for; none for one that has run nothing.
    pub project: Option<ProjectIndex>,
    /// What builds before mean for the next one.
    pub past: Past,
    /// What it is doing.
    pub phase: Phase,
    /// When its launch was decided.
    pub created_at: Timestamp,
    /// Builds that ended on it.
    pub builds_done: u32,
    /// Builds that are bound to it.
    pub claims: u32,
    /// Builds that it has room for beside those; it is full whatever its policy says at none.
    pub free: u32,
    /// Kept for a person until this time.
    pub held_until: Option<Timestamp>,
    /// What it uses up.
    pub meter: Meter,
}

/// What a machine uses up. One whose launch is not answered yet counts as the most it may become.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meter {
    /// Its virtual processors.
    pub vcpus: u32,
    /// What it costs at present.
    pub rate: Rate,
    /// Up to when it is billed.
    pub unbilled_since: Timestamp,
    /// Since when it is on its way up, if it is.
    pub coming_since: Timestamp,
}

impl MachineView {
    /// Whether builds begin on it without a boot.
    pub const fn is_up(&self) -> bool {
        matches!(self.phase, Phase::Idle(_) | Phase::Busy)
    }
}

/// What the builds that a machine has run mean for the next one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// It has not said yet that nothing is left of one of them.
    pub is_tidying: bool,
    /// What is left of one of them for good.
    pub left: Option<Left>,
    /// How full it was after the last one.
    pub usage: Usage,
    /// Who may come after them.
    pub reuse: Reuse,
    /// They were of several projects.
    pub is_mixed: bool,
}

/// What a machine is doing, as far as decisions go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// On its way up; `claimed` when builds wait for it.
    Coming {
        /// Whether a build is bound to it.
        claimed: bool,
    },
    /// Ready, without a build, since this time.
    Idle(Timestamp),
    /// Builds are bound to it.
    Busy,
    /// Stopped, ready to be woken, since this time.
    Asleep(Timestamp),
    /// On its way to sleep.
    FallingAsleep,
    /// On its way out.
    Ending,
}
