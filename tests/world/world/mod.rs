//! A world: an engine with a real store and real logs over simulated machines, and verbs to drive it.
//!
//! The verbs are plain functions; time stands still unless one moves it. Every world ends in the
//! same way: troubles stop, what is queued is finished, machines go, and the invariants are checked.

mod asking;
mod blows;
mod images;
mod looks;
mod process;

use std::sync::Arc;
use std::time::Duration;

use dormouse::clock::{Clock, SteppedClock};
use dormouse::engine::{NoPassLog, PassLog, Settings};
use dormouse::model::{Span, Timestamp};
use dormouse::provider::simulated::Cloud;
use dormouse::remote::simulated::SimulatedRemote;
use dormouse::store::Store;
use object_store::memory::InMemory;
use tempfile::TempDir;

use super::invariants;
use super::store::WatchedStore;
use process::{CloudGround, Process, directory};

pub(crate) use asking::{Submitted, submission};
pub(crate) use images::{ALPINE, BIGGER, DEBIAN, LINUX};
pub(crate) use looks::{is_idle, why_ended};

/// Real time after which a world that does not come to rest is broken.
const DEADLINE: Duration = Duration::from_mins(2);

/// 2026-01-01: any time will do, as long as it is always the same.
const EPOCH: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

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

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn store(&self) -> &WatchedStore {
        &self.process().store
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
