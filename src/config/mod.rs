//! Port: what the operator set. The one place that reads environment variables and the
//! configuration file.
//!
//! Values come in layers, each over the one before: built-in default, `dormouse.yaml`, environment
//! (`DORMOUSE_…`), options of the command line. [`load`] reads all of them into one validated
//! [`Config`], or reports every problem at once, each with its place and with what would be
//! accepted. `settings` is the table of all settings. Callers: `cli` (loads), `app` (builds the
//! house from it).

use std::path::{Path, PathBuf};

mod ec2;
mod environment;
mod file;
mod kind;
mod layers;
mod problem;
mod reader;
mod settings;
mod show;
mod value;

pub use environment::Environment;
pub use file::find as find_file;
pub use layers::Flag;
pub use problem::{ConfigError, ConfigProblem, Source};
pub use show::{Effective, yaml};
pub use value::{
    AddressChoice, Authentication, Config, Ec2Config, EngineConfig, JumpAddress, JumpConfig,
    LocalConfig, LogConfig, LogFormat, LogsConfig, PipelineDefaults, ProvidersConfig, S3Config,
    S3Place, StoreConfig,
};

use layers::Layers;
use reader::Reader;

/// Where to look for settings.
#[derive(Debug)]
pub struct Sources<'a> {
    /// The configuration file; `None` for no file. See [`find_file`].
    pub file: Option<&'a Path>,
    /// Environment variables.
    pub environment: &'a Environment,
    /// Options of the command line.
    pub flags: &'a [Flag],
    /// The working directory, absolute.
    pub directory: &'a Path,
}

/// A configuration that is in order.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// The file they come from, if there was one.
    pub file: Option<PathBuf>,
    /// Every setting as text, with its source.
    pub effective: Vec<Effective>,
    /// What looks like a mistake but is not refused.
    pub warnings: Vec<String>,
}

/// Reads all sources into one configuration.
///
/// # Errors
/// [`ConfigError::Read`] when the file cannot be read, [`ConfigError::Invalid`] with every problem
/// of every source.
pub fn load(sources: &Sources<'_>) -> Result<Loaded, ConfigError> {
    let mut layers = Layers::default();
    if let Some(path) = sources.file {
        file::give_file(&mut layers, path)?;
    }
    layers.give_environment(sources.environment);
    layers.give_flags(sources.flags);
    let mut reader = Reader::new(layers, sources.directory, sources.environment);
    let config = build(&mut reader);
    match config {
        Some(config) if reader.problems.is_empty() => Ok(Loaded {
            config,
            file: sources.file.map(Path::to_owned),
            effective: show::effective(&reader.effective, &reader.keys()),
            warnings: layers::stray_variables(&reader.keys(), sources.environment),
        }),
        Some(_) | None => {
            reader.problems.sort();
            Err(ConfigError::Invalid(reader.problems))
        }
    }
}

/// Reads every setting, then puts the values together if there is one for each.
fn build(reader: &mut Reader) -> Option<Config> {
    let data_dir = reader.read(&settings::DATA_DIR);
    reader.data_directory_is(data_dir.as_ref());
    let listen = reader.read(&settings::LISTEN);
    let auth = reader.read(&settings::AUTH);
    let admin_token = reader.read(&settings::ADMIN_TOKEN);
    let store = reader.read(&settings::STORE_PATH);
    let logs = logs(reader);
    let providers = providers(reader);
    let engine = engine(reader);
    let pipelines = pipelines(reader);
    let (level, format) = (
        reader.read(&settings::LOG_LEVEL),
        reader.read(&settings::LOG_FORMAT),
    );
    if auth == Some(Authentication::Open) && listen.is_some_and(|at| !at.ip().is_loopback()) {
        reader.refuse(
            &settings::AUTH,
            "open is accepted only with `listen` on a loopback address, as in 127.0.0.1:8470",
        );
    }
    Some(Config {
        data_dir: data_dir?,
        listen: listen?,
        auth: auth?,
        admin_token,
        store: StoreConfig { path: store? },
        logs: logs?,
        providers: providers?,
        engine: engine?,
        pipelines: pipelines?,
        log: LogConfig {
            level: level?,
            format: format?,
        },
    })
}

fn logs(reader: &mut Reader) -> Option<LogsConfig> {
    let directory = reader.read(&settings::LOGS_DIRECTORY);
    let place = reader.read(&settings::LOGS_STORE);
    let endpoint_url = reader.read(&settings::LOGS_ENDPOINT_URL);
    let region = reader.read(&settings::LOGS_REGION);
    if !reader.is_given(settings::LOGS_STORE.key) {
        let beside = "means nothing without `logs.store`";
        if endpoint_url.is_some() {
            reader.refuse(&settings::LOGS_ENDPOINT_URL, beside);
        }
        if region.is_some() {
            reader.refuse(&settings::LOGS_REGION, beside);
        }
    }
    Some(LogsConfig {
        directory: directory?,
        s3: place.map(|place| S3Config {
            place,
            endpoint_url,
            region,
        }),
    })
}

fn providers(reader: &mut Reader) -> Option<ProvidersConfig> {
    let enabled = reader.read(&settings::LOCAL_ENABLED);
    let directory = reader.read(&settings::LOCAL_DIRECTORY);
    let ec2 = ec2::read(reader);
    let local = LocalConfig {
        directory: directory?,
    };
    Some(ProvidersConfig {
        local: enabled?.then_some(local),
        ec2: ec2?.into_iter().collect(),
    })
}

fn engine(reader: &mut Reader) -> Option<EngineConfig> {
    let sweep_interval = reader.read(&settings::SWEEP_INTERVAL);
    let lease = reader.read(&settings::LEASE);
    let connect_timeout = reader.read(&settings::CONNECT_TIMEOUT);
    let stop_grace = reader.read(&settings::STOP_GRACE);
    let shutdown_grace = reader.read(&settings::SHUTDOWN_GRACE);
    let capacity_wait = reader.read(&settings::CAPACITY_WAIT);
    let launch_failures = reader.read(&settings::LAUNCH_FAILURES);
    let launch_failure_cost = reader.read(&settings::LAUNCH_FAILURE_COST);
    let spot_interruptions = reader.read(&settings::SPOT_INTERRUPTIONS);
    let record_plans = reader.read(&settings::RECORD_PLANS);
    Some(EngineConfig {
        sweep_interval: sweep_interval?,
        lease: lease?,
        connect_timeout: connect_timeout?,
        stop_grace: stop_grace?,
        shutdown_grace: shutdown_grace?,
        capacity_wait: capacity_wait?,
        launch_failures: launch_failures?,
        launch_failure_cost: launch_failure_cost?,
        spot_interruptions: spot_interruptions?,
        record_plans: record_plans?,
    })
}

fn pipelines(reader: &mut Reader) -> Option<PipelineDefaults> {
    let timeout = reader.read(&settings::TIMEOUT);
    let log_limit_bytes = reader.read(&settings::LOG_LIMIT);
    let attempts = reader.read(&settings::ATTEMPTS);
    Some(PipelineDefaults {
        timeout: timeout?,
        log_limit_bytes: log_limit_bytes?,
        attempts: attempts?,
    })
}

#[cfg(test)]
mod tests;
