//! What every image, shape and machine means for one queued build: the rule that keeps it away, or
//! the rank it has.
//!
//! It asks the very predicates that `place` asks, after a pass of `place` has given the builds whose
//! turn is earlier their machines; it has no rules of its own and decides nothing. Caller: `engine`.

mod look;
mod words;

use crate::model::{
    BuildId, Full, Left, MachineId, Market, MarketChoice, Rate, Reason, Span, Timestamp,
};

use super::place::{self, is_its_own};
use super::plan::{Action, Blocked, Plan, Waiting};
use super::rest::Minds;
use super::retire;
use super::snapshot::{Class, ImageIndex, Queued, Snapshot};

use look::Look;
pub use words::{machine_words, offering_words};

/// What everything means for one queued build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chances {
    /// What a pass would do for it now, if anything.
    pub action: Option<Action>,
    /// Why it stays queued, if it does.
    pub blocked: Option<Blocked>,
    /// Queued builds of its project and priority that are older.
    pub ahead: usize,
    /// Its candidates, best first.
    pub images: Vec<ImageChances>,
}

/// What a candidate image means for a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageChances {
    /// The image.
    pub image: ImageIndex,
    /// Why nothing of it can be launched, if that is so.
    pub blocked: Option<Blocked>,
    /// Where it can be launched, cheapest first.
    pub offerings: Vec<OfferingChance>,
    /// Its machines, those with a rank first.
    pub machines: Vec<MachineChance>,
}

/// What an offering means for a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferingChance {
    /// Its place in the engine's list of the image's offerings.
    pub place: usize,
    /// What it costs.
    pub price: Rate,
    /// What is in its way, or its rank.
    pub verdict: OfferingVerdict,
}

/// Whether an offering would be asked for a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfferingVerdict {
    /// A launch would name it, in this place from 1 on.
    Rank(u32),
    /// Its market is not one that the policy allows.
    Market(MarketChoice),
    /// It may be taken back, and the build needs capacity that is not.
    Spot,
    /// It had no capacity; it is tried again then.
    Dry(Timestamp),
    /// A limit, a budget or a pause is in the way.
    Blocked(Blocked),
    /// It costs more than twice what this one costs, which is to be had.
    Dear(Rate),
    /// A launch names enough others that are cheaper.
    Many,
    /// This market is asked first, and has capacity.
    Behind(Market),
}

/// What a machine means for a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineChance {
    /// The machine.
    pub machine: MachineId,
    /// What is in its way, or its rank.
    pub verdict: MachineVerdict,
}

/// Whether a machine would take a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachineVerdict {
    /// It would, as this one from 1 on.
    Rank(u32),
    /// It runs as many builds side by side as it may, or will when it is up.
    Full,
    /// It has begun as many builds as its policy lets it run in all.
    WornOut(u32),
    /// It is older than its policy lets it be.
    TooOld(Span),
    /// Something of a build is left on it.
    Unclean(Left),
    /// It has no room for a further build.
    TooFull(Full),
    /// Builds that it has run, or the build itself, want nobody else on their machines.
    Reuse(Minds),
    /// It has not said yet that nothing is left of the build before.
    Tidying,
    /// It goes to this build, whose turn is earlier.
    Taken(BuildId),
    /// A person keeps it until then.
    Held(Timestamp),
    /// Its provider takes it back.
    Interrupted,
    /// It ends, or takes no more builds and ends after those it has, for this reason.
    Ends(Reason),
    /// It is on its way out.
    Ending,
    /// It is on its way to sleep, and can be woken once it is.
    FallingAsleep,
    /// It has run builds or has one, and the build asks for one that has not.
    Used,
    /// It may be taken back, and the build needs capacity that is not.
    Spot,
    /// It is asleep, and there is no capacity in its zone to wake it; tried again then.
    Dry(Option<Timestamp>),
    /// A limit, a budget or a pause is in the way.
    Blocked(Blocked),
}

/// What everything means for a build; none when it is not queued.
pub fn chances(snapshot: &Snapshot, build: BuildId, now: Timestamp) -> Option<Chances> {
    let queued = snapshot.queued.get(&build)?;
    let class = snapshot.classes.get(&queued.class)?;
    let mut plan = Plan::default();
    let mut pool = retire::usable(snapshot, now, &mut plan);
    // Nothing of this plan is carried out: its identities only have to differ.
    let mut last_id = 0;
    let mut fresh_id = || {
        last_id += 1;
        last_id
    };
    place::place(snapshot, now, &mut pool, &mut plan, &mut fresh_id);
    let turn = plan.actions.iter().position(|a| a.build() == Some(build));
    let earlier = plan.actions.iter().take(turn.unwrap_or(usize::MAX));
    let taken = earlier.filter_map(taken_by).collect();
    if turn.is_some() {
        // What it takes itself is there for it.
        pool = retire::usable(snapshot, now, &mut Plan::default());
    }
    let look = Look {
        snapshot,
        now,
        class,
        build,
        pool: &pool,
        taken,
    };
    Some(Chances {
        action: turn.and_then(|turn| plan.actions.get(turn)).cloned(),
        blocked: waiting_of(&plan, queued, now).map(|waiting| waiting.why.clone()),
        ahead: ahead(snapshot, class, queued),
        images: look.images(),
    })
}

fn taken_by(action: &Action) -> Option<(MachineId, BuildId)> {
    match action {
        Action::Bind { build, machine, .. }
        | Action::Move { build, machine, .. }
        | Action::Wake {
            machine,
            claim: Some((build, _)),
            ..
        } => Some((*machine, *build)),
        Action::Launch { .. }
        | Action::Wake { .. }
        | Action::Sleep { .. }
        | Action::GiveUp { .. }
        | Action::Drain { .. } => None,
    }
}

/// The entry of a plan that says why a build stays queued.
pub fn waiting_for<'a>(
    snapshot: &Snapshot,
    plan: &'a Plan,
    build: BuildId,
    now: Timestamp,
) -> Option<&'a Waiting> {
    waiting_of(plan, snapshot.queued.get(&build)?, now)
}

fn waiting_of<'a>(plan: &'a Plan, queued: &Queued, now: Timestamp) -> Option<&'a Waiting> {
    let is_later = queued.not_before.is_some_and(|at| now < at);
    let mut of_class = plan.waiting.iter().filter(|w| w.class == queued.class);
    of_class.find(|waiting| match &waiting.why {
        Blocked::Backoff(_) => is_later,
        why if is_its_own(why) => waiting.first == queued.key.build,
        Blocked::NoImage
        | Blocked::Limit(_)
        | Blocked::Budget(_)
        | Blocked::Paused(..)
        | Blocked::Dry(..)
        | Blocked::Tidying(..)
        | Blocked::Unresolved(_)
        | Blocked::NotSold(..) => !is_later,
    })
}

fn ahead(snapshot: &Snapshot, class: &Class, queued: &Queued) -> usize {
    let classes = snapshot.classes.values();
    let of_flow = classes.filter(|other| other.flow() == class.flow());
    of_flow
        .map(|other| other.ready.range(..queued.key).count())
        .sum()
}
