//! The main job: a matrix over many images, and what it leaves behind.

use serde_json::{Map, Value, json};

use crate::server::{DEBIAN, POLICY, Server};

/// Eight images of two distributions, each with versions of its own.
fn images() -> Vec<(String, String)> {
    (0..8)
        .map(|n| {
            let (owner, name, user, os) = if n % 2 == 0 {
                ("136693071363", "debian-12-amd64-*", "admin", "debian")
            } else {
                (
                    "099720109477",
                    "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-*",
                    "ubuntu",
                    "ubuntu",
                )
            };
            let text = format!(
                "\
name: image-{n}
provider: lab
reference: {{ ami: {{ owner: '{owner}', name: '{name}' }} }}
login: {{ user: {user} }}
shapes: {{ vcpus: 2..4, memory: 4GiB..16GiB, families: [c7i, m7i] }}
capabilities: {{ os: {os}, tool: '{n}.0', sh: true }}
boot_timeout: 60s
billing: {{ minimum: 0s }}
"
            );
            (format!("image-{n}"), text)
        })
        .collect()
}

#[test]
fn forty_builds_over_eight_images_end_once_with_their_logs() {
    let images = images();
    let images: Vec<(&str, &str)> = images
        .iter()
        .map(|(n, t)| (n.as_str(), t.as_str()))
        .collect();
    let server = Server::with(&images, POLICY);
    let mut builds = Map::new();
    for n in 0..40 {
        let code = i32::from(n % 10 == 9);
        let build = json!({
            "requires": { "tool": format!("{}.0", n % 8) },
            "steps": [format!("echo build {n} as $(id -un)\nexit {code}")],
        });
        builds.insert(format!("build-{n:02}"), build);
    }
    let ids = server.submit(&Value::Object(builds));
    assert_eq!(ids.len(), 40);
    for (n, id) in ids.iter().enumerate() {
        let detail = server.finished(id);
        let expected = if n % 10 == 9 { "failure" } else { "success" };
        assert_eq!(detail["build"]["result"], expected, "{detail:#}");
        assert_eq!(
            detail["attempts"].as_array().unwrap().len(),
            1,
            "{detail:#}"
        );
        let user = if n % 2 == 0 { "admin" } else { "ubuntu" };
        assert_eq!(server.log(id), format!("build {n} as {user}\n"));
    }
    server.nothing_is_left();
    assert_eq!(server.lab.calls("CreateKeyPair"), 0);
}

#[test]
fn many_equal_builds_are_few_calls() {
    let server = Server::start("name: default\nlimits: { machines: 100 }\nidle: { timeout: 1s }\n");
    let mut builds = Map::new();
    for n in 0..30 {
        let build = json!({ "requires": { "sh": true }, "steps": ["echo done"] });
        builds.insert(format!("build-{n}"), build);
    }
    let ids = server.submit(&Value::Object(builds));
    for id in &ids {
        server.succeeds(id, "done\n");
    }
    let launched = server.lab.instances(None).len();
    let calls = server.lab.calls("CreateFleet") + server.lab.calls("RunInstances");
    assert!(calls <= 3, "{calls} launch calls for {launched} instances");
    server.nothing_is_left();
}

#[test]
fn machines_are_what_was_asked_for() {
    let server = Server::with(
        &[("debian", DEBIAN)],
        "name: default\nidle: { timeout: 30s }\n",
    );
    let build = server.submit_one("sleep 0; echo here");
    server.succeeds(&build, "here\n");
    let instance = server.lab.running();
    assert_eq!(instance["shutdown_behavior"], "terminate", "{instance:#}");
    let tags = instance["tags"].as_object().unwrap();
    for tag in ["installation", "launch", "image", "expires-at"] {
        assert!(tags.contains_key(&format!("dormouse:{tag}")), "{tags:?}");
    }
    let newest = server.lab.get("/")["images"].as_array().unwrap().clone();
    let debian = |image: &&Value| {
        image["os"] == "debian" && image["arch"].as_str().is_some_and(|arch| arch != "arm64")
    };
    let newest = newest
        .iter()
        .filter(debian)
        .max_by_key(|i| i["created"].to_string());
    assert_eq!(instance["image"], newest.unwrap()["id"], "the newest wins");
    let machine = server.machines().remove(0);
    assert!(
        machine["zone"].as_str().unwrap().starts_with("us-east-1"),
        "{machine:#}"
    );
    assert_eq!(machine["market"], "on-demand");
    let price = machine["shape"]["price"]["micro_usd_per_hour"]
        .as_u64()
        .unwrap();
    assert!((50_000..300_000).contains(&price), "{machine:#}");
    let id = machine["id"].as_str().unwrap();
    assert!(server.run(&["machine", "end", id]).status.success());
    server.nothing_is_left();
}
