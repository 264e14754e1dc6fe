//! What people read: help texts, and answers drawn from fixed data.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{apply, build, builds, cost, events, explain, image, images, machine, machines};
use super::{pipeline, pipelines, plan, policies, policy, quote, token};
use crate::cli::output::{Format, Output, Paper};
use crate::model::Timestamp;

const WIDE: Paper = Paper {
    width: Some(160),
    color: false,
};
const NARROW: Paper = Paper {
    width: Some(60),
    color: false,
};

fn output(paper: Paper) -> Output {
    Output {
        format: Format::Table,
        paper,
        error_color: false,
        now: now(),
    }
}

fn now() -> Timestamp {
    view(json!("2026-11-21T08:05:00Z"))
}

fn view<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// A table on a wide terminal, then on a narrow one.
fn both(draw: impl Fn(Paper) -> String) -> String {
    let narrow = draw(NARROW);
    for line in narrow.lines() {
        assert!(line.chars().count() <= 60, "{line}");
    }
    format!("{}\n{narrow}", draw(WIDE))
}

fn commands(command: &clap::Command, path: &str, found: &mut Vec<(String, clap::Command)>) {
    for inner in command.get_subcommands() {
        if !inner.is_hide_set() && inner.get_name() != "help" {
            let name = format!("{path} {}", inner.get_name());
            found.push((name.clone(), inner.clone()));
            commands(inner, &name, found);
        }
    }
}

fn all_commands() -> Vec<(String, clap::Command)> {
    let mut root = crate::cli::command().term_width(100);
    root.build();
    let mut found = vec![("dormouse".to_owned(), root.clone())];
    commands(&root, "dormouse", &mut found);
    found
}

#[test]
fn help_texts() {
    for (name, command) in all_commands() {
        // The global options are the same for all: they stand in the overview.
        let own = if name == "dormouse" {
            command
        } else {
            command.mut_args(|argument| {
                let is_global = argument.is_global_set();
                argument.hide(is_global)
            })
        };
        let text = own.term_width(100).render_long_help().to_string();
        insta::assert_snapshot!(name.replace(' ', "-"), text);
    }
}

#[test]
fn every_command_shows_an_example_of_itself() {
    for (name, command) in all_commands() {
        let help = command.clone().render_long_help().to_string();
        let (_, examples) = help
            .split_once("Example")
            .unwrap_or_else(|| panic!("{name}"));
        assert!(examples.contains(&name), "{name}");
    }
}

#[test]
fn the_command_line_is_consistent() {
    crate::cli::command().debug_assert();
}

#[test]
fn every_example_of_the_help_can_be_parsed() {
    for (name, command) in all_commands() {
        let help = command.clone().render_long_help().to_string();
        for line in help
            .lines()
            .filter_map(|line| line.strip_prefix("  dormouse "))
        {
            let end = line.find(['|', '>', '<', '&']).unwrap_or(line.len());
            let words = line[..end]
                .split_whitespace()
                .map(|word| word.trim_matches(['"', '\'']));
            let parsed =
                crate::cli::command().try_get_matches_from(["dormouse"].into_iter().chain(words));
            assert!(parsed.is_ok(), "{name}: {line}: {}", parsed.unwrap_err());
        }
    }
}

fn build_summary(state: &str, result: Option<&str>, name: &str) -> Value {
    json!({
        "id": "bld_01jd3x9k2v6q8w4e5r7t9y1s3f", "pipeline": "pl_01jd3x9k2v6q8w4e5r7t9y1s3f",
        "name": name, "project": "compiler", "labels": { "team": "a" }, "matrix": {}, "priority": 0,
        "state": state, "since": "2026-11-21T08:03:00Z", "result": result,
        "reason": result.map(|_| "step \"unit\" exited with 1"), "attempts": 1,
        "machine": (state == "running").then_some("vm_01jd3x9k2v6q8w4e5r7t9y1s3f"),
        "cancel_asked": false, "submitted_at": "2026-11-21T08:00:00Z",
        "started_at": "2026-11-21T08:01:00Z",
        "finished_at": result.map(|_| "2026-11-21T08:03:00Z"),
    })
}

fn builds_value() -> Value {
    json!([
        build_summary("running", None, "test (3.12, sqlite)"),
        build_summary(
            "finished",
            Some("failure"),
            "test (2.7, postgresql 9.0) \u{1b}[31m on a long matrix"
        ),
    ])
}

#[test]
fn lists_of_builds() {
    let builds: Vec<crate::api::view::BuildSummary> = view(builds_value());
    insta::assert_snapshot!(both(|paper| builds::table(&builds, now()).draw(paper)));
}

fn pipeline_value() -> Value {
    json!({
        "id": "pl_01jd3x9k2v6q8w4e5r7t9y1s3f", "name": "nightly", "project": "compiler",
        "labels": {}, "priority": 0, "submitted_at": "2026-11-20T07:00:00Z", "submitted_by": "ci",
        "builds": 2, "tally": { "failure": 1, "running": 1 }, "state": "running", "result": null,
    })
}

#[test]
fn pipelines_and_one_of_them() {
    let list: Vec<crate::api::view::PipelineSummary> = view(json!([pipeline_value()]));
    let one = view(json!({ "pipeline": pipeline_value(), "builds": builds_value() }));
    insta::assert_snapshot!(both(|paper| {
        let list = pipelines::table(&list, now()).draw(paper);
        format!("{list}\n{}", pipeline::draw(&one, output(paper)))
    }));
}

#[test]
fn one_build() {
    let times = |index: u32, exit: Option<i32>| {
        json!({
            "index": index, "started_at": "2026-11-21T08:01:00Z",
            "ended_at": exit.map(|_| "2026-11-21T08:01:07Z"), "exit_code": exit,
            "log_start": 0, "log_end": exit.map(|_| 100),
        })
    };
    let step = |index: u32, name: &str, state: &str, times: Option<Value>| {
        json!({
            "index": index, "name": name, "run": "make", "timeout": null,
            "continue_on_error": false, "always": false, "state": state, "times": times,
        })
    };
    let detail = view(json!({
        "build": build_summary("running", None, "test (3.12, sqlite)"),
        "requires": { "python": ">=3.12", "sqlite": "present" }, "image": null, "fresh": true,
        "needs": [], "timeout": "30m", "max_attempts": 3, "log_limit_bytes": 1_048_576,
        "not_before": null, "cancel": null,
        "steps": [
            step(0, "compile", "success", Some(times(0, Some(0)))),
            step(1, "unit", "running", Some(times(1, None))),
            step(2, "report", "pending", None),
        ],
        "attempts": [
            {
                "id": "att_01jd3x9k2v6q8w4e5r7t9y1s3f", "number": 1,
                "machine": "vm_01jd3x9k2v6q8w4e5r7t9y1s3f", "state": "finished",
                "bound_at": "2026-11-21T08:00:01Z", "started_at": null,
                "finished_at": "2026-11-21T08:00:30Z",
                "outcome": { "kind": "infrastructure", "exit_code": null,
                             "reason": "the connection was refused" },
                "log_bytes": 0, "steps": [],
            },
            {
                "id": "att_01jd3x9k2v6q8w4e5r7t9y1s3g", "number": 2,
                "machine": "vm_01jd3x9k2v6q8w4e5r7t9y1s3f", "state": "running",
                "bound_at": "2026-11-21T08:00:50Z", "started_at": "2026-11-21T08:01:00Z",
                "finished_at": null, "outcome": null, "log_bytes": 1_500_000, "steps": [],
            },
        ],
        "cost": { "key": "x", "total": { "micro_usd": 4_250, "text": "$" }, "by_category": {},
                  "time_millis": {} },
    }));
    insta::assert_snapshot!(both(|paper| build::draw(&detail, output(paper))));
}

fn machine_value() -> Value {
    json!({
        "id": "vm_01jd3x9k2v6q8w4e5r7t9y1s3f", "image": "debian-12", "image_version": 3,
        "provider": "local",
        "shape": { "name": "small", "vcpus": 2, "memory_mib": 2_048,
                   "price": { "micro_usd_per_hour": 41_600, "text": "$" } },
        "zone": "us-east-1a", "market": "spot",
        "state": "busy", "since": "2026-11-21T08:01:00Z", "created_at": "2026-11-21T08:00:00Z",
        "instance": "4711", "address": "127.0.0.1:40022",
        "builds": ["bld_01jd3x9k2v6q8w4e5r7t9y1s3f", "bld_01jd3x9k2v6q8w4e5r7t9y1s3g"], "launched_for": null, "builds_done": 4,
        "reason": null,
        "hold": { "owner": "me", "reason": "flaky disk", "until": "2026-11-21T09:05:00Z" },
        "cost": { "micro_usd": 3_466, "text": "$" }, "age_millis": 300_000,
    })
}

#[test]
fn machines_and_one_of_them() {
    let list: Vec<crate::api::view::MachineView> = view(json!([machine_value()]));
    insta::assert_snapshot!(both(|paper| {
        let table = machines::table(&list, now()).draw(paper);
        format!("{table}\n{}", machine::draw(&list[0], output(paper)))
    }));
}

#[test]
fn images_one_of_them_and_verdicts() {
    let version = |version: u32, state: &str| {
        json!({
            "name": "debian-12", "version": version, "state": state, "description": "Old faithful",
            "provider": "local", "reference": { "path": "/bin" }, "login_user": "builder",
            "shapes": [{ "name": "small", "vcpus": 2, "memory_mib": 2_048,
                         "price": { "micro_usd_per_hour": 41_600, "text": "$" } }],
            "capabilities": { "cc": ["true"], "docker": ["false"], "python": ["3.11.9", "3.12.4"] },
            "ready": "true", "probes": { "python": "python3 --version" }, "boot_timeout": "1m", "slots": 4,
            "applied_at": "2026-11-20T08:00:00Z",
        })
    };
    let versions: Vec<crate::api::view::ImageView> =
        view(json!([version(2, "active"), version(1, "superseded")]));
    let verdicts: Vec<crate::api::view::VerdictView> = view(json!([
        { "capability": "cc", "claimed": ["12.2"], "found": [], "agrees": false },
        { "capability": "python", "claimed": ["3.12"], "found": ["3.12"], "agrees": true },
    ]));
    insta::assert_snapshot!(both(|paper| {
        let table = images::table(&versions, now()).draw(paper);
        let one = image::draw(&versions, output(paper));
        format!(
            "{table}\n{one}\n{}",
            image::verdict_table(&verdicts).draw(paper)
        )
    }));
}

#[test]
fn policies_tokens_and_applied_files() {
    let policies: Vec<crate::api::view::PolicyView> = view(json!([{
        "name": "default", "version": 1, "images": [], "max_machines": 4, "idle_timeout": "10m",
        "max_lifetime": null, "max_builds_per_machine": null, "applied_at": "2026-11-20T08:00:00Z",
        "says": [
            { "key": "limits.machines", "value": "4" }, { "key": "idle.timeout", "value": "10m" },
        ],
        "document": "name: default\n",
    }, {
        "name": "web", "version": 12, "images": ["debian-12"], "max_machines": null,
        "idle_timeout": "auto", "max_lifetime": null, "max_builds_per_machine": 50,
        "applied_at": "2026-11-20T08:00:00Z",
        "says": [
            { "key": "select.projects", "value": "[web, \"lib-*\"]" },
            { "key": "select.images", "value": "[debian-12]" },
            { "key": "budgets", "value": "{name: month, amount: $500, per: month}" },
            { "key": "market.buy", "value": "spot-with-fallback" },
            { "key": "idle.timeout", "value": "auto" },
            { "key": "warm.windows", "value": "{days: mon-fri, running: 2}" },
            { "key": "reuse.builds", "value": "50" },
        ],
        "document": "name: web\n",
    }]));
    let tokens: Vec<crate::api::view::TokenView> = view(json!([{
        "id": "tok_01jd3x9k2v6q8w4e5r7t9y1s3f", "name": "ci", "role": "submitter",
        "created_at": "2026-11-20T08:00:00Z", "revoked_at": "2026-11-21T08:00:00Z",
    }]));
    let applied: Vec<crate::api::view::AppliedView> = view(json!([
        { "kind": "image", "file": "images/debian-12.yaml", "name": "debian-12", "version": 2,
          "changed": true },
        { "kind": "policy", "file": "policies/default.yaml", "name": "default", "version": 1,
          "changed": false },
    ]));
    insta::assert_snapshot!(both(|paper| {
        let policies = policies::table(&policies, now()).draw(paper);
        let tokens = token::table(&tokens, now()).draw(paper);
        format!(
            "{policies}\n{tokens}\n{}",
            apply::table(&applied).draw(paper)
        )
    }));
}

#[test]
fn what_policies_say_together() {
    let said_by = |name: &str, version: u32| json!({ "name": name, "version": version });
    let effective: crate::api::view::EffectiveView = view(json!({
        "project": "web", "image": "debian-12", "provider": "ec2", "labels": {}, "priority": null,
        "policies": [said_by("web", 12), said_by("default", 1)],
        "knobs": [
            { "key": "market.buy", "value": "spot", "policy": said_by("web", 12) },
            { "key": "market.on_demand", "value": null, "policy": null },
            { "key": "idle.timeout", "value": "10m", "policy": said_by("default", 1) },
            { "key": "idle.then", "value": "end", "policy": null },
        ],
        "limits": [
            { "key": "budgets", "value": "{name: month, amount: $500, per: month, time_zone: Europe/Berlin}",
              "policy": said_by("web", 12) },
            { "key": "limits.machines", "value": "10", "policy": null },
        ],
    }));
    insta::assert_snapshot!(both(|paper| policy::draw(&effective, output(paper))));
}

#[test]
fn cost_reports() {
    let row = |key: &str, total: i64| {
        json!({
            "key": key, "total": { "micro_usd": total, "text": "$" },
            "by_category": { "work": { "micro_usd": total / 2, "text": "$" },
                             "boot": { "micro_usd": total - total / 2, "text": "$" } },
            "time_millis": { "work": 60_000, "boot": 30_000 },
        })
    };
    let report = view(json!({
        "by": "project", "from": "2026-11-01T00:00:00Z", "to": "2026-11-21T00:00:00Z",
        "rows": [row("compiler", 12_345_678), row("", 42)],
        "total": { "micro_usd": 12_345_720, "text": "$" }, "truncated": false, "prices": {},
    }));
    insta::assert_snapshot!(both(|paper| cost::draw(&report, output(paper))));
}

#[test]
fn quotes() {
    let time = |low: u64, likely: u64, high: u64| json!({ "low_millis": low, "likely_millis": likely, "high_millis": high });
    let amount = |micros: i64| json!({ "micro_usd": micros, "text": "$" });
    let money = |low: i64, likely: i64, high: i64| json!({ "low": amount(low), "likely": amount(likely), "high": amount(high) });
    let quote = view(json!({
        "at": "2026-11-21T08:05:00Z",
        "builds": [
            { "name": "test (3.12)", "place": "launches debian-12 on small on-demand",
              "price": { "micro_usd_per_hour": 41_600, "text": "$" },
              "start": time(30_000, 40_000, 60_000), "run": time(90_000, 100_000, 180_000),
              "basis": "12 build(s) before", "cost": money(1_400, 1_600, 2_800) },
            { "name": "docs", "place": "on debian-12, after test (3.12)", "price": null,
              "start": time(120_000, 140_000, 240_000), "run": time(0, 3_600_000, 3_600_000),
              "basis": "no history: its timeout of 1h", "cost": money(0, 41_600, 41_600) },
        ],
        "took": time(120_000, 3_740_000, 3_840_000), "cost": money(1_400, 43_200, 44_400),
        "idle": money(3_466, 3_466, 3_466), "launches": 1,
        "held_by": ["budget \"month\" of policy \"web\" has $0.01 of $5 left"],
        "notes": ["idle time is paid for only if nobody else has builds by then"],
    }));
    insta::assert_snapshot!(quote::draw(&quote, output(WIDE)));
}

#[test]
fn tries_are_explained_with_all_that_was_noted() {
    let explanation = view(json!({
        "build": "bld_01jd3x9k2v6q8w4e5r7t9y1s3f", "state": "finished",
        "summary": "It ended as success.", "next": "Its result never changes.", "images": [],
        "attempts": [
            { "number": 1, "machine": "vm_01jd3x9k2v6q8w4e5r7t9y1s3f",
              "place": "debian-12 version 3, t3.small in eu-1a spot at $0.0042/h",
              "why": "a machine that is launched for it; debian-12 is image 1 of 2 that fit",
              "waited_for": "policy \"default\" allows 2 machines at once",
              "bound_at": "2026-11-21T08:05:00Z", "waited_millis": 42_000, "ready_millis": 21_300,
              "ran_millis": 187_000, "outcome": "its machine was taken back: notice of its provider" },
            { "number": 2, "machine": "vm_01jd3x9k2v6q8w4e5r7t9y1s3g", "place": null, "why": null,
              "waited_for": null, "bound_at": "2026-11-21T08:09:00Z", "waited_millis": 1_000,
              "ready_millis": null, "ran_millis": null, "outcome": "it has not begun; bound for 2s" },
        ],
    }));
    let drawn = explain::draw(&explanation, output(WIDE));
    let tries = drawn.split_once("Attempt 1").expect("they are there").1;
    assert_eq!(
        format!("Attempt 1{tries}"),
        "\
Attempt 1
On:          vm_01jd3x9k2v6q8w4e5r7t9y1s3f (debian-12 version 3, t3.small in eu-1a spot at $0.0042/h)
Why there:   a machine that is launched for it; debian-12 is image 1 of 2 that fit
Queued for:  42s: policy \"default\" allows 2 machines at once
Began after: 21s
Ran for:     3m 07s
Outcome:     its machine was taken back: notice of its provider

Attempt 2
On:         vm_01jd3x9k2v6q8w4e5r7t9y1s3g
Queued for: 1.0s
Outcome:    it has not begun; bound for 2s
"
    );
}

#[test]
fn plans_explanations_and_events() {
    let plan = view(json!({
        "at": "2026-11-21T08:05:00Z",
        "actions": ["launch debian-12 on small for bld_01jd3x9k2v6q8w4e5r7t9y1s3f"],
        "waiting": [{ "requires": "python >=3.12", "builds": 3,
                      "first": "bld_01jd3x9k2v6q8w4e5r7t9y1s3f", "why": "all 4 machines are busy" }],
        "machines": [], "wake_at": "2026-11-21T08:06:30Z",
    }));
    let explanation = view(json!({
        "build": "bld_01jd3x9k2v6q8w4e5r7t9y1s3f", "state": "queued",
        "summary": "It waits for a machine.", "next": "A machine of debian-12 is idle in about 20 s.",
        "waits_for": "capacity", "next_try": "2026-11-21T08:06:30Z", "ahead": 2,
        "remedies": [{ "effect": "gives it up",
                       "command": "dormouse cancel bld_01jd3x9k2v6q8w4e5r7t9y1s3f" }],
        "images": [
            { "image": "debian-12", "rank": 1,
              "price": { "micro_usd_per_hour": 41_600, "text": "$" }, "verdict": "1 machine is busy",
              "shapes": [{ "shape": "small", "zone": "us-east-1a", "market": "spot",
                           "price": { "micro_usd_per_hour": 41_600, "text": "$" }, "rank": null,
                           "verdict": "it had no capacity; tried again at 2026-11-21T08:06:30Z" }],
              "machines": [{ "machine": "vm_01jd3x9k2v6q8w4e5r7t9y1s3f", "state": "busy",
                             "rank": null, "verdict": "it runs as many builds as it may" }] },
            { "image": "alpine-3", "rank": null, "price": null, "verdict": "python is 3.11, not >=3.12" },
        ],
    }));
    let event = view(json!({
        "number": 7, "at": "2026-11-21T08:05:00Z", "kind": "build_finished",
        "subject": { "kind": "build", "id": "bld_01jd3x9k2v6q8w4e5r7t9y1s3f" },
        "message": "success\nafter 12 s",
    }));
    let wide = output(WIDE);
    insta::assert_snapshot!(
        [
            plan::draw(&plan, wide),
            explain::draw(&explanation, wide),
            events::line(&event, wide),
        ]
        .join("\n")
    );
}
