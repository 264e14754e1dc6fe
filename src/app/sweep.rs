//! A sweep of everything that EC2 providers may have left behind, without server or database.

use anyhow::{Context, bail};
use serde::Serialize;

use crate::config::Config;
use crate::model::{Span, Timestamp};
use crate::provider::ec2::sweep_standalone;

use super::providers::{installation, settings};

/// How to sweep.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
    /// What was to be gone by this time is ended.
    pub expired_by: Timestamp,
    /// Time between the two sightings that everything needs.
    pub pause: Span,
    /// Only the provider of this name.
    pub provider: Option<String>,
}

/// What one provider's sweep found and did.
#[derive(Debug, Clone, Serialize)]
pub struct Swept {
    /// The provider.
    pub provider: String,
    /// The installation whose things were looked for.
    pub installation: String,
    /// One line for each thing that was ended or removed, or would have been.
    pub done: Vec<String>,
    /// One line for each thing that could not be.
    pub failed: Vec<String>,
    /// Things that are due, but beyond what one sweep may do.
    pub left: usize,
}

/// Sweeps all EC2 providers of the configuration, or one of them.
///
/// # Errors
/// When there is nothing to sweep, or it cannot be told what there is: then nothing was touched.
pub async fn sweep(config: &Config, sweep: &Sweep) -> anyhow::Result<Vec<Swept>> {
    let wanted = |name: &String| sweep.provider.as_ref().is_none_or(|only| only == name);
    let providers: Vec<_> = config
        .providers
        .ec2
        .iter()
        .filter(|(name, _)| wanted(name))
        .collect();
    if providers.is_empty() {
        let known: Vec<&str> = config.providers.ec2.keys().map(String::as_str).collect();
        bail!(
            "no such EC2 provider is configured; configured: {}",
            known.join(", ")
        );
    }
    let mut all = Vec::with_capacity(providers.len());
    for (name, ec2) in providers {
        let Some(installation) = installation(config, ec2)? else {
            bail!(
                "provider {name}: its installation is not known here; set providers.ec2.{name}.installation"
            );
        };
        let settings = settings(name, ec2, &installation)?;
        let report = sweep_standalone(&settings, sweep.dry_run, || sweep.expired_by, sweep.pause)
            .await
            .with_context(|| format!("provider {name}"))?;
        all.push(Swept {
            provider: name.clone(),
            installation,
            done: report.lines,
            failed: report.failures,
            left: report.left,
        });
    }
    Ok(all)
}
