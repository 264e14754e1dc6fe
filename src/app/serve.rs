//! `dormouse serve`: the house until a signal.

use std::fs;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Authentication, Config, LogConfig, LogFormat};
use crate::engine::{Desk, FrontDesk};
use crate::model::TokenRole;

use super::house::House;

/// Serves until SIGTERM or Ctrl-C.
///
/// # Errors
/// When the house cannot be built or a part of it breaks.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    let recorded = PrometheusBuilder::new()
        .install_recorder()
        .context("cannot install the metrics recorder")?;
    crate::api::describe_metrics();
    let (auth, token_file) = (config.auth, config.admin_token_file());
    let admin_token = config.admin_token.clone();
    let running = House::build(config).await?.start(Some(recorded)).await?;
    running.ready().await;
    match (auth, admin_token) {
        (Authentication::Required, Some(token)) => {
            running
                .desk
                .accept_token("configured", TokenRole::Admin, &token)
                .await?;
        }
        (Authentication::Required, None) => first_token(&running.desk, &token_file).await?,
        (Authentication::Open, _) => {}
    }
    tracing::info!(address = %running.address, "serving");
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
        signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping; machines and their builds go on, and are taken up at the next start");
    running.stop().await
}

/// Makes a first admin token, so that nobody is locked out of a fresh installation.
async fn first_token(desk: &FrontDesk, path: &Path) -> anyhow::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let (_, text) = desk.create_token("first", TokenRole::Admin).await?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    writeln!(file, "{text}").with_context(|| format!("cannot write {}", path.display()))?;
    tracing::info!(path = %path.display(), "an admin token was made; `--token` takes it");
    Ok(())
}

/// Sets up what the program says about itself, on standard error.
pub fn init_logging(config: &LogConfig) {
    let registry = tracing_subscriber::registry().with(config.level.clone());
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.format {
        LogFormat::Text => registry.with(lines).init(),
        LogFormat::Json => registry.with(lines.json()).init(),
    }
}
