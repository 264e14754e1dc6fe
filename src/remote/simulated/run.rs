//! One attempt on one machine: what it has printed and where it stands at any time.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::shell::{self, Command};
use crate::model::{BuildSpec, Left, Resource, Span, Step, Timestamp, Usage};
use crate::remote::{Probe, RunEvent, Stop};

/// Bytes that a step boundary takes in the machine's log.
const MARK_BYTES: u64 = 24;
/// Bytes of one log event at most, as a connection would cut them.
const CHUNK_BYTES: usize = 16 * 1024;
/// Exit codes of steps that were stopped politely and by force.
const TERMINATED: i32 = 143;
const KILLED: i32 = 137;

/// An attempt under way, or over.
#[derive(Debug)]
pub(super) struct Run {
    build: Arc<BuildSpec>,
    /// The boot of the machine under which it was started.
    pub(super) boot: u32,
    up_since: Timestamp,
    log: Vec<Piece>,
    length: u64,
    next_step: usize,
    step: Option<Doing>,
    /// When something happens next.
    due: Timestamp,
    failed: i32,
    is_stopped: bool,
    end: Option<Ended>,
    /// What it leaves that cannot be removed.
    pub(super) litter: Option<Left>,
    /// How full it made its machine.
    pub(super) filled: Usage,
    /// Moves when somebody from outside interferes, so that followers look again.
    pub(super) interfered: watch::Sender<u64>,
}

/// A step under way.
#[derive(Debug)]
struct Doing {
    index: u32,
    commands: VecDeque<Command>,
    is_stubborn: bool,
    /// It is being stopped, and will end with this code.
    killed: Option<i32>,
}

/// A piece of the machine's log, which ends at `end`.
#[derive(Debug)]
struct Piece {
    end: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    Begin(u32),
    Printed(Bytes),
    End(u32, i32),
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// With this code.
    Done(i32),
    /// Its supervisor is gone.
    Lost,
}

impl Run {
    pub(super) fn new(
        build: Arc<BuildSpec>,
        (boot, up_since): (u32, Timestamp),
        now: Timestamp,
    ) -> Self {
        Self {
            build,
            boot,
            up_since,
            log: Vec::new(),
            length: 0,
            next_step: 0,
            step: None,
            due: now,
            failed: 0,
            is_stopped: false,
            end: None,
            litter: None,
            filled: Usage::default(),
            interfered: watch::Sender::new(0),
        }
    }

    /// Works out everything that happens up to `now`.
    pub(super) fn advance(&mut self, now: Timestamp) {
        while self.end.is_none() && self.due <= now {
            self.act();
        }
    }

    /// When something happens next; none once it is over.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.end.is_none().then_some(self.due)
    }

    /// How it ended, if it has.
    pub(super) const fn ended(&self) -> Option<Ended> {
        self.end
    }

    /// Length of the machine's log.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    pub(super) const fn probe(&self) -> Probe {
        match self.end {
            None => Probe::Running(self.length),
            Some(Ended::Done(code)) => Probe::Done(code, self.length),
            Some(Ended::Lost) => Probe::Lost(self.length),
        }
    }

    /// What was printed so far, boundaries taken out.
    pub(super) fn printed(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in &self.log {
            match &piece.what {
                What::Printed(printed) => bytes.extend_from_slice(printed),
                What::Begin(_) | What::End(..) => {}
            }
        }
        bytes
    }

    /// What a follower at offset `from` of the machine's log has not been told yet.
    pub(super) fn events_after(&self, from: u64) -> Vec<RunEvent> {
        let first = self.log.partition_point(|piece| piece.end <= from);
        let mut events = Vec::new();
        for piece in self.log.iter().skip(first) {
            match &piece.what {
                What::Begin(index) => events.push(RunEvent::StepBegan {
                    index: *index,
                    machine: piece.end,
                }),
                What::End(index, code) => events.push(RunEvent::StepEnded {
                    index: *index,
                    code: *code,
                    machine: piece.end,
                }),
                What::Printed(bytes) => tell(&mut events, bytes, piece.end, from),
            }
        }
        events
    }

    /// Stops a step or all of it, at `now`.
    pub(super) fn stop(&mut self, what: Stop, grace: Span, now: Timestamp) {
        self.advance(now);
        let doing = match what {
            Stop::Attempt => {
                self.is_stopped = true;
                self.step.as_mut()
            }
            Stop::Step(index) => self.step.as_mut().filter(|step| step.index == index),
        };
        if let Some(step) = doing.filter(|step| step.killed.is_none()) {
            let (code, wait) = if step.is_stubborn {
                (KILLED, grace)
            } else {
                (TERMINATED, Span::ZERO)
            };
            step.killed = Some(code);
            self.due = now + wait;
        }
        self.advance(now);
        self.interfered.send_modify(|count| *count += 1);
    }

    /// Kills its supervisor, at `now`.
    pub(super) fn lose(&mut self, now: Timestamp) {
        self.advance(now);
        self.end = self.end.or(Some(Ended::Lost));
        self.interfered.send_modify(|count| *count += 1);
    }

    /// One thing that happens, at the time `due`.
    fn act(&mut self) {
        let Some(step) = &mut self.step else {
            self.begin_step_or_end();
            return;
        };
        if let Some(code) = step.killed {
            self.end_step(code);
            return;
        }
        match step.commands.pop_front() {
            None => self.end_step(0),
            Some(Command::Exit(code)) => self.end_step(code),
            Some(Command::Print(bytes)) => {
                let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                self.append(len, What::Printed(bytes.into()));
            }
            Some(Command::Sleep(span)) => self.due = self.due + span,
            Some(Command::Stubborn) => step.is_stubborn = true,
            Some(Command::Litter(left)) => self.litter = Some(left),
            Some(Command::Fill(Resource::Disk, percent)) => self.filled.disk = Some(percent),
            Some(Command::Fill(Resource::Inodes, percent)) => self.filled.inodes = Some(percent),
            Some(Command::Fill(Resource::Memory, percent)) => self.filled.memory = Some(percent),
            Some(Command::Uptime(span)) => {
                if self.due < self.up_since + span {
                    self.end_step(1);
                }
            }
        }
    }

    fn begin_step_or_end(&mut self) {
        let runs = |step: &Step| self.failed == 0 || step.always;
        let steps = self.build.steps.iter().enumerate().skip(self.next_step);
        let next = steps
            .filter(|_| !self.is_stopped)
            .find(|(_, step)| runs(step));
        let Some((place, step)) = next else {
            self.end = Some(Ended::Done(self.failed));
            return;
        };
        let index = u32::try_from(place).unwrap_or(u32::MAX);
        let doing = Doing {
            index,
            commands: shell::parse(&step.run),
            is_stubborn: false,
            killed: None,
        };
        self.next_step = place + 1;
        self.step = Some(doing);
        self.append(MARK_BYTES, What::Begin(index));
    }

    fn end_step(&mut self, code: i32) {
        let Some(step) = self.step.take() else { return };
        self.append(MARK_BYTES, What::End(step.index, code));
        let place = usize::try_from(step.index).unwrap_or(usize::MAX);
        let goes_on = |step: &Step| step.continue_on_error;
        if self.failed == 0 && !self.build.steps.get(place).is_some_and(goes_on) {
            self.failed = code;
        }
    }

    fn append(&mut self, len: u64, what: What) {
        self.length += len;
        self.log.push(Piece {
            end: self.length,
            what,
        });
    }
}

/// Tells of printed bytes that end at `end`, from offset `from` on.
fn tell(events: &mut Vec<RunEvent>, bytes: &Bytes, end: u64, from: u64) {
    let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let begin = end - len;
    let known = usize::try_from(from.saturating_sub(begin)).unwrap_or(usize::MAX);
    let mut rest = bytes.slice(known.min(bytes.len())..);
    while !rest.is_empty() {
        let chunk = rest.split_to(rest.len().min(CHUNK_BYTES));
        let left = u64::try_from(rest.len()).unwrap_or(u64::MAX);
        events.push(RunEvent::Log {
            bytes: chunk,
            machine: end - left,
        });
    }
}
