//! Whole lists, in order, by compare-and-set.

use std::pin::pin;
use std::task::{Context, Waker};

use futures::future::join_all;

use super::Fixture;
use super::samples::{Samples, attempt_id, build_id, machine_id, pipeline_id, time, token_id};
use crate::model::{Build, BuildResult, Change, Event, ImageState, Subject};
use crate::store::{Page, Store, StoreError};

/// A pipeline with builds `0..count`, queued.
async fn queued_builds(store: &dyn Store, count: u64) -> Vec<Build> {
    let builds: Vec<Build> = (0..count)
        .map(|n| Samples::build(n, 1, Samples::build_state(1)))
        .collect();
    let mut changes = vec![Change::InsertPipeline(Samples::pipeline(1))];
    changes.extend(builds.iter().cloned().map(Change::InsertBuild));
    store.commit(changes).await.unwrap();
    builds
}

fn next(build: &Build, result: BuildResult) -> Build {
    Build {
        state: Samples::finished(result),
        rev: build.rev + 1,
        ..build.clone()
    }
}

fn conflicting_row(outcome: Result<(), StoreError>) -> String {
    match outcome {
        Err(StoreError::Conflict { row }) => row,
        other => panic!("expected a conflict, got {other:?}"),
    }
}

pub(in crate::store) async fn a_conflict_writes_nothing_of_its_list<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    let builds = queued_builds(store, 2).await;
    let list = vec![
        Change::UpdateBuild(next(&builds[0], BuildResult::Success), 0),
        Change::AppendEntry(Samples::entry(1, 0, 5)),
        Change::InsertToken(Samples::token(1)),
        Change::InsertMachine(Samples::machine(1, Samples::machine_state(1))),
        Change::PutMachineKeys(Samples::keys(1)),
        Change::UpdateBuild(next(&builds[1], BuildResult::Success), 7),
        Change::AppendEvent(Samples::event(1)),
    ];
    let row = conflicting_row(store.commit(list).await);
    assert_eq!(row, format!("build {}", build_id(1)));
    assert_eq!(
        store.build(build_id(0)).await.unwrap().as_ref(),
        Some(&builds[0])
    );
    assert_eq!(
        store.build(build_id(1)).await.unwrap().as_ref(),
        Some(&builds[1])
    );
    assert_eq!(
        store.build_cost(build_id(1)).await.unwrap().total.micros(),
        0
    );
    let costs = store.costs(crate::store::CostGroup::Project, time(-9), time(9), 9);
    assert_eq!(costs.await.unwrap(), []);
    assert_eq!(store.tokens().await.unwrap(), []);
    assert_eq!(store.machine(machine_id(1)).await.unwrap(), None);
    assert_eq!(store.last_event().await.unwrap(), 0);
}

pub(in crate::store) async fn each_kind_of_row_conflicts_by_name<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    queued_builds(store, 1).await;
    let mut keyed = Samples::pipeline(2);
    keyed.idempotency = Some(("key".to_owned(), "hash".to_owned()));
    let mut same_key = Samples::pipeline(3);
    same_key.idempotency.clone_from(&keyed.idempotency);
    let mut same_hash = Samples::token(2);
    same_hash.hash = Samples::token(1).hash;
    let once = [
        Change::InsertPipeline(keyed),
        Change::InsertAttempt(Samples::attempt(0, 0, 1)),
        Change::InsertMachine(Samples::machine(0, Samples::machine_state(0))),
        Change::InsertImage(Samples::image("debian", 1, ImageState::Active)),
        Change::InsertPolicy(Samples::policy("default", 1)),
        Change::InsertExtent(Samples::extent(0, 5, 5)),
        Change::InsertToken(Samples::token(1)),
    ];
    store.commit(once.to_vec()).await.unwrap();
    let missing = [
        Change::UpdateBuild(Samples::build(9, 1, Samples::build_state(1)), 0),
        Change::UpdateAttempt(Samples::attempt(9, 0, 1), 0),
        Change::UpdateAttempt(Samples::attempt(0, 0, 1), 1),
        Change::UpdateMachine(Samples::machine(9, Samples::machine_state(0)), 0),
        Change::UpdateMachine(Samples::machine(0, Samples::machine_state(0)), 1),
        Change::UpdateImage(Samples::image("debian", 2, ImageState::Removed), 0),
        Change::UpdateImage(Samples::image("debian", 1, ImageState::Removed), 1),
        Change::RevokeToken(token_id(9), time(0)),
        // Not the row's id, but what must be unique besides.
        Change::InsertPipeline(same_key),
        Change::InsertAttempt(Samples::attempt(8, 0, 1)),
        Change::InsertToken(same_hash),
    ];
    let names = [
        format!("pipeline {}", pipeline_id(2)),
        format!("attempt {}", attempt_id(0)),
        format!("machine {}", machine_id(0)),
        "image debian version 1".to_owned(),
        "policy default version 1".to_owned(),
        format!("extent of {} at 5", attempt_id(0)),
        format!("token {}", token_id(1)),
        format!("build {}", build_id(9)),
        format!("attempt {}", attempt_id(9)),
        format!("attempt {}", attempt_id(0)),
        format!("machine {}", machine_id(9)),
        format!("machine {}", machine_id(0)),
        "image debian version 2".to_owned(),
        "image debian version 1".to_owned(),
        format!("token {}", token_id(9)),
        format!("pipeline {}", pipeline_id(3)),
        format!("attempt {}", attempt_id(8)),
        format!("token {}", token_id(2)),
    ];
    for (change, name) in once.into_iter().chain(missing).zip(names) {
        assert_eq!(conflicting_row(store.commit(vec![change]).await), name);
    }
}

pub(in crate::store) async fn one_update_of_two_wins<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    let builds = queued_builds(store, 1).await;
    let update = |result| vec![Change::UpdateBuild(next(&builds[0], result), 0)];
    let (first, second) = futures::join!(
        store.commit(update(BuildResult::Success)),
        store.commit(update(BuildResult::Failure)),
    );
    first.unwrap();
    conflicting_row(second);
    let stored = store.build(build_id(0)).await.unwrap();
    assert_eq!(stored, Some(next(&builds[0], BuildResult::Success)));
}

pub(in crate::store) async fn a_list_may_write_a_row_twice<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    let machine = Samples::machine(1, Samples::machine_state(0));
    let mut booting = Samples::machine(1, Samples::machine_state(1));
    booting.rev = 1;
    let mut idle = Samples::machine(1, Samples::machine_state(2));
    idle.rev = 2;
    let list = vec![
        Change::InsertMachine(machine),
        Change::PutMachineKeys(Samples::keys(1)),
        Change::UpdateMachine(booting, 0),
        Change::UpdateMachine(idle.clone(), 1),
        Change::DeleteMachineKeys(machine_id(1)),
    ];
    store.commit(list).await.unwrap();
    assert_eq!(store.machine(machine_id(1)).await.unwrap(), Some(idle));
    assert_eq!(store.machine_keys(machine_id(1)).await.unwrap(), None);
}

pub(in crate::store) async fn a_child_without_its_parent_is_refused<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    let orphans = [
        Change::InsertBuild(Samples::build(1, 9, Samples::build_state(1))),
        Change::InsertAttempt(Samples::attempt(1, 9, 1)),
        Change::InsertExtent(Samples::extent(9, 0, 1)),
        Change::PutMachineKeys(Samples::keys(9)),
    ];
    for orphan in orphans {
        let list = vec![Change::AppendEvent(Samples::event(1)), orphan];
        let outcome = store.commit(list).await;
        assert!(
            matches!(outcome, Err(StoreError::Database { .. })),
            "{outcome:?}"
        );
    }
    assert_eq!(store.last_event().await.unwrap(), 0);
}

pub(in crate::store) async fn an_empty_list_is_fine<F: Fixture>() {
    let fixture = F::new().await;
    fixture.store().commit(Vec::new()).await.unwrap();
}

pub(in crate::store) async fn commits_take_effect_in_the_order_of_their_polls<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    let machine = |rev| {
        let mut machine = Samples::machine(1, Samples::machine_state(rev));
        machine.rev = rev;
        machine
    };
    // Each update needs the one before; `join_all` polls them in this order.
    let mut commits = vec![store.commit(vec![Change::InsertMachine(machine(0))])];
    for rev in 1..40 {
        let event = Change::AppendEvent(Samples::event(rev));
        commits.push(store.commit(vec![Change::UpdateMachine(machine(rev), rev - 1), event]));
    }
    for outcome in join_all(commits).await {
        outcome.unwrap();
    }
    assert_eq!(
        store.machine(machine_id(1)).await.unwrap(),
        Some(machine(39))
    );
    let events = store.events(None, 0, 100).await.unwrap();
    let expected: Vec<(u64, Event)> = (1..40).map(|n| (n, Samples::event(n))).collect();
    assert_eq!(events, expected);
}

pub(in crate::store) async fn fifty_callers_get_what_they_wrote<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    let builds = queued_builds(store, 50).await;
    let callers = builds.iter().map(|build| async {
        let mut build = build.clone();
        for _ in 0..5 {
            let read = build.rev;
            build = next(&build, BuildResult::Success);
            let event = Change::AppendEvent(Samples::event(read));
            let list = vec![Change::UpdateBuild(build.clone(), read), event];
            store.commit(list).await.unwrap();
            assert_eq!(store.build(build.id).await.unwrap(), Some(build.clone()));
        }
    });
    join_all(callers).await;
    assert_eq!(store.last_event().await.unwrap(), 250);
}

pub(in crate::store) async fn one_callers_conflict_leaves_the_others_alone<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    let builds = queued_builds(store, 20).await;
    let commits = builds.iter().zip(0_u64..).map(|(build, n)| {
        // Every third caller read something else.
        let read = if n % 3 == 0 { 9 } else { 0 };
        store.commit(vec![
            Change::AppendEvent(Samples::event(n)),
            Change::UpdateBuild(next(build, BuildResult::Success), read),
        ])
    });
    let outcomes = join_all(commits).await;
    for (n, outcome) in (0..).zip(outcomes) {
        if n % 3 == 0 {
            assert_eq!(conflicting_row(outcome), format!("build {}", build_id(n)));
        } else {
            outcome.unwrap();
        }
    }
    let written: Vec<u64> = (0..20).filter(|n| n % 3 != 0).collect();
    let events = store.events(None, 0, 100).await.unwrap();
    let expected: Vec<(u64, Event)> = (1..)
        .zip(written.iter().map(|n| Samples::event(*n)))
        .collect();
    assert_eq!(events, expected);
    let page = Page {
        before: None,
        limit: 100,
    };
    let finished = crate::store::BuildFilter {
        result: Some(BuildResult::Success),
        ..Default::default()
    };
    let finished = store.builds(&finished, page).await.unwrap();
    assert_eq!(finished.len(), written.len());
}

pub(in crate::store) async fn events_are_numbered_without_holes<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    for n in 0..30 {
        let mut list: Vec<Change> = (0..=n % 3)
            .map(|_| Change::AppendEvent(Samples::event(n)))
            .collect();
        if n % 4 == 0 {
            list.push(Change::RevokeToken(token_id(1), time(0)));
            conflicting_row(store.commit(list).await);
        } else {
            store.commit(list).await.unwrap();
        }
    }
    let events = store.events(None, 0, 1_000).await.unwrap();
    let numbers: Vec<u64> = events.iter().map(|(number, _)| *number).collect();
    let count = store.last_event().await.unwrap();
    assert_eq!(numbers, (1..=count).collect::<Vec<u64>>());
    let kept = (0..30).filter(|n| n % 4 != 0);
    assert_eq!(count, kept.map(|n| n % 3 + 1).sum::<u64>());
}

pub(in crate::store) async fn a_long_list_is_one_commit<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    let mut list = vec![Change::InsertPipeline(Samples::pipeline(1))];
    for n in 0..3_000 {
        let build = Samples::build(n, 1, Samples::build_state(n));
        list.push(Change::InsertBuild(build));
        list.push(Change::AppendEvent(Samples::event(n)));
    }
    let mut with_conflict = list.clone();
    with_conflict.push(Change::RevokeToken(token_id(1), time(0)));
    conflicting_row(store.commit(with_conflict).await);
    assert_eq!(store.last_event().await.unwrap(), 0);
    store.commit(list).await.unwrap();
    assert_eq!(store.last_event().await.unwrap(), 3_000);
    let newest = store.build(build_id(2_999)).await.unwrap();
    assert_eq!(
        newest,
        Some(Samples::build(2_999, 1, Samples::build_state(2_999)))
    );
}

pub(in crate::store) async fn a_dropped_caller_is_written_whole<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    {
        let list = (0..3).map(|_| Change::AppendEvent(Samples::event(3)));
        let mut commit = pin!(store.commit(list.collect()));
        let mut context = Context::from_waker(Waker::noop());
        let _ = commit.as_mut().poll(&mut context);
    }
    let after = vec![Change::AppendEvent(Samples::event(4))];
    store.commit(after).await.unwrap();
    let last = Subject::Policy("debian".to_owned());
    let events = store.events(Some(&last), 0, 9).await.unwrap();
    assert_eq!(events, [(4, Samples::event(4))]);
}
