//! `bench latency`: how long people wait for a warm machine, and for a line.

use std::time::Duration;

use anyhow::Context;
use futures::StreamExt;
use serde_json::{Value, json};

use crate::api::view::BuildDetail;
use crate::clock::{Clock, SystemClock};
use crate::model::Timestamp;

use super::quantile::summary;
use super::server::{LOOK, Server};

/// How much.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Builds, one after the other
    #[arg(long, default_value_t = 300)]
    builds: usize,
    /// Lines, 20 ms apart
    #[arg(long, default_value_t = 200)]
    lines: usize,
}

pub(super) async fn run(options: &Options) -> anyhow::Result<Value> {
    let server = Server::start(1).await?;
    server.warm_up(1).await?;
    let mut first_step = Vec::new();
    let mut finished = Vec::new();
    for _ in 0..options.builds {
        let before = SystemClock.now();
        let accepted = server.submit(1, "true").await?;
        let detail = server
            .finished(&accepted.pipeline.to_string(), LOOK)
            .await?;
        let id = detail.builds.first().context("no build")?.id;
        let build: BuildDetail = server.get(&format!("/builds/{id}")).await?;
        let times = build
            .steps
            .first()
            .and_then(|step| step.times.as_ref())
            .context("no step")?;
        first_step.push(times.started_at.since(before).to_std());
        finished.push(build.build.since.since(before).to_std());
    }
    let lines = line_delays(&server, options.lines).await?;
    server.stop().await?;
    Ok(json!({
        "bench": "latency",
        "method": "one warm `local` machine; builds one after the other; from before the POST to \
                   the arrival of the first step's begin marker at the server, by one clock; lines: \
                   a step prints its clock every 20 ms, the delay is to its arrival at a follower \
                   over SSE",
        "submit_to_first_step": summary(first_step),
        "submit_to_finished": summary(finished),
        "line_to_follower": summary(lines),
    }))
}

/// Delays of lines that a build prints with the time of their printing.
async fn line_delays(server: &Server, lines: usize) -> anyhow::Result<Vec<Duration>> {
    let run = format!("i=0; while [ $i -lt {lines} ]; do date +%s%N; sleep 0.02; i=$((i+1)); done");
    let accepted = server.submit(1, &run).await?;
    let id = accepted.builds.first().context("no build")?.id;
    let stream = server
        .http()
        .get(format!("{}/builds/{id}/log/stream", server.url()))
        .send()
        .await?;
    let mut stream = stream.bytes_stream();
    let (mut buffer, mut delays) = (String::new(), Vec::new());
    while let Some(chunk) = stream.next().await {
        buffer.push_str(&String::from_utf8_lossy(&chunk?));
        let now = SystemClock.now();
        while let Some(end) = buffer.find("\n\n") {
            let event: String = buffer.drain(..end + 2).collect();
            if event.contains("event: end") || event.contains("event:end") {
                return Ok(delays);
            }
            delays.extend(printed(&event).into_iter().map(|at| now.since(at).to_std()));
        }
    }
    anyhow::bail!("the log stream ended early")
}

/// The times printed in an event's text.
fn printed(event: &str) -> Vec<Timestamp> {
    let data = event.lines().find_map(|line| line.strip_prefix("data:"));
    let value: Value = data
        .and_then(|data| serde_json::from_str(data.trim()).ok())
        .unwrap_or_default();
    let text = value
        .get("text")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let nanos = text.lines().filter_map(|line| line.parse::<i64>().ok());
    nanos
        .map(|nanos| Timestamp::from_micros(nanos / 1_000))
        .collect()
}
