//! Wall time, CPU time, memory, and numbers made of them.

use std::time::{Duration, Instant};

use serde_json::json;

/// Wall and CPU time of a measurement.
pub(crate) struct Watch {
    wall: Instant,
    cpu: Duration,
}

impl Watch {
    pub(crate) fn start() -> Self {
        Self {
            wall: instant(),
            cpu: cpu_time(),
        }
    }

    pub(crate) fn read(&self) -> (Duration, Duration) {
        (instant() - self.wall, cpu_time().saturating_sub(self.cpu))
    }

    pub(crate) fn report(&self, what: &str, bytes: usize, details: &serde_json::Value) {
        let (wall, cpu) = self.read();
        println!(
            "{}",
            json!({
                "what": what, "mb_per_s": rate(bytes, wall) / 1_000_000,
                "mb_per_cpu_s": rate(bytes, cpu) / 1_000_000, "details": details,
            })
        );
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn instant() -> Instant {
    Instant::now()
}

/// User and system time of this process so far, from `/proc` in hundredths of a second.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split(' ');
    let ticks: u64 = fields
        .skip(12)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

/// The most memory this process has had, in MiB.
pub(crate) fn peak_resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

/// How many per second, in whole numbers.
pub(crate) fn rate(count: usize, time: Duration) -> usize {
    let micros = usize::try_from(time.as_micros())
        .unwrap_or(usize::MAX)
        .max(1);
    count.saturating_mul(1_000_000) / micros
}

pub(crate) fn ratio(bytes: usize, stored: usize) -> String {
    let hundredths = bytes * 100 / stored.max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

pub(crate) fn percentiles(mut values: Vec<u64>) -> serde_json::Value {
    values.sort_unstable();
    let at = |percent: usize| values.get((values.len().max(1) - 1) * percent / 100);
    json!({"p50": at(50), "p99": at(99), "max": values.last()})
}
