//! Answers, errors and exit codes.

use std::io::{BufRead as _, BufReader, Read as _};
use std::sync::atomic::{AtomicUsize, Ordering};

use dormouse::model::Timestamp;
use dormouse::planner::{Plan, RecordedPass, Snapshot};
use serde_json::{Value, json};

use crate::fake::{Answer, End, Fake};
use crate::program::{Program, Ran};
use crate::views;

#[test]
fn each_kind_of_refusal_has_its_exit_code() {
    let cases = [
        (400, "malformed", 2),
        (401, "no-token", 4),
        (403, "forbidden", 4),
        (404, "not-found", 4),
        (409, "conflict", 4),
        (422, "invalid", 2),
        (429, "busy", 4),
        (500, "internal", 3),
        (503, "not-ready", 3),
    ];
    for (status, word, code) in cases {
        let fake = Fake::start(move |_, _| Answer::problem(status, word, "told why"));
        let program = Program::at(&fake.url());
        let ran = program.run(&["builds"]);
        assert_eq!(ran.code, Some(code), "{status}: {ran:?}");
        assert!(ran.stderr.starts_with("error: told why\n"), "{ran:?}");
        assert!(ran.stdout.is_empty());
        let ran = program.run(&["builds", "--json"]);
        let error: Value = serde_json::from_str(&ran.stderr).unwrap();
        assert_eq!(error["error"]["kind"], word);
        assert_eq!(error["error"]["exit_code"], code);
        assert_eq!(ran.code, Some(code));
    }
}

#[test]
fn a_server_that_is_away_or_is_none_is_told_apart() {
    let nobody = {
        let fake = Fake::start(|_, _| Answer::problem(500, "x", "x"));
        fake.url()
    };
    let ran = Program::at(&nobody).run(&["machines"]);
    assert_eq!(ran.code, Some(3));
    assert!(ran.stderr.contains("cannot reach the server"), "{ran:?}");
    assert!(ran.stderr.contains("\nhint: start a server"), "{ran:?}");

    let other = Fake::start(|_, _| Answer::bytes(&[b"<html>hello"], End::Whole));
    let ran = Program::at(&other.url()).run(&["machines"]);
    assert_eq!(ran.code, Some(3));
    assert!(ran.stderr.contains("cannot be understood"), "{ran:?}");

    let ran = Program::at("ftp://example.org").run(&["machines"]);
    assert_eq!(ran.code, Some(2));
}

#[test]
fn wrong_usage_is_2_and_costs_no_request() {
    let fake = Fake::start(|_, _| Answer::problem(500, "x", "x"));
    let program = Program::at(&fake.url());
    for arguments in [
        &["build"][..],
        &["build", "vm_1"],
        &["builds", "--state", "sleeping"],
        &["cost", "--from", "yesterday"],
        &["logs", "latest", "--step", "x", "--follow"],
        &["submit", "no-such-file.yaml"],
        &["nothing"],
    ] {
        let ran = program.run(arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.starts_with("error: "), "{ran:?}");
    }
    assert!(fake.seen().is_empty());
    for arguments in [&["build", "x", "--json"][..], &["-o", "json", "nothing"]] {
        let ran = program.run(arguments);
        let error: Value = serde_json::from_str(&ran.stderr).unwrap();
        assert_eq!(error["error"]["exit_code"], 2, "{ran:?}");
        assert_eq!(error["error"]["kind"], "usage", "{ran:?}");
    }
}

fn follow(result: &'static str) -> Ran {
    let looks = AtomicUsize::new(0);
    let fake = Fake::start(
        move |_, seen| match (seen.method.as_str(), seen.path.as_str()) {
            ("POST", "/pipelines") => Answer::json(201, &views::accepted()),
            ("GET", path) if path.starts_with("/pipelines/") => {
                match looks.fetch_add(1, Ordering::SeqCst) {
                    0 => Answer::json(200, &views::pipeline("queued", None)),
                    _ => Answer::json(200, &views::pipeline("finished", Some(result))),
                }
            }
            ("GET", path) if path.contains("/log") => Answer::bytes(&[b"boom\n\xff"], End::Whole),
            _ => Answer::json(200, &views::detail(6, Some(result))),
        },
    );
    let program = Program::at(&fake.url());
    std::fs::write(program.home.path().join("p.yaml"), "builds: {}\n").unwrap();
    program.run(&["submit", "p.yaml", "--follow"])
}

#[test]
fn a_followed_pipeline_ends_with_its_result() {
    let cases = [
        ("success", 0, &b""[..]),
        ("failure", 1, b"boom\n\xff"),
        ("skipped", 1, b""),
        ("infra_failure", 5, b"boom\n\xff"),
        ("canceled", 6, b""),
        ("timed_out", 7, b"boom\n\xff"),
    ];
    for (result, code, stdout) in cases {
        let ran = follow(result);
        assert_eq!(ran.code, Some(code), "{result}: {ran:?}");
        assert_eq!(ran.stdout, stdout, "{result}");
        let last = ran.stderr.lines().last().unwrap();
        assert_eq!(last, format!("nightly: {result} (1 {result}), $0.0042"));
        assert!(
            ran.stderr.contains("\nqueued        test (3.12)"),
            "{ran:?}"
        );
        assert!(
            !ran.stderr.contains('\u{1b}'),
            "no colours in a pipe: {ran:?}"
        );
    }
}

#[test]
fn programs_get_a_line_per_change() {
    let looks = AtomicUsize::new(0);
    let fake = Fake::start(move |_, seen| match seen.path.as_str() {
        "/pipelines" => Answer::json(201, &views::accepted()),
        path if path.starts_with("/pipelines/") => match looks.fetch_add(1, Ordering::SeqCst) {
            // The server goes away for a moment.
            1 => Answer::problem(503, "not-ready", "starting"),
            0 | 2 => Answer::json(200, &views::pipeline("queued", None)),
            _ => Answer::json(200, &views::pipeline("finished", Some("success"))),
        },
        _ => Answer::json(200, &views::detail(0, Some("success"))),
    });
    let program = Program::at(&fake.url());
    std::fs::write(program.home.path().join("p.yaml"), "builds: {}\n").unwrap();
    let ran = program.run(&[
        "submit",
        "p.yaml",
        "--follow",
        "--json",
        "--idempotency-key",
        "k",
    ]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.stderr, "");
    let lines: Vec<Value> = ran
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let events: Vec<&str> = lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["accepted", "build", "build", "end"]);
    assert_eq!(lines[2]["build"]["result"], "success");
    assert_eq!(lines[3]["pipeline"]["result"], "success");
    assert_eq!(fake.seen()[0].idempotency_key.as_deref(), Some("k"));
}

#[test]
fn ctrl_c_ends_the_following_only() {
    let fake = Fake::start(|_, seen| match seen.path.as_str() {
        "/pipelines" => Answer::json(201, &views::accepted()),
        _ => Answer::json(200, &views::pipeline("queued", None)),
    });
    let program = Program::at(&fake.url());
    std::fs::write(program.home.path().join("p.yaml"), "builds: {}\n").unwrap();
    let mut child = program.spawn(&["submit", "p.yaml", "-f"]);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    // It follows from the second line on: the first build's state.
    stderr.read_line(&mut first).unwrap();
    stderr.read_line(&mut first).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert!(
        rest.contains(&format!("error: interrupted; {} goes on", views::PIPELINE)),
        "{rest}"
    );
    assert!(rest.contains(&format!(
        "hint: end it with `dormouse cancel {}`",
        views::PIPELINE
    )));
    assert!(fake.seen().iter().all(|seen| !seen.path.contains("cancel")));
}

#[test]
fn problems_of_a_document_have_the_file_s_name_and_place() {
    let fake = Fake::start(|_, _| {
        Answer::json(
            422,
            &json!({
                "type": "urn:dormouse:problem:invalid", "title": "invalid", "status": 422,
                "detail": "the document has 2 problem(s)", "instance": "/api/v1/pipelines",
                "problems": [
                    { "line": 3, "column": 5, "path": "builds.a.steps", "message": "is missing" },
                    { "line": 9, "column": 1, "path": "", "message": "unknown key" },
                ],
            }),
        )
    });
    let program = Program::at(&fake.url());
    std::fs::write(program.home.path().join("p.yaml"), "builds: {}\n").unwrap();
    let ran = program.run(&["submit", "p.yaml"]);
    assert_eq!(ran.code, Some(2));
    assert_eq!(
        ran.stderr,
        "error: the document has 2 problem(s)\n  \
         p.yaml:3:5: builds.a.steps: is missing\n  \
         p.yaml:9:1: unknown key\n"
    );
}

#[test]
fn lists_go_on_over_pages_up_to_the_limit() {
    let fake = Fake::start(|number, _| {
        let items: Vec<Value> = (0..200).map(|_| views::build("queued", None)).collect();
        Answer::json(
            200,
            &json!({ "items": items, "next": format!("page{}", number + 1) }),
        )
    });
    let program = Program::at(&fake.url());
    let ran = program.run(&["builds", "--limit", "450", "--project", "a b"]);
    assert_eq!(ran.code, Some(0));
    let paths: Vec<String> = fake.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(
        paths,
        [
            "/builds?project=a+b&limit=200",
            "/builds?project=a+b&limit=200&cursor=page1",
            "/builds?project=a+b&limit=50&cursor=page2",
        ]
    );
    assert_eq!(
        ran.stderr,
        "only the newest 600; more with --limit 900\n".replace("600", "450")
    );
    assert!(program.run(&["builds", "--json"]).json().is_array());
}

#[test]
fn a_reader_that_goes_away_ends_the_program_quietly() {
    let fake = Fake::start(|_, _| {
        let items: Vec<Value> = (0..200).map(|_| views::build("queued", None)).collect();
        Answer::json(200, &json!({ "items": items, "next": "more" }))
    });
    let program = Program::at(&fake.url());
    let mut child = program.spawn(&["builds", "--limit", "2000", "--json"]);
    let mut stdout = child.stdout.take().unwrap();
    let mut byte = [0];
    stdout.read_exact(&mut byte).unwrap();
    drop(stdout);
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(stderr, "");
}

#[test]
fn colours_come_when_asked_for() {
    let fake = Fake::start(|_, _| {
        Answer::json(
            200,
            &json!({ "items": [views::build("finished", Some("failure"))] }),
        )
    });
    let program = Program::at(&fake.url());
    assert!(!program.run(&["builds"]).text().contains('\u{1b}'));
    assert!(
        program
            .run(&["builds", "--color", "always"])
            .text()
            .contains('\u{1b}')
    );
}

#[test]
fn an_empty_list_says_so_beside_the_answer() {
    let fake = Fake::start(|_, _| Answer::json(200, &json!({ "items": [] })));
    let program = Program::at(&fake.url());
    let ran = program.run(&["machines"]);
    assert_eq!((ran.text(), ran.stderr.as_str()), ("", "no machines\n"));
    assert_eq!(program.run(&["machines", "--json"]).json(), json!([]));
}

#[test]
fn files_are_applied_together_and_by_their_place() {
    let fake = Fake::start(|_, _| {
        let row = |kind: &str, name: &str, changed: bool| {
            json!({ "kind": kind, "file": format!("{name}.yaml"), "name": name, "version": 2,
                    "changed": changed, "warnings": if changed { vec![] } else { vec!["oh"] } })
        };
        let items = [
            row("image", "debian", true),
            row("policy", "default", false),
        ];
        Answer::json(200, &json!({ "items": items }))
    });
    let program = Program::at(&fake.url());
    for (path, text) in [
        ("images/debian.yaml", "a: 1"),
        ("policies/default.yml", "b: 2"),
    ] {
        let path = program.home.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let ran = program.run(&["apply", "images", "policies"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let rows: Vec<Vec<&str>> = ran
        .text()
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[1], ["debian.yaml", "image", "debian", "2", "changed"]);
    assert_eq!(
        rows[2],
        ["default.yaml", "policy", "default", "2", "unchanged"]
    );
    assert_eq!(ran.stderr, "warning: default.yaml: oh\n");
    let sent: Value = serde_json::from_str(&fake.seen()[0].body).unwrap();
    assert_eq!(
        sent["declarations"],
        json!([
            { "kind": "image", "file": "images/debian.yaml", "text": "a: 1" },
            { "kind": "policy", "file": "policies/default.yml", "text": "b: 2" },
        ])
    );
    std::fs::write(program.home.path().join("odd.yaml"), "c: 3").unwrap();
    assert_eq!(program.run(&["apply", "odd.yaml"]).code, Some(2));
}

#[test]
fn policies_are_checked_beside_what_a_server_has_and_without_one() {
    let fake = Fake::start(|_, seen| match seen.path.as_str() {
        "/check" => Answer::json(
            200,
            &json!({ "items": [{ "kind": "policy", "file": "web.yaml", "name": "web",
                                 "warnings": ["another one says otherwise"] }] }),
        ),
        path => panic!("{path} was not asked for"),
    });
    let program = Program::at(&fake.url());
    let file = program.home.path().join("web.yaml");
    std::fs::write(&file, "name: web\nidle: { timeout: 5m }\n").unwrap();
    let ran = program.run(&["policy", "check", "web.yaml"]);
    let expected = "warning: web.yaml: another one says otherwise\nok: web.yaml: web\n";
    assert_eq!((ran.code, ran.text()), (Some(0), expected), "{ran:?}");
    let sent: Value = serde_json::from_str(&fake.seen()[0].body).unwrap();
    assert_eq!(sent["declarations"][0]["kind"], "policy");

    // What is wrong with a file is told before anybody is asked.
    std::fs::write(&file, "name: web\nidle: { timeout: x }\n").unwrap();
    let wrong = program.run(&["policy", "check", "web.yaml"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.stderr.contains("web.yaml:2:18"), "{wrong:?}");
    assert_eq!(fake.seen().len(), 1);

    std::fs::write(&file, "name: web\nidle: { timeout: 5m }\n").unwrap();
    let nobody = Program::at("http://127.0.0.1:9");
    let file = nobody.home.path().join("web.yaml");
    std::fs::write(&file, "name: web\n").unwrap();
    let alone = nobody.run(&["policy", "check", "web.yaml"]);
    assert_eq!((alone.code, alone.text()), (Some(0), "ok: web.yaml: web\n"));
    assert!(
        alone.stderr.contains("cannot reach the server"),
        "{alone:?}"
    );
    let json = nobody
        .run(&["policy", "check", "web.yaml", "--json"])
        .json();
    assert_eq!(json["server"], false);
}

#[test]
fn an_image_that_is_not_as_claimed_fails_its_verification() {
    for (agrees, code) in [(true, 0), (false, 1)] {
        let fake = Fake::start(move |_, seen| match seen.path.as_str() {
            "/images/debian%2012/verify" => Answer::json(201, &views::accepted()),
            path if path.ends_with("/verdicts") => Answer::json(
                200,
                &json!({ "items": [{
                    "capability": "python", "claimed": ["3.12"], "found": ["3.11"], "agrees": agrees,
                }] }),
            ),
            path if path.starts_with("/builds/") => {
                Answer::json(200, &views::detail(0, Some("success")))
            }
            _ => Answer::json(200, &views::pipeline("finished", Some("success"))),
        });
        let program = Program::at(&fake.url());
        let ran = program.run(&["image", "verify", "debian 12"]);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(ran.text().contains("python"), "{ran:?}");
    }
}

#[test]
fn a_pipeline_stands_for_its_only_build_and_latest_for_the_newest() {
    let fake = Fake::start(|_, seen| match seen.path.as_str() {
        path if path.starts_with("/pipelines") => {
            Answer::json(200, &views::pipeline("finished", Some("success")))
        }
        "/builds?limit=1" => Answer::json(200, &json!({ "items": [views::build("queued", None)] })),
        _ => Answer::json(200, &views::detail(10, Some("failure"))),
    });
    let program = Program::at(&fake.url());
    for target in [views::PIPELINE, views::BUILD, "latest"] {
        let ran = program.run(&["build", target]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.text().contains(views::BUILD), "{ran:?}");
    }
}

#[test]
fn a_recorded_pass_is_made_again_and_a_changed_one_told() {
    let (snapshot, plan) = (Snapshot::default(), Plan::default());
    let mut pass = RecordedPass::new(&snapshot, Timestamp::from_micros(1), &[], &plan);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pass.json");
    let file = path.to_str().unwrap();
    let program = Program::new();
    std::fs::write(&path, serde_json::to_vec(&pass).unwrap()).unwrap();
    let same = program.run(&["replay", file, "--json"]);
    assert_eq!(
        (same.code, &same.json()[0]["same"]),
        (Some(0), &json!(true))
    );
    pass.plan.wake_at = Some(Timestamp::from_micros(2));
    std::fs::write(&path, serde_json::to_vec(&pass).unwrap()).unwrap();
    let other = program.run(&["replay", file]);
    assert_eq!(other.code, Some(1));
    assert!(other.text().contains("another plan"), "{}", other.text());
    std::fs::write(&path, "{}").unwrap();
    assert_eq!(program.run(&["replay", file]).code, Some(2));
    assert_eq!(program.run(&["replay", "/no/such/file"]).code, Some(2));
}
