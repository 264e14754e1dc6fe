//! Tidies up after an attempt on its machine, and learns that nothing is left: until then the machine
//! takes no further build. Callers: `attempt` at its end, and `run` for what a process before us left
//! undone.

use std::sync::Arc;

use backoff::backoff::Backoff;

use crate::books::not_tidied;
use crate::model::{AttemptId, Left, MachineId, Span};
use crate::remote::{Discarded, RemoteError};

use super::engine::Engine;
use super::retry;
use super::sessions::NoSession;

/// A machine that has not said for so long that nothing is left is ended: it is paid for, and of no
/// use.
const PATIENCE: Span = Span::from_secs(60);
/// Longest pause between tries.
const PAUSE: Span = Span::from_secs(5);

impl Engine {
    /// Discards an attempt on its machine, and opens the machine for the next build, or for none.
    pub(super) async fn tidy(self: Arc<Self>, id: MachineId, attempt: AttemptId) {
        let begun = self.parts.clock.now();
        let mut pauses = retry::backoff();
        // A machine that ends needs no tidying, and its end may have cut the session.
        while self.books().is_unproved(id, attempt) {
            let error = match self.discard(id, attempt).await {
                Ok(discarded) => return self.discarded(id, attempt, &discarded),
                Err(error) => error,
            };
            let is_final = matches!(error, NoSession::Remote(RemoteError::WrongHostKey { .. }));
            if is_final || self.parts.clock.now().since(begun) >= PATIENCE {
                let why = format!(": {}", error.sentence());
                return self.not_tidied((id, attempt), Left::Unknown, &why);
            }
            tracing::warn!(attempt.id = %attempt, error = error.sentence(), "not tidied up yet");
            let pause = pauses.next_backoff().map_or(PAUSE, Span::from);
            self.parts.clock.sleep(pause).await;
        }
    }

    async fn discard(&self, id: MachineId, attempt: AttemptId) -> Result<Discarded, NoSession> {
        let session = self.session(id).await?;
        Ok(session.discard(attempt).await?)
    }

    fn discarded(&self, id: MachineId, attempt: AttemptId, said: &Discarded) {
        self.books().tidied(id, attempt, said.usage);
        match said.left {
            Some(left) => self.not_tidied((id, attempt), left, ""),
            None => self.nudge(),
        }
    }

    fn not_tidied(&self, of: (MachineId, AttemptId), left: Left, detail: &str) {
        let written = self.write_soon(|draft| {
            not_tidied(draft, of, left, detail);
            Ok(())
        });
        // On a fault the state is loaded anew, and the machine is asked again from there.
        if written.is_ok() {
            self.nudge();
        }
    }
}
