//! `bench dispatch`: trivial builds per second.

use serde_json::{Value, json};

use super::host::{self, Stopwatch};
use super::quantile::millis;
use super::server::{SELDOM, Server};

/// How much.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Warm machines
    #[arg(long, default_value_t = 20)]
    machines: u32,
    /// Builds
    #[arg(long, default_value_t = 2_000)]
    builds: usize,
    /// Builds per submitted pipeline
    #[arg(long, default_value_t = 100)]
    per_pipeline: usize,
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
pub(super) async fn run(options: &Options) -> anyhow::Result<Value> {
    let server = Server::start(options.machines).await?;
    server.warm_up(options.machines).await?;
    let pid = server.pid()?;
    let (cpu, host_cpu, forks) = (host::cpu_of(pid)?, host::cpu_of_host()?, host::forks()?);
    let watch = Stopwatch::start();
    let mut pipelines = Vec::new();
    let mut left = options.builds;
    while left > 0 {
        let count = left.min(options.per_pipeline);
        pipelines.push(server.submit(count, "true").await?.pipeline.to_string());
        left -= count;
    }
    let submitted = watch.elapsed();
    for pipeline in &pipelines {
        server.finished(pipeline, SELDOM).await?;
    }
    let wall = watch.elapsed();
    let cpu = host::cpu_of(pid)?.saturating_sub(cpu);
    let host_cpu = host::cpu_of_host()?.saturating_sub(host_cpu);
    let forks = host::forks()? - forks;
    let resident = host::resident(pid)?;
    server.stop().await?;
    let builds = options.builds as f64;
    Ok(json!({
        "bench": "dispatch",
        "method": "a server process of its own on a fresh data directory; warm `local` machines on \
                   the same host; builds of one step `true`, each with its own SSH exec, log, \
                   result, events and ledger entries, committed durably; from the first POST to the \
                   last build seen finished; CPU from /proc/PID/stat of the server alone, and from \
                   /proc/stat for the whole host; processes and threads forked on the whole host",
        "machines": options.machines, "builds": options.builds,
        "submit_ms": millis(submitted), "wall_ms": millis(wall),
        "builds_per_second": builds / wall.as_secs_f64(),
        "server_cpu_ms_per_build": millis(cpu) / builds,
        "host_cpu_ms_per_build": millis(host_cpu) / builds,
        "forks_per_build": forks as f64 / builds,
        "server_resident_mib": resident as f64 / f64::from(1 << 20),
    }))
}
