//! Many machines of EC2 at once: `cargo bench --bench ec2 [-- MACHINES]`.
//!
//! The emulator of the tests with a real OpenSSH server per machine, the program as it is released,
//! and one build per machine. Prints JSON: API calls by action, the time from the moment a machine's
//! sshd listens to the first step of its build, and how long all of it took. The emulator and all
//! guests share the host's processors with the program, so the figures are upper bounds. What nobody
//! can save is measured before, in the same run: as many machines, and for each no more than a login
//! and `true` (see `plain`).

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a bench measures real time and may stop at the first surprise"
)]
#![allow(dead_code, reason = "the tests use more of the harness")]

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Map, Value, json};

#[path = "../tests/ec2/emulator.rs"]
mod emulator;
#[path = "ec2/plain.rs"]
mod plain;
#[path = "../tests/ec2/server.rs"]
mod server;

use emulator::{Emulator, wait_for};
use server::{DEBIAN, Server};

/// Machines when nobody says otherwise.
const MACHINES: usize = 200;

fn main() {
    let asked = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let machines: usize = asked.unwrap_or(MACHINES);
    let policy = format!(
        "name: default\nlimits: {{ machines: {machines} }}\nidle: {{ timeout: 10m }}\nreuse: {{ builds: 1 }}\n"
    );
    let lab = Emulator::start();
    // What a small instance takes at best, from launch to an answer of sshd.
    lab.settings(&json!({ "pending_ms": 3_000, "boot_ms": 5_000 }));
    let plain = plain::logins(&lab, machines);
    let server = Server::on(lab, &[("debian", DEBIAN)], &policy);
    server.until_an_event_says("stands for");
    let before = calls(&server);
    let begun = Instant::now();
    let builds = submit(&server, machines);
    let up = watch(&server.lab, machines);
    let overheads = overheads(&server, &builds, &up);
    let worked = begun.elapsed();
    let cpu = cpu_millis(&server);
    server.nothing_is_left();
    let report = json!({
        "method": "emulated EC2 and one OpenSSH server per machine on this host; one build each",
        "machines": machines,
        "instances": server.lab.instances(None).len(),
        "sshd_listens_to_first_step_ms": quantiles(overheads),
        "sshd_listens_to_login_and_true_ms": quantiles(plain),
        "program_cpu_ms_per_machine": cpu / machines as u64,
        "submit_to_last_result_ms": worked.as_millis(),
        "submit_to_nothing_left_ms": begun.elapsed().as_millis(),
        "api_calls": difference(&before, &calls(&server)),
    });
    println!("{}", serde_json::to_string_pretty(&report).unwrap());
}

fn submit(server: &Server, count: usize) -> Vec<String> {
    let build = || json!({ "requires": { "sh": true }, "steps": ["echo done"] });
    let builds: Map<String, Value> = (0..count)
        .map(|n| (format!("build-{n}"), build()))
        .collect();
    server.submit(&Value::Object(builds))
}

/// When the sshd of each instance began to listen, by instance, in microseconds since 1970.
fn watch(lab: &Emulator, machines: usize) -> BTreeMap<String, u64> {
    let mut up = BTreeMap::new();
    wait_for("all machines", || {
        for guest in lab.get("/guests").as_array().unwrap() {
            if let Some(at) = guest["up_at"].as_u64() {
                up.insert(guest["id"].as_str().unwrap().to_owned(), at);
            }
        }
        (up.len() >= machines).then_some(())
    });
    up
}

/// Milliseconds from a listening sshd to the first step, of each build.
fn overheads(server: &Server, builds: &[String], up: &BTreeMap<String, u64>) -> Vec<f64> {
    let finished: Vec<Value> = builds.iter().map(|build| server.finished(build)).collect();
    let again = finished
        .iter()
        .filter(|detail| detail["attempts"].as_array().unwrap().len() > 1);
    for detail in again {
        eprintln!("more than one attempt: {}", detail["attempts"]);
    }
    let instances = instances(server);
    let measured = finished.iter().map(|detail| {
        let attempt = detail["attempts"].as_array().unwrap().last().unwrap();
        let began: jiff::Timestamp = attempt["started_at"].as_str().unwrap().parse().unwrap();
        let instance = instances.get(attempt["machine"].as_str().unwrap());
        let listens = instance.and_then(|instance| up.get(instance).copied());
        let listens = i64::try_from(listens.expect("its instance was seen")).unwrap();
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of some minutes")]
        let millis = (began.as_microsecond() - listens) as f64 / 1_000.0;
        millis
    });
    measured.collect()
}

/// What the program has used of the processors, in the kernel and outside.
fn cpu_millis(server: &Server) -> u64 {
    let pid = server.process.as_ref().unwrap().child.id();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name, which may hold anything, the 12th and 13th; in hundredths of a second.
    let after = stat.rsplit(')').next().unwrap();
    let ticks = after.split_ascii_whitespace().skip(11).take(2);
    ticks.map(|word| word.parse::<u64>().unwrap() * 10).sum()
}

/// The instance of each machine there was: events outlive machines.
fn instances(server: &Server) -> BTreeMap<String, String> {
    let mut instances = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = server.get(&format!("events?after={after}&limit=200"));
        for event in page["items"].as_array().unwrap() {
            if event["kind"] == "machine_launched" {
                let machine = event["subject"]["id"].as_str().unwrap().to_owned();
                let message = event["message"].as_str().unwrap();
                let instance = message.rsplit(' ').next().unwrap().to_owned();
                instances.insert(machine, instance);
            }
        }
        after = page["next"].as_u64().unwrap();
        if page["next"] == page["last"] {
            return instances;
        }
    }
}

fn quantiles(mut all: Vec<f64>) -> Value {
    all.sort_by(f64::total_cmp);
    let at = |percent: usize| all[(all.len() * percent / 100).min(all.len() - 1)].round();
    json!({ "p50": at(50), "p90": at(90), "p99": at(99), "max": all[all.len() - 1].round() })
}

fn calls(server: &Server) -> Map<String, Value> {
    let counts = server.lab.get("/journal")["counts"].clone();
    counts.as_object().unwrap().clone()
}

fn difference(before: &Map<String, Value>, after: &Map<String, Value>) -> Map<String, Value> {
    let of = |counts: &Map<String, Value>, action: &str| counts.get(action).and_then(Value::as_u64);
    let grown = after.keys().filter_map(|action| {
        let grown = of(after, action).unwrap_or(0) - of(before, action).unwrap_or(0);
        (grown > 0).then(|| (action.clone(), json!(grown)))
    });
    grown.collect()
}
