//! Writes packs: whatever flushes are waiting become one object.
//!
//! There is no delay to gather flushes. While one pack is being made durable the next ones wait, and
//! the busier the room, the more of them share a pack.

use std::sync::Arc;

use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use tokio::sync::{mpsc, oneshot};

use crate::model::{AttemptId, Extent, LineMark, PackId};

use super::error::LogError;
use super::frame::{INLINE_BYTES, PackBuilder, Place};
use super::pack;

/// A pack takes no further flush from this size on (before compression): it bounds the memory for
/// compression, and how long the first flush of a pack waits for the last.
const PACK_BYTES: u64 = 4 * 1024 * 1024;

/// Gives each pack its id.
pub(super) type NewPack = Arc<dyn Fn() -> PackId + Send + Sync>;

/// A flush that waits for its pack.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) segment: Segment,
    pub(super) answer: oneshot::Sender<Result<Extent, LogError>>,
}

/// A run of log bytes to store.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) attempt: AttemptId,
    pub(super) start: u64,
    pub(super) len: u64,
    /// Its bytes, in order.
    pub(super) blocks: Vec<Bytes>,
    pub(super) marks: Vec<LineMark>,
}

/// Why a pack was not written; each of its flushes is told.
enum Failure {
    Compress(Arc<std::io::Error>),
    Write(Arc<object_store::Error>),
}

/// Writes packs until nobody can queue a flush any more.
pub(super) async fn write_packs(
    blobs: Arc<dyn ObjectStore>,
    new_pack: NewPack,
    mut queue: mpsc::UnboundedReceiver<Job>,
) {
    while let Some(first) = queue.recv().await {
        let batch = gather(first, &mut queue);
        write_pack(blobs.as_ref(), new_pack(), batch).await;
    }
}

/// What is waiting, as far as it fits.
fn gather(first: Job, queue: &mut mpsc::UnboundedReceiver<Job>) -> Vec<Job> {
    let mut bytes = first.segment.len;
    let mut batch = vec![first];
    while bytes < PACK_BYTES
        && let Ok(job) = queue.try_recv()
    {
        bytes = bytes.saturating_add(job.segment.len);
        batch.push(job);
    }
    batch
}

/// Writes one pack, and answers its flushes.
async fn write_pack(blobs: &dyn ObjectStore, pack: PackId, batch: Vec<Job>) {
    let (segments, answers): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|job| (job.segment, job.answer))
        .unzip();
    let segments: Arc<[Segment]> = segments.into();
    let places = match compress(&segments).await {
        Ok((bytes, places)) => put(blobs, pack, bytes).await.map(|()| places),
        Err(failure) => Err(failure),
    };
    let results: Vec<Result<Extent, LogError>> = match places {
        Ok(places) => segments
            .iter()
            .zip(places)
            .map(|(segment, place)| Ok(segment.extent(pack, place)))
            .collect(),
        Err(failure) => segments
            .iter()
            .map(|segment| Err(failure.of(segment.attempt, pack)))
            .collect(),
    };
    for (answer, result) in answers.into_iter().zip(results) {
        // Whoever does not wait for the answer any more does not want the extent.
        drop(answer.send(result));
    }
}

type Packed = Result<(Bytes, Vec<Place>), Failure>;

/// Makes a pack of segments.
async fn compress(segments: &Arc<[Segment]>) -> Packed {
    let bytes: u64 = segments.iter().map(|segment| segment.len).sum();
    if bytes < INLINE_BYTES {
        return build(segments);
    }
    let segments = Arc::clone(segments);
    tokio::task::spawn_blocking(move || build(&segments))
        .await
        .unwrap_or_else(|error| Err(Failure::Compress(Arc::new(std::io::Error::other(error)))))
}

fn build(segments: &[Segment]) -> Packed {
    let build = || {
        let mut builder = PackBuilder::new()?;
        let places = segments
            .iter()
            .map(|segment| builder.add(&segment.blocks))
            .collect::<std::io::Result<Vec<_>>>()?;
        Ok((builder.finish(), places))
    };
    build().map_err(|error| Failure::Compress(Arc::new(error)))
}

/// Makes the pack durable. A failed write may leave an object behind that nothing refers to; a retry
/// of its flushes goes into another pack.
async fn put(blobs: &dyn ObjectStore, pack: PackId, bytes: Bytes) -> Result<(), Failure> {
    let len = bytes.len();
    blobs
        .put(&pack::path(pack), PutPayload::from_bytes(bytes))
        .await
        .map_err(|error| Failure::Write(Arc::new(error)))?;
    tracing::trace!(pack.id = %pack, pack.bytes = len, "log pack written");
    Ok(())
}

impl Segment {
    fn extent(&self, pack: PackId, place: Place) -> Extent {
        Extent {
            attempt: self.attempt,
            start: self.start,
            len: self.len,
            pack,
            frame_start: place.start,
            frame_len: place.len,
            marks: self.marks.clone(),
        }
    }
}

impl Failure {
    fn of(&self, attempt: AttemptId, pack: PackId) -> LogError {
        match self {
            Self::Compress(source) => LogError::Compress {
                attempt,
                source: Arc::clone(source),
            },
            Self::Write(source) => LogError::Write {
                attempt,
                pack,
                source: Arc::clone(source),
            },
        }
    }
}
