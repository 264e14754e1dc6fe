//! The EC2 lab as a Rust test sees it: starts the Python process, speaks its control API, ends it on drop.
//!
//! `tests/ec2/lab/README.md` is the full contract. The calls most used, all through [`Lab::get`], [`Lab::post`],
//! [`Lab::put`], [`Lab::patch`] and [`Lab::delete`] with JSON bodies:
//!
//! | call | effect |
//! |---|---|
//! | `POST /reset {}` | back to an empty account; answers when no guest is left |
//! | `PATCH /settings {"boot_ms": 50, "describe_lag_ms": 0, "not_found_ms": 0, "leave_volumes": false, …}` | delays and modes |
//! | `POST /faults {"action", "type", "zone", "market", "skip", "count", "error": {"code", "status"} …}` | or `latency_ms`, `lose_reply`: before/after, `hang`, `page`, `lag_ms`; answers `{"id"}` |
//! | `DELETE /faults`, `DELETE /faults/ID` | ends all, or one |
//! | `POST /guest-faults {"boot": "never" / "no-sshd" / "wrong-host-key", "slow_ms", "sshd_dies_after_ms", "launch_fails"}` | guests that start from now on |
//! | `PUT /capacity [{"type", "zone", "market", "slots"}]` | the first match counts, per pool |
//! | `PUT /quotas {"on-demand": 64, "spot": null}`, `PUT /throttle {"on": true}` | vCPUs; token buckets |
//! | `GET /journal`, `GET /journal/ACTION`, `DELETE /journal` | calls so far |
//! | `GET /summary` | all that exists, see [`Summary`] |
//! | `GET /instances/ID`, `GET /guests/ID`, `GET /guests/ID/console` | one of them |
//! | `POST /instances/ID/reclaim {"after_ms": 2000}` | a spot interruption with notice and event |
//! | `POST /instances/ID/terminate {"reason": "Server.InternalError"}` | the provider ends it |
//! | `POST /guests/ID/sshd {"run": false}`, `/freeze {"frozen": true}`, `/crash {}`, `/power-off {}` | at the guest |
//! | `POST /volumes {"zone", "tags"}`, `POST /interfaces {"subnet", "tags"}` | something left behind |
//!
//! One lab serves one test at a time; several labs may run side by side, each on a /16 of its own.

#![allow(
    dead_code,
    reason = "the whole contract stands here, whatever of it the tests use today"
)]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

/// What the ready file says; ids of what exists from the start.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Ready {
    pub(crate) pid: u32,
    pub(crate) front: String,
    pub(crate) control: String,
    pub(crate) region: String,
    pub(crate) account: String,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) network: String,
    pub(crate) ssh_port: u16,
    pub(crate) metadata_port: u16,
    pub(crate) vpc: String,
    pub(crate) security_group: String,
    pub(crate) subnets: Vec<Subnet>,
    pub(crate) images: Vec<Image>,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) queue_url: String,
    pub(crate) queue_arn: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Subnet {
    pub(crate) id: String,
    pub(crate) zone: String,
    pub(crate) cidr: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Image {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) owner: String,
    pub(crate) os: String,
    pub(crate) version: String,
    pub(crate) arch: String,
    pub(crate) created: String,
    pub(crate) login: String,
}

/// All that exists in the account. Nothing leaked: [`Summary::leaks`] is empty.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Summary {
    /// Ids by state.
    pub(crate) instances: BTreeMap<String, Vec<String>>,
    pub(crate) volumes: Vec<Left>,
    pub(crate) interfaces: Vec<Left>,
    pub(crate) spot_requests: Vec<Left>,
    pub(crate) fleets: Vec<Left>,
    pub(crate) launch_templates: Vec<Template>,
    /// Guests that have processes.
    pub(crate) guests: usize,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Left {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) instance: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Template {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) tags: BTreeMap<String, String>,
}

impl Summary {
    /// The ids of instances in that state.
    pub(crate) fn in_state(&self, state: &str) -> &[String] {
        self.instances.get(state).map_or(&[], Vec::as_slice)
    }

    /// Whatever still costs money or takes up a name: `kind id (state)`, nothing when all is tidy.
    pub(crate) fn leaks(&self) -> Vec<String> {
        let mut leaks = Vec::new();
        for (state, ids) in &self.instances {
            if state != "terminated" {
                leaks.extend(ids.iter().map(|id| format!("instance {id} ({state})")));
            }
        }
        let kinds = [
            ("volume", &self.volumes),
            ("interface", &self.interfaces),
            ("spot request", &self.spot_requests),
            ("fleet", &self.fleets),
        ];
        for (kind, all) in kinds {
            let shown = |left: &Left| format!("{kind} {} ({})", left.id, left.state);
            leaks.extend(all.iter().map(shown));
        }
        leaks.extend(
            self.launch_templates
                .iter()
                .map(|each| format!("template {}", each.id)),
        );
        if self.guests > 0 {
            leaks.push(format!("{} guests", self.guests));
        }
        leaks
    }
}

/// A running lab. Dropping it ends the process, and with it every guest.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) ready: Ready,
    process: Child,
    http: reqwest::Client,
    _directory: tempfile::TempDir,
}

impl Lab {
    /// Starts one, on ports and a network of its own. Panics with what the lab said if it cannot run here.
    pub(crate) async fn start() -> Self {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ready.json");
        // Its stdin is a pipe of ours: should this process be killed, the lab sees the end and leaves too.
        let mut process = Command::new(top.join(".venv/bin/python"))
            .args(["-m", "lab", "--watch-stdin", "--ready-file"])
            .arg(&file)
            .current_dir(top.join("tests/ec2"))
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`tests/run` makes .venv");
        let deadline = Instant::now() + Duration::from_mins(1);
        while !file.exists() {
            let ended = process.try_wait().unwrap().is_some();
            if ended || Instant::now() > deadline {
                let _ = process.kill();
                let mut said = String::new();
                let _ = process.stderr.take().unwrap().read_to_string(&mut said);
                panic!("the lab did not start: {said}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        pass_on(process.stderr.take().unwrap());
        let ready = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let http = reqwest::Client::new();
        Self {
            ready,
            process,
            http,
            _directory: directory,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.call(reqwest::Method::GET, path, &json!({})).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        self.call(reqwest::Method::POST, path, &body).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Value {
        self.call(reqwest::Method::PUT, path, &body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Value {
        self.call(reqwest::Method::PATCH, path, &body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Value {
        self.call(reqwest::Method::DELETE, path, &json!({})).await
    }

    /// Adds an API fault rule; its id.
    pub(crate) async fn fault(&self, rule: Value) -> String {
        self.post("/faults", rule).await["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub(crate) async fn summary(&self) -> Summary {
        serde_json::from_value(self.get("/summary").await).unwrap()
    }

    /// How often an action was called since the start, the last reset or `DELETE /journal`.
    pub(crate) async fn calls(&self, action: &str) -> u64 {
        self.get("/journal").await["counts"][action]
            .as_u64()
            .unwrap_or(0)
    }

    /// The newest image of a system, `debian` or `ubuntu`, for `x86_64` or `arm64`.
    pub(crate) fn image(&self, os: &str, arch: &str) -> &Image {
        let mut images = self.ready.images.iter().rev();
        images
            .find(|image| image.os == os && image.arch == arch)
            .unwrap()
    }

    /// Refuses every address that is not the lab's own: no test may reach out of loopback.
    pub(crate) fn assert_own(&self, address: IpAddr) {
        let prefix = self.ready.network.trim_end_matches("0.0/16");
        assert!(
            address.to_string().starts_with(prefix),
            "{address} is outside the lab's {}",
            self.ready.network
        );
    }

    /// Any answer but 200 is a mistake of the test, and shown.
    async fn call(&self, method: reqwest::Method, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.ready.control);
        let answer = self
            .http
            .request(method.clone(), url)
            .json(body)
            .send()
            .await
            .unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{method} {path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let deadline = Instant::now() + Duration::from_secs(10);
        while let Ok(None) = self.process.try_wait() {
            if Instant::now() > deadline {
                // By the handle, so by the id of a process that is ours; its guests die with it.
                let _ = self.process.kill();
                let _ = self.process.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// What the lab says later (a flaw of its own) goes to the test's stderr, so that its pipe never fills.
fn pass_on(mut said: std::process::ChildStderr) {
    std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::stderr()));
}
