//! One SSH session per machine, opened when needed and shared by all who talk to it.

use std::sync::Arc;

use crate::model::{Endpoint, MachineId, MachineKeys, Span};
use crate::remote::{RemoteError, Session, Target};
use crate::store::StoreError;

use super::engine::Engine;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoSession {
    /// The machine cannot be reached, or is not ours.
    #[error("no session")]
    Remote(#[from] RemoteError),
    /// Its keys cannot be read.
    #[error("no keys")]
    Store(#[from] StoreError),
    /// The books have no machine, or none that could answer.
    #[error("the machine is not up")]
    NotUp,
}

impl NoSession {
    /// One sentence with the cause, for people.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::Remote(error) => error.to_string(),
            Self::Store(error) => format!("cannot read its keys: {error}"),
            Self::NotUp => self.to_string(),
        }
    }
}

impl Engine {
    /// The machine's session, opened if need be.
    pub(super) async fn session(&self, id: MachineId) -> Result<Arc<dyn Session>, NoSession> {
        if let Some(session) = self.open_session(id) {
            return Ok(session);
        }
        let endpoint = {
            let books = self.books();
            let machine = books.machines.get(&id).ok_or(NoSession::NotUp)?;
            machine.state.endpoint().ok_or(NoSession::NotUp)?
        };
        self.connect(id, endpoint).await
    }

    /// Opens a session to where the machine is said to listen, in place of the one before.
    pub(super) async fn connect(
        &self,
        id: MachineId,
        endpoint: Endpoint,
    ) -> Result<Arc<dyn Session>, NoSession> {
        let keys = self.parts.store.machine_keys(id).await?;
        self.connect_with(&keys.ok_or(NoSession::NotUp)?, endpoint)
            .await
    }

    /// As `connect`, with keys that were read from the store.
    pub(super) async fn connect_with(
        &self,
        keys: &MachineKeys,
        endpoint: Endpoint,
    ) -> Result<Arc<dyn Session>, NoSession> {
        let id = keys.machine;
        let (user, provider) = {
            let books = self.books();
            let machine = books.machines.get(&id).ok_or(NoSession::NotUp)?;
            let image = books
                .images
                .get(&(machine.image.clone(), machine.image_version));
            let user = image.ok_or(NoSession::NotUp)?.spec.login.user.clone();
            (user, self.provider(&machine.provider).cloned())
        };
        let jump = provider.and_then(|provider| provider.reach().jump);
        let timeout = self.parts.settings.connect_timeout;
        let target = |keys: &MachineKeys| Target {
            endpoint,
            jump: jump.clone(),
            user: user.clone(),
            client_private: keys.client_private.clone(),
            host_public: keys.host_public.clone(),
        };
        let first = self.parts.remote.connect(&target(keys), timeout).await;
        let session = match (first, &keys.next) {
            // Its keys were being changed when we last heard of it.
            (
                Err(first @ (RemoteError::WrongHostKey { .. } | RemoteError::LoginRefused { .. })),
                Some(next),
            ) => match self.parts.remote.connect(&target(next), timeout).await {
                // It has shown the host key of the first pair: it is our machine in the middle of
                // the change, and not somebody else's.
                Err(RemoteError::WrongHostKey { .. })
                    if matches!(first, RemoteError::LoginRefused { .. }) =>
                {
                    return Err(first.into());
                }
                second => second?,
            },
            (first, _) => first?,
        };
        self.sessions_lock().insert(id, Arc::clone(&session));
        Ok(session)
    }

    /// The session of a machine, if one is open.
    pub(super) fn open_session(&self, id: MachineId) -> Option<Arc<dyn Session>> {
        self.sessions_lock()
            .get(&id)
            .filter(|session| session.is_open())
            .cloned()
    }

    /// Closes and forgets a machine's session.
    pub(super) async fn close_session(&self, id: MachineId) {
        let session = self.sessions_lock().remove(&id);
        if let Some(session) = session {
            session.close().await;
        }
    }

    /// Closes all sessions. What runs on the machines goes on.
    pub(super) async fn close_sessions(&self) {
        let sessions = std::mem::take(&mut *self.sessions_lock());
        for session in sessions.into_values() {
            session.close().await;
        }
    }

    fn sessions_lock(
        &self,
    ) -> std::sync::MutexGuard<'_, std::collections::BTreeMap<MachineId, Arc<dyn Session>>> {
        self.sessions
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Extends the leases of all machines that are up, for ever.
    pub(super) async fn lease_loop(self: Arc<Self>) {
        // Three tries fit into a lease.
        let pause = Span::from_micros(self.parts.settings.lease.micros() / 3);
        loop {
            self.parts.clock.sleep(pause).await;
            self.extend_leases_once();
        }
    }

    fn extend_leases_once(self: &Arc<Self>) {
        let up: Vec<MachineId> = {
            let books = self.books();
            let up = books
                .machines
                .values()
                .filter(|m| m.state.endpoint().is_some());
            up.map(|machine| machine.id).collect()
        };
        for id in up {
            let engine = Arc::clone(self);
            self.spawn(async move { engine.extend_lease(id).await });
        }
    }

    async fn extend_lease(&self, id: MachineId) {
        let lease = self.parts.settings.lease;
        match self.session(id).await {
            Ok(session) => {
                if let Err(error) = session.extend_lease(lease).await {
                    tracing::warn!(machine.id = %id, %error, "lease not extended");
                }
            }
            // The sweep, the driver or the machine's own lease will end it.
            Err(error) => {
                tracing::warn!(machine.id = %id, error = error.sentence(), "machine not reached");
            }
        }
    }
}
