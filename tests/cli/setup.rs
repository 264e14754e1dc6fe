//! Settings, tokens, and what the program says of itself.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::fake::{Answer, Fake};
use crate::program::Program;

fn sources(program: &Program, arguments: &[&str]) -> Vec<(String, Value)> {
    let shown = program
        .run(&[&["config", "show", "--json"], arguments].concat())
        .json();
    let settings = shown.as_array().unwrap();
    settings
        .iter()
        .filter(|setting| setting["source"]["kind"] != "default")
        .map(|setting| {
            (
                setting["key"].as_str().unwrap().to_owned(),
                setting["source"].clone(),
            )
        })
        .collect()
}

#[test]
fn each_setting_is_shown_with_its_source() {
    let program = Program::new()
        .with("DORMOUSE_ENGINE_LEASE", "3m")
        .with("DORMOUSE_ADMIN_TOKEN", "a-token-that-nobody-can-guess");
    let path = program.home.path().join("dormouse.yaml");
    std::fs::write(&path, "listen: 127.0.0.1:9\nengine:\n  lease: 1m\n").unwrap();
    let admin = json!({ "kind": "environment", "name": "DORMOUSE_ADMIN_TOKEN" });
    let lease = json!({ "kind": "environment", "name": "DORMOUSE_ENGINE_LEASE" });
    let listen = json!({ "kind": "file", "file": "dormouse.yaml", "line": 1, "column": 9 });
    assert_eq!(
        sources(&program, &[]),
        [
            ("listen".to_owned(), listen),
            ("admin_token".to_owned(), admin),
            ("engine.lease".to_owned(), lease),
        ]
    );
    let table = program.run(&["config", "show"]);
    let yaml = program.run(&["config", "show", "--yaml"]);
    for ran in [&table, &yaml] {
        assert!(!ran.text().contains("guess"), "{ran:?}");
        assert!(ran.text().contains("dormouse.yaml:1:9"), "{ran:?}");
        assert!(ran.text().contains("$DORMOUSE_ENGINE_LEASE"), "{ran:?}");
    }
}

#[test]
fn a_wrong_configuration_is_told_with_every_place() {
    let program = Program::new();
    let path = program.home.path().join("other.yaml");
    std::fs::write(&path, "lisen: x\nengine:\n  lease: soon\n").unwrap();
    let ran = program.run(&["config", "check", "other.yaml"]);
    assert_eq!(ran.code, Some(2));
    insta::assert_snapshot!(ran.stderr);
    let broken = ["--config", "other.yaml"];
    let defaults = program.run(&[&broken[..], &["config", "show", "--defaults"]].concat());
    assert!(defaults.text().contains("127.0.0.1:8470"), "{defaults:?}");
    let shown = program.run(&[&broken[..], &["config", "show"]].concat());
    assert_eq!(shown.code, Some(2));
    assert_eq!(program.run(&["config", "check"]).code, Some(0));
    assert_eq!(program.run(&["config", "check", "none.yaml"]).code, Some(2));
    let ran = program.run(&["serve", "--set", "engine.leese=1m", "--listen", "here"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr.contains("did you mean \"engine.lease\"?"),
        "{ran:?}"
    );
    assert!(
        ran.stderr
            .contains("--listen: listen: \"here\" is not accepted"),
        "{ran:?}"
    );
}

#[test]
fn the_server_of_the_configuration_is_spoken_to() {
    let fake = Fake::start(|_, _| Answer::json(200, &json!({ "items": [] })));
    let program = Program::new();
    let path = program.home.path().join("dormouse.yaml");
    std::fs::write(path, format!("listen: {}\n", fake.address)).unwrap();
    assert_eq!(program.run(&["images"]).code, Some(0));
    assert_eq!(fake.seen()[0].path, "/images");
}

#[test]
fn the_nearest_token_is_shown() {
    let fake = Fake::start(|_, _| Answer::json(200, &json!({ "items": [] })));
    let program = Program::at(&fake.url());
    let write = |path: &str, text: &str| {
        let path = program.home.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let shown = |program: &Program, arguments: &[&str]| {
        assert_eq!(
            program.run(&[&["images"], arguments].concat()).code,
            Some(0)
        );
        fake.seen().last().unwrap().token.clone()
    };
    let bearer = |token: &str| Some(format!("Bearer {token}"));
    assert_eq!(shown(&program, &[]), None);
    write(".local/share/dormouse/admin-token", "of-the-server\n");
    assert_eq!(shown(&program, &[]), bearer("of-the-server"));
    write(".config/dormouse/token", "of-the-user\n");
    assert_eq!(shown(&program, &[]), bearer("of-the-user"));
    let program = program.with("DORMOUSE_TOKEN", "of-the-environment");
    assert_eq!(shown(&program, &[]), bearer("of-the-environment"));
    assert_eq!(shown(&program, &["--token", "given"]), bearer("given"));
}

#[test]
fn a_saved_token_is_for_its_owner_only() {
    let fake = Fake::start(|_, seen| match seen.method.as_str() {
        "POST" => Answer::json(
            201,
            &json!({
                "token": { "id": "tok_00000000000000000000000001", "name": "me", "role": "admin",
                           "created_at": "2026-11-21T08:00:00Z", "revoked_at": null },
                "secret": "dm_fresh",
            }),
        ),
        _ => Answer::json(200, &json!({ "items": [] })),
    });
    let program = Program::at(&fake.url());
    let create = ["token", "create", "me", "--role", "admin"];
    assert_eq!(program.run(&create).text(), "dm_fresh\n");
    let path = program.home.path().join(".config/dormouse/token");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "old").unwrap();
    let ran = program.run(&[&create[..], &["--save"]].concat());
    assert_eq!((ran.code, ran.text()), (Some(0), ""));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "dm_fresh\n");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    program.run(&["images"]);
    assert_eq!(
        fake.seen().last().unwrap().token.as_deref(),
        Some("Bearer dm_fresh")
    );
}

#[test]
fn every_shell_gets_a_script_and_every_command_a_page() {
    let program = Program::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = program.run(&["completions", shell]);
        assert!(ran.text().contains("submit"), "{shell}");
        assert!(
            !ran.text().contains("local-machine"),
            "{shell}: hidden commands stay hidden"
        );
    }
    let ran = program.run(&["man", "--dir", "man1"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for (name, word) in [
        ("dormouse", "Exit codes"),
        ("dormouse-submit", "idempotency"),
        ("dormouse-token-create", "role"),
    ] {
        let path = program.home.path().join(format!("man1/{name}.1"));
        let page = std::fs::read_to_string(path).unwrap();
        assert!(page.contains(word), "{name}");
    }
    assert!(!program.home.path().join("man1/dormouse-bench.1").exists());
    let document = program.run(&["openapi"]).json();
    assert!(document["paths"]["/api/v1/builds"].is_object());
}
