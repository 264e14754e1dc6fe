//! What the planner says about its decisions: for `dormouse plan`, `dormouse explain` and tests.

use serde::{Deserialize, Serialize};

use crate::model::{AttemptId, BuildId, Money, Rate, Span, Timestamp};

use super::plan::{Action, Blocked, Kept, Plan, Waiting};
use super::snapshot::{PauseReason, Paused, Snapshot};

/// What the planner would do now, and what it is waiting for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanReport {
    /// The moment it was made for.
    pub at: Timestamp,
    /// One sentence per action, in order.
    pub actions: Vec<String>,
    /// Builds that stay queued, by what they need.
    pub waiting: Vec<WaitingReport>,
    /// One sentence per machine that is kept, and until when.
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
        Action::GiveUp { build, reason } => format!("give up {build}: {reason}"),
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
        Blocked::Limit(place) => match snapshot.limits.get(*place) {
            Some(limit) => {
                format!(
                    "policy {:?} allows {} machines at once",
                    limit.name, limit.machines
                )
            }
            None => "a limit is reached".to_owned(),
        },
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
        Blocked::Tidying(machine, _) => {
            format!("{machine}, which fits, is being tidied up after another build")
        }
        Blocked::Backoff(until) => format!("its next attempt is due at {until}"),
    }
}

fn kept_words(snapshot: &Snapshot, kept: &Kept, now: Timestamp) -> String {
    let image = snapshot
        .machines
        .get(&kept.machine)
        .and_then(|m| snapshot.image(m.image));
    let image = image.map_or("?", |image| &image.name);
    let left = Span::from_secs(kept.until.since(now).micros() / 1_000_000);
    format!("keep {} ({image}) idle for another {left}", kept.machine)
}
