//! `bench logs`: one build's log, from its step's standard output to durable storage.

use anyhow::Context;
use serde_json::{Value, json};

use crate::api::view::BuildDetail;

use super::host;
use super::quantile::millis;
use super::server::{SELDOM, Server};

/// How much.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// MiB of log
    #[arg(long, default_value_t = 512)]
    mebibytes: u64,
}

/// Lines as a compiler prints them, with a number that makes each its own: a block of about 4 MB,
/// printed over and over. Longer than a stored frame, so that repeating it compresses no better.
const STEP: &str = r#"awk 'BEGIN {
  for (n = 0; n < 40000; n++)
    printf "[%7d] cc -O2 -Wall -Iinclude -DNDEBUG -c src/module_%d/file_%d.c -o build/%x.o\n", n, n % 97, n % 1013, n * 40503 % 65536
}' >block
i=0
while [ $i -lt BLOCKS ]; do cat block; i=$((i + 1)); done"#;

/// Bytes of a block, roughly.
const BLOCK: u64 = 3_400_000;

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
pub(super) async fn run(options: &Options) -> anyhow::Result<Value> {
    let server = Server::start(1).await?;
    server.warm_up(1).await?;
    let pid = server.pid()?;
    let blocks = (options.mebibytes << 20) / BLOCK;
    let cpu = host::cpu_of(pid)?;
    let document = json!({"name": "logs", "project": "bench", "builds": {"log": {
        "log_limit": "8GiB",
        "steps": [{"name": "print", "run": STEP.replace("BLOCKS", &blocks.to_string())}],
    }}});
    let accepted = server.submit_document(&document).await?;
    server
        .finished(&accepted.pipeline.to_string(), SELDOM)
        .await?;
    let cpu = host::cpu_of(pid)?.saturating_sub(cpu);
    let resident = host::resident(pid)?;
    let id = accepted.builds.first().context("no build")?.id;
    let build: BuildDetail = server.get(&format!("/builds/{id}")).await?;
    let step = build
        .steps
        .first()
        .and_then(|step| step.times.clone())
        .context("no step")?;
    let stored = step.log_end.context("no end of the log")?;
    let wall = build.build.since.since(step.started_at).to_std();
    server.stop().await?;
    Ok(json!({
        "bench": "logs",
        "method": "one warm `local` machine on the same host; a step prints compiler-like lines; \
                   from its begin marker to the commit of the result behind the last stored byte",
        "mebibytes": stored as f64 / f64::from(1 << 20),
        "wall_ms": millis(wall),
        "megabytes_per_second": stored as f64 / 1e6 / wall.as_secs_f64(),
        "server_cpu_ms": millis(cpu),
        "server_resident_mib": resident as f64 / f64::from(1 << 20),
    }))
}
