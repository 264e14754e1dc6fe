//! Floor 1: decides what machines to launch, bind and end.
//!
//! [`plan()`] is pure, total and deterministic: the same snapshot, time and identities give the same
//! plan, and the plan leaves execution no choices. Steps run in a fixed order, one file each:
//! `retire` (machines that must end whatever is queued), `place` (queued builds to machines and
//! launches), `make_room` (idle machines that keep others out of a limit), `expire` (machines idle
//! for too long), `give_up` (builds that find no capacity). [`audit()`] checks a plan against its snapshot before anything is done. Caller:
//! `engine`; `api` sees the report types only.

mod audit;
mod expire;
mod give_up;
mod make_room;
mod place;
mod plan;
mod report;
mod rest;
mod retire;
mod snapshot;

pub use audit::{Violation, audit};
pub use plan::{Action, Blocked, Kept, Plan, Waiting, plan};
pub use report::{
    Explanation, ImageVerdict, MachineCost, PlanReport, WaitingReport, blocked_words, render,
};
pub use snapshot::{
    Candidate, Class, ClassId, ImageIndex, ImageView, Limit, MachineView, OfferingView, Past,
    PauseReason, Paused, Phase, ProjectIndex, ProjectView, QueueKey, Queued, Snapshot,
};

#[cfg(test)]
mod tests;
