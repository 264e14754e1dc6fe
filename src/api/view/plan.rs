//! What the planner says.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::amount::RateView;
use crate::model::{BuildId, MachineId, Market, Span, Timestamp};
use crate::planner::{
    AttemptReport, Explanation, ImageVerdict, MachineReport, PlanReport, Remedy, ShapeVerdict,
    WaitingReport,
};

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
    /// What it waits for, as a clause; none when it waits for nothing.
    #[serde(default)]
    pub waits_for: Option<String>,
    /// When time alone makes it be tried again, if that is known.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_try: Option<Timestamp>,
    /// Queued builds of its project and priority that are older.
    #[serde(default)]
    pub ahead: Option<u64>,
    /// What a person could change.
    #[serde(default)]
    pub remedies: Vec<RemedyView>,
    /// Where it ran, try by try.
    #[serde(default)]
    pub attempts: Vec<AttemptReportView>,
}

/// One try of a build: where it ran, why there, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttemptReportView {
    /// 1 for the first.
    pub number: u32,
    /// The machine.
    #[schema(value_type = String)]
    pub machine: MachineId,
    /// What the machine is: its image, and as what it was bought.
    #[schema(example = "debian-12 version 3, t3.small in eu-1a spot at $0.0042/h")]
    pub place: Option<String>,
    /// What the machine was to the build when it got it, and which of the images that fit it has.
    #[schema(example = "a warm machine; debian-12 is image 1 of 2 that fit")]
    pub why: Option<String>,
    /// What had kept the build from a machine, as a clause; null for nothing, or where it was not noted.
    pub waited_for: Option<String>,
    /// When it got the machine.
    #[schema(value_type = String, format = DateTime)]
    pub bound_at: Timestamp,
    /// How long it had been queued by then.
    pub waited_millis: u64,
    /// From then on to its first step.
    pub ready_millis: Option<u64>,
    /// From its first step to its end, or until now.
    pub ran_millis: Option<u64>,
    /// How it ended, or that it has not.
    #[schema(example = "success")]
    pub outcome: String,
}

impl From<AttemptReport> for AttemptReportView {
    fn from(attempt: AttemptReport) -> Self {
        let millis = |span: Span| span.micros() / 1_000;
        Self {
            number: attempt.number,
            machine: attempt.machine,
            place: attempt.place,
            why: attempt.why,
            waited_for: attempt.waited_for,
            bound_at: attempt.bound_at,
            waited_millis: millis(attempt.waited),
            ready_millis: attempt.ready.map(millis),
            ran_millis: attempt.ran.map(millis),
            outcome: attempt.outcome,
        }
    }
}

/// What a person could do about a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemedyView {
    /// What it is good for, as a clause.
    #[schema(example = "gives it up")]
    pub effect: String,
    /// The command; words in capitals are to be filled in.
    #[schema(example = "dormouse apply POLICY.yaml")]
    pub command: String,
}

impl From<Remedy> for RemedyView {
    fn from(remedy: Remedy) -> Self {
        Self {
            effect: remedy.effect,
            command: remedy.command,
        }
    }
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
            waits_for: explanation.waits_for,
            next_try: explanation.next_try,
            ahead: explanation.ahead,
            remedies: explanation
                .remedies
                .into_iter()
                .map(RemedyView::from)
                .collect(),
            attempts: explanation
                .attempts
                .into_iter()
                .map(AttemptReportView::from)
                .collect(),
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
    /// Where it can be launched, cheapest first; nothing but for queued builds.
    #[serde(default)]
    pub shapes: Vec<ShapeVerdictView>,
    /// Its machines, those with a rank first; nothing but for queued builds.
    #[serde(default)]
    pub machines: Vec<MachineVerdictView>,
}

/// What one size in one place means for a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShapeVerdictView {
    /// The provider's name for the size.
    pub shape: String,
    /// The provider's name for the place; empty when it has only one.
    pub zone: String,
    /// How it is bought: `on_demand` or `spot`.
    #[schema(value_type = String, example = "spot")]
    pub market: Market,
    /// What it costs.
    pub price: RateView,
    /// Place among those that a launch asks for, from 1; none when it does not.
    pub rank: Option<u32>,
    /// What it offers, or the rule that keeps it away.
    pub verdict: String,
}

impl From<ShapeVerdict> for ShapeVerdictView {
    fn from(shape: ShapeVerdict) -> Self {
        Self {
            shape: shape.shape,
            zone: shape.zone,
            market: shape.market,
            price: shape.price.into(),
            rank: shape.rank,
            verdict: shape.verdict,
        }
    }
}

/// What one machine means for a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MachineVerdictView {
    /// The machine.
    #[schema(value_type = String)]
    pub machine: MachineId,
    /// Its state's word.
    pub state: String,
    /// Place in the order in which machines are asked, from 1; none when it cannot take the build.
    pub rank: Option<u32>,
    /// What it offers, or the rule that keeps it away.
    pub verdict: String,
}

impl From<MachineReport> for MachineVerdictView {
    fn from(machine: MachineReport) -> Self {
        Self {
            machine: machine.machine,
            state: machine.state,
            rank: machine.rank,
            verdict: machine.verdict,
        }
    }
}

impl From<ImageVerdict> for ImageVerdictView {
    fn from(verdict: ImageVerdict) -> Self {
        Self {
            image: verdict.image,
            rank: verdict.rank,
            price: verdict.price.map(RateView::from),
            verdict: verdict.verdict,
            shapes: verdict
                .shapes
                .into_iter()
                .map(ShapeVerdictView::from)
                .collect(),
            machines: verdict
                .machines
                .into_iter()
                .map(MachineVerdictView::from)
                .collect(),
        }
    }
}
