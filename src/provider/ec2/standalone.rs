//! A sweep without books, for a cron job beside an orchestrator that may be dead: it goes by tags
//! alone, and needs no right but to describe, terminate and delete.

use std::sync::Arc;

use aws_sdk_ec2::types::{Instance as Described, InstanceStateName};

use super::clients::Clients;
use super::listing::{self, translate};
use super::residue::{self, BUDGET, Sightings};
use super::settings::Settings;
use super::tags;
use super::terminate::terminate;
use crate::model::{InstanceId, Span, Timestamp};
use crate::provider::ProviderError;

/// What a sweep found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// One line for each thing that was ended or removed, or would have been.
    pub lines: Vec<String>,
    /// One line for each thing that could not be.
    pub failures: Vec<String>,
    /// Things that are due, but beyond what one sweep may do.
    pub left: usize,
}

/// Ends instances of this installation whose time is over by their own tag, and removes residue.
/// Everything is looked at twice, `pause` apart, and not more than 20 instances and 20 other things
/// go at once. A dry run only says what would go.
///
/// # Errors
/// When it cannot be told what there is: then nothing was touched.
pub async fn sweep_standalone(
    settings: &Settings,
    dry_run: bool,
    now: impl Fn() -> Timestamp,
    pause: Span,
) -> Result<SweepReport, ProviderError> {
    let clients = Arc::new(Clients::new(settings).await);
    let mut sightings = Sightings::default();
    let first = expired(&clients, settings, now()).await?;
    let seen = residue::look(&clients, settings).await?;
    sightings.ripe(seen, now(), Span::ZERO);
    tokio::time::sleep(pause.to_std()).await;
    let second = expired(&clients, settings, now()).await?;
    let seen = residue::look(&clients, settings).await?;
    let things = sightings.ripe(seen, now(), Span::ZERO);
    let due: Vec<InstanceId> = second.into_iter().filter(|id| first.contains(id)).collect();
    let mut report = SweepReport {
        left: due.len().saturating_sub(BUDGET) + things.len().saturating_sub(BUDGET),
        ..SweepReport::default()
    };
    let due: Vec<InstanceId> = due.into_iter().take(BUDGET).collect();
    if dry_run {
        let instances = due
            .iter()
            .map(|id| format!("would terminate instance {id}"));
        let things = things.iter().take(BUDGET);
        report.lines = instances
            .chain(things.map(|thing| format!("would remove {thing}")))
            .collect();
        return Ok(report);
    }
    let ended = terminate(Arc::clone(&clients), due.clone()).await;
    for (id, ended) in due.iter().zip(ended) {
        match ended {
            Ok(()) => report.lines.push(format!("terminated instance {id}")),
            Err(error) => report.failures.push(format!("instance {id}: {error}")),
        }
    }
    report
        .lines
        .extend(residue::remove(&clients, &things).await);
    Ok(report)
}

/// Instances, in whatever state short of gone, that nobody wants by now.
async fn expired(
    clients: &Clients,
    settings: &Settings,
    now: Timestamp,
) -> Result<Vec<InstanceId>, ProviderError> {
    // An incomplete listing will do: each instance speaks for itself.
    let described = listing::describe(clients, settings).await?;
    let due = described
        .instances
        .values()
        .filter(|instance| is_expired(instance, now))
        .filter_map(|instance| Some(translate(settings, instance)?.id))
        .collect();
    Ok(due)
}

fn is_expired(instance: &Described, now: Timestamp) -> bool {
    let state = instance.state().and_then(|state| state.name());
    let is_ending = matches!(
        state,
        Some(InstanceStateName::ShuttingDown | InstanceStateName::Terminated)
    );
    !is_ending && tags::expires_at(instance.tags()).is_some_and(|at| at < now)
}
