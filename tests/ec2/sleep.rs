//! Machines that are stopped and started again.

use serde_json::{Value, json};

use crate::emulator::wait_for;
use crate::server::{DEBIAN, Server};

const SLEEPY: &str = "\
name: default
limits: { machines: 4 }
idle: { timeout: 1s, then: stop, asleep: { machines: 1, timeout: 1h } }
";

fn asleep(server: &Server, run: &str, log: &str) -> Value {
    let build = server.submit_one(run);
    server.succeeds(&build, log);
    server.machine_in("asleep")
}

#[test]
fn a_machine_that_was_stopped_is_woken_with_its_disk() {
    let server = Server::start(SLEEPY);
    let machine = asleep(&server, "echo here >~/kept; echo done", "done\n");
    let instance = machine["instance"].as_str().unwrap();
    assert_eq!(
        server.lab.get(&format!("/instances/{instance}"))["state"],
        "stopped"
    );
    let build = server.submit_one("cat ~/kept");
    let detail = server.succeeds(&build, "here\n");
    assert_eq!(detail["attempts"][0]["machine"], machine["id"]);
    server.machine_in("asleep");
    let id = machine["id"].as_str().unwrap();
    assert!(server.run(&["machine", "end", id]).status.success());
    server.nothing_is_left();
}

#[test]
fn without_capacity_to_wake_it_a_cold_machine_is_launched() {
    let server = Server::start(SLEEPY);
    let machine = asleep(&server, "echo done", "done\n");
    let (kind, zone) = (&machine["shape"]["name"], &machine["zone"]);
    server
        .lab
        .capacity(&json!([{ "type": "*", "zone": zone, "market": "*", "slots": 0 }]));
    let build = server.submit_one("echo cold");
    let detail = server.succeeds(&build, "cold\n");
    let last = detail["attempts"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_ne!(last["machine"], machine["id"], "{kind} {zone} {detail:#}");
    server.lab.capacity(&json!([]));
    for machine in server.machines() {
        wait_for("its end", || {
            let id = machine["id"].as_str().unwrap();
            server
                .run(&["machine", "end", id])
                .status
                .success()
                .then_some(())
        });
    }
    server.nothing_is_left();
}

#[test]
fn a_machine_may_be_woken_as_another_type() {
    let server = Server::with(&[("debian", DEBIAN)], SLEEPY);
    let machine = asleep(&server, "echo done", "done\n");
    let (kind, zone) = (machine["shape"]["name"].clone(), machine["zone"].clone());
    server
        .lab
        .capacity(&json!([{ "type": kind, "zone": zone, "market": "*", "slots": 0 }]));
    // The first build finds out that its own type is dry, and goes elsewhere.
    let first = server.submit_one("echo first");
    server.succeeds(&first, "first\n");
    let second = server.submit_one("echo a; sleep 2; echo b");
    let third = server.submit_one("echo c; sleep 2; echo d");
    for build in [&second, &third] {
        assert_eq!(server.finished(build)["build"]["result"], "success");
    }
    let instance = machine["instance"].as_str().unwrap();
    let woken = server.lab.get(&format!("/instances/{instance}"));
    assert_ne!(woken["type"], kind, "{woken:#}");
    for machine in server.machines() {
        wait_for("its end", || {
            let id = machine["id"].as_str().unwrap();
            server
                .run(&["machine", "end", id])
                .status
                .success()
                .then_some(())
        });
    }
    server.nothing_is_left();
}
