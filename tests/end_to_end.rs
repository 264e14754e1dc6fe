//! The program as its users run it: real processes, real SSH, a real database, and `kill -9`.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "these tests start processes and wait for them in real time"
)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for anything on a busy machine; nothing takes nearly that long.
const PATIENCE: Duration = Duration::from_secs(90);

const IMAGE: &str = "\
name: shells
provider: local
login: { user: builder }
boot_timeout: 60s
shapes: [{ name: small, vcpus: 1, memory: 512MiB, price: 0.36 }]
capabilities: { os: linux, shell: [sh] }
probes: { shell: \"command -v sh >/dev/null && echo sh\", os: \"uname | tr A-Z a-z\" }
";
const POLICY: &str = "name: default\nlimits: { machines: 2 }\nidle: { timeout: 1s }\n";

/// A server process on a directory of its own.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(directory: &Path, settings: &[&str]) -> Self {
        Self::start_on(directory, "127.0.0.1:0", settings)
    }

    fn start_on(directory: &Path, listen: &str, settings: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dormouse"));
        command.args(["serve", "--listen", listen, "--auth", "open", "--data-dir"]);
        command
            .arg(directory.join("data"))
            .args(["--set", "log.format=json"]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        if !settings
            .iter()
            .any(|setting| setting.starts_with("engine.lease="))
        {
            // What a test leaves behind ends soon after its server.
            command.args(["--set", "engine.lease=30s"]);
        }
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .current_dir(directory);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let url = lines
            .by_ref()
            .map(|line| line.unwrap())
            .find_map(|line| {
                let said: Value = serde_json::from_str(&line).unwrap_or_default();
                let address = said["fields"]["address"].as_str()?;
                Some(format!("http://{address}"))
            })
            .expect("the server listens");
        // Whatever it says later must not fill its pipe.
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|line| eprintln!("{line}"));
        });
        Self { child, url }
    }

    /// Runs the command line against this server.
    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_dormouse"))
            .args(arguments)
            .env_clear()
            .env("DORMOUSE_SERVER", &self.url)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The JSON answer of a command that must succeed.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn apply(&self, directory: &Path) {
        fs::create_dir_all(directory.join("images")).unwrap();
        fs::create_dir_all(directory.join("policies")).unwrap();
        fs::write(directory.join("images/shells.yaml"), IMAGE).unwrap();
        fs::write(directory.join("policies/default.yaml"), POLICY).unwrap();
        let (images, policies) = (directory.join("images"), directory.join("policies"));
        let output = self.run(&[
            "apply",
            images.to_str().unwrap(),
            policies.to_str().unwrap(),
        ]);
        assert!(output.status.success(), "{output:?}");
    }

    /// Queues one build of one step; its id.
    fn submit(&self, directory: &Path, run: &str) -> String {
        let document = serde_json::json!({
            "name": "test", "project": "test",
            "builds": {"one": {"steps": [{"name": "run", "run": run}]}},
        });
        let path = directory.join("pipeline.json");
        fs::write(&path, document.to_string()).unwrap();
        let accepted = self.json(&["submit", path.to_str().unwrap()]);
        accepted["builds"][0]["id"].as_str().unwrap().to_owned()
    }

    /// The build once it has a result.
    fn finished(&self, build: &str) -> Value {
        wait_for("the build's result", || {
            let detail = self.json(&["build", build]);
            (!detail["build"]["result"].is_null()).then_some(detail)
        })
    }

    fn machines(&self) -> usize {
        self.json(&["machines"]).as_array().unwrap().len()
    }

    fn signal(&mut self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already, in the tests that end it themselves.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks until there is an answer.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Processes that mention a directory: its machines.
fn processes_of(directory: &Path) -> usize {
    let wanted = directory.to_str().unwrap();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok())
        .filter(|line| {
            let line = String::from_utf8_lossy(line);
            line.contains(wanted) && line.contains("local-machine")
        })
        .count()
}

const LINES: &str = "i=0; while [ $i -lt 150 ]; do echo line $i; sleep 0.05; i=$((i+1)); done";

fn expected_lines() -> String {
    let lines: Vec<String> = (0..150).map(|i| format!("line {i}\n")).collect();
    lines.concat()
}

#[test]
fn a_build_survives_kill_9_of_the_orchestrator() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut server = Server::start(directory, &[]);
    server.apply(directory);
    let build = server.submit(directory, LINES);
    wait_for("some of the log", || {
        let log = server.run(&["logs", &build]).stdout;
        (log.split(|byte| *byte == b'\n').count() > 20).then_some(())
    });
    server.signal("-KILL");
    assert_eq!(processes_of(directory), 1, "the machine goes on");

    let server = Server::start(directory, &[]);
    let detail = server.finished(&build);
    assert_eq!(detail["build"]["result"], "success");
    assert_eq!(
        detail["attempts"].as_array().unwrap().len(),
        1,
        "the same attempt went on"
    );
    let log = server.run(&["logs", &build]).stdout;
    assert_eq!(String::from_utf8(log).unwrap(), expected_lines());
    wait_for("the machines to go", || {
        (server.machines() == 0).then_some(())
    });
    assert_eq!(processes_of(directory), 0);
}

#[test]
fn a_follower_sees_every_byte_once_across_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut server = Server::start(directory, &[]);
    server.apply(directory);
    let build = server.submit(directory, LINES);
    let address = server.url.trim_start_matches("http://").to_owned();
    let follower = Command::new(env!("CARGO_BIN_EXE_dormouse"))
        .args(["logs", &build, "--follow"])
        .env_clear()
        .env("DORMOUSE_SERVER", &server.url)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("some of the log", || {
        let log = server.run(&["logs", &build]).stdout;
        (log.len() > 200).then_some(())
    });
    server.signal("-KILL");
    let again = Server::start_on(directory, &address, &[]);
    let output = follower.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        expected_lines(),
        "{}",
        again.url
    );
}

#[test]
fn machines_of_a_dead_orchestrator_end_with_their_lease() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let mut server = Server::start(directory, &["engine.lease=10s"]);
    server.apply(directory);
    server.submit(directory, "sleep 600");
    wait_for("the build to run", || {
        let builds = server.json(&["builds"]);
        (builds[0]["state"] == "running").then_some(())
    });
    server.signal("-KILL");
    assert_eq!(processes_of(directory), 1);
    wait_for("the machine to power itself off", || {
        (processes_of(directory) == 0).then_some(())
    });
}

#[test]
fn a_second_orchestrator_on_the_same_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let _server = Server::start(directory, &[]);
    let second = Command::new(env!("CARGO_BIN_EXE_dormouse"))
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--auth",
            "open",
            "--data-dir",
        ])
        .arg(directory.join("data"))
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        !second.status.success() && said.contains("another dormouse serves from"),
        "{said}"
    );
}

#[test]
fn an_image_is_verified_by_its_probes() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let server = Server::start(directory, &[]);
    server.apply(directory);
    let good = server.run(&["image", "verify", "shells"]);
    assert!(good.status.success(), "{good:?}");
    let wrong = IMAGE.replace("shell: [sh]", "shell: [sh, fish-9]");
    fs::write(directory.join("images/shells.yaml"), wrong).unwrap();
    let applied = server.run(&["apply", directory.join("images").to_str().unwrap()]);
    assert!(applied.status.success(), "{applied:?}");
    let bad = server.run(&["image", "verify", "shells"]);
    assert!(!bad.status.success(), "{bad:?}");
    assert!(
        String::from_utf8_lossy(&bad.stdout).contains("fish-9"),
        "{bad:?}"
    );
}

#[test]
fn the_demonstration_does_what_it_says() {
    let output = Command::new(env!("CARGO_BIN_EXE_dormouse"))
        .args(["demo", "--json"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let builds = report["builds"].as_array().unwrap();
    assert!(builds.len() >= 5, "{report}");
    assert!(report["machines_launched"].as_u64().unwrap() >= 1);
    let rows = report["cost"]["rows"].as_array().unwrap();
    let sum: i64 = rows
        .iter()
        .map(|row| row["total"]["micro_usd"].as_i64().unwrap())
        .sum();
    assert_eq!(report["cost"]["total"]["micro_usd"].as_i64(), Some(sum));
}
