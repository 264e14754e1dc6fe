//! What the planner says.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::amount::RateView;
use crate::model::{BuildId, Timestamp};
use crate::planner::{Explanation, ImageVerdict, PlanReport, WaitingReport};

/// What the planner would do now, and what it is waiting for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanView {
    /// The moment it was made for.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// One sentence per action, in order.
    pub actions: Vec<String>,
    /// Builds that stay queued, by what they need.
    pub waiting: Vec<WaitingView>,
    /// One sentence per machine that is kept, and until when.
    pub machines: Vec<String>,
    /// When time alone may change the plan.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub wake_at: Option<Timestamp>,
}

impl From<PlanReport> for PlanView {
    fn from(report: PlanReport) -> Self {
        Self {
            at: report.at,
            actions: report.actions,
            waiting: report.waiting.into_iter().map(WaitingView::from).collect(),
            machines: report.machines,
            wake_at: report.wake_at,
        }
    }
}

/// Builds of like requirements that stay queued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitingView {
    /// What they need.
    pub requires: String,
    /// How many.
    pub builds: u64,
    /// The first in order.
    #[schema(value_type = String)]
    pub first: BuildId,
    /// Why they wait.
    pub why: String,
}

impl From<WaitingReport> for WaitingView {
    fn from(report: WaitingReport) -> Self {
        Self {
            requires: report.requires,
            builds: report.builds,
            first: report.first,
            why: report.why,
        }
    }
}

/// Why a build stands where it stands, and what happens next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplanationView {
    /// The build.
    #[schema(value_type = String)]
    pub build: BuildId,
    /// Its state's word.
    pub state: String,
    /// One or two sentences.
    pub summary: String,
    /// Every image of the catalogue: candidates first, by rank.
    pub images: Vec<ImageVerdictView>,
    /// What happens next, or what a person can do.
    pub next: String,
}

impl From<Explanation> for ExplanationView {
    fn from(explanation: Explanation) -> Self {
        Self {
            build: explanation.build,
            state: explanation.state,
            summary: explanation.summary,
            images: explanation
                .images
                .into_iter()
                .map(ImageVerdictView::from)
                .collect(),
            next: explanation.next,
        }
    }
}

/// What one image means for a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageVerdictView {
    /// The image.
    pub image: String,
    /// Place among the candidates from 1; none when the image cannot build it.
    pub rank: Option<u32>,
    /// Its cheapest shape's price.
    pub price: Option<RateView>,
    /// Machines of it that could take the build, or what is in the way.
    pub verdict: String,
}

impl From<ImageVerdict> for ImageVerdictView {
    fn from(verdict: ImageVerdict) -> Self {
        Self {
            image: verdict.image,
            rank: verdict.rank,
            price: verdict.price.map(RateView::from),
            verdict: verdict.verdict,
        }
    }
}
