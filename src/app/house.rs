//! Puts the rooms together, and takes them down in order.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::{self, ApiParts, ApiState, AuthMode, Ended};
use crate::books::FailureBudget;
use crate::clock::{Clock, IdSource, SystemClock};
use crate::config::{Authentication, Config};
use crate::engine::{Desk, Engine, FrontDesk, Parts, Settings};
#[cfg(feature = "ec2")]
use crate::logs::Bucket;
use crate::logs::Logs;
use crate::model::{PackId, Span};
use crate::remote::Ssh;
use crate::spec::PipelineLimits;
use crate::store::{SqliteStore, Store};

use super::log_source::RoomSource;
use super::plan_folder::PlanFolder;
use super::providers::providers;

/// How often to look whether the engine is ready: it takes milliseconds.
const READY_LOOK: Span = Span::from_millis(5);

/// All rooms, ready to run.
#[derive(Debug)]
pub struct House {
    config: Config,
    engine: Arc<Engine>,
    store: Arc<SqliteStore>,
    logs: Logs,
    clock: Arc<dyn Clock>,
    /// Held as long as the house stands: two orchestrators on one data directory would undo each
    /// other's work.
    _lock: File,
}

/// A house that runs.
#[derive(Debug)]
pub struct Running {
    /// Where the API listens.
    pub address: SocketAddr,
    /// Ends it.
    pub shutdown: CancellationToken,
    /// What clients may ask, without HTTP.
    pub desk: FrontDesk,
    store: Arc<SqliteStore>,
    engine: JoinHandle<()>,
    api: JoinHandle<Ended>,
}

impl House {
    /// Opens the data directory and builds all rooms.
    ///
    /// # Errors
    /// When a part cannot be opened, or another orchestrator has the directory.
    pub async fn build(config: Config) -> anyhow::Result<Self> {
        let directory = &config.data_dir;
        create_private(directory)
            .with_context(|| format!("cannot create the data directory {}", directory.display()))?;
        let lock = lock(directory)?;
        let store = SqliteStore::open(&config.store.path)
            .await
            .with_context(|| format!("cannot open the database {}", config.store.path.display()))?;
        let store = Arc::new(store);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ids = Arc::new(IdSource::from_os());
        let logs = open_logs(&config, &clock, &ids)?;
        let engine = Engine::new(Parts {
            store: Arc::clone(&store) as Arc<dyn Store>,
            providers: providers(&config, &ids).await?,
            remote: Arc::new(Ssh::default()),
            logs: logs.clone(),
            clock: Arc::clone(&clock),
            ids,
            passes: Arc::new(PlanFolder::open(directory, config.engine.record_plans)?),
            settings: settings(&config),
        });
        Ok(Self {
            config,
            engine,
            store,
            logs,
            clock,
            _lock: lock,
        })
    }

    /// Starts the engine and the API.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn start(self, recorded: Option<PrometheusHandle>) -> anyhow::Result<Running> {
        let listen = self.config.listen;
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen}"))?;
        let address = listener
            .local_addr()
            .context("cannot learn the address listened on")?;
        let auth = match self.config.auth {
            Authentication::Required => AuthMode::Tokens,
            Authentication::Open => AuthMode::open(address)?,
        };
        let shutdown = CancellationToken::new();
        let desk = FrontDesk::new(Arc::clone(&self.engine));
        let store = Arc::clone(&self.store) as Arc<dyn Store>;
        let state = ApiState::new(ApiParts {
            desk: Arc::new(desk.clone()),
            store: Arc::clone(&store),
            logs: Arc::new(RoomSource::new(self.logs.clone(), store)),
            clock: Arc::clone(&self.clock),
            auth,
            newest_event: self.engine.commits(),
            recorded,
            shutdown: shutdown.clone(),
        });
        let grace = self.config.engine.shutdown_grace.to_std();
        let api = tokio::spawn(api::serve(
            listener,
            api::router(state),
            shutdown.clone(),
            grace,
        ));
        let store = Arc::clone(&self.store);
        let engine = tokio::spawn({
            let shutdown = shutdown.clone();
            async move {
                Arc::clone(&self.engine).run(shutdown).await;
                drop(self);
            }
        });
        Ok(Running {
            address,
            shutdown,
            desk,
            store,
            engine,
            api,
        })
    }
}

impl Running {
    /// Waits until the engine has loaded its state; without end as long as it cannot, which the
    /// engine itself reports.
    pub async fn ready(&self) {
        while !self.desk.is_ready() {
            SystemClock.sleep(READY_LOOK).await;
        }
    }

    /// Ends the API, then the engine, then the store. Machines and their builds go on.
    ///
    /// # Errors
    /// When a part did not end as it should.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        if self.api.await.context("the API broke")? == Ended::Cut {
            tracing::info!("connections were cut after the grace");
        }
        self.engine.await.context("the engine broke")?;
        self.store.close().await;
        Ok(())
    }
}

fn open_logs(config: &Config, clock: &Arc<dyn Clock>, ids: &Arc<IdSource>) -> anyhow::Result<Logs> {
    let (clock, ids) = (Arc::clone(clock), Arc::clone(ids));
    let new_pack = move || PackId::from_bits(ids.bits(clock.now()));
    #[cfg(feature = "ec2")]
    if let Some(s3) = &config.logs.s3 {
        let bucket = Bucket {
            name: s3.place.bucket.clone(),
            prefix: s3.place.prefix.clone(),
            region: s3.region.clone(),
            endpoint_url: s3.endpoint_url.clone(),
        };
        return Logs::on_s3(&bucket, new_pack).context("cannot open the log bucket");
    }
    #[cfg(not(feature = "ec2"))]
    if config.logs.s3.is_some() {
        anyhow::bail!("logs.store is a bucket, and this program was built without the feature ec2");
    }
    let directory = &config.logs.directory;
    Logs::on_disk(directory, new_pack)
        .with_context(|| format!("cannot open the log directory {}", directory.display()))
}

fn settings(config: &Config) -> Settings {
    Settings {
        sweep_interval: config.engine.sweep_interval,
        lease: config.engine.lease,
        connect_timeout: config.engine.connect_timeout,
        stop_grace: config.engine.stop_grace,
        pipeline_limits: PipelineLimits {
            default_timeout: config.pipelines.timeout,
            default_retries: config.pipelines.attempts.saturating_sub(1),
            default_log_bytes: config.pipelines.log_limit_bytes,
            ..PipelineLimits::default()
        },
        capacity_wait: config.engine.capacity_wait,
        failure_budget: FailureBudget {
            launches: config.engine.launch_failures,
            money: config.engine.launch_failure_cost,
        },
        spot_interruptions: config.engine.spot_interruptions,
    }
}

/// Keys and tokens live below: nobody else may look.
fn create_private(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

fn lock(directory: &Path) -> anyhow::Result<File> {
    let path = directory.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => bail!(
            "another dormouse serves from {}; stop it, or choose another data_dir",
            directory.display()
        ),
        Err(fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}
