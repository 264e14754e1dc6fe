//! The shell that prepares a machine, and then serves its first run.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use dormouse::model::Span;
use dormouse::remote::RemoteError;

use crate::host::{Host, Server, Shell};
use crate::run::{attempt, build, read, step};

const DASH: Shell = Shell {
    program: "/usr/bin/dash",
    beliefs: "",
};
const LEASE: Span = Span::from_secs(600);

/// Processes that work in a directory.
fn working_in(directory: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == directory))
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

/// What a run of this text prints.
async fn printed(host: &Host, text: &str) -> String {
    let run = host
        .session
        .start(attempt(), build(vec![step(text)]), 0)
        .await
        .unwrap();
    let told = read(run).await;
    assert_eq!(told.code(), Some(0), "{}", told.text());
    told.text()
}

#[tokio::test]
async fn the_first_run_is_like_any_other() {
    for server in [Server::OpenSsh, Server::Local] {
        let host = Host::start(server, DASH).await;
        let text = "umask; set; pwd | sed 's|[^/]*/work$||'; ulimit -a";
        let same = |text: String| -> Vec<String> {
            // Numbers of processes and of the attempt differ.
            let differs = [
                "PPID=",
                "DORMOUSE_ATTEMPT=",
                "DORMOUSE_MARK=",
                "PWD=",
                "SSH_",
            ];
            let lines = text.lines().map(str::to_owned);
            lines
                .filter(|line| !differs.iter().any(|word| line.contains(word)))
                .collect()
        };
        let first = same(printed(&host, text).await);
        let second = same(printed(&host, text).await);
        assert_eq!(first, second, "{server:?}");
        assert!(first.len() > 10, "{first:?}");
    }
}

#[tokio::test]
async fn one_shell_prepares_and_runs() {
    let host = Host::start(Server::OpenSsh, DASH).await;
    let waiting = working_in(&host.home);
    assert_eq!(waiting.len(), 1, "the shell that prepared the machine");
    assert_eq!(printed(&host, "echo here").await, "here\n");
    // It listens for the word to discard what it ran; the follower of the log ends soon.
    let begun = Instant::now();
    while working_in(&host.home) != waiting {
        assert!(begun.elapsed() < Duration::from_secs(20), "more shells");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_shell_that_was_ended_meanwhile_is_not_missed() {
    let host = Host::start(Server::OpenSsh, DASH).await;
    let waiting = working_in(&host.home);
    assert_eq!(waiting.len(), 1);
    let ended = Command::new("kill").args(["-9", &waiting[0]]).status();
    assert!(ended.unwrap().success());
    assert_eq!(printed(&host, "echo here").await, "here\n");
}

#[tokio::test]
async fn preparing_starts_the_lease() {
    let host = Host::start(Server::OpenSsh, DASH).await;
    let lease = || fs::read_to_string(host.home.join(".dormouse/lease")).unwrap();
    assert_eq!(lease(), "600\n");
    host.session.prepare(Span::from_secs(7)).await.unwrap();
    assert_eq!(lease(), "7\n");
    host.session.extend_lease(LEASE).await.unwrap();
    assert_eq!(lease(), "600\n");
}

#[tokio::test]
async fn a_machine_that_cannot_take_the_runner_says_why() {
    let host = Host::start(Server::OpenSsh, DASH).await;
    fs::remove_dir_all(host.home.join(".dormouse")).unwrap();
    fs::write(host.home.join(".dormouse"), "in the way").unwrap();
    let error = host.session.prepare(LEASE).await.unwrap_err();
    assert!(matches!(error, RemoteError::Protocol { .. }), "{error}");
    assert!(error.to_string().contains("status 73"), "{error}");
    fs::remove_file(host.home.join(".dormouse")).unwrap();
    host.session.prepare(LEASE).await.unwrap();
    assert_eq!(printed(&host, "echo here").await, "here\n");
}
