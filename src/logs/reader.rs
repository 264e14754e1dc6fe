//! Reads a log across the seam between storage and memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::ObjectStore;
use tokio::sync::watch;

use crate::model::{AttemptId, Extent, LineMark, Timestamp};

use super::error::LogError;
use super::frame::{self, INLINE_BYTES};
use super::index::{ExtentIndex, Standing};
use super::live::{Live, Look, Phase};
use super::marks;
use super::pack;
use super::room::Room;

/// Bytes of a log that arrived together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Offset of the first byte in the attempt's log.
    pub offset: u64,
    /// The bytes; at least one.
    pub bytes: Bytes,
    /// When they came home, to about a hundredth of a second.
    pub at: Timestamp,
}

/// Most bytes of a chunk from storage: what goes into one write of a response.
const CHUNK_BYTES: usize = 64 * 1024;

/// The index is asked for the extents of this many log bytes at once: some dozens of extents, so
/// that neither their number nor the memory for them grows with the log.
const WINDOW_BYTES: u64 = 32 * 1024 * 1024;

/// How often to ask the index how things stand, where no recorder in this process can tell: the
/// attempt may be canceled before it begins, or be recorded by another process.
const POLL_EVERY: Duration = Duration::from_millis(500);

impl Chunk {
    /// `None` when there are no bytes.
    pub(super) fn new(offset: u64, bytes: Bytes, at: Timestamp) -> Option<Self> {
        (!bytes.is_empty()).then_some(Self { offset, bytes, at })
    }
}

/// A position in a log, and what is at hand there.
#[derive(Debug)]
pub(super) struct Reader {
    room: Arc<Room>,
    index: Arc<dyn ExtentIndex>,
    attempt: AttemptId,
    position: u64,
    /// The stored frame that was read last.
    frame: Option<Frame>,
    /// Extents behind that frame, as the index gave them.
    extents: VecDeque<Extent>,
    /// The recording that was found last.
    recording: Option<Recording>,
    arrivals: watch::Receiver<()>,
}

/// A recording, and news of it.
#[derive(Debug)]
struct Recording {
    live: Arc<Live>,
    changes: watch::Receiver<()>,
}

/// A stored frame's content.
#[derive(Debug)]
struct Frame {
    start: u64,
    bytes: Bytes,
    marks: Vec<LineMark>,
}

/// What is at a reader's position.
#[derive(Debug)]
pub(super) enum Found {
    /// These bytes; the reader is behind them now.
    Chunk(Chunk),
    /// The end of the log.
    End,
    /// Nothing yet. `Reader::wait` returns when it is worth looking again.
    Later,
}

/// Where to look next.
enum Place {
    Memory(Chunk),
    Storage { until: u64 },
    End,
    Later,
}

impl Reader {
    pub(super) fn new(
        room: Arc<Room>,
        index: Arc<dyn ExtentIndex>,
        attempt: AttemptId,
        position: u64,
    ) -> Self {
        let arrivals = room.registry.arrivals();
        Self {
            room,
            index,
            attempt,
            position,
            frame: None,
            extents: VecDeque::new(),
            recording: None,
            arrivals,
        }
    }

    pub(super) fn index(&self) -> &dyn ExtentIndex {
        self.index.as_ref()
    }

    /// The next bytes before `end`, an offset that the log has reached; `None` at `end`.
    pub(super) async fn next_before(&mut self, end: u64) -> Result<Option<Chunk>, LogError> {
        if self.position >= end {
            return Ok(None);
        }
        match self.next(end).await? {
            Found::Chunk(chunk) => Ok(Some(chunk)),
            Found::End | Found::Later => Err(self.missing()),
        }
    }

    /// What is at the position, of the bytes before `to`.
    pub(super) async fn next(&mut self, to: u64) -> Result<Found, LogError> {
        loop {
            if let Some(chunk) = self.cut_from_frame(to) {
                self.position += chunk.bytes.len() as u64;
                return Ok(Found::Chunk(chunk));
            }
            if !self.extents.is_empty() {
                self.load_frame().await?;
                continue;
            }
            match self.locate(to).await? {
                Place::Memory(chunk) => {
                    self.position += chunk.bytes.len() as u64;
                    return Ok(Found::Chunk(chunk));
                }
                Place::Storage { until } => self.load_extents(until.min(to)).await?,
                Place::End => return Ok(Found::End),
                Place::Later => return Ok(Found::Later),
            }
        }
    }

    /// Returns when there may be something at a position where there was nothing.
    pub(super) async fn wait(&mut self) {
        // No sender can be gone: the room and the recording are held here.
        if let Some(recording) = &mut self.recording {
            drop(recording.changes.changed().await);
        } else {
            drop(tokio::time::timeout(POLL_EVERY, self.recording_arrives()).await);
        }
    }

    /// Returns when this log is being recorded. Others come and go meanwhile, many a second; the
    /// index is not to be asked each time.
    async fn recording_arrives(&mut self) {
        while self.recording().is_none() && self.arrivals.changed().await.is_ok() {}
    }

    /// Where the bytes at the position are.
    async fn locate(&mut self, to: u64) -> Result<Place, LogError> {
        let position = self.position;
        while let Some(recording) = self.recording() {
            // What changes from here on wakes `wait`.
            recording.changes.mark_unchanged();
            match recording.live.look(position, to) {
                Look::Bytes(chunk) => return Ok(Place::Memory(chunk)),
                Look::Stored { until } => return Ok(Place::Storage { until }),
                Look::End(Phase::Open) => return Ok(Place::Later),
                Look::End(Phase::Finished) => return Ok(Place::End),
                Look::End(Phase::Abandoned) => self.recording = None,
            }
        }
        let standing = standing(self.attempt, self.index()).await?;
        if self.position < standing.stored() {
            return Ok(Place::Storage {
                until: standing.stored(),
            });
        }
        Ok(match standing {
            Standing::Open { .. } => Place::Later,
            Standing::Over { .. } => Place::End,
        })
    }

    /// The recording of this log, if there is one.
    fn recording(&mut self) -> Option<&mut Recording> {
        if self.recording.is_none() {
            // Who arrives after this look wakes `wait`.
            self.arrivals.mark_unchanged();
            self.recording = self.room.registry.get(self.attempt).map(|live| Recording {
                changes: live.subscribe(),
                live,
            });
        }
        self.recording.as_mut()
    }

    /// The next piece of the frame at hand; lets go of a frame that has none.
    fn cut_from_frame(&mut self, to: u64) -> Option<Chunk> {
        let chunk = self.frame.as_ref()?.cut(self.position, to);
        if chunk.is_none() {
            self.frame = None;
        }
        chunk
    }

    /// Asks the index for the extents from the position on; all bytes before `until` are stored.
    async fn load_extents(&mut self, until: u64) -> Result<(), LogError> {
        let to = until.min(self.position.saturating_add(WINDOW_BYTES));
        let extents = self
            .index
            .extents(self.attempt, self.position, to)
            .await
            .map_err(|source| LogError::Index {
                attempt: self.attempt,
                source,
            })?;
        self.extents = extents.into();
        if self.extents.is_empty() {
            return Err(self.missing());
        }
        Ok(())
    }

    /// Reads the frame at the position.
    async fn load_frame(&mut self) -> Result<(), LogError> {
        let extent = self
            .extents
            .pop_front()
            .filter(|extent| {
                let skip = self.position.checked_sub(extent.start);
                skip.is_some_and(|skip| skip < extent.len)
            })
            .ok_or_else(|| self.missing())?;
        self.frame = Some(fetch(self.room.blobs.as_ref(), extent).await?);
        Ok(())
    }

    fn missing(&self) -> LogError {
        LogError::Missing {
            attempt: self.attempt,
            offset: self.position,
        }
    }
}

impl Frame {
    /// Bytes from `offset` on that arrived together; `None` when the frame has none before `to`.
    fn cut(&self, offset: u64, to: u64) -> Option<Chunk> {
        let (at, until) = marks::arrival(&self.marks, offset)?;
        let skip = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        let most = usize::try_from(until.min(to).checked_sub(offset)?).unwrap_or(usize::MAX);
        let end = skip
            .saturating_add(most.min(CHUNK_BYTES))
            .min(self.bytes.len());
        (skip < end)
            .then(|| self.bytes.slice(skip..end))
            .and_then(|bytes| Chunk::new(offset, bytes, at))
    }
}

/// How an attempt's log stands, which must exist.
pub(super) async fn standing(
    attempt: AttemptId,
    index: &dyn ExtentIndex,
) -> Result<Standing, LogError> {
    index
        .standing(attempt)
        .await
        .map_err(|source| LogError::Index { attempt, source })?
        .ok_or(LogError::UnknownAttempt { attempt })
}

/// Reads and checks the frame of an extent.
async fn fetch(blobs: &dyn ObjectStore, extent: Extent) -> Result<Frame, LogError> {
    let corrupt = |detail: String| LogError::Corrupt {
        attempt: extent.attempt,
        pack: extent.pack,
        frame_start: extent.frame_start,
        detail,
    };
    if marks::arrival(&extent.marks, extent.start).is_none() {
        return Err(corrupt("the index has no arrival time for it".to_owned()));
    }
    let compressed = fetch_compressed(blobs, &extent).await?;
    let len = extent.len;
    let bytes = if len < INLINE_BYTES {
        frame::decode(&compressed, len)
    } else {
        tokio::task::spawn_blocking(move || frame::decode(&compressed, len))
            .await
            .unwrap_or_else(|error| Err(error.to_string()))
    };
    Ok(Frame {
        start: extent.start,
        bytes: bytes.map_err(corrupt)?,
        marks: extent.marks,
    })
}

/// The bytes of an extent's frame, and only these, as they lie in the pack.
async fn fetch_compressed(blobs: &dyn ObjectStore, extent: &Extent) -> Result<Bytes, LogError> {
    let range = extent.frame_start..extent.frame_start.saturating_add(extent.frame_len);
    let mut parts = blobs
        .get_ranges(&pack::path(extent.pack), std::slice::from_ref(&range))
        .await
        .map_err(|source| read_error(extent, source))?;
    Ok(parts.pop().unwrap_or_default())
}

fn read_error(extent: &Extent, source: object_store::Error) -> LogError {
    if matches!(source, object_store::Error::NotFound { .. }) {
        LogError::PackGone {
            attempt: extent.attempt,
            offset: extent.start,
            pack: extent.pack,
        }
    } else {
        LogError::Read {
            attempt: extent.attempt,
            pack: extent.pack,
            frame_start: extent.frame_start,
            source,
        }
    }
}
