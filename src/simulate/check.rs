//! The test bed: plays the scenarios of seeds, each twice, with the invariants looked at after every
//! step.

use std::ops::Range;

use super::coverage::Coverage;
use super::run::{Planner, SimulationError, run};
use super::scenario::Outcome;
use super::seeds::scenario;

/// A seed whose scenario does not play as it must.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Something was broken, or it came to no end.
    #[error("seed {seed}: {error}\nto see it again: {}", command(*seed))]
    Run {
        /// The seed.
        seed: u64,
        /// What.
        error: SimulationError,
    },
    /// It played differently the second time.
    #[error(
        "seed {seed}: played twice, it came out differently ({first:016x}, {second:016x})\nto see it again: {}",
        command(*seed)
    )]
    Differs {
        /// The seed.
        seed: u64,
        /// Hash of the first run.
        first: u64,
        /// Hash of the second.
        second: u64,
    },
}

/// How far a check has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// The seed that was played last.
    pub seed: u64,
    /// Builds that have been played so far.
    pub builds: u64,
    /// Machines that have been played so far.
    pub machines: u64,
    /// Passes of the planner so far.
    pub passes: u64,
}

/// Plays the scenarios of these seeds; gives the situations that came up.
///
/// # Errors
/// [`Failure`] for the first seed at which something does not hold, with the command that shows it.
pub fn check(seeds: Range<u64>, progress: &mut dyn FnMut(Checked)) -> Result<Coverage, Failure> {
    let mut coverage = Coverage::default();
    let (mut builds, mut machines, mut passes) = (0, 0, 0);
    for seed in seeds {
        let first = play(seed)?;
        let second = play(seed)?;
        if first != second {
            return Err(Failure::Differs {
                seed,
                first: first.hash,
                second: second.hash,
            });
        }
        builds += u64::try_from(first.builds.len()).unwrap_or(0);
        machines += u64::try_from(first.machines.len()).unwrap_or(0);
        passes += first.passes;
        coverage.add(&first.coverage);
        progress(Checked {
            seed,
            builds,
            machines,
            passes,
        });
    }
    Ok(coverage)
}

fn play(seed: u64) -> Result<Outcome, Failure> {
    run(&scenario(seed), &mut Planner, &mut |_| {}).map_err(|error| Failure::Run { seed, error })
}

/// What shows a failing seed again.
fn command(seed: u64) -> String {
    format!("dormouse simulate --check --seeds {seed}..{}", seed + 1)
}
