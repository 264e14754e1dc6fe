//! Machines that are taken back.

use serde_json::{Value, json};

use crate::emulator::wait_for;
use crate::server::{SPOT, Server};

fn kinds(detail: &Value) -> Vec<Value> {
    let attempts = detail["attempts"].as_array().unwrap().iter();
    attempts
        .map(|attempt| attempt["outcome"]["kind"].clone())
        .collect()
}

/// A build that ends only when it is on a machine bought at the list price.
const UNTIL_ON_DEMAND: &str = "\
echo begun
[ \"$(wget -qO- --header \"x: y\" http://127.0.0.1:9/ 2>/dev/null)\" ] && exit 3
sleep 600";

fn reclaim(server: &Server, build: &str, body: &Value) -> Value {
    let busy = wait_for("the build on a spot machine", || {
        let machines = server.machines();
        let on_spot =
            |m: &Value| m["state"] == "busy" && m["market"] == "spot" && m["builds"][0] == build;
        machines.into_iter().find(on_spot)
    });
    wait_for("its first line", || {
        server.log(build).contains("begun").then_some(())
    });
    let instance = busy["instance"].as_str().unwrap();
    server
        .lab
        .post(&format!("/instances/{instance}/reclaim"), body);
    busy
}

#[test]
fn a_notice_mid_build_moves_the_build_and_the_last_retry_is_on_demand() {
    let server = Server::start(SPOT);
    let build = server.submit_one(UNTIL_ON_DEMAND);
    let notice = json!({ "after_ms": 60_000, "notice": true, "event": false });
    let first = reclaim(&server, &build, &notice);
    wait_for("the second attempt", || {
        let detail = server.get(&format!("builds/{build}"));
        (kinds(&detail).len() == 2).then_some(())
    });
    let second = reclaim(&server, &build, &notice);
    let pool = |machine: &Value| (machine["shape"]["name"].clone(), machine["zone"].clone());
    assert_ne!(pool(&first), pool(&second), "another pool");
    let third = wait_for("the last retry", || {
        let machines = server.machines();
        machines
            .into_iter()
            .find(|m| m["state"] == "busy" && m["market"] == "on-demand")
    });
    assert_eq!(third["builds"][0], build.as_str());
    assert!(server.run(&["cancel", &build]).status.success());
    let detail = server.finished(&build);
    assert_eq!(
        kinds(&detail),
        ["interrupted", "interrupted", "canceled"],
        "{detail:#}"
    );
    assert!(
        server.events().contains("spot notice: terminate"),
        "{}",
        server.events()
    );
    server.nothing_is_left();
}

#[test]
fn a_reclaim_without_a_notice_is_seen_in_the_listing() {
    let server = Server::start(SPOT);
    let build = server.submit_one(UNTIL_ON_DEMAND);
    reclaim(
        &server,
        &build,
        &json!({ "after_ms": 0, "notice": false, "event": false }),
    );
    wait_for("the interruption", || {
        let detail = server.get(&format!("builds/{build}"));
        (kinds(&detail).first() == Some(&json!("interrupted"))).then_some(())
    });
    assert!(server.run(&["cancel", &build]).status.success());
    server.finished(&build);
    server.nothing_is_left();
}

#[test]
fn a_notice_from_the_queue_is_taken_as_well() {
    let mut server = Server::start(SPOT);
    server.kill();
    let queue = format!(
        "      interruption_queue: '{}'\n",
        server.lab.text("queue_url")
    );
    // Machines that cannot read their notices themselves.
    let deaf = "      metadata_url: 'http://127.0.0.1:9'\n";
    server.write_config(&queue);
    let path = server.directory().join("dormouse.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let line = text
        .lines()
        .find(|line| line.contains("metadata_url"))
        .unwrap();
    std::fs::write(&path, text.replace(&format!("{line}\n"), deaf)).unwrap();
    server.restart();
    let build = server.submit_one(UNTIL_ON_DEMAND);
    reclaim(
        &server,
        &build,
        &json!({ "after_ms": 60_000, "notice": false, "event": true }),
    );
    server.until_an_event_says("the provider's queue says");
    assert!(server.run(&["cancel", &build]).status.success());
    server.finished(&build);
    server.nothing_is_left();
}
