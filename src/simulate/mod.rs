//! Floor 4: plays a history of builds on virtual time, with the planner, policies, books and ledger
//! that run real machines, and a model of the cloud in place of one.
//!
//! Nothing here waits or talks to anything: a simulated month takes seconds. [`Scenario`] says what is
//! played, [`Outcome`] what came of it. It must not decide anything that the planner decides; the
//! models of other schedulers, for comparison, make plans of the same kind. Callers: `cli`, tests.
//!
//! [`run()`] is a loop over instants in which something happens (`events`): the `cloud` moves, tasks of
//! the engine come due (`machines`, `attempts`), people ask for things (`people`), then the planner is
//! asked as often as the engine would ask it. All that changes goes through the same transactions as
//! in the engine; `record` makes the outcome of what they write. For the test bed, [`check()`] makes
//! scenarios full of trouble from seeds (`seeds`), `rows` models the store that a restart loads from,
//! and `invariants` looks on.

mod approvals;
mod attempts;
pub mod baseline;
pub mod catalogue;
mod check;
mod cloud;
mod coverage;
mod dice;
mod events;
mod faults;
pub mod generate;
mod invariants;
mod machines;
pub mod optimum;
mod passes;
mod past;
mod people;
mod record;
pub mod report;
mod rows;
mod run;
mod scenario;
mod seeds;
mod simulation;
pub mod trace;
pub mod tune;
mod written;

pub use check::{Checked, Failure, check};
pub use coverage::{Coverage, Situation};
pub use faults::{Disturbance, Faults, Refusal};
pub use run::{Decide, Planner, Progress, SimulationError, run};
pub use scenario::{CloudModel, EndedBuild, MachineLife, Outcome, Scenario, Work};
pub use seeds::scenario as seeded;

#[cfg(test)]
mod tests;
