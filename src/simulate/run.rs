//! The loop: from one instant at which something happens to the next, with a pass of the planner
//! after each that the engine would make one after.

use crate::model::{IllegalTransition, Timestamp};
use crate::planner::{self, Plan, Snapshot, Violation};

use super::scenario::{Outcome, Scenario};
use super::simulation::Simulation;

/// Makes plans.
pub trait Decide {
    /// What to do now. `fresh` gives the bits of identities that were never used before.
    fn decide(
        &mut self,
        snapshot: &Snapshot,
        now: Timestamp,
        fresh: &mut dyn FnMut() -> u128,
    ) -> Plan;
}

/// The planner that decides for real machines.
#[derive(Debug, Clone, Copy, Default)]
pub struct Planner;

impl Decide for Planner {
    fn decide(
        &mut self,
        snapshot: &Snapshot,
        now: Timestamp,
        fresh: &mut dyn FnMut() -> u128,
    ) -> Plan {
        planner::plan(snapshot, now, fresh)
    }
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The simulated time.
    pub at: Timestamp,
    /// Builds that are over.
    pub ended: usize,
    /// Builds in all.
    pub total: usize,
}

/// Why a scenario cannot be played to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SimulationError {
    /// The history is not in order of submission.
    #[error("build {0} of the history was submitted before the one ahead of it")]
    Unordered(usize),
    /// No image can build one of the builds.
    #[error("no image can build {name:?} (build {work} of the history): {why}")]
    NoImage {
        /// Its place in the history.
        work: usize,
        /// Its name.
        name: String,
        /// What fails.
        why: String,
    },
    /// An image lists no sizes.
    #[error("image {0:?} lists no shapes, and the simulator knows no others")]
    NoShapes(String),
    /// A decision did not fit the state it was made for.
    #[error("a decision did not fit at {at}: {error}")]
    Illegal {
        /// When.
        at: Timestamp,
        /// What.
        error: IllegalTransition,
    },
    /// A plan breaks the rules.
    #[error("the plan of {at} violates its rules: {violations:?}")]
    Plan {
        /// When.
        at: Timestamp,
        /// What.
        violations: Vec<Violation>,
    },
    /// Something does not hold that must always hold.
    #[error("broken at {at}: {what}")]
    Broken {
        /// When.
        at: Timestamp,
        /// What.
        what: String,
    },
    /// Nothing happens any more, but something is not over.
    #[error(
        "nothing happens after {at}, with {builds} builds and {machines} machines left; of the first build: {why}"
    )]
    Stuck {
        /// When.
        at: Timestamp,
        /// Builds that are not over.
        builds: usize,
        /// What the planner last said of the first that waits.
        why: String,
        /// Machines that are not gone.
        machines: usize,
    },
}

/// Plays a scenario to its end: until every build is over and every machine gone.
///
/// Where policies want machines to be at hand, they are asked no more once the last build is over.
///
/// # Errors
/// [`SimulationError`] when the scenario cannot be played, and when something breaks the rules, which
/// would be a fault of the program or of `decide`.
pub fn run(
    scenario: &Scenario,
    decide: &mut dyn Decide,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, SimulationError> {
    /// Progress is reported this often, in instants.
    const REPORTED: u64 = 4_096;
    let mut simulation = Simulation::new(scenario)?;
    let mut instants = 0_u64;
    while let Some(at) = simulation.next() {
        simulation.play(at)?;
        simulation.pass_if_due(decide)?;
        simulation.lift_floors()?;
        instants += 1;
        if instants.is_multiple_of(REPORTED) {
            progress(simulation.progress());
        }
    }
    progress(simulation.progress());
    simulation.finish()
}
