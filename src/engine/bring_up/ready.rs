//! From the first answer of a machine's SSH server to its first build: log in, put the runner there,
//! start the lease, check, record.

use std::sync::Arc;

use bytes::Bytes;

use crate::books::ready;
use crate::model::{AttemptId, Change, Endpoint, MachineKeys, Span};
use crate::remote::{RemoteError, Session};

use super::super::engine::Engine;
use super::super::sessions::NoSession;
use super::{Boot, CONNECT_PAUSE, NotUp};

/// Longest time for one run of the readiness command.
const READY_TIMEOUT: Span = Span::from_secs(20);
/// How often the readiness command is tried.
const READY_PAUSE: Span = Span::from_millis(500);

/// How a step over a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is done.
    Done,
    /// The connection was lost: the machine has to be reached anew.
    Disconnected,
}

impl Engine {
    /// Waits until the machine answers at one of its endpoints and is ready, and records that; the
    /// attempts that begin now.
    pub(super) async fn become_ready(
        self: &Arc<Self>,
        boot: &mut Boot,
        endpoints: &[Endpoint],
    ) -> Result<Vec<AttemptId>, NotUp> {
        // Read once: a fresh machine is tried dozens of times.
        let keys = self.stored_keys(boot.id).await?;
        let endpoint = loop {
            let (endpoint, session) = self.reach(boot, endpoints, &keys).await?;
            match self.check_ready(boot, &session).await? {
                Step::Done => break endpoint,
                Step::Disconnected => self.pause(boot, CONNECT_PAUSE).await?,
            }
        };
        self.now_ready(boot, endpoint, keys)
    }

    /// Tries to log in until it works and the machine has its runner and its lease. A wrong host key is final: that is not our machine.
    async fn reach(
        &self,
        boot: &mut Boot,
        endpoints: &[Endpoint],
        keys: &MachineKeys,
    ) -> Result<(Endpoint, Arc<dyn Session>), NotUp> {
        let lease = self.parts.settings.lease;
        loop {
            for endpoint in endpoints {
                let error = match self.connect_with(keys, *endpoint).await {
                    Ok(session) => match session.prepare(lease).await {
                        Ok(()) => return Ok((*endpoint, session)),
                        Err(error) => NoSession::Remote(error),
                    },
                    Err(error) => error,
                };
                match error {
                    NoSession::Remote(error @ RemoteError::WrongHostKey { .. }) => {
                        return Err(NotUp::Refused(error));
                    }
                    NoSession::Remote(_) | NoSession::Store(_) => boot.last = error.sentence(),
                    NoSession::NotUp => return Err(NotUp::GivenUp),
                }
            }
            self.pause(boot, CONNECT_PAUSE).await?;
        }
    }

    /// Runs the image's readiness command until it exits 0.
    async fn check_ready(
        &self,
        boot: &mut Boot,
        session: &Arc<dyn Session>,
    ) -> Result<Step, NotUp> {
        let Some(command) = boot.image.spec.ready.clone() else {
            return Ok(Step::Done);
        };
        loop {
            match session.command(&command, Bytes::new(), READY_TIMEOUT).await {
                Ok(output) if output.status == Some(0) => return Ok(Step::Done),
                Ok(output) => {
                    let said = String::from_utf8_lossy(&output.stderr);
                    let said = said.lines().last().unwrap_or_default();
                    let status = output
                        .status
                        .map_or("a signal".to_owned(), |s| s.to_string());
                    boot.last = format!("the readiness command ended with {status}: {said}");
                }
                Err(error) => boot.last = error.to_string(),
            }
            if !session.is_open() {
                return Ok(Step::Disconnected);
            }
            self.pause(boot, READY_PAUSE).await?;
        }
    }

    fn now_ready(
        self: &Arc<Self>,
        boot: &Boot,
        endpoint: Endpoint,
        keys: MachineKeys,
    ) -> Result<Vec<AttemptId>, NotUp> {
        let keys = self.keys_when_ready(keys)?;
        let ((is_up, attempts), recorded) = self.write(|draft| {
            let attempts = ready(draft, boot.id, endpoint)?;
            let machine = draft.books.machines.get(&boot.id);
            let is_up = machine.is_some_and(|machine| machine.state.endpoint().is_some());
            if is_up {
                draft.record(Change::PutMachineKeys(keys.clone()));
            }
            draft.books.launch_worked(&boot.image.name);
            Ok((is_up, attempts))
        })?;
        if is_up && keys.next.is_some() {
            self.spawn(Arc::clone(self).own_keys(keys, recorded));
        } else {
            self.leave(recorded);
        }
        Ok(attempts)
    }
}
