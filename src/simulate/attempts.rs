//! What the engine's tasks do with attempts: begin, look, stop, end.

use crate::books::{MachineAfter, end_attempt, not_tidied, step_began};
use crate::model::{
    Attempt, AttemptId, AttemptState, BuildResult, Left, MachineId, MachineState, Outcome, Reason,
    Span, StepRecord, Timestamp,
};

use super::cloud::{InstanceNumber, Run, RunEnd, number_of};
use super::coverage::Situation;
use super::events::Task;
use super::run::SimulationError;
use super::simulation::Simulation;

type Done = Result<(), SimulationError>;

/// How long the processes of a build take to end when they are stopped.
const STOPS: Span = Span::from_secs(1);
/// How long they are waited for: the grace between asking and forcing, and a minute.
const STOP_PATIENCE: Span = Span::from_secs(70);
/// A machine that has not said for so long that nothing is left of a build is ended.
const TIDY_PATIENCE: Span = Span::from_secs(60);
/// Tidying up takes this long at most, where it takes long.
const LONGEST_TIDY: Span = Span::from_secs(75);
/// What the driver of an attempt knows of its end before it comes.
pub(super) type Stopping = (Outcome, String);

impl Simulation<'_> {
    /// Begins an attempt on a machine that is up, or takes it up again.
    pub(super) fn drive(&mut self, id: AttemptId) {
        self.after(self.scenario.cloud.start, Task::Begin(id));
    }

    /// Starts a build's processes, unless they run already.
    pub(super) fn begin_attempt(&mut self, id: AttemptId) -> Done {
        let Some((attempt, number)) = self.attempt(id) else {
            return Ok(());
        };
        let is_begun = matches!(attempt.state, AttemptState::Running { .. });
        let build = attempt.build;
        if !is_begun {
            let run = self.draw_run(build);
            // One that cannot be reached is found by the sweep.
            if self.cloud.start(number, id, run, self.at).is_none() {
                return Ok(());
            }
            let step = StepRecord {
                index: 0,
                started_at: self.now(),
                ended_at: None,
                exit_code: None,
                log_start: 0,
                log_end: None,
            };
            self.write(|draft| step_began(draft, id, vec![step]))?;
        }
        self.look_over(id)
    }

    fn attempt(&self, id: AttemptId) -> Option<(&Attempt, InstanceNumber)> {
        let attempt = self.books.attempts.get(&id)?;
        let machine = self.books.machines.get(&attempt.machine)?;
        Some((attempt, number_of(machine.state.instance()?)))
    }

    /// How the processes of a build will end if they are left alone.
    fn draw_run(&mut self, build: crate::model::BuildId) -> Run {
        let faults = self.scenario.faults;
        let work = self.record.work_of(build);
        let work = work.and_then(|place| self.scenario.work.get(place));
        let run = work.map_or(Span::ZERO, |work| work.run);
        let end = if self.dice.chance(faults.endless_per_mille) {
            RunEnd::Never
        } else if self.dice.chance(faults.reboots_per_mille) {
            RunEnd::Reboot
        } else if self.dice.chance(faults.failures_per_mille) {
            RunEnd::Exits(1)
        } else {
            RunEnd::Exits(0)
        };
        Run {
            ends_at: self.at + run,
            end,
        }
    }

    /// Ends an attempt whose processes are over, stops one that should not go on, or looks again when
    /// there is something to see.
    pub(super) fn look_over(&mut self, id: AttemptId) -> Done {
        let Some((attempt, number)) = self.attempt(id) else {
            return Ok(());
        };
        // One whose instance is gone is found by the sweep.
        let Some(run) = self.cloud.run(number, id) else {
            return Ok(());
        };
        let overdue_at = self.overdue_at(attempt);
        if run.ends_at <= self.at {
            match run.end {
                RunEnd::Exits(code) => {
                    let (outcome, verdict) = self.judge(id, code);
                    return self.attempt_over(id, &outcome, &verdict, MachineAfter::Idle);
                }
                RunEnd::Reboot => {
                    self.coverage.note(Situation::Rebooted);
                    for other in self.cloud.reboot(number, id, self.at) {
                        self.after(Span::ZERO, Task::LookOver(other));
                    }
                    let why = "the machine was rebooted under it";
                    let after = MachineAfter::Drain(Reason::Failed(why.to_owned()));
                    let outcome = Outcome::Infrastructure(why.to_owned());
                    return self.attempt_over(id, &outcome, why, after);
                }
                RunEnd::Never => {}
            }
        }
        if self.stopping.contains_key(&id) {
            return Ok(());
        }
        self.ask_stop(id);
        if self.now() >= overdue_at {
            let verdict = "ran longer than its timeout".to_owned();
            self.stop(id, (Outcome::TimedOut, verdict));
        }
        if !self.stopping.contains_key(&id) {
            let overdue_at = overdue_at - self.ahead;
            let at = match run.end {
                RunEnd::Never => overdue_at,
                RunEnd::Exits(_) | RunEnd::Reboot => run.ends_at.min(overdue_at),
            };
            self.task_at(at.max(self.at), Task::LookOver(id));
        }
        Ok(())
    }

    /// When an attempt has run for too long, by the orchestrator's clock.
    fn overdue_at(&self, attempt: &Attempt) -> Timestamp {
        let began = match attempt.state {
            AttemptState::Running { since } => since,
            AttemptState::Bound | AttemptState::Finished { .. } => self.now(),
        };
        let build = self.books.builds.get(&attempt.build);
        began + build.map_or(Span::ZERO, |build| build.spec.timeout)
    }

    /// Stops an attempt if somebody asked for its build's end, or its machine is taken back.
    pub(super) fn ask_stop(&mut self, id: AttemptId) {
        let Some(attempt) = self.books.attempts.get(&id) else {
            return;
        };
        let wish = self.books.builds.get(&attempt.build);
        let wish = wish.and_then(|build| build.cancel.clone());
        let interruption = self.books.interrupted.get(&attempt.machine).cloned();
        match (wish, interruption) {
            (Some(cancel), _) => {
                let outcome = if cancel.result == BuildResult::TimedOut {
                    Outcome::TimedOut
                } else {
                    Outcome::Canceled
                };
                self.stop(id, (outcome, cancel.reason));
            }
            (None, Some(why)) => self.stop(id, (Outcome::Interrupted(why.clone()), why)),
            (None, None) => {}
        }
    }

    fn stop(&mut self, id: AttemptId, stopping: Stopping) {
        if self.stopping.contains_key(&id) {
            return;
        }
        self.stopping.insert(id, stopping);
        let is_stubborn = self.dice.chance(self.scenario.faults.stubborn_per_mille);
        if is_stubborn {
            self.stubborn.insert(id);
        }
        let takes = if is_stubborn { STOP_PATIENCE } else { STOPS };
        self.after(takes, Task::Stopped(id));
    }

    /// Ends an attempt that was stopped, with the machine if its processes would not end.
    pub(super) fn stopped(&mut self, id: AttemptId) -> Done {
        let Some((outcome, verdict)) = self.stopping.get(&id).cloned() else {
            return Ok(());
        };
        // One whose instance is gone is found by the sweep.
        let Some((_, number)) = self.attempt(id) else {
            return Ok(());
        };
        if self.cloud.usable_at(number).is_none() {
            return Ok(());
        }
        let after = if self.stubborn.remove(&id) {
            self.coverage.note(Situation::StopSurvived);
            let why = "its processes did not end when they were stopped".to_owned();
            MachineAfter::Drain(Reason::Failed(why))
        } else {
            MachineAfter::Idle
        };
        self.attempt_over(id, &outcome, &verdict, after)
    }

    /// How an exit code is to be read.
    fn judge(&mut self, id: AttemptId, code: i32) -> Stopping {
        let is_done = |outcome: &Outcome| code == 0 && matches!(outcome, Outcome::Interrupted(_));
        let stopping = self.stopping.remove(&id);
        if let Some(stopping) = stopping.filter(|(outcome, _)| !is_done(outcome)) {
            return stopping;
        }
        let verdict = match code {
            0 => String::new(),
            code => format!("exited with {code}"),
        };
        (Outcome::Exited(code), verdict)
    }

    fn attempt_over(
        &mut self,
        id: AttemptId,
        outcome: &Outcome,
        verdict: &str,
        after: MachineAfter,
    ) -> Done {
        let Some((attempt, number)) = self.attempt(id) else {
            return Ok(());
        };
        let machine = attempt.machine;
        self.write(|draft| end_attempt(draft, id, outcome, verdict, after))?;
        self.prove_clean(machine, id, number)?;
        self.stopping.remove(&id);
        self.stubborn.remove(&id);
        let state = self.books.machines.get(&machine).map(|m| &m.state);
        if matches!(state, Some(MachineState::Draining { .. })) {
            self.end_now(machine);
        }
        self.nudge();
        Ok(())
    }

    /// Has a machine tidied up after an attempt: at once, after a while, or in vain.
    pub(super) fn prove_clean(
        &mut self,
        machine: MachineId,
        attempt: AttemptId,
        number: InstanceNumber,
    ) -> Done {
        if !self.books.is_unproved(machine, attempt) {
            self.cloud.tidy(number, attempt);
            return Ok(());
        }
        if !self.dice.chance(self.scenario.faults.slow_tidies_per_mille) {
            return self.tidy(machine, attempt);
        }
        self.coverage.note(Situation::SlowTidy);
        let takes = self.dice.up_to(LONGEST_TIDY);
        if takes < TIDY_PATIENCE {
            self.after(takes, Task::Tidy(machine, attempt));
        } else {
            self.after(TIDY_PATIENCE, Task::NotTidied(machine, attempt));
        }
        Ok(())
    }

    /// A machine says what is left of an attempt, and how full it is.
    pub(super) fn tidy(&mut self, machine: MachineId, attempt: AttemptId) -> Done {
        let row = self.books.machines.get(&machine);
        let number = row.and_then(|row| row.state.instance()).map(number_of);
        let Some(number) = number.filter(|_| self.books.is_unproved(machine, attempt)) else {
            return Ok(());
        };
        let (left, usage) = self.cloud.tidy(number, attempt);
        self.watch.tidied(machine, attempt, left, usage);
        self.books.tidied(machine, attempt, usage);
        self.nudge();
        match left {
            Some(left) => self.not_tidied((machine, attempt), left),
            None => Ok(()),
        }
    }

    /// Something is left of an attempt, or nobody knows.
    pub(super) fn not_tidied(&mut self, of: (MachineId, AttemptId), left: Left) -> Done {
        if !self.books.machines.contains_key(&of.0) {
            return Ok(());
        }
        self.write(|draft| {
            not_tidied(draft, of, left, "");
            Ok(())
        })?;
        self.nudge();
        Ok(())
    }
}
