//! Drives one attempt: starts it or takes it up again, brings its log home, keeps its times, and
//! records its end.
//!
//! Whatever happens to the connection or to this process, the attempt goes on on its machine; the
//! driver reconnects and follows from the last byte it has. What it must not do: decide what follows
//! from an end (see `outcome`), or touch another attempt. `ending` has what ends it before its time,
//! `storing` what brings its log and its end into storage.

mod ending;
mod storing;

use std::sync::Arc;

use backoff::backoff::Backoff;
use tokio::sync::Notify;

use crate::books::{MachineAfter, step_began};
use crate::logs::Recorder;
use crate::model::{
    AttemptId, BuildId, BuildSpec, BuildState, MachineId, Outcome, Reason, Span, StepRecord,
    Timestamp,
};
use crate::remote::{RemoteError, Run, RunEvent, Session};

use super::engine::{Engine, Fault};
use super::retry;
use super::sessions::NoSession;
use storing::{Storing, settle};

/// What a build that cannot be expressed as a script is taken to have exited with: the shell's word
/// for a command that cannot be executed.
const UNRUNNABLE: i32 = 126;
/// Longest pause between tries to reach the machine again.
const RECONNECT_PAUSE: Span = Span::from_secs(5);

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
        self.began.get_or_insert(now);
        let (attempt, steps) = (self.attempt, self.steps.clone());
        self.engine
            .write_soon(|draft| step_began(draft, attempt, steps))?;
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
}
