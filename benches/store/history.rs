//! A database of finished builds, and what a person looks at in it.

use std::path::Path;

use anyhow::Result;
use dormouse::clock::{Clock, SystemClock};
use dormouse::model::{
    BuildId, BuildResult, Change, EventKind, PipelineId, Span, Subject, Timestamp,
};
use dormouse::store::{BuildFilter, CostGroup, Page, SqliteStore, Store};

use super::life::percentiles;
use super::maker::Maker;
use super::micros_since;

/// Builds in one commit while filling the database.
const CHUNK: u32 = 500;

/// Fills a database with `count` finished builds and times reads.
pub(crate) async fn history(path: &Path, count: u32) -> Result<()> {
    let store = SqliteStore::open(path).await?;
    let maker = Maker::new();
    let machine = maker.machine();
    store
        .commit(vec![Change::InsertMachine(machine.clone())])
        .await?;
    let begin = SystemClock.now();
    let mut builds = Vec::new();
    for chunk in 0..count / CHUNK {
        let mut changes = Vec::new();
        for n in 0..CHUNK {
            let mut life = maker.life(chunk * CHUNK + n, &machine);
            life.bind()?;
            let mut attempt = life.new_attempt();
            life.start(&mut attempt)?;
            let last = life.finish(attempt)?;
            changes.extend(life.insert());
            changes.push(life.event(EventKind::BuildBound));
            changes.push(life.event(EventKind::BuildStarted));
            changes.extend(last.into_iter().filter_map(as_written_at_last));
            builds.push((life.pipeline.id, life.build.id));
        }
        store.commit(changes).await?;
    }
    println!("history: filled in {} ms", micros_since(begin) / 1_000);
    time_reads(&store, &builds).await?;
    let size = std::fs::metadata(path)?.len();
    println!(
        "history: {} bytes per build on disk",
        size / u64::from(count)
    );
    store.close().await;
    Ok(())
}

/// The last change of a life, for a database in which the ones before it were not written.
#[expect(clippy::wildcard_enum_match_arm, reason = "the rest is as it would be")]
pub(crate) fn as_written_at_last(change: Change) -> Option<Change> {
    match change {
        Change::UpdateBuild(..) | Change::UpdateMachine(..) => None,
        Change::UpdateAttempt(attempt, _) => Some(Change::InsertAttempt(attempt)),
        other => Some(other),
    }
}

/// How often each read is timed, at most; the slow ones less often.
const READS: usize = 500;

/// Time spent on one kind of read at most.
const READ_TIME: Span = Span::from_secs(3);

pub(crate) async fn timed<T>(
    name: &str,
    reads: impl Iterator<Item = impl Future<Output = Result<T, dormouse::store::StoreError>>>,
) -> Result<()> {
    let mut waits = Vec::new();
    let first = SystemClock.now();
    for read in reads {
        let begin = SystemClock.now();
        read.await?;
        waits.push(micros_since(begin));
        if SystemClock.now().since(first) > READ_TIME {
            break;
        }
    }
    println!("read: {name:<42} {}", percentiles(waits));
    Ok(())
}

/// The newest 50 rows.
pub(crate) fn newest<Id>() -> Page<Id> {
    Page {
        before: None,
        limit: 50,
    }
}

pub(crate) async fn time_reads(
    store: &SqliteStore,
    builds: &[(PipelineId, BuildId)],
) -> Result<()> {
    let some = || builds.iter().step_by((builds.len() / READS).max(1));
    let all = &BuildFilter::default();
    let older = |id: BuildId| Page {
        before: Some(id),
        limit: 50,
    };
    timed(
        "50 builds from anywhere",
        some().map(|(_, id)| store.builds(all, older(*id))),
    )
    .await?;
    timed("one build", some().map(|(_, id)| store.build(*id))).await?;
    timed("its attempts", some().map(|(_, id)| store.attempts(*id))).await?;
    timed("its cost", some().map(|(_, id)| store.build_cost(*id))).await?;
    for (name, filter) in filters(builds) {
        let pages = (0..READS).map(|_| store.builds(&filter, newest()));
        timed(&format!("last 50 builds{name}"), pages).await?;
    }
    time_other_reads(store, builds).await
}

pub(crate) fn filters(builds: &[(PipelineId, BuildId)]) -> [(&'static str, BuildFilter); 8] {
    let filter = |project: Option<&str>, state: Option<&str>, result| BuildFilter {
        pipeline: None,
        project: project.map(str::to_owned),
        state: state.map(str::to_owned),
        result,
    };
    let mine = Some("project-3");
    let timed_out = Some(BuildResult::TimedOut);
    let of_pipeline = BuildFilter {
        pipeline: builds.first().map(|(pipeline, _)| *pipeline),
        ..BuildFilter::default()
    };
    [
        ("", filter(None, None, None)),
        (" of a pipeline", of_pipeline),
        (" of a project", filter(mine, None, None)),
        (", queued (none)", filter(None, Some("queued"), None)),
        (", finished", filter(None, Some("finished"), None)),
        (
            " of a project, finished",
            filter(mine, Some("finished"), None),
        ),
        (", timed out", filter(None, None, timed_out)),
        (" of a project, timed out", filter(mine, None, timed_out)),
    ]
}

pub(crate) async fn time_other_reads(
    store: &SqliteStore,
    builds: &[(PipelineId, BuildId)],
) -> Result<()> {
    let often = || 0..READS;
    timed(
        "last 50 pipelines with tallies",
        often().map(|_| store.pipelines(None, newest())),
    )
    .await?;
    timed("open work", often().map(|_| store.open_work())).await?;
    timed("last event", often().map(|_| store.last_event())).await?;
    let after = builds.len() as u64;
    timed(
        "100 events",
        often().map(|_| store.events(None, after, 100)),
    )
    .await?;
    let subjects: Vec<Subject> = builds
        .iter()
        .step_by((builds.len() / READS).max(1))
        .map(|(_, id)| Subject::Build(*id))
        .collect();
    timed(
        "events of a build",
        subjects
            .iter()
            .map(|subject| store.events(Some(subject), 0, 50)),
    )
    .await?;
    let begin = Timestamp::from_micros(0);
    let end = SystemClock.now() + Span::from_secs(86_400 * 30);
    for group in [
        CostGroup::Day,
        CostGroup::Project,
        CostGroup::Image,
        CostGroup::Pipeline,
        CostGroup::Build,
    ] {
        timed(
            &format!("all costs by {group:?}"),
            often().map(|_| store.costs(group, begin, end, 50)),
        )
        .await?;
    }
    Ok(())
}
