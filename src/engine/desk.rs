//! What a client may ask of the engine. `api` sees only this trait.

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::books::{Applied, Approval, BudgetReport, ImageHealth};
use crate::model::{
    Build, BuildId, Image, Machine, MachineId, Pipeline, PipelineId, Policy, Token, TokenRole,
};
use crate::planner::{Explanation, PlanReport, Quote, RecordedPass};
use crate::spec::Problem;
use crate::store::StoreError;

/// A document to queue.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The pipeline document, YAML or JSON.
    pub document: String,
    /// The client's `Idempotency-Key`.
    pub idempotency_key: Option<String>,
    /// The name of the token it came with.
    pub submitted_by: String,
}

/// What a submission became.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// Its builds, in document order.
    pub builds: Vec<Build>,
    /// Whether the same submission had been accepted before; nothing new was queued then.
    pub repeated: bool,
}

/// A file for the catalogue or the policies.
#[derive(Debug, Clone)]
pub enum Declaration {
    /// An image file's text.
    Image(String),
    /// A policy file's text.
    Policy(String),
}

/// A declaration that may be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The name of the image or policy.
    pub name: String,
    /// What is allowed, and hardly meant.
    pub warnings: Vec<String>,
}

/// One capability of a verified image.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ProbeVerdict {
    /// The capability.
    pub capability: String,
    /// What the catalogue claims.
    pub claimed: Vec<String>,
    /// What the probe printed, a value a line; empty when it failed.
    pub found: Vec<String>,
    /// Whether claim and finding agree.
    pub agrees: bool,
}

/// Why the desk refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DeskError {
    /// The document has problems; nothing was changed.
    #[error("the document has {} problem(s)", .0.len())]
    Invalid(Vec<Problem>),
    /// There is nothing of this name or id.
    #[error("no {what} {id}")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// As it was asked for.
        id: String,
    },
    /// The Idempotency-Key was used with another document.
    #[error("{0}")]
    Conflict(String),
    /// What is asked cannot be done in the present state.
    #[error("{0}")]
    Refused(String),
    /// A limit is reached; try again later.
    #[error("{0}")]
    Busy(String),
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

/// What a client may ask.
#[async_trait]
pub trait Desk: Send + Sync + std::fmt::Debug {
    /// Queues a pipeline.
    async fn submit(&self, submission: Submission) -> Result<Accepted, DeskError>;
    /// What a document would start, cost and take; queues nothing.
    async fn quote(&self, submission: Submission) -> Result<Quote, DeskError>;
    /// Asks for the end of a build; the build as it stands now. No effect on a finished one.
    async fn cancel_build(&self, id: BuildId, who: &str) -> Result<Build, DeskError>;
    /// Asks for the end of every unfinished build of a pipeline; how many were asked.
    async fn cancel_pipeline(&self, id: PipelineId, who: &str) -> Result<u32, DeskError>;
    /// Queues a finished build again, as a new pipeline.
    async fn retry_build(&self, id: BuildId, who: &str) -> Result<Accepted, DeskError>;
    /// Queues the builds of a pipeline that did not succeed again, as a new pipeline.
    async fn retry_pipeline(&self, id: PipelineId, who: &str) -> Result<Accepted, DeskError>;

    /// Makes the declarations current: all of them, or none when one has a problem. Problems carry
    /// the index of their declaration.
    async fn apply(&self, declarations: Vec<Declaration>) -> Result<Vec<Applied>, ApplyError>;
    /// What the declarations would be warned of if they were current; applies nothing. Problems are
    /// those of [`Desk::apply`].
    async fn check(&self, declarations: Vec<Declaration>) -> Result<Vec<Checked>, ApplyError>;
    /// Takes an image out of the catalogue; its machines drain.
    async fn remove_image(&self, name: &str, who: &str) -> Result<Image, DeskError>;
    /// Makes a quarantined version of an image current again.
    async fn release_image(&self, name: &str, who: &str) -> Result<Image, DeskError>;
    /// How an image has fared; none if nothing is known of it.
    async fn image_health(&self, name: &str) -> Result<Option<ImageHealth>, DeskError>;
    /// The current catalogue, with versions that are quarantined.
    async fn images(&self) -> Result<Vec<Image>, DeskError>;
    /// The current policies.
    async fn policies(&self) -> Result<Vec<Policy>, DeskError>;
    /// Queues a verification of an image as a pipeline of its own.
    async fn verify_image(&self, name: &str, who: &str) -> Result<Accepted, DeskError>;
    /// Compares claims with what a finished verification build printed.
    async fn verdicts(&self, build: BuildId) -> Result<Vec<ProbeVerdict>, DeskError>;

    /// Machines that are not gone.
    async fn machines(&self) -> Result<Vec<Machine>, DeskError>;
    /// Asks for the end of a machine that has no build.
    async fn end_machine(&self, id: MachineId, who: &str) -> Result<Machine, DeskError>;

    /// Where the prices of images come from and of when they are, by image; images whose files say
    /// their prices are not in it.
    async fn price_sources(&self) -> Result<BTreeMap<String, String>, DeskError>;
    /// A pass of the planner made now, with all that goes into it; nothing of it is carried out.
    async fn record_plan(&self) -> Result<RecordedPass, DeskError>;
    /// What the planner would do now.
    async fn plan(&self) -> Result<PlanReport, DeskError>;
    /// How all budgets stand, with forecasts, for which the ledger of a week is read.
    async fn budgets(&self) -> Result<Vec<BudgetReport>, DeskError>;
    /// How all budgets stand, without forecasts; from memory, so it may be asked often.
    async fn budgets_now(&self) -> Result<Vec<BudgetReport>, DeskError>;
    /// Adds to a budget's amount for its present window.
    async fn approve(&self, approval: Approval, who: &str) -> Result<(), DeskError>;
    /// Why a build stands where it stands.
    async fn explain(&self, id: BuildId) -> Result<Explanation, DeskError>;

    /// Makes an API token; the text is shown this once.
    async fn create_token(&self, name: &str, role: TokenRole)
    -> Result<(Token, String), DeskError>;
    /// Stops accepting a token.
    async fn revoke_token(&self, id: crate::model::TokenId) -> Result<(), DeskError>;

    /// Whether the engine has loaded its state and its loops run.
    fn is_ready(&self) -> bool;
}

/// A declaration that cannot be applied; nothing was.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ApplyError {
    /// Problems, each with the index of its declaration.
    #[error("{} problem(s) in the declarations", .0.len())]
    Invalid(Vec<(usize, Problem)>),
    /// The engine is loading its state; try again soon.
    #[error("the orchestrator is loading its state")]
    Busy,
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
}
