//! Floor 3: the only place where decisions meet effects.
//!
//! The engine changes the [`crate::books`] in drafts that become transactions (`journal`), lets the
//! planner decide (`reconcile`), and carries out what is recorded: `launcher` (launches by the batch), `bring_up` and `boot_failure`
//! (launch to readiness, or not), `attempt` (a build on its machine), `sleep`, `spot` (machines that are
//! taken back), `ending` (a machine's end and its proof), `sweep` (finds lost and leaked ones),
//! `sessions` (SSH, leases). `resolve` and `capacity` know where images can be launched. `outcome` holds what
//! follows from an end. `intake`, `wish`, `catalogue`, `check`, `verify`, `quote` and `explain` answer clients through
//! the desk. `run` is its life: crash-only, a fault loads the state anew.
//!
//! It knows port traits, never concrete adapters. Callers: `app`; `api` through [`Desk`].

mod attempt;
mod boot_failure;
mod bring_up;
mod budgets;
mod catalogue;
mod check;
mod desk;
mod ending;
#[expect(
    clippy::module_inception,
    reason = "the room is named for its main piece"
)]
mod engine;
mod explain;
mod front_desk;
mod history;
mod index;
mod intake;
mod journal;
mod launcher;
mod passes;
mod quote;
mod recall;
mod reconcile;
mod remedies;
mod resolve;
mod retry;
mod run;
mod sessions;
mod sleep;
mod spot;
mod sweep;
mod tidy;
mod verify;
mod wish;

pub use desk::{
    Accepted, ApplyError, Checked, Declaration, Desk, DeskError, ProbeVerdict, Submission,
};
pub use engine::{Engine, Fault, Parts, Settings};
pub use front_desk::FrontDesk;
pub use index::StoreIndex;
pub use passes::{NoPassLog, PassLog};
