//! Pages, filters, tallies and ranges.

use super::Fixture;
use super::samples::{Samples, attempt_id, build_id, machine_id, pipeline_id, time, token_id};
use crate::model::{
    Build, BuildId, BuildResult, Change, ImageState, MachineId, PipelineId, Subject,
};
use crate::store::{BuildFilter, Page, PastAttempt, Store};

const RESULTS: [BuildResult; 6] = [
    BuildResult::Success,
    BuildResult::Failure,
    BuildResult::Canceled,
    BuildResult::TimedOut,
    BuildResult::InfraFailure,
    BuildResult::Skipped,
];

/// Four pipelines of two projects, with 110 builds of all states dealt out among them.
async fn dealt_builds(store: &dyn Store) -> Vec<Build> {
    let mut changes: Vec<Change> = (0..4)
        .map(|n| Change::InsertPipeline(Samples::pipeline(n)))
        .collect();
    let builds: Vec<Build> = (0..110)
        .map(|n| Samples::build(n, n % 4, Samples::build_state(n / 4)))
        .collect();
    changes.extend(builds.iter().cloned().map(Change::InsertBuild));
    store.commit(changes).await.unwrap();
    builds
}

pub(in crate::store) async fn builds_come_in_pages<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    let builds = dealt_builds(store).await;
    let mut seen: Vec<Build> = Vec::new();
    loop {
        let page = Page {
            before: seen.last().map(|build| build.id),
            limit: 25,
        };
        let rows = store.builds(&BuildFilter::default(), page).await.unwrap();
        if rows.is_empty() {
            break;
        }
        assert!(rows.len() == 25 || seen.len() + rows.len() == 110);
        seen.extend(rows);
    }
    seen.reverse();
    assert_eq!(seen, builds);
    let none = Page {
        before: None,
        limit: 0,
    };
    assert_eq!(
        store.builds(&BuildFilter::default(), none).await.unwrap(),
        []
    );
}

pub(in crate::store) async fn builds_are_filtered_by_every_combination<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    let builds = dealt_builds(store).await;
    let states = [
        "waiting", "queued", "bound", "running", "finished", "nonsense",
    ];
    let states = || std::iter::once(None).chain(states.into_iter().map(Some));
    let results = || std::iter::once(None).chain(RESULTS.into_iter().map(Some));
    for pipeline in [None, Some(pipeline_id(1)), Some(pipeline_id(9))] {
        for project in [None, Some("docs"), Some("engine"), Some("nobody's")] {
            for state in states() {
                for result in results() {
                    let filter = BuildFilter {
                        pipeline,
                        project: project.map(str::to_owned),
                        state: state.map(str::to_owned),
                        result,
                    };
                    is_filtered(store, &builds, &filter).await;
                }
            }
        }
    }
}

async fn is_filtered(store: &dyn Store, builds: &[Build], filter: &BuildFilter) {
    let expected: Vec<BuildId> = builds
        .iter()
        .rev()
        .filter(|b| filter.pipeline.is_none_or(|id| b.spec.pipeline == id))
        .filter(|b| filter.project.as_ref().is_none_or(|p| b.spec.project == *p))
        .filter(|b| filter.state.as_ref().is_none_or(|s| b.state.word() == s))
        .filter(|b| filter.result.is_none_or(|r| b.state.result() == Some(r)))
        .map(|b| b.id)
        .filter(|id| *id < build_id(90))
        .take(7)
        .collect();
    let page = Page {
        before: Some(build_id(90)),
        limit: 7,
    };
    let found = store.builds(filter, page).await.unwrap();
    let found: Vec<BuildId> = found.iter().map(|build| build.id).collect();
    assert_eq!(found, expected, "{filter:?}");
}

pub(in crate::store) async fn past_attempts_know_their_build_and_image<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    let builds = dealt_builds(store).await;
    let mut changes = Vec::new();
    for n in 0..6 {
        let attempt = Samples::attempt(n, n, 1);
        // The machine of the last one is not known any more.
        if n < 5 {
            let mut machine = Samples::machine(n, Samples::machine_state(n));
            machine.id = attempt.machine;
            changes.push(Change::InsertMachine(machine));
        }
        changes.push(Change::InsertAttempt(attempt));
    }
    store.commit(changes).await.unwrap();
    let mut seen = Vec::new();
    loop {
        let page = Page {
            before: seen.last().map(|past: &PastAttempt| past.attempt.id),
            limit: 2,
        };
        let found = store.past_attempts(page).await.unwrap();
        if found.is_empty() {
            break;
        }
        seen.extend(found);
    }
    let ids: Vec<_> = seen.iter().map(|past| past.attempt.id).collect();
    let expected: Vec<_> = (0..5).rev().map(attempt_id).collect();
    assert_eq!(ids, expected);
    for past in seen {
        let build = builds.iter().find(|build| build.id == past.attempt.build);
        let spec = &build.unwrap().spec;
        assert_eq!(
            (past.project, past.build),
            (spec.project.clone(), spec.name.clone())
        );
        assert_eq!(past.image, "debian");
    }
}

pub(in crate::store) async fn pipelines_come_in_pages_with_tallies<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    let builds = dealt_builds(store).await;
    let empty = vec![Change::InsertPipeline(Samples::pipeline(4))];
    store.commit(empty).await.unwrap();
    let page = |before: Option<u64>, limit| Page {
        before: before.map(pipeline_id),
        limit,
    };
    let ids = |rows: &[(crate::model::Pipeline, crate::store::Tally)]| -> Vec<PipelineId> {
        rows.iter().map(|(pipeline, _)| pipeline.id).collect()
    };
    let all = store.pipelines(None, page(None, 50)).await.unwrap();
    assert_eq!(ids(&all), [4, 3, 2, 1, 0].map(pipeline_id));
    let next = store.pipelines(None, page(Some(4), 2)).await.unwrap();
    assert_eq!(ids(&next), [3, 2].map(pipeline_id));
    let docs = store.pipelines(Some("docs"), page(None, 50)).await.unwrap();
    assert_eq!(ids(&docs), [4, 2, 0].map(pipeline_id));
    let older = store
        .pipelines(Some("docs"), page(Some(2), 50))
        .await
        .unwrap();
    assert_eq!(ids(&older), [0].map(pipeline_id));

    assert!(all[0].1.is_empty(), "a pipeline without builds");
    for (pipeline, tally) in all {
        let mut expected = crate::store::Tally::new();
        for build in builds.iter().filter(|b| b.spec.pipeline == pipeline.id) {
            let word = build.state.result().map(BuildResult::word);
            let word = word.unwrap_or(build.state.word());
            *expected.entry(word.to_owned()).or_default() += 1;
        }
        assert_eq!(tally, expected);
        assert_eq!(store.tally(pipeline.id).await.unwrap(), expected);
    }
}

pub(in crate::store) async fn machines_come_in_pages<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    let machine = |n| Change::InsertMachine(Samples::machine(n, Samples::machine_state(n)));
    store.commit((0..12).map(machine).collect()).await.unwrap();
    let page = |before: Option<u64>, limit| Page {
        before: before.map(machine_id),
        limit,
    };
    let ids = |rows: Vec<crate::model::Machine>| -> Vec<MachineId> {
        rows.iter().map(|machine| machine.id).collect()
    };
    let all = store.machines(true, page(None, 3)).await.unwrap();
    assert_eq!(ids(all), [11, 10, 9].map(machine_id));
    let present = store.machines(false, page(None, 3)).await.unwrap();
    assert_eq!(ids(present), [11, 10, 9].map(machine_id));
    let rest = store.machines(false, page(Some(8), 50)).await.unwrap();
    assert_eq!(ids(rest), [7, 6, 4, 3, 2, 1, 0].map(machine_id));
    // Gone machines have no keys, even if nobody deleted them.
    let keys = [0, 5].map(|n| Change::PutMachineKeys(Samples::keys(n)));
    store.commit(keys.to_vec()).await.unwrap();
    assert!(store.machine_keys(machine_id(0)).await.unwrap().is_some());
    assert_eq!(store.machine_keys(machine_id(5)).await.unwrap(), None);
}

pub(in crate::store) async fn catalogue_reads_give_current_or_all_versions<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    let images = [
        Samples::image("debian", 9, ImageState::Superseded),
        Samples::image("debian", 10, ImageState::Active),
        Samples::image("alpine", 1, ImageState::Active),
        Samples::image("fedora", 2, ImageState::Removed),
    ];
    let policies = [
        Samples::policy("default", 9),
        Samples::policy("default", 10),
        Samples::policy("big", 1),
    ];
    let mut changes: Vec<Change> = images.iter().cloned().map(Change::InsertImage).collect();
    changes.extend(policies.iter().cloned().map(Change::InsertPolicy));
    store.commit(changes).await.unwrap();

    let active = [images[2].clone(), images[1].clone()];
    assert_eq!(store.images(None).await.unwrap(), active);
    let versions = [images[1].clone(), images[0].clone()];
    assert_eq!(store.images(Some("debian")).await.unwrap(), versions);
    let removed = [images[3].clone()];
    assert_eq!(store.images(Some("fedora")).await.unwrap(), removed);
    assert_eq!(store.images(Some("suse")).await.unwrap(), []);

    let current = [policies[2].clone(), policies[1].clone()];
    assert_eq!(store.policies(None).await.unwrap(), current);
    let versions = [policies[1].clone(), policies[0].clone()];
    assert_eq!(store.policies(Some("default")).await.unwrap(), versions);
}

pub(in crate::store) async fn extents_are_those_that_overlap<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    let mut changes = vec![
        Change::InsertPipeline(Samples::pipeline(1)),
        Change::InsertBuild(Samples::build(1, 1, Samples::build_state(4))),
        Change::InsertAttempt(Samples::attempt(1, 1, 1)),
        Change::InsertAttempt(Samples::attempt(2, 1, 2)),
        Change::InsertExtent(Samples::extent(2, 0, 100)),
    ];
    // [0, 10), [10, 30), [40, 41), [41, 1000)
    for (start, end) in [(10, 30), (0, 10), (41, 1_000), (40, 41)] {
        let extent = Samples::extent(1, start, end - start);
        changes.push(Change::InsertExtent(extent));
    }
    store.commit(changes).await.unwrap();
    let starts = async |from, to| -> Vec<u64> {
        let found = store.extents(attempt_id(1), from, to).await.unwrap();
        found.iter().map(|extent| extent.start).collect()
    };
    assert_eq!(starts(0, u64::MAX).await, [0, 10, 40, 41]);
    assert_eq!(starts(0, 10).await, [0]);
    assert_eq!(starts(9, 11).await, [0, 10]);
    assert_eq!(starts(10, 40).await, [10]);
    assert_eq!(starts(30, 40).await, [0; 0]);
    assert_eq!(starts(35, 41).await, [40]);
    assert_eq!(starts(999, 2_000).await, [41]);
    assert_eq!(starts(1_000, u64::MAX).await, [0; 0]);
    assert_eq!(starts(5, 5).await, [0; 0]);
}

pub(in crate::store) async fn events_follow_a_number_and_a_subject<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    let changes = (1..=20).map(|n| Change::AppendEvent(Samples::event(n)));
    store.commit(changes.collect()).await.unwrap();
    let numbers = async |subject: Option<Subject>, after, limit| -> Vec<u64> {
        let found = store.events(subject.as_ref(), after, limit).await.unwrap();
        for (number, event) in &found {
            assert_eq!(event, &Samples::event(*number));
        }
        found.into_iter().map(|(number, _)| number).collect()
    };
    assert_eq!(numbers(None, 17, 50).await, [18, 19, 20]);
    assert_eq!(numbers(None, 3, 2).await, [4, 5]);
    assert_eq!(numbers(None, u64::MAX, 2).await, [0; 0]);
    let image = Subject::Image("debian".to_owned());
    assert_eq!(numbers(Some(image), 3, 2).await, [8, 13]);
    // A policy of the same name is another subject.
    let policy = Subject::Policy("debian".to_owned());
    assert_eq!(numbers(Some(policy), 0, 9).await, [4, 9, 14, 19]);
    let build = Subject::Build(build_id(4));
    assert_eq!(numbers(Some(build), 0, 9).await, [11]);
}

pub(in crate::store) async fn tokens_end_when_they_are_revoked<F: Fixture>() {
    let fixture = F::new().await;
    let store = fixture.store();
    let tokens: Vec<Change> = (0..3)
        .map(|n| Change::InsertToken(Samples::token(n)))
        .collect();
    store.commit(tokens).await.unwrap();
    let hash = Samples::token(1).hash;
    assert_eq!(
        store.token_by_hash(&hash).await.unwrap(),
        Some(Samples::token(1))
    );
    for seconds in [5, 9] {
        let revoke = vec![Change::RevokeToken(token_id(1), time(seconds))];
        store.commit(revoke).await.unwrap();
    }
    assert_eq!(store.token_by_hash(&hash).await.unwrap(), None);
    let mut revoked = Samples::token(1);
    revoked.revoked_at = Some(time(5));
    let all = [Samples::token(2), revoked, Samples::token(0)];
    assert_eq!(store.tokens().await.unwrap(), all);
}
