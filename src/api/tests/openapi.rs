//! The document of the API: committed, served, and whole.

use std::collections::BTreeSet;
use std::path::Path;

use axum::http::Method;
use serde_json::Value;

use super::world::{Ask, World};
use crate::spec::PipelineLimits;

fn document() -> Value {
    serde_json::from_str(&crate::api::openapi_json()).unwrap()
}

#[test]
fn the_committed_document_is_in_step() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let now = crate::api::openapi_json() + "\n";
    let committed = std::fs::read_to_string(root.join("docs/openapi.json")).unwrap_or_default();
    if now != committed {
        let fresh = root.join("target/openapi.json");
        std::fs::write(&fresh, now).unwrap();
        panic!("the API has changed; if that is wanted: cp target/openapi.json docs/");
    }
}

#[tokio::test]
async fn the_served_document_is_the_committed_one() {
    let world = World::new();
    let reply = world.call(Ask::new(Method::GET, "openapi.json")).await;
    let served: Value = reply.json(200);
    assert_eq!(served, document());
}

/// Paths that are for browsers, or the document itself.
const UNDOCUMENTED: [&str; 5] = [
    "/",
    "/api/docs",
    "/api/docs/",
    "/api/docs/{part}",
    "/api/v1/openapi.json",
];

#[test]
fn every_route_of_the_router_is_in_the_document() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let _inside = runtime.enter();
    // The router prints its routes; there is no other way to ask it.
    let printed = format!("{:?}", World::new().router);
    let routes: BTreeSet<&str> = printed
        .split('"')
        .filter(|part| part.starts_with('/') && !part.contains("__private"))
        .collect();
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    let paths: BTreeSet<&str> = paths.keys().map(String::as_str).collect();
    let undocumented: BTreeSet<&str> = routes.difference(&paths).copied().collect();
    assert_eq!(undocumented, UNDOCUMENTED.into_iter().collect());
    let unrouted: Vec<&str> = paths.difference(&routes).copied().collect();
    assert!(unrouted.is_empty(), "{unrouted:?}");
}

#[test]
fn the_example_of_a_document_is_one() {
    let document = document();
    let content = &document["paths"]["/api/v1/pipelines"]["post"]["requestBody"]["content"];
    let example = content["application/yaml"]["example"].as_str().unwrap();
    let draft = crate::spec::parse_pipeline(example, &PipelineLimits::default()).unwrap();
    assert_eq!(draft.builds.len(), 1);
}

fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 20, "{found:?}");
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn every_operation_says_what_it_does_and_how_it_fails() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{method} {path}");
            let summary = operation["summary"].as_str().unwrap_or_default();
            assert!(!summary.is_empty(), "{name}");
            assert!(
                ids.insert(operation["operationId"].as_str().unwrap()),
                "{name}"
            );
            let problem = &operation["responses"]["default"]["content"]["application/problem+json"];
            assert_eq!(
                problem["schema"]["$ref"], "#/components/schemas/ProblemDetails",
                "{name}"
            );
            let is_guarded = operation["security"].is_array();
            assert_eq!(
                is_guarded,
                operation["responses"]["401"].is_object(),
                "{name}"
            );
            let is_public = matches!(path.as_str(), "/healthz" | "/readyz");
            assert_eq!(is_guarded, !is_public, "{name}");
        }
    }
    let scheme = &document["components"]["securitySchemes"]["token"];
    assert_eq!(scheme["type"], "http");
    assert_eq!(scheme["scheme"], "bearer");
}
