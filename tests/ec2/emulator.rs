//! The emulated account: starts the lab process and talks to its control API. What it can do is told
//! in `lab/README.md`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Longest wait for anything on a busy machine; nothing takes nearly that long.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// An account with nothing in it.
pub(crate) struct Emulator {
    child: Child,
    /// What the lab says of itself.
    pub(crate) ready: Value,
    runtime: Runtime,
    client: Client,
    _directory: TempDir,
}

impl Emulator {
    pub(crate) fn start() -> Self {
        let top = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = top.join(".venv/bin/python");
        assert!(
            python.exists(),
            "{} is missing: tests/run installs it",
            python.display()
        );
        let directory = tempfile::tempdir().unwrap();
        let ready = directory.path().join("ready.json");
        let child = Command::new(python)
            .args(["-m", "lab", "--watch-stdin", "--ready-file"])
            .arg(&ready)
            .current_dir(top.join("tests/ec2"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let ready = wait_for("the emulator", || read_json(&ready));
        Self {
            child,
            ready,
            runtime: Runtime::new().unwrap(),
            client: Client::new(),
            _directory: directory,
        }
    }

    /// A text of the ready file.
    pub(crate) fn text(&self, key: &str) -> String {
        self.ready[key].as_str().unwrap().to_owned()
    }

    pub(crate) fn number(&self, key: &str) -> u64 {
        self.ready[key].as_u64().unwrap()
    }

    pub(crate) fn subnets(&self) -> Vec<String> {
        let subnets = self.ready["subnets"].as_array().unwrap();
        let id = |subnet: &Value| subnet["id"].as_str().unwrap().to_owned();
        subnets.iter().map(id).collect()
    }

    /// One call to any HTTP server; its JSON answer.
    pub(crate) fn http(&self, method: Method, url: &str, body: Option<&Value>) -> Value {
        self.try_http(method, url, body)
            .unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    pub(crate) fn try_http(
        &self,
        method: Method,
        url: &str,
        body: Option<&Value>,
    ) -> Result<Value, String> {
        self.runtime.block_on(async {
            let mut request = self.client.request(method, url);
            if let Some(body) = body {
                request = request.json(body);
            }
            let answer = request.send().await.map_err(|error| error.to_string())?;
            let status = answer.status();
            let text = answer.text().await.map_err(|error| error.to_string())?;
            if !status.is_success() {
                return Err(format!("{status}: {text}"));
            }
            serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
        })
    }

    /// The text of an answer.
    pub(crate) fn page(&self, url: &str) -> String {
        self.runtime.block_on(async {
            let answer = self.client.get(url).send().await.unwrap();
            assert!(answer.status().is_success(), "{url}: {}", answer.status());
            answer.text().await.unwrap()
        })
    }

    fn control(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let url = format!("{}{path}", self.text("control"));
        self.http(method, &url, body)
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        self.control(Method::GET, path, None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Value {
        self.control(Method::POST, path, Some(body))
    }

    pub(crate) fn settings(&self, body: &Value) {
        self.control(Method::PATCH, "/settings", Some(body));
    }

    pub(crate) fn fault(&self, rule: &Value) {
        self.post("/faults", rule);
    }

    pub(crate) fn guest_fault(&self, rule: &Value) {
        self.post("/guest-faults", rule);
    }

    pub(crate) fn clear_faults(&self) {
        self.control(Method::DELETE, "/faults", None);
    }

    pub(crate) fn capacity(&self, slots: &Value) {
        self.control(Method::PUT, "/capacity", Some(slots));
    }

    pub(crate) fn quotas(&self, body: &Value) {
        self.control(Method::PUT, "/quotas", Some(body));
    }

    /// How often an action was called.
    pub(crate) fn calls(&self, action: &str) -> u64 {
        self.get("/journal")["counts"][action].as_u64().unwrap_or(0)
    }

    /// Instances in a state, or all of them.
    pub(crate) fn instances(&self, state: Option<&str>) -> Vec<Value> {
        let mut all = self.get("/instances").as_array().unwrap().clone();
        all.retain(|i| state.is_none_or(|state| i["state"] == *state));
        all
    }

    /// The instance that runs, once there is one.
    pub(crate) fn running(&self) -> Value {
        wait_for("an instance that runs", || {
            self.instances(Some("running")).into_iter().next()
        })
    }

    /// What is still there, in words; nothing when the account is as it was.
    pub(crate) fn left(&self) -> Option<String> {
        let summary = self.get("/summary");
        let mut left = Vec::new();
        for (state, ids) in summary["instances"].as_object().unwrap() {
            let some = ids.as_array().is_some_and(|ids| !ids.is_empty());
            if state != "terminated" && some {
                left.push(format!("{state} instances {ids}"));
            }
        }
        for kind in [
            "volumes",
            "interfaces",
            "spot_requests",
            "fleets",
            "launch_templates",
        ] {
            if summary[kind].as_array().is_some_and(|all| !all.is_empty()) {
                left.push(format!("{kind} {}", summary[kind]));
            }
        }
        if summary["guests"] != json!(0) {
            left.push(format!("guests {}", summary["guests"]));
        }
        (!left.is_empty()).then(|| left.join("; "))
    }

    /// Waits until nothing is left, and says what was there last if that does not come.
    pub(crate) fn until_nothing_is_left(&self) {
        let begun = Instant::now();
        while let Some(left) = self.left() {
            assert!(begun.elapsed() < PATIENCE, "left in the account: {left}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Emulator {
    /// Its end is the end of its guests, too.
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // It hangs: its guests are killed with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_json(path: &PathBuf) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Looks again and again until something is there.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(25));
    }
}
