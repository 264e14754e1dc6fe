//! The driver: sessions over russh's client. What is said to the machine is in `script`, how a run
//! is followed in `run`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use super::call::{Call, Heard};
use super::connection::Connection;
use super::jump::Jumps;
use super::run::{self, Opened};
use super::{
    CommandOutput, Discarded, Notice, Probe, Rekey, Remote, RemoteError, Run, Session, Stop,
    Target, notice, rekey, room, script,
};
use crate::model::{AttemptId, BuildSpec, MachineKeys, Span, Usage};

/// For calls that only look or write a line: a machine under full load answers in a second or two.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Removing a large work directory on a slow disk takes its time.
const DISCARD_TIMEOUT: Duration = Duration::from_mins(2);
/// What `dm_stop` may take beyond the grace: forcing, looking again, a slow machine.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// A dozen short programs, some of which read and check keys.
const REKEY_TIMEOUT: Duration = Duration::from_mins(1);
/// Starting an SSH server anew takes some 20 ms on an idle machine.
const RESTART_TIMEOUT: Duration = Duration::from_secs(20);
const RESTART_PAUSE: Duration = Duration::from_millis(50);
/// Kept of what a shell says while it prepares the machine.
const ANSWER_BYTES: usize = 64 * 1024;
/// For the second connection to a machine that has let us in once.
const SPARE_TIMEOUT: Duration = Duration::from_secs(20);

/// Opens sessions over SSH. Clones share their connections to jump hosts.
#[derive(Debug, Clone, Default)]
pub struct Ssh {
    jumps: Arc<Jumps>,
}

#[async_trait]
impl Remote for Ssh {
    async fn connect(
        &self,
        target: &Target,
        timeout: Span,
    ) -> Result<Arc<dyn Session>, RemoteError> {
        let main = Connection::open(target, &self.jumps, timeout.to_std()).await?;
        Ok(Arc::new(SshSession {
            link: Arc::new(Link {
                doors: Mutex::new(Doors {
                    known: target.clone(),
                    next: None,
                }),
                jumps: Arc::clone(&self.jumps),
                main,
                prepared: Mutex::new(None),
                spare: tokio::sync::Mutex::new(None),
                runs: AtomicUsize::new(0),
                listening: Mutex::new(HashMap::new()),
            }),
        }))
    }
}

/// A session; the runs that it follows share the link with it and outlive its handle.
#[derive(Debug)]
struct SshSession {
    link: Arc<Link>,
}

/// The connections to one machine.
pub(super) struct Link {
    doors: Mutex<Doors>,
    jumps: Arc<Jumps>,
    /// Carries the runs, and everything else while no run is followed.
    main: Connection,
    /// For everything else while a run is followed, and for the wait for a notice: when the reader
    /// of a run stalls, its connection stalls, and a stop must get through just then. Opened when
    /// first needed.
    spare: tokio::sync::Mutex<Option<Arc<Connection>>>,
    /// The shell that has prepared the machine and listens for the first run.
    prepared: Mutex<Option<Call>>,
    /// Runs that are followed.
    runs: AtomicUsize,
    /// The shells that have run an attempt and wait for the word to discard it.
    listening: Mutex<HashMap<AttemptId, Call>>,
}

/// How further connections are opened.
struct Doors {
    /// With the keys that are known to be in force.
    known: Target,
    /// With those that may be by now.
    next: Option<Target>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("main", &self.main)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Opens a shell for a run, with `script` as its first commands; it listens for more.
    pub(super) async fn open_run(
        &self,
        operation: &'static str,
        script: String,
    ) -> Result<Call, RemoteError> {
        let opening = self
            .main
            .exec(operation, script::SHELL, Bytes::from(script), false);
        match tokio::time::timeout(CALL_TIMEOUT, opening).await {
            Ok(channel) => channel.map(Call::new),
            Err(_) => Err(self.main.lost(operation, &"no answer")),
        }
    }

    /// The error for a failure of the main connection.
    pub(super) fn lost(&self, operation: &'static str, detail: &str) -> RemoteError {
        self.main.lost(operation, &detail)
    }

    pub(super) fn is_open(&self) -> bool {
        self.main.is_open()
    }

    pub(super) fn run_began(&self) {
        self.runs.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn run_ended(&self) {
        self.runs.fetch_sub(1, Ordering::Relaxed);
    }

    /// Opens a shell that puts the runner on the machine; it listens for more once that is done.
    async fn prepare(&self, lease: Option<Span>) -> Result<(Call, Usage), RemoteError> {
        const OPERATION: &str = "preparing the machine";
        let mut call = self.open_run(OPERATION, script::prepare(lease)).await?;
        let usage = tokio::time::timeout(CALL_TIMEOUT, self.until_ready(OPERATION, &mut call))
            .await
            .unwrap_or_else(|_| Err(self.main.lost(OPERATION, &"no answer in time")))?;
        Ok((call, usage))
    }

    async fn until_ready(
        &self,
        operation: &'static str,
        call: &mut Call,
    ) -> Result<Usage, RemoteError> {
        let (mut answer, mut complaints) = (Vec::new(), String::new());
        loop {
            match call.hear().await {
                // What a login shell prints of its own accord comes before.
                Heard::Output(bytes) if answer.len() < ANSWER_BYTES => {
                    answer.extend_from_slice(&bytes);
                    if answer.ends_with(b"\n")
                        && let Some(usage) = room::read_ready(&answer)
                    {
                        return Ok(usage);
                    }
                }
                Heard::Line(line) if complaints.len() < ANSWER_BYTES => {
                    complaints.push_str(&line);
                    complaints.push(' ');
                }
                Heard::Output(_) | Heard::Line(_) => {}
                Heard::Exited(status) => {
                    return Err(failed(operation, status, complaints.as_bytes()));
                }
                Heard::Closed => {
                    return Err(self.lost(operation, "the channel closed without a result"));
                }
            }
        }
    }

    fn take_prepared(&self) -> Option<Call> {
        self.prepared_lock().take()
    }

    fn prepared_lock(&self) -> MutexGuard<'_, Option<Call>> {
        self.prepared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the shell of a finished attempt for its `discard`.
    pub(super) fn keep_listening(&self, attempt: AttemptId, call: Call) {
        self.listening().insert(attempt, call);
    }

    fn listening(&self) -> MutexGuard<'_, HashMap<AttemptId, Call>> {
        self.listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn stop(
        &self,
        attempt: AttemptId,
        what: Stop,
        grace: Span,
    ) -> Result<(), RemoteError> {
        let timeout = grace.to_std().saturating_add(STOP_TIMEOUT);
        let script = script::stop(attempt, what, grace);
        self.call("stopping", script, timeout).await.map(drop)
    }

    /// Ends the log of an attempt whose steps are over, while an unknown process holds it open.
    pub(super) async fn release(&self, attempt: AttemptId) -> Result<(), RemoteError> {
        let script = script::release(attempt);
        self.call("ending a log", script, CALL_TIMEOUT)
            .await
            .map(drop)
    }

    /// Runs a script of ours that must succeed.
    async fn call(
        &self,
        operation: &'static str,
        script: String,
        timeout: Duration,
    ) -> Result<Vec<u8>, RemoteError> {
        let stdin = Bytes::from(script);
        let output = self
            .command(operation, script::SHELL, stdin, timeout)
            .await?;
        succeeded(operation, output)
    }

    async fn command(
        &self,
        operation: &'static str,
        command: &str,
        stdin: Bytes,
        timeout: Duration,
    ) -> Result<CommandOutput, RemoteError> {
        // The way through a jump host is long: whoever calls need not carry it.
        let talk = Box::pin(async {
            if self.runs.load(Ordering::Relaxed) == 0 {
                talk(&self.main, operation, command, stdin).await
            } else {
                let spare = self.spare().await?;
                talk(&spare, operation, command, stdin).await
            }
        });
        self.in_time(operation, timeout, talk).await
    }

    async fn in_time<T>(
        &self,
        operation: &'static str,
        timeout: Duration,
        talk: impl Future<Output = Result<T, RemoteError>>,
    ) -> Result<T, RemoteError> {
        tokio::time::timeout(timeout, talk)
            .await
            .unwrap_or_else(|_| Err(self.main.lost(operation, &"no answer in time")))
    }

    /// Changes the keys. On the main connection, even while a run is followed: it can wait for a
    /// stalled reader, and is not worth a login.
    async fn rekey(&self, new: &MachineKeys) -> Result<Rekey, RemoteError> {
        let known = self.doors().known.clone();
        let script = rekey::script(&known, new)?;
        let renewed = Target {
            client_private: new.client_private.clone(),
            host_public: new.host_public.clone(),
            ..known
        };
        self.doors().next = Some(renewed.clone());
        let operation = rekey::OPERATION;
        let talk = talk(&self.main, operation, script::SHELL, Bytes::from(script));
        let output = self.in_time(operation, REKEY_TIMEOUT, talk).await?;
        let rekeyed = rekey::read(&succeeded(operation, output)?)?;
        match rekeyed {
            Rekey::Done => {
                self.await_host_key(&renewed).await?;
                *self.doors() = Doors {
                    known: renewed,
                    next: None,
                };
            }
            Rekey::NotAllowed | Rekey::NotSupported => self.doors().next = None,
        }
        Ok(rekeyed)
    }

    /// Waits until the server presents another host key than it did: it takes milliseconds to start
    /// anew, in which it may present the old one or listen not at all.
    async fn await_host_key(&self, target: &Target) -> Result<(), RemoteError> {
        let deadline = Instant::now() + RESTART_TIMEOUT;
        loop {
            // At once it would only be told the old one.
            tokio::time::sleep(RESTART_PAUSE).await;
            match Connection::check_host_key(target, &self.jumps, RESTART_TIMEOUT).await {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => {}
            }
        }
    }

    fn doors(&self) -> MutexGuard<'_, Doors> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn spare(&self) -> Result<Arc<Connection>, RemoteError> {
        let mut spare = self.spare.lock().await;
        if let Some(open) = spare.as_ref().filter(|connection| connection.is_open()) {
            return Ok(Arc::clone(open));
        }
        let fresh = Arc::new(self.open_spare().await?);
        *spare = Some(Arc::clone(&fresh));
        Ok(fresh)
    }

    async fn open_spare(&self) -> Result<Connection, RemoteError> {
        let (known, next) = {
            let doors = self.doors();
            (doors.known.clone(), doors.next.clone())
        };
        match (
            Connection::open(&known, &self.jumps, SPARE_TIMEOUT).await,
            next,
        ) {
            // The keys are being changed just now, or were before the answer was lost.
            (
                Err(RemoteError::WrongHostKey { .. } | RemoteError::LoginRefused { .. }),
                Some(next),
            ) => Connection::open(&next, &self.jumps, SPARE_TIMEOUT).await,
            (opened, _) => opened,
        }
    }
}

async fn talk(
    connection: &Connection,
    operation: &'static str,
    command: &str,
    stdin: Bytes,
) -> Result<CommandOutput, RemoteError> {
    let call = Call::new(connection.exec(operation, command, stdin, true).await?);
    call.collect()
        .await
        .ok_or_else(|| connection.lost(operation, &"the channel closed without a result"))
}

/// What a script of ours printed, which must succeed.
fn succeeded(operation: &'static str, output: CommandOutput) -> Result<Vec<u8>, RemoteError> {
    match output.status {
        Some(0) => Ok(output.stdout),
        status => Err(failed(operation, status, &output.stderr)),
    }
}

fn failed(operation: &'static str, status: Option<u32>, stderr: &[u8]) -> RemoteError {
    let status = status.map_or_else(|| "a signal".to_owned(), |code| format!("status {code}"));
    let said = String::from_utf8_lossy(stderr);
    let said: String = said.trim().chars().take(300).collect();
    RemoteError::Protocol {
        operation,
        detail: format!("the shell ended with {status}: {said}"),
    }
}

#[async_trait]
impl Session for SshSession {
    async fn command(
        &self,
        command: &str,
        stdin: Bytes,
        timeout: Span,
    ) -> Result<CommandOutput, RemoteError> {
        let timeout = timeout.to_std();
        self.link
            .command("running a command", command, stdin, timeout)
            .await
    }

    async fn prepare(&self, lease: Span) -> Result<Usage, RemoteError> {
        let (shell, usage) = self.link.prepare(Some(lease)).await?;
        *self.link.prepared_lock() = Some(shell);
        Ok(usage)
    }

    async fn start(
        &self,
        attempt: AttemptId,
        build: Arc<BuildSpec>,
        from: u64,
    ) -> Result<Run, RemoteError> {
        const OPERATION: &str = "starting";
        let script = script::start(attempt, &build, from)?;
        if let Some(shell) = self.link.take_prepared()
            && shell.say(script.clone()).await.is_ok()
        {
            match run::follow(&self.link, attempt, from, shell, OPERATION).await {
                Ok(Opened::Run(run)) => return Ok(run),
                // Somebody ended that shell, or took the runner away: another one does as well.
                Ok(Opened::Unprepared | Opened::Absent) => {}
                Err(_) if self.link.is_open() => {}
                Err(error) => return Err(error),
            }
        }
        let opened = run::open(&self.link, attempt, from, script.clone(), OPERATION).await?;
        let Opened::Unprepared = opened else {
            return opened.into_run(OPERATION);
        };
        let (shell, _) = self.link.prepare(None).await?;
        shell
            .say(script)
            .await
            .map_err(|error| self.link.lost(OPERATION, &error.to_string()))?;
        run::follow(&self.link, attempt, from, shell, OPERATION)
            .await?
            .into_run(OPERATION)
    }

    async fn follow(&self, attempt: AttemptId, from: u64) -> Result<Run, RemoteError> {
        let script = script::follow(attempt, from);
        run::open(&self.link, attempt, from, script, "following")
            .await?
            .into_run("following")
    }

    async fn probe(&self, attempt: AttemptId) -> Result<Probe, RemoteError> {
        let operation = "probing";
        let stdin = Bytes::from(script::probe(attempt));
        let output = self
            .link
            .command(operation, script::SHELL, stdin, CALL_TIMEOUT)
            .await?;
        match output.status {
            // Without a runner nothing can have been started.
            Some(script::NO_RUNNER) => Ok(Probe::Absent),
            Some(0) => parse_probe(&output.stdout)
                .ok_or_else(|| failed(operation, Some(0), &output.stdout)),
            status => Err(failed(operation, status, &output.stderr)),
        }
    }

    async fn stop(&self, attempt: AttemptId, what: Stop, grace: Span) -> Result<(), RemoteError> {
        self.link.stop(attempt, what, grace).await
    }

    async fn discard(&self, attempt: AttemptId) -> Result<Discarded, RemoteError> {
        let listening = self.link.listening().remove(&attempt);
        if let Some(call) = listening
            && let Some(discarded) = told_to_discard(call).await
        {
            return Ok(discarded);
        }
        let operation = "discarding";
        let output = self.ask_to_discard(operation, attempt).await?;
        let output = if output.status == Some(script::NO_RUNNER) {
            // Somebody has removed all that is ours, which does not end a process.
            drop(self.link.prepare(None).await?);
            self.ask_to_discard(operation, attempt).await?
        } else {
            output
        };
        let said = String::from_utf8_lossy(&output.stderr);
        said.lines()
            .find_map(room::read_discarded)
            .ok_or_else(|| failed(operation, output.status, &output.stderr))
    }

    async fn extend_lease(&self, lease: Span) -> Result<(), RemoteError> {
        let script = script::lease(lease);
        self.link
            .call("extending the lease", script, CALL_TIMEOUT)
            .await
            .map(drop)
    }

    async fn rekey(&self, new: &MachineKeys) -> Result<Rekey, RemoteError> {
        self.link.rekey(new).await
    }

    async fn await_notice(
        &self,
        metadata_url: &str,
        interval: Span,
    ) -> Result<Notice, RemoteError> {
        let script = notice::script(metadata_url, interval)?;
        let spare = self.link.spare().await?;
        notice::watch(&spare, script).await
    }

    fn is_open(&self) -> bool {
        self.link.is_open()
    }

    async fn close(&self) {
        self.link.listening().clear();
        drop(self.link.take_prepared());
        self.link.main.close().await;
        if let Some(spare) = self.link.spare.lock().await.take() {
            spare.close().await;
        }
    }
}

impl SshSession {
    /// Discards an attempt from a shell of its own.
    async fn ask_to_discard(
        &self,
        operation: &'static str,
        attempt: AttemptId,
    ) -> Result<CommandOutput, RemoteError> {
        let stdin = Bytes::from(script::discard(attempt));
        self.link
            .command(operation, script::SHELL, stdin, DISCARD_TIMEOUT)
            .await
    }
}

/// Tells the shell that has run an attempt to discard it; what it says of that, if it does.
async fn told_to_discard(mut call: Call) -> Option<Discarded> {
    let discarded = async {
        call.say_last(script::DISCARD).await.ok()?;
        loop {
            match call.hear().await {
                Heard::Line(line) => {
                    if let Some(discarded) = room::read_discarded(&line) {
                        return Some(discarded);
                    }
                }
                Heard::Exited(_) | Heard::Output(_) => {}
                Heard::Closed => return None,
            }
        }
    };
    tokio::time::timeout(DISCARD_TIMEOUT, discarded)
        .await
        .ok()
        .flatten()
}

fn parse_probe(line: &[u8]) -> Option<Probe> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let length = |word: Option<&str>| word?.parse::<u64>().ok();
    match words.next()? {
        "absent" => Some(Probe::Absent),
        "starting" => length(words.next()).map(Probe::Starting),
        "running" => length(words.next()).map(Probe::Running),
        "lost" => length(words.next()).map(Probe::Lost),
        "rebooted" => length(words.next()).map(Probe::Rebooted),
        "done" => {
            let code = words.next()?.parse().ok()?;
            length(words.next()).map(|length| Probe::Done(code, length))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_lines_are_read() {
        let read = |line: &str| parse_probe(line.as_bytes());
        assert_eq!(read("absent"), Some(Probe::Absent));
        assert_eq!(read("running 12\n"), Some(Probe::Running(12)));
        assert_eq!(read("starting 0"), Some(Probe::Starting(0)));
        assert_eq!(read("done 3 310"), Some(Probe::Done(3, 310)));
        assert_eq!(read("lost 5"), Some(Probe::Lost(5)));
        assert_eq!(read("rebooted 6"), Some(Probe::Rebooted(6)));
        for line in ["", "done 3", "done x 1", "running", "running -1", "what 5"] {
            assert_eq!(read(line), None, "{line:?}");
        }
    }
}
