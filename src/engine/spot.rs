//! Machines that are about to be taken back: how we hear of it, and what follows.
//!
//! A notice comes through the machine's own session, or from the provider's queue; the sweep sees
//! the end itself if both were missed. Then the machine gets no more builds, its build is stopped
//! with its log complete and queued anew, its pool is left alone, and the machine is ended.

use std::sync::Arc;

use crate::books::{AfterNotice, interrupted};
use crate::model::{InstanceId, MachineId, Market, Span};
use crate::provider::Provider;
use crate::remote::RemoteError;

use super::engine::Engine;

/// How often a machine looks for a notice: AWS advises every five seconds.
const POLL: Span = Span::from_secs(5);
/// How soon a machine is asked again after the connection was lost.
const ASK_AGAIN: Span = Span::from_secs(5);

impl Engine {
    /// Listens for a notice through the machine's own session for as long as the machine is up.
    pub(super) async fn watch_notice(self: Arc<Self>, id: MachineId) {
        loop {
            let Some(url) = self.metadata_url(id) else {
                return;
            };
            let error = match self.session(id).await {
                Ok(session) => match session.await_notice(&url, POLL).await {
                    Ok(notice) => {
                        let why = format!("spot notice: {} at {}", notice.action, notice.at);
                        self.interrupted(id, why).await;
                        return;
                    }
                    Err(RemoteError::NotSupported { detail, .. }) => {
                        tracing::info!(machine.id = %id, detail, "no notices from this machine");
                        return;
                    }
                    Err(error) => error.to_string(),
                },
                Err(error) => error.sentence(),
            };
            tracing::debug!(machine.id = %id, error, "listening for a notice anew");
            self.parts.clock.sleep(ASK_AGAIN).await;
        }
    }

    /// Where a spot machine that is up reads its notices.
    fn metadata_url(&self, id: MachineId) -> Option<String> {
        let books = self.books();
        let machine = books.machines.get(&id)?;
        let endpoint = machine.state.endpoint()?;
        if machine.market != Market::Spot || books.interrupted.contains_key(&id) {
            return None;
        }
        let template = self.provider(&machine.provider)?.reach().metadata_url?;
        Some(template.replace("{address}", &endpoint.address.ip().to_string()))
    }

    /// Takes what a provider's queue says, for ever.
    pub(super) async fn interruption_loop(self: Arc<Self>, provider: Arc<dyn Provider>) {
        loop {
            for instance in provider.interruptions().await {
                if let Some(id) = self.machine_of(&instance) {
                    let why = "the provider's queue says that it is taken back".to_owned();
                    self.interrupted(id, why).await;
                }
            }
        }
    }

    fn machine_of(&self, instance: &InstanceId) -> Option<MachineId> {
        let books = self.books();
        let of_it = |m: &&crate::model::Machine| m.state.instance() == Some(instance);
        books
            .machines
            .values()
            .find(of_it)
            .map(|machine| machine.id)
    }

    /// Draws the consequences of a notice, once.
    pub(super) async fn interrupted(self: &Arc<Self>, id: MachineId, why: String) {
        let most = self.parts.settings.spot_interruptions;
        let written = self.write_durably(|draft| Ok(interrupted(draft, id, &why, most)));
        let Ok(after) = written.await else {
            return;
        };
        if after == AfterNotice::Known {
            return;
        }
        tracing::warn!(machine.id = %id, why, "machine is taken back");
        match after {
            AfterNotice::Stop(attempts) => {
                for attempt in attempts {
                    self.wake_driver(attempt);
                }
            }
            AfterNotice::GiveUp => self.lost_to_notice(id, why).await,
            AfterNotice::Known | AfterNotice::Nothing => {}
        }
        self.nudge();
    }
}
