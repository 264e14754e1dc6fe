//! Listing, looking at, canceling, retrying and explaining builds.

use super::things;
use super::world::{Ask, World};
use crate::api::view::{
    AcceptedView, BuildDetail, BuildStateWord, BuildSummary, ExplanationView, OutcomeKind, Page,
    ResultWord, StepState, VerdictView,
};
use crate::model::{BuildResult, BuildSpec, Category, Change, Outcome, PipelineId};

const PIPELINE: PipelineId = PipelineId::from_bits(1);

#[tokio::test]
async fn every_filter_filters() {
    let world = World::new();
    let mut elsewhere = things::build(3, PipelineId::from_bits(2));
    let spec = BuildSpec {
        project: "other".to_owned(),
        ..(*elsewhere.spec).clone()
    };
    elsewhere.spec = spec.into();
    let failed = things::finished(things::build(2, PIPELINE), BuildResult::Failure);
    world
        .store
        .put([things::build(1, PIPELINE), failed, elsewhere].map(Change::InsertBuild));
    for (query, ids) in [
        ("", &[3, 2, 1][..]),
        ("?state=queued", &[3, 1]),
        ("?state=finished", &[2]),
        ("?result=failure", &[2]),
        ("?result=success", &[]),
        ("?project=other", &[3]),
        ("?pipeline=pl_00000000000000000000000001", &[2, 1]),
        ("?project=demo&state=queued", &[1]),
        ("?limit=1", &[3]),
        ("?cursor=bld_00000000000000000000000003", &[2, 1]),
    ] {
        let page: Page<BuildSummary> = world.get(&format!("builds{query}")).await.json(200);
        let found: Vec<u128> = page.items.iter().map(|build| build.id.bits()).collect();
        assert_eq!(found, ids, "{query}");
        assert_eq!(page.next.is_some(), query == "?limit=1", "{query}");
    }
}

#[tokio::test]
async fn a_build_shows_its_steps_attempts_and_cost() {
    let world = World::new();
    let build = things::build(1, PIPELINE);
    let lost = Outcome::Infrastructure("the machine went away".to_owned());
    let first = things::over(things::attempt(1, build.id, 1), 5, lost);
    let mut second = things::attempt(2, build.id, 2);
    second.steps = vec![
        things::step_record(0, (0, Some(10)), Some(0)),
        things::step_record(1, (10, None), None),
    ];
    world.store.put([
        Change::InsertBuild(things::running(build.clone(), &second)),
        Change::InsertAttempt(first),
        Change::InsertAttempt(second.clone()),
        Change::AppendEntry(things::entry(&build, Category::Boot, 1_500)),
        Change::AppendEntry(things::entry(&build, Category::Work, 250)),
    ]);
    let reply = world.get(&format!("builds/{}", build.id)).await;
    assert!(
        !reply.text().contains("hunter2"),
        "the environment stays inside: {}",
        reply.text()
    );
    let shown: BuildDetail = reply.json(200);
    assert_eq!(shown.build.state, BuildStateWord::Running);
    assert_eq!(shown.build.machine, Some(second.machine));
    assert_eq!(shown.requires["git"], "present");
    let states: Vec<_> = shown.steps.iter().map(|step| step.state).collect();
    assert_eq!(
        states,
        [StepState::Success, StepState::Running, StepState::Pending]
    );
    assert_eq!(shown.steps[0].times.as_ref().unwrap().log_end, Some(10));
    let outcome = shown.attempts[0].outcome.as_ref().unwrap();
    assert_eq!(outcome.kind, OutcomeKind::Infrastructure);
    assert_eq!(outcome.reason.as_deref(), Some("the machine went away"));
    assert_eq!(shown.attempts[0].log_bytes, 5);
    assert_eq!(
        (shown.attempts[1].number, shown.attempts[1].steps.len()),
        (2, 2)
    );
    assert_eq!(shown.cost.total.micro_usd, 1_750);
    assert_eq!(shown.cost.total.text, "$0.001750");
    assert_eq!(shown.cost.by_category["boot"].micro_usd, 1_500);
    assert_eq!(shown.cost.time_millis["work"], 1_000);
}

#[tokio::test]
async fn a_finished_build_shows_what_became_of_each_step() {
    let world = World::new();
    let build = things::build(1, PIPELINE);
    let mut attempt = things::attempt(2, build.id, 1);
    attempt.steps = vec![
        things::step_record(0, (0, Some(10)), Some(0)),
        things::step_record(1, (10, Some(20)), Some(2)),
    ];
    let attempt = things::over(attempt, 20, Outcome::Exited(2));
    let path = format!("builds/{}", build.id);
    world.store.put([
        Change::InsertAttempt(attempt.clone()),
        Change::InsertBuild(things::finished(build, BuildResult::Failure)),
    ]);
    let shown: BuildDetail = world.get(&path).await.json(200);
    let states: Vec<_> = shown.steps.iter().map(|step| step.state).collect();
    assert_eq!(
        states,
        [StepState::Success, StepState::Failure, StepState::NotRun]
    );
    assert_eq!(shown.build.result, Some(ResultWord::Failure));
    assert_eq!(
        shown.build.reason.as_deref(),
        Some("step test exited with 2")
    );
    assert_eq!(
        shown.attempts[0].outcome.as_ref().unwrap().exit_code,
        Some(2)
    );

    let mut cut = attempt;
    cut.steps[1] = things::step_record(1, (10, None), None);
    world.store.put([Change::UpdateAttempt(cut, 0)]);
    let shown: BuildDetail = world.get(&path).await.json(200);
    assert_eq!(shown.steps[1].state, StepState::Cut);
}

#[tokio::test]
async fn times_money_and_states_have_one_form() {
    let world = World::new();
    let build = things::finished(things::build(1, PIPELINE), BuildResult::TimedOut);
    let path = format!("builds/{}", build.id);
    world.store.put([Change::InsertBuild(build)]);
    let page: serde_json::Value = world.get("builds").await.json(200);
    let row = &page["items"][0];
    assert_eq!(row["id"], "bld_00000000000000000000000001");
    assert_eq!(row["submitted_at"], "2023-11-14T22:13:20.000000Z");
    assert_eq!(row["finished_at"], "2023-11-14T22:13:29.000000Z");
    assert_eq!(row["state"], "finished");
    assert_eq!(row["result"], "timed_out");
    let detail: serde_json::Value = world.get(&path).await.json(200);
    assert_eq!(detail["timeout"], "30m");
    assert_eq!(detail["cost"]["total"]["micro_usd"], 0);
}

#[tokio::test]
async fn canceling_answers_with_the_build_as_it_stands() {
    let world = World::new();
    world
        .store
        .put([Change::InsertBuild(things::build(1, PIPELINE))]);
    let path = "builds/bld_00000000000000000000000001";
    for _ in 0..2 {
        let ask = Ask::post(&format!("{path}/cancel"));
        let build: BuildSummary = world.call(ask).await.json(200);
        assert_eq!(
            (build.state, build.cancel_asked),
            (BuildStateWord::Queued, true)
        );
    }
    let shown: BuildDetail = world.get(path).await.json(200);
    assert_eq!(shown.cancel.unwrap().reason, "canceled by admin");
}

#[tokio::test]
async fn only_a_finished_build_is_retried() {
    let world = World::new();
    let build = things::build(1, PIPELINE);
    world.store.put([Change::InsertBuild(build.clone())]);
    let path = format!("builds/{}/retry", build.id);
    let problem = world.call(Ask::post(&path)).await.problem(409);
    assert_eq!(problem.detail, "it has not finished");
    let failed = things::finished(build, BuildResult::Failure);
    world.store.put([Change::UpdateBuild(failed, 0)]);
    let accepted: AcceptedView = world.call(Ask::post(&path)).await.json(201);
    assert_eq!(accepted.builds.len(), 2);
}

#[tokio::test]
async fn a_build_is_explained() {
    let world = World::new();
    let build = things::build(1, PIPELINE);
    let path = format!("builds/{}/explain", build.id);
    world.store.put([Change::InsertBuild(build)]);
    let explained: ExplanationView = world.get(&path).await.json(200);
    assert_eq!(explained.state, "queued");
    assert_eq!(explained.images[0].rank, Some(1));
    let price = explained.images[0].price.as_ref().unwrap();
    assert_eq!(price.text, "$0.041600/h");
}

#[tokio::test]
async fn claims_are_compared_once_the_build_is_over() {
    let world = World::new();
    let build = things::build(1, PIPELINE);
    let path = format!("builds/{}/verdicts", build.id);
    world.store.put([Change::InsertBuild(build.clone())]);
    world.get(&path).await.problem(409);
    let done = things::finished(build, BuildResult::Success);
    world.store.put([Change::UpdateBuild(done, 0)]);
    let verdicts: Page<VerdictView> = world.get(&path).await.json(200);
    assert!(!verdicts.items[0].agrees);
    assert_eq!(verdicts.items[0].found, ["3.11.9"]);
}
