//! Logs: every byte once, whatever happens to connections and servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::fake::{Answer, End, Fake};
use crate::program::{Program, Ran};
use crate::views;

/// A log with everything that is nasty: no UTF-8, no final newline, carriage returns, an escape.
const LOG: &[u8] = b"first line\r\nsecond \xff\xfe\x00 line\n\x1b[31mred\nlast without end";

fn chunk(attempt: u32, offset: usize, bytes: &[u8], id: &str) -> String {
    use base64::Engine as _;
    let at = "2026-11-21T08:00:00Z";
    let mut data = json!({ "attempt": attempt, "offset": offset, "at": at });
    if let Ok(text) = std::str::from_utf8(bytes) {
        data["text"] = text.into();
    } else {
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        data["base64"] = text.into();
    }
    format!(": hello\n\nevent: log\nid: {id}\ndata: {data}\n\n")
}

fn end(attempt: u32, length: usize) -> String {
    let data = json!({
        "build": views::BUILD, "state": "finished", "result": "success", "reason": null,
        "attempt": attempt, "length": length,
    });
    format!("event: end\ndata: {data}\n\n")
}

fn number(path: &str, name: &str) -> usize {
    let start = path.find(&format!("{name}=")).unwrap() + name.len() + 1;
    let digits: String = path[start..]
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap()
}

fn wait(child: std::process::Child) -> Ran {
    Ran::from(child.wait_with_output().unwrap())
}

#[test]
fn a_log_arrives_byte_for_byte_over_cut_connections() {
    let fake = Fake::start(|count, seen| {
        if !seen.path.contains("/log?") {
            return Answer::json(200, &views::detail(LOG.len(), Some("success")));
        }
        let from = number(&seen.path, "offset");
        let rest = &LOG[from..];
        let (now, _) = rest.split_at(rest.len().min(13));
        // Every connection is cut, some by the letter, some as if all were well.
        let end = if count % 2 == 0 { End::Cut } else { End::Whole };
        Answer::bytes(&[&now[..now.len() / 2], &now[now.len() / 2..]], end)
    });
    let ran = Program::at(&fake.url()).run(&["logs", views::BUILD]);
    assert_eq!(ran.stdout, LOG, "{}", ran.stderr);
    assert_eq!(ran.code, Some(0));
    let requests = fake.seen().len();
    assert!(requests > 3, "{requests}");
    assert!(ran.stderr.contains("trying again"), "{ran:?}");
}

#[test]
fn a_part_of_a_log_is_a_step_or_what_follows_an_offset() {
    let fake = Fake::start(|_, seen| {
        if !seen.path.contains("/log?") {
            return Answer::json(200, &views::detail(LOG.len(), Some("success")));
        }
        let from = number(&seen.path, "offset");
        let limit = number(&seen.path, "limit");
        Answer::bytes(&[&LOG[from..from + limit]], End::Whole)
    });
    let program = Program::at(&fake.url());
    let half = LOG.len() / 2;
    let logs = |more: &[&str]| {
        program
            .run(&[&["logs", views::BUILD], more].concat())
            .stdout
    };
    assert_eq!(logs(&["--step", "compile"]), &LOG[..half]);
    assert_eq!(logs(&["--step", "1"]), &LOG[half..]);
    assert_eq!(logs(&["--offset", "7"]), &LOG[7..]);
    let ran = program.run(&["logs", views::BUILD, "--step", "nothing"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr.contains("hint: its steps are compile, unit"),
        "{ran:?}"
    );
    assert_eq!(
        program.run(&["logs", views::BUILD, "--attempt", "2"]).code,
        Some(4)
    );
}

#[test]
fn following_goes_on_where_a_stream_was_dropped() {
    let fake = Fake::start(|count, seen| {
        assert!(seen.path.contains("/log/stream"), "{seen:?}");
        let from: usize = seen
            .last_event_id
            .as_ref()
            .map_or(0, |id| id.parse().unwrap());
        match count {
            0 => Answer::events(&[chunk(1, 0, &LOG[..9], "9")], End::Cut),
            // A piece that was received in part before, then half an event.
            1 => Answer::events(
                &[
                    chunk(1, from - 4, &LOG[from - 4..20], "20"),
                    chunk(1, 20, &LOG[20..30], "30")[..40].to_owned(),
                ],
                End::Whole,
            ),
            2 => Answer::problem(503, "busy", "too many streams"),
            // It crashed, and what it had shown last comes home a second time.
            3 => Answer::problem(416, "range", "outside of the 0 bytes that there are"),
            _ => Answer::events(
                &[chunk(1, from, &LOG[from..], "99"), end(1, LOG.len())],
                End::Open,
            ),
        }
    });
    let ran = Program::at(&fake.url()).run(&["logs", views::BUILD, "--follow"]);
    assert_eq!(ran.stdout, LOG, "{}", ran.stderr);
    assert_eq!(ran.code, Some(0));
    let ids: Vec<Option<String>> = fake
        .seen()
        .into_iter()
        .map(|seen| seen.last_event_id)
        .collect();
    let id = |text: &str| Some(text.to_owned());
    assert_eq!(ids, [None, id("9"), id("20"), id("20"), id("20")]);
}

#[test]
fn following_survives_a_restart_of_the_server() {
    let reached = Arc::new(AtomicBool::new(false));
    let first = Fake::start({
        let reached = Arc::clone(&reached);
        move |_, _| {
            reached.store(true, Ordering::SeqCst);
            Answer::events(&[chunk(1, 0, &LOG[..17], "17")], End::Open)
        }
    });
    let address = first.address;
    let program = Program::at(&first.url());
    let mut child = program.spawn(&["logs", views::BUILD, "-f"]);
    // The first bytes are out before the server goes.
    let mut begin = [0; 17];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut begin).unwrap();
    assert!(reached.load(Ordering::SeqCst));
    drop(first);
    let second = Fake::start_at(address, |_, seen| {
        assert_eq!(seen.last_event_id.as_deref(), Some("17"));
        Answer::events(
            &[chunk(1, 17, &LOG[17..], "99"), end(1, LOG.len())],
            End::Whole,
        )
    });
    let ran = wait(child);
    assert_eq!([&begin[..], &ran.stdout].concat(), LOG, "{}", ran.stderr);
    assert_eq!(ran.code, Some(0));
    assert_eq!(second.seen().len(), 1);
}

#[test]
fn a_missing_byte_is_an_error_and_not_a_silent_gap() {
    for events in [
        vec![chunk(1, 0, b"abc", "3"), chunk(1, 4, b"e", "5")],
        vec![chunk(1, 0, b"abc", "3"), end(1, 4)],
    ] {
        let fake = Fake::start(move |_, _| Answer::events(&events, End::Open));
        let ran = Program::at(&fake.url()).run(&["logs", views::BUILD, "--follow"]);
        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert_eq!(ran.stdout, b"abc");
    }
}

#[test]
fn an_offset_behind_the_end_is_refused() {
    let fake = Fake::start(|_, _| Answer::problem(416, "range", "outside of the 3 bytes"));
    let arguments = ["logs", views::BUILD, "--follow", "--offset", "9"];
    let ran = Program::at(&fake.url()).run(&arguments);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert_eq!(fake.seen().len(), 1);
}

#[test]
fn a_second_attempt_follows_the_first() {
    let fake = Fake::start(|_, _| {
        Answer::events(
            &[
                chunk(1, 0, b"lost ", "5"),
                chunk(2, 0, b"found\n", "2:6"),
                end(2, 6),
            ],
            End::Whole,
        )
    });
    let ran = Program::at(&fake.url()).run(&["logs", views::BUILD, "--follow"]);
    assert_eq!(ran.text(), "lost found\n");
    assert_eq!(ran.stderr, "attempt 2 begins\n");
}

#[test]
fn times_stand_before_lines_when_asked_for() {
    let fake = Fake::start(|_, seen| {
        if seen.path.contains("/log/stream") {
            return Answer::events(&[chunk(1, 0, LOG, "99"), end(1, LOG.len())], End::Whole);
        }
        Answer::json(200, &views::detail(LOG.len(), Some("success")))
    });
    let ran = Program::at(&fake.url()).run(&["logs", views::BUILD, "--timestamps"]);
    let lines: Vec<&[u8]> = ran.stdout.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), 4);
    let stamp = b"2026-11-21T08:00:00.000000Z ";
    let bare: Vec<u8> = lines
        .iter()
        .flat_map(|line| line.strip_prefix(stamp).unwrap().to_vec())
        .collect();
    assert_eq!(bare, LOG);
}
