//! The engine's life: load the state, adopt what runs, loop; on a fault, begin anew.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::model::{MachineId, MachineState, Span};

use super::books::Books;
use super::engine::{Engine, Epoch, Fault, chain};

/// First wait before the state is loaded anew after a fault; doubles up to the longest.
const FIRST_RELOAD_WAIT: Span = Span::from_millis(200);
/// A full disk or a lost database is looked at this often.
const LONGEST_RELOAD_WAIT: Span = Span::from_secs(15);

impl Engine {
    /// Runs until `shutdown`. Machines and builds go on without us until their leases end; the next
    /// start takes them up again.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut wait = FIRST_RELOAD_WAIT;
        while !shutdown.is_cancelled() {
            let begun = self.parts.clock.now();
            match self.run_epoch(&shutdown).await {
                Ok(()) => return,
                Err(fault) => {
                    tracing::error!(error = chain(&fault), "loading the state anew");
                }
            }
            if self.parts.clock.now().since(begun) > LONGEST_RELOAD_WAIT {
                wait = FIRST_RELOAD_WAIT;
            }
            shutdown
                .run_until_cancelled(self.parts.clock.sleep(wait))
                .await;
            wait = Span::from_micros(wait.micros() * 2).min(LONGEST_RELOAD_WAIT);
        }
    }

    async fn run_epoch(self: &Arc<Self>, shutdown: &CancellationToken) -> Result<(), Fault> {
        let open = self.parts.store.open_work().await?;
        let (epoch, mut faults) = Epoch::new();
        self.begin_epoch(epoch.clone(), Books::load(open));
        self.adopt();
        for task in [
            tokio::spawn(
                epoch
                    .token
                    .clone()
                    .run_until_cancelled_owned(Self::plan_loop(Arc::clone(self))),
            ),
            tokio::spawn(
                epoch
                    .token
                    .clone()
                    .run_until_cancelled_owned(Self::sweep_loop(Arc::clone(self))),
            ),
            tokio::spawn(
                epoch
                    .token
                    .clone()
                    .run_until_cancelled_owned(Self::lease_loop(Arc::clone(self))),
            ),
        ] {
            epoch.tasks.spawn(task);
        }
        self.set_ready(true);
        self.nudge();
        let end = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            fault = faults.recv() => fault.map_or(Ok(()), Err),
        };
        self.set_ready(false);
        epoch.token.cancel();
        epoch.tasks.close();
        epoch.tasks.wait().await;
        self.close_sessions().await;
        end
    }

    /// Takes up every machine where the books have it.
    fn adopt(self: &Arc<Self>) {
        let machines: Vec<(MachineId, MachineState)> = self
            .books()
            .machines
            .values()
            .map(|m| (m.id, m.state.clone()))
            .collect();
        for (id, state) in machines {
            let engine = Arc::clone(self);
            match state {
                MachineState::Intended { .. } | MachineState::Booting { .. } => {
                    self.spawn(engine.bring_up(id));
                }
                MachineState::Busy {
                    claim: (_, attempt),
                    ..
                } => self.spawn(engine.drive(attempt)),
                MachineState::Draining { .. } => self.spawn(engine.end_machine(id)),
                // An idle one is looked after by its next build, the lease loop and the sweep; one that
                // is gone is not in the books.
                MachineState::Idle { .. } | MachineState::Gone { .. } => {}
            }
        }
    }
}
