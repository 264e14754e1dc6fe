//! How fast the log room takes, keeps and gives back logs, on the disk under the target directory.
//!
//! `cargo bench --bench logs` prints one JSON object per measurement. Writes are durable (each pack
//! is synced, as in production); commits to the index cost nothing here, so what is measured is this
//! room alone. CPU time is the whole process's.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use dormouse::clock::{Clock, IdSource, SystemClock};
use dormouse::logs::{ExtentIndex, IndexError, Logs, Recorder, Standing};
use dormouse::model::{AttemptId, Extent, PackId};
use futures::{StreamExt, TryStreamExt};
use serde_json::json;

mod text;
mod watch;

use text::log_text;
use watch::{Watch, peak_resident_mib, percentiles, rate, ratio};

/// What the network hands over at once.
const CHUNK_BYTES: usize = 32 * 1024;

const NO_LIMIT: u64 = u64::MAX;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome {
    let runtime = tokio::runtime::Runtime::new()?;
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let text = Arc::new(log_text(64 * 1024 * 1024));
    compression(&text)?;
    runtime.block_on(async {
        one_large_log(home.path(), &text).await?;
        several_large_logs(home.path(), &text).await?;
        for workers in [1, 20, 100] {
            many_tiny_logs(home.path(), &text, workers).await?;
        }
        sight_of_a_line(home.path()).await
    })
}

/// What zstd makes of such text, in pieces of the size of a flush: the choice of the level.
fn compression(text: &[u8]) -> Outcome {
    for level in 1..=3 {
        let mut compressor = zstd::bulk::Compressor::new(level)?;
        let watch = Watch::start();
        let mut stored = 0;
        for piece in text.chunks(1024 * 1024) {
            stored += compressor.compress(piece)?.len();
        }
        watch.report(
            "compression",
            text.len(),
            &json!({"level": level, "ratio": ratio(text.len(), stored)}),
        );
    }
    Ok(())
}

/// One build that prints as fast as it can; then its log is read back.
async fn one_large_log(home: &Path, text: &Arc<Vec<u8>>) -> Outcome {
    let room = Room::open(&home.join("one"))?;
    let attempt = AttemptId::from_bits(1);
    let watch = Watch::start();
    let mut recorder = room.begin(attempt);
    room.record(&mut recorder, text).await?;
    recorder.finish();
    let extents = room.index.all(attempt);
    let stored: u64 = extents.iter().map(|extent| extent.frame_len).sum();
    watch.report(
        "record one large log",
        text.len(),
        &json!({"packs": extents.len(), "ratio": ratio(text.len(), usize::try_from(stored)?)}),
    );
    let watch = Watch::start();
    let index: Arc<dyn ExtentIndex> = Arc::clone(&room.index) as _;
    let mut stream = std::pin::pin!(room.logs.read(attempt, index, 0, NO_LIMIT));
    let mut read = 0;
    while let Some(bytes) = stream.try_next().await? {
        read += bytes.len();
    }
    watch.report(
        "read one large log",
        read,
        &json!({"complete": read == text.len()}),
    );
    Ok(())
}

/// Several builds at once that print as fast as they can.
async fn several_large_logs(home: &Path, text: &Arc<Vec<u8>>) -> Outcome {
    const BUILDS: usize = 8;
    let room = Arc::new(Room::open(&home.join("several"))?);
    let watch = Watch::start();
    let mut builds = tokio::task::JoinSet::new();
    for number in 0..BUILDS {
        let (room, text) = (Arc::clone(&room), Arc::clone(text));
        builds.spawn(async move {
            let mut recorder = room.begin(AttemptId::from_bits(number as u128));
            let half = text.len() / 2;
            room.record(&mut recorder, text.get(..half).unwrap_or(&text))
                .await?;
            recorder.finish();
            Outcome::Ok(())
        });
    }
    while let Some(build) = builds.join_next().await {
        build??;
    }
    watch.report(
        "record several large logs",
        BUILDS * text.len() / 2,
        &json!({"builds": BUILDS, "packs": room.index.packs(), "resident_mib": peak_resident_mib()}),
    );
    Ok(())
}

/// Builds that print a screenful and are done, one after the other on each of `workers`.
async fn many_tiny_logs(home: &Path, text: &Arc<Vec<u8>>, workers: usize) -> Outcome {
    const BUILDS: usize = 2_000;
    let room = Arc::new(Room::open(&home.join(format!("tiny-{workers}")))?);
    let watch = Watch::start();
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..workers {
        let (room, text) = (Arc::clone(&room), Arc::clone(text));
        tasks.spawn(async move {
            let mut waits = Vec::new();
            for number in (worker..BUILDS).step_by(workers) {
                let mut recorder = room.begin(AttemptId::from_bits(number as u128));
                let start = number * 1_000;
                recorder.push(
                    text.get(start..start + 600).unwrap_or_default(),
                    SystemClock.now(),
                );
                let begun = SystemClock.now();
                room.store(&mut recorder).await?;
                waits.push(SystemClock.now().since(begun).micros());
                recorder.finish();
            }
            Outcome::Ok(waits)
        });
    }
    let mut waits = Vec::new();
    while let Some(task) = tasks.join_next().await {
        waits.extend(task??);
    }
    let (wall, cpu) = watch.read();
    println!(
        "{}",
        json!({
            "what": "record tiny logs", "workers": workers,
            "logs_per_s": rate(BUILDS, wall), "packs_per_s": rate(room.index.packs(), wall),
            "cpu_us_per_log": cpu.as_micros() as usize / BUILDS,
            "flush_us": percentiles(waits),
        })
    );
    Ok(())
}

/// How long a follower takes to see a line, from push to the follower's hands.
async fn sight_of_a_line(home: &Path) -> Outcome {
    let room = Room::open(&home.join("sight"))?;
    let attempt = AttemptId::from_bits(1);
    let mut recorder = room.begin(attempt);
    let index: Arc<dyn ExtentIndex> = Arc::clone(&room.index) as _;
    let mut follower = room.logs.follow(attempt, index, 0).boxed();
    let (sender, mut seen) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(Ok(_)) = follower.next().await {
            if sender.send(SystemClock.now()).await.is_err() {
                return;
            }
        }
    });
    let mut waits = Vec::new();
    for _ in 0..2_000 {
        let now = SystemClock.now();
        recorder.push(b"one line of a log\n", now);
        let seen = seen.recv().await.ok_or("the follower is gone")?;
        waits.push(seen.since(now).micros());
    }
    println!(
        "{}",
        json!({"what": "sight of a line", "us": percentiles(waits)})
    );
    Ok(())
}

/// A room on disk, driven as the engine drives it.
struct Room {
    logs: Logs,
    index: Arc<Index>,
}

impl Room {
    fn open(directory: &Path) -> Outcome<Self> {
        let ids = IdSource::from_os();
        let new_pack = move || PackId::from_bits(ids.bits(SystemClock.now()));
        Ok(Self {
            logs: Logs::on_disk(directory, new_pack)?,
            index: Arc::default(),
        })
    }

    fn begin(&self, attempt: AttemptId) -> Recorder {
        self.logs.recorder(attempt, 0, NO_LIMIT)
    }

    async fn record(&self, recorder: &mut Recorder, text: &[u8]) -> Outcome {
        let mut under_way = None;
        for chunk in text.chunks(CHUNK_BYTES) {
            let now = SystemClock.now();
            recorder.push(chunk, now);
            tokio::task::yield_now().await; // As reading from a socket would.
            if recorder.wants_flush(now) {
                under_way = recorder.begin_flush();
            }
            // Take the answer when it is there; wait for it only when full.
            if let Some(flush) = &mut under_way {
                let answer = if recorder.is_full() {
                    Some(flush.await)
                } else {
                    futures::FutureExt::now_or_never(flush)
                };
                if let Some(extent) = answer.transpose()? {
                    self.commit(recorder, extent);
                    under_way = None;
                }
            }
        }
        if let Some(flush) = under_way {
            self.commit(recorder, flush.await?);
        }
        self.store(recorder).await
    }

    async fn store(&self, recorder: &mut Recorder) -> Outcome {
        if let Some(flush) = recorder.begin_flush() {
            self.commit(recorder, flush.await?);
        }
        Ok(())
    }

    fn commit(&self, recorder: &mut Recorder, extent: Extent) {
        recorder.committed(&extent);
        self.index.commit(extent);
    }
}

/// An index in memory.
#[derive(Debug, Default)]
struct Index {
    extents: Mutex<BTreeMap<AttemptId, Vec<Extent>>>,
}

impl Index {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<AttemptId, Vec<Extent>>) -> T) -> T {
        work(
            &mut self
                .extents
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }

    fn commit(&self, extent: Extent) {
        self.with(|all| all.entry(extent.attempt).or_default().push(extent));
    }

    fn all(&self, attempt: AttemptId) -> Vec<Extent> {
        self.with(|all| all.get(&attempt).cloned().unwrap_or_default())
    }

    fn packs(&self) -> usize {
        self.with(|all| {
            let packs = all.values().flatten().map(|extent| extent.pack);
            packs.collect::<std::collections::BTreeSet<_>>().len()
        })
    }
}

#[async_trait]
impl ExtentIndex for Index {
    async fn standing(&self, attempt: AttemptId) -> Result<Option<Standing>, IndexError> {
        let stored = self.all(attempt).iter().map(|extent| extent.len).sum();
        Ok(Some(Standing::Over { stored }))
    }

    async fn extents(
        &self,
        attempt: AttemptId,
        from: u64,
        to: u64,
    ) -> Result<Vec<Extent>, IndexError> {
        let mut extents = self.all(attempt);
        extents.retain(|extent| extent.start < to && extent.start + extent.len > from);
        Ok(extents)
    }
}
