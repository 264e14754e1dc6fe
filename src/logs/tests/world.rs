//! A small world around the room: storage and index that can fail, and a driver that records as the
//! engine does.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use tokio::sync::{Semaphore, watch};

use super::super::{Chunk, ExtentIndex, Flush, IndexError, LogError, Logs, Recorder, Standing};
use crate::model::{AttemptId, Extent, PackId, Timestamp};

/// Nothing in these tests takes as long as this unless it hangs.
pub(super) const DEADLINE: Duration = Duration::from_secs(20);

pub(super) const NO_LIMIT: u64 = u64::MAX;

pub(super) const ATTEMPT: AttemptId = AttemptId::from_bits(1);

/// 2026-11-21T08:00:00Z
pub(super) const NOON: i64 = 1_795_248_000_000_000;

pub(super) fn at(millis: i64) -> Timestamp {
    Timestamp::from_micros(NOON + millis * 1_000)
}

/// Names packs of a day, one after the other.
pub(super) fn pack_ids() -> impl Fn() -> PackId + Send + Sync + 'static {
    let count = AtomicU64::new(0);
    move || pack_id(NOON, count.fetch_add(1, Ordering::Relaxed))
}

pub(super) fn pack_id(micros: i64, number: u64) -> PackId {
    let millis = u128::try_from(micros / 1_000).unwrap();
    PackId::from_bits(millis << 80 | u128::from(number))
}

/// Log text, the same at the same offset, that compresses as logs do. It repeats itself after a
/// million bytes or so: no test could move bytes by just that.
pub(super) fn text(range: Range<u64>) -> Vec<u8> {
    static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let line = |line: u32| {
            let unit = line * 7_919 % 1_009;
            format!("{line:>6} [info] compiling unit {unit}\n").into_bytes()
        };
        (0..30_000).flat_map(line).collect()
    });
    let skip = usize::try_from(range.start % TEXT.len() as u64).unwrap();
    let len = usize::try_from(range.end - range.start).unwrap();
    let mut bytes = Vec::with_capacity(len);
    let mut part = &TEXT[skip..];
    while bytes.len() < len {
        bytes.extend_from_slice(&part[..part.len().min(len - bytes.len())]);
        part = &TEXT;
    }
    bytes
}

/// What a write does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Fails, and nothing is there.
    BeforeWriting,
    /// Fails, but the object is there.
    AfterWriting,
}

/// An in-memory storage whose writes fail or wait on demand, and which keeps count.
#[derive(Debug)]
pub(super) struct Storage {
    pub(super) objects: InMemory,
    faults: Mutex<Vec<Fault>>,
    /// Each write takes one permit.
    pub(super) gate: Semaphore,
    /// Writes that have come to the gate.
    arrived: watch::Sender<u64>,
    pub(super) written: AtomicU64,
    pub(super) fetched: Mutex<Vec<(Path, Range<u64>)>>,
}

impl Storage {
    fn new() -> Self {
        Self {
            objects: InMemory::new(),
            faults: Mutex::default(),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            arrived: watch::Sender::new(0),
            written: AtomicU64::new(0),
            fetched: Mutex::default(),
        }
    }

    /// The next writes do this.
    pub(super) fn fail_next(&self, fault: Fault) {
        self.faults.lock().unwrap().push(fault);
    }

    /// Writes wait from now on.
    pub(super) fn close_gate(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Returns when `count` writes have come to the gate.
    pub(super) async fn arrivals(&self, count: u64) {
        let mut arrived = self.arrived.subscribe();
        arrived.wait_for(|arrived| *arrived >= count).await.unwrap();
    }

    pub(super) fn open_gate(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS / 2);
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Storage")
    }
}

fn disk_full() -> object_store::Error {
    object_store::Error::Generic {
        store: "Storage",
        source: Box::new(std::io::Error::from(std::io::ErrorKind::StorageFull)),
    }
}

type Result<T, E = object_store::Error> = std::result::Result<T, E>;

#[async_trait]
impl ObjectStore for Storage {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.arrived.send_modify(|arrived| *arrived += 1);
        self.gate.acquire().await.unwrap().forget();
        let fault = self.faults.lock().unwrap().pop();
        if fault == Some(Fault::BeforeWriting) {
            return Err(disk_full());
        }
        let written = self.objects.put_opts(location, payload, options).await?;
        self.written.fetch_add(1, Ordering::Relaxed);
        match fault {
            Some(_) => Err(disk_full()),
            None => Ok(written),
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.objects.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        for range in ranges {
            let fetch = (location.clone(), range.clone());
            self.fetched.lock().unwrap().push(fetch);
        }
        self.objects.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.objects.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}

/// An index in memory that refuses extents which break its contract.
#[derive(Debug, Default)]
pub(super) struct Index {
    attempts: Mutex<BTreeMap<AttemptId, Row>>,
    /// How often it was asked how a log stands.
    pub(super) asked: AtomicU64,
}

#[derive(Debug, Default)]
struct Row {
    extents: Vec<Extent>,
    is_over: bool,
}

impl Row {
    fn stored(&self) -> u64 {
        self.extents
            .last()
            .map_or(0, |extent| extent.start + extent.len)
    }
}

impl Index {
    pub(super) fn begin(&self, attempt: AttemptId) {
        self.attempts.lock().unwrap().entry(attempt).or_default();
    }

    pub(super) fn commit(&self, extent: Extent) {
        let mut attempts = self.attempts.lock().unwrap();
        let row = attempts.get_mut(&extent.attempt).unwrap();
        assert_eq!(extent.start, row.stored(), "gap or overlap");
        assert_eq!(extent.marks[0].offset, extent.start);
        assert!(extent.marks.is_sorted_by_key(|mark| mark.offset));
        assert!(extent.marks.last().unwrap().offset < extent.start + extent.len);
        row.extents.push(extent);
    }

    pub(super) fn set_over(&self, attempt: AttemptId) {
        let mut attempts = self.attempts.lock().unwrap();
        attempts.get_mut(&attempt).unwrap().is_over = true;
    }

    pub(super) fn stored(&self, attempt: AttemptId) -> u64 {
        self.attempts.lock().unwrap()[&attempt].stored()
    }

    pub(super) fn all(&self, attempt: AttemptId) -> Vec<Extent> {
        self.attempts.lock().unwrap()[&attempt].extents.clone()
    }

    /// Damages the row of an extent.
    pub(super) fn tamper(&self, attempt: AttemptId, work: impl FnOnce(&mut Vec<Extent>)) {
        let mut attempts = self.attempts.lock().unwrap();
        work(&mut attempts.get_mut(&attempt).unwrap().extents);
    }
}

#[async_trait]
impl ExtentIndex for Index {
    async fn standing(&self, attempt: AttemptId) -> Result<Option<Standing>, IndexError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let attempts = self.attempts.lock().unwrap();
        Ok(attempts.get(&attempt).map(|row| {
            let stored = row.stored();
            if row.is_over {
                Standing::Over { stored }
            } else {
                Standing::Open { stored }
            }
        }))
    }

    async fn extents(
        &self,
        attempt: AttemptId,
        from: u64,
        to: u64,
    ) -> Result<Vec<Extent>, IndexError> {
        let attempts = self.attempts.lock().unwrap();
        let row = attempts.get(&attempt).ok_or("no such attempt")?;
        let overlapping = row
            .extents
            .iter()
            .filter(|extent| extent.start < to && extent.start + extent.len > from);
        Ok(overlapping.cloned().collect())
    }
}

/// A room with all that it needs.
#[derive(Debug)]
pub(super) struct World {
    pub(super) storage: Arc<Storage>,
    pub(super) index: Arc<Index>,
    pub(super) logs: Logs,
}

impl World {
    /// A fresh world in which [`ATTEMPT`] has been bound.
    pub(super) fn new() -> Self {
        let storage = Arc::new(Storage::new());
        let blobs: Arc<dyn ObjectStore> = Arc::clone(&storage) as _;
        let index = Arc::new(Index::default());
        index.begin(ATTEMPT);
        Self {
            storage,
            index,
            logs: Logs::open(blobs, pack_ids()),
        }
    }

    pub(super) fn index(&self) -> Arc<dyn ExtentIndex> {
        Arc::clone(&self.index) as _
    }

    /// A recorder that goes on where the index ends.
    pub(super) fn recorder(&self, limit_bytes: u64) -> Recorder {
        let stored = self.index.stored(ATTEMPT);
        self.logs.recorder(ATTEMPT, stored, limit_bytes)
    }

    /// Flushes and commits whatever the recorder holds.
    pub(super) async fn store(&self, recorder: &mut Recorder) {
        let flush = recorder.begin_flush().expect("something to flush");
        self.settle(recorder, flush).await;
    }

    pub(super) async fn settle(&self, recorder: &mut Recorder, flush: Flush) {
        let extent = soon(flush).await.unwrap();
        self.index.commit(extent.clone());
        recorder.committed(&extent);
    }

    pub(super) async fn read(&self, from: u64, to: u64) -> Result<Vec<u8>, LogError> {
        let stream = self.logs.read(ATTEMPT, self.index(), from, to);
        let parts: Vec<Bytes> = soon(stream.try_collect()).await?;
        Ok(parts.concat())
    }

    pub(super) fn follow(
        &self,
        from: u64,
    ) -> impl Stream<Item = Result<Chunk, LogError>> + Send + Unpin + use<> {
        self.logs.follow(ATTEMPT, self.index(), from).boxed()
    }
}

/// The result of something that must not hang.
pub(super) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work)
        .await
        .expect("it hangs")
}

/// The bytes of a follower's chunks, which must join.
pub(super) async fn drain(
    from: u64,
    stream: impl Stream<Item = Result<Chunk, LogError>>,
) -> Vec<u8> {
    let mut stream = std::pin::pin!(stream);
    let mut all = Vec::new();
    while let Some(chunk) = soon(stream.next()).await {
        let chunk = chunk.unwrap();
        assert_eq!(chunk.offset, from + all.len() as u64, "gap or overlap");
        assert!(!chunk.bytes.is_empty());
        all.extend_from_slice(&chunk.bytes);
    }
    all
}
