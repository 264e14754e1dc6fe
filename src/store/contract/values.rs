//! What is written comes back.

use super::Fixture;
use super::samples::{Samples, attempt_id, build_id, machine_id, pipeline_id, time, token_id};
use crate::model::{BuildResult, Change, Claims, ImageState, MachineState, Money, Reason};
use crate::store::{CostGroup, OpenWork, Store};

/// A pipeline with builds in every state, each with an attempt and a machine, and all the rest.
fn everything() -> Vec<Change> {
    let mut pipeline = Samples::pipeline(1);
    pipeline.idempotency = Some(("key".to_owned(), "hash".to_owned()));
    let mut changes = vec![Change::InsertPipeline(pipeline)];
    for n in 0..11 {
        let mut build = Samples::build(n, 1, Samples::build_state(n));
        build.cancel = (n % 2 == 0).then(Samples::cancel);
        changes.push(Change::InsertBuild(build));
        changes.push(Change::InsertAttempt(Samples::attempt(n, n, 1)));
        let machine = Samples::machine(n, Samples::machine_state(n));
        changes.push(Change::InsertMachine(machine));
    }
    changes.extend([
        Change::PutMachineKeys(Samples::keys(2)),
        Change::InsertLaunch(Samples::launch(1)),
        Change::InsertImage(Samples::image("debian", 1, ImageState::Superseded)),
        Change::InsertImage(Samples::image("debian", 2, ImageState::Active)),
        Change::InsertPolicy(Samples::policy("default", 1)),
        Change::InsertExtent(Samples::extent(3, 0, 10)),
        Change::AppendEntry(Samples::entry(3, 0, 70)),
        Change::AppendEvent(Samples::event(1)),
        Change::InsertToken(Samples::token(1)),
    ]);
    changes
}

pub(in crate::store) async fn every_value_comes_back_as_it_was_written<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    store.commit(everything()).await.unwrap();
    for change in everything() {
        comes_back(store, change).await;
    }
}

/// Reads the value of an inserting change by its id.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the list has only what inserts"
)]
async fn comes_back(store: &dyn Store, change: Change) {
    match change {
        Change::InsertPipeline(p) => {
            assert_eq!(store.pipeline(p.id).await.unwrap(), Some(p.clone()));
            assert_eq!(store.pipeline_by_key("key").await.unwrap(), Some(p));
        }
        Change::InsertBuild(b) => assert_eq!(store.build(b.id).await.unwrap(), Some(b)),
        Change::InsertAttempt(a) => {
            assert_eq!(store.attempt(a.id).await.unwrap(), Some(a.clone()));
            assert_eq!(store.attempts(a.build).await.unwrap(), [a]);
        }
        Change::InsertMachine(m) => assert_eq!(store.machine(m.id).await.unwrap(), Some(m)),
        Change::InsertLaunch(launch) => {
            let open = store.open_work().await.unwrap().launches;
            assert_eq!(open, std::slice::from_ref(&launch));
            let settled = vec![Change::DeleteLaunch(launch.id)];
            store.commit(settled).await.unwrap();
            assert_eq!(store.open_work().await.unwrap().launches, []);
        }
        Change::PutMachineKeys(k) => {
            let found = store.machine_keys(k.machine).await.unwrap().unwrap();
            assert_eq!(found, k);
        }
        Change::InsertImage(i) => {
            assert!(store.images(Some(&i.name)).await.unwrap().contains(&i));
        }
        Change::InsertPolicy(p) => assert_eq!(store.policies(Some(&p.name)).await.unwrap(), [p]),
        Change::InsertExtent(e) => {
            assert_eq!(store.extents(e.attempt, 0, u64::MAX).await.unwrap(), [e]);
        }
        Change::AppendEntry(e) => {
            let row = store.build_cost(e.build.unwrap()).await.unwrap();
            assert_eq!(
                (row.key, row.total),
                (e.build.unwrap().to_string(), e.amount)
            );
        }
        Change::AppendEvent(e) => assert_eq!(store.events(None, 0, 9).await.unwrap(), [(1, e)]),
        Change::InsertToken(t) => {
            assert_eq!(store.token_by_hash(&t.hash).await.unwrap(), Some(t.clone()));
            assert_eq!(store.tokens().await.unwrap(), [t]);
        }
        other => panic!("{other:?} inserts nothing"),
    }
}

pub(in crate::store) async fn what_does_not_exist_is_none<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    assert_eq!(store.pipeline(pipeline_id(1)).await.unwrap(), None);
    assert_eq!(store.pipeline_by_key("key").await.unwrap(), None);
    assert_eq!(store.build(build_id(1)).await.unwrap(), None);
    assert_eq!(store.attempt(attempt_id(1)).await.unwrap(), None);
    assert_eq!(store.attempts(build_id(1)).await.unwrap(), []);
    assert_eq!(store.machine(machine_id(1)).await.unwrap(), None);
    assert_eq!(store.machine_keys(machine_id(1)).await.unwrap(), None);
    assert_eq!(store.images(None).await.unwrap(), []);
    assert_eq!(store.policies(None).await.unwrap(), []);
    assert_eq!(store.extents(attempt_id(1), 0, 9).await.unwrap(), []);
    assert_eq!(store.events(None, 0, 9).await.unwrap(), []);
    assert_eq!(store.last_event().await.unwrap(), 0);
    assert_eq!(store.token_by_hash("hash").await.unwrap(), None);
    assert_eq!(store.open_work().await.unwrap(), OpenWork::default());
    let nothing = store.build_cost(build_id(1)).await.unwrap();
    assert_eq!((nothing.total, nothing.by_category.len()), (Money::ZERO, 0));
    for group in [CostGroup::Build, CostGroup::Project, CostGroup::Day] {
        let rows = store.costs(group, time(-9), time(9), 9).await.unwrap();
        assert_eq!(rows, []);
    }
}

pub(in crate::store) async fn updates_replace_what_may_change<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    store.commit(everything()).await.unwrap();

    let mut build = Samples::build(1, 1, Samples::finished(BuildResult::Failure));
    (build.attempts, build.cancel, build.rev) = (2, Some(Samples::cancel()), 3);
    let attempt = Samples::attempt_later(&Samples::attempt(1, 1, 1), 5);
    let mut machine = Samples::machine(1, Samples::machine_state(2));
    (machine.builds_done, machine.hold, machine.rev) = (9, None, 1);
    let mut image = Samples::image("debian", 2, ImageState::Removed);
    image.rev = 1;
    let mut keys = Samples::keys(2);
    keys.host_private = crate::model::Secret::default();
    let updates = vec![
        Change::UpdateBuild(build.clone(), 0),
        Change::UpdateAttempt(attempt.clone(), 0),
        Change::UpdateMachine(machine.clone(), 0),
        Change::UpdateImage(image.clone(), 0),
        Change::PutMachineKeys(keys.clone()),
        Change::RevokeToken(token_id(1), time(1)),
    ];
    store.commit(updates).await.unwrap();

    assert_eq!(store.build(build.id).await.unwrap(), Some(build));
    assert_eq!(store.attempt(attempt.id).await.unwrap(), Some(attempt));
    assert_eq!(store.machine(machine.id).await.unwrap(), Some(machine));
    assert_eq!(store.images(Some("debian")).await.unwrap()[0], image);
    assert_eq!(store.machine_keys(keys.machine).await.unwrap(), Some(keys));

    let delete = vec![
        Change::DeleteMachineKeys(machine_id(2)),
        Change::DeleteMachineKeys(machine_id(99)),
    ];
    store.commit(delete).await.unwrap();
    assert_eq!(store.machine_keys(machine_id(2)).await.unwrap(), None);
}

pub(in crate::store) async fn everything_survives_a_new_start<F: Fixture>() {
    let mut fixture = F::new().await;
    fixture.store().commit(everything()).await.unwrap();
    fixture.reopen().await;
    for change in everything() {
        comes_back(fixture.store(), change).await;
    }
    let more = vec![Change::AppendEvent(Samples::event(2))];
    fixture.store().commit(more).await.unwrap();
    assert_eq!(fixture.store().last_event().await.unwrap(), 2);
}

pub(in crate::store) async fn open_work_is_what_is_not_over<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    store.commit(everything()).await.unwrap();
    let mut needy = Samples::build(20, 1, crate::model::BuildState::Waiting);
    let spec = std::sync::Arc::make_mut(&mut needy.spec);
    // Finished, finished, unfinished, unknown.
    spec.needs = vec![build_id(5), build_id(6), build_id(1), build_id(99)];
    let mut gone = Samples::machine(30, Samples::machine_state(5));
    (gone.image, gone.image_version) = ("alpine".to_owned(), 1);
    let more = vec![
        Change::InsertBuild(needy.clone()),
        Change::InsertMachine(gone),
        Change::InsertImage(Samples::image("alpine", 1, ImageState::Superseded)),
        Change::InsertImage(Samples::image("fedora", 7, ImageState::Removed)),
        Change::InsertPolicy(Samples::policy("default", 2)),
    ];
    store.commit(more).await.unwrap();

    let work = store.open_work().await.unwrap();
    let ids: Vec<_> = work.builds.iter().map(|build| build.id).collect();
    assert_eq!(ids, [0, 1, 2, 3, 4, 20].map(build_id));
    assert_eq!(work.builds[5], needy);
    let attempts = [Samples::attempt(3, 3, 1), Samples::attempt(4, 4, 1)];
    assert_eq!(work.attempts, attempts);
    assert_eq!(work.machines.len(), 10, "all but number 5 and the one gone");
    let images: Vec<_> = work.images.iter().map(|i| (&*i.name, i.version)).collect();
    // The newest of a name is there even if it was removed: the next one counts on from it.
    let newest = [("alpine", 1), ("debian", 2), ("debian", 1), ("fedora", 7)];
    assert_eq!(images, newest);
    assert_eq!(work.policies, [Samples::policy("default", 2)]);
    let needed = [
        (build_id(5), BuildResult::Success),
        (build_id(6), BuildResult::Failure),
    ];
    assert_eq!(work.needed, needed.into());
}

pub(in crate::store) async fn corner_values_come_back<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    let mut machine = Samples::machine(
        0,
        MachineState::Intended {
            claims: Claims::default(),
        },
    );
    machine.billed = Money::from_micros(i64::MIN);
    machine.rev = u64::try_from(i64::MAX).unwrap();
    machine.created_at = crate::model::Timestamp::from_micros(0);
    let mut later = machine.clone();
    later.state = MachineState::Gone {
        reason: Reason::Requested(String::new()),
    };
    later.rev = 0;
    let mut extent = Samples::extent(0, 1 << 60, 1 << 50);
    extent.marks = Vec::new();
    store
        .commit(vec![
            Change::InsertMachine(machine.clone()),
            Change::InsertPipeline(Samples::pipeline(0)),
            Change::InsertBuild(Samples::build(0, 0, Samples::build_state(0))),
            Change::InsertAttempt(Samples::attempt(0, 0, u32::MAX)),
            Change::InsertExtent(extent.clone()),
        ])
        .await
        .unwrap();
    assert_eq!(
        store.machine(machine.id).await.unwrap(),
        Some(machine.clone())
    );
    let found = store.extents(attempt_id(0), (1 << 60) + 5, u64::MAX).await;
    assert_eq!(found.unwrap(), [extent]);
    let update = vec![Change::UpdateMachine(later.clone(), machine.rev)];
    store.commit(update).await.unwrap();
    assert_eq!(store.machine(machine.id).await.unwrap(), Some(later));
}
