//! The engine's life: load the state, adopt what runs, loop; on a fault, begin anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::books::{Books, FAILURE_WINDOW, Skills};
use crate::model::{Launch, Machine, MachineState, Span};

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
        // Commits of the epoch before may be under way, though nobody waits for them any more: what
        // is read must not be older than they are.
        self.parts.store.commit(Vec::new()).await?;
        let open = self.parts.store.open_work().await?;
        let (epoch, mut faults) = Epoch::new();
        let since = self.parts.clock.now() - FAILURE_WINDOW;
        let ended = self.parts.store.ended_machines(since).await?;
        let mut books = Books::load(open);
        books.know_providers(self.skills());
        books.count_failures(ended, self.parts.settings.failure_budget);
        let history = self.history(self.parts.clock.now()).await?;
        books.remember(history, self.parts.clock.now());
        books.snapshot.capacity_wait = Some(self.parts.settings.capacity_wait);
        self.know_past(&mut books).await?;
        self.begin_epoch(epoch.clone(), books);
        self.adopt();
        for provider in self.parts.providers.values() {
            self.spawn(Arc::clone(self).interruption_loop(Arc::clone(provider)));
        }
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
            tokio::spawn(
                epoch
                    .token
                    .clone()
                    .run_until_cancelled_owned(Self::resolve_loop(Arc::clone(self))),
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

    fn skills(&self) -> BTreeMap<String, Skills> {
        let providers = self.parts.providers.iter();
        let skills = providers.map(|(name, provider)| {
            let skills = Skills {
                fleet: provider.fleet().is_some(),
                sleep: provider.sleeper().is_some(),
                billing: provider.billing(),
            };
            (name.clone(), skills)
        });
        skills.collect()
    }

    /// Takes up every machine where the books have it.
    fn adopt(self: &Arc<Self>) {
        let (machines, launches) = {
            let books = self.books();
            let machines: Vec<Machine> = books.machines.values().cloned().collect();
            let launches: Vec<Launch> = books.launches.values().cloned().collect();
            (machines, launches)
        };
        for machine in machines {
            self.adopt_machine(&machine);
        }
        for launch in launches {
            self.spawn(Arc::clone(self).send_launch(launch));
        }
    }

    fn adopt_machine(self: &Arc<Self>, machine: &Machine) {
        let (id, engine) = (machine.id, Arc::clone(self));
        let provider = self.provider(&machine.provider);
        let has_fleet = provider.is_some_and(|provider| provider.fleet().is_some());
        match &machine.state {
            // A recorded launch is sent again; one that was not recorded was never sent.
            MachineState::Intended { .. } if has_fleet => {
                let open = machine
                    .launch
                    .is_some_and(|launch| self.books().launches.contains_key(&launch));
                if !open {
                    self.spawn(engine.never_sent(id));
                }
            }
            MachineState::Intended { .. }
            | MachineState::Booting { .. }
            | MachineState::Waking { .. } => self.spawn(engine.bring_up(id)),
            MachineState::Busy { claims, .. } => {
                for (_, attempt) in claims.as_slice() {
                    self.spawn(Arc::clone(self).drive(*attempt));
                }
                self.spawn(Arc::clone(self).watch_notice(id));
                self.spawn(Arc::clone(self).resume_own_keys(id));
            }
            MachineState::FallingAsleep { .. } => self.spawn(engine.fall_asleep(id)),
            MachineState::Draining { .. } => self.spawn(engine.end_machine(id)),
            // It is looked after by its next build, the lease loop and the sweep.
            MachineState::Idle { .. } => {
                self.spawn(engine.watch_notice(id));
                self.spawn(Arc::clone(self).resume_own_keys(id));
            }
            // One that is asleep waits for a build or for its time; one that is gone is in no book.
            MachineState::Asleep { .. } | MachineState::Gone { .. } => {}
        }
    }
}
