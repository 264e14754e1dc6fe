//! `dormouse demo`: the main job, start to end, on this host alone.
//!
//! A server in a temporary directory, three dormant images with the capabilities that this host
//! really has, a matrix pipeline that does real work (one build of it fails on purpose), progress,
//! the log of the failure, the bill, and the proof that nothing is left. It talks to its server over
//! the public API only, as any client does.

mod board;
mod client;
mod documents;
mod host;

use std::io::Write;

use anyhow::{Context, bail};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::{Clock, SystemClock};
use crate::config::{self, Environment, Flag, Sources};
use crate::model::Span;

use super::house::{House, Running};
use client::Client;

/// How it is shown.
#[derive(Debug, Clone, Copy)]
pub struct DemoOptions {
    /// Go on serving at the end.
    pub keep: bool,
    /// One JSON object at the end instead of prose.
    pub json: bool,
}

/// Longest time for the machines to go away at the end: the idle timeout and a few looks.
const FAREWELL: Span = Span::from_secs(20);
/// How often to look.
const LOOK: Span = Span::from_millis(50);

/// Shows it.
///
/// # Errors
/// When anything does not go as it must: a build with another result than its own, a machine left.
pub async fn demo(options: DemoOptions) -> anyhow::Result<()> {
    let directory = tempfile::Builder::new()
        .prefix("dormouse-demo-")
        .tempdir()?;
    let say = Say {
        quiet: options.json,
    };
    let host = host::probe();
    say.line(&format!("Dormouse demo, in {}", directory.path().display()));
    say.line(&format!("This host has: {}.", host.sentence()));
    let running = start(directory.path()).await?;
    let client = Client::new(running.address);
    say.line(&format!(
        "Serving on http://{} (API page: /api/docs/).\n",
        running.address
    ));
    let shown = tokio::select! {
        shown = show(&client, &host, &say) => shown,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted; all machines were ended")),
    };
    let report = match shown {
        Ok(report) => report,
        Err(error) => {
            // Whatever went wrong: no machine stays.
            client.end_all().await;
            running.stop().await?;
            return Err(error);
        }
    };
    if options.json {
        println!("{report:#}");
    }
    if options.keep {
        keep(&running, &say).await?;
        client.end_all().await;
    }
    running.stop().await?;
    let left = host::machines_left(directory.path());
    if left > 0 {
        bail!("{left} machine processes are left");
    }
    Ok(())
}

/// What is told on the way.
#[derive(Debug, Clone, Copy)]
struct Say {
    quiet: bool,
}

impl Say {
    fn line(self, text: &str) {
        if !self.quiet {
            println!("{text}");
            // Nothing helps if standard output is gone; the builds are what counts.
            let _ = std::io::stdout().flush();
        }
    }
}

async fn start(directory: &std::path::Path) -> anyhow::Result<Running> {
    let flag = |key: &str, value: String| Flag {
        name: "demo".to_owned(),
        key: key.to_owned(),
        value,
    };
    let loaded = config::load(&Sources {
        file: None,
        environment: &Environment::of([]),
        flags: &[
            flag("data_dir", directory.join("data").display().to_string()),
            flag("listen", "127.0.0.1:0".to_owned()),
            flag("auth", "open".to_owned()),
        ],
        directory,
    })?;
    House::build(loaded.config).await?.start(None).await
}

async fn show(client: &Client, host: &host::Host, say: &Say) -> anyhow::Result<serde_json::Value> {
    let images = documents::images(host);
    client.ready().await?;
    client.apply(&images).await?;
    say.line("Images in the catalogue, all dormant:");
    for image in &images {
        say.line(&format!("  {:<12} {}", image.name, image.summary));
    }
    let document = documents::pipeline(host)?;
    let accepted = client.submit(&document).await?;
    say.line(&format!(
        "\nQueued {} builds as {}.\n",
        accepted.builds.len(),
        accepted.pipeline
    ));
    let begun = SystemClock.now();
    let builds = board::follow(client, &accepted.pipeline.to_string(), say.quiet).await?;
    let took = SystemClock.now().since(begun);
    for build in &builds {
        let expected = if build.name == documents::FAILING {
            "failure"
        } else {
            "success"
        };
        let result = build.result.map_or("none", |result| result.word());
        if result != expected {
            let log = client.log(&build.id.to_string()).await?;
            bail!(
                "{} ended as {result}: {:?}\n{log}",
                build.name,
                build.reason
            );
        }
    }
    show_failure(client, &builds, say).await?;
    let launched = gone(client).await?;
    let cost = client.cost().await?;
    say.line("\nThe bill, to the micro-dollar:");
    for line in board::bill(&cost, &builds) {
        say.line(&line);
    }
    say.line(&format!(
        "\n{} builds in {:.1} s on {launched} machines; all machines are gone, nothing is left.",
        builds.len(),
        took.to_std().as_secs_f64(),
    ));
    Ok(json!({
        "pipeline": accepted.pipeline, "builds": builds, "cost": cost,
        "machines_launched": launched, "machines_left": 0,
        "took_millis": took.micros() / 1_000,
    }))
}

/// Prints the log of the build that fails on purpose.
async fn show_failure(
    client: &Client,
    builds: &[crate::api::view::BuildSummary],
    say: &Say,
) -> anyhow::Result<()> {
    let failed = builds.iter().find(|build| build.name == documents::FAILING);
    let failed = failed.context("no failing build")?;
    say.line(&format!(
        "\nOne build fails on purpose. Its log (`dormouse logs {}`):",
        failed.id
    ));
    for line in client.log(&failed.id.to_string()).await?.lines() {
        say.line(&format!("  | {line}"));
    }
    let explained = client.explain(&failed.id.to_string()).await?;
    say.line(&format!("And why (`dormouse explain`): {explained}"));
    Ok(())
}

/// Waits until every machine is proved gone; how many there were.
async fn gone(client: &Client) -> anyhow::Result<usize> {
    let deadline = SystemClock.now() + FAREWELL;
    loop {
        let machines = client.machines(true).await?;
        let up = machines
            .iter()
            .filter(|machine| machine.state.word() != "gone")
            .count();
        if up == 0 {
            return Ok(machines.len());
        }
        if SystemClock.now() > deadline {
            bail!("{up} machines are still there");
        }
        SystemClock.sleep(LOOK).await;
    }
}

async fn keep(running: &Running, say: &Say) -> anyhow::Result<()> {
    say.line(&format!(
        "\nServing until Ctrl-C. In another terminal:\n  export DORMOUSE_SERVER=http://{}\n  \
         dormouse builds\n  dormouse explain latest\n  dormouse cost --by build",
        running.address
    ));
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
