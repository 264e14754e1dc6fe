//! Before the first call: credentials, settings, images that cannot be.

use std::process::Command;

use crate::server::{DEBIAN, POLICY, Server};

#[test]
fn without_credentials_it_is_told_what_to_set() {
    let directory = tempfile::tempdir().unwrap();
    let config = "\
listen: 127.0.0.1:0
auth: open
data_dir: data
providers:
  local: { enabled: false }
  ec2: { lab: { region: us-east-1, endpoint_url: 'http://127.0.0.1:9', subnets: [subnet-1], installation: x } }
";
    std::fs::write(directory.path().join("dormouse.yaml"), config).unwrap();
    let begun = std::time::Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_dormouse"))
        .arg("serve")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("HOME", directory.path())
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for words in ["credentials", "AWS_ACCESS_KEY_ID", "profile"] {
        assert!(said.contains(words), "{said}");
    }
    assert!(begun.elapsed().as_secs() < 30, "an operator waits for this");
}

#[test]
fn an_image_for_another_architecture_is_refused_with_both() {
    let arm = DEBIAN.replace("debian-12-amd64-*", "debian-12-arm64-*");
    let server = Server::with(&[("debian", &arm)], POLICY);
    server.until_an_event_says("arm64");
    let events = server.events();
    assert!(events.contains("x86_64"), "{events}");
}
