//! What the planner says about its decisions: for `dormouse plan`, `dormouse explain` and tests.

use serde::{Deserialize, Serialize};

use crate::model::{AtLimit, AttemptId, BuildId, MachineId, Market, Money, Rate, Span, Timestamp};

use super::budgets::{NoRoom, Part};
use super::limits::{Quota, Reached};
use super::plan::{Action, Blocked, FloorNote, Kept, Plan, Waiting};
use super::snapshot::{PauseReason, Paused, Snapshot};
use super::standing::{FloorWhy, IdleWhy, KeptWhy};

/// What the planner would do now, and what it is waiting for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanReport {
    /// The moment it was made for.
    pub at: Timestamp,
    /// One sentence per action, in order.
    pub actions: Vec<String>,
    /// Builds that stay queued, by what they need.
    pub waiting: Vec<WaitingReport>,
    /// One sentence per machine that is kept, with until when and why, and per floor.
    pub machines: Vec<String>,
    /// When time alone may change the plan.
    pub wake_at: Option<Timestamp>,
}

/// Builds of like requirements that stay queued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingReport {
    /// What they need, as text.
    pub requires: String,
    /// How many.
    pub builds: u64,
    /// The first in order.
    pub first: BuildId,
    /// Why they wait.
    pub why: String,
}

/// Why a build stands where it stands, and what happens next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The build.
    pub build: BuildId,
    /// Its state's word.
    pub state: String,
    /// One or two sentences.
    pub summary: String,
    /// Every image of the catalogue: candidates first, by rank.
    pub images: Vec<ImageVerdict>,
    /// What happens next, or what a person can do.
    pub next: String,
    /// What it waits for, as a clause; none when it waits for nothing.
    #[serde(default)]
    pub waits_for: Option<String>,
    /// When time alone makes it be tried again, if that is known.
    #[serde(default)]
    pub next_try: Option<Timestamp>,
    /// Queued builds of its project and priority that are older.
    #[serde(default)]
    pub ahead: Option<u64>,
    /// What a person could change.
    #[serde(default)]
    pub remedies: Vec<Remedy>,
    /// Where it ran, try by try.
    #[serde(default)]
    pub attempts: Vec<AttemptReport>,
}

/// One try of a build: where it ran, why there, and what came of it. What was not noted at the time
/// is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptReport {
    /// 1 for the first.
    pub number: u32,
    /// The machine.
    pub machine: MachineId,
    /// What the machine is: its image, and as what it was bought.
    pub place: Option<String>,
    /// What the machine was to the build when it got it, and which of the images that fit it has.
    pub why: Option<String>,
    /// What had kept the build from a machine, as a clause; none for nothing.
    pub waited_for: Option<String>,
    /// When it got the machine.
    pub bound_at: Timestamp,
    /// How long it had been queued by then.
    pub waited: Span,
    /// From then on to its first step.
    pub ready: Option<Span>,
    /// From its first step to its end, or until now.
    pub ran: Option<Span>,
    /// How it ended, or that it has not.
    pub outcome: String,
}

/// What a person could do about a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remedy {
    /// What it is good for, as a clause.
    pub effect: String,
    /// The command; words in capitals are to be filled in.
    pub command: String,
}

/// What one image means for a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageVerdict {
    /// The image's name.
    pub image: String,
    /// Place among the candidates from 1; none when the image cannot build it.
    pub rank: Option<u32>,
    /// Its cheapest shape's price.
    pub price: Option<Rate>,
    /// Machines of it that could take the build now or soon, in words; or what is in the way.
    pub verdict: String,
    /// Where it can be launched, cheapest first; nothing but for queued builds.
    #[serde(default)]
    pub shapes: Vec<ShapeVerdict>,
    /// Its machines, those with a rank first; nothing but for queued builds.
    #[serde(default)]
    pub machines: Vec<MachineReport>,
}

/// What one offering of an image means for a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShapeVerdict {
    /// The provider's name for the size.
    pub shape: String,
    /// The provider's name for the place; empty when it has only one.
    pub zone: String,
    /// How it is bought.
    pub market: Market,
    /// What it costs.
    pub price: Rate,
    /// Place among those that a launch asks for, from 1; none when it does not.
    pub rank: Option<u32>,
    /// What it offers, or the rule that keeps it away.
    pub verdict: String,
}

/// What one machine means for a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineReport {
    /// The machine.
    pub machine: MachineId,
    /// Its state's word.
    pub state: String,
    /// Place in the order in which machines are asked, from 1; none when it cannot take the build.
    pub rank: Option<u32>,
    /// What it offers, or the rule that keeps it away.
    pub verdict: String,
}

/// Live numbers of one machine, for lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineCost {
    /// Age since the launch was decided.
    pub age: Span,
    /// Cost so far, unbilled time included.
    pub cost: Money,
}

/// Puts a plan into words.
pub fn render(snapshot: &Snapshot, plan: &Plan, now: Timestamp) -> PlanReport {
    PlanReport {
        at: now,
        actions: plan
            .actions
            .iter()
            .map(|action| action_words(snapshot, action))
            .collect(),
        waiting: plan
            .waiting
            .iter()
            .map(|waiting| waiting_report(snapshot, waiting))
            .collect(),
        machines: plan
            .kept
            .iter()
            .map(|kept| kept_words(snapshot, kept, now))
            .chain(plan.floors.iter().map(|note| floor_words(snapshot, note)))
            .collect(),
        wake_at: plan.wake_at,
    }
}

fn action_words(snapshot: &Snapshot, action: &Action) -> String {
    match action {
        Action::Bind { build, machine, .. } => {
            let image = snapshot
                .machines
                .get(machine)
                .and_then(|m| snapshot.image(m.image));
            let image = image.map_or("?", |image| &image.name);
            format!("bind {build} to {machine} ({image}), which is warm")
        }
        Action::Move {
            build,
            from,
            machine,
        } => format!("move {build} to {machine}, which is up before {from}"),
        Action::Launch {
            machine,
            image,
            version,
            claim,
            ..
        } => {
            let name = snapshot.image(*image).map_or("?", |image| &image.name);
            let what_for = what_for(*claim);
            format!("launch {machine} from {name} version {version} {what_for}")
        }
        Action::Wake { machine, claim, .. } => format!("wake {machine} {}", what_for(*claim)),
        Action::Sleep { machine, how } => format!("put {machine} to sleep ({})", how.word()),
        Action::GiveUp { build, reason, .. } => format!("give up {build}: {reason}"),
        Action::Drain { machine, reason } => format!("end {machine}: {}", reason.sentence()),
    }
}

fn what_for(claim: Option<(BuildId, AttemptId)>) -> String {
    match claim {
        Some((build, _)) => format!("for {build}"),
        None => "to be at hand".to_owned(),
    }
}

fn waiting_report(snapshot: &Snapshot, waiting: &Waiting) -> WaitingReport {
    let class = snapshot.classes.get(&waiting.class);
    WaitingReport {
        requires: class
            .map(|class| class.requires.clone())
            .unwrap_or_default(),
        builds: u64::try_from(waiting.builds).unwrap_or(u64::MAX),
        first: waiting.first,
        why: blocked_words(snapshot, &waiting.why),
    }
}

/// Why builds wait, as a clause.
pub fn blocked_words(snapshot: &Snapshot, why: &Blocked) -> String {
    match why {
        Blocked::NoImage => "no image of the catalogue can build it".to_owned(),
        Blocked::Limit(reached) => limit_words(snapshot, *reached),
        Blocked::Budget(no_room) => budget_words(snapshot, no_room),
        Blocked::Paused(image, Paused { until, why }) => {
            let image = snapshot.image(*image).map_or("?", |image| &image.name);
            let why = match why {
                PauseReason::Failures => "its launches failed lately",
                PauseReason::Breaker => {
                    "its failed launches have used up what an hour allows, and its breaker is open"
                }
                PauseReason::Refused => "its provider refuses it as it is",
                PauseReason::Provider => "its provider lets nothing be launched",
            };
            format!("image {image} is paused, for {why}; next try at {until}")
        }
        Blocked::Dry(image, until) => {
            let image = snapshot.image(*image).map_or("?", |image| &image.name);
            format!(
                "there is no capacity for {image} or any other fitting image; next try at {until}"
            )
        }
        Blocked::Unresolved(image) => {
            let image = snapshot.image(*image).map_or("?", |image| &image.name);
            format!("it is not known yet where image {image} can be launched")
        }
        Blocked::NotSold(image, market) => {
            let image = snapshot.image(*image).map_or("?", |image| &image.name);
            let market = market.word();
            format!(
                "its policy asks for {market} capacity, and image {image} cannot be had as such"
            )
        }
        Blocked::Tidying(machine, _) => {
            format!("{machine}, which fits, is being tidied up after another build")
        }
        Blocked::Backoff(until) => format!("its next attempt is due at {until}"),
    }
}

fn limit_words(snapshot: &Snapshot, reached: Reached) -> String {
    let Some(limit) = snapshot.limits.get(reached.limit) else {
        return "a limit is reached".to_owned();
    };
    let number = |most: Option<u32>| most.unwrap_or_default();
    let allowed = match reached.quota {
        Quota::Machines => format!("{} machines at once", number(limit.machines)),
        Quota::Vcpus => format!("{} vCPUs at once", number(limit.vcpus)),
        Quota::Builds => format!("{} builds with a machine at once", number(limit.builds)),
        Quota::Launches => format!("{} launches per hour", number(limit.launches_per_hour)),
        Quota::Cost => format!(
            "machines for {} in all",
            limit.cost_per_hour.unwrap_or_default()
        ),
    };
    let until = reached.until.map(|until| format!("; next try at {until}"));
    format!(
        "policy {:?} allows {allowed}{}",
        limit.name,
        until.unwrap_or_default()
    )
}

fn budget_words(snapshot: &Snapshot, no_room: &NoRoom) -> String {
    let Some(budget) = snapshot.budgets.get(no_room.budget) else {
        return "a budget has no room".to_owned();
    };
    let name = format!("budget {:?} of policy {:?}", budget.name, budget.policy);
    if !budget.is_known {
        return format!("what was spent of {name} is being counted");
    }
    let total = budget.total(no_room.part);
    let what = match no_room.part {
        Part::All => String::new(),
        Part::Project(_) => " for its project".to_owned(),
        Part::Image(_) => " for that image".to_owned(),
        Part::Pipeline(pipeline) => format!(" for {pipeline}"),
        Part::Build(_) => " for it".to_owned(),
    };
    let left = no_room.left.max(Money::ZERO);
    let has = format!("{name} has {left} of {total} left{what}");
    let needs = match no_room.needs {
        Money::ZERO => String::new(),
        needs => format!(", and it may cost up to {needs}"),
    };
    let until = no_room
        .until
        .map(|until| format!("; it begins anew at {until}"));
    let until = until.unwrap_or_default();
    match budget.at_limit {
        AtLimit::Hold | AtLimit::Fail => format!("{has}{needs}{until}"),
        AtLimit::OnApproval => format!("{has}{needs}; somebody may approve more{until}"),
    }
}

fn kept_words(snapshot: &Snapshot, kept: &Kept, now: Timestamp) -> String {
    let image = snapshot
        .machines
        .get(&kept.machine)
        .and_then(|m| snapshot.image(m.image));
    let image = image.map_or("?", |image| &image.name);
    let left = Span::from_secs(kept.until.since(now).micros() / 1_000_000);
    let keep = format!("keep {} ({image}) idle", kept.machine);
    match &kept.why {
        KeptWhy::Idle(IdleWhy::Said) => format!("{keep} for another {left}"),
        KeptWhy::Idle(IdleWhy::Worth {
            boot,
            value_of_wait,
            price,
            learnt_from,
        }) => {
            let wait = dollars(*value_of_wait);
            let price = dollars(*price);
            let boot = Span::from_millis(boot.micros() / 1_000);
            let learnt = match learnt_from {
                Some(gaps) => format!("; learnt from {gaps} gaps between builds"),
                None => String::new(),
            };
            format!(
                "{keep} for another {left}: a boot costs {boot} x (1 + {wait} / {price}){learnt}"
            )
        }
        KeptWhy::Paid => format!("{keep} for another {left}: so long it is paid for"),
        KeptWhy::Floor(why) => format!("{keep}: {}", at_hand_words(*why)),
    }
}

fn at_hand_words(why: FloorWhy) -> &'static str {
    match why {
        FloorWhy::Schedule => "its policy's schedule wants it at hand",
        FloorWhy::Forecast => "as many builds came at this hour of past weeks",
    }
}

fn floor_words(snapshot: &Snapshot, note: &FloorNote) -> String {
    let image = snapshot.image(note.image).map_or("?", |image| &image.name);
    let (running, asleep) = (note.floors.running, note.floors.asleep);
    let wanted = format!(
        "have {running} machines of {image} at hand and {asleep} asleep: {}",
        match note.floors.why {
            FloorWhy::Schedule => "its policy's schedule wants them",
            FloorWhy::Forecast => "as many builds came at this hour of past weeks",
        }
    );
    match &note.blocked {
        Some(why) => format!(
            "{wanted}; some are missing, for {}",
            blocked_words(snapshot, why)
        ),
        None => wanted,
    }
}

/// A price per hour without the zeros behind it: `$0.17/h`.
fn dollars(rate: Rate) -> String {
    let text = rate.to_string();
    let number = text.trim_end_matches("/h").trim_end_matches('0');
    format!("{}/h", number.trim_end_matches('.'))
}
