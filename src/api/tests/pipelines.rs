//! Submitting, listing, looking at, canceling and retrying pipelines.

use std::collections::BTreeMap;

use super::fake_desk::{BROKEN, BUSY};
use super::things;
use super::world::{Ask, World};
use crate::api::view::{
    AcceptedView, BuildStateWord, CancelCount, Page, PipelineDetail, PipelineState,
    PipelineSummary, ResultWord,
};
use crate::model::{BuildResult, Change, TokenRole};

fn submit(text: &str) -> Ask {
    Ask::post("pipelines").role(TokenRole::Submitter).yaml(text)
}

#[tokio::test]
async fn a_document_becomes_a_pipeline() {
    let world = World::new();
    let reply = world.call(submit("nightly")).await;
    let accepted: AcceptedView = reply.json(201);
    let place = format!("/api/v1/pipelines/{}", accepted.pipeline);
    assert_eq!(reply.header("location"), place);
    assert_eq!(
        (accepted.name.as_str(), accepted.repeated),
        ("nightly", false)
    );
    assert_eq!(accepted.builds.len(), 2);
    assert_eq!(accepted.builds[0].state, BuildStateWord::Queued);
    assert_eq!(world.store.pipelines_now()[0].submitted_by, "submitter");

    let shown: PipelineDetail = world.get(&place).await.json(200);
    assert_eq!(shown.pipeline.id, accepted.pipeline);
    assert_eq!(shown.pipeline.state, PipelineState::Queued);
    let ids: Vec<_> = shown.builds.iter().map(|build| build.id).collect();
    let expected: Vec<_> = accepted.builds.iter().map(|build| build.id).collect();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn documents_come_in_several_types_or_none() {
    let world = World::new();
    for media_type in [
        "application/yaml",
        "application/json",
        "text/yaml; charset=utf-8",
        "text/plain",
    ] {
        let ask = Ask::post("pipelines").body(media_type, "nightly");
        assert_eq!(world.call(ask).await.status, 201, "{media_type}");
    }
    let upload = Ask::post("pipelines").body("multipart/form-data; boundary=x", "nightly");
    world.call(upload).await.problem(415);
}

#[tokio::test]
async fn the_same_key_queues_once() {
    let world = World::new();
    let keyed = |text: &str| submit(text).header("idempotency-key", "run-17");
    let first: AcceptedView = world.call(keyed("nightly")).await.json(201);
    let again: AcceptedView = world.call(keyed("nightly")).await.json(200);
    assert_eq!(
        (again.pipeline, again.builds, again.repeated),
        (first.pipeline, first.builds, true)
    );
    let problem = world.call(keyed("weekly")).await.problem(409);
    assert_eq!(problem.kind, "urn:dormouse:problem:key-reused");
    assert_eq!(world.store.pipelines_now().len(), 1);
    let other_key = submit("nightly").header("idempotency-key", "run-18");
    assert_eq!(world.call(other_key).await.status, 201);
}

#[tokio::test]
async fn keys_are_short_and_plain() {
    let world = World::new();
    for key in [String::new(), "k".repeat(201), "gr\u{fc}n".to_owned()] {
        let ask = submit("nightly").header("idempotency-key", key);
        world.call(ask).await.problem(400);
    }
    let longest = submit("nightly").header("idempotency-key", "k".repeat(200));
    assert_eq!(world.call(longest).await.status, 201);
}

#[tokio::test]
async fn every_problem_of_a_document_is_told_with_its_place() {
    let world = World::new();
    let problem = world.call(submit(BROKEN)).await.problem(422);
    let places: Vec<_> = problem
        .problems
        .iter()
        .map(|problem| (problem.line, problem.column, problem.path.as_str()))
        .collect();
    assert_eq!(places, [(2, 3, "builds.test"), (7, 3, "builds.test")]);
    assert_eq!(problem.problems[1].message, "unknown key `stps`");
    assert_eq!(problem.problems[0].file, None);
    assert!(problem.detail.contains("2 problem"), "{}", problem.detail);
}

#[tokio::test]
async fn a_full_queue_asks_to_come_back() {
    let world = World::new();
    let reply = world.call(submit(BUSY)).await;
    assert!(reply.problem(503).detail.contains("200000"));
    assert_eq!(reply.header("retry-after"), "1");
}

#[tokio::test]
async fn pages_hold_every_pipeline_once_newest_first() {
    let world = World::new();
    world
        .store
        .put((1..=7).map(|bits| Change::InsertPipeline(things::pipeline(bits))));
    let mut other = things::pipeline(99);
    other.project = "other".to_owned();
    world.store.put([Change::InsertPipeline(other)]);

    let mut seen = Vec::new();
    let mut path = "pipelines?project=demo&limit=3".to_owned();
    loop {
        let page: Page<PipelineSummary> = world.get(&path).await.json(200);
        assert!(page.items.len() <= 3);
        seen.extend(page.items.iter().map(|row| row.id.bits()));
        let Some(next) = page.next else { break };
        assert_eq!(page.items.len(), 3, "only the last page is short");
        path = format!("pipelines?project=demo&limit=3&cursor={next}");
    }
    assert_eq!(seen, (1..=7).rev().collect::<Vec<u128>>());

    let exact: Page<PipelineSummary> = world.get("pipelines?project=demo&limit=7").await.json(200);
    assert_eq!((exact.items.len(), exact.next), (7, None));
    let none: Page<PipelineSummary> = world.get("pipelines?project=nobody").await.json(200);
    assert_eq!((none.items.len(), none.next), (0, None));
}

#[tokio::test]
async fn a_pipeline_shows_how_its_builds_stand() {
    let world = World::new();
    let pipeline = things::pipeline(1);
    let open = things::build(12, pipeline.id);
    let good = things::finished(things::build(11, pipeline.id), BuildResult::Success);
    let path = format!("pipelines/{}", pipeline.id);
    world.store.put([
        Change::InsertPipeline(pipeline),
        Change::InsertBuild(good),
        Change::InsertBuild(open.clone()),
    ]);
    let shown: PipelineDetail = world.get(&path).await.json(200);
    assert_eq!(
        (shown.pipeline.state, shown.pipeline.result),
        (PipelineState::Running, None)
    );
    let bad = things::finished(open, BuildResult::Failure);
    world.store.put([Change::UpdateBuild(bad, 0)]);
    let shown: PipelineDetail = world.get(&path).await.json(200);
    assert_eq!(shown.pipeline.state, PipelineState::Finished);
    assert_eq!(shown.pipeline.result, Some(ResultWord::Failure));
    let tally = BTreeMap::from([("failure".to_owned(), 1), ("success".to_owned(), 1)]);
    assert_eq!(shown.pipeline.tally, tally);
}

#[tokio::test]
async fn a_pipeline_of_many_builds_is_shown_whole() {
    let world = World::new();
    let pipeline = things::pipeline(1);
    let path = format!("pipelines/{}", pipeline.id);
    world
        .store
        .put((1..=450).map(|bits| Change::InsertBuild(things::build(bits, pipeline.id))));
    world.store.put([Change::InsertPipeline(pipeline)]);
    let shown: PipelineDetail = world.get(&path).await.json(200);
    let ids: Vec<_> = shown.builds.iter().map(|build| build.id.bits()).collect();
    assert_eq!(ids, (1..=450).collect::<Vec<u128>>());
}

#[tokio::test]
async fn canceling_asks_the_unfinished() {
    let world = World::new();
    let pipeline = things::pipeline(1);
    let done = things::finished(things::build(11, pipeline.id), BuildResult::Success);
    let open = things::build(12, pipeline.id);
    let (path, open_id) = (format!("pipelines/{}/cancel", pipeline.id), open.id);
    world.store.put([
        Change::InsertPipeline(pipeline),
        Change::InsertBuild(done),
        Change::InsertBuild(open),
    ]);
    let ask = Ask::post(&path).role(TokenRole::Submitter);
    let count: CancelCount = world.call(ask).await.json(200);
    assert_eq!(count.asked, 1);
    let cancel = world.store.build_now(open_id).unwrap().cancel.unwrap();
    assert_eq!(cancel.reason, "canceled by submitter");
}

#[tokio::test]
async fn retrying_makes_a_new_pipeline_of_what_has_finished() {
    let world = World::new();
    let pipeline = things::pipeline(1);
    let build = things::build(11, pipeline.id);
    let path = format!("pipelines/{}/retry", pipeline.id);
    world.store.put([
        Change::InsertPipeline(pipeline.clone()),
        Change::InsertBuild(build.clone()),
    ]);
    world.call(Ask::post(&path)).await.problem(409);
    let failed = things::finished(build, BuildResult::Failure);
    world.store.put([Change::UpdateBuild(failed, 0)]);
    let accepted: AcceptedView = world.call(Ask::post(&path)).await.json(201);
    assert_ne!(accepted.pipeline, pipeline.id);
}
