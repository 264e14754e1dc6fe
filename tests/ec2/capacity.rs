//! Pools without capacity, quotas, and spare capacity.

use serde_json::{Value, json};

use crate::server::{DEBIAN, POLICY, SPOT, Server};

fn no_capacity(kind: &str, zone: &str, market: &str) -> Value {
    json!({ "type": kind, "zone": zone, "market": market, "slots": 0 })
}

#[test]
fn a_dry_type_gives_way_to_the_next_one() {
    let server = Server::start(POLICY);
    server
        .lab
        .capacity(&json!([no_capacity("c7i.large", "*", "*")]));
    let build = server.submit_one("echo done");
    server.succeeds(&build, "done\n");
    let types: Vec<Value> = server
        .lab
        .instances(None)
        .iter()
        .map(|i| i["type"].clone())
        .collect();
    assert_eq!(types, ["m7i.large"]);
    server.nothing_is_left();
}

#[test]
fn without_spare_capacity_machines_are_bought_on_demand() {
    let server = Server::start(SPOT);
    server.lab.capacity(&json!([no_capacity("*", "*", "spot")]));
    let build = server.submit_one("echo done");
    let detail = server.succeeds(&build, "done\n");
    let counted = detail["attempts"].as_array().unwrap().iter();
    let outcomes: Vec<&Value> = counted.map(|attempt| &attempt["outcome"]["kind"]).collect();
    assert_eq!(outcomes, ["not_launched", "exited"], "{detail:#}");
    let instances = server.lab.instances(None);
    assert_eq!(instances.len(), 1);
    assert_eq!(instances[0]["market"], "on-demand");
    server.nothing_is_left();
}

#[test]
fn a_whole_call_that_fails_falls_back_as_well() {
    let server = Server::start(SPOT);
    // Not a pool's error in a fleet's answer, but the call itself.
    server.lab.fault(&json!({
        "action": "CreateFleet", "count": 1,
        "error": { "code": "InsufficientInstanceCapacity", "status": 500 },
    }));
    let build = server.submit_one("echo done");
    server.succeeds(&build, "done\n");
    assert_eq!(server.lab.instances(None).len(), 1);
    assert!(
        server.lab.calls("CreateFleet") <= 2,
        "capacity is not retried"
    );
    server.nothing_is_left();
}

#[test]
fn spare_capacity_is_used_where_there_is_some() {
    let server = Server::start(SPOT);
    let build = server.submit_one("echo done");
    server.succeeds(&build, "done\n");
    let instances = server.lab.instances(None);
    assert_eq!(instances[0]["market"], "spot", "{instances:#?}");
    server.nothing_is_left();
}

#[test]
fn without_any_capacity_builds_wait_with_a_known_next_try() {
    let server = Server::start(POLICY);
    server.lab.capacity(&json!([no_capacity("*", "*", "*")]));
    let build = server.submit_one("echo done");
    crate::emulator::wait_for("the reason", || {
        let explained = server.try_get(&format!("builds/{build}/explain"))?;
        let text = explained.to_string();
        (text.contains("there is no capacity") && text.contains("next try at")).then_some(())
    });
    let calls = server.lab.calls("CreateFleet") + server.lab.calls("RunInstances");
    assert!(calls <= 3, "{calls} calls to dry pools");
    let output = server.run(&["cancel", &build]);
    assert!(output.status.success(), "{output:?}");
    server.nothing_is_left();
}

#[test]
fn a_partial_fill_is_used_and_the_rest_goes_elsewhere() {
    let server = Server::start(POLICY);
    server.lab.capacity(&json!([
        { "type": "c7i.large", "zone": "us-east-1a", "market": "*", "slots": 1 },
        { "type": "m7i.large", "zone": "us-east-1b", "market": "*", "slots": 1 },
        no_capacity("*", "*", "*"),
    ]));
    let build = |n: usize| json!({ "requires": { "sh": true }, "steps": [format!("echo {n}")] });
    let ids = server.submit(&json!({ "a": build(0), "b": build(1), "c": build(2) }));
    for (n, id) in ids.iter().enumerate() {
        server.succeeds(id, &format!("{n}\n"));
    }
    server.nothing_is_left();
}

#[test]
fn a_quota_is_told_and_a_refused_image_stops_nobody_else() {
    let typo = DEBIAN
        .replace("name: debian\n", "name: typo\n")
        .replace("sh: true", "typo: true")
        .replace("debian-12-amd64-*", "no-such-name-*");
    let server = Server::with(&[("debian", DEBIAN), ("typo", &typo)], POLICY);
    server.until_an_event_says("cannot be launched");
    let doomed = json!({ "one": { "requires": { "typo": true }, "steps": ["echo never"] } });
    let doomed = server.submit(&doomed).remove(0);
    let build = server.submit_one("echo done");
    server.succeeds(&build, "done\n");
    let explained = server.get(&format!("builds/{doomed}/explain")).to_string();
    assert!(explained.contains("typo is paused"), "{explained}");
    crate::emulator::wait_for("the end of its machine", || {
        server.machines().is_empty().then_some(())
    });
    server.lab.quotas(&json!({ "on-demand": 1 }));
    server.submit_one("echo later");
    server.until_an_event_says("the quota of on-demand is used up");
}
