//! Calls that fail, come late, or are answered into the void.

use serde_json::{Map, Value, json};

use crate::server::{POLICY, SPOT, Server};

/// Five builds that must all end well, whatever happens to the calls.
fn five_builds_end_well(server: &Server) {
    let mut builds = Map::new();
    for n in 0..5 {
        let build = json!({ "requires": { "sh": true }, "steps": [format!("echo {n}")] });
        builds.insert(format!("build-{n}"), build);
    }
    let ids = server.submit(&Value::Object(builds));
    for (n, id) in ids.iter().enumerate() {
        server.succeeds(id, &format!("{n}\n"));
    }
    server.nothing_is_left();
}

#[test]
fn a_lost_reply_to_a_launch_makes_no_second_machine() {
    let server = Server::start(POLICY);
    for when in ["before", "after"] {
        server
            .lab
            .fault(&json!({ "action": "CreateFleet", "lose_reply": when, "count": 2 }));
    }
    five_builds_end_well(&server);
    assert!(server.lab.instances(None).len() <= 5);
}

#[test]
fn errors_of_the_service_are_sat_out() {
    let server = Server::start(POLICY);
    for action in ["CreateFleet", "DescribeInstances", "TerminateInstances"] {
        server.lab.fault(&json!({
            "action": action, "count": 4, "error": { "code": "InternalError", "status": 500 },
        }));
    }
    five_builds_end_well(&server);
    assert!(server.lab.instances(None).len() <= 5);
}

#[test]
fn throttling_slows_down_and_blames_no_pool() {
    let server = Server::start(SPOT);
    for action in [
        "CreateFleet",
        "CreateLaunchTemplate",
        "DescribeInstances",
        "TerminateInstances",
    ] {
        server.lab.fault(&json!({
            "action": action, "count": 3, "error": { "code": "RequestLimitExceeded", "status": 503 },
        }));
    }
    five_builds_end_well(&server);
    let markets = server.lab.instances(None);
    assert!(
        markets.iter().all(|i| i["market"] == "spot"),
        "{markets:#?}"
    );
}

#[test]
fn a_throttle_inside_a_fleets_answer_is_no_lack_of_capacity() {
    let server = Server::start(SPOT);
    server.lab.fault(&json!({
        "action": "CreateFleet", "type": "*", "zone": "*", "market": "spot", "count": 6,
        "error": { "code": "RequestLimitExceeded", "status": 503 },
    }));
    five_builds_end_well(&server);
    let instances = server.lab.instances(None);
    assert!(
        instances.iter().all(|i| i["market"] == "spot"),
        "{instances:#?}"
    );
}

#[test]
fn listings_that_lag_cost_no_machine() {
    let server = Server::start(POLICY);
    server
        .lab
        .settings(&json!({ "describe_lag_ms": 1_500, "not_found_ms": 2_000 }));
    five_builds_end_well(&server);
    assert!(server.lab.instances(None).len() <= 5);
}

#[test]
fn listings_come_in_pages() {
    let server = Server::start(POLICY);
    // All types that there are would be a thousand pages.
    server.until_an_event_says("stands for");
    server.lab.settings(&json!({ "max_page": 2 }));
    server
        .lab
        .fault(&json!({ "action": "DescribeInstances", "page": 0, "count": 3 }));
    five_builds_end_well(&server);
}

#[test]
fn a_terminate_that_is_refused_is_repeated() {
    let server = Server::start(POLICY);
    server.lab.fault(&json!({
        "action": "TerminateInstances", "count": 3, "lose_reply": "before",
    }));
    five_builds_end_well(&server);
}
