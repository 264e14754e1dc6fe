//! The process of ours: how it starts on what is outside of it, and how it dies.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use dormouse::clock::{Clock, IdSource, SteppedClock};
use dormouse::engine::{Desk, Engine, FrontDesk, Parts};
use dormouse::logs::Logs;
use dormouse::model::{PackId, Span, Timestamp};
use dormouse::provider::Provider;
use dormouse::provider::simulated::{Cloud, SimulatedProvider};
use dormouse::remote::simulated::{Ground, Host};
use dormouse::store::{SqliteStore, Store};
use object_store::memory::InMemory;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

use super::super::quiet::Quiet;
use super::super::store::WatchedStore;
use super::World;

/// One process of ours: gone with its memory when it is killed.
pub(super) struct Process {
    pub(super) runtime: Runtime,
    pub(super) quiet: Arc<Quiet>,
    pub(super) store: Arc<WatchedStore>,
    pub(super) logs: Logs,
    pub(super) desk: FrontDesk,
    pub(super) shutdown: CancellationToken,
}

/// What the machines stand on.
#[derive(Debug)]
pub(super) struct CloudGround {
    pub(super) cloud: Cloud,
    pub(super) clock: SteppedClock,
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
pub(super) fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

impl World {
    pub(super) fn start(&mut self) {
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
}
