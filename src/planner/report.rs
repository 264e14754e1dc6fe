//! What the planner says about its decisions: for `dormouse plan`, `dormouse explain` and tests.

use serde::{Deserialize, Serialize};

use crate::model::{BuildId, Money, Rate, Span, Timestamp};

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
