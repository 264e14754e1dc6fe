//! What is left behind is found and removed, with the server and without it.

use serde_json::json;

use crate::emulator::wait_for;
use crate::server::{POLICY, Server};

#[test]
fn the_command_ends_what_has_expired_and_nothing_else() {
    let mut server = Server::start(POLICY);
    server.submit_one("sleep 600");
    server.machine_in("busy");
    server.kill();
    let dry = server.run(&["sweep", "--dry-run", "--json"]);
    assert!(dry.status.success(), "{dry:?}");
    assert_eq!(
        server.lab.instances(Some("running")).len(),
        1,
        "not expired"
    );
    // As if the machine had been forgotten for a week.
    let swept = server.run(&[
        "sweep",
        "--expired-by",
        "2099-01-01T00:00:00Z",
        "--pause",
        "100ms",
    ]);
    assert!(swept.status.success(), "{swept:?}");
    let said = String::from_utf8_lossy(&swept.stdout).into_owned();
    assert!(said.contains("i-"), "{said}");
    server.lab.until_nothing_is_left();
}

#[test]
fn instances_of_others_are_never_touched() {
    let server = Server::start(POLICY);
    let tags = json!({ "Name": "somebody's" });
    let subnets = server.lab.subnets();
    let volume = server
        .lab
        .post("/volumes", &json!({ "zone": "us-east-1a", "tags": tags }));
    server.lab.post(
        "/interfaces",
        &json!({ "subnet": subnets[0], "tags": tags }),
    );
    let build = server.submit_one("echo done");
    server.succeeds(&build, "done\n");
    wait_for("the end of all machines", || {
        server.machines().is_empty().then_some(())
    });
    let output = server.run(&[
        "sweep",
        "--expired-by",
        "2099-01-01T00:00:00Z",
        "--pause",
        "100ms",
    ]);
    assert!(output.status.success(), "{output:?}");
    let left = server.lab.left().expect("what is somebody's stays");
    assert!(left.contains(volume["id"].as_str().unwrap()), "{left}");
}
