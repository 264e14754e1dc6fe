//! Drives one attempt: starts it or takes it up again, brings its log home, keeps its times, and
//! records its end.
//!
//! Whatever happens to the connection or to this process, the attempt goes on on its machine; the
//! driver reconnects and follows from the last byte it has. What it must not do: decide what follows
//! from an end (see `outcome`), or touch another attempt.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use backoff::backoff::Backoff;
use tokio::sync::Notify;

use crate::logs::{LogError, Recorder};
use crate::model::{
    AttemptId, AttemptState, BuildId, BuildResult, BuildSpec, BuildState, Change, Cursor, Extent,
    MachineId, Outcome, Reason, Span, StepRecord, Timestamp,
};
use crate::remote::{RemoteError, Run, RunEvent, Session, Stop};

use super::draft::Draft;
use super::engine::{Engine, Fault, chain};
use super::outcome::{MachineAfter, end_attempt};
use super::retry;
use super::sessions::NoSession;

/// What a build that cannot be expressed as a script is taken to have exited with: the shell's word
/// for a command that cannot be executed.
const UNRUNNABLE: i32 = 126;
/// Longest pause between tries to reach the machine again.
const RECONNECT_PAUSE: Span = Span::from_secs(5);
/// Time after the grace of a stop was asked in which the end must have come; then the machine is given up.
const STOP_PATIENCE: Span = Span::from_secs(60);

/// How a watch over a run came to its end.
enum End {
    /// The attempt is over.
    Over(Outcome, String, MachineAfter),
    /// The connection is gone; the attempt may go on.
    Disconnected(RemoteError),
    /// The engine begins anew, or somebody else ended the attempt.
    GivenUp,
}

impl From<Fault> for End {
    fn from(_: Fault) -> Self {
        Self::GivenUp
    }
}

/// A flush under way, up to its commit.
type Storing = Pin<Box<dyn Future<Output = Result<Extent, NotStored>> + Send>>;

/// Why bytes did not become durable.
enum NotStored {
    Log(LogError),
    Fault,
}

/// A stop that was asked for.
struct Stopping {
    outcome: Outcome,
    verdict: String,
    since: Timestamp,
}

struct Driver {
    engine: Arc<Engine>,
    attempt: AttemptId,
    build: BuildId,
    machine: MachineId,
    spec: Arc<BuildSpec>,
    recorder: Recorder,
    storing: Option<Storing>,
    /// Bytes of the machine's log that were taken.
    consumed: u64,
    steps: Vec<StepRecord>,
    /// When the first step began.
    began: Option<Timestamp>,
    stopping: Option<Stopping>,
    /// The step that was stopped for its time.
    overdue_step: Option<u32>,
    wake: Arc<Notify>,
    session: Option<Arc<dyn Session>>,
}

impl Engine {
    /// Drives an attempt to its end; nothing to do when it is over.
    pub(super) async fn drive(self: Arc<Self>, id: AttemptId) {
        let Some(driver) = Driver::new(&self, id) else {
            return;
        };
        driver.run().await;
        self.drivers_lock().remove(&id);
    }

    /// Makes the driver of an attempt look at its build again.
    pub(super) fn wake_driver(&self, id: AttemptId) {
        if let Some(wake) = self.drivers_lock().get(&id) {
            wake.notify_one();
        }
    }

    fn drivers_lock(
        &self,
    ) -> std::sync::MutexGuard<'_, std::collections::BTreeMap<AttemptId, Arc<Notify>>> {
        self.drivers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Driver {
    fn new(engine: &Arc<Engine>, id: AttemptId) -> Option<Self> {
        let (attempt, spec, began) = {
            let books = engine.books();
            let attempt = books.attempts.get(&id)?.clone();
            let build = books.builds.get(&attempt.build)?;
            let began = match build.state {
                BuildState::Running { since, .. } => Some(since),
                BuildState::Waiting
                | BuildState::Queued { .. }
                | BuildState::Bound { .. }
                | BuildState::Finished { .. } => None,
            };
            (attempt, Arc::clone(&build.spec), began)
        };
        let wake = Arc::new(Notify::new());
        engine.drivers_lock().insert(id, Arc::clone(&wake));
        let stored = attempt.cursor.stored;
        Some(Self {
            recorder: engine.parts.logs.recorder(id, stored, spec.log_limit_bytes),
            engine: Arc::clone(engine),
            attempt: id,
            build: attempt.build,
            machine: attempt.machine,
            spec,
            storing: None,
            consumed: attempt.cursor.machine,
            steps: attempt.steps,
            began,
            stopping: None,
            overdue_step: None,
            wake,
            session: None,
        })
    }

    async fn run(mut self) {
        let mut pauses = retry::backoff();
        let mut last_contact = self.now();
        loop {
            let error = match self.attach().await {
                Ok(run) => match self.watch(run).await {
                    End::Over(outcome, verdict, after) => {
                        self.end(&outcome, &verdict, after).await;
                        return;
                    }
                    End::GivenUp => return,
                    End::Disconnected(error) => {
                        pauses.reset();
                        last_contact = self.now();
                        NoSession::Remote(error)
                    }
                },
                Err(error) => error,
            };
            if !self.is_wanted() {
                return;
            }
            if let Some((outcome, verdict, after)) = self.verdict_on(&error, last_contact) {
                self.end(&outcome, &verdict, after).await;
                return;
            }
            tracing::warn!(attempt.id = %self.attempt, error = error.sentence(), "reconnecting");
            let pause = pauses.next_backoff().map_or(RECONNECT_PAUSE, Span::from);
            self.engine.parts.clock.sleep(pause).await;
        }
    }

    /// What an error means, if it means the end.
    fn verdict_on(
        &self,
        error: &NoSession,
        last_contact: Timestamp,
    ) -> Option<(Outcome, String, MachineAfter)> {
        if let NoSession::Remote(error @ RemoteError::Unrunnable { .. }) = error {
            return Some((
                Outcome::Exited(UNRUNNABLE),
                error.to_string(),
                MachineAfter::Idle,
            ));
        }
        let patience = self.engine.parts.settings.lease;
        let is_final = matches!(
            error,
            NoSession::Remote(RemoteError::WrongHostKey { .. }) | NoSession::NotUp
        );
        if !is_final && self.now().since(last_contact) < patience {
            return None;
        }
        let why = format!("the machine cannot be reached: {}", error.sentence());
        let after = MachineAfter::Drain(Reason::Failed(why.clone()));
        Some((Outcome::Infrastructure(why.clone()), why, after))
    }

    fn now(&self) -> Timestamp {
        self.engine.parts.clock.now()
    }

    /// Whether the attempt is still ours to drive.
    fn is_wanted(&self) -> bool {
        self.engine.books().attempts.contains_key(&self.attempt)
    }

    /// Starts the attempt, or follows it where it was left.
    async fn attach(&mut self) -> Result<Run, NoSession> {
        let session = self.engine.session(self.machine).await?;
        let run = if self.began.is_some() {
            session.follow(self.attempt, self.consumed).await?
        } else {
            session
                .start(self.attempt, Arc::clone(&self.spec), self.consumed)
                .await?
        };
        self.session = Some(session);
        Ok(run)
    }

    /// Takes what comes until the run ends in one way or another.
    async fn watch(&mut self, mut run: Run) -> End {
        self.repeat_stop();
        self.look_at_wish();
        loop {
            if self.storing.is_none() && self.recorder.wants_flush(self.now()) {
                self.store();
            }
            let timer = self.next_timer();
            let clock = Arc::clone(&self.engine.parts.clock);
            let event = tokio::select! {
                biased;
                stored = settle(&mut self.storing) => match self.stored(stored) {
                    Some(end) => return end,
                    None => continue,
                },
                event = run.events.recv(), if !self.recorder.is_full() => event,
                () = self.wake.notified() => {
                    if !self.is_wanted() {
                        return End::GivenUp;
                    }
                    self.look_at_wish();
                    continue;
                }
                () = clock.sleep(timer.since(clock.now())) => {
                    if let Some(end) = self.look_at_times() {
                        return end;
                    }
                    continue;
                }
            };
            if let Some(end) = self.take(event) {
                return end;
            }
        }
    }

    /// One event of the run.
    fn take(&mut self, event: Option<RunEvent>) -> Option<End> {
        match event {
            Some(RunEvent::StepBegan { index, machine }) => self.step_began(index, machine).err(),
            Some(RunEvent::Log { bytes, machine }) => {
                self.recorder.push(&bytes, self.now());
                self.consumed = machine;
                None
            }
            Some(RunEvent::StepEnded {
                index,
                code,
                machine,
            }) => {
                self.step_ended(index, code, machine);
                None
            }
            Some(RunEvent::Done { code, machine }) => {
                self.consumed = machine;
                let (outcome, verdict) = self.judge(code);
                Some(End::Over(outcome, verdict, MachineAfter::Idle))
            }
            Some(RunEvent::Lost { machine, rebooted }) => {
                self.consumed = machine;
                let why = if rebooted {
                    "the machine was rebooted under it"
                } else {
                    "its supervisor on the machine was killed"
                };
                let after = MachineAfter::Drain(Reason::Failed(why.to_owned()));
                Some(End::Over(
                    Outcome::Infrastructure(why.to_owned()),
                    why.to_owned(),
                    after,
                ))
            }
            Some(RunEvent::Disconnected { error }) => Some(End::Disconnected(error)),
            None => Some(End::Disconnected(RemoteError::Disconnected {
                operation: "following the build",
                detail: "the connection's task ended".to_owned(),
            })),
        }
    }

    /// Records the step at once: who looks at the build sees it, and its time counts from here even
    /// if another process takes over before it prints anything.
    fn step_began(&mut self, index: u32, machine: u64) -> Result<(), End> {
        self.consumed = machine;
        if self.steps.iter().any(|step| step.index == index) {
            // Told again: the cursor moves with stored bytes only.
            return Ok(());
        }
        let now = self.now();
        self.steps.push(StepRecord {
            index,
            started_at: now,
            ended_at: None,
            exit_code: None,
            log_start: self.recorder.length(),
            log_end: None,
        });
        let is_first = self.began.is_none();
        self.began.get_or_insert(now);
        let (attempt, build, machine) = (self.attempt, self.build, self.machine);
        let steps = self.steps.clone();
        self.engine.write_soon(|draft| {
            let noted = draft.change_attempt(attempt, |row| {
                row.note_steps(steps);
                if is_first {
                    row.enter(AttemptState::Running { since: now })
                } else {
                    Ok(())
                }
            });
            let Some(noted) = noted else { return Ok(()) };
            noted?;
            if is_first {
                let next = BuildState::Running {
                    machine,
                    attempt,
                    since: draft.now,
                };
                draft.enter_build(build, next, "its first step began".to_owned())?;
            }
            Ok(())
        })?;
        Ok(())
    }

    fn step_ended(&mut self, index: u32, code: i32, machine: u64) {
        self.consumed = machine;
        let (now, length) = (self.now(), self.recorder.length());
        let open = |step: &&mut StepRecord| step.index == index && step.ended_at.is_none();
        if let Some(step) = self.steps.iter_mut().find(open) {
            step.ended_at = Some(now);
            step.exit_code = Some(code);
            step.log_end = Some(length);
        }
    }

    /// How a run that ended with `code` is to be read.
    fn judge(&mut self, code: i32) -> (Outcome, String) {
        if let Some(stopping) = self.stopping.take() {
            return (stopping.outcome, stopping.verdict);
        }
        if code == 0 {
            return (Outcome::Exited(0), String::new());
        }
        let failed = self.steps.iter().find(|step| {
            let counts = self
                .spec_step(step.index)
                .is_none_or(|spec| !spec.continue_on_error);
            counts && step.exit_code.is_some_and(|code| code != 0)
        });
        if let Some(step) = failed.filter(|step| self.ran_out_of_time(step))
            && let Some(name) = self.step_name(step.index)
        {
            return (Outcome::TimedOut, format!("step {name:?} ran out of time"));
        }
        let verdict = match failed.and_then(|step| Some((self.step_name(step.index)?, step))) {
            Some((name, step)) => {
                format!(
                    "step {name:?} exited with {}",
                    step.exit_code.unwrap_or(code)
                )
            }
            None => format!("exited with {code}"),
        };
        (Outcome::Exited(code), verdict)
    }

    /// Whether a step was stopped for its time, by us or by the process before us.
    fn ran_out_of_time(&self, step: &StepRecord) -> bool {
        let timeout = self.spec_step(step.index).and_then(|spec| spec.timeout);
        let took = step.ended_at.map(|ended| ended.since(step.started_at));
        self.overdue_step == Some(step.index)
            || timeout.zip(took).is_some_and(|(most, took)| took >= most)
    }

    fn spec_step(&self, index: u32) -> Option<&crate::model::Step> {
        self.spec.steps.get(usize::try_from(index).ok()?)
    }

    fn step_name(&self, index: u32) -> Option<String> {
        Some(self.spec_step(index)?.name.clone())
    }

    /// Asks again for a stop that may have been lost with the connection before this one.
    fn repeat_stop(&self) {
        if self.stopping.is_some() {
            self.ask_stop(Stop::Attempt);
        } else if let Some(index) = self.overdue_step {
            self.ask_stop(Stop::Step(index));
        }
    }

    /// Begins a stop if somebody asked for the build's end.
    fn look_at_wish(&mut self) {
        let wish = {
            let books = self.engine.books();
            books
                .builds
                .get(&self.build)
                .and_then(|build| build.cancel.clone())
        };
        let Some(cancel) = wish else { return };
        let outcome = match cancel.result {
            BuildResult::TimedOut => Outcome::TimedOut,
            BuildResult::Success
            | BuildResult::Failure
            | BuildResult::Canceled
            | BuildResult::InfraFailure
            | BuildResult::Skipped => Outcome::Canceled,
        };
        self.stop_all(outcome, cancel.reason);
    }

    /// Stops what has run for too long; gives up on a machine that does not stop it.
    fn look_at_times(&mut self) -> Option<End> {
        let now = self.now();
        if let Some(stopping) = &self.stopping
            && now >= stopping.since + self.stop_patience()
        {
            let why = "its processes did not end when they were stopped".to_owned();
            let after = MachineAfter::Drain(Reason::Failed(why));
            return Some(End::Over(
                stopping.outcome.clone(),
                stopping.verdict.clone(),
                after,
            ));
        }
        if self
            .began
            .is_some_and(|began| now >= began + self.spec.timeout)
        {
            let verdict = format!("ran longer than its timeout of {}", self.spec.timeout);
            self.stop_all(Outcome::TimedOut, verdict);
        } else if let Some((index, due)) = self.step_deadline()
            && now >= due
        {
            self.overdue_step = Some(index);
            self.ask_stop(Stop::Step(index));
        }
        None
    }

    /// The running step that has a timeout, and when that is over.
    fn step_deadline(&self) -> Option<(u32, Timestamp)> {
        let step = self.steps.last().filter(|step| step.ended_at.is_none())?;
        let timeout = self.spec_step(step.index)?.timeout?;
        (self.overdue_step != Some(step.index)).then(|| (step.index, step.started_at + timeout))
    }

    /// When a stop that was asked for must have worked.
    fn stop_patience(&self) -> Span {
        let grace = self.engine.parts.settings.stop_grace;
        Span::from_micros(grace.micros() + STOP_PATIENCE.micros())
    }

    fn stop_all(&mut self, outcome: Outcome, verdict: String) {
        if self.stopping.is_none() {
            self.stopping = Some(Stopping {
                outcome,
                verdict,
                since: self.now(),
            });
            self.ask_stop(Stop::Attempt);
        }
    }

    fn ask_stop(&self, what: Stop) {
        let Some(session) = self.session.clone() else {
            return;
        };
        let (attempt, grace) = (self.attempt, self.engine.parts.settings.stop_grace);
        self.engine.spawn(async move {
            if let Err(error) = session.stop(attempt, what, grace).await {
                tracing::warn!(attempt.id = %attempt, %error, "processes not stopped");
            }
        });
    }

    /// When the watch has something to do although nothing comes.
    fn next_timer(&self) -> Timestamp {
        /// Nothing is due: look again some time.
        const LONG: Span = Span::from_secs(3_600);
        let flush = self.recorder.flush_at();
        let build = self
            .began
            .filter(|_| self.stopping.is_none())
            .map(|at| at + self.spec.timeout);
        let step = self
            .step_deadline()
            .map(|(_, due)| due)
            .filter(|_| self.stopping.is_none());
        let patience = self
            .stopping
            .as_ref()
            .map(|stopping| stopping.since + self.stop_patience());
        let dues = [flush, build, step, patience];
        dues.into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| self.now() + LONG)
    }

    /// Begins a flush of all that is not stored, with the commit of its extent.
    fn store(&mut self) {
        let Some(flush) = self.recorder.begin_flush() else {
            return;
        };
        let (engine, id) = (Arc::clone(&self.engine), self.attempt);
        let (consumed, steps) = (self.consumed, self.steps.clone());
        self.storing = Some(Box::pin(async move {
            let extent = flush.await.map_err(NotStored::Log)?;
            let written = engine.write_durably(|draft| {
                note_stored(draft, id, &extent, consumed, steps);
                Ok(())
            });
            written.await.map_err(|_| NotStored::Fault)?;
            Ok(extent)
        }));
    }

    fn stored(&mut self, stored: Result<Extent, NotStored>) -> Option<End> {
        self.storing = None;
        match stored {
            Ok(extent) => {
                self.recorder.committed(&extent);
                None
            }
            Err(NotStored::Log(error)) => {
                let error = chain(&error);
                tracing::error!(attempt.id = %self.attempt, error, "log not stored, trying again");
                self.recorder.flush_failed(self.now());
                None
            }
            Err(NotStored::Fault) => Some(End::GivenUp),
        }
    }

    /// Stores the rest of the log and records the end in the same transaction.
    async fn end(mut self, outcome: &Outcome, verdict: &str, after: MachineAfter) {
        let Some(last) = self.store_rest().await else {
            return;
        };
        let (id, steps, consumed) = (self.attempt, self.steps.clone(), self.consumed);
        let written = self.engine.write(|draft| {
            match &last {
                Some(extent) => note_stored(draft, id, extent, consumed, steps),
                None => {
                    draft.change_attempt(id, |attempt| {
                        attempt.steps = steps;
                        attempt.cursor = Cursor {
                            machine: consumed,
                            stored: attempt.cursor.stored,
                        };
                    });
                }
            }
            end_attempt(draft, id, outcome, verdict, after.clone())
        });
        let Ok(((), pending)) = written else { return };
        // The next decision may be made at once: its commit comes after this one.
        self.engine.nudge();
        if self.engine.durable(pending).await.is_err() {
            return;
        }
        if let Some(extent) = &last {
            self.recorder.committed(extent);
        }
        self.recorder.finish();
        leave(
            &self.engine,
            self.session,
            (self.attempt, self.machine),
            after,
        )
        .await;
    }

    /// Flushes until nothing is left; the last extent is not committed yet. `None` when the engine
    /// begins anew.
    async fn store_rest(&mut self) -> Option<Option<Extent>> {
        loop {
            if let Some(storing) = self.storing.take() {
                let stored = storing.await;
                if self.stored(stored).is_some() {
                    return None;
                }
                continue;
            }
            let Some(flush) = self.recorder.begin_flush() else {
                return Some(None);
            };
            match flush.await {
                Ok(extent) => return Some(Some(extent)),
                Err(error) => {
                    let now = self.now();
                    let error = chain(&error);
                    tracing::error!(attempt.id = %self.attempt, error, "log not stored yet");
                    self.recorder.flush_failed(now);
                    let due = self.recorder.flush_at().unwrap_or(now);
                    self.engine.parts.clock.sleep(due.since(now)).await;
                }
            }
        }
    }
}

/// Tidies up on the machine, or ends it.
async fn leave(
    engine: &Arc<Engine>,
    session: Option<Arc<dyn Session>>,
    (attempt, machine): (AttemptId, MachineId),
    after: MachineAfter,
) {
    match after {
        MachineAfter::Idle => {
            let Some(session) = session else { return };
            if let Err(error) = session.discard(attempt).await {
                tracing::warn!(attempt.id = %attempt, %error, "not tidied up");
            }
        }
        MachineAfter::Drain(_) => engine.end_machine_now(machine),
    }
}

/// Records stored bytes and how far the machine's log was taken with them.
fn note_stored(
    draft: &mut Draft<'_>,
    id: AttemptId,
    extent: &Extent,
    consumed: u64,
    steps: Vec<StepRecord>,
) {
    let changed = draft.change_attempt(id, |attempt| {
        attempt.steps = steps;
        attempt.stored(extent, consumed);
    });
    if changed.is_some() {
        draft.record(Change::InsertExtent(extent.clone()));
    }
}

/// The end of the flush under way; never, when there is none.
async fn settle(storing: &mut Option<Storing>) -> Result<Extent, NotStored> {
    match storing {
        Some(storing) => storing.await,
        None => std::future::pending().await,
    }
}
