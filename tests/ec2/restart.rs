//! The program is killed at the worst of times.

use serde_json::json;

use crate::emulator::wait_for;
use crate::server::{POLICY, Server};

/// Kills the server when a call has arrived, and starts it again.
fn kill_at_launch(rule: &serde_json::Value) {
    let mut server = Server::start(POLICY);
    server.lab.fault(rule);
    let build = server.submit_one("echo done");
    wait_for("the launch call", || {
        (server.lab.calls("CreateFleet") > 0).then_some(())
    });
    server.kill();
    server.lab.clear_faults();
    server.restart();
    let detail = server.succeeds(&build, "done\n");
    assert_eq!(
        detail["attempts"].as_array().unwrap().len(),
        1,
        "{detail:#}"
    );
    assert_eq!(
        server.lab.instances(None).len(),
        1,
        "one launch, one instance"
    );
    server.nothing_is_left();
}

#[test]
fn killed_between_the_call_and_its_record() {
    kill_at_launch(&json!({ "action": "CreateFleet", "lose_reply": "after" }));
}

#[test]
fn killed_before_the_call_had_an_effect() {
    kill_at_launch(&json!({ "action": "CreateFleet", "lose_reply": "before" }));
}

#[test]
fn killed_while_a_build_runs() {
    let mut server = Server::start(POLICY);
    let build = server.submit_one("echo one; sleep 3; echo two");
    wait_for("the first line", || {
        (server.log(&build) == "one\n").then_some(())
    });
    server.kill();
    server.restart();
    let detail = server.succeeds(&build, "one\ntwo\n");
    assert_eq!(
        detail["attempts"].as_array().unwrap().len(),
        1,
        "{detail:#}"
    );
    server.nothing_is_left();
}

#[test]
fn killed_while_machines_boot_and_end() {
    let mut server = Server::start(POLICY);
    server
        .lab
        .settings(&json!({ "boot_ms": 1_500, "shutting_down_ms": 1_500 }));
    let build = server.submit_one("echo done");
    server.machine_in("booting");
    server.kill();
    server.restart();
    server.succeeds(&build, "done\n");
    server.machine_in("draining");
    server.kill();
    server.restart();
    server.nothing_is_left();
    assert_eq!(server.lab.instances(None).len(), 1);
}
