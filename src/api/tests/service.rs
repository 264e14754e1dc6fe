//! Health, metrics, the documentation page, and what every answer carries.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use axum::http::Method;
use metrics_exporter_prometheus::PrometheusBuilder;

use super::things;
use super::world::{Ask, World};
use crate::api::view::{Health, Readiness};
use crate::model::{Category, Change, InstanceId, MachineState, PipelineId};

fn anybody(path: &str) -> Ask {
    Ask::new(Method::GET, path)
}

#[tokio::test]
async fn it_lives_whatever_else_is_broken() {
    let world = World::new();
    world.store.broken.store(true, Ordering::Relaxed);
    let health: Health = world.call(anybody("/healthz")).await.json(200);
    assert_eq!(health.status, "ok");
    assert_eq!(health.version, env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn it_is_ready_when_everything_is() {
    let world = World::new();
    let ready: Readiness = world.call(anybody("/readyz")).await.json(200);
    assert!(ready.ready && ready.waiting_for.is_empty());
    world.desk.ready.store(false, Ordering::Relaxed);
    let not: Readiness = world.call(anybody("/readyz")).await.json(503);
    assert_eq!((not.ready, not.waiting_for.len()), (false, 1));
    world.store.broken.store(true, Ordering::Relaxed);
    world.shutdown.cancel();
    let not: Readiness = world.call(anybody("/readyz")).await.json(503);
    assert_eq!(not.waiting_for.len(), 3, "{not:?}");
}

#[tokio::test]
async fn metrics_tell_how_things_stand() {
    let world = World::new();
    let build = things::build(1, PipelineId::from_bits(1));
    let attempt = things::attempt(1, build.id, 1);
    let mut asleep = things::machine(2);
    asleep.state = MachineState::Asleep {
        instance: InstanceId("i-asleep".to_owned()),
    };
    world.store.put([
        Change::InsertBuild(things::build(2, PipelineId::from_bits(1))),
        Change::InsertBuild(things::running(build.clone(), &attempt)),
        Change::InsertMachine(things::machine(1)),
        Change::InsertMachine(asleep),
        Change::AppendEntry(things::entry(&build, Category::Work, 1_234)),
    ]);
    world.call(anybody("/metrics")).await.problem(401);
    let reply = world.get("/metrics").await;
    assert_eq!(reply.status, 200);
    let media_type = reply.header("content-type");
    assert!(media_type.starts_with("text/plain; version=0.0.4"));
    for wanted in [
        "dormouse_ready 1",
        "dormouse_builds{state=\"queued\"} 1",
        "dormouse_builds{state=\"running\"} 1",
        "dormouse_builds{state=\"waiting\"} 0",
        "dormouse_queue_length 1",
        "dormouse_machines{state=\"idle\"} 1",
        "dormouse_machines{state=\"busy\"} 0",
        "dormouse_machines{state=\"falling_asleep\"} 0",
        "dormouse_machines{state=\"asleep\"} 1",
        "dormouse_machines{state=\"waking\"} 0",
        "dormouse_spend_today_micro_usd{category=\"work\"} 1234",
        "# TYPE dormouse_builds gauge",
    ] {
        let text = reply.text();
        assert!(text.lines().any(|line| line == wanted), "{wanted}\n{text}");
    }
}

#[tokio::test]
async fn the_page_on_metrics_has_what_is_served() {
    let page = include_str!("../../../docs/metrics.md");
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `dormouse_"));
    let told: BTreeSet<&str> = rows
        .filter_map(|row| Some(row.split_once('`')?.0))
        .collect();
    let reply = World::new().get("/metrics").await;
    let lines = reply.text().lines();
    let lines = lines.filter_map(|line| line.strip_prefix("# HELP dormouse_"));
    let served: BTreeSet<&str> = lines
        .filter_map(|line| Some(line.split_once(' ')?.0))
        .collect();
    assert!(served.len() >= 9, "{served:?}");
    assert!(served.is_subset(&told), "{served:?}\n{told:?}");
    // What only some processes count is not served here.
    let counted = ["http_", "plan_", "budget_warnings", "ec2_"];
    let is_derived = |name: &&&str| !counted.iter().any(|begin| name.starts_with(begin));
    let derived: BTreeSet<&str> = told.iter().filter(is_derived).copied().collect();
    assert_eq!(derived, served);
}

#[tokio::test]
async fn requests_are_counted_by_route_and_not_by_path() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let world = World::new();
    let _recording = metrics::set_default_local_recorder(&recorder);
    for path in [
        "builds/bld_00000000000000000000000001",
        "builds/bld_00000000000000000000000002",
        "/x",
    ] {
        world.get(path).await.problem(404);
    }
    let odd = Ask::new("BREW".parse().unwrap(), "/y");
    world.call(odd).await.problem(404);
    let text = handle.render();
    for (route, method, count) in [
        ("route=\"/api/v1/builds/{id}\"", "method=\"GET\"", 2),
        ("route=\"none\"", "method=\"GET\"", 1),
        ("route=\"none\"", "method=\"other\"", 1),
    ] {
        let labels = [route, method, "status=\"404\""];
        let is_counted = text.lines().any(|line| {
            line.starts_with("dormouse_http_requests_total{")
                && labels.iter().all(|label| line.contains(label))
                && line.ends_with(&format!(" {count}"))
        });
        assert!(is_counted, "{labels:?} {count}\n{text}");
    }
}

#[tokio::test]
async fn every_answer_makes_browsers_careful() {
    let world = World::new();
    for path in [
        "/healthz",
        "/api/v1/builds",
        "/api/docs/",
        "/nothing",
        "/api/v1/openapi.json",
    ] {
        let reply = world.get(path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("access-control-allow-origin", ""),
        ] {
            assert_eq!(reply.header(name), value, "{path}");
        }
        let policy = reply.header("content-security-policy");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}");
    }
    let listed = world.get("/api/v1/builds").await;
    assert_eq!(listed.header("cache-control"), "no-store");
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_ask() {
    let world = World::new();
    world
        .store
        .put((1..=40).map(|bits| Change::InsertPipeline(things::pipeline(bits))));
    let plain = world.get("pipelines").await;
    assert_eq!(plain.header("content-encoding"), "");
    let ask = Ask::get("pipelines").header("accept-encoding", "gzip");
    let small = world.call(ask).await;
    assert_eq!(small.header("content-encoding"), "gzip");
    assert!(
        small.body.len() * 3 < plain.body.len(),
        "{} of {}",
        small.body.len(),
        plain.body.len()
    );
}

/// What a page loads: every `src` and `href`.
fn parts(html: &str) -> Vec<String> {
    let texts: Vec<&str> = html.split('"').collect();
    texts
        .windows(2)
        .filter(|pair| pair[0].ends_with("src=") || pair[0].ends_with("href="))
        .map(|pair| pair[1].to_owned())
        .collect()
}

#[tokio::test]
async fn the_documentation_page_needs_no_network() {
    let world = World::new();
    let root = world.call(anybody("/")).await;
    assert_eq!(root.status, 307);
    assert_eq!(root.header("location"), "/api/docs/");
    let bare = world.call(anybody("/api/docs")).await;
    assert_eq!(bare.status, 308);
    assert_eq!(bare.header("location"), "/api/docs/");

    let page = world.call(anybody("/api/docs/")).await;
    assert_eq!(page.header("content-type"), "text/html");
    let parts = parts(page.text());
    assert!(parts.len() >= 5, "{parts:?}");
    for part in parts {
        let name = part.trim_start_matches("./");
        assert!(!name.contains("//"), "{name} is elsewhere");
        let reply = world.call(anybody(&format!("/api/docs/{name}"))).await;
        assert_eq!(reply.status, 200, "{name}");
        assert!(!reply.body.is_empty(), "{name}");
        assert!(!reply.header("content-type").is_empty(), "{name}");
    }
    let start = world
        .call(anybody("/api/docs/swagger-initializer.js"))
        .await;
    assert!(
        start.text().contains("/api/v1/openapi.json"),
        "{}",
        start.text()
    );
    assert!(!start.text().contains("petstore"), "{}", start.text());
    let elsewhere: Vec<&str> = start.text().matches("://").collect();
    assert!(elsewhere.is_empty(), "{}", start.text());
    assert!(
        start.text().contains(r#""validatorUrl": "none""#),
        "{}",
        start.text()
    );
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'self'"), "{policy}");
}
