//! Floor 3: the only place where decisions meet effects.
//!
//! The engine holds everything that is not over in its books (`books`), changes them in drafts that
//! become transactions (`draft`, `journal`), lets the planner decide (`reconcile`), and carries out
//! what is recorded: `launcher` and `settlement` (launches by the batch), `bring_up` and `boot_failure`
//! (launch to readiness, or not), `attempt` (a build on its machine), `sleep`, `spot` (machines that are
//! taken back), `ending` (a machine's end and its proof), `sweep` (finds lost and leaked ones),
//! `sessions` (SSH, leases). `resolve` and `capacity` know where images can be launched. `outcome` holds what
//! follows from an end. `intake`, `wish`, `catalogue`, `verify` and `explain` answer clients through
//! the desk. `run` is its life: crash-only, a fault loads the state anew.
//!
//! It knows port traits, never concrete adapters. Callers: `app`; `api` through [`Desk`].

mod attempt;
mod books;
mod boot_failure;
mod bring_up;
mod capacity;
mod catalogue;
mod desk;
mod draft;
mod ending;
#[expect(
    clippy::module_inception,
    reason = "the room is named for its main piece"
)]
mod engine;
mod explain;
mod front_desk;
mod index;
mod intake;
mod journal;
mod launcher;
mod outcome;
mod reconcile;
mod resolve;
mod retry;
mod run;
mod sessions;
mod settlement;
mod sleep;
mod spot;
mod sweep;
mod verify;
mod wish;

pub use books::{
    DEFAULT_ASLEEP_TIMEOUT, DEFAULT_IDLE_TIMEOUT, DEFAULT_MAX_ASLEEP, DEFAULT_MAX_LIFETIME,
    DEFAULT_MAX_MACHINES,
};
pub use capacity::FailureBudget;
pub use desk::{
    Accepted, Applied, ApplyError, Declaration, Desk, DeskError, ProbeVerdict, Submission,
};
pub use engine::{Engine, Fault, Parts, Settings};
pub use front_desk::FrontDesk;
pub use index::StoreIndex;
