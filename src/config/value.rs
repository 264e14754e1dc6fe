//! The validated configuration, as the rest of the house sees it.

use std::net::SocketAddr;
use std::path::PathBuf;

use tracing_subscriber::filter::Targets;

use crate::model::{Secret, Span};

/// Everything an operator may set, validated. `settings` documents each field.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where everything lives that must survive a restart.
    pub data_dir: PathBuf,
    /// Address and port of the HTTP API.
    pub listen: SocketAddr,
    /// Whether requests need a token.
    pub auth: Authentication,
    /// A token accepted as admin.
    pub admin_token: Option<Secret>,
    /// The durable state.
    pub store: StoreConfig,
    /// Where build logs go.
    pub logs: LogsConfig,
    /// Where machines come from.
    pub providers: ProvidersConfig,
    /// Timing of the engine.
    pub engine: EngineConfig,
    /// What pipelines get when their document does not say.
    pub pipelines: PipelineDefaults,
    /// What the server says about itself.
    pub log: LogConfig,
}

/// In the data directory: the admin token that a server makes when it starts for the first time,
/// readable by its own user only. The command line on the same host finds it there.
const ADMIN_TOKEN_FILE: &str = "admin-token";

impl Config {
    /// Where the server leaves the first admin token, mode 0600, and where the command line looks
    /// for it when it is given none.
    pub fn admin_token_file(&self) -> PathBuf {
        self.data_dir.join(ADMIN_TOKEN_FILE)
    }
}

/// Whether requests need a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// Every request to the API carries a token.
    Required,
    /// Anybody who reaches the port is an admin: loopback only.
    Open,
}

/// The durable state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// The `SQLite` database.
    pub path: PathBuf,
}

/// Where build logs go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogsConfig {
    /// The directory of the segments.
    pub directory: PathBuf,
}

/// Where machines come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvidersConfig {
    /// Machines as processes on this host; `None` when switched off.
    pub local: Option<LocalConfig>,
}

/// Machines as processes on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalConfig {
    /// Where each machine has its home.
    pub directory: PathBuf,
}

/// Timing of the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// Time between full listings of each provider.
    pub sweep_interval: Span,
    /// A machine that hears nothing for this long powers itself off.
    pub lease: Span,
    /// Longest time for one SSH connection with login.
    pub connect_timeout: Span,
    /// Time between asking a build to stop and killing it.
    pub stop_grace: Span,
    /// Longest wait for open requests when the server stops.
    pub shutdown_grace: Span,
}

/// What pipelines get when their document does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineDefaults {
    /// Longest time a build may run.
    pub timeout: Span,
    /// Log bytes kept of a build.
    pub log_limit_bytes: u64,
    /// Attempts that infrastructure failures may use up.
    pub attempts: u32,
}

/// What the server says about itself.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// Levels, by module.
    pub level: Targets,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a line of the server's own log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}
