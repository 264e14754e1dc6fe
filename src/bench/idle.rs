//! `bench idle`: what a server costs that has nothing to do.

use std::time::Duration;

use serde_json::{Value, json};

use super::host::{self, Stopwatch};
use super::server::Server;

/// How long.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Seconds
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
pub(super) async fn run(options: &Options) -> anyhow::Result<Value> {
    let server = Server::start(2).await?;
    let pid = server.pid()?;
    let cpu = host::cpu_of(pid)?;
    let watch = Stopwatch::start();
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let cpu = host::cpu_of(pid)?.saturating_sub(cpu);
    let wall = watch.elapsed();
    let resident = host::resident(pid)?;
    server.stop().await?;
    Ok(json!({
        "bench": "idle",
        "method": "a fresh server with one image and no builds, left alone; CPU and VmRSS of its \
                   process from /proc",
        "seconds": wall.as_secs_f64(),
        "cpu_percent": 100.0 * cpu.as_secs_f64() / wall.as_secs_f64(),
        "resident_mib": resident as f64 / f64::from(1 << 20),
    }))
}
