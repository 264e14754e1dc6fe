//! The room itself: one per process, shared by everybody who deals with logs.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use object_store::ObjectStore;
use tokio::sync::mpsc;

use crate::model::{AttemptId, PackId};

use super::error::LogError;
use super::follow;
use super::index::ExtentIndex;
use super::live::Registry;
use super::reader::{self, Chunk, Reader};
use super::recorder::Recorder;
use super::tail::Tail;
use super::writer::{self, Job};

/// A flush of at least this size goes into packs with its like, so that small flushes do not wait
/// for its compression and its write. Small ones keep each other company.
const LARGE_FLUSH_BYTES: u64 = 256 * 1024;

/// Storage of build logs. Cheap to clone; all clones are the same room.
#[derive(Debug, Clone)]
pub struct Logs {
    pub(super) room: Arc<Room>,
}

/// What recorders and readers share.
pub(super) struct Room {
    pub(super) blobs: Arc<dyn ObjectStore>,
    pub(super) registry: Registry,
    /// Queues of the pack writers. Unbounded, because their length is bounded elsewhere: each
    /// recorder has one flush under way, whose bytes it holds anyway.
    small: mpsc::UnboundedSender<Job>,
    large: mpsc::UnboundedSender<Job>,
}

impl Logs {
    /// Opens the room over `blobs`, whose `put` must be durable when it returns (a plain
    /// `LocalFileSystem` is not; see [`Logs::on_disk`]). `new_pack` names packs: each call gives a
    /// fresh id that carries the time now.
    ///
    /// Starts the tasks that write packs on the current runtime; they end when the last clone, the
    /// last recorder and the last stream are gone, and hold nothing while there is nothing to write.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open(
        blobs: Arc<dyn ObjectStore>,
        new_pack: impl Fn() -> PackId + Send + Sync + 'static,
    ) -> Self {
        let new_pack: writer::NewPack = Arc::new(new_pack);
        let lane = || {
            let (queue, jobs) = mpsc::unbounded_channel();
            let work = writer::write_packs(Arc::clone(&blobs), Arc::clone(&new_pack), jobs);
            tokio::spawn(work);
            queue
        };
        let (small, large) = (lane(), lane());
        Self {
            room: Arc::new(Room {
                blobs,
                registry: Registry::new(),
                small,
                large,
            }),
        }
    }

    /// Begins to record an attempt's log, of which the first `stored` bytes are stored and indexed
    /// already. At most `limit_bytes` are kept, then a marker line ends the log.
    ///
    /// An earlier recorder of the same attempt is shut out: its bytes reach no reader any more.
    pub fn recorder(&self, attempt: AttemptId, stored: u64, limit_bytes: u64) -> Recorder {
        Recorder::new(Arc::clone(&self.room), attempt, stored, limit_bytes)
    }

    /// Length of an attempt's log at this moment, stored or not.
    pub async fn length(
        &self,
        attempt: AttemptId,
        index: &dyn ExtentIndex,
    ) -> Result<u64, LogError> {
        if let Some(live) = self.room.registry.get(attempt) {
            return Ok(live.ask(Tail::end));
        }
        Ok(reader::standing(attempt, index).await?.stored())
    }

    /// Bytes `[from, to)` of an attempt's log, as far as there are any when the stream is first
    /// polled. Holds one extent's bytes at a time, however long the log.
    pub fn read(
        &self,
        attempt: AttemptId,
        index: Arc<dyn ExtentIndex>,
        from: u64,
        to: u64,
    ) -> impl Stream<Item = Result<Bytes, LogError>> + Send + use<> {
        self.chunks(attempt, index, from, to)
            .map_ok(|chunk| chunk.bytes)
    }

    /// As [`Logs::read`], with offsets and arrival times.
    pub fn chunks(
        &self,
        attempt: AttemptId,
        index: Arc<dyn ExtentIndex>,
        from: u64,
        to: u64,
    ) -> impl Stream<Item = Result<Chunk, LogError>> + Send + use<> {
        let logs = self.clone();
        let reader = Reader::new(Arc::clone(&self.room), index, attempt, from);
        futures::stream::try_unfold(
            (logs, reader, None),
            move |(logs, mut reader, end)| async move {
                let end = match end {
                    Some(end) => end,
                    None => to.min(logs.length(attempt, reader.index()).await?),
                };
                let chunk = reader.next_before(end).await?;
                Ok(chunk.map(|chunk| (chunk, (logs, reader, Some(end)))))
            },
        )
    }

    /// An attempt's log from offset `from` on, as it comes: what is there at once, then each chunk
    /// as soon as it is pushed, until the log is complete. Waits for an attempt that has not begun,
    /// and across a restart of its recorder; ends at the end of one that is over.
    ///
    /// A follower that is slower than the build reads from storage what has left memory.
    pub fn follow(
        &self,
        attempt: AttemptId,
        index: Arc<dyn ExtentIndex>,
        from: u64,
    ) -> impl Stream<Item = Result<Chunk, LogError>> + Send + use<> {
        follow::follow(Reader::new(Arc::clone(&self.room), index, attempt, from))
    }
}

impl Room {
    /// Queues a flush for the pack writer. When that is gone, the flush is answered by its absence.
    pub(super) fn write(&self, job: Job) {
        let lane = if job.segment.len >= LARGE_FLUSH_BYTES {
            &self.large
        } else {
            &self.small
        };
        drop(lane.send(job));
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room")
            .field("blobs", &self.blobs)
            .field("held", &self.registry.held())
            .finish_non_exhaustive()
    }
}
