//! What an engine sees of the simulated machines.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use russh::keys::PrivateKey;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Host;
use super::machines::{CallTrouble, PublicKeys, SimulatedRemote};
use super::run::{Ended, Run as Model};
use super::shell::{self, Command};
use crate::model::{AttemptId, BuildSpec, MachineKeys, Secret, Span, Usage};
use crate::remote::{
    CommandOutput, Discarded, Notice, Probe, Rekey, Remote, RemoteError, Run, RunEvent, Session,
    Stop, Target,
};

/// Events that wait for a slow reader at most, as in a connection's buffers.
const EVENTS: usize = 16;

/// A connection to one machine.
#[derive(Debug)]
struct Link {
    machines: SimulatedRemote,
    address: SocketAddr,
    /// The machine and its boot at the time of the login.
    host: Host,
    closed: CancellationToken,
}

/// Whether a call's answer arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Given,
    Lost,
}

#[async_trait]
impl Remote for SimulatedRemote {
    async fn connect(
        &self,
        target: &Target,
        _timeout: Span,
    ) -> Result<Arc<dyn Session>, RemoteError> {
        let address = target.endpoint.address;
        let Some(host) = self.ground.host(address) else {
            return Err(RemoteError::Unreachable {
                address: address.to_string(),
                detail: "connection refused".to_owned(),
            });
        };
        let replaced = self.rekeyed(&host);
        let presented = match &replaced {
            Some(keys) => &keys.host,
            None => &host.host_public,
        };
        if *presented != target.host_public {
            return Err(RemoteError::WrongHostKey {
                address: address.to_string(),
                presented: presented.clone(),
                pinned: target.host_public.clone(),
            });
        }
        let lets_in = match &replaced {
            Some(keys) => public_half(&target.client_private).as_ref() == Some(&keys.client),
            None => host.client_private == target.client_private,
        };
        if !lets_in {
            return Err(RemoteError::LoginRefused {
                address: address.to_string(),
                user: target.user.clone(),
            });
        }
        Ok(Arc::new(Link {
            machines: self.clone(),
            address,
            host,
            closed: self.link(address),
        }))
    }
}

/// The public key that belongs to a private one.
fn public_half(private: &Secret) -> Option<String> {
    let key = PrivateKey::from_openssh(private.expose()).ok()?;
    key.public_key().to_openssh().ok()
}

impl Link {
    /// Whether the machine that was logged in to is still there.
    fn stands(&self) -> bool {
        let there = self.machines.ground.host(self.address);
        let same = |host: Host| host.name == self.host.name && host.boot == self.host.boot;
        !self.closed.is_cancelled() && there.is_some_and(same)
    }

    fn lost(&self, operation: &'static str) -> RemoteError {
        self.closed.cancel();
        RemoteError::Disconnected {
            operation,
            detail: "connection reset".to_owned(),
        }
    }

    /// Begins a call, which may be lost on its way.
    fn call(&self, operation: &'static str) -> Result<Answer, RemoteError> {
        if !self.stands() {
            return Err(self.lost(operation));
        }
        match self.machines.next_call() {
            None => Ok(Answer::Given),
            Some(CallTrouble::LostAfter) => Ok(Answer::Lost),
            Some(CallTrouble::LostBefore) => Err(self.lost(operation)),
        }
    }

    /// Ends a call whose effect is there.
    fn answer(&self, answer: Answer, operation: &'static str) -> Result<(), RemoteError> {
        match answer {
            Answer::Given => Ok(()),
            Answer::Lost => Err(self.lost(operation)),
        }
    }

    fn watch(&self, attempt: AttemptId, from: u64) -> Run {
        let (sender, events) = mpsc::channel(EVENTS);
        let follower = Follower {
            machines: self.machines.clone(),
            address: self.address,
            host: self.host.clone(),
            closed: self.closed.clone(),
            attempt,
            from,
        };
        tokio::spawn(follower.follow(sender));
        Run { events }
    }
}

#[async_trait]
impl Session for Link {
    async fn command(
        &self,
        command: &str,
        _stdin: Bytes,
        _timeout: Span,
    ) -> Result<CommandOutput, RemoteError> {
        const OPERATION: &str = "running a command";
        let answer = self.call(OPERATION)?;
        let mut output = CommandOutput {
            status: Some(0),
            stdout: Vec::new(),
            stderr: Vec::new(),
        };
        for command in shell::parse(command) {
            match command {
                Command::Print(bytes) => output.stdout.extend(bytes),
                Command::Sleep(span) => self.machines.ground.sleep(span).await,
                Command::Exit(code) => {
                    output.status = u32::try_from(code).ok();
                    break;
                }
                Command::Stubborn | Command::Fill(..) | Command::Litter(_) => {}
                Command::Uptime(span) => {
                    if self.machines.ground.now() < self.host.up_since + span {
                        output.status = Some(1);
                        break;
                    }
                }
            }
        }
        self.answer(answer, OPERATION)?;
        Ok(output)
    }

    async fn prepare(&self, lease: Span) -> Result<Usage, RemoteError> {
        const OPERATION: &str = "preparing the machine";
        let answer = self.call(OPERATION)?;
        self.machines.ground.extend_lease(self.address, lease);
        self.answer(answer, OPERATION)?;
        Ok(self.machines.usage(&self.host))
    }

    async fn start(
        &self,
        attempt: AttemptId,
        build: Arc<BuildSpec>,
        from: u64,
    ) -> Result<Run, RemoteError> {
        const OPERATION: &str = "starting the build";
        let answer = self.call(OPERATION)?;
        self.machines.begin(&self.host, attempt, &build);
        self.answer(answer, OPERATION)?;
        Ok(self.watch(attempt, from))
    }

    async fn follow(&self, attempt: AttemptId, from: u64) -> Result<Run, RemoteError> {
        const OPERATION: &str = "following the build";
        let answer = self.call(OPERATION)?;
        self.answer(answer, OPERATION)?;
        Ok(self.watch(attempt, from))
    }

    async fn probe(&self, attempt: AttemptId) -> Result<Probe, RemoteError> {
        const OPERATION: &str = "probing the build";
        let answer = self.call(OPERATION)?;
        self.answer(answer, OPERATION)?;
        let boot = self.host.boot;
        let probe = self.machines.look(&self.host, attempt, |run| {
            if run.boot == boot {
                run.probe()
            } else {
                Probe::Rebooted(run.length())
            }
        });
        Ok(probe.unwrap_or(Probe::Absent))
    }

    async fn stop(&self, attempt: AttemptId, what: Stop, grace: Span) -> Result<(), RemoteError> {
        const OPERATION: &str = "stopping the build";
        let answer = self.call(OPERATION)?;
        let now = self.machines.ground.now();
        let due = self.machines.look(&self.host, attempt, |run| {
            run.stop(what, grace, now);
            run.due()
        });
        // A step that ignores the polite stop is forced after the grace.
        if let Some(due) = due.flatten().filter(|due| due.since(now) <= grace) {
            self.machines.ground.sleep(due.since(now)).await;
        }
        self.answer(answer, OPERATION)
    }

    async fn discard(&self, attempt: AttemptId) -> Result<Discarded, RemoteError> {
        const OPERATION: &str = "removing the build";
        let answer = self.call(OPERATION)?;
        let discarded = self.machines.discard(&self.host, attempt);
        self.answer(answer, OPERATION)?;
        Ok(discarded)
    }

    async fn extend_lease(&self, lease: Span) -> Result<(), RemoteError> {
        const OPERATION: &str = "extending the lease";
        let answer = self.call(OPERATION)?;
        self.machines.ground.extend_lease(self.address, lease);
        self.answer(answer, OPERATION)
    }

    async fn rekey(&self, new: &MachineKeys) -> Result<Rekey, RemoteError> {
        const OPERATION: &str = "changing the keys";
        let answer = self.call(OPERATION)?;
        let keys = PublicKeys {
            host: new.host_public.clone(),
            client: new.client_public.clone(),
        };
        // The machine goes through with it, whatever becomes of the session.
        let (rekeyed, done) = self.machines.rekey(&self.host, keys);
        let ground = &self.machines.ground;
        ground.sleep(done.since(ground.now())).await;
        if !self.stands() {
            return Err(self.lost(OPERATION));
        }
        self.answer(answer, OPERATION)?;
        Ok(rekeyed)
    }

    async fn await_notice(
        &self,
        _metadata_url: &str,
        _interval: Span,
    ) -> Result<Notice, RemoteError> {
        const OPERATION: &str = "watching for interruption";
        let mut notices = self.machines.notices();
        loop {
            if !self.stands() {
                return Err(self.lost(OPERATION));
            }
            if let Some(notice) = self.machines.notice(&self.host) {
                return Ok(notice);
            }
            tokio::select! {
                () = self.closed.cancelled() => {}
                _ = notices.changed() => {}
            }
        }
    }

    fn is_open(&self) -> bool {
        !self.closed.is_cancelled()
    }

    async fn close(&self) {
        self.closed.cancel();
    }
}

/// Tells a reader what an attempt does, as long as the connection stands.
struct Follower {
    machines: SimulatedRemote,
    address: SocketAddr,
    host: Host,
    closed: CancellationToken,
    attempt: AttemptId,
    from: u64,
}

/// What a follower sees at one moment.
struct Sight {
    events: Vec<RunEvent>,
    last: Option<RunEvent>,
    pause: Span,
    interfered: watch::Receiver<u64>,
}

impl Follower {
    async fn follow(mut self, sender: mpsc::Sender<RunEvent>) {
        let closed = self.closed.clone();
        loop {
            let Some(mut sight) = self.look() else {
                self.disconnect(&sender).await;
                return;
            };
            for event in sight.events {
                self.from = offset(&event).unwrap_or(self.from);
                tokio::select! {
                    biased;
                    () = closed.cancelled() => {
                        self.disconnect(&sender).await;
                        return;
                    }
                    sent = sender.send(event) => if sent.is_err() { return },
                }
            }
            if let Some(last) = sight.last {
                // Nobody listens any more: then nobody needs to know.
                let _ = sender.send(last).await;
                return;
            }
            tokio::select! {
                () = closed.cancelled() => {}
                _ = sight.interfered.changed() => {}
                () = self.machines.ground.sleep(sight.pause) => {}
                () = sender.closed() => return,
            }
        }
    }

    async fn disconnect(&self, sender: &mpsc::Sender<RunEvent>) {
        let error = RemoteError::Disconnected {
            operation: "following the build",
            detail: "connection reset".to_owned(),
        };
        // Nobody listens any more: then nobody needs to know.
        let _ = sender.send(RunEvent::Disconnected { error }).await;
    }

    /// What there is to tell now; none when the connection or the machine is gone.
    fn look(&self) -> Option<Sight> {
        let there = self.machines.ground.host(self.address)?;
        let is_same = there.name == self.host.name && there.boot == self.host.boot;
        if self.closed.is_cancelled() || !is_same {
            return None;
        }
        let now = self.machines.ground.now();
        self.machines.look(&self.host, self.attempt, |run| Sight {
            events: run.events_after(self.from),
            last: last(run, self.host.boot),
            pause: run.due().map_or(Span::ZERO, |due| due.since(now)),
            interfered: run.interfered.subscribe(),
        })
    }
}

/// The event that ends a run, if it is over.
fn last(run: &Model, boot: u32) -> Option<RunEvent> {
    let machine = run.length();
    let lost = |rebooted| Some(RunEvent::Lost { machine, rebooted });
    match run.ended() {
        Some(Ended::Done(code)) => Some(RunEvent::Done { code, machine }),
        Some(Ended::Lost) => lost(false),
        None if run.boot != boot => lost(true),
        None => None,
    }
}

const fn offset(event: &RunEvent) -> Option<u64> {
    match event {
        RunEvent::StepBegan { machine, .. }
        | RunEvent::Log { machine, .. }
        | RunEvent::StepEnded { machine, .. }
        | RunEvent::Done { machine, .. }
        | RunEvent::Lost { machine, .. } => Some(*machine),
        RunEvent::Disconnected { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, MachineId, Timestamp};
    use crate::remote::machine_keys;
    use crate::remote::simulated::Ground;

    /// One machine that is always there.
    #[derive(Debug)]
    struct One(MachineKeys);

    #[async_trait]
    impl Ground for One {
        fn now(&self) -> Timestamp {
            Timestamp::default()
        }

        async fn sleep(&self, _span: Span) {}

        fn host(&self, _address: SocketAddr) -> Option<Host> {
            Some(Host {
                name: "one".to_owned(),
                host_public: self.0.host_public.clone(),
                client_private: self.0.client_private.clone(),
                boot: 1,
                up_since: Timestamp::default(),
            })
        }

        fn extend_lease(&self, _address: SocketAddr, _lease: Span) {}
    }

    fn keys(seed: u8) -> MachineKeys {
        machine_keys(MachineId::from_bits(1), &[seed; 32], &[seed + 1; 32]).unwrap()
    }

    fn target(keys: &MachineKeys) -> Target {
        Target {
            endpoint: Endpoint {
                address: SocketAddr::from(([127, 0, 0, 1], 22)),
            },
            user: "builder".to_owned(),
            client_private: keys.client_private.clone(),
            host_public: keys.host_public.clone(),
            jump: None,
        }
    }

    #[tokio::test]
    async fn changed_keys_let_in_and_old_ones_do_not() {
        let (old, new) = (keys(1), keys(5));
        let machines = SimulatedRemote::new(Arc::new(One(old.clone())));
        let login = async |keys: &MachineKeys| machines.connect(&target(keys), Span::ZERO).await;
        let session = login(&old).await.unwrap();
        let rekey = || session.rekey(&new);
        machines.answer_rekeys(Rekey::NotAllowed);
        assert_eq!(rekey().await, Ok(Rekey::NotAllowed));
        assert!(login(&old).await.is_ok());
        machines.answer_rekeys(Rekey::Done);
        assert_eq!(rekey().await, Ok(Rekey::Done));
        assert!(login(&new).await.is_ok());
        let error = login(&old).await.map(drop).unwrap_err();
        assert!(matches!(error, RemoteError::WrongHostKey { .. }), "{error}");
        let mixed = MachineKeys {
            host_public: new.host_public.clone(),
            ..old
        };
        let error = login(&mixed).await.map(drop).unwrap_err();
        assert!(matches!(error, RemoteError::LoginRefused { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_notice_reaches_who_waits() {
        let keys = keys(1);
        let machines = SimulatedRemote::new(Arc::new(One(keys.clone())));
        let target = target(&keys);
        let session = machines.connect(&target, Span::ZERO).await.unwrap();
        let notice = Notice {
            action: "terminate".to_owned(),
            at: Timestamp::from_micros(5),
        };
        let (heard, ()) = tokio::join!(session.await_notice("", Span::ZERO), async {
            tokio::task::yield_now().await;
            assert!(machines.give_notice(target.endpoint.address, notice.clone()));
        });
        assert_eq!(heard, Ok(notice));
        session.close().await;
        let error = session.await_notice("", Span::ZERO).await.unwrap_err();
        assert!(matches!(error, RemoteError::Disconnected { .. }), "{error}");
    }
}
