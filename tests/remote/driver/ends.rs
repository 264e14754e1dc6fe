//! What ends a step or an attempt, and what is left of it.

use std::fs;

use bytes::Bytes;
use dormouse::model::{Left, Span};
use dormouse::remote::{Probe, Stop};
use rustix::process::{Pid, Signal, kill_process};

use super::output::{always, run};
use crate::host::Host;
use crate::run::{Told, attempt, build, eventually, is_gone, read, step};

/// Leaves its parent, its session and its group, but not its output. A step that starts it waits a
/// moment, or its group would be ended before it has left it.
const DAEMON: &str = "use POSIX; $| = 1; fork and exit; setsid; print \"$$\\n\"; sleep 1000";

pub(super) async fn a_daemon_does_not_hold_the_end_up(host: &Host) {
    let told = run(host, vec![step(&format!("perl -e '{DAEMON}'; sleep 0.3"))]).await;
    assert_eq!(
        (told.steps.as_slice(), told.code()),
        ([(0, Some(0))].as_slice(), Some(0))
    );
    let daemon = Pid::from_raw(told.text().trim().parse().unwrap()).unwrap();
    if host.knows_processes() {
        eventually("the daemon ends", || is_gone(daemon)).await;
    } else {
        kill_process(daemon, Signal::KILL).unwrap();
    }
}

pub(super) async fn an_unknown_process_does_not_hold_the_end_up(host: &Host) {
    let told = run(
        host,
        vec![step(&format!(
            "env -i /usr/bin/perl -e '{DAEMON}'; sleep 0.3"
        ))],
    )
    .await;
    assert_eq!(
        (told.steps.as_slice(), told.code()),
        ([(0, Some(0))].as_slice(), Some(0))
    );
    let daemon = Pid::from_raw(told.text().trim().parse().unwrap()).unwrap();
    kill_process(daemon, Signal::KILL).unwrap();
}

pub(super) async fn background_processes_end_with_their_step(host: &Host) {
    let told = run(
        host,
        vec![step("sleep 1000 & echo $! >pid"), step("cat pid")],
    )
    .await;
    assert_eq!(told.steps, [(0, Some(0)), (1, Some(0))]);
    let pid = Pid::from_raw(told.text().trim().parse().unwrap()).unwrap();
    eventually("the background process ends", || is_gone(pid)).await;
}

pub(super) async fn a_step_is_stopped_alone(host: &Host) {
    let (attempt, build) = (
        attempt(),
        build(vec![
            step("echo one; sleep 1000"),
            step("echo skipped"),
            always("echo two"),
        ]),
    );
    let mut run = host.session.start(attempt, build, 0).await.unwrap();
    let mut told = Told::default();
    told.read_until(&mut run, |told| !told.log.is_empty()).await;
    host.session
        .stop(attempt, Stop::Step(7), Span::from_secs(5))
        .await
        .unwrap();
    host.session
        .stop(attempt, Stop::Step(0), Span::from_secs(5))
        .await
        .unwrap();
    told.read_until(&mut run, |_| false).await;
    // The step's own shell may add a word on the command that was ended.
    let text = told.text();
    assert!(
        text.starts_with("one\n") && text.ends_with("two\n"),
        "{text:?}"
    );
    assert!(!text.contains("skipped"), "{text:?}");
    assert_eq!(told.steps, [(0, Some(143)), (2, Some(0))]);
    assert_eq!(told.code(), Some(143));
}

pub(super) async fn an_attempt_is_stopped_by_force(host: &Host) {
    let stubborn = "trap '' TERM; echo one; while :; do sleep 1; done";
    let (attempt, build) = (
        attempt(),
        build(vec![step(stubborn), always("echo not any more")]),
    );
    let mut run = host.session.start(attempt, build, 0).await.unwrap();
    let mut told = Told::default();
    told.read_until(&mut run, |told| !told.log.is_empty()).await;
    host.session
        .stop(attempt, Stop::Attempt, Span::from_millis(300))
        .await
        .unwrap();
    told.read_until(&mut run, |_| false).await;
    assert_eq!(told.text(), "one\n");
    assert_eq!(told.steps, [(0, Some(137))]);
    assert_eq!(told.code(), Some(137));
    host.session
        .stop(attempt, Stop::Attempt, Span::ZERO)
        .await
        .unwrap();
}

pub(super) async fn a_stalled_reader_does_not_hold_up_a_stop(host: &Host) {
    let (attempt, build) = (
        attempt(),
        build(vec![step("while :; do head -c 1000000 /dev/zero; done")]),
    );
    let mut run = host.session.start(attempt, build, 0).await.unwrap();
    // Nobody reads while the stop is under way.
    let log = host.directory(attempt).join("log");
    eventually("more is written than all buffers take", || {
        fs::metadata(&log).is_ok_and(|data| data.len() > 60_000_000)
    })
    .await;
    host.session
        .stop(attempt, Stop::Attempt, Span::from_secs(1))
        .await
        .unwrap();
    let mut told = Told::default();
    told.read_until(&mut run, |_| false).await;
    assert!(
        matches!(told.steps.as_slice(), [(0, Some(143 | 141))]),
        "{:?}",
        told.steps
    );
    assert!(told.log.len() > 60_000_000);
}

pub(super) async fn discarding_leaves_nothing(host: &Host) {
    // A process that leaves its session, its parent and its output; only its environment tells.
    let daemon = "setsid sleep 1000 >/dev/null 2>&1 & sleep 0.1; mkdir -p a/b; chmod 500 a/b; chmod 500 a; echo $!";
    let attempts = [attempt(), attempt()];
    let mut daemons = Vec::new();
    for attempt in attempts {
        let told = read(
            host.session
                .start(attempt, build(vec![step(daemon)]), 0)
                .await
                .unwrap(),
        )
        .await;
        assert_eq!(told.code(), Some(0), "{told:?}");
        daemons.push(Pid::from_raw(told.text().trim().parse().unwrap()).unwrap());
    }
    // One by the shell that ran it, one by a new session; and once more what is gone.
    let said = [
        host.session.discard(attempts[0]).await.unwrap(),
        host.connect().await.discard(attempts[1]).await.unwrap(),
        host.session.discard(attempts[1]).await.unwrap(),
    ];
    for attempt in attempts {
        assert!(!host.directory(attempt).exists());
    }
    // Said is what is: nothing has to be waited for.
    assert!(daemons.into_iter().all(is_gone));
    for said in said {
        assert_eq!(said.left, None);
        let usage = said.usage;
        assert!(matches!(usage.disk, Some(1..=100)), "{usage:?}");
        assert!(matches!(usage.inodes, Some(1..=100)), "{usage:?}");
        let memory = usage.memory;
        assert!(memory.is_none_or(|percent| (1..=100).contains(&percent)));
        assert_eq!(memory.is_some(), host.knows_processes(), "{usage:?}");
    }
}

pub(super) async fn what_cannot_be_discarded_is_said(host: &Host) {
    let daemon = "setsid sleep 1000 >/dev/null 2>&1 & sleep 0.1; echo $!";
    let start = async || {
        let attempt = attempt();
        let run = host.session.start(attempt, build(vec![step(daemon)]), 0);
        let told = read(run.await.unwrap()).await;
        let daemon = Pid::from_raw(told.text().trim().parse().unwrap()).unwrap();
        (attempt, daemon)
    };
    host.persuade("dm_remove() { :; }\n").await;
    let (attempt, daemon) = start().await;
    let said = host.session.discard(attempt).await.unwrap();
    assert_eq!(said.left, Some(Left::Directory));
    assert!(is_gone(daemon));
    host.persuade("dm_remove() { rm -rf \"$dm_dir\"; }\ndm_send() { :; }\n")
        .await;
    let (attempt, daemon) = start().await;
    let said = host.session.discard(attempt).await.unwrap();
    assert_eq!(said.left, Some(Left::Processes(1)));
    assert!(!host.directory(attempt).exists());
    kill_process(daemon, Signal::KILL).unwrap();
    eventually("the daemon ends", || is_gone(daemon)).await;
    let said = host.session.discard(attempt).await.unwrap();
    assert_eq!(said.left, None, "asked again, it looks again");
}

pub(super) async fn a_machine_that_was_not_prepared_is(host: &Host) {
    fs::remove_dir_all(host.home.join(".dormouse")).unwrap();
    assert_eq!(host.session.probe(attempt()).await, Ok(Probe::Absent));
    assert_eq!(run(host, vec![step("echo one")]).await.text(), "one\n");
    let output = host.session.command(
        "cat; echo two >&2; exit 3",
        Bytes::from("one"),
        Span::from_secs(20),
    );
    let output = output.await.unwrap();
    assert_eq!(
        (output.status, &output.stdout[..], &output.stderr[..]),
        (Some(3), &b"one"[..], &b"two\n"[..])
    );
}
