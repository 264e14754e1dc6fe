//! What steps print, and what they find.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dormouse::model::{Span, Step};
use dormouse::remote::Stop;
use sha2::{Digest, Sha256};

use crate::host::Host;
use crate::run::{Told, attempt, build, build_with, read, step};

/// Starts a build and reads it to its end.
pub(super) async fn run(host: &Host, steps: Vec<Step>) -> Told {
    read(
        host.session
            .start(attempt(), build(steps), 0)
            .await
            .unwrap(),
    )
    .await
}

pub(super) fn always(run: &str) -> Step {
    Step {
        always: true,
        ..step(run)
    }
}

pub(super) async fn codes_follow_the_rules(host: &Host) {
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

pub(super) async fn boundaries_do_not_need_newlines(host: &Host) {
    let told = run(
        host,
        vec![step("printf no-newline"), step(":"), step("printf end")],
    )
    .await;
    assert_eq!(told.text(), "no-newlineend");
    assert_eq!(told.steps, [(0, Some(0)), (1, Some(0)), (2, Some(0))]);
    assert_eq!(told.code(), Some(0));
}

pub(super) async fn junk_comes_through(host: &Host) {
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

pub(super) async fn a_very_long_line_comes_through(host: &Host) {
    let told = run(host, vec![step("head -c 10000000 /dev/zero | tr '\\0' x")]).await;
    assert_eq!(told.log.len(), 10_000_000);
    assert!(told.log.iter().all(|byte| *byte == b'x'));
    assert_eq!(told.code(), Some(0));
}

pub(super) async fn standard_error_may_be_reopened(host: &Host) {
    let told = run(
        host,
        vec![step("echo one; echo two >/dev/stderr; echo three >&2")],
    )
    .await;
    assert_eq!(told.text(), "one\ntwo\nthree\n");
}

pub(super) async fn variables_hold_any_text(host: &Host) {
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

pub(super) async fn a_step_is_at_home(host: &Host) {
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

pub(super) async fn a_step_can_be_interrupted(host: &Host) {
    // A step that inherits SIGINT ignored could not be interrupted by its own tests.
    let told = run(
        host,
        vec![step("perl -e 'kill INT => $$; sleep 1; exit 3'")],
    )
    .await;
    assert_eq!(told.steps, [(0, Some(130))]);
}

pub(super) async fn a_step_inherits_no_descriptors(host: &Host) {
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

pub(super) async fn a_line_is_seen_at_once(host: &Host) {
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
