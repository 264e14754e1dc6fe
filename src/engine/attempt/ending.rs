//! The end of an attempt that is asked for, or that time asks for; and what an end means.

use crate::books::MachineAfter;
use crate::model::{BuildResult, Outcome, Reason, Span, Step, StepRecord, Timestamp};
use crate::remote::Stop;

use super::{Driver, End, Stopping};

/// Time after the grace of a stop in which the end must have come; then the machine is given up.
const STOP_PATIENCE: Span = Span::from_secs(60);

impl Driver {
    /// How a run that ended with `code` is to be read.
    pub(super) fn judge(&mut self, code: i32) -> (Outcome, String) {
        let stopping = self.stopping.take();
        // It was quicker than its machine's end.
        let is_done =
            |stopping: &Stopping| code == 0 && matches!(stopping.outcome, Outcome::Interrupted(_));
        if let Some(stopping) = stopping.filter(|stopping| !is_done(stopping)) {
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
    pub(super) fn ran_out_of_time(&self, step: &StepRecord) -> bool {
        let timeout = self.spec_step(step.index).and_then(|spec| spec.timeout);
        let took = step.ended_at.map(|ended| ended.since(step.started_at));
        self.overdue_step == Some(step.index)
            || timeout.zip(took).is_some_and(|(most, took)| took >= most)
    }

    pub(super) fn spec_step(&self, index: u32) -> Option<&Step> {
        self.spec.steps.get(usize::try_from(index).ok()?)
    }

    pub(super) fn step_name(&self, index: u32) -> Option<String> {
        Some(self.spec_step(index)?.name.clone())
    }

    /// Asks again for a stop that may have been lost with the connection before this one.
    pub(super) fn repeat_stop(&self) {
        if self.stopping.is_some() {
            self.ask_stop(Stop::Attempt);
        } else if let Some(index) = self.overdue_step {
            self.ask_stop(Stop::Step(index));
        }
    }

    /// Begins a stop if somebody asked for the build's end.
    pub(super) fn look_at_wish(&mut self) {
        let (wish, interruption) = {
            let books = self.engine.books();
            let build = books.builds.get(&self.build);
            let interruption = books.interrupted.get(&self.machine).cloned();
            (build.and_then(|build| build.cancel.clone()), interruption)
        };
        if let Some(why) = interruption.filter(|_| wish.is_none()) {
            self.stop_all(Outcome::Interrupted(why.clone()), why);
            return;
        }
        let Some(cancel) = wish else { return };
        let outcome = match cancel.result {
            BuildResult::TimedOut => Outcome::TimedOut,
            BuildResult::Success
            | BuildResult::Failure
            | BuildResult::Canceled
            | BuildResult::InfraFailure
            | BuildResult::Skipped
            | BuildResult::OverBudget => Outcome::Canceled,
        };
        self.stop_all(outcome, cancel.reason);
    }

    /// Stops what has run for too long; gives up on a machine that does not stop it.
    pub(super) fn look_at_times(&mut self) -> Option<End> {
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
    pub(super) fn step_deadline(&self) -> Option<(u32, Timestamp)> {
        let step = self.steps.last().filter(|step| step.ended_at.is_none())?;
        let timeout = self.spec_step(step.index)?.timeout?;
        (self.overdue_step != Some(step.index)).then(|| (step.index, step.started_at + timeout))
    }

    /// When a stop that was asked for must have worked.
    pub(super) fn stop_patience(&self) -> Span {
        let grace = self.engine.parts.settings.stop_grace;
        Span::from_micros(grace.micros() + STOP_PATIENCE.micros())
    }

    pub(super) fn stop_all(&mut self, outcome: Outcome, verdict: String) {
        if self.stopping.is_none() {
            self.stopping = Some(Stopping {
                outcome,
                verdict,
                since: self.now(),
            });
            self.ask_stop(Stop::Attempt);
        }
    }

    pub(super) fn ask_stop(&self, what: Stop) {
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
    pub(super) fn next_timer(&self) -> Timestamp {
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
}
