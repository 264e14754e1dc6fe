//! A world: an engine with a real store and real logs over simulated machines, and verbs to drive it.
//!
//! The verbs are plain functions; time stands still unless one moves it. Every world ends in the
//! same way: troubles stop, what is queued is finished, machines go, and the invariants are checked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dormouse::books::Applied;
use dormouse::clock::{Clock, IdSource, SteppedClock};
use dormouse::engine::{
    Accepted, ApplyError, Declaration, Desk, DeskError, Engine, FrontDesk, NoPassLog, Parts,
    PassLog, Settings, StoreIndex, Submission,
};
use dormouse::logs::Logs;
use dormouse::model::{
    Attempt, AttemptId, Build, BuildId, BuildResult, BuildState, Change, Event, Machine, MachineId,
    MachineState, PackId, Policy, PolicySpec, Reason, Span, Subject, Timestamp,
};
use dormouse::planner::Explanation;
use dormouse::provider::Provider;
use dormouse::provider::simulated::{Cloud, SimulatedProvider, Which};
use dormouse::remote::Notice;
use dormouse::remote::simulated::{Ground, Host, SimulatedRemote};
use dormouse::store::{BuildFilter, Page, SqliteStore, Store};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::invariants;
use super::quiet::Quiet;
use super::store::WatchedStore;

/// An image with Python and a database, the dearer one.
pub(crate) const DEBIAN: &str = "
name: debian
provider: cloud
login: { user: builder }
shapes: [{ name: small, vcpus: 1, memory: 512MiB, price: 0.36 }]
capabilities: { os: debian, python: [3.11.9, 3.12.4], sqlite: 3.40.1, sh: true }
boot_timeout: 60s
";

/// An image with a shell, the cheapest one.
pub(crate) const ALPINE: &str = "
name: alpine
provider: cloud
login: { user: builder }
shapes: [{ name: tiny, vcpus: 1, memory: 256MiB, price: 0.18 }]
capabilities: { os: alpine, sh: true }
boot_timeout: 60s
";

/// An image whose provider knows what it sells: two sizes in two zones on both markets, at 0.36 and
/// 0.72 $/h, spare capacity at half of that.
pub(crate) const LINUX: &str = "
name: linux
provider: cloud
login: { user: builder }
shapes: { types: [small, large] }
capabilities: { os: linux, sh: true }
boot_timeout: 60s
";

/// The same under another name, dearer: what is left when there is nothing for the first.
pub(crate) const BIGGER: &str = "
name: linux-big
provider: cloud
login: { user: builder }
shapes: { types: [medium] }
capabilities: { os: linux, sh: true, big: true }
boot_timeout: 60s
";

/// Real time after which a world that does not come to rest is broken.
const DEADLINE: Duration = Duration::from_mins(2);
/// 2026-01-01: any time will do, as long as it is always the same.
const EPOCH: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// One process of ours: gone with its memory when it is killed.
struct Process {
    runtime: Runtime,
    quiet: Arc<Quiet>,
    store: Arc<WatchedStore>,
    logs: Logs,
    desk: FrontDesk,
    shutdown: CancellationToken,
}

/// What survives it, and what is outside of it.
pub(crate) struct World {
    process: Option<Process>,
    pub(crate) clock: SteppedClock,
    pub(crate) cloud: Cloud,
    pub(crate) remote: SimulatedRemote,
    blobs: Arc<InMemory>,
    directory: TempDir,
    seed: u64,
    processes: u64,
    /// Whether the provider has a fleet, and sleep.
    pub(crate) has_fleet: bool,
    pub(crate) settings: Settings,
    /// Where passes of the planner are kept from the next start on.
    pub(crate) passes: Arc<dyn PassLog>,
}

/// What the machines stand on.
#[derive(Debug)]
struct CloudGround {
    cloud: Cloud,
    clock: SteppedClock,
}

#[async_trait]
impl Ground for CloudGround {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn sleep(&self, span: Span) {
        self.clock.sleep(span).await;
    }

    fn host(&self, address: SocketAddr) -> Option<Host> {
        let host = self.cloud.host(address)?;
        Some(Host {
            name: host.instance.0,
            host_public: host.host_public,
            client_private: host.client_private,
            boot: host.boot,
            up_since: host.up_since,
        })
    }

    fn extend_lease(&self, address: SocketAddr, lease: Span) {
        self.cloud.extend_lease(address, lease);
    }
}

/// Where the database lies: in memory if that can be had, since no power is cut here.
fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

pub(crate) const fn secs(secs: u64) -> Span {
    Span::from_secs(secs)
}

impl World {
    /// A world with the two usual images.
    pub(crate) fn new() -> Self {
        Self::with_images(&[DEBIAN, ALPINE])
    }

    pub(crate) fn with_images(images: &[&str]) -> Self {
        Self::from_seed(1, images)
    }

    /// A world whose provider has a fleet, and sleep.
    pub(crate) fn with_fleet(images: &[&str]) -> Self {
        Self::of_kind(1, images, true, Settings::default())
    }

    pub(crate) fn with_settings(images: &[&str], settings: Settings) -> Self {
        Self::of_kind(1, images, true, settings)
    }

    pub(crate) fn from_seed(seed: u64, images: &[&str]) -> Self {
        Self::of_kind(seed, images, false, Settings::default())
    }

    pub(crate) fn of_kind(seed: u64, images: &[&str], has_fleet: bool, settings: Settings) -> Self {
        // Shown for failed tests only; an earlier world may have set it up.
        let _ = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_test_writer()
            .try_init();
        let clock = SteppedClock::new(EPOCH);
        let hands = clock.clone();
        let cloud = Cloud::new(move || hands.now());
        let ground = CloudGround {
            cloud: cloud.clone(),
            clock: clock.clone(),
        };
        let mut world = Self {
            process: None,
            clock,
            cloud,
            remote: SimulatedRemote::new(Arc::new(ground)),
            blobs: Arc::new(InMemory::new()),
            directory: directory(),
            seed,
            processes: 0,
            has_fleet,
            settings,
            passes: Arc::new(NoPassLog),
        };
        world.start();
        world.apply_images(images);
        world
    }

    fn start(&mut self) {
        self.begin();
        self.settle();
        assert!(self.process().desk.is_ready(), "the engine did not start");
    }

    /// Starts a process that has not done anything yet.
    fn begin(&mut self) {
        self.processes += 1;
        let quiet = Arc::new(Quiet::default());
        let hook = Arc::clone(&quiet);
        let runtime = Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || hook.parked())
            .build()
            .unwrap();
        let ids = IdSource::from_seed(self.seed * 1_000 + self.processes);
        let ids = Arc::new(ids);
        let (path, blobs) = (self.database(), Arc::clone(&self.blobs));
        let (store, logs) = runtime.block_on(async {
            let store = SqliteStore::open(&path).await.unwrap();
            (store, self.open_logs(blobs, &ids))
        });
        let store = Arc::new(WatchedStore::new(store, Arc::clone(&quiet)));
        let provider = if self.has_fleet {
            SimulatedProvider::with_fleet("cloud", self.cloud.clone())
        } else {
            SimulatedProvider::new("cloud", self.cloud.clone())
        };
        let providers: BTreeMap<String, Arc<dyn Provider>> =
            BTreeMap::from([("cloud".to_owned(), Arc::new(provider) as Arc<dyn Provider>)]);
        let context = runtime.enter();
        let engine = Engine::new(Parts {
            store: Arc::clone(&store) as Arc<dyn Store>,
            providers,
            remote: Arc::new(self.remote.clone()),
            logs: logs.clone(),
            clock: Arc::new(self.clock.clone()),
            ids,
            passes: Arc::clone(&self.passes),
            settings: self.settings.clone(),
        });
        drop(context);
        let shutdown = CancellationToken::new();
        runtime.spawn(Arc::clone(&engine).run(shutdown.clone()));
        self.process = Some(Process {
            runtime,
            quiet,
            store,
            logs,
            desk: FrontDesk::new(engine),
            shutdown,
        });
    }

    fn open_logs(&self, blobs: Arc<InMemory>, ids: &Arc<IdSource>) -> Logs {
        let (ids, clock) = (Arc::clone(ids), self.clock.clone());
        Logs::open(blobs, move || PackId::from_bits(ids.bits(clock.now())))
    }

    fn database(&self) -> PathBuf {
        self.directory.path().join("state.db")
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("the process runs")
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.process().runtime.block_on(async {
            tokio::time::timeout(DEADLINE, future)
                .await
                .expect("an answer before the deadline")
        })
    }

    /// Lets everything happen that happens at this moment.
    pub(crate) fn settle(&self) {
        let quiet = Arc::clone(&self.process().quiet);
        self.wait(quiet.reached());
    }

    /// Lets `span` pass, with everything that happens in it at its time.
    pub(crate) fn advance(&self, span: Span) {
        let target = self.now() + span;
        self.settle();
        while let Some(at) = self.clock.next_wake().filter(|at| *at <= target) {
            self.clock.advance_to(at);
            self.settle();
        }
        self.clock.advance_to(target);
        self.settle();
    }

    /// Lets time pass until `there` says so.
    pub(crate) fn until(&self, what: &str, within: Span, mut there: impl FnMut(&Self) -> bool) {
        let deadline = self.now() + within;
        self.settle();
        while !there(self) {
            let next = self.clock.next_wake().filter(|at| *at <= deadline);
            let Some(at) = next else {
                panic!("not within {within}: {what}\n{}", self.picture());
            };
            self.clock.advance_to(at);
            self.settle();
        }
    }

    /// Lets time pass until every build has its result.
    pub(crate) fn until_done(&self) {
        self.until("every build is finished", secs(4 * 3_600), |world| {
            let open = world.read(async |store| store.open_builds().await);
            open.unwrap().is_empty()
        });
    }

    /// Kills the process in the middle of whatever it does, and starts another one.
    pub(crate) fn kill_and_restart(&mut self) {
        self.kill();
        self.start();
    }

    /// Kills the process and begins another one, which has not come to load its state.
    pub(crate) fn kill_and_begin(&mut self) {
        self.kill();
        self.begin();
    }

    /// Kills the process: nothing in it is asked or told.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Lets time pass while no process runs.
    pub(crate) fn advance_dead(&mut self, span: Span) {
        assert!(self.process.is_none(), "the process runs");
        self.clock.advance(span);
    }

    pub(crate) fn restart(&mut self) {
        self.start();
    }

    /// Ends the process in order and starts another one.
    pub(crate) fn shut_down_and_restart(&mut self) {
        let process = self.process();
        process.shutdown.cancel();
        self.settle();
        let store = Arc::clone(&self.process().store);
        self.wait(store.close());
        self.kill_and_restart();
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn store(&self) -> &WatchedStore {
        &self.process().store
    }

    pub(crate) fn apply_images(&self, images: &[&str]) -> Vec<Applied> {
        let texts = images.iter().map(|text| (*text).to_owned());
        self.apply(texts.map(Declaration::Image).collect()).unwrap()
    }

    pub(crate) fn apply_policy(&self, text: &str) {
        self.apply(vec![Declaration::Policy(text.to_owned())])
            .unwrap();
    }

    /// Puts a policy into the store as it is, and starts another process that finds it there.
    pub(crate) fn lay_down(&mut self, spec: PolicySpec) {
        let policy = Policy {
            name: "laid-down".to_owned(),
            version: 1,
            spec,
            applied_at: self.now(),
            rev: 0,
        };
        let written = self.store().commit(vec![Change::InsertPolicy(policy)]);
        self.wait(written).unwrap();
        self.kill_and_restart();
    }

    pub(crate) fn apply(&self, declarations: Vec<Declaration>) -> Result<Vec<Applied>, ApplyError> {
        let applied = self.wait(self.desk().apply(declarations));
        self.settle();
        applied
    }

    pub(crate) fn remove_image(&self, name: &str) {
        self.wait(self.desk().remove_image(name, "ada")).unwrap();
        self.settle();
    }

    pub(crate) fn desk(&self) -> &FrontDesk {
        &self.process().desk
    }

    /// Asks the desk, and lets happen what follows at once.
    pub(crate) fn ask<T>(&self, question: impl AsyncFnOnce(&FrontDesk) -> T) -> T {
        let answer = self.wait(question(self.desk()));
        self.settle();
        answer
    }

    /// Asks the desk before anything else can happen.
    pub(crate) fn ask_at_once<T>(&self, question: impl AsyncFnOnce(&FrontDesk) -> T) -> T {
        self.wait(question(self.desk()))
    }

    pub(crate) fn submit(&self, document: &str) -> Submitted {
        Submitted::from(self.try_submit(document, None).unwrap())
    }

    pub(crate) fn try_submit(
        &self,
        document: &str,
        key: Option<&str>,
    ) -> Result<Accepted, DeskError> {
        let submission = submission(document, key);
        self.ask(async |desk| desk.submit(submission).await)
    }

    /// Queues a build of one step.
    pub(crate) fn submit_one(&self, requires: &str, run: &str) -> BuildId {
        let run = run.replace('\n', "\n          ");
        let submitted = self.submit(&format!(
            "name: one\nbuilds:\n  one:\n    requires: {{ {requires} }}\n    steps:\n      \
             - |\n          {run}\n"
        ));
        submitted.id("one")
    }

    pub(crate) fn cancel(&self, build: BuildId) {
        self.ask(async |desk| desk.cancel_build(build, "ada").await)
            .unwrap();
    }

    pub(crate) fn explain(&self, build: BuildId) -> Explanation {
        self.ask(async |desk| desk.explain(build).await).unwrap()
    }

    pub(crate) fn builds(&self) -> Vec<Build> {
        let page = Page {
            before: None,
            limit: 10_000,
        };
        self.wait(self.store().builds(&BuildFilter::default(), page))
            .unwrap()
    }

    pub(crate) fn build(&self, id: BuildId) -> Build {
        self.wait(self.store().build(id)).unwrap().unwrap()
    }

    pub(crate) fn word(&self, id: BuildId) -> &'static str {
        self.build(id).state.word()
    }

    /// A build's result and the reason for it.
    pub(crate) fn result(&self, id: BuildId) -> (BuildResult, String) {
        match self.build(id).state {
            BuildState::Finished { result, reason, .. } => (result, reason),
            state @ (BuildState::Waiting
            | BuildState::Queued { .. }
            | BuildState::Bound { .. }
            | BuildState::Running { .. }) => {
                panic!("{id} is {}\n{}", state.word(), self.picture())
            }
        }
    }

    pub(crate) fn attempts(&self, build: BuildId) -> Vec<Attempt> {
        self.wait(self.store().attempts(build)).unwrap()
    }

    /// The machine and attempt that a build is bound to.
    pub(crate) fn binding(&self, build: BuildId) -> (MachineId, AttemptId) {
        let state = self.build(build).state;
        state
            .binding()
            .unwrap_or_else(|| panic!("{build} is {}", state.word()))
    }

    /// Machines that are not gone.
    pub(crate) fn machines(&self) -> Vec<Machine> {
        self.machines_with(false)
    }

    pub(crate) fn all_machines(&self) -> Vec<Machine> {
        self.machines_with(true)
    }

    fn machines_with(&self, gone: bool) -> Vec<Machine> {
        let page = Page {
            before: None,
            limit: 10_000,
        };
        self.wait(self.store().machines(gone, page)).unwrap()
    }

    pub(crate) fn machine(&self, id: MachineId) -> Machine {
        self.wait(self.store().machine(id)).unwrap().unwrap()
    }

    /// Lets time pass until a build stands where `word` says.
    pub(crate) fn until_word(&self, id: BuildId, word: &str) {
        self.until(&format!("{id} is {word}"), secs(3_600), |world| {
            world.word(id) == word
        });
    }

    pub(crate) fn events(&self, subject: Option<&Subject>) -> Vec<Event> {
        let events = self.store().events(subject, 0, 100_000);
        let events = self.wait(events).unwrap();
        events.into_iter().map(|(_, event)| event).collect()
    }

    /// The log of an attempt as it is at home.
    pub(crate) fn log_of(&self, attempt: AttemptId) -> Vec<u8> {
        let store = Arc::clone(&self.process().store) as Arc<dyn Store>;
        let index = Arc::new(StoreIndex::new(store));
        let stream = self.process().logs.read(attempt, index, 0, u64::MAX);
        let chunks: Vec<bytes::Bytes> = self.wait(stream.try_collect()).unwrap();
        chunks.concat()
    }

    /// The log of a build's last attempt, as text.
    pub(crate) fn log(&self, build: BuildId) -> String {
        let attempt = self.attempts(build).pop().expect("an attempt");
        String::from_utf8(self.log_of(attempt.id)).unwrap()
    }

    /// Waits for an answer of the store.
    pub(crate) fn read<T>(&self, question: impl AsyncFnOnce(&WatchedStore) -> T) -> T {
        self.wait(question(self.store()))
    }

    pub(crate) fn cut_connections(&self) -> usize {
        let cut = self.remote.cut(None);
        self.settle();
        cut
    }

    /// Takes a machine's instance away, with its connections.
    pub(crate) fn vanish(&self, machine: MachineId) {
        let which = self.which(machine);
        let address = self.cloud.address(which.clone());
        assert!(self.cloud.vanish(which), "{machine} has no instance");
        self.remote.cut(address);
        self.settle();
    }

    /// Boots a machine's instance again, which cuts its connections.
    pub(crate) fn reboot(&self, machine: MachineId) {
        let which = self.which(machine);
        let address = self.cloud.address(which.clone());
        assert!(
            self.cloud.reboot(which, secs(10)),
            "{machine} has no instance"
        );
        self.remote.cut(address);
        self.settle();
    }

    /// A machine's instance, as the cloud knows it.
    pub(crate) fn which(&self, machine: MachineId) -> Which {
        if !self.has_fleet {
            return Which::Machine(machine);
        }
        let machine = self.machine(machine);
        let instance = machine.state.instance();
        let instance = instance.unwrap_or_else(|| panic!("{} has no instance", machine.id));
        Which::Instance(instance.clone())
    }

    /// The provider takes a machine back. With a notice, the machine itself learns of it.
    pub(crate) fn reclaim(&self, machine: MachineId, notice: Option<Span>) {
        let which = self.which(machine);
        let address = self.cloud.address(which.clone());
        assert!(self.cloud.reclaim(which, notice), "{machine} is not there");
        match (notice, address) {
            (Some(span), Some(address)) => {
                let notice = Notice {
                    action: "terminate".to_owned(),
                    at: self.now() + span,
                };
                self.remote.give_notice(address, notice);
            }
            (None, Some(_)) => {
                self.remote.cut(address);
            }
            (_, None) => {}
        }
        self.settle();
    }

    /// The messages of all events about something.
    pub(crate) fn messages(&self, subject: &Subject) -> Vec<String> {
        let events = self.events(Some(subject)).into_iter();
        events.map(|event| event.message).collect()
    }

    /// Whether something was said about an image.
    pub(crate) fn image_says(&self, image: &str, words: &str) -> bool {
        let messages = self.messages(&Subject::Image(image.to_owned()));
        messages.iter().any(|message| message.contains(words))
    }

    /// Where everything stands, for messages of failed tests.
    pub(crate) fn picture(&self) -> String {
        let mut lines = vec![format!("at {}", self.now())];
        for build in self.builds() {
            lines.push(format!(
                "{} {:?}: {:?}",
                build.id, build.spec.name, build.state
            ));
        }
        for machine in self.machines() {
            lines.push(format!("{} {:?}", machine.id, machine.state));
        }
        for life in self.cloud.alive() {
            lines.push(format!("{life:?}"));
        }
        let events = self.events(None);
        for event in &events[events.len().saturating_sub(30)..] {
            lines.push(format!(
                "{} {:?} {}: {}",
                event.at,
                event.subject,
                event.kind.word(),
                event.message
            ));
        }
        lines.join("\n")
    }

    /// Ends all troubles, lets everything come to its end, and checks the invariants.
    pub(crate) fn wind_down(&mut self) {
        if self.process.is_none() {
            self.restart();
        }
        self.cloud.calm();
        self.remote.calm();
        self.store().calm();
        self.until_done();
        self.until("every machine is gone", secs(3 * 3_600), |world| {
            world.cloud.alive().is_empty() && world.machines().is_empty()
        });
        // One more sweep, so that what is found late is found now.
        self.advance(secs(60));
        invariants::check(self);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.wind_down();
        }
    }
}

/// A pipeline that was taken.
pub(crate) struct Submitted {
    pub(crate) accepted: Accepted,
}

impl From<Accepted> for Submitted {
    fn from(accepted: Accepted) -> Self {
        Self { accepted }
    }
}

impl Submitted {
    /// The build of this name.
    pub(crate) fn id(&self, name: &str) -> BuildId {
        let found = self.accepted.builds.iter().find(|b| b.spec.name == name);
        found
            .unwrap_or_else(|| panic!("no build {name:?} in {:?}", self.names()))
            .id
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        let builds = self.accepted.builds.iter();
        builds.map(|build| build.spec.name.as_str()).collect()
    }
}

pub(crate) fn submission(document: &str, key: Option<&str>) -> Submission {
    Submission {
        document: document.to_owned(),
        idempotency_key: key.map(str::to_owned),
        submitted_by: "ada".to_owned(),
    }
}

/// Why a machine is ended, if it is.
pub(crate) fn why_ended(machine: &Machine) -> Option<Reason> {
    match &machine.state {
        MachineState::Draining { reason, .. } | MachineState::Gone { reason } => {
            Some(reason.clone())
        }
        MachineState::Intended { .. }
        | MachineState::Booting { .. }
        | MachineState::Idle { .. }
        | MachineState::Busy { .. }
        | MachineState::FallingAsleep { .. }
        | MachineState::Asleep { .. }
        | MachineState::Waking { .. } => None,
    }
}

/// Whether a machine stands idle.
pub(crate) const fn is_idle(machine: &Machine) -> bool {
    matches!(machine.state, MachineState::Idle { .. })
}
