//! Build logs in a bucket of a real S3 emulator (moto), which `tests/run` installs.

#![cfg(feature = "ec2")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test may fail, and talks to the system directly"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use dormouse::logs::{Bucket, ExtentIndex, IndexError, LogError, Logs, Standing};
use dormouse::model::{AttemptId, Extent, PackId, Timestamp};
use futures::TryStreamExt;

/// An emulator that runs until it is dropped.
struct Emulator {
    child: Child,
    url: String,
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Emulator {
    fn start() -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/moto_server");
        assert!(
            program.exists(),
            "{} is missing: ./tests/run installs it",
            program.display()
        );
        let mut child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the emulator starts");
        let said = BufReader::new(child.stderr.take().unwrap());
        // ` * Running on http://127.0.0.1:41234`, among warnings about development servers.
        let mut lines = said.lines();
        let url = lines
            .by_ref()
            .find_map(|line| {
                let line = line.expect("the emulator tells its address");
                let start = line.find("http://127.0.0.1:")?;
                Some(
                    line.get(start..)?
                        .trim_end_matches('\x1b')
                        .trim()
                        .to_owned(),
                )
            })
            .expect("the emulator tells its address");
        // Its log of requests has to go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        let url: String = url
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || ":/.".contains(*c))
            .collect();
        Self { child, url }
    }
}

/// What anybody may do here without a signature.
async fn create(url: &str, bucket: &str) {
    let answer = reqwest::Client::new().put(format!("{url}/{bucket}")).send();
    assert!(answer.await.unwrap().status().is_success());
}

async fn put(url: &str, bucket: &str, key: &str) {
    let request = reqwest::Client::new().put(format!("{url}/{bucket}/{key}"));
    let answer = request.body("something else").send().await;
    assert!(answer.unwrap().status().is_success());
}

async fn list(url: &str, bucket: &str) -> String {
    let answer = reqwest::get(format!("{url}/{bucket}?list-type=2")).await;
    answer.unwrap().text().await.unwrap()
}

/// An index in memory.
#[derive(Debug, Default)]
struct Index(Mutex<BTreeMap<AttemptId, Vec<Extent>>>);

#[async_trait]
impl ExtentIndex for Index {
    async fn standing(&self, attempt: AttemptId) -> Result<Option<Standing>, IndexError> {
        let extents = self.0.lock().unwrap();
        let last = extents.get(&attempt).and_then(|all| all.last());
        let stored = last.map_or(0, |extent| extent.start + extent.len);
        Ok(Some(Standing::Open { stored }))
    }

    async fn extents(
        &self,
        attempt: AttemptId,
        from: u64,
        to: u64,
    ) -> Result<Vec<Extent>, IndexError> {
        let extents = self.0.lock().unwrap();
        let all = extents.get(&attempt).cloned().unwrap_or_default();
        Ok(all
            .into_iter()
            .filter(|extent| extent.start < to && extent.start + extent.len > from)
            .collect())
    }
}

const ATTEMPT: AttemptId = AttemptId::from_bits(1);
/// 2026-11-21T08:00:00Z
const NOON: i64 = 1_795_248_000_000_000;

fn open(url: &str, name: &str, ids: &Arc<AtomicU64>) -> Logs {
    let bucket = Bucket {
        name: name.to_owned(),
        prefix: "ci/logs".to_owned(),
        region: Some("us-east-1".to_owned()),
        endpoint_url: Some(url.to_owned()),
    };
    let ids = Arc::clone(ids);
    let new_pack = move || {
        let millis = u128::try_from(NOON / 1_000).unwrap();
        PackId::from_bits(millis << 80 | u128::from(ids.fetch_add(1, Ordering::Relaxed)))
    };
    Logs::on_s3(&bucket, new_pack).unwrap()
}

async fn record(logs: &Logs, index: &Index, from: u64, text: &[u8]) -> Result<(), LogError> {
    let mut recorder = logs.recorder(ATTEMPT, from, u64::MAX);
    recorder.push(text, Timestamp::from_micros(NOON));
    let extent = recorder.begin_flush().unwrap().await?;
    let mut extents = index.0.lock().unwrap();
    extents.entry(ATTEMPT).or_default().push(extent);
    Ok(())
}

async fn read(logs: &Logs, index: &Arc<Index>) -> Vec<u8> {
    let index = Arc::clone(index) as Arc<dyn ExtentIndex>;
    let parts: Vec<_> = logs
        .read(ATTEMPT, index, 0, u64::MAX)
        .try_collect()
        .await
        .unwrap();
    parts.concat()
}

/// Where the test finds the emulator when it has been run anew.
const URL: &str = "DORMOUSE_TEST_S3";

/// Credentials come from the environment, which a process cannot set safely for itself: so this test
/// runs itself anew with them.
#[test]
fn logs_live_in_a_bucket() {
    if let Ok(url) = std::env::var(URL) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        return runtime.block_on(keep_and_find(&url));
    }
    let emulator = Emulator::start();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "logs_live_in_a_bucket", "--nocapture"])
        .env(URL, &emulator.url)
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .status();
    assert!(status.unwrap().success());
}

async fn keep_and_find(url: &str) {
    create(url, "build-logs").await;
    let (ids, index) = (Arc::new(AtomicU64::new(0)), Arc::new(Index::default()));
    let text: Vec<u8> = (0..200_000_u32)
        .flat_map(|line| {
            format!("{line:>6} compiling unit {}\n", line * 7_919 % 1_009).into_bytes()
        })
        .collect();
    let (first, second) = text.split_at(1_000_000);
    let logs = open(url, "build-logs", &ids);
    record(&logs, &index, 0, first).await.unwrap();
    assert!(read(&logs, &index).await == first);
    // Another process finds it, and goes on.
    let logs = open(url, "build-logs", &ids);
    let stored = u64::try_from(first.len()).unwrap();
    record(&logs, &index, stored, second).await.unwrap();
    assert!(read(&logs, &index).await == text);
    let listing = list(url, "build-logs").await;
    assert_eq!(
        listing.matches("<Key>ci/logs/logs/2026-11-21/").count(),
        2,
        "{listing}"
    );

    // Retention removes packs, and nothing else.
    put(url, "build-logs", "ci/other").await;
    let later = Timestamp::from_micros(NOON + 1_000_000);
    assert_eq!(logs.sweep(later).await.unwrap(), 2);
    let listing = list(url, "build-logs").await;
    assert_eq!(listing.matches("<Key>").count(), 1, "{listing}");

    // A bucket that is not there is an error, and loses nothing.
    let nowhere = open(url, "no-such-bucket", &ids);
    let lost = record(&nowhere, &Index::default(), 0, b"line\n").await;
    assert!(matches!(lost, Err(LogError::Write { .. })), "{lost:?}");
}
