//! Follows one run: hears its channel, takes the boundaries out, and asks again when a channel ends
//! before the run does.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::call::{Call, Heard};
use super::scan::{Piece, Placed, Scanner};
use super::ssh::Link;
use super::{RemoteError, Run, RunEvent, Stop, script};
use crate::model::{AttemptId, Span};

/// Events that wait for their reader; with joined output of 256 KiB each that is 4 MiB at most.
const EVENTS: usize = 16;
/// A machine under full load takes seconds to start a shell.
const OPENING_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a process that has left its session may hold the log open after the last step. It is
/// ended then, and again after each further span like this.
const STRAGGLER_SPAN: Duration = Duration::from_secs(2);
const STRAGGLER_GRACE: Span = Span::from_secs(1);
/// Once the length of a complete log is known, its last bytes are under way already.
const REMAINDER_TIMEOUT: Duration = Duration::from_secs(5);
/// Channels in a row that may end without a byte or a word on the run.
const FRUITLESS_CHANNELS: u32 = 5;
const FRUITLESS_PAUSE: Duration = Duration::from_millis(200);

/// How a call to start or follow was answered.
pub(super) enum Opened {
    /// The run is followed.
    Run(Run),
    /// There is no runner on the machine.
    Unprepared,
    /// There is no such attempt.
    Absent,
}

impl Opened {
    /// The run, when there is one.
    pub(super) fn into_run(self, operation: &'static str) -> Result<Run, RemoteError> {
        let detail = match self {
            Self::Run(run) => return Ok(run),
            Self::Unprepared => "the machine has no runner",
            Self::Absent => "no such attempt",
        };
        Err(RemoteError::Protocol {
            operation,
            detail: detail.to_owned(),
        })
    }
}

/// Opens a channel with `script` and follows the run in a task of its own. Returns once the machine
/// has answered.
pub(super) async fn open(
    link: &Arc<Link>,
    attempt: AttemptId,
    from: u64,
    script: String,
    operation: &'static str,
) -> Result<Opened, RemoteError> {
    let call = link.open_run(operation, script).await?;
    follow(link, attempt, from, call, operation).await
}

/// Follows the run whose script was said to `call`, in a task of its own. Returns once the machine
/// has answered.
pub(super) async fn follow(
    link: &Arc<Link>,
    attempt: AttemptId,
    from: u64,
    call: Call,
    operation: &'static str,
) -> Result<Opened, RemoteError> {
    let (events, receiver) = mpsc::channel(EVENTS);
    let (answer, first_answer) = oneshot::channel();
    let follower = Follower {
        link: Arc::clone(link),
        attempt,
        operation,
        scanner: Scanner::new(&script::nonce(attempt), from),
        events: events.clone(),
        answer: Some(answer),
        straggling: None,
        asked_stragglers: false,
        refusal: String::new(),
    };
    link.run_began();
    let ending = Arc::clone(link);
    tokio::spawn(async move {
        // A panic must not leave a reader without a last event.
        let end = AssertUnwindSafe(follower.follow(call)).catch_unwind().await;
        ending.run_ended();
        if end.is_err() {
            let error = ending.lost(operation, "the follower failed");
            // Without a reader nobody needs to know.
            let _ = events.send(RunEvent::Disconnected { error }).await;
        }
    });
    let opened = match timeout(OPENING_TIMEOUT, first_answer).await {
        Ok(Ok(Ok(Answer::Here))) => Opened::Run(Run { events: receiver }),
        Ok(Ok(Ok(Answer::Unprepared))) => Opened::Unprepared,
        Ok(Ok(Ok(Answer::Absent))) => Opened::Absent,
        Ok(Ok(Err(error))) => return Err(error),
        Ok(Err(_)) => return Err(link.lost(operation, "the follower failed")),
        Err(_) => return Err(link.lost(operation, "no answer in time")),
    };
    Ok(opened)
}

/// The machine's first answer.
enum Answer {
    Here,
    Unprepared,
    Absent,
}

/// How the attempt stands when its channel has said all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The terminal record.
    Done { code: i32, length: u64 },
    /// No supervisor and no terminal record.
    Lost { length: u64, rebooted: bool },
}

/// Why a channel was left.
enum Left {
    /// The verdict is known and all of the log is delivered.
    Complete(Verdict),
    /// The channel ended, or its lease; ask again.
    Early,
    /// Nobody reads the events any more.
    Unread,
    /// It cannot go on.
    Failed(RemoteError),
}

struct Follower {
    link: Arc<Link>,
    attempt: AttemptId,
    operation: &'static str,
    scanner: Scanner,
    events: mpsc::Sender<RunEvent>,
    /// Taken by the first answer.
    answer: Option<oneshot::Sender<Result<Answer, RemoteError>>>,
    /// Since when all steps are over without a verdict; then the time of the next measure.
    straggling: Option<Instant>,
    /// Whether stragglers have been ended once.
    asked_stragglers: bool,
    /// What the shell complained of before it answered.
    refusal: String,
}

impl Follower {
    async fn follow(mut self, mut call: Call) {
        let mut fruitless = 0;
        loop {
            let before = self.scanner.received();
            match self.watch(&mut call).await {
                Left::Complete(verdict) => return self.complete(verdict, call).await,
                Left::Unread => return call.close().await,
                Left::Failed(error) => {
                    call.close().await;
                    return self.fail(error).await;
                }
                Left::Early => call.close().await,
            }
            if self.answer.is_some() {
                let error = self.refused();
                return self.fail(error).await;
            }
            fruitless = if self.scanner.received() > before {
                0
            } else {
                fruitless + 1
            };
            if fruitless >= FRUITLESS_CHANNELS {
                let error = self.protocol("channels end without a result");
                return self.fail(error).await;
            }
            if fruitless > 0 {
                tokio::time::sleep(FRUITLESS_PAUSE).await;
            }
            let script = script::follow(self.attempt, self.scanner.received());
            match self.link.open_run(self.operation, script).await {
                Ok(next) => call = next,
                Err(error) => return self.fail(error).await,
            }
        }
    }

    /// Hears one channel until it has said all it can.
    async fn watch(&mut self, call: &mut Call) -> Left {
        let mut verdict: Option<Verdict> = None;
        let mut remainder_deadline = None;
        loop {
            if let Some(known) = verdict
                && self.scanner.received() >= known.length()
            {
                return self.ended(known);
            }
            let heard = tokio::select! {
                heard = call.hear() => heard,
                () = self.events.closed() => return Left::Unread,
                () = until(remainder_deadline) => return Left::Early,
                () = until(self.straggling) => {
                    self.end_stragglers().await;
                    continue;
                }
            };
            match heard {
                Heard::Output(bytes) => {
                    self.answered(Answer::Here);
                    if !self.deliver(bytes, verdict).await {
                        return Left::Unread;
                    }
                }
                Heard::Line(line) => match self.interpret(&line) {
                    Said::Nothing => {}
                    Said::Again => return Left::Early,
                    Said::Absent => return self.absent(),
                    Said::Verdict(known) => {
                        verdict = Some(known);
                        self.straggling = None;
                        remainder_deadline = Some(Instant::now() + REMAINDER_TIMEOUT);
                    }
                },
                Heard::Exited(Some(script::NO_RUNNER)) if self.answer.is_some() => {
                    self.answered(Answer::Unprepared);
                    return Left::Unread;
                }
                // The shell's end alone says nothing, but its channel closes soon, except when the
                // follower that it left behind waits for a supervisor that is gone.
                Heard::Exited(_) => {
                    remainder_deadline = Some(Instant::now() + REMAINDER_TIMEOUT);
                }
                Heard::Closed if !self.link.is_open() => {
                    return Left::Failed(self.link.lost(self.operation, "connection closed"));
                }
                Heard::Closed => return Left::Early,
            }
        }
    }

    /// The verdict is known, and no less of the log has come than it says.
    fn ended(&self, verdict: Verdict) -> Left {
        match verdict {
            Verdict::Done { length, .. } if self.scanner.received() > length => {
                Left::Failed(self.protocol("the log is longer than its record says"))
            }
            // A step may write on after its supervisor was killed.
            Verdict::Done { .. } | Verdict::Lost { .. } => Left::Complete(verdict),
        }
    }

    fn interpret(&mut self, line: &str) -> Said {
        let mut words = line.split_ascii_whitespace();
        let word = words.next().unwrap_or_default();
        let mut number = || words.next()?.parse::<i64>().ok();
        match word {
            "started" | "already" => self.answered(Answer::Here),
            "over" => self.begin_straggling(),
            "more" => return Said::Again,
            "absent" => return Said::Absent,
            "done" => {
                if let (Some(code), Some(length)) = (number(), number())
                    && let (Ok(code), Ok(length)) = (i32::try_from(code), u64::try_from(length))
                {
                    return Said::Verdict(Verdict::Done { code, length });
                }
            }
            "lost" | "rebooted" => {
                if let Some(Ok(length)) = number().map(u64::try_from) {
                    let rebooted = word == "rebooted";
                    return Said::Verdict(Verdict::Lost { length, rebooted });
                }
            }
            // Complaints of the shell and its tools; they matter when the run does not come up.
            _ if self.answer.is_some() && self.refusal.len() < 1_000 => {
                self.refusal.push_str(line);
                self.refusal.push(' ');
            }
            _ => {}
        }
        Said::Nothing
    }

    fn begin_straggling(&mut self) {
        if self.straggling.is_none() {
            self.straggling = Some(Instant::now() + STRAGGLER_SPAN);
        }
    }

    /// Ends processes that left their session and hold the log open after all steps; when that is
    /// not enough, the log ends without them. A failure shows as a run that is still not done, and
    /// is tried again.
    async fn end_stragglers(&mut self) {
        let _ = self
            .link
            .stop(self.attempt, Stop::Attempt, STRAGGLER_GRACE)
            .await;
        if self.asked_stragglers {
            let _ = self.link.release(self.attempt).await;
        }
        self.asked_stragglers = true;
        self.straggling = Some(Instant::now() + STRAGGLER_SPAN);
    }

    fn answered(&mut self, answer: Answer) {
        if let Some(sender) = self.answer.take() {
            // A caller that gave up waiting has dropped the events, too.
            let _ = sender.send(Ok(answer));
        }
    }

    fn absent(&mut self) -> Left {
        if self.answer.is_some() {
            self.answered(Answer::Absent);
            return Left::Unread;
        }
        Left::Failed(self.protocol("the attempt has vanished from the machine"))
    }

    /// Gives out bytes of the log, no further than its known length; whether somebody reads.
    async fn deliver(&mut self, mut bytes: Bytes, verdict: Option<Verdict>) -> bool {
        if let Some(verdict) = verdict {
            let missing = verdict.length().saturating_sub(self.scanner.received());
            bytes.truncate(usize::try_from(missing).unwrap_or(usize::MAX));
        }
        let pieces = self.scanner.feed(bytes);
        self.give(pieces).await
    }

    async fn give(&mut self, pieces: Vec<Placed>) -> bool {
        for Placed { piece, end } in pieces {
            let event = match piece {
                Piece::Output(bytes) => RunEvent::Log {
                    bytes,
                    machine: end,
                },
                Piece::Began(index) => RunEvent::StepBegan {
                    index,
                    machine: end,
                },
                Piece::Ended(index, code) => RunEvent::StepEnded {
                    index,
                    code,
                    machine: end,
                },
                Piece::Over => {
                    self.begin_straggling();
                    continue;
                }
            };
            if self.events.send(event).await.is_err() {
                return false;
            }
        }
        true
    }

    async fn complete(mut self, verdict: Verdict, call: Call) {
        let rest = self.scanner.finish();
        if !self.give(rest).await {
            return call.close().await;
        }
        let event = match verdict {
            Verdict::Done { code, length } => {
                self.link.keep_listening(self.attempt, call);
                RunEvent::Done {
                    code,
                    machine: length,
                }
            }
            Verdict::Lost { rebooted, .. } => {
                call.close().await;
                RunEvent::Lost {
                    machine: self.scanner.received(),
                    rebooted,
                }
            }
        };
        // Without a reader nobody needs to know.
        let _ = self.events.send(event).await;
    }

    /// Tells whoever waits: the caller when it has no run yet, the reader of the run afterwards.
    async fn fail(mut self, error: RemoteError) {
        match self.answer.take() {
            // Without a reader nobody needs to know.
            Some(sender) => drop(sender.send(Err(error))),
            None => drop(self.events.send(RunEvent::Disconnected { error }).await),
        }
    }

    fn refused(&self) -> RemoteError {
        let said: String = self.refusal.trim().chars().take(300).collect();
        self.protocol(&format!("the runner did not start: {said}"))
    }

    fn protocol(&self, detail: &str) -> RemoteError {
        RemoteError::Protocol {
            operation: self.operation,
            detail: detail.to_owned(),
        }
    }
}

/// What a control line says.
enum Said {
    /// Nothing that changes the course.
    Nothing,
    /// The call's lease is over, the run is not.
    Again,
    /// No such attempt.
    Absent,
    /// How it ended.
    Verdict(Verdict),
}

impl Verdict {
    fn length(self) -> u64 {
        match self {
            Self::Done { length, .. } | Self::Lost { length, .. } => length,
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
