//! `dormouse local-machine`: hidden, what the local provider starts as a machine.

use std::path::PathBuf;

use clap::Args;

use crate::cli::exit::Exit;
use crate::cli::report::{Outcome, Report, chain};
use crate::provider::local;

/// Be a machine of the local provider: an SSH server in a process of its own
#[derive(Debug, Args)]
pub(crate) struct LocalMachine {
    /// The directory that the provider laid out for the machine
    #[arg(long, value_name = "DIRECTORY")]
    dir: PathBuf,
}

impl LocalMachine {
    /// Runs until the machine ends. Not on a runtime: the process must have one thread until it has
    /// left its session.
    pub(crate) fn run(self) -> Outcome {
        local::run_machine(&self.dir)
            .map_err(|error| Report::new(Exit::Failure, "local-machine", chain(&error)))?;
        Ok(Exit::Success)
    }
}
