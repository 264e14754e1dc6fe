//! Floor 1: decides what machines to launch, bind and end.
//!
//! [`plan()`] is pure, total and deterministic: the same snapshot, time and identities give the same
//! plan, and the plan leaves execution no choices. Steps run in a fixed order, one file each:
//! `retire` (machines that must end whatever is queued), `place` (queued builds to machines and
//! launches), `late` (builds that wait for a launch to machines that are up meanwhile), `make_room` (idle machines that keep others out of a limit), `warm` (machines to
//! be at hand), `expire` (machines idle for too long), `give_up` (builds that find no capacity). [`audit()`] checks a plan against its snapshot before anything is done. Caller:
//! `engine`; `api` sees the report types only.

mod afford;
mod audit;
mod audit_limits;
mod budgets;
mod expire;
mod explain;
mod give_up;
mod image_set;
mod kinds;
mod late;
mod limits;
mod make_room;
mod place;
mod plan;
mod pools;
mod quote;
mod replay;
mod report;
mod rest;
mod retire;
mod room;
mod search;
mod share;
mod slots;
mod snapshot;
mod standing;
mod stock;
mod turns;
mod warm;

pub use audit::{Violation, audit};
pub use budgets::{BudgetView, NoRoom, Part, Standing};
pub use explain::{
    Chances, ImageChances, MachineChance, MachineVerdict, OfferingChance, OfferingVerdict, chances,
    machine_words, offering_words, waiting_for,
};
pub use image_set::Candidates;
pub use limits::{LAUNCH_WINDOW, LaunchView, Limit, Load, Quota, Reached, Rule, Scope};
pub use plan::{Action, Blocked, FloorNote, Kept, Plan, Waiting, plan};
pub use quote::{
    Estimate, Given, Job, JobEstimate, Kind, Quote, QuotedBuild, Retries, Spread, Work, estimate,
};
pub use replay::{RecordedPass, Replay, replay};
pub use report::{
    AttemptReport, Explanation, ImageVerdict, MachineCost, MachineReport, PlanReport, Remedy,
    ShapeVerdict, WaitingReport, blocked_words, render,
};
pub use rest::Minds;
pub use share::{Flow, MOST_PRIORITY, Shares};
pub use snapshot::{
    BoundView, Candidate, Class, ClassId, ImageIndex, ImageView, MachineView, Meter, OfferingView,
    Past, PauseReason, Paused, Phase, ProjectIndex, ProjectView, QueueKey, Queued, Snapshot,
};

pub use standing::{Ceiling, FloorWhy, Floors, IdleTerms, IdleWhy, KeptWhy};

#[cfg(test)]
#[path = "late/tests.rs"]
mod late_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
#[path = "warm/tests.rs"]
mod warm_tests;
