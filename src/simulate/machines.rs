//! What the engine's tasks do with machines: launch, bring up, wake, let sleep, end, sweep.

use crate::books::{
    AfterNotice, Loss, asleep, boot_failed, gone, interrupted, is_coming, launched, lost,
    not_asleep, ready, record_launch, settle, sleep_on,
};
use crate::model::{
    Launch, LaunchId, Machine, MachineId, MachineState, Offering, Secret, SleepKind, Span,
    Timestamp,
};
use crate::provider::{ErrorKind, LaunchAnswer, Origin, ProviderError};

use super::cloud::{ANSWER, ANSWERED, ENDPOINT, InstanceNumber, Reply, number_of};
use super::coverage::Situation;
use super::events::{Gathered, Taken, Task};
use super::run::SimulationError;
use super::simulation::{FAILURES, INTERRUPTIONS, RESOLVES, Simulation};

type Done = Result<(), SimulationError>;

/// How soon a request is repeated that was not answered.
const AGAIN: Span = Span::from_secs(5);
/// Sweeps come this often.
const SWEEP: Span = Span::from_secs(10);
/// From this age on a launch is not sent again, but settled by what listings show.
const TOKEN_AGE: Span = Span::from_secs(3_600);
/// How soon a notice is heard: machines look every five seconds.
const HEARD: Span = Span::from_secs(5);

impl Simulation<'_> {
    /// Records a launch of what was gathered and is still wanted.
    pub(super) fn record_launch(&mut self, mut gathered: Gathered) -> Done {
        let machines = &self.books.machines;
        gathered.machines.retain(|id| {
            let machine = machines.get(id);
            machine.is_some_and(|m| matches!(m.state, MachineState::Intended { .. }))
        });
        let Some(first) = gathered.machines.first() else {
            return Ok(());
        };
        let Some(provider) = machines.get(first).map(|m| m.provider.clone()) else {
            return Ok(());
        };
        if gathered.machines.len() > 1 {
            self.coverage.note(Situation::SharedLaunch);
        }
        let now = self.now();
        let id = LaunchId::from_bits(self.ids.identity(now));
        let launch = Launch {
            id,
            provider,
            image: gathered.image,
            image_version: gathered.version,
            pools: gathered.offerings.iter().map(Offering::pool).collect(),
            machines: gathered.machines,
            token: String::new(),
            request: Secret::default(),
            at: now,
        };
        let keys = super::simulation::no_keys(MachineId::from_bits(id.bits()));
        self.write(|draft| Ok(record_launch(draft, launch, &keys)))?;
        self.after(ANSWER, Task::Send(id));
        Ok(())
    }

    /// Sends a recorded launch, and settles it if it is answered.
    pub(super) fn send(&mut self, id: LaunchId) -> Done {
        let Some(launch) = self.books.launches.get(&id).cloned() else {
            return Ok(());
        };
        let is_old = self.now().since(launch.at) > TOKEN_AGE;
        let reply = if is_old {
            match self.cloud.list_launch(&launch, self.at) {
                Some(instances) => {
                    self.coverage.note(Situation::SettledByListing);
                    Reply::Done(LaunchAnswer {
                        instances,
                        refusals: vec![unanswered()],
                    })
                }
                None => Reply::Lost,
            }
        } else {
            self.cloud.launch(&launch, self.at)
        };
        self.let_cloud_go_on();
        match reply {
            Reply::Lost => {
                self.coverage.note(Situation::LostReply);
                self.after(AGAIN, Task::Send(id));
                Ok(())
            }
            // It blames nobody, and is repeated.
            Reply::Refused(error) if error.kind == ErrorKind::Throttled => {
                self.note_refusal(error.kind);
                self.after(AGAIN, Task::Send(id));
                Ok(())
            }
            Reply::Refused(error) => self.settle(
                &launch,
                &LaunchAnswer {
                    instances: Vec::new(),
                    refusals: vec![error],
                },
            ),
            Reply::Done(answer) => self.settle(&launch, &answer),
        }
    }

    fn settle(&mut self, launch: &Launch, answer: &LaunchAnswer) -> Done {
        let (got, wanted) = (answer.instances.len(), launch.machines.len());
        if (1..wanted).contains(&got) {
            self.coverage.note(Situation::PartialFill);
        }
        for refusal in &answer.refusals {
            self.note_refusal(refusal.kind);
        }
        let up = self.write(|draft| settle(draft, launch, answer))?;
        let now = self.now();
        self.watch.refused(launch, &answer.refusals, now);
        self.cloud.forget(Origin::Launch(launch.id));
        for id in up {
            self.look_up_in_time(id);
        }
        self.nudge();
        Ok(())
    }

    fn note_refusal(&mut self, kind: ErrorKind) {
        self.coverage.note(match kind {
            ErrorKind::Quota => Situation::RefusedForQuota,
            ErrorKind::Address => Situation::RefusedForAddress,
            ErrorKind::Throttled => Situation::Throttled,
            ErrorKind::Config => Situation::RefusedAsItIs,
            ErrorKind::Auth => Situation::Forbidden,
            // Builds that wait for capacity, and launches settled by listings, are noted there.
            ErrorKind::PoolEmpty | ErrorKind::Unknown => return,
        });
    }

    /// Brings a machine up that is launched by itself, that was launched, or that is to be woken.
    pub(super) fn bring_up(&mut self, id: MachineId) {
        let state = self.books.machines.get(&id).map(|machine| &machine.state);
        match state {
            Some(MachineState::Intended { .. }) => self.after(ANSWERED, Task::Launch(id)),
            Some(MachineState::Waking { .. }) => self.after(ANSWERED, Task::Wake(id)),
            Some(MachineState::Booting { .. }) => self.look_up_in_time(id),
            Some(
                MachineState::Idle { .. }
                | MachineState::Busy { .. }
                | MachineState::FallingAsleep { .. }
                | MachineState::Asleep { .. }
                | MachineState::Draining { .. }
                | MachineState::Gone { .. },
            )
            | None => {}
        }
    }

    /// Launches a machine by itself.
    pub(super) fn launch_one(&mut self, id: MachineId) -> Done {
        let Some(machine) = self.books.machines.get(&id).filter(|m| is_coming(&m.state)) else {
            return Ok(());
        };
        if self.now() >= self.deadline(machine) {
            return self.boot_failed(id, "the launch was not answered");
        }
        let reply = self.cloud.launch_one(machine, self.at);
        self.let_cloud_go_on();
        match reply {
            Reply::Lost => {
                self.coverage.note(Situation::LostReply);
                self.after(AGAIN, Task::Launch(id));
                Ok(())
            }
            Reply::Refused(error) if error.kind == ErrorKind::Throttled => {
                self.after(AGAIN, Task::Launch(id));
                Ok(())
            }
            Reply::Refused(error) => {
                self.cloud.forget(Origin::Machine(id));
                self.boot_failed(id, &format!("launch failed: {error}"))
            }
            Reply::Done(instance) => {
                self.write(|draft| launched(draft, id, &instance.id))?;
                self.look_up_in_time(id);
                Ok(())
            }
        }
    }

    /// Asks for the start of a machine that is asleep.
    pub(super) fn wake(&mut self, id: MachineId) -> Done {
        let Some(machine) = self.books.machines.get(&id) else {
            return Ok(());
        };
        let MachineState::Waking { instance, .. } = &machine.state else {
            return Ok(());
        };
        let (number, pool) = (number_of(instance), machine.pool());
        match self.cloud.wake(number, &pool, self.at) {
            Reply::Lost => {
                if self.now() >= self.deadline(machine) {
                    return self.boot_failed(id, "not woken: the provider does not answer");
                }
                self.after(AGAIN, Task::Wake(id));
                Ok(())
            }
            Reply::Refused(error) => {
                let is_for_good = error.kind == ErrorKind::Config;
                self.coverage.note(if is_for_good {
                    Situation::NeverWoken
                } else {
                    Situation::WakeRefused
                });
                self.write(|draft| sleep_on(draft, id, &error, is_for_good))?;
                if is_for_good {
                    self.end_now(id);
                }
                self.nudge();
                Ok(())
            }
            Reply::Done(()) => {
                self.look_up_in_time(id);
                Ok(())
            }
        }
    }

    /// Looks at a machine on its way up when it is up, or when its time is.
    fn look_up_in_time(&mut self, id: MachineId) {
        let Some(machine) = self.books.machines.get(&id) else {
            return;
        };
        let instance = machine.state.instance().map(number_of);
        let deadline = self.deadline(machine) - self.ahead;
        let usable = instance.and_then(|number| self.cloud.usable_at(number));
        let at = usable.map_or(deadline, |at| at.min(deadline)).max(self.at);
        self.task_at(at, Task::LookUp(id));
    }

    /// When a machine must be up, by the orchestrator's clock. What a recorded launch took to be
    /// answered is no fault of the machine.
    fn deadline(&self, machine: &Machine) -> Timestamp {
        let key = (machine.image.clone(), machine.image_version);
        let image = self.books.images.get(&key);
        let timeout = image.map_or(Span::ZERO, |image| image.spec.boot_timeout);
        let is_answered = self.scenario.cloud.has_fleet && machine.state.instance().is_some();
        let is_waking = matches!(machine.state, MachineState::Waking { .. });
        let begun = if is_answered || is_waking {
            machine.since
        } else {
            machine.created_at
        };
        begun + timeout
    }

    /// Opens a machine that is up; gives up on one whose time is.
    pub(super) fn look_up(&mut self, id: MachineId) -> Done {
        let Some(machine) = self.books.machines.get(&id).filter(|m| is_coming(&m.state)) else {
            return Ok(());
        };
        let Some(number) = machine.state.instance().map(number_of) else {
            return Ok(());
        };
        let is_up = |at| at <= self.at;
        if self.cloud.usable_at(number).is_some_and(is_up) {
            let name = machine.image.clone();
            let attempts = self.write(|draft| {
                let attempts = ready(draft, id, ENDPOINT)?;
                draft.books.launch_worked(&name);
                Ok(attempts)
            })?;
            if attempts.is_empty() {
                self.nudge();
            }
            for attempt in attempts {
                self.drive(attempt);
            }
            return Ok(());
        }
        if self.now() >= self.deadline(machine) {
            self.coverage.note(Situation::NeverReady);
            return self.boot_failed(id, "not ready in time");
        }
        self.look_up_in_time(id);
        Ok(())
    }

    fn boot_failed(&mut self, id: MachineId, why: &str) -> Done {
        self.coverage.note(Situation::BootFailed);
        self.write(|draft| boot_failed(draft, id, why, None, FAILURES))?;
        if self.has_unresolved_images() {
            // Another version may stand in now.
            self.after(RESOLVES, Task::Resolve);
        }
        self.end_now(id);
        self.nudge();
        Ok(())
    }

    /// Stops a machine.
    pub(super) fn fall_asleep(&mut self, id: MachineId) -> Done {
        /// A machine that is not asleep by then is ended.
        const PATIENCE: Span = Span::from_secs(15 * 60);
        let Some(machine) = self.books.machines.get(&id) else {
            return Ok(());
        };
        let MachineState::FallingAsleep { instance, how } = &machine.state else {
            return Ok(());
        };
        debug_assert!(*how != SleepKind::Never, "a machine sleeps in some way");
        let (instance, since) = (instance.clone(), machine.since);
        let why = match self.cloud.sleep(number_of(&instance), self.at) {
            Reply::Done(at) => {
                self.task_at(at, Task::LookAsleep(id));
                return Ok(());
            }
            Reply::Lost if self.now().since(since) <= PATIENCE => {
                self.after(AGAIN, Task::LookAsleep(id));
                return Ok(());
            }
            Reply::Lost => "it did not stop in time".to_owned(),
            Reply::Refused(error) => error.to_string(),
        };
        self.coverage.note(Situation::NotAsleep);
        self.write(|draft| not_asleep(draft, id, instance, &why))?;
        self.end_now(id);
        Ok(())
    }

    /// Notes that a machine is asleep, or asks again.
    pub(super) fn look_asleep(&mut self, id: MachineId) -> Done {
        let Some(machine) = self.books.machines.get(&id) else {
            return Ok(());
        };
        let MachineState::FallingAsleep { instance, .. } = &machine.state else {
            return Ok(());
        };
        let is_past = |at| at <= self.at;
        if !self
            .cloud
            .asleep_at(number_of(instance))
            .is_some_and(is_past)
        {
            return self.fall_asleep(id);
        }
        let instance = instance.clone();
        self.coverage.note(Situation::FellAsleep);
        self.write(|draft| asleep(draft, id, instance))?;
        self.nudge();
        Ok(())
    }

    /// Begins to end a machine that is draining.
    pub(super) fn end_now(&mut self, id: MachineId) {
        self.after(Span::ZERO, Task::End(id));
    }

    /// Terminates a draining machine until it is proved gone.
    pub(super) fn end(&mut self, id: MachineId) -> Done {
        let Some(machine) = self.books.machines.get(&id) else {
            return Ok(());
        };
        let MachineState::Draining { instance, .. } = &machine.state else {
            return Ok(());
        };
        let launch = machine.launch.filter(|_| instance.is_none());
        if launch.is_some_and(|launch| self.books.launches.contains_key(&launch)) {
            // Its launch may still be answered: then its instance is known by name.
            self.coverage.note(Situation::GivenUpBeforeAnswer);
            self.after(AGAIN, Task::End(id));
            return Ok(());
        }
        let by_itself = || self.cloud.find(Origin::Machine(id));
        let number = instance.as_ref().map(number_of).or_else(by_itself);
        let gone_at = match number {
            Some(number) => self.cloud.terminate(number, self.at),
            None => Some(self.at),
        };
        match gone_at {
            None => {
                self.coverage.note(Situation::EndRepeated);
                self.after(AGAIN, Task::End(id));
                Ok(())
            }
            Some(at) if at > self.at => {
                self.task_at(at, Task::End(id));
                Ok(())
            }
            Some(_) => {
                self.write(|draft| gone(draft, id))?;
                if let Some(number) = number {
                    self.cloud.remove(number, self.at);
                }
                self.cloud.forget(Origin::Machine(id));
                self.nudge();
                Ok(())
            }
        }
    }

    /// An instance is to be taken back: its machine hears of it soon.
    pub(super) fn announced(&mut self, number: InstanceNumber) {
        if self.cloud.announce(number) {
            self.after(HEARD, Task::Hear(number));
        }
    }

    /// Draws the consequences of a notice.
    pub(super) fn hear(&mut self, number: InstanceNumber) -> Done {
        let Some((id, state)) = self.machine_of(number) else {
            return Ok(());
        };
        self.coverage.note(match state {
            "busy" => Situation::NoticeWhileBusy,
            "booting" => Situation::NoticeWhileBooting,
            _ => Situation::NoticeWhileIdle,
        });
        let why = "spot notice: it is taken back in two minutes";
        let after = self.write(|draft| Ok(interrupted(draft, id, why, INTERRUPTIONS)))?;
        match after {
            AfterNotice::Stop(attempts) => {
                for attempt in attempts {
                    self.ask_stop(attempt);
                }
            }
            AfterNotice::GiveUp => self.lose(id, &Loss::Reclaimed(why.to_owned()))?,
            AfterNotice::Known | AfterNotice::Nothing => {}
        }
        self.nudge();
        Ok(())
    }

    fn machine_of(&self, number: InstanceNumber) -> Option<(MachineId, &'static str)> {
        let is_it = |m: &&Machine| m.state.instance().map(number_of) == Some(number);
        let machine = self.books.machines.values().find(is_it)?;
        Some((machine.id, machine.state.word()))
    }

    /// An instance is taken from us: the next sweep sees it.
    pub(super) fn taken(&mut self, number: InstanceNumber, why: Taken) {
        // One that boots for longer than its boot takes has proved that it can.
        let is_late = self.cloud.usable_at(number).is_some_and(|at| at <= self.at);
        if why == Taken::Unbootable && is_late {
            return;
        }
        if self.cloud.take(number, why, self.at) {
            self.sweep_soon();
        }
    }

    /// Has the next sweep made, which comes at fixed times.
    pub(super) fn sweep_soon(&mut self) {
        let micros = u64::try_from(self.at.micros()).unwrap_or(0);
        let left = SWEEP.micros() - micros % SWEEP.micros();
        self.after(Span::from_micros(left), Task::Sweep);
    }

    /// Compares what the cloud lists with the books.
    pub(super) fn sweep(&mut self) -> Done {
        let ended = self.books.machines.values().filter_map(|machine| {
            let number = machine.state.instance().map(number_of)?;
            let is_ours = matches!(machine.state, MachineState::Draining { .. });
            let instance = self.cloud.ended(number, self.at)?;
            (!is_ours).then_some((machine.id, instance))
        });
        let ended: Vec<_> = ended.collect();
        for (id, instance) in ended {
            let Some(machine) = self.books.machines.get(&id) else {
                continue;
            };
            let situation = lost_in(&machine.state);
            if is_coming(&machine.state) && !instance.is_reclaimed {
                let why = instance.why.as_deref().unwrap_or("without a reason");
                self.boot_failed(id, &format!("its instance ended: {why}"))?;
            } else {
                self.coverage.note(if instance.is_reclaimed {
                    Situation::Reclaimed
                } else {
                    situation
                });
                self.lose(id, &Loss::of(&instance))?;
            }
        }
        Ok(())
    }

    fn lose(&mut self, id: MachineId, loss: &Loss) -> Done {
        self.write(|draft| lost(draft, id, loss, INTERRUPTIONS))?;
        self.end_now(id);
        self.nudge();
        Ok(())
    }
}

const fn lost_in(state: &MachineState) -> Situation {
    match state {
        MachineState::Busy { .. } => Situation::LostBusy,
        MachineState::Asleep { .. } | MachineState::FallingAsleep { .. } => Situation::LostAsleep,
        MachineState::Idle { .. } => Situation::LostIdle,
        MachineState::Intended { .. }
        | MachineState::Booting { .. }
        | MachineState::Waking { .. }
        | MachineState::Draining { .. }
        | MachineState::Gone { .. } => Situation::BootFailed,
    }
}

fn unanswered() -> ProviderError {
    ProviderError {
        operation: "settle an old launch",
        kind: ErrorKind::Unknown,
        message: "its answer was lost, and no instance of it is there".to_owned(),
        pools: Vec::new(),
    }
}
