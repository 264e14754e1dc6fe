//! Keys of its own for a machine that was launched with the keys of a whole launch.
//!
//! The machines of one launch get the same user data, and with it the same host key; a build on one
//! of them can read it. Each machine gets keys of its own right after it became ready, beside its
//! first build: a server asks for keys at logins only, so that neither the session nor the build
//! notices. What the build is told goes over the same connection as the new keys, and is no safer for
//! coming later.
//!
//! The new keys are stored, with the machine's readiness, before they are put there. Until the
//! machine has confirmed the change either pair may be in force, and `sessions` tries both.

use std::sync::Arc;

use backoff::backoff::Backoff;

use crate::model::{Change, EventKind, MachineId, MachineKeys, Secret, Span, Subject};
use crate::remote::Rekey;

use super::super::engine::{Engine, Fault};
use super::super::journal::Pending;
use super::super::retry;
use super::NotUp;

/// Machines whose keys are changed at the same time. A change costs a machine a dozen processes
/// and us a handshake, and nobody waits for it: it must not slow down the logins of machines that
/// come up meanwhile. Those of a launch of 200 have their own after some ten seconds.
pub(in crate::engine) const KEY_CHANGES: usize = 8;
/// What the first build has ahead of the change, so that its start is not slowed down by it.
const HEAD_START: Span = Span::from_secs(1);
/// With the pauses between them some twenty seconds, in which a machine under load answers.
const TRIES: u32 = 8;

impl Engine {
    /// The keys to store for a machine that becomes ready. Its host's private key has served, since
    /// no launch is repeated from here on; that of its next pair is needed until it is there.
    pub(super) fn keys_when_ready(&self, keys: MachineKeys) -> Result<MachineKeys, NotUp> {
        let next = match keys.next {
            Some(next) => Some(next),
            None if keys.is_shared => {
                let own = self.new_keys(keys.machine).map_err(Fault::from)?;
                Some(Box::new(own))
            }
            None => None,
        };
        Ok(MachineKeys {
            host_private: Secret::default(),
            next,
            ..keys
        })
    }

    /// Changes a machine's keys once that they are to be changed is durable.
    pub(super) async fn own_keys(self: Arc<Self>, keys: MachineKeys, recorded: Pending) {
        if self.durable(recorded).await.is_ok() {
            self.parts.clock.sleep(HEAD_START).await;
            self.change_keys(keys).await;
        }
    }

    /// Goes on with a change of keys that another process began, if there is one.
    pub(in crate::engine) async fn resume_own_keys(self: Arc<Self>, id: MachineId) {
        if let Ok(keys) = self.stored_keys(id).await {
            self.change_keys(keys).await;
        }
    }

    async fn change_keys(&self, keys: MachineKeys) {
        let Some(own) = keys.next.clone() else { return };
        let mut pauses = retry::backoff();
        let mut note = String::new();
        for _ in 0..TRIES {
            match self.change_keys_once(&own).await {
                None => return,
                Some(Ok(Rekey::Done)) => return self.keep_keys(forget_host(*own), None).await,
                Some(Ok(Rekey::NotAllowed)) => {
                    let note = "its login may not become root".to_owned();
                    return self
                        .keep_keys(MachineKeys { next: None, ..keys }, Some(note))
                        .await;
                }
                Some(Ok(Rekey::NotSupported)) => {
                    let note = "its SSH server is not an OpenSSH that we know".to_owned();
                    return self
                        .keep_keys(MachineKeys { next: None, ..keys }, Some(note))
                        .await;
                }
                Some(Err(error)) => note = error,
            }
            let pause = pauses.next_backoff().map_or(HEAD_START, Span::from);
            self.parts.clock.sleep(pause).await;
        }
        self.keep_keys(keys, Some(note)).await;
    }

    /// One try; none when the machine is not up any more. One that sleeps is asked when it wakes.
    async fn change_keys_once(&self, own: &MachineKeys) -> Option<Result<Rekey, String>> {
        let _turn = self.key_changes.acquire().await.ok()?;
        if !self.is_up(own.machine) {
            return None;
        }
        let answer = match self.session(own.machine).await {
            Ok(session) => session.rekey(own).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.sentence()),
        };
        (answer.is_ok() || self.is_up(own.machine)).then_some(answer)
    }

    fn is_up(&self, id: MachineId) -> bool {
        let books = self.books();
        let machine = books.machines.get(&id);
        machine.is_some_and(|machine| machine.state.endpoint().is_some())
    }

    /// Stores the keys that a machine has from now on, with an event when they are not its own.
    async fn keep_keys(&self, keys: MachineKeys, note: Option<String>) {
        let id = keys.machine;
        let written = self.write_durably(|draft| {
            // One that is gone has no keys any more.
            if !draft.books.machines.contains_key(&id) {
                return Ok(());
            }
            draft.record(Change::PutMachineKeys(keys));
            if let Some(note) = note {
                let message = format!("keeps the keys of its launch: {note}");
                draft.event(Subject::Machine(id), EventKind::MachineNote, message);
            }
            Ok(())
        });
        // A failed commit has ended the epoch, and the next one takes this up again.
        drop(written.await);
    }

    pub(super) async fn stored_keys(&self, id: MachineId) -> Result<MachineKeys, NotUp> {
        let keys = self.parts.store.machine_keys(id).await;
        let keys = keys.map_err(|error| {
            self.fault(Fault::Store(error));
            NotUp::GivenUp
        })?;
        keys.ok_or(NotUp::GivenUp)
    }
}

fn forget_host(keys: MachineKeys) -> MachineKeys {
    MachineKeys {
        host_private: Secret::default(),
        ..keys
    }
}
