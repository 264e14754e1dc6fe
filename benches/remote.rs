//! Measures remote runs on warm sessions, against the local provider's machines and stock OpenSSH:
//! `cargo bench --bench remote`. To count its own processes only, run it in a process namespace:
//! `unshare --pid --fork --mount-proc cargo bench --bench remote`. Prints one line
//! of JSON per measurement.
//!
//! - `trivial`: one build (`true`) after the other on one machine: from `start` to the first step
//!   and to `Done`, and what all processes of it cost, this one included.
//! - `throughput`: trivial builds side by side on 20 machines.
//! - `log`: one build that prints 300 MB.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement may fail, and talks to the system directly"
)]

#[path = "../tests/remote/host.rs"]
#[expect(dead_code, reason = "shared with the tests, which use more of it")]
mod host;
#[path = "../tests/remote/run.rs"]
#[expect(dead_code, reason = "shared with the tests, which use more of it")]
mod run;

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dormouse::remote::{RunEvent, Session};
use host::{Host, Server, Shell};
use run::{attempt, build, step};

const DASH: Shell = Shell {
    program: "/usr/bin/dash",
    beliefs: "",
};
const TRIVIAL_BUILDS: u32 = 300;
const MACHINES: u32 = 20;
const BUILDS_PER_MACHINE: u32 = 50;
const LOG_BYTES: u32 = 300_000_000;
/// Clock ticks per second in `/proc`, fixed on Linux.
const TICKS: f64 = 100.0;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        for server in [Server::Local, Server::OpenSsh] {
            trivial(server).await;
            log(server).await;
            throughput(server).await;
        }
    });
}

/// Runs one build; time to its first step and to its end.
async fn once(session: &Arc<dyn Session>, text: &str) -> (Duration, Duration) {
    let attempt = attempt();
    let begun = Instant::now();
    let mut run = session
        .start(attempt, build(vec![step(text)]), 0)
        .await
        .unwrap();
    let mut first = None;
    loop {
        match run.events.recv().await.unwrap() {
            RunEvent::StepBegan { .. } => first = Some(begun.elapsed()),
            RunEvent::Done { code: 0, .. } => break,
            RunEvent::Log { .. } | RunEvent::StepEnded { .. } => {}
            end @ (RunEvent::Done { .. }
            | RunEvent::Lost { .. }
            | RunEvent::Disconnected { .. }) => panic!("{end:?}"),
        }
    }
    let done = begun.elapsed();
    session.discard(attempt).await.unwrap();
    (first.unwrap(), done)
}

async fn trivial(server: Server) {
    let host = Host::start(server, DASH).await;
    for _ in 0..20 {
        once(&host.session, "true").await;
    }
    let (processes, own, all) = (last_process(), own_seconds(), all_seconds());
    let begun = Instant::now();
    let (mut first, mut done) = (Vec::new(), Vec::new());
    for _ in 0..TRIVIAL_BUILDS {
        let times = once(&host.session, "true").await;
        first.push(times.0);
        done.push(times.1);
    }
    let count = f64::from(TRIVIAL_BUILDS);
    first.sort();
    done.sort();
    println!(
        "{{\"measure\":\"trivial\",\"server\":\"{server:?}\",\"first_step_ms\":{{\"p50\":{:.1},\"p99\":{:.1}}},\
         \"done_ms\":{{\"p50\":{:.1},\"p99\":{:.1}}},\"cycle_ms\":{:.1},\"processes\":{:.1},\
         \"own_cpu_ms\":{:.2},\"all_cpu_ms\":{:.2}}}",
        milliseconds(&first, 50),
        milliseconds(&first, 99),
        milliseconds(&done, 50),
        milliseconds(&done, 99),
        begun.elapsed().as_secs_f64() * 1e3 / count,
        f64::from(last_process() - processes) / count,
        (own_seconds() - own) * 1e3 / count,
        (all_seconds() - all) * 1e3 / count,
    );
}

async fn throughput(server: Server) {
    let hosts = futures::future::join_all((0..MACHINES).map(|_| Host::start(server, DASH))).await;
    let (own, all) = (own_seconds(), all_seconds());
    let begun = Instant::now();
    let machines = hosts.iter().map(|host| async {
        for _ in 0..BUILDS_PER_MACHINE {
            once(&host.session, "true").await;
        }
    });
    futures::future::join_all(machines).await;
    let seconds = begun.elapsed().as_secs_f64();
    let count = f64::from(MACHINES) * f64::from(BUILDS_PER_MACHINE);
    println!(
        "{{\"measure\":\"throughput\",\"server\":\"{server:?}\",\"machines\":{MACHINES},\"builds_per_s\":{:.0},\
         \"own_cpu_ms\":{:.2},\"all_cpu_ms\":{:.2}}}",
        count / seconds,
        (own_seconds() - own) * 1e3 / count,
        (all_seconds() - all) * 1e3 / count,
    );
}

async fn log(server: Server) {
    let host = Host::start(server, DASH).await;
    let text = format!("head -c {LOG_BYTES} /dev/zero | tr '\\0' '\\n'");
    let begun = Instant::now();
    once(&host.session, &text).await;
    let rate = f64::from(LOG_BYTES) / 1e6 / begun.elapsed().as_secs_f64();
    println!("{{\"measure\":\"log\",\"server\":\"{server:?}\",\"mb_per_s\":{rate:.0}}}");
}

fn milliseconds(sorted: &[Duration], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100].as_secs_f64() * 1e3
}

/// Number of the process made last, which counts the processes of an otherwise quiet host.
fn last_process() -> i32 {
    let text = fs::read_to_string("/proc/loadavg").unwrap();
    text.split_whitespace().last().unwrap().parse().unwrap()
}

/// Processor time of this process.
fn own_seconds() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = text.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = |index: usize| fields[index].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / TICKS
}

/// Processor time of all processes that we see, and of those that they have collected. Run the
/// benchmark in a process namespace of its own to see nobody else's.
fn all_seconds() -> f64 {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let stats = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let ticks = stats.filter_map(|stat| {
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields = fields.split(' ').skip(11).take(4);
        Some(
            fields
                .map(|field| field.parse::<f64>().unwrap())
                .sum::<f64>(),
        )
    });
    ticks.sum::<f64>() / TICKS
}
