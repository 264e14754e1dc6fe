//! Random lists of changes do to an engine what they do to the model.

use std::future::Future;

use futures::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::memory::MemoryStore;
use super::samples::{Samples, attempt_id, build_id, machine_id, pipeline_id, time, token_id};
use super::{Fixture, samples};
use crate::model::{Change, Entry, ImageState, Subject, Timestamp};
use crate::store::{BuildFilter, CostGroup, Page, Store, StoreError};

/// Ids are drawn from this many, so that changes meet.
const IDS: u64 = 4;

/// A change in numbers: kind, id, another id, rev read, and one more.
type Draw = (u8, u64, u64, u64, u64);

fn draws() -> impl Strategy<Value = Draw> {
    (0..18_u8, 0..IDS, 0..IDS, 0..3_u64, 0..22_u64)
}

fn change((kind, id, other, rev, more): Draw) -> Change {
    let version = u32::try_from(other).unwrap();
    let seconds = i64::try_from(id * 3_000 + more * 977).unwrap();
    let name = ["alpine", "debian"][usize::from(id > 1)];
    let image_state = |n: u64| match n % 3 {
        0 => ImageState::Active,
        1 => ImageState::Superseded,
        _ => ImageState::Removed,
    };
    match kind {
        0 => {
            let mut pipeline = Samples::pipeline(id);
            let key = (more < 10).then(|| (format!("key {}", more % 3), "hash".to_owned()));
            pipeline.idempotency = key;
            Change::InsertPipeline(pipeline)
        }
        1 => Change::InsertBuild(Samples::build(id, other, Samples::build_state(more))),
        2 | 3 => {
            let mut build = Samples::build(id, other, Samples::build_state(more));
            (build.rev, build.attempts) = (rev + 1, version);
            build.cancel = more.is_multiple_of(2).then(Samples::cancel);
            Change::UpdateBuild(build, rev)
        }
        // Two attempts want to be a build's first.
        4 => Change::InsertAttempt(Samples::attempt(id, id / 2, 1)),
        5 => {
            let attempt = Samples::attempt(id, id / 2, 1);
            Change::UpdateAttempt(Samples::attempt_later(&attempt, rev + 1), rev)
        }
        6 => Change::InsertMachine(Samples::machine(id, Samples::machine_state(more))),
        7 => {
            let mut machine = Samples::machine(id, Samples::machine_state(more));
            machine.rev = rev + 1;
            Change::UpdateMachine(machine, rev)
        }
        8 => Change::PutMachineKeys(Samples::keys(id)),
        9 => Change::DeleteMachineKeys(machine_id(id)),
        10 => Change::InsertImage(Samples::image(name, version, image_state(id))),
        11 => {
            let mut image = Samples::image(name, version, image_state(more));
            image.rev = rev + 1;
            Change::UpdateImage(image, rev)
        }
        12 => Change::InsertPolicy(Samples::policy(name, version)),
        // Extents of an attempt do not overlap: each has its place.
        13 => Change::InsertExtent(Samples::extent(id, other * 100, 1 + more * 4)),
        14 => Change::AppendEntry(Samples::entry(id * 7 + more, seconds, seconds - 5_000)),
        15 => Change::AppendEvent(Samples::event(more)),
        16 => Change::InsertToken(Samples::token(id)),
        _ => Change::RevokeToken(token_id(id), time(seconds)),
    }
}

/// A list, with parents before what belongs to them.
#[expect(clippy::wildcard_enum_match_arm, reason = "the rest has no children")]
fn list() -> impl Strategy<Value = Vec<Change>> {
    proptest::collection::vec(draws(), 0..6).prop_map(|draws| {
        let mut changes: Vec<Change> = draws.into_iter().map(change).collect();
        changes.sort_by_key(|change| match change {
            Change::InsertPipeline(_) | Change::InsertMachine(_) => 0,
            Change::InsertBuild(_) => 1,
            Change::InsertAttempt(_) => 2,
            _ => 3,
        });
        changes
    })
}

/// What a caller sees of an outcome.
fn seen(outcome: &Result<(), StoreError>) -> String {
    match outcome {
        Ok(()) => "written".to_owned(),
        Err(StoreError::Conflict { row }) => format!("conflict of {row}"),
        Err(StoreError::Database { operation, .. }) => format!("{operation} failed"),
        Err(corrupt @ StoreError::Corrupt { .. }) => corrupt.to_string(),
    }
}

/// Every answer the store can give about the ids there are, as text.
async fn everything(store: &dyn Store) -> Vec<String> {
    let mut answers = vec![
        format!("{:?}", store.open_work().await),
        format!("{:?}", store.images(None).await),
        format!("{:?}", store.policies(None).await),
        format!("{:?}", store.events(None, 0, 1_000).await),
        format!("{:?}", store.last_event().await),
        format!("{:?}", store.tokens().await),
    ];
    for n in 0..IDS {
        answers.extend(everything_of(store, n).await);
    }
    for filter in filters() {
        let page = Page {
            before: Some(build_id(3)),
            limit: 2,
        };
        answers.push(format!(
            "{filter:?} {:?}",
            store.builds(&filter, page).await
        ));
    }
    answers.extend(all_costs(store, time(2_000), time(20_000)).await);
    answers
}

async fn everything_of(store: &dyn Store, n: u64) -> Vec<String> {
    let name = ["alpine", "debian"][usize::from(n > 1)];
    let page = Page {
        before: Some(pipeline_id(n)),
        limit: 2,
    };
    let machines = Page {
        before: Some(machine_id(n)),
        limit: 2,
    };
    let token = Samples::token(n).hash;
    vec![
        format!("{:?}", store.pipeline(pipeline_id(n)).await),
        format!("{:?}", store.pipeline_by_key(&format!("key {n}")).await),
        format!("{:?}", store.pipelines(None, page.clone()).await),
        format!("{:?}", store.pipelines(Some("docs"), page).await),
        format!("{:?}", store.tally(pipeline_id(n)).await),
        format!("{:?}", store.build(build_id(n)).await),
        format!("{:?}", store.attempt(attempt_id(n)).await),
        format!("{:?}", store.attempts(build_id(n)).await),
        format!("{:?}", store.machine(machine_id(n)).await),
        format!("{:?}", store.machines(n.is_multiple_of(2), machines).await),
        // Secrets do not print; their presence does.
        format!("{:?}", store.machine_keys(machine_id(n)).await),
        format!("{:?}", store.images(Some(name)).await),
        format!("{:?}", store.policies(Some(name)).await),
        format!("{:?}", store.extents(attempt_id(n), 150, 260).await),
        format!("{:?}", store.extents(attempt_id(n), 0, u64::MAX).await),
        format!("{:?}", store.build_cost(build_id(n)).await),
        format!("{:?}", store.token_by_hash(&token).await),
        format!(
            "{:?}",
            store.events(Some(&Subject::Build(build_id(n))), n, 3).await
        ),
    ]
}

fn filters() -> impl Iterator<Item = BuildFilter> {
    let states = [None, Some("queued"), Some("finished")];
    states.into_iter().flat_map(|state| {
        [None, Some("docs")].map(|project| BuildFilter {
            pipeline: None,
            project: project.map(str::to_owned),
            state: state.map(str::to_owned),
            result: None,
        })
    })
}

async fn all_costs(store: &dyn Store, from: Timestamp, to: Timestamp) -> Vec<String> {
    let mut answers = Vec::new();
    for group in [
        CostGroup::Build,
        CostGroup::Pipeline,
        CostGroup::Project,
        CostGroup::Image,
        CostGroup::Day,
    ] {
        answers.push(format!(
            "{group:?} {:?}",
            store.costs(group, from, to, 5).await
        ));
    }
    answers
}

/// Runs a property over a strategy on a thread that may block on futures.
async fn check<S, T, Test>(cases: u32, strategy: S, property: T)
where
    S: Strategy + Send + 'static,
    T: Fn(S::Value) -> Test + Send + 'static,
    Test: Future<Output = Result<(), TestCaseError>>,
{
    let runtime = tokio::runtime::Handle::current();
    let checked = tokio::task::spawn_blocking(move || {
        let config = Config {
            cases,
            failure_persistence: None,
            ..Config::default()
        };
        let mut runner = TestRunner::new(config);
        let outcome = runner.run(&strategy, |value| runtime.block_on(property(value)));
        outcome.map_err(|failure| failure.to_string())
    });
    if let Err(failure) = checked.await.unwrap() {
        panic!("{failure}");
    }
}

pub(in crate::store) async fn random_lists_do_what_the_model_does<F: Fixture>() {
    let lists = proptest::collection::vec(list(), 0..25);
    check(32, lists, async |lists| {
        let mut fixture = F::new().await;
        let model = MemoryStore::default();
        for list in lists {
            let outcome = fixture.store().commit(list.clone()).await;
            let expected = model.commit(list.clone()).await;
            prop_assert_eq!(seen(&outcome), seen(&expected), "{:?}: {:?}", list, outcome);
        }
        prop_assert_eq!(everything(fixture.store()).await, everything(&model).await);
        fixture.reopen().await;
        prop_assert_eq!(everything(fixture.store()).await, everything(&model).await);
        Ok(())
    })
    .await;
}

pub(in crate::store) async fn random_concurrent_lists_do_what_the_model_does<F: Fixture>() {
    let groups = proptest::collection::vec(proptest::collection::vec(list(), 1..12), 0..5);
    check(32, groups, async |groups| {
        let fixture = F::new().await;
        let model = MemoryStore::default();
        for group in groups {
            // Polled, and so applied, in the order of the group.
            let commits = group
                .iter()
                .map(|list| fixture.store().commit(list.clone()));
            let outcomes = join_all(commits).await;
            for (list, outcome) in group.into_iter().zip(outcomes) {
                let expected = model.commit(list.clone()).await;
                prop_assert_eq!(seen(&outcome), seen(&expected), "{:?}: {:?}", list, outcome);
            }
        }
        prop_assert_eq!(everything(fixture.store()).await, everything(&model).await);
        Ok(())
    })
    .await;
}

/// Entries within four days, at any microsecond.
fn entry() -> impl Strategy<Value = Entry> {
    let four_days = 4 * 86_400_000_000_i64;
    (0..12_u64, 0..four_days, 0..9_000_000_000_i64, any::<i32>()).prop_map(
        move |(n, from, length, amount)| {
            let from = samples::EPOCH - four_days / 2 + from;
            Entry {
                from: Timestamp::from_micros(from),
                to: Timestamp::from_micros(from + length),
                ..Samples::entry(n, 0, i64::from(amount))
            }
        },
    )
}

pub(in crate::store) async fn random_ledgers_add_up<F: Fixture>() {
    let entries = proptest::collection::vec(entry(), 0..60);
    let stretches = proptest::collection::vec((entry(), entry()), 4);
    check(24, (entries, stretches), async |(entries, stretches)| {
        let fixture = F::new().await;
        let model = MemoryStore::default();
        for part in entries.chunks(7) {
            let list: Vec<Change> = part.iter().cloned().map(Change::AppendEntry).collect();
            fixture.store().commit(list.clone()).await.unwrap();
            model.commit(list).await.unwrap();
        }
        for (from, to) in stretches {
            let found = all_costs(fixture.store(), from.from, to.from).await;
            prop_assert_eq!(found, all_costs(&model, from.from, to.from).await);
        }
        Ok(())
    })
    .await;
}
