//! What travels over the wire: every request and answer of `/api/v1`, as plain serde types.
//!
//! The server makes them from the nouns of the model, the CLI reads them back; nothing here decides
//! anything. Conventions: ids carry their prefix (`bld_…`), times are RFC 3339 in UTC, money is whole
//! micro-dollars with a text for people beside it, lengths of time that were measured are whole
//! milliseconds, lengths of time that somebody wrote are texts such as `1h 30m`, and states are the
//! words of the model. New optional fields may appear at any time: clients ignore what they do not
//! know.

mod amount;
mod attempt;
mod budget;
mod build;
mod catalogue;
mod cost;
mod event;
mod image_health;
mod log;
mod machine;
mod page;
mod pipeline;
mod plan;
mod policy;
mod problem;
mod quote;
mod requires;
mod service;
mod token;

pub use amount::{MoneyView, RateView};
pub use attempt::{AttemptView, OutcomeKind, OutcomeView, StepTimes};
pub use budget::{ApproveBudget, BudgetState, BudgetView};
pub use build::{
    BuildDetail, BuildStateWord, BuildSummary, CancelView, ResultWord, StepState, StepView,
};
pub use catalogue::{
    AppliedView, ApplyRequest, ApplyResponse, CheckResponse, CheckedView, DeclarationFile,
    DeclarationKind, ImageStateWord, ImageView, ShapeView, VerdictView,
};
pub use cost::{CostGroupWord, CostReport, CostRowView};
pub(super) use event::parse_subject;
pub use event::{EventPage, EventView, SubjectKind, SubjectParseError, SubjectView};
pub use image_health::{ImageHealthView, ShapeHealthView, VersionHealthView};
pub use log::{LogChunk, LogEnd};
pub use machine::{HoldView, MachineStateWord, MachineView};
pub use page::Page;
pub use pipeline::{
    AcceptedView, BuildRef, CancelCount, PipelineDetail, PipelineState, PipelineSummary,
};
pub use plan::{
    AttemptReportView, ExplanationView, ImageVerdictView, MachineVerdictView, PlanView, RemedyView,
    ShapeVerdictView, WaitingView,
};
pub use policy::{EffectiveView, KnobView, LimitView, PolicyRef, PolicyView, SaidView};
pub use problem::{DocumentProblem, ProblemDetails};
pub use quote::{MillisRange, MoneyRange, QuoteView, QuotedBuildView};
pub use service::{Health, Readiness};
pub use token::{CreateToken, CreatedToken, RoleWord, TokenView, WhoAmI};
