//! Machines that do not come up, or are not ours, or go dark.

use serde_json::{Value, json};

use crate::emulator::wait_for;
use crate::server::{DEBIAN, POLICY, Server};

fn kinds(detail: &Value) -> Vec<Value> {
    let attempts = detail["attempts"].as_array().unwrap().iter();
    attempts
        .map(|attempt| attempt["outcome"]["kind"].clone())
        .collect()
}

fn quick() -> String {
    DEBIAN.replace("boot_timeout: 40s", "boot_timeout: 4s")
}

#[test]
fn a_machine_that_never_boots_is_replaced_and_its_console_shown() {
    let server = Server::with(&[("debian", &quick())], POLICY);
    server
        .lab
        .guest_fault(&json!({ "boot": "never", "count": 1 }));
    let build = server.submit_one("echo done");
    let detail = server.succeeds(&build, "done\n");
    assert_eq!(kinds(&detail), ["infrastructure", "exited"], "{detail:#}");
    assert!(
        server.events().contains("not ready after 4s"),
        "{}",
        server.events()
    );
    server.nothing_is_left();
}

#[test]
fn a_machine_without_sshd_is_replaced_with_the_end_of_its_console() {
    let server = Server::with(&[("debian", &quick())], POLICY);
    server
        .lab
        .guest_fault(&json!({ "boot": "no-sshd", "count": 1 }));
    let build = server.submit_one("echo done");
    server.succeeds(&build, "done\n");
    server.until_an_event_says("console ends with");
    server.nothing_is_left();
}

#[test]
fn a_wrong_host_key_is_refused_at_once() {
    let server = Server::start(POLICY);
    server
        .lab
        .guest_fault(&json!({ "boot": "wrong-host-key", "count": 1 }));
    let build = server.submit_one("echo done");
    let detail = server.succeeds(&build, "done\n");
    assert_eq!(kinds(&detail), ["infrastructure", "exited"], "{detail:#}");
    assert!(server.events().contains("host key"), "{}", server.events());
    server.nothing_is_left();
}

#[test]
fn a_launch_that_ends_by_itself_is_told_with_the_reason() {
    let server = Server::start(POLICY);
    server
        .lab
        .guest_fault(&json!({ "launch_fails": "Client.VolumeLimitExceeded", "count": 1 }));
    let build = server.submit_one("echo done");
    server.succeeds(&build, "done\n");
    assert!(
        server.events().contains("VolumeLimitExceeded"),
        "{}",
        server.events()
    );
    server.nothing_is_left();
}

#[test]
fn sshd_may_die_under_a_build_and_come_back() {
    let server = Server::start(POLICY);
    let build = server.submit_one("echo one\nwhile [ ! -e go ]; do sleep 0.1; done\necho two");
    let machine = server.machine_in("busy");
    let instance = machine["instance"].as_str().unwrap().to_owned();
    wait_for("the first line", || {
        (server.log(&build) == "one\n").then_some(())
    });
    let sshd = |run: bool| {
        server
            .lab
            .post(&format!("/guests/{instance}/sshd"), &json!({ "run": run }));
    };
    sshd(false);
    sshd(true);
    // Whoever can log in lets it go on: through the program's own session this would be cheating.
    let path = format!("/guests/{instance}");
    let pid = server.lab.get(&path)["pid"].as_u64().unwrap().to_string();
    let script = "for d in /home/*/.dormouse/*/; do touch $d/go $d/*/go; done 2>/dev/null; \
        find /home -name work -type d -exec touch {}/go \\;";
    let entered = std::process::Command::new("nsenter")
        .args([
            "--target", &pid, "--mount", "--root", "--wd", "sh", "-c", script,
        ])
        .status()
        .unwrap();
    assert!(entered.success());
    server.succeeds(&build, "one\ntwo\n");
    server.nothing_is_left();
}

#[test]
fn a_machine_that_crashes_gives_its_build_back() {
    let server = Server::start(POLICY);
    let build = server.submit_one("echo one; sleep 600");
    let machine = server.machine_in("busy");
    let instance = machine["instance"].as_str().unwrap().to_owned();
    wait_for("the first line", || {
        (server.log(&build) == "one\n").then_some(())
    });
    // The instance is ended from outside, as a failing host would.
    let path = format!("/instances/{instance}/terminate");
    server
        .lab
        .post(&path, &json!({ "reason": "Server.InternalError" }));
    wait_for("the next attempt", || {
        let detail = server.get(&format!("builds/{build}"));
        (detail["attempts"].as_array().unwrap().len() == 2).then_some(())
    });
    assert!(server.run(&["cancel", &build]).status.success());
    server.finished(&build);
    server.nothing_is_left();
}

#[test]
fn a_machine_whose_lease_runs_out_powers_itself_off() {
    let mut server = Server::start(POLICY);
    let config = std::fs::read_to_string(server.directory().join("dormouse.yaml")).unwrap();
    let short = config.replace("lease: 60s", "lease: 10s");
    server.kill();
    std::fs::write(server.directory().join("dormouse.yaml"), short).unwrap();
    server.restart();
    server.submit_one("sleep 600");
    server.machine_in("busy");
    server.kill();
    server.lab.until_nothing_is_left();
}
