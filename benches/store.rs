//! Times the embedded store: `cargo bench --bench store -- [life|history|all] [builds]
//! [at once]`.
//!
//! `life` takes builds through their whole lives (insert, bind, run, finish: 18 changes in four
//! commits), one after the other and many at once. `history` fills a database with finished builds
//! and times what a person looks at. Times are of this process on this disk: compare ratios.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use dormouse::clock::{Clock, IdSource, SystemClock};
use dormouse::model::{
    Attempt, AttemptId, AttemptState, Build, BuildId, BuildResult, BuildSpec, BuildState, Category,
    Change, Cursor, Endpoint, Entry, Event, EventKind, Extent, InstanceId, LineMark, Machine,
    MachineId, MachineState, Market, Money, Outcome, PackId, Pipeline, PipelineId, Rate, Shape,
    Span, Step, StepRecord, Subject, Timestamp,
};
use dormouse::store::{BuildFilter, CostGroup, Page, SqliteStore, Store};
use futures::stream::{self, StreamExt, TryStreamExt};

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let which = words.first().map_or("all", String::as_str);
    let count: Option<u32> = words.get(1).map(|n| n.parse()).transpose()?;
    let at_once: Option<u32> = words.get(2).map(|n| n.parse()).transpose()?;
    let directory = tempfile::tempdir()?;
    tokio::runtime::Runtime::new()?.block_on(async {
        if which != "history" {
            for at_once in at_once.map_or_else(|| vec![1, 4, 16, 64], |n| vec![n]) {
                let path = directory.path().join(format!("life-{at_once}"));
                life(&path, at_once, count.unwrap_or(2_000)).await?;
            }
        }
        if which != "life" {
            history(&directory.path().join("history"), count.unwrap_or(100_000)).await?;
        }
        Ok(())
    })
}

/// Processor time of this process so far, in microseconds.
fn processor_micros() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("no process name")?;
    // Fields 14 and 15 of the file, in ticks of 10 ms.
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.map(|ticks| Ok(ticks.parse::<u64>()? * 10_000)).sum()
}

fn micros_since(begin: Timestamp) -> u64 {
    SystemClock.now().since(begin).micros()
}

/// Identities and times for made-up builds.
struct Maker {
    ids: IdSource,
    begin: Timestamp,
}

impl Maker {
    fn new() -> Self {
        Self {
            ids: IdSource::from_seed(7),
            begin: SystemClock.now(),
        }
    }

    /// The `n`th build, its pipeline and its one attempt.
    fn life(&self, n: u32, machine: &Machine) -> Life {
        let at = self.begin + Span::from_millis(u64::from(n) * 10);
        let pipeline = Pipeline {
            id: PipelineId::from_bits(self.ids.bits(at)),
            name: "nightly".to_owned(),
            project: format!("project-{}", n % 7),
            labels: [("team".to_owned(), "core".to_owned())].into(),
            priority: 0,
            submitted_at: at,
            submitted_by: "ci".to_owned(),
            idempotency: Some((format!("key-{}", self.ids.bits(at)), "0".repeat(64))),
            builds: 1,
        };
        let step = |name: &str| Step {
            name: name.to_owned(),
            run: "set -e\n./configure --prefix=/usr\nmake -j2\nmake check\n".to_owned(),
            env: [("PYTHON".to_owned(), "3.12".to_owned())].into(),
            timeout: Some(Span::from_secs(600)),
            continue_on_error: false,
            always: false,
        };
        let spec = BuildSpec {
            pipeline: pipeline.id,
            name: format!("test (3.12, sqlite, {n})"),
            project: pipeline.project.clone(),
            labels: pipeline.labels.clone(),
            priority: 0,
            matrix: [("db".to_owned(), "sqlite".to_owned())].into(),
            requires: [].into(),
            image: None,
            fresh: false,
            deadline: None,
            needs: Vec::new(),
            steps: ["fetch", "compile", "test"].map(step).to_vec(),
            env: [("CI".to_owned(), "true".to_owned())].into(),
            timeout: Span::from_secs(3_600),
            max_attempts: 2,
            log_limit_bytes: 64 << 20,
            submitted_at: at,
        };
        let build = Build {
            id: BuildId::from_bits(self.ids.bits(at)),
            spec: Arc::new(spec),
            state: BuildState::Queued {
                since: at,
                not_before: at,
            },
            attempts: 0,
            spared: 0,
            cancel: None,
            rev: 0,
        };
        Life {
            attempt: AttemptId::from_bits(self.ids.bits(at)),
            pack: PackId::from_bits(self.ids.bits(at)),
            result: match n % 10 {
                0 => BuildResult::Failure,
                1 if n % 100 == 1 => BuildResult::TimedOut,
                _ => BuildResult::Success,
            },
            pipeline,
            build,
            machine: machine.clone(),
            at,
        }
    }

    fn machine(&self) -> Machine {
        Machine {
            id: MachineId::from_bits(self.ids.bits(self.begin)),
            image: "debian".to_owned(),
            image_version: 1,
            provider: "local".to_owned(),
            shape: Shape {
                name: "small".to_owned(),
                vcpus: 2,
                memory_mib: 4_096,
                price_usd_micro_per_hour: Rate::from_micros_per_hour(41_600),
            },
            zone: String::new(),
            market: Market::OnDemand,
            asleep_usd_micro_per_hour: Rate::default(),
            launch: None,
            tariff: None,
            project: None,
            at_most: None,
            billing: dormouse::model::Billing::default(),
            boot: None,
            launched_for: None,
            state: MachineState::Idle {
                instance: InstanceId("i-1".to_owned()),
                endpoint: Endpoint {
                    address: ([127, 0, 0, 1], 22).into(),
                },
            },
            since: self.begin,
            created_at: self.begin,
            builds_done: 0,
            billed_until: self.begin,
            billed: Money::ZERO,
            hold: None,
            rev: 0,
        }
    }
}

/// A build, and what its life needs.
struct Life {
    pipeline: Pipeline,
    build: Build,
    attempt: AttemptId,
    pack: PackId,
    machine: Machine,
    result: BuildResult,
    at: Timestamp,
}

impl Life {
    fn event(&self, kind: EventKind) -> Change {
        Change::AppendEvent(Event {
            at: self.at,
            subject: Subject::Build(self.build.id),
            kind,
            message: format!("{} went on", self.build.spec.name),
        })
    }

    fn insert(&self) -> Vec<Change> {
        vec![
            Change::InsertPipeline(self.pipeline.clone()),
            Change::InsertBuild(self.build.clone()),
            self.event(EventKind::BuildQueued),
        ]
    }

    fn bind(&mut self) -> Result<Vec<Change>> {
        self.build.enter(BuildState::Bound {
            machine: self.machine.id,
            attempt: self.attempt,
            since: self.at,
        })?;
        let MachineState::Idle { instance, endpoint } = self.machine.state.clone() else {
            anyhow::bail!("the machine is not idle");
        };
        let read = self.machine.rev;
        let claim = (self.build.id, self.attempt);
        let busy = MachineState::Busy {
            instance,
            endpoint,
            claims: claim.into(),
            ends: None,
        };
        self.machine.enter(busy, self.at)?;
        Ok(vec![
            Change::UpdateBuild(self.build.clone(), self.build.rev - 1),
            Change::InsertAttempt(self.new_attempt()),
            Change::UpdateMachine(self.machine.clone(), read),
            self.event(EventKind::BuildBound),
        ])
    }

    fn new_attempt(&self) -> Attempt {
        Attempt {
            id: self.attempt,
            build: self.build.id,
            number: 1,
            machine: self.machine.id,
            bound_at: self.at,
            state: AttemptState::Bound,
            steps: Vec::new(),
            cursor: Cursor::default(),
            rev: 0,
        }
    }

    fn start(&mut self, attempt: &mut Attempt) -> Result<Vec<Change>> {
        self.build.enter(BuildState::Running {
            machine: self.machine.id,
            attempt: self.attempt,
            since: self.at,
        })?;
        attempt.enter(AttemptState::Running { since: self.at })?;
        Ok(vec![
            Change::UpdateBuild(self.build.clone(), self.build.rev - 1),
            Change::UpdateAttempt(attempt.clone(), 0),
            self.event(EventKind::BuildStarted),
        ])
    }

    fn finish(&mut self, mut attempt: Attempt) -> Result<Vec<Change>> {
        self.build.enter(BuildState::Finished {
            result: self.result,
            reason: String::new(),
            started_at: Some(self.at),
            at: self.at,
        })?;
        attempt.enter(AttemptState::Finished {
            outcome: Outcome::Exited(0),
            at: self.at,
        })?;
        attempt.steps = (0..3).map(|index| self.step(index)).collect();
        let MachineState::Busy {
            instance, endpoint, ..
        } = self.machine.state.clone()
        else {
            anyhow::bail!("the machine is not busy");
        };
        let read = self.machine.rev;
        self.machine
            .enter(MachineState::Idle { instance, endpoint }, self.at)?;
        Ok(vec![
            Change::UpdateBuild(self.build.clone(), self.build.rev - 1),
            Change::UpdateAttempt(attempt, 1),
            Change::UpdateMachine(self.machine.clone(), read),
            Change::InsertExtent(self.extent()),
            self.entry(Category::Work),
            self.entry(Category::Idle),
            self.event(EventKind::BuildFinished),
            self.event(EventKind::BuildQueued),
        ])
    }

    fn step(&self, index: u32) -> StepRecord {
        StepRecord {
            index,
            started_at: self.at,
            ended_at: Some(self.at),
            exit_code: Some(0),
            log_start: 0,
            log_end: Some(400),
        }
    }

    fn extent(&self) -> Extent {
        Extent {
            attempt: self.attempt,
            start: 0,
            len: 400,
            pack: self.pack,
            frame_start: 0,
            frame_len: 100,
            marks: vec![LineMark {
                offset: 0,
                at: self.at,
            }],
        }
    }

    fn entry(&self, category: Category) -> Change {
        let build = (category == Category::Work).then_some(&self.build);
        Change::AppendEntry(Entry {
            machine: self.machine.id,
            image: self.machine.image.clone(),
            build: build.map(|build| build.id),
            attempt: build.map(|_| self.attempt),
            pipeline: build.map(|build| build.spec.pipeline),
            project: build.map(|build| build.spec.project.clone()),
            category,
            from: self.at,
            to: self.at + Span::from_secs(3),
            amount: Money::from_micros(34),
        })
    }
}

/// Takes `count` builds through their lives, `at_once` of them at a time, each on its machine.
async fn life(path: &Path, at_once: u32, count: u32) -> Result<()> {
    let store = SqliteStore::open(path).await?;
    let maker = Maker::new();
    let machines: Vec<Machine> = (0..at_once).map(|_| maker.machine()).collect();
    let inserts = machines.iter().cloned().map(Change::InsertMachine);
    store.commit(inserts.collect()).await?;
    let (begin, processor) = (SystemClock.now(), processor_micros()?);
    let waits: Vec<Vec<u64>> = stream::iter(machines)
        .map(|machine| on_one_machine(&store, &maker, machine, count / at_once))
        .buffer_unordered(usize::try_from(at_once)?)
        .try_collect()
        .await?;
    let micros = micros_since(begin);
    let processor = processor_micros()? - processor;
    let waits = waits.concat();
    let builds = u64::try_from(waits.len())? / 4;
    println!(
        "life: {at_once:>2} at once: {:>5} builds/s, {:>5} us of processor per build, commit {}",
        builds * 1_000_000 / micros,
        processor / builds,
        percentiles(waits),
    );
    store.close().await;
    Ok(())
}

async fn on_one_machine(
    store: &SqliteStore,
    maker: &Maker,
    mut machine: Machine,
    count: u32,
) -> Result<Vec<u64>> {
    let mut waits = Vec::new();
    for n in 0..count {
        let mut life = maker.life(n, &machine);
        timed_commit(store, life.insert(), &mut waits).await?;
        timed_commit(store, life.bind()?, &mut waits).await?;
        let mut attempt = life.new_attempt();
        timed_commit(store, life.start(&mut attempt)?, &mut waits).await?;
        timed_commit(store, life.finish(attempt)?, &mut waits).await?;
        machine = life.machine;
    }
    Ok(waits)
}

async fn timed_commit(
    store: &SqliteStore,
    changes: Vec<Change>,
    waits: &mut Vec<u64>,
) -> Result<()> {
    let begin = SystemClock.now();
    store.commit(changes).await?;
    waits.push(micros_since(begin));
    Ok(())
}

fn percentiles(mut waits: Vec<u64>) -> String {
    waits.sort_unstable();
    let at = |percent: usize| waits.get(waits.len() * percent / 100).copied();
    format!(
        "p50 {} us, p99 {} us",
        at(50).unwrap_or(0),
        at(99).unwrap_or(0)
    )
}

/// Builds in one commit while filling the database.
const CHUNK: u32 = 500;

/// Fills a database with `count` finished builds and times reads.
async fn history(path: &Path, count: u32) -> Result<()> {
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
fn as_written_at_last(change: Change) -> Option<Change> {
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

async fn timed<T>(
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
fn newest<Id>() -> Page<Id> {
    Page {
        before: None,
        limit: 50,
    }
}

async fn time_reads(store: &SqliteStore, builds: &[(PipelineId, BuildId)]) -> Result<()> {
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

fn filters(builds: &[(PipelineId, BuildId)]) -> [(&'static str, BuildFilter); 8] {
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

async fn time_other_reads(store: &SqliteStore, builds: &[(PipelineId, BuildId)]) -> Result<()> {
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
