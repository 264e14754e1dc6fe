//! The plan, and the order of the steps that make it.

use serde::{Deserialize, Serialize};

use crate::model::{
    AttemptId, BuildId, BuildResult, MachineId, Market, Reason, SleepKind, Timestamp,
};

use super::budgets::NoRoom;
use super::limits::{Quota, Reached};
use super::snapshot::{ClassId, ImageIndex, Paused, Snapshot};
use super::standing::{Floors, KeptWhy};
use super::{afford, expire, give_up, late, make_room, place, retire, warm};

/// What to do now, why not more, and when to think again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// In this order.
    pub actions: Vec<Action>,
    /// Classes that keep queued builds.
    pub waiting: Vec<Waiting>,
    /// Machines that are kept, and until when.
    pub kept: Vec<Kept>,
    /// Floors that ask for machines, and what keeps them from being filled.
    pub floors: Vec<FloorNote>,
    /// When time alone may change the plan.
    pub wake_at: Option<Timestamp>,
}

impl Plan {
    /// Asks to be made again at `at`, if nothing earlier was asked.
    pub fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// One decision, complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Run a build on a machine that is idle or coming, or that runs others and has room for it; also
    /// on one whose launch or waking comes before this in the plan.
    Bind {
        /// The queued build.
        build: BuildId,
        /// The attempt to begin.
        attempt: AttemptId,
        /// The machine.
        machine: MachineId,
    },
    /// Run a build on a machine that is up and has no other, instead of the one that is still being
    /// launched for it.
    Move {
        /// The build, whose attempt has not begun.
        build: BuildId,
        /// The machine that it was to run on.
        from: MachineId,
        /// The one that it runs on.
        machine: MachineId,
    },
    /// Launch a machine, for a build or to be at hand.
    Launch {
        /// The machine to make.
        machine: MachineId,
        /// Its image.
        image: ImageIndex,
        /// Version of the image.
        version: u32,
        /// How it is bought.
        market: Market,
        /// Where it may be taken from, cheapest first, by place in the engine's list.
        offerings: Vec<usize>,
        /// The queued build and the attempt to begin; none for a machine to be at hand.
        claim: Option<(BuildId, AttemptId)>,
    },
    /// Start a machine that is asleep, for a build or to be at hand.
    Wake {
        /// The machine.
        machine: MachineId,
        /// What it becomes, by place in the engine's list of its image's offerings.
        offering: usize,
        /// The queued build and the attempt to begin; none for a machine to be at hand.
        claim: Option<(BuildId, AttemptId)>,
    },
    /// Put an idle machine to sleep.
    Sleep {
        /// The machine.
        machine: MachineId,
        /// How.
        how: SleepKind,
    },
    /// End a build: no machine, or no money, was to be had for it.
    GiveUp {
        /// The queued build.
        build: BuildId,
        /// What it ends as.
        result: BuildResult,
        /// Why, for people.
        reason: String,
    },
    /// Take no more builds on a machine, and end it.
    Drain {
        /// The machine.
        machine: MachineId,
        /// Why.
        reason: Reason,
    },
}

/// A class that keeps queued builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The class.
    pub class: ClassId,
    /// How many of its builds stay queued.
    pub builds: usize,
    /// The first of them.
    pub first: BuildId,
    /// Why they wait.
    pub why: Blocked,
}

/// Why builds stay queued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Blocked {
    /// No image of the catalogue can build them.
    NoImage,
    /// A limit is reached.
    Limit(Reached),
    /// A budget has no room.
    Budget(NoRoom),
    /// Launches of all fitting images are paused; the first is tried again then.
    Paused(ImageIndex, Paused),
    /// There is no capacity for any fitting image; the first pool is tried again then.
    Dry(ImageIndex, Timestamp),
    /// It is not known yet where a fitting image can be launched.
    Unresolved(ImageIndex),
    /// Their policy asks for this market, and no fitting image is sold on it.
    NotSold(ImageIndex, Market),
    /// A machine that fits is being tidied up after another build; it is not waited for any longer
    /// after this time.
    Tidying(MachineId, Timestamp),
    /// They wait for their next attempt.
    Backoff(Timestamp),
}

/// A machine that is kept without work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The machine.
    pub machine: MachineId,
    /// When it will be looked at again if nothing comes.
    pub until: Timestamp,
    /// Why it is kept until then.
    pub why: KeptWhy,
}

/// What a floor asks for, under its ceiling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloorNote {
    /// The image.
    pub image: ImageIndex,
    /// The floors.
    pub floors: Floors,
    /// Why not all of it is there or on its way.
    pub blocked: Option<Blocked>,
}

/// Decides. `fresh_id` gives the bits of identities that were never used before.
pub fn plan(snapshot: &Snapshot, now: Timestamp, fresh_id: &mut dyn FnMut() -> u128) -> Plan {
    let mut plan = Plan::default();
    let mut pool = retire::usable(snapshot, now, &mut plan);
    place::place(snapshot, now, &mut pool, &mut plan, fresh_id);
    late::move_over(snapshot, now, &mut pool, &mut plan);
    make_room::make_room(snapshot, &mut pool, &mut plan);
    afford::afford(snapshot, now, &mut pool, &mut plan);
    warm::warm(snapshot, now, &mut pool, &mut plan, fresh_id);
    expire::expire(snapshot, now, &pool, &mut plan);
    give_up::give_up(snapshot, now, &mut plan);
    if is_unfinished(snapshot, &plan) {
        plan.wake(now);
    }
    plan
}

/// Whether there may be room for more once this plan is recorded. Money: the time that a machine
/// without work was yet to stand is no longer paid for once it goes, to join the builds of another
/// machine costs less than a launch, and builds side by side cost as much as the longest of them. Processors and dollars per hour: of several offerings the dearest
/// counts while a pass goes on, and a provider that takes machines one by one takes the cheapest.
fn is_unfinished(snapshot: &Snapshot, plan: &Plan) -> bool {
    let has_slots = |image: ImageIndex| snapshot.image(image).is_some_and(|view| view.slots > 1);
    let frees_money = |action: &Action| match action {
        Action::Move { .. } | Action::Drain { .. } | Action::Sleep { .. } => true,
        Action::Launch {
            image, offerings, ..
        } => has_slots(*image) || offerings.len() > 1,
        Action::Bind { machine, .. } | Action::Wake { machine, .. } => {
            let machine = snapshot.machines.get(machine);
            machine.is_some_and(|machine| has_slots(machine.image))
        }
        Action::GiveUp { .. } => false,
    };
    let has_choice =
        |action: &Action| matches!(action, Action::Launch { offerings, .. } if offerings.len() > 1);
    let is_money_freed = !snapshot.budgets.is_empty() && plan.actions.iter().any(frees_money);
    plan.waiting.iter().any(|waiting| match &waiting.why {
        Blocked::Budget(_) => is_money_freed,
        // Of several images one may be kept by a limit, and another one by a budget.
        Blocked::Limit(_) if is_money_freed => true,
        Blocked::Limit(reached) => match reached.quota {
            Quota::Vcpus | Quota::Cost => plan.actions.iter().any(has_choice),
            Quota::Machines | Quota::Builds | Quota::Launches => false,
        },
        Blocked::NoImage
        | Blocked::NotSold(..)
        | Blocked::Paused(..)
        | Blocked::Dry(..)
        | Blocked::Unresolved(_)
        | Blocked::Tidying(..)
        | Blocked::Backoff(_) => false,
    })
}
