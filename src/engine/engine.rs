//! The engine: its parts, its books, and the one way to write.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::books::{Books, Draft, FailureBudget};
use crate::clock::{Clock, IdSource};
use crate::logs::Logs;
use crate::model::{AttemptId, IllegalTransition, MachineId, Money, Span};
use crate::planner::Violation;
use crate::provider::Provider;
use crate::remote::{Remote, Session};
use crate::spec::PipelineLimits;
use crate::store::{Store, StoreError};

use super::bring_up::KEY_CHANGES;
use super::journal::{self, Pending, Waiting, Watch};
use super::launcher::Gathering;
use super::passes::PassLog;

/// What the engine is made of; the composition root chooses the concrete types.
#[derive(Debug, Clone)]
pub struct Parts {
    /// What must survive.
    pub store: Arc<dyn Store>,
    /// Where machines come from, by name.
    pub providers: BTreeMap<String, Arc<dyn Provider>>,
    /// How machines are driven.
    pub remote: Arc<dyn Remote>,
    /// Where log bytes go.
    pub logs: Logs,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Fresh identities and key seeds.
    pub ids: Arc<IdSource>,
    /// Where passes of the planner are kept.
    pub passes: Arc<dyn PassLog>,
    /// The operator's settings.
    pub settings: Settings,
}

/// Settings of the engine; the defaults are argued in `config`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How often provider listings are compared with the books.
    pub sweep_interval: Span,
    /// A machine powers itself off when nobody renewed its lease for this long.
    pub lease: Span,
    /// Longest time for one try to connect.
    pub connect_timeout: Span,
    /// Time between asking a build's processes to end and forcing them.
    pub stop_grace: Span,
    /// A build that finds no capacity anywhere for this long is given up.
    pub capacity_wait: Span,
    /// What failed launches of one image may cost in an hour.
    pub failure_budget: FailureBudget,
    /// Interruptions of an image within minutes after which it leaves spare capacity alone.
    pub spot_interruptions: u32,
    /// Limits of pipeline documents.
    pub pipeline_limits: PipelineLimits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sweep_interval: Span::from_secs(10),
            lease: Span::from_secs(10 * 60),
            connect_timeout: Span::from_secs(10),
            stop_grace: Span::from_secs(10),
            capacity_wait: Span::from_secs(6 * 3_600),
            failure_budget: FailureBudget {
                launches: 20,
                money: Money::from_micros(1_000_000),
            },
            spot_interruptions: 5,
            pipeline_limits: PipelineLimits::default(),
        }
    }
}

/// Why the engine has to load its state anew.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A commit failed: the books are ahead of the store.
    #[error("a commit failed")]
    Store(#[from] StoreError),
    /// A decision did not fit the state it was made for.
    #[error("a decision did not fit")]
    Illegal(#[from] IllegalTransition),
    /// The planner made a plan that must not be executed.
    #[error("the plan violates its rules: {0:?}")]
    Plan(Vec<Violation>),
}

/// Runs builds on machines. Made once; [`Engine::run`] drives it.
#[derive(Debug)]
pub struct Engine {
    pub(super) parts: Parts,
    books: Mutex<Books>,
    epoch: Mutex<Epoch>,
    pub(super) sessions: Mutex<BTreeMap<MachineId, Arc<dyn Session>>>,
    /// Wakes the driver of an attempt to look at its build's wish to end.
    pub(super) drivers: Mutex<BTreeMap<AttemptId, Arc<Notify>>>,
    /// Launches that are being gathered.
    pub(super) gathering: Mutex<Gathering>,
    /// Turns for changing a machine's keys.
    pub(super) key_changes: Semaphore,
    /// Makes the resolver look again.
    pub(super) resolve_nudge: Notify,
    /// Held from looking up an Idempotency-Key to the commit of what came with it.
    pub(super) keyed_submissions: tokio::sync::Mutex<()>,
    nudge: Notify,
    ready: AtomicBool,
    /// Counts durable commits: a hint for followers of events.
    hint: watch::Sender<u64>,
}

/// One stretch from loading the state to the next fault or the end.
#[derive(Debug, Clone)]
pub(super) struct Epoch {
    /// Ends all tasks of the epoch.
    pub(super) token: CancellationToken,
    /// The tasks of the epoch.
    pub(super) tasks: TaskTracker,
    watch: Watch,
    faults: mpsc::UnboundedSender<Fault>,
}

impl Epoch {
    /// A fresh epoch, and where its first fault arrives.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Fault>) {
        // Unbounded: the epoch ends with the first fault that is received.
        let (faults, receiver) = mpsc::unbounded_channel();
        let (watch, failures) = Watch::new();
        let (token, tasks) = (CancellationToken::new(), TaskTracker::new());
        let report = faults.clone();
        tasks.spawn(token.clone().run_until_cancelled_owned(async move {
            if let Err(error) = failures.await {
                // A closed channel means that the epoch is ending already.
                let _ = report.send(Fault::Store(error));
            }
        }));
        (
            Self {
                token,
                tasks,
                watch,
                faults,
            },
            receiver,
        )
    }
}

impl Engine {
    /// An engine that has not loaded its state yet.
    pub fn new(parts: Parts) -> Arc<Self> {
        let (epoch, _) = Epoch::new();
        Arc::new(Self {
            parts,
            books: Mutex::default(),
            epoch: Mutex::new(epoch),
            sessions: Mutex::default(),
            drivers: Mutex::default(),
            gathering: Mutex::default(),
            key_changes: Semaphore::new(KEY_CHANGES),
            resolve_nudge: Notify::new(),
            keyed_submissions: tokio::sync::Mutex::default(),
            nudge: Notify::new(),
            ready: AtomicBool::new(false),
            hint: watch::Sender::new(0),
        })
    }

    /// A counter that moves after durable commits; following it saves polling, no more.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.hint.subscribe()
    }

    /// Whether the state is loaded and the loops run.
    pub fn is_running(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub(super) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// Makes the planner look again soon.
    pub(super) fn nudge(&self) {
        self.nudge.notify_one();
    }

    pub(super) async fn nudged(&self) {
        self.nudge.notified().await;
    }

    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin_epoch(&self, epoch: Epoch, books: Books) {
        *self.books() = books;
        // What was being gathered is in the books, or was never decided.
        self.gathering
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        *self.epoch.lock().unwrap_or_else(PoisonError::into_inner) = epoch;
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Runs a task until it ends or the epoch does.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let epoch = self.epoch();
        epoch
            .tasks
            .spawn(epoch.token.run_until_cancelled_owned(task));
    }

    /// Changes the books and begins the commit of the same changes.
    ///
    /// # Errors
    /// A decision that does not fit the state is a bug: nothing is committed, and the engine loads
    /// its state anew.
    pub(super) fn write<R>(
        &self,
        change: impl FnOnce(&mut Draft<'_>) -> Result<R, IllegalTransition>,
    ) -> Result<(R, Pending), Fault> {
        let now = self.parts.clock.now();
        let mut books = self.books();
        let mut draft = Draft::new(&mut books, now);
        match change(&mut draft) {
            Ok(result) => {
                let changes = draft.into_changes();
                let pending = journal::begin(&self.parts.store, changes);
                Ok((result, pending))
            }
            Err(error) => {
                self.fault(Fault::Illegal(error.clone()));
                Err(Fault::Illegal(error))
            }
        }
    }

    /// Changes the books and waits until that is durable.
    pub(super) async fn write_durably<R>(
        &self,
        change: impl FnOnce(&mut Draft<'_>) -> Result<R, IllegalTransition>,
    ) -> Result<R, Fault> {
        let (result, pending) = self.write(change)?;
        self.durable(pending).await?;
        Ok(result)
    }

    /// Changes the books and lets the commit go its way; its failure ends the epoch.
    pub(super) fn write_soon<R>(
        &self,
        change: impl FnOnce(&mut Draft<'_>) -> Result<R, IllegalTransition>,
    ) -> Result<R, Fault> {
        let (result, pending) = self.write(change)?;
        self.leave(pending);
        Ok(result)
    }

    /// Lets a commit go its way; its failure ends the epoch.
    pub(super) fn leave(&self, pending: Pending) {
        self.epoch().watch.leave(pending);
        self.hint.send_modify(|count| *count += 1);
    }

    /// Waits for a commit; its failure ends the epoch.
    pub(super) async fn durable(&self, pending: Pending) -> Result<(), Fault> {
        match Waiting::new(self.epoch().watch, pending).durable().await {
            Ok(()) => {
                self.hint.send_modify(|count| *count += 1);
                Ok(())
            }
            Err(error) => {
                self.fault(Fault::Store(error.clone()));
                Err(Fault::Store(error))
            }
        }
    }

    /// Ends the epoch. From this moment on clients are asked to come back: the books may be ahead of
    /// the store.
    pub(super) fn fault(&self, fault: Fault) {
        // Before the epoch is looked up: whichever it is, one that begins later is ready later.
        self.set_ready(false);
        // A closed channel means that the epoch is ending already.
        let _ = self.epoch().faults.send(fault);
    }

    pub(super) fn provider(&self, name: &str) -> Option<&Arc<dyn Provider>> {
        self.parts.providers.get(name)
    }
}

/// An error with its causes, for one line of the log.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
