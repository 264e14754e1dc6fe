//! Floor 4: plays a history of builds on virtual time, with the planner, policies, books and ledger
//! that run real machines, and a model of the cloud in place of one.
//!
//! Nothing here waits or talks to anything: a simulated month takes seconds. [`Scenario`] says what is
//! played, [`Outcome`] what came of it. It must not decide anything that the planner decides; the
//! models of other schedulers, for comparison, make plans of the same kind. Callers: `cli`, tests.

pub mod catalogue;
pub mod generate;
pub mod optimum;
pub mod report;
mod scenario;
pub mod trace;

pub use scenario::{CloudModel, EndedBuild, MachineLife, Outcome, Scenario, Work};
