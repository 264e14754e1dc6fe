//! A server of its own for a bench: a process as an operator starts it, in a directory that goes
//! away.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::api::view::{AcceptedView, PipelineDetail, ResultWord};

use super::host::Stopwatch;

/// Longest time for a server to listen, and for machines to come or go.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often to look where the looking would show in the figures.
pub(super) const SELDOM: Duration = Duration::from_millis(250);
/// How often to look whether something has happened.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// A running server and its machines.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    url: String,
    http: reqwest::Client,
    directory: TempDir,
}

impl Server {
    /// Starts a server with `machines` as the limit of machines, which stay warm.
    pub(super) async fn start(machines: u32) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("dormouse-bench-")
            .tempdir()?;
        let server = Self::on(directory).await?;
        server.apply(machines).await?;
        Ok(server)
    }

    /// Starts a server on a directory that may have a past.
    pub(super) async fn on(directory: TempDir) -> anyhow::Result<Self> {
        let (child, url) = spawn(directory.path()).await?;
        let server = Self {
            child,
            url,
            http: reqwest::Client::new(),
            directory,
        };
        server.ready().await?;
        Ok(server)
    }

    /// Waits until the server has loaded its state.
    async fn ready(&self) -> anyhow::Result<()> {
        let url = self.url.replace("/api/v1", "/readyz");
        while !self.http.get(&url).send().await?.status().is_success() {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// The server's process.
    pub(super) fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("the server has ended")
    }

    /// The base of the API.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) const fn http(&self) -> &reqwest::Client {
        &self.http
    }

    async fn apply(&self, machines: u32) -> anyhow::Result<()> {
        let declarations = json!({"declarations": [
            {"kind": "image", "file": "bench.yaml", "text": IMAGE},
            {"kind": "policy", "file": "default.yaml", "text": policy(machines)},
        ]});
        let answer = self
            .http
            .post(format!("{}/apply", self.url))
            .json(&declarations)
            .send()
            .await?;
        checked(answer).await.map(drop)
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await?;
        Ok(serde_json::from_value(checked(answer).await?)?)
    }

    /// Queues `count` builds of one step.
    pub(super) async fn submit(&self, count: usize, run: &str) -> anyhow::Result<AcceptedView> {
        let builds: serde_json::Map<String, Value> = (0..count)
            .map(|place| {
                (
                    format!("b{place}"),
                    json!({"steps": [{"name": "run", "run": run}]}),
                )
            })
            .collect();
        self.submit_document(&json!({"name": "bench", "project": "bench", "builds": builds}))
            .await
    }

    /// Queues a pipeline document.
    pub(super) async fn submit_document(&self, document: &Value) -> anyhow::Result<AcceptedView> {
        let answer = self
            .http
            .post(format!("{}/pipelines", self.url))
            .json(document)
            .send()
            .await?;
        Ok(serde_json::from_value(checked(answer).await?)?)
    }

    /// Waits until all builds of a pipeline have succeeded, asking every `look`: each question costs
    /// the server its answer.
    pub(super) async fn finished(
        &self,
        id: &str,
        look: Duration,
    ) -> anyhow::Result<PipelineDetail> {
        loop {
            let detail: PipelineDetail = self.get(&format!("/pipelines/{id}")).await?;
            if detail.builds.iter().all(|build| build.result.is_some()) {
                let failed = detail
                    .builds
                    .iter()
                    .find(|build| build.result != Some(ResultWord::Success));
                if let Some(failed) = failed {
                    bail!("{} did not succeed: {:?}", failed.id, failed.reason);
                }
                return Ok(detail);
            }
            tokio::time::sleep(look).await;
        }
    }

    /// Boots all machines that the policy allows, by as many builds that wait for each other.
    pub(super) async fn warm_up(&self, machines: u32) -> anyhow::Result<()> {
        let count = usize::try_from(machines)?;
        let accepted = self.submit(count, "sleep 2").await?;
        self.finished(&accepted.pipeline.to_string(), LOOK).await?;
        let answer: Value = self.get("/machines").await?;
        let up = answer
            .get("items")
            .and_then(Value::as_array)
            .map_or(0, Vec::len);
        if up != count {
            bail!("{up} machines are warm, {count} were wanted");
        }
        Ok(())
    }

    /// Ends the machines through the API, then the server, and gives the directory back.
    pub(super) async fn stop(mut self) -> anyhow::Result<TempDir> {
        let watch = Stopwatch::start();
        loop {
            let answer: Value = self.get("/machines").await?;
            let machines = answer
                .get("items")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            if machines.is_empty() {
                break;
            }
            for id in machines
                .iter()
                .filter_map(|machine| machine.get("id")?.as_str())
            {
                self.http
                    .post(format!("{}/machines/{id}/end", self.url))
                    .send()
                    .await?;
            }
            if watch.elapsed() > PATIENCE {
                bail!("{} machines did not end", machines.len());
            }
            tokio::time::sleep(LOOK).await;
        }
        let pid = self
            .child
            .id()
            .and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
        if let Some(pid) = pid {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        self.child.wait().await?;
        Ok(self.directory)
    }
}

/// An answer's body, or what was wrong.
async fn checked(answer: reqwest::Response) -> anyhow::Result<Value> {
    let (status, url) = (answer.status(), answer.url().clone());
    let body = answer.text().await?;
    if !status.is_success() {
        bail!("{url} answered {status}: {body}");
    }
    Ok(serde_json::from_str(&body)?)
}

async fn spawn(directory: &Path) -> anyhow::Result<(Child, String)> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("serve")
        .env("DORMOUSE_DATA_DIR", directory.join("data"))
        .env("DORMOUSE_LISTEN", "127.0.0.1:0")
        .env("DORMOUSE_AUTH", "open")
        .env("DORMOUSE_LOG_LEVEL", "info")
        .env("DORMOUSE_LOG_FORMAT", "json")
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the server")?;
    let stderr = child.stderr.take().context("no standard error")?;
    let mut lines = BufReader::new(stderr).lines();
    let address = tokio::time::timeout(PATIENCE, async {
        while let Some(line) = lines.next_line().await? {
            let said: Value = serde_json::from_str(&line).unwrap_or_default();
            let fields = said.get("fields");
            let address = fields.and_then(|fields| fields.get("address")?.as_str());
            if let Some(address) = address {
                return Ok(address.to_owned());
            }
        }
        bail!("the server ended before it listened")
    })
    .await
    .context("the server does not listen")??;
    // What it says later is passed on, so that its pipe never fills.
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            eprintln!("{line}");
        }
    });
    Ok((child, format!("http://{address}/api/v1")))
}

const IMAGE: &str = "\
name: bench
provider: local
login: { user: builder }
boot_timeout: 60s
shapes: [{ name: small, vcpus: 1, memory: 512MiB, price: 0.01 }]
capabilities: { shell: true }
";

fn policy(machines: u32) -> String {
    format!("name: default\nlimits: {{ machines: {machines} }}\nidle: {{ timeout: 1h }}\n")
}
