//! What the kernel says about processes.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context;

/// CPU time that a process has used, its threads included and its children not.
pub(super) fn cpu_of(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |place: usize| {
        fields
            .get(place)
            .and_then(|f| f.parse::<u64>().ok())
            .unwrap_or(0)
    };
    // utime and stime are fields 14 and 15 of proc(5), 12th and 13th behind the name.
    let hertz = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_micros(
        (ticks(11) + ticks(12)) * 1_000_000 / hertz,
    ))
}

/// Resident memory of a process in bytes.
pub(super) fn resident(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kibibytes.context("no VmRSS")? * 1_024)
}

/// Processes and threads forked on this host since it booted.
pub(super) fn forks() -> anyhow::Result<u64> {
    let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let line = stat
        .lines()
        .find_map(|line| line.strip_prefix("processes "));
    line.and_then(|count| count.trim().parse().ok())
        .context("no count of processes")
}

/// CPU time used on this host by anything, over all cores.
pub(super) fn cpu_of_host() -> anyhow::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    let fields: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|f| f.parse().ok())
        .collect();
    let total: u64 = fields.iter().take(8).sum();
    let idle: u64 = fields.iter().skip(3).take(2).sum();
    let hertz = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_micros((total - idle) * 1_000_000 / hertz))
}

/// A monotonic stopwatch: benches measure wall time, they decide nothing by it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "a bench measures with the monotonic clock"
    )]
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
