//! `dormouse budgets` and `dormouse budget approve`.

use serde_json::{Value, json};

use crate::fake::{Answer, Fake};
use crate::program::Program;
use crate::views;

/// A budget as the server tells of it.
fn budget(name: &str, each: &str, part: &str, spent: i64, state: &str) -> Value {
    let money = |micros: i64| {
        let text = format!("${}.{:06}", micros / 1_000_000, micros % 1_000_000);
        json!({ "micro_usd": micros, "text": text })
    };
    json!({
        "policy": "default", "budget": name, "each": each, "part": part, "per": "month",
        "from": "2026-11-01T00:00:00.000000Z", "to": "2026-12-01T00:00:00.000000Z",
        "total": money(20_000_000), "approved": money(0), "spent": money(spent),
        "committed": money(250_000), "left": money(20_000_000 - 250_000 - spent),
        "forecast": null, "at_limit": "hold", "state": state,
    })
}

fn two() -> Value {
    json!({ "items": [
        budget("all", "all", "", 1_000_000, "open"),
        budget("team", "project", "web", 17_500_000, "warned"),
    ] })
}

#[test]
fn budgets_are_shown_as_a_table_and_as_json() {
    let fake = Fake::start(|_, _| Answer::json(200, &two()));
    let program = Program::at(&fake.url());
    let ran = program.run(&["budgets"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let rows: Vec<Vec<&str>> = ran
        .text()
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows.len(), 3, "{ran:?}");
    assert_eq!(rows[0][..4], ["BUDGET", "FOR", "PER", "AMOUNT"]);
    assert_eq!(rows[1][..3], ["default/all", "all", "month"]);
    assert_eq!(rows[2][..3], ["default/team", "web", "month"]);
    assert_eq!(rows[2].last(), Some(&"warned"));
    assert!(ran.text().contains("$17.50"), "{ran:?}");
    for arguments in [&["budgets", "--json"][..], &["-o", "json", "budgets"]] {
        assert_eq!(program.run(arguments).json(), two()["items"]);
    }
    assert!(fake.seen().iter().all(|seen| seen.path == "/budgets"));
}

#[test]
fn a_house_without_budgets_says_so() {
    let fake = Fake::start(|_, _| Answer::json(200, &json!({ "items": [] })));
    let program = Program::at(&fake.url());
    let ran = program.run(&["budgets"]);
    assert_eq!((ran.text(), ran.stderr.as_str()), ("", "no budgets\n"));
    assert_eq!(program.run(&["budgets", "--json"]).json(), json!([]));
}

#[test]
fn an_approval_is_sent_as_it_was_given_and_shows_the_budget() {
    let fake = Fake::start(|_, _| Answer::json(200, &two()));
    let program = Program::at(&fake.url());
    for (arguments, amount, part, reason) in [
        (
            &["default/team", "--amount", "$20"][..],
            20_000_000,
            None,
            "",
        ),
        (
            &["default/team", "--amount", "2.5", "--for", "web"],
            2_500_000,
            Some("web"),
            "",
        ),
        (
            &["default/team", "--amount=0.000001", "--reason", "a release"],
            1,
            None,
            "a release",
        ),
        // Names of budgets may have further slashes; those of policies have none.
        (&["default/te/am", "--amount", "1"], 1_000_000, None, ""),
    ] {
        let ran = program.run(&[&["budget", "approve"][..], arguments].concat());
        assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
        assert!(ran.text().contains("default/team"), "{ran:?}");
        let seen = fake.seen().pop().unwrap();
        assert_eq!(
            (seen.method.as_str(), seen.path.as_str()),
            ("POST", "/budgets/approvals")
        );
        let sent: Value = serde_json::from_str(&seen.body).unwrap();
        let name = arguments[0].split_once('/').unwrap().1;
        assert_eq!(
            sent,
            json!({ "policy": "default", "budget": name, "micro_usd": amount, "part": part,
                    "reason": reason })
        );
    }
    let ran = program.run(&[
        "budget",
        "approve",
        "default/all",
        "--amount",
        "1",
        "--json",
    ]);
    assert_eq!(ran.json(), two()["items"]);
}

#[test]
fn a_held_build_says_which_budget_it_waits_for_and_what_would_help() {
    let summary = "It waits: budget \"team\" of policy \"default\" has $0.010000 of $20.000000 left \
                   for its project, and it may cost up to $0.540000";
    let approve = "dormouse budget approve default/team --amount 0.53 --for web";
    let explanation = json!({
        "build": views::BUILD, "state": "queued", "summary": summary, "images": [],
        "next": "It is looked at again when builds end", "waits_for": "room in a budget",
        "next_try": "2026-12-01T00:00:00.000000Z", "ahead": 0,
        "remedies": [
            { "effect": "gives it the money that it may cost at worst", "command": approve },
            { "effect": "shows how budgets stand", "command": "dormouse budgets" },
        ],
    });
    let answer = explanation.clone();
    let fake = Fake::start(move |_, _| Answer::json(200, &answer));
    let program = Program::at(&fake.url());
    let ran = program.run(&["explain", views::BUILD]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for wanted in [summary, "room in a budget", "2026-12-01T00:00", approve] {
        assert!(ran.text().contains(wanted), "{wanted}\n{}", ran.text());
    }
    let path = format!("/builds/{}/explain", views::BUILD);
    assert_eq!(fake.seen().pop().unwrap().path, path);
    // The command can be taken as it is.
    let fake = Fake::start(|_, _| Answer::json(200, &two()));
    let words: Vec<&str> = approve.split(' ').skip(1).collect();
    assert_eq!(Program::at(&fake.url()).run(&words).code, Some(0));
    let sent: Value = serde_json::from_str(&fake.seen()[0].body).unwrap();
    assert_eq!(
        (&sent["micro_usd"], &sent["part"]),
        (&json!(530_000), &json!("web"))
    );
    let ran = program.run(&["explain", views::BUILD, "-o", "json"]);
    assert_eq!(ran.json()["remedies"], explanation["remedies"]);
}

#[test]
fn bad_input_is_told_before_anything_is_sent() {
    let fake = Fake::start(|_, _| Answer::problem(500, "x", "x"));
    let program = Program::at(&fake.url());
    for (arguments, says) in [
        (
            &["default", "--amount", "$20"][..],
            "\"default\" is not POLICY/BUDGET",
        ),
        (&["default/all", "--amount", "much"], "is not an amount"),
        (
            &["default/all", "--amount", "$0.0000001"],
            "is not an amount",
        ),
        (
            &["default/all", "--amount", "$99999999999999999999"],
            "is not an amount",
        ),
        (&["default/all", "--amount=-1"], "is not an amount"),
        (&["default/all"], "--amount"),
        (&["--amount", "$20"], "POLICY/BUDGET"),
    ] {
        let words = [&["budget", "approve"][..], arguments].concat();
        let ran = program.run(&words);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.starts_with("error: "), "{ran:?}");
        assert!(ran.stderr.contains(says), "{arguments:?}: {ran:?}");
        let ran = program.run(&[&words[..], &["--json"]].concat());
        let error: Value = serde_json::from_str(&ran.stderr).unwrap();
        assert_eq!(error["error"]["kind"], "usage", "{ran:?}");
    }
    assert!(fake.seen().is_empty());
}

#[test]
fn what_the_server_refuses_is_told_with_its_kind() {
    for (status, word, detail, code) in [
        (404, "not-found", "no budget default/yearly", 4),
        (409, "conflict", "budget default/all is for each project", 4),
        (403, "forbidden", "this needs the role admin", 4),
        (400, "malformed", "an approval is for more than nothing", 2),
        (503, "busy", "the orchestrator is loading its state", 3),
    ] {
        let fake = Fake::start(move |_, _| Answer::problem(status, word, detail));
        let program = Program::at(&fake.url());
        for words in [
            &["budget", "approve", "default/yearly", "--amount", "$1"][..],
            &["budgets"],
        ] {
            let ran = program.run(words);
            assert_eq!(ran.code, Some(code), "{ran:?}");
            let first = ran.stderr.lines().next().unwrap();
            assert_eq!(first, format!("error: {detail}"));
            assert_eq!(ran.text(), "");
            let ran = program.run(&[words, &["-o", "json"]].concat());
            let error: Value = serde_json::from_str(&ran.stderr).unwrap();
            assert_eq!(error["error"]["kind"], word);
            assert_eq!(error["error"]["exit_code"], code);
        }
        // An approval that was refused is never sent again by itself: it might be added twice.
        assert_eq!(fake.seen().len(), 4);
    }
}

#[test]
fn a_server_that_is_down_is_told_and_nothing_is_approved() {
    let nobody = Fake::start(|_, _| Answer::problem(500, "x", "x")).url();
    let program = Program::at(&nobody);
    for words in [
        &["budgets"][..],
        &["budget", "approve", "default/all", "--amount", "$1"],
    ] {
        let ran = program.run(words);
        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.stderr.contains("cannot reach the server"), "{ran:?}");
        assert!(ran.stderr.contains("\nhint: start a server"), "{ran:?}");
    }
    // An answer of something else is no approval.
    let other = Fake::start(|_, _| Answer::json(200, &views::money(1)));
    let ran = Program::at(&other.url()).run(&["budgets"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.stderr.contains("cannot be understood"), "{ran:?}");
}
