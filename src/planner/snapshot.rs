//! The planner's input: everything a decision depends on, and nothing else.
//!
//! The engine keeps it up to date change by change, so that a pass over a long queue does not begin
//! with copying it. Builds of like requirements share a [`Class`]: a pass looks at classes, and at
//! single builds only as long as they can be placed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    BuildId, Left, MachineId, Market, MarketChoice, Rate, RestAt, Reuse, SleepKind, Span,
    Timestamp, Usage,
};

/// Everything a decision depends on.
#[derive(Debug, Clone, Default)]
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
    /// Limits on machines, every one of which must hold.
    pub limits: Vec<Limit>,
    /// Builds that find no capacity for so long are given up; none to wait without end.
    pub capacity_wait: Option<Span>,
}

impl Snapshot {
    /// Puts a build into its class, to be placed from `not_before` on.
    pub fn enqueue(&mut self, class: ClassId, key: QueueKey, not_before: Option<Timestamp>) {
        let queue = self.classes.entry(class).or_default();
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
        match queued.not_before {
            Some(at) => class.later.remove(&(at, queued.key)),
            None => class.ready.remove(&queued.key),
        };
    }

    /// The image behind an index, if the snapshot knows it.
    pub fn image(&self, index: ImageIndex) -> Option<&ImageView> {
        self.images.get(index.0)
    }
}

/// Where a queued build stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    /// Its class.
    pub class: ClassId,
    /// Its place in the order.
    pub key: QueueKey,
    /// When it may be placed, if it has to wait.
    pub not_before: Option<Timestamp>,
}

/// Names a class of builds with the same needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(pub u32);

/// Place of an image in [`Snapshot::images`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageIndex(pub usize);

/// Place of a project in [`Snapshot::projects`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ProjectIndex(pub usize);

/// What the planner knows of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectView {
    /// Its name.
    pub name: String,
    /// Its share beside others; at least 1.
    pub weight: u32,
}

/// Builds of one project and priority with the same requirements, image pin and freshness, of which
/// the same policies speak.
#[derive(Debug, Clone, Default)]
pub struct Class {
    /// What they need, as text for people.
    pub requires: String,
    /// Whose they are.
    pub project: ProjectIndex,
    /// Higher first.
    pub priority: i32,
    /// Only a machine that has run nothing will do.
    pub fresh: bool,
    /// Spare capacity will not do: it is a last retry.
    pub on_demand: bool,
    /// What they want of who comes before and after them, where that is not anybody, by image.
    pub reuse: BTreeMap<ImageIndex, Reuse>,
    /// Images that can build them, best first.
    pub candidates: Vec<Candidate>,
    /// Builds that may be placed now.
    pub ready: BTreeSet<QueueKey>,
    /// Builds that wait until a time, after an infrastructure failure.
    pub later: BTreeSet<(Timestamp, QueueKey)>,
}

/// The order of the queue: priority, then age, then id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// Price of its cheapest offering.
    pub price: Rate,
    /// Capabilities that the class does not ask for.
    pub spare: u32,
    /// The image.
    pub image: ImageIndex,
}

/// What the planner knows of an image.
#[derive(Debug, Clone, Default)]
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
}

/// Why an image is not launched for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paused {
    /// Until then.
    pub until: Timestamp,
    /// Why.
    pub why: PauseReason,
}

/// Why an image is not launched for a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OfferingView {
    /// What a running machine costs.
    pub price: Rate,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Kept for a person until this time.
    pub held_until: Option<Timestamp>,
}

/// What the builds that a machine has run mean for the next one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// On its way up; `claimed` when a build waits for it.
    Coming {
        /// Whether a build is bound to it.
        claimed: bool,
    },
    /// Ready, without a build, since this time.
    Idle(Timestamp),
    /// A build is bound to it.
    Busy,
    /// Stopped, ready to be woken, since this time.
    Asleep(Timestamp),
    /// On its way to sleep.
    FallingAsleep,
    /// On its way out.
    Ending,
}

/// At most so many machines at once among some images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// The policy that says so, for reports.
    pub name: String,
    /// The images it speaks of; none for all.
    pub images: Option<BTreeSet<ImageIndex>>,
    /// Most machines, in whatever phase.
    pub machines: u32,
}

impl Limit {
    /// Whether machines of `image` count.
    pub fn covers(&self, image: ImageIndex) -> bool {
        self.images
            .as_ref()
            .is_none_or(|images| images.contains(&image))
    }
}
