//! What a run does, on every kind of machine.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dormouse::model::{Span, Step};
use dormouse::remote::{Probe, RemoteError, RunEvent, Stop};
use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest, Sha256};

use crate::host::{Host, Server, Shell};
use crate::run::{Told, attempt, build, build_with, eventually, is_gone, read, step};

/// Every scenario on every kind of machine.
macro_rules! machines {
    ($($machine:ident: $server:ident, $program:literal, $beliefs:literal;)*) => {
        $(machines!(@scenarios $machine, $server, $program, $beliefs,
            codes_follow_the_rules
            boundaries_do_not_need_newlines
            junk_comes_through
            a_very_long_line_comes_through
            standard_error_may_be_reopened
            variables_hold_any_text
            a_step_is_at_home
            a_step_can_be_interrupted
            a_step_inherits_no_descriptors
            a_second_start_follows_the_first
            of_many_starts_one_runs
            a_cut_connection_loses_and_repeats_nothing
            a_killed_supervisor_is_lost
            a_killed_step_loop_is_lost
            a_daemon_does_not_hold_the_end_up
            an_unknown_process_does_not_hold_the_end_up
            background_processes_end_with_their_step
            a_step_is_stopped_alone
            an_attempt_is_stopped_by_force
            a_stalled_reader_does_not_hold_up_a_stop
            two_attempts_side_by_side_do_not_disturb_each_other
            a_line_is_seen_at_once
            probes_tell_the_truth
            discarding_leaves_nothing
            a_machine_that_was_not_prepared_is
        );)*
    };
    (@scenarios $machine:ident, $server:ident, $program:literal, $beliefs:literal, $($scenario:ident)*) => {
        mod $machine {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $scenario() {
                    let shell = Shell { program: $program, beliefs: $beliefs };
                    let host = Host::start(Server::$server, shell).await;
                    super::$scenario(&host).await;
                }
            )*
        }
    };
}

machines! {
    local_dash: Local, "/usr/bin/dash", "";
    local_bash: Local, "/usr/bin/bash", "";
    local_busybox: Local, "/usr/bin/busybox", "";
    local_mksh: Local, "/usr/bin/mksh", "";
    local_zsh: Local, "/usr/bin/zsh", "";
    // As on a system without /proc, GNU tail and setsid.
    local_plain: Local, "/usr/bin/dash", "dm_proc=no dm_tail=plain dm_session=perl\n";
    openssh_dash: OpenSsh, "/usr/bin/dash", "";
    openssh_bash: OpenSsh, "/usr/bin/bash", "";
    openssh_busybox: OpenSsh, "/usr/bin/busybox", "";
    openssh_mksh: OpenSsh, "/usr/bin/mksh", "";
    openssh_zsh: OpenSsh, "/usr/bin/zsh", "";
    openssh_plain: OpenSsh, "/usr/bin/mksh", "dm_proc=no dm_tail=plain dm_session=python3\n";
}

/// Starts a build and reads it to its end.
async fn run(host: &Host, steps: Vec<Step>) -> Told {
    read(
        host.session
            .start(attempt(), build(steps), 0)
            .await
            .unwrap(),
    )
    .await
}

fn always(run: &str) -> Step {
    Step {
        always: true,
        ..step(run)
    }
}

async fn codes_follow_the_rules(host: &Host) {
    let steps = vec![
        step("echo one"),
        Step {
            continue_on_error: true,
            ..step("echo two; exit 7")
        },
        step("echo three; false; echo not reached"),
        step("echo skipped"),
        always("echo four; exit 9"),
        always("echo five"),
    ];
    let told = run(host, steps).await;
    assert_eq!(told.text(), "one\ntwo\nthree\nfour\nfive\n");
    let codes = [
        (0, Some(0)),
        (1, Some(7)),
        (2, Some(1)),
        (4, Some(9)),
        (5, Some(0)),
    ];
    assert_eq!(told.steps, codes);
    assert_eq!(told.code(), Some(1));
}

async fn boundaries_do_not_need_newlines(host: &Host) {
    let told = run(
        host,
        vec![step("printf no-newline"), step(":"), step("printf end")],
    )
    .await;
    assert_eq!(told.text(), "no-newlineend");
    assert_eq!(told.steps, [(0, Some(0)), (1, Some(0)), (2, Some(0))]);
    assert_eq!(told.code(), Some(0));
}

async fn junk_comes_through(host: &Host) {
    let steps = vec![
        step("head -c 3000000 /dev/urandom >junk; cat junk"),
        step("printf '\\036\\036'; sha256sum junk"),
    ];
    let told = run(host, steps).await;
    assert_eq!(told.code(), Some(0));
    let (junk, sum) = told.log.split_at(3_000_000);
    let mut digest = String::new();
    for byte in Sha256::digest(junk) {
        write!(digest, "{byte:02x}").unwrap();
    }
    let sum = String::from_utf8(sum.to_vec()).unwrap();
    assert!(sum.starts_with(&format!("\x1e\x1e{digest} ")), "{sum:?}");
}

async fn a_very_long_line_comes_through(host: &Host) {
    let told = run(host, vec![step("head -c 10000000 /dev/zero | tr '\\0' x")]).await;
    assert_eq!(told.log.len(), 10_000_000);
    assert!(told.log.iter().all(|byte| *byte == b'x'));
    assert_eq!(told.code(), Some(0));
}

async fn standard_error_may_be_reopened(host: &Host) {
    let told = run(
        host,
        vec![step("echo one; echo two >/dev/stderr; echo three >&2")],
    )
    .await;
    assert_eq!(told.text(), "one\ntwo\nthree\n");
}

async fn variables_hold_any_text(host: &Host) {
    let odd = "it's \"$HOME\" `x` \\n\n\ttab\r é \u{7f} \u{1} * ~ ! #end";
    let mut overridden = step("printf '%s|%s|%s' \"$ODD\" \"$EMPTY\" \"$BOTH\"");
    overridden.env = BTreeMap::from([("BOTH".to_owned(), "step".to_owned())]);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let env = BTreeMap::from([pair("ODD", odd), pair("EMPTY", ""), pair("BOTH", "build")]);
    let tail = step("printf '|%s|%s' \"$BOTH\" \"$DORMOUSE_BUILD/$CI\"");
    let build = build_with(vec![overridden, tail], env);
    let told = read(host.session.start(attempt(), build, 0).await.unwrap()).await;
    assert_eq!(
        told.text(),
        format!("{odd}||step|build|it's a (build)/true")
    );
}

async fn a_step_is_at_home(host: &Host) {
    let steps = vec![
        step("pwd; ls -A; touch left; [ \"$HOME\" = \"$PWD\" ] && echo same"),
        Step {
            name: "the 'name'".to_owned(),
            ..step("ls; echo $DORMOUSE_STEP_NAME; cat; umask")
        },
    ];
    // The first step's last command fails, which is not an error under -e.
    let mut steps = steps;
    steps[0].run.push_str(" || :");
    let told = run(host, steps).await;
    let text = told.text();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with(&host.home.canonicalize().unwrap().display().to_string()));
    assert!(lines[0].ends_with("/work"), "{lines:?}");
    assert_eq!(lines[1..3], ["left", "the 'name'"]);
    assert!(lines[3].ends_with("22"), "{lines:?}");
}

async fn a_step_can_be_interrupted(host: &Host) {
    // A step that inherits SIGINT ignored could not be interrupted by its own tests.
    let told = run(
        host,
        vec![step("perl -e 'kill INT => $$; sleep 1; exit 3'")],
    )
    .await;
    assert_eq!(told.steps, [(0, Some(130))]);
}

async fn a_step_inherits_no_descriptors(host: &Host) {
    let list = "opendir D, \"/proc/self/fd\"; print join \" \", sort grep /\\d/, readdir D";
    let list = format!("perl -e '{list}'");
    let told = run(host, vec![step(&list)]).await;
    // Compared with what any command on this machine has, which is more when this test was started
    // with more.
    let output = host
        .session
        .command(&list, Bytes::new(), Span::from_secs(20));
    assert_eq!(told.log, output.await.unwrap().stdout);
}

async fn a_second_start_follows_the_first(host: &Host) {
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

async fn of_many_starts_one_runs(host: &Host) {
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

async fn a_cut_connection_loses_and_repeats_nothing(host: &Host) {
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

async fn a_killed_supervisor_is_lost(host: &Host) {
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

async fn a_killed_step_loop_is_lost(host: &Host) {
    // The loop is the parent of the step.
    let told = run(host, vec![step("echo one; kill -KILL $PPID; sleep 0.2")]).await;
    assert_eq!(told.text(), "one\n");
    assert!(matches!(told.end, Some(RunEvent::Lost { .. })), "{told:?}");
}

/// Leaves its parent, its session and its group, but not its output. A step that starts it waits a
/// moment, or its group would be ended before it has left it.
const DAEMON: &str = "use POSIX; $| = 1; fork and exit; setsid; print \"$$\\n\"; sleep 1000";

async fn a_daemon_does_not_hold_the_end_up(host: &Host) {
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

async fn an_unknown_process_does_not_hold_the_end_up(host: &Host) {
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

async fn background_processes_end_with_their_step(host: &Host) {
    let told = run(
        host,
        vec![step("sleep 1000 & echo $! >pid"), step("cat pid")],
    )
    .await;
    assert_eq!(told.steps, [(0, Some(0)), (1, Some(0))]);
    let pid = Pid::from_raw(told.text().trim().parse().unwrap()).unwrap();
    eventually("the background process ends", || is_gone(pid)).await;
}

async fn a_step_is_stopped_alone(host: &Host) {
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

async fn an_attempt_is_stopped_by_force(host: &Host) {
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

async fn two_attempts_side_by_side_do_not_disturb_each_other(host: &Host) {
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

async fn a_stalled_reader_does_not_hold_up_a_stop(host: &Host) {
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

async fn a_line_is_seen_at_once(host: &Host) {
    let text = "echo ready; while [ ! -e go ]; do sleep 0.02; done; echo seen; sleep 1000";
    let (attempt, build) = (attempt(), build(vec![step(text)]));
    let mut run = host.session.start(attempt, build, 0).await.unwrap();
    let mut told = Told::default();
    told.read_until(&mut run, |told| told.text() == "ready\n")
        .await;
    let before = Instant::now();
    fs::write(host.directory(attempt).join("work/go"), "").unwrap();
    told.read_until(&mut run, |told| told.text() == "ready\nseen\n")
        .await;
    // Tenfold what it takes on an idle host; a loop that waits for more would wait for ever.
    assert!(
        before.elapsed() < Duration::from_secs(2),
        "{:?}",
        before.elapsed()
    );
    host.session
        .stop(attempt, Stop::Attempt, Span::from_secs(5))
        .await
        .unwrap();
}

async fn probes_tell_the_truth(host: &Host) {
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

async fn discarding_leaves_nothing(host: &Host) {
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
    host.session.discard(attempts[0]).await.unwrap();
    host.connect().await.discard(attempts[1]).await.unwrap();
    host.session.discard(attempts[1]).await.unwrap();
    for attempt in attempts {
        assert!(!host.directory(attempt).exists());
    }
    for daemon in daemons {
        if host.knows_processes() {
            eventually("the daemon ends", || is_gone(daemon)).await;
        } else {
            kill_process(daemon, Signal::KILL).unwrap();
        }
    }
}

async fn a_machine_that_was_not_prepared_is(host: &Host) {
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

/// A log that takes seconds: not for every shell.
async fn a_large_log_is_exact(server: Server) {
    let shell = Shell {
        program: "/usr/bin/dash",
        beliefs: "",
    };
    let host = Host::start(server, shell).await;
    let steps = vec![step("seq 1 100000000 | head -c 100000000")];
    let mut run = host
        .session
        .start(attempt(), build(steps), 0)
        .await
        .unwrap();
    let mut told = Told::default();
    told.read_until(&mut run, |_| false).await;
    let mut expected = Vec::with_capacity(100_000_020);
    for number in 1_u32.. {
        if expected.len() >= 100_000_000 {
            break;
        }
        expected.extend_from_slice(number.to_string().as_bytes());
        expected.push(b'\n');
    }
    expected.truncate(100_000_000);
    assert!(told.log == expected, "{} bytes differ", told.log.len());
    assert_eq!(told.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_log_is_exact_on_local() {
    a_large_log_is_exact(Server::Local).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_log_is_exact_on_openssh() {
    a_large_log_is_exact(Server::OpenSsh).await;
}
