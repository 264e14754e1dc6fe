//! The program, with an EC2 provider that goes to the emulator.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::emulator::{Emulator, wait_for};

/// An emulated account, a server on it, and a directory for both.
pub(crate) struct Server {
    pub(crate) lab: Emulator,
    directory: TempDir,
    pub(crate) process: Option<Process>,
}

pub(crate) struct Process {
    pub(crate) child: Child,
    url: String,
}

/// An image of the newest Debian, by its name. Without the 60 s that EC2 bills at least, in which an
/// idle machine costs nothing more and is kept.
pub(crate) const DEBIAN: &str = "\
name: debian
provider: lab
reference: { ami: { owner: '136693071363', name: 'debian-12-amd64-*' } }
login: { user: admin }
shapes: { types: [m7i.large, c7i.large] }
capabilities: { os: debian, arch: x86_64, sh: true }
boot_timeout: 40s
billing: { minimum: 0s }
";

/// Machines go soon after their work.
pub(crate) const POLICY: &str = "\
name: default
limits: { machines: 60 }
idle: { timeout: 1s }
";

/// As [`POLICY`], with spare capacity where there is any.
pub(crate) const SPOT: &str = "\
name: default
market: spot-with-fallback
limits: { machines: 60 }
idle: { timeout: 1s }
";

impl Server {
    /// A server with one image.
    pub(crate) fn start(policy: &str) -> Self {
        Self::with(&[("debian", DEBIAN)], policy)
    }

    pub(crate) fn with(images: &[(&str, &str)], policy: &str) -> Self {
        Self::on(Emulator::start(), images, policy)
    }

    /// A server on an account that was prepared.
    pub(crate) fn on(lab: Emulator, images: &[(&str, &str)], policy: &str) -> Self {
        let mut server = Self {
            lab,
            directory: tempfile::tempdir().unwrap(),
            process: None,
        };
        server.write_config("");
        server.restart();
        server.apply("policies", "default", policy);
        for (name, image) in images {
            server.apply("images", name, image);
        }
        server
    }

    /// Writes the configuration, with more keys of the provider if need be.
    pub(crate) fn write_config(&self, more: &str) {
        let lab = &self.lab;
        let text = format!(
            "\
listen: 127.0.0.1:0
auth: open
data_dir: {data}
log: {{ format: json }}
engine: {{ lease: 60s, sweep_interval: 1s }}
providers:
  local: {{ enabled: false }}
  ec2:
    lab:
      region: {region}
      endpoint_url: {front}
      installation: tests
      subnets: {subnets:?}
      security_groups: [{group}]
      metadata_url: 'http://{{address}}:{metadata}'
      ssh_port: {port}
      poll_interval: 200ms
{more}",
            data = self.directory.path().join("data").display(),
            region = lab.text("region"),
            front = lab.text("front"),
            subnets = lab.subnets(),
            group = lab.text("security_group"),
            metadata = lab.number("metadata_port"),
            port = lab.number("ssh_port"),
        );
        fs::write(self.directory.path().join("dormouse.yaml"), text).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dormouse"));
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("AWS_ACCESS_KEY_ID", self.lab.text("access_key_id"))
            .env("AWS_SECRET_ACCESS_KEY", self.lab.text("secret_access_key"))
            // Were it ever asked, it would be somebody else's.
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
    }

    /// Starts the server on what is there.
    pub(crate) fn restart(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let mut child = self
            .command()
            .arg("serve")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let url = lines.by_ref().map(|line| line.unwrap()).find_map(|line| {
            let said: Value = serde_json::from_str(&line).unwrap_or_default();
            if said["fields"]["address"].is_null() {
                eprintln!("{line}");
            }
            let address = said["fields"]["address"].as_str()?;
            Some(format!("http://{address}"))
        });
        let url = url.expect("the server listens");
        // Whatever it says later must not fill its pipe.
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|line| eprintln!("{line}"));
        });
        self.process = Some(Process { child, url });
    }

    /// Ends the server as a power cut would.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().expect("it runs");
        process.child.kill().unwrap();
        process.child.wait().unwrap();
    }

    fn url(&self) -> &str {
        &self.process.as_ref().expect("it runs").url
    }

    /// Runs the command line against this server.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command();
        if let Some(process) = &self.process {
            command.env("DORMOUSE_SERVER", &process.url);
        }
        command.args(arguments).output().unwrap()
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn apply(&self, kind: &str, name: &str, text: &str) {
        let directory = self.directory.path().join(kind);
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join(format!("{name}.yaml"));
        fs::write(&path, text).unwrap();
        let output = self.run(&["apply", path.to_str().unwrap()]);
        assert!(output.status.success(), "{output:?}");
    }

    /// Queues a pipeline; its builds' ids, in document order.
    pub(crate) fn submit(&self, builds: &Value) -> Vec<String> {
        let document = json!({ "name": "test", "project": "test", "builds": builds });
        let url = format!("{}/api/v1/pipelines", self.url());
        let accepted = self.lab.http(Method::POST, &url, Some(&document));
        let builds = accepted["builds"].as_array().unwrap();
        let id = |build: &Value| build["id"].as_str().unwrap().to_owned();
        builds.iter().map(id).collect()
    }

    /// Queues one build of one step.
    pub(crate) fn submit_one(&self, run: &str) -> String {
        let builds = json!({ "one": { "requires": { "sh": true }, "steps": [run] } });
        self.submit(&builds).remove(0)
    }

    /// An answer of the server; none while it is loading its state.
    pub(crate) fn try_get(&self, path: &str) -> Option<Value> {
        let url = format!("{}/api/v1/{path}", self.url());
        self.lab.try_http(Method::GET, &url, None).ok()
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        wait_for(path, || self.try_get(path))
    }

    /// The build once it has a result.
    pub(crate) fn finished(&self, build: &str) -> Value {
        wait_for("the build's result", || {
            let detail = self.try_get(&format!("builds/{build}"))?;
            (!detail["build"]["result"].is_null()).then_some(detail)
        })
    }

    /// Waits for a build's end, which must be a success with just this log.
    pub(crate) fn succeeds(&self, build: &str, log: &str) -> Value {
        let detail = self.finished(build);
        assert_eq!(detail["build"]["result"], "success", "{detail:#}");
        assert_eq!(self.log(build), log);
        detail
    }

    pub(crate) fn log(&self, build: &str) -> String {
        let url = format!("{}/api/v1/builds/{build}/log", self.url());
        self.lab.page(&url)
    }

    /// Machines that are not proved gone.
    pub(crate) fn machines(&self) -> Vec<Value> {
        self.get("machines?limit=200")["items"]
            .as_array()
            .unwrap()
            .clone()
    }

    /// The machine in a state, once there is one.
    pub(crate) fn machine_in(&self, state: &str) -> Value {
        wait_for(state, || {
            let machines = self.machines();
            machines
                .into_iter()
                .find(|machine| machine["state"] == *state)
        })
    }

    /// All events so far, as one text.
    pub(crate) fn events(&self) -> String {
        let mut text = String::new();
        let mut after = 0;
        loop {
            let page = self.get(&format!("events?after={after}&limit=200"));
            let items = page["items"].as_array().unwrap();
            for event in items {
                text.push_str(event["message"].as_str().unwrap());
                text.push('\n');
            }
            after = page["next"].as_u64().unwrap();
            if items.is_empty() || page["next"] == page["last"] {
                return text;
            }
        }
    }

    /// Waits until an event says this.
    pub(crate) fn until_an_event_says(&self, words: &str) {
        wait_for(words, || self.events().contains(words).then_some(()));
    }

    /// What holds at the end of every test: no machine in the books, nothing in the account, and
    /// what machines cost is what builds and overhead cost.
    pub(crate) fn nothing_is_left(&self) {
        wait_for("the end of all machines", || {
            self.machines().is_empty().then_some(())
        });
        self.lab.until_nothing_is_left();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}
