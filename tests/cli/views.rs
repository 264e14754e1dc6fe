//! Answers with fixed data.

use serde_json::{Value, json};

pub(crate) const PIPELINE: &str = "pl_00000000000000000000000001";
pub(crate) const BUILD: &str = "bld_00000000000000000000000002";
pub(crate) const MACHINE: &str = "vm_00000000000000000000000003";

pub(crate) fn build(state: &str, result: Option<&str>) -> Value {
    json!({
        "id": BUILD, "pipeline": PIPELINE, "name": "test (3.12)", "project": "demo",
        "labels": {}, "matrix": {}, "priority": 0, "state": state,
        "since": "2026-11-21T08:00:00Z", "result": result,
        "reason": result.filter(|word| *word != "success").map(|word| format!("because of {word}")),
        "attempts": u32::from(result.is_some()), "machine": null, "cancel_asked": false,
        "submitted_at": "2026-11-21T07:59:00Z", "started_at": null, "finished_at": null,
    })
}

pub(crate) fn pipeline(state: &str, result: Option<&str>) -> Value {
    let build_state = if state == "finished" {
        "finished"
    } else {
        "queued"
    };
    json!({
        "pipeline": {
            "id": PIPELINE, "name": "nightly", "project": "demo", "labels": {}, "priority": 0,
            "submitted_at": "2026-11-21T07:59:00Z", "submitted_by": "me", "builds": 1,
            "tally": { result.unwrap_or("queued"): 1 }, "state": state, "result": result,
        },
        "builds": [build(build_state, result)],
    })
}

pub(crate) fn accepted() -> Value {
    json!({
        "pipeline": PIPELINE, "name": "nightly", "repeated": false,
        "builds": [{ "id": BUILD, "name": "test (3.12)", "state": "queued" }],
    })
}

pub(crate) fn money(micros: i64) -> Value {
    json!({ "micro_usd": micros, "text": "$" })
}

/// A build with one attempt, whose log has so many bytes in two steps.
pub(crate) fn detail(log_bytes: usize, result: Option<&str>) -> Value {
    let half = log_bytes / 2;
    let times = json!([
        { "index": 0, "started_at": "2026-11-21T08:00:00Z", "ended_at": "2026-11-21T08:00:01Z",
          "exit_code": 0, "log_start": 0, "log_end": half },
        { "index": 1, "started_at": "2026-11-21T08:00:01Z", "ended_at": "2026-11-21T08:00:02Z",
          "exit_code": 1, "log_start": half, "log_end": log_bytes },
    ]);
    let step = |index: usize, name: &str, state: &str| {
        json!({
            "index": index, "name": name, "run": "true", "timeout": null,
            "continue_on_error": false, "always": false, "state": state, "times": times[index],
        })
    };
    json!({
        "build": build("finished", result), "requires": { "python": ">=3.12" }, "image": null,
        "fresh": false, "needs": [], "timeout": "1h", "max_attempts": 3,
        "log_limit_bytes": 1_048_576, "not_before": null, "cancel": null,
        "steps": [step(0, "compile", "success"), step(1, "unit", "failure")],
        "attempts": [{
            "id": "att_00000000000000000000000004", "number": 1, "machine": MACHINE,
            "state": "finished", "bound_at": "2026-11-21T07:59:30Z",
            "started_at": "2026-11-21T08:00:00Z", "finished_at": "2026-11-21T08:00:02Z",
            "outcome": { "kind": "exited", "exit_code": 1, "reason": null },
            "log_bytes": log_bytes, "steps": times,
        }],
        "cost": { "key": BUILD, "total": money(4_250), "by_category": {}, "time_millis": {} },
    })
}
