//! Starts that come twice, connections that end, and runs that are lost.

use std::fmt::Write as _;
use std::fs;

use dormouse::model::Span;
use dormouse::remote::{Probe, RemoteError, RunEvent, Stop};
use rustix::process::{Pid, Signal, kill_process};

use super::output::run;
use crate::host::Host;
use crate::run::{Told, attempt, build, eventually, is_gone, read, step};

pub(super) async fn a_second_start_follows_the_first(host: &Host) {
    let (attempt, build) = (
        attempt(),
        build(vec![step("echo once >>$HOME/count; echo one; sleep 0.3")]),
    );
    let first = host.session.start(attempt, build.clone(), 0).await.unwrap();
    let second = host
        .connect()
        .await
        .start(attempt, build.clone(), 0)
        .await
        .unwrap();
    let (first, second) = tokio::join!(read(first), read(second));
    assert_eq!(first, second);
    assert_eq!(first.text(), "one\n");
    let third = read(host.session.start(attempt, build, 0).await.unwrap()).await;
    assert_eq!(first, third);
    assert_eq!(
        fs::read_to_string(host.home.join("count")).unwrap(),
        "once\n"
    );
}

pub(super) async fn of_many_starts_one_runs(host: &Host) {
    let (attempt, build) = (
        attempt(),
        build(vec![step("echo once >>$HOME/count; echo one")]),
    );
    let starts = (0..8).map(|_| async {
        read(host.session.start(attempt, build.clone(), 0).await.unwrap()).await
    });
    for told in futures::future::join_all(starts).await {
        assert_eq!((told.text().as_str(), told.code()), ("one\n", Some(0)));
    }
    assert_eq!(
        fs::read_to_string(host.home.join("count")).unwrap(),
        "once\n"
    );
}

pub(super) async fn a_cut_connection_loses_and_repeats_nothing(host: &Host) {
    let text = "i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo line $i of this; [ $((i%20)) != 0 ] || sleep 0.05; done; printf end";
    let (attempt, build) = (attempt(), build(vec![step(text), step("echo two; exit 4")]));
    let session = host.connect().await;
    let mut told = Told::default();
    let mut run = session.start(attempt, build, 0).await.unwrap();
    for enough in [500, 1500, 3000] {
        told.read_until(&mut run, |told| told.log.len() > enough)
            .await;
        session.close().await;
        assert!(!session.is_open() || told.end.is_none());
        run = host
            .connect()
            .await
            .follow(attempt, told.machine)
            .await
            .unwrap();
    }
    told.read_until(&mut run, |_| false).await;
    let mut expected = String::new();
    for number in 1..=300 {
        writeln!(expected, "line {number} of this").unwrap();
    }
    expected.push_str("endtwo\n");
    assert_eq!(told.text(), expected);
    assert_eq!(told.steps, [(0, Some(0)), (1, Some(4))]);
    assert_eq!(told.code(), Some(4));
}

/// The first number in a record of the attempt.
fn recorded_pid(
    host: &Host,
    attempt: dormouse::model::AttemptId,
    record: &str,
    word: usize,
) -> Pid {
    let text = fs::read_to_string(host.directory(attempt).join(record)).unwrap();
    Pid::from_raw(text.split(' ').nth(word).unwrap().parse().unwrap()).unwrap()
}

pub(super) async fn a_killed_supervisor_is_lost(host: &Host) {
    let (attempt, build) = (attempt(), build(vec![step("echo one; sleep 1000")]));
    let mut run = host.session.start(attempt, build, 0).await.unwrap();
    let mut told = Told::default();
    told.read_until(&mut run, |told| !told.log.is_empty()).await;
    let step = recorded_pid(host, attempt, "step", 1);
    kill_process(recorded_pid(host, attempt, "claim", 0), Signal::KILL).unwrap();
    told.read_until(&mut run, |_| false).await;
    assert!(
        matches!(
            told.end,
            Some(RunEvent::Lost {
                rebooted: false,
                ..
            })
        ),
        "{told:?}"
    );
    assert!(matches!(
        host.session.probe(attempt).await,
        Ok(Probe::Lost(_))
    ));
    let again = read(host.connect().await.follow(attempt, 0).await.unwrap()).await;
    assert_eq!(again.text(), "one\n");
    assert!(
        matches!(again.end, Some(RunEvent::Lost { .. })),
        "{again:?}"
    );
    host.session.discard(attempt).await.unwrap();
    eventually("the step of a lost attempt ends", || is_gone(step)).await;
    assert!(!host.directory(attempt).exists());
}

pub(super) async fn a_killed_step_loop_is_lost(host: &Host) {
    // The loop is the parent of the step.
    let told = run(host, vec![step("echo one; kill -KILL $PPID; sleep 0.2")]).await;
    assert_eq!(told.text(), "one\n");
    assert!(matches!(told.end, Some(RunEvent::Lost { .. })), "{told:?}");
}

pub(super) async fn two_attempts_side_by_side_do_not_disturb_each_other(host: &Host) {
    // Each has a daemon beside its step, counts up, and goes on when its file is there.
    let counting = |name: &str| {
        let gate = host.home.join(format!("gate-{name}"));
        step(&format!(
            "echo mine >file; (while :; do sleep 1; done) >/dev/null 2>&1 &\n\
             i=0; while [ $i -lt 2000 ]; do echo {name} $i; i=$((i + 1)); done\n\
             while [ ! -e {} ]; do sleep 0.1; done; cat file; echo {name} ends",
            gate.display()
        ))
    };
    let (one, two) = (attempt(), attempt());
    let begin = async |id, name| {
        let build = build(vec![counting(name)]);
        host.session.start(id, build, 0).await.unwrap()
    };
    let all = |name: &str| {
        let lines: Vec<String> = (0..2_000).map(|i| format!("{name} {i}\n")).collect();
        lines.concat()
    };
    let length = all("one").len();
    // Both are read at the same time: they share a connection.
    let counted = async |id, name| {
        let (mut run, mut told) = (begin(id, name).await, Told::default());
        told.read_until(&mut run, |told| told.log.len() >= length)
            .await;
        (run, told)
    };
    let ((mut first, mut of_one), (mut second, mut of_two)) =
        tokio::join!(counted(one, "one"), counted(two, "two"));
    host.session
        .stop(one, Stop::Attempt, Span::from_secs(10))
        .await
        .unwrap();
    of_one.read_until(&mut first, |_| false).await;
    // Some shells print a line about what was ended.
    assert!(of_one.text().starts_with(&all("one")), "{}", of_one.text());
    assert!(!of_one.text().contains("ends"));
    assert_eq!(of_one.code(), Some(143));
    host.session.discard(one).await.unwrap();
    assert!(!host.directory(one).exists());
    let probe = host.session.probe(two).await.unwrap();
    assert!(matches!(probe, Probe::Running(_)), "{probe:?}");
    host.session
        .extend_lease(Span::from_secs(60))
        .await
        .unwrap();
    fs::write(host.home.join("gate-two"), "").unwrap();
    of_two.read_until(&mut second, |_| false).await;
    assert_eq!(of_two.text(), format!("{}mine\ntwo ends\n", all("two")));
    assert_eq!(of_two.code(), Some(0));
}

pub(super) async fn probes_tell_the_truth(host: &Host) {
    let (attempt, build) = (
        attempt(),
        build(vec![step(
            "echo one; while [ ! -e go ]; do sleep 0.02; done; exit 5",
        )]),
    );
    assert_eq!(host.session.probe(attempt).await, Ok(Probe::Absent));
    let mut run = host.session.start(attempt, build, 0).await.unwrap();
    let mut told = Told::default();
    told.read_until(&mut run, |told| !told.log.is_empty()).await;
    assert_eq!(
        host.session.probe(attempt).await,
        Ok(Probe::Running(told.machine))
    );
    fs::write(host.directory(attempt).join("work/go"), "").unwrap();
    told.read_until(&mut run, |_| false).await;
    let Some(RunEvent::Done { code: 5, machine }) = told.end else {
        panic!("{told:?}")
    };
    assert_eq!(
        host.session.probe(attempt).await,
        Ok(Probe::Done(5, machine))
    );
    let claim = host.directory(attempt).join("claim");
    fs::remove_file(host.directory(attempt).join("rc")).unwrap();
    let record = fs::read_to_string(&claim).unwrap();
    let boot = record.split(' ').nth(2).unwrap();
    fs::write(&claim, record.replace(boot, "another-boot")).unwrap();
    assert_eq!(
        host.session.probe(attempt).await,
        Ok(Probe::Rebooted(machine))
    );
    host.session.discard(attempt).await.unwrap();
    assert_eq!(host.session.probe(attempt).await, Ok(Probe::Absent));
    let vanished = host.session.follow(attempt, 0).await;
    assert!(
        matches!(vanished, Err(RemoteError::Protocol { .. })),
        "{vanished:?}"
    );
}
