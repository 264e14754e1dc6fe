//! Whatever goes wrong is told in one form, and nothing of the inside with it.

use std::sync::atomic::Ordering;

use axum::http::Method;

use super::fake_desk;
use super::world::{Ask, World};
use crate::api::limits::MAX_BODY_BYTES;

#[tokio::test]
async fn paths_that_are_not_there() {
    let world = World::new();
    for path in [
        "/nothing",
        "/api/v2/builds",
        "/api/v1/",
        "/api/docs/nothing.js",
        "/api/v1/buildz",
    ] {
        let problem = world.get(path).await.problem(404);
        assert_eq!(problem.kind, "urn:dormouse:problem:no-route", "{path}");
        assert_eq!(problem.instance, path);
        assert!(problem.hint.is_some());
    }
}

#[tokio::test]
async fn methods_that_a_path_does_not_take() {
    let world = World::new();
    for (method, path, allowed) in [
        (Method::PUT, "/api/v1/builds", "GET,HEAD"),
        (Method::DELETE, "/api/v1/pipelines", "POST"),
        (Method::POST, "/healthz", "GET,HEAD"),
        (Method::OPTIONS, "/api/v1/builds", "GET,HEAD"),
    ] {
        let reply = world.call(Ask::new(method.clone(), path)).await;
        reply.problem(405);
        assert!(
            reply.header("allow").contains(allowed),
            "{method} {path}: {:?}",
            reply.headers
        );
    }
}

const UNKNOWN: &str = "0000000000000000000000zzzz";

#[tokio::test]
async fn ids_that_are_none_are_refused_and_unknown_ones_not_found() {
    let world = World::new();
    for (kind, prefix, subs) in [
        ("pipelines", "pl", &[""][..]),
        (
            "builds",
            "bld",
            &["", "/explain", "/verdicts", "/log", "/log/stream"],
        ),
        ("machines", "vm", &[""]),
    ] {
        for sub in subs {
            for bad in ["7", &format!("x_{UNKNOWN}"), "%ff"] {
                let problem = world.get(&format!("{kind}/{bad}{sub}")).await.problem(400);
                assert_eq!(problem.kind, "urn:dormouse:problem:malformed");
            }
            let path = format!("/api/v1/{kind}/{prefix}_{UNKNOWN}{sub}");
            let problem = world.get(&path).await.problem(404);
            assert_eq!(problem.kind, "urn:dormouse:problem:not-found");
            assert_eq!(problem.instance, path);
            assert!(problem.detail.contains(prefix), "{}", problem.detail);
        }
    }
}

#[tokio::test]
async fn wishes_about_what_is_not_there() {
    let world = World::new();
    for path in [
        "pipelines/pl_X/cancel",
        "pipelines/pl_X/retry",
        "builds/bld_X/cancel",
        "builds/bld_X/retry",
        "machines/vm_X/end",
    ] {
        world.call(Ask::post(path)).await.problem(400);
        let unknown = path.replace('X', UNKNOWN);
        world.call(Ask::post(&unknown)).await.problem(404);
    }
    world.call(Ask::delete("tokens/tok_X")).await.problem(400);
    let unknown = format!("tokens/tok_{UNKNOWN}");
    world.call(Ask::delete(&unknown)).await.problem(404);
    world
        .call(Ask::post("images/nobody/verify"))
        .await
        .problem(404);
    world.call(Ask::delete("images/nobody")).await.problem(404);
    world.get("images/nobody").await.problem(404);
}

#[tokio::test]
async fn queries_that_cannot_be_understood() {
    let world = World::new();
    for path in [
        "builds?stat=queued",
        "builds?state=asleep",
        "builds?result=meh",
        "builds?pipeline=bld_0000000000000000000000zzzz",
        "builds?limit=0",
        "builds?limit=201",
        "builds?limit=many",
        "builds?cursor=pl_0000000000000000000000zzzz",
        "pipelines?limit=-1",
        "pipelines?state=queued",
        "machines?all=perhaps",
        "machines?cursor=x",
        "events?after=-1",
        "events?subject=nobody",
        "events/stream?subject=image:",
        "cost?by=moon",
        "cost?from=yesterday",
        "cost?from=2026-11-21&to=2026-11-20",
        "cost?limit=1001",
    ] {
        let problem = world.get(path).await.problem(400);
        assert_eq!(problem.kind, "urn:dormouse:problem:malformed", "{path}");
    }
    let problem = world.get("builds?stat=queued").await.problem(400);
    assert!(
        problem.detail.contains("`stat`") && problem.detail.contains("`state`"),
        "{problem:?}"
    );
    let problem = world.get("builds?limit=201").await.problem(400);
    assert!(problem.detail.contains("1 to 200"), "{problem:?}");
}

#[tokio::test]
async fn bodies_that_cannot_be_understood() {
    let world = World::new();
    let broken = Ask::post("apply").body("application/json", "{\n  \"declarations\": [}");
    let problem = world.call(broken).await.problem(400);
    let place = (problem.problems[0].line, problem.problems[0].column);
    assert_eq!(place, (2, 20));
    for body in [
        "",
        "[]",
        "{}",
        r#"{"declarations": [], "more": 1}"#,
        r#"{"declarations": [{"kind": "moon", "file": "a", "text": ""}]}"#,
    ] {
        let ask = Ask::post("apply").body("application/json", body);
        let problem = world.call(ask).await.problem(400);
        assert_eq!(problem.problems.len(), 1, "{body}");
    }
    let form = Ask::post("apply").body("application/x-www-form-urlencoded", "{}");
    let problem = world.call(form).await.problem(415);
    assert!(problem.hint.unwrap().contains("Content-Type"));
    let latin = Ask::post("pipelines").body("text/yaml", vec![b'g', b'r', 0xfc, b'n']);
    let problem = world.call(latin).await.problem(400);
    assert!(problem.detail.contains("UTF-8"));
}

#[tokio::test]
async fn bodies_that_are_too_large() {
    let world = World::new();
    for (path, media_type) in [
        ("pipelines", "application/yaml"),
        ("apply", "application/json"),
        ("tokens", "application/json"),
    ] {
        let ask = Ask::post(path).body(media_type, vec![b' '; MAX_BODY_BYTES + 1]);
        let problem = world.call(ask).await.problem(413);
        assert!(problem.detail.contains("1048576"), "{}", problem.detail);
    }
    let largest = Ask::post("pipelines").yaml(&"x".repeat(MAX_BODY_BYTES));
    assert_eq!(world.call(largest).await.status, 201);
}

#[tokio::test]
async fn a_failing_store_is_told_without_its_words() {
    let world = World::new();
    assert_eq!(world.get("builds").await.status, 200); // Now the token is known.
    world.store.broken.store(true, Ordering::Relaxed);
    let mut ids = Vec::new();
    for path in [
        "builds",
        "pipelines",
        "machines",
        "events",
        "cost",
        "/metrics",
    ] {
        let reply = world.get(path).await;
        let problem = reply.problem(500);
        let text = reply.text();
        assert!(!text.contains("secret-place"), "{path}: {text}");
        assert!(!text.contains("disk I/O"), "{path}: {text}");
        assert!(
            problem.instance.starts_with("urn:dormouse:error:"),
            "{}",
            problem.instance
        );
        ids.push(problem.instance);
    }
    ids.dedup();
    assert_eq!(ids.len(), 6, "each has its own id: {ids:?}");
}

#[tokio::test]
async fn a_panic_is_an_answer_and_the_server_goes_on() {
    let world = World::new();
    let reply = world
        .call(Ask::post("pipelines").yaml(fake_desk::PANIC))
        .await;
    assert_eq!(reply.problem(500).kind, "urn:dormouse:problem:internal");
    assert!(!reply.text().contains("collapsed"), "{}", reply.text());
    assert_eq!(world.get("builds").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_given_up() {
    let world = World::new();
    let reply = world
        .call(Ask::post("pipelines").yaml(fake_desk::STUCK))
        .await;
    assert_eq!(reply.problem(504).kind, "urn:dormouse:problem:timeout");
}
