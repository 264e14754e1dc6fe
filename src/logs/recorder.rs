//! Takes the log bytes of one attempt as they arrive.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::model::{AttemptId, Extent, Span, Timestamp};

use super::error::LogError;
use super::limit::{Limit, Verdict};
use super::live::{Live, Phase};
use super::room::Room;
use super::tail::Tail;
use super::writer::{Job, Segment};

/// A flush of this size is worth its fsync and its commit: at 60 MB/s it comes 60 times a second
/// when each is stored at once, and less often when storing takes longer, since a flush takes all
/// there is.
const FLUSH_BYTES: u64 = 1024 * 1024;

/// Bytes do not wait longer than this for company. It bounds what the machine has to send again
/// after a crash here, and how stale the index is for readers elsewhere.
const FLUSH_AGE: Span = Span::from_secs(1);

/// A recorder that holds this much is full. Four flushes' worth keeps the machine sending while one
/// is being stored.
const FULL_BYTES: u64 = 4 * 1024 * 1024;

/// All recorders together should not hold more than this: then each flushes, and is full, from
/// [`FAIR_BYTES`] on.
const ROOM_BYTES: u64 = 12 * 1024 * 1024;

/// What each recorder may hold however crowded the room is: enough for a flush that is worth it.
const FAIR_BYTES: u64 = 256 * 1024;

/// How long to leave storage alone after it failed.
const RETRY_AFTER: Span = Span::from_secs(1);

/// Takes the log bytes of one attempt as they arrive, and gives them to storage in flushes.
///
/// ```text
/// loop {
///     push every chunk that arrives, unless is_full()
///     if wants_flush(now):    flush = begin_flush(); remember the machine's offset
///     when flush is answered: Ok(extent) -> commit the extent and the cursor; committed(&extent)
///                             Err(_), or the commit failed -> flush_failed(now)
/// }
/// flush until unstored() is 0; finish()
/// ```
///
/// - A flush takes everything that was pushed before it, so the machine's offset to commit with its
///   extent is that of the last push before `begin_flush`. One flush is under way at a time; pushes
///   go on meanwhile, and followers see them at once.
/// - Between an answered flush and `committed`, the bytes are in storage but do not count. If the
///   commit fails for certain, call `flush_failed`: the next flush contains them again. If it is not
///   known whether the commit happened, find out first: one of the two calls is the truth.
/// - A recorder that is dropped without `finish` leaves its log open: followers wait for the next
///   recorder of the attempt, which must begin at the first byte that does not count as stored.
#[derive(Debug)]
pub struct Recorder {
    room: Arc<Room>,
    live: Arc<Live>,
    attempt: AttemptId,
    limit: Limit,
    flush: FlushState,
}

/// Whether a flush may begin.
#[derive(Debug, Clone, Copy)]
enum FlushState {
    /// When there is reason to.
    Ready,
    /// Not before the one under way is settled.
    UnderWay,
    /// Not before this time: the last one failed.
    NotBefore(Timestamp),
}

impl Recorder {
    pub(super) fn new(room: Arc<Room>, attempt: AttemptId, stored: u64, limit_bytes: u64) -> Self {
        let live = Arc::new(Live::new(stored));
        room.registry.enter(attempt, Arc::clone(&live));
        Self {
            room,
            live,
            attempt,
            limit: Limit::new(limit_bytes),
            flush: FlushState::Ready,
        }
    }

    /// Takes bytes that arrived at `now`; followers see them at once. Beyond the log's limit they
    /// are dropped, and a marker line says so once.
    ///
    /// The bytes are copied. Full or not, they are taken; whoever pushes more than the network's
    /// chunks into a full recorder decides about its memory.
    pub fn push(&mut self, bytes: &[u8], now: Timestamp) {
        let kept = self.live.change(|tail| {
            let before = tail.end();
            match self.limit.judge(before, bytes.len()) {
                Verdict::Keep => tail.push(bytes, now),
                Verdict::KeepThenMark(kept) => {
                    tail.push(bytes.get(..kept).unwrap_or(bytes), now);
                    tail.push(self.limit.marker(), now);
                }
                Verdict::Drop => {}
            }
            tail.end() - before
        });
        self.room.registry.hold(kept);
    }

    /// Length of the log at home, stored or not; the offset that the next byte gets.
    pub fn length(&self) -> u64 {
        self.live.ask(Tail::end)
    }

    /// Bytes that do not count as stored yet.
    pub fn unstored(&self) -> u64 {
        self.live.ask(Tail::len)
    }

    /// Whether the log was cut at its limit.
    pub fn limit_reached(&self) -> bool {
        self.limit.is_beyond(self.length())
    }

    /// Whether to stop pushing until a flush has been committed. Such a recorder wants a flush,
    /// unless one is under way or has just failed.
    pub fn is_full(&self) -> bool {
        let unstored = self.unstored();
        unstored >= FULL_BYTES || (unstored >= FAIR_BYTES && self.is_room_crowded())
    }

    /// Whether it is time for `begin_flush`: there is enough, or it has waited long enough.
    pub fn wants_flush(&self, now: Timestamp) -> bool {
        self.flush_at().is_some_and(|due| due <= now)
    }

    /// When a flush is due, as things stand: in the past when there are enough bytes for one, `None`
    /// when there are none or a flush is under way. For the caller's timer.
    pub fn flush_at(&self) -> Option<Timestamp> {
        let (oldest, unstored) = self.live.ask(|tail| (tail.oldest(), tail.len()));
        let is_enough =
            unstored >= FLUSH_BYTES || (unstored >= FAIR_BYTES && self.is_room_crowded());
        let due = if is_enough {
            oldest?
        } else {
            oldest? + FLUSH_AGE
        };
        match self.flush {
            FlushState::Ready => Some(due),
            FlushState::UnderWay => None,
            FlushState::NotBefore(time) => Some(due.max(time)),
        }
    }

    /// Hands everything that does not count as stored to the pack writer, reason or not. `None` when
    /// there is nothing, or a flush is under way.
    pub fn begin_flush(&mut self) -> Option<Flush> {
        match self.flush {
            FlushState::Ready | FlushState::NotBefore(_) => {}
            FlushState::UnderWay => return None,
        }
        let segment = self.segment()?;
        let (answer, answered) = oneshot::channel();
        self.room.write(Job { segment, answer });
        self.flush = FlushState::UnderWay;
        Some(Flush {
            attempt: self.attempt,
            answered,
        })
    }

    fn segment(&self) -> Option<Segment> {
        let (start, len, (blocks, marks)) = self
            .live
            .change(|tail| (tail.start(), tail.len(), tail.snapshot()));
        (len > 0).then_some(Segment {
            attempt: self.attempt,
            start,
            len,
            blocks,
            marks,
        })
    }

    /// Lets go of the bytes up to the end of an extent that is in the index now.
    pub fn committed(&mut self, extent: &Extent) {
        debug_assert_eq!(extent.attempt, self.attempt, "an extent of another log");
        let freed = self
            .live
            .change(|tail| tail.release(extent.start.saturating_add(extent.len)));
        self.room.registry.let_go(freed);
        self.flush = FlushState::Ready;
    }

    /// Settles a flush that came to nothing, or whose extent is not in the index: its bytes go with
    /// the next one, which is due after a pause.
    pub fn flush_failed(&mut self, now: Timestamp) {
        self.flush = FlushState::NotBefore(now + RETRY_AFTER);
    }

    /// Says that the log is complete: followers end once they have all of it.
    pub fn finish(self) {
        self.live.end(Phase::Finished);
    }

    fn is_room_crowded(&self) -> bool {
        self.room.registry.held() >= ROOM_BYTES
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Out of the registry first: whoever finds the recording ended must not find it again.
        self.room.registry.leave(self.attempt, &self.live);
        self.live.end(Phase::Abandoned);
        self.room.registry.let_go(self.unstored());
    }
}

/// The answer to a flush, to be awaited: where its bytes lie durably.
///
/// The work is done whether it is polled or not. Dropping it means not wanting to know.
#[derive(Debug)]
#[must_use = "the extent must be committed, or the bytes do not count"]
pub struct Flush {
    attempt: AttemptId,
    answered: oneshot::Receiver<Result<Extent, LogError>>,
}

impl Future for Flush {
    type Output = Result<Extent, LogError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let attempt = self.attempt;
        Pin::new(&mut self.answered)
            .poll(cx)
            .map(|answer| answer.unwrap_or(Err(LogError::WriterStopped { attempt })))
    }
}
