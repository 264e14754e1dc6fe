//! Who may come in, and who may do what.

use std::sync::atomic::Ordering;

use axum::http::Method;

use super::things;
use super::world::{Ask, World, name_of};
use crate::api::limits::TOKEN_CACHE_SECONDS;
use crate::api::view::{RoleWord, WhoAmI};
use crate::model::{Change, Span, TokenRole};

/// Every operation of the document that asks for a role, with the role.
fn guarded_operations() -> Vec<(Method, String, TokenRole)> {
    let document: serde_json::Value = serde_json::from_str(&crate::api::openapi_json()).unwrap();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(role) = operation["security"][0]["token"][0].as_str() else {
                continue;
            };
            let role: RoleWord = serde_json::from_value(role.into()).unwrap();
            let method = method.to_uppercase().parse().unwrap();
            found.push((method, filled(path), role.into()));
        }
    }
    assert!(found.len() > 25, "{}", found.len());
    found
}

/// A path with ids of things that are not there.
fn filled(path: &str) -> String {
    let prefix = match path.split('/').nth(3) {
        Some("pipelines") => "pl",
        Some("builds") => "bld",
        Some("machines") => "vm",
        _ => "tok",
    };
    path.replace("{id}", &format!("{prefix}_0000000000000000000000zzzz"))
        .replace("{name}", "nobody")
}

#[tokio::test]
async fn without_a_token_nothing_is_answered() {
    let world = World::new();
    for (method, path, _) in guarded_operations() {
        let reply = world.call(Ask::new(method.clone(), &path)).await;
        let problem = reply.problem(401);
        assert!(
            reply.header("www-authenticate").starts_with("Bearer"),
            "{method} {path}"
        );
        assert_eq!(problem.instance, path);
        assert!(problem.hint.is_some());
    }
}

#[tokio::test]
async fn each_route_takes_its_role_and_those_above_it() {
    let world = World::new();
    for (method, path, needed) in guarded_operations() {
        for held in [TokenRole::Reader, TokenRole::Submitter, TokenRole::Admin] {
            if held >= needed && path.ends_with("events/stream") {
                continue; // It would be answered for ever; others test that it is.
            }
            let reply = world.call(Ask::new(method.clone(), &path).role(held)).await;
            if held < needed {
                let problem = reply.problem(403);
                assert_eq!(problem.needed_role, Some(needed.into()), "{method} {path}");
                assert!(
                    problem.detail.contains(name_of(needed)),
                    "{}",
                    problem.detail
                );
            } else {
                assert_ne!(reply.status, 401, "{method} {path} as {held:?}");
                assert_ne!(reply.status, 403, "{method} {path} as {held:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_bad_token_is_told_the_same_whatever_is_wrong_with_it() {
    let world = World::new();
    let mut revoked = things::token(9, "revoked", TokenRole::Admin);
    revoked.revoked_at = Some(things::NOW);
    world.store.put([Change::InsertToken(revoked)]);
    let mut bodies = Vec::new();
    for header in [
        "Bearer dm_unknown",
        "Bearer dm_revoked",
        "Bearer",
        "Basic cmVhZGVy",
        "dm_reader",
    ] {
        let ask = Ask::new(Method::GET, "whoami").header("authorization", header);
        let reply = world.call(ask).await;
        reply.problem(401);
        assert!(
            reply.header("www-authenticate").contains("invalid_token"),
            "{header}"
        );
        bodies.push(reply.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
}

#[tokio::test]
async fn a_token_is_looked_up_once_in_a_while() {
    let world = World::new();
    let lookups = || world.store.token_lookups.load(Ordering::Relaxed);
    for _ in 0..3 {
        let me: WhoAmI = world.get("whoami").await.json(200);
        assert_eq!((me.name.as_str(), me.role), ("reader", RoleWord::Reader));
        assert!(me.authenticated);
    }
    assert_eq!(lookups(), 1);
    world.clock.advance(Span::from_secs(TOKEN_CACHE_SECONDS));
    world.get("whoami").await;
    assert_eq!(lookups(), 2);
    for _ in 0..2 {
        let ask = Ask::new(Method::GET, "whoami").header("authorization", "Bearer dm_x");
        world.call(ask).await.problem(401);
    }
    assert_eq!(lookups(), 4, "unknown ones are not kept");
}

#[tokio::test]
async fn an_open_server_takes_everybody_on_this_machine_as_admin() {
    let world = World::open();
    let ask = || Ask::new(Method::GET, "whoami");
    let me: WhoAmI = world
        .call(ask().header("host", "localhost:8080"))
        .await
        .json(200);
    assert_eq!((me.name.as_str(), me.role), ("local", RoleWord::Admin));
    assert!(!me.authenticated);
    let by_page = ask()
        .header("host", "localhost:8080")
        .header("origin", "http://localhost:8080");
    assert_eq!(world.call(by_page).await.status, 200);
}

#[tokio::test]
async fn an_open_server_keeps_other_sites_pages_out() {
    let world = World::open();
    let rebound = Ask::new(Method::GET, "whoami").header("host", "evil.example:8080");
    let problem = world.call(rebound).await.problem(403);
    assert!(problem.detail.contains("evil.example"));
    let nameless = Ask::new(Method::GET, "whoami");
    world.call(nameless).await.problem(403);
    let other_page = Ask::new(Method::POST, "pipelines")
        .header("host", "localhost:8080")
        .header("origin", "http://localhost:3000")
        .body("text/plain", "nightly");
    world.call(other_page).await.problem(403);
    assert!(world.store.pipelines_now().is_empty());
}

#[tokio::test]
async fn a_server_with_tokens_may_be_called_by_any_name() {
    let world = World::new();
    let ask = Ask::get("whoami")
        .header("host", "ci.example")
        .header("origin", "https://ui.example");
    let reply = world.call(ask).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.header("access-control-allow-origin"),
        "",
        "no other page may read it"
    );
}
