//! Waiting for a server that is away: a restart must not end a command that follows something.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

use super::error::CallError;
use crate::cli::output::Output;

/// First wait; a restart of the server takes about as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// Longest wait: a person who watches should not wonder whether it still tries.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// After this long without an answer a person must look: long enough for an upgrade of the host.
const GIVE_UP_AFTER: Duration = Duration::from_mins(5);

/// Waits with growing pauses, and gives up at last.
#[derive(Debug)]
pub(crate) struct Patience {
    output: Output,
    backoff: ExponentialBackoff,
    was_told: bool,
}

impl Patience {
    /// Fresh patience; `output` is where a person is told of the wait.
    pub(crate) fn new(output: Output) -> Self {
        Self {
            output,
            backoff: ExponentialBackoff {
                current_interval: FIRST_WAIT,
                initial_interval: FIRST_WAIT,
                max_interval: LONGEST_WAIT,
                max_elapsed_time: Some(GIVE_UP_AFTER),
                ..ExponentialBackoff::default()
            },
            was_told: false,
        }
    }

    /// The server answered: patience is fresh again.
    pub(crate) fn renew(&mut self) {
        self.backoff.reset();
        self.was_told = false;
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// The error itself, when waiting does not help or was tried for too long.
    pub(crate) async fn wait(&mut self, error: CallError) -> Result<(), CallError> {
        if error.may_pass() {
            self.wait_anyway(error).await
        } else {
            Err(error)
        }
    }

    /// Waits before the next try, where the caller knows that the error may pass.
    ///
    /// # Errors
    /// The error itself, when this was tried for too long.
    pub(crate) async fn wait_anyway(&mut self, error: CallError) -> Result<(), CallError> {
        let Some(pause) = self.backoff.next_backoff() else {
            return Err(error);
        };
        if !std::mem::replace(&mut self.was_told, true) {
            self.output.note(&format!("{error}; trying again"));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}
