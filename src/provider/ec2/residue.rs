//! What instances leave behind: disks, network interfaces, spot requests, launch templates.
//!
//! Only what carries our tag is looked at. A thing goes when it was seen left behind in two sweeps
//! that lie apart, is old enough, and the sweep's budget allows it. Instant fleets leave nothing:
//! they are records of their launches, are not listed by tag, and deleting one would terminate its
//! instances.

use std::collections::BTreeMap;
use std::fmt;

use aws_sdk_ec2::types::{InstanceStateName, Tag};

use super::clients::{Call, Clients};
use super::listing::{self, timestamp};
use super::settings::Settings;
use super::tags;
use crate::model::{Span, Timestamp};
use crate::provider::ProviderError;

/// Younger things may belong to a launch that is under way.
pub(super) const LEAST_AGE: Span = Span::from_secs(600);
/// Most things that one sweep removes: a mistake stays small enough to be noticed.
pub(super) const BUDGET: usize = 20;
/// Things per page of a listing.
const PAGE: i32 = 200;
const OPERATION: &str = "looking for residue";

/// A thing that no instance needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Residue {
    kind: Kind,
    id: String,
    /// Where EC2 says it.
    since: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Volume,
    Interface,
    SpotRequest,
    Template,
}

impl fmt::Display for Residue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Volume => "volume",
            Kind::Interface => "network interface",
            Kind::SpotRequest => "spot request",
            Kind::Template => "launch template",
        };
        write!(f, "{kind} {}", self.id)
    }
}

/// When things were first seen left behind.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    first: BTreeMap<String, Timestamp>,
}

impl Sightings {
    /// Of what is left behind now, what was left behind before and is old enough. What is not left
    /// behind any more is forgotten.
    pub(super) fn ripe(&mut self, seen: Vec<Residue>, now: Timestamp, apart: Span) -> Vec<Residue> {
        let mut first = BTreeMap::new();
        let mut ripe = Vec::new();
        for thing in seen {
            let at = self.first.get(&thing.id).copied();
            let since = thing.since.or(at);
            let is_old = since.is_some_and(|since| now.since(since) >= LEAST_AGE);
            let is_seen_before = at.is_some_and(|at| now.since(at) >= apart && at < now);
            first.insert(thing.id.clone(), at.unwrap_or(now));
            if is_old && is_seen_before {
                ripe.push(thing);
            }
        }
        self.first = first;
        ripe
    }
}

/// Everything that is left behind now.
///
/// # Errors
/// When it cannot be told what is: then nothing may be removed.
pub(super) async fn look(
    clients: &Clients,
    settings: &Settings,
) -> Result<Vec<Residue>, ProviderError> {
    let mut found = volumes(clients, settings).await?;
    found.extend(interfaces(clients, settings).await?);
    found.extend(templates(clients, settings).await?);
    found.extend(spot_requests(clients, settings).await?);
    Ok(found)
}

/// Removes things, one line for each that is gone.
pub(super) async fn remove(clients: &Clients, things: &[Residue]) -> Vec<String> {
    let mut lines = Vec::new();
    for thing in things.iter().take(BUDGET) {
        match remove_one(clients, thing).await {
            Ok(()) => lines.push(format!("removed {thing}")),
            Err(error) => tracing::warn!(thing = %thing, %error, "residue cannot be removed"),
        }
    }
    lines
}

async fn remove_one(clients: &Clients, thing: &Residue) -> Result<(), ProviderError> {
    let operation = "removing residue";
    let ec2 = &clients.ec2;
    let id = &thing.id;
    let removed = match thing.kind {
        Kind::Volume => {
            let request = ec2.delete_volume().volume_id(id);
            let call = Call::new("DeleteVolume", operation);
            clients.call(call, request.send()).await.map(|_| ())
        }
        Kind::Interface => {
            let request = ec2.delete_network_interface().network_interface_id(id);
            let call = Call::new("DeleteNetworkInterface", operation);
            clients.call(call, request.send()).await.map(|_| ())
        }
        Kind::SpotRequest => {
            let request = ec2
                .cancel_spot_instance_requests()
                .spot_instance_request_ids(id);
            let call = Call::new("CancelSpotInstanceRequests", operation);
            clients.call(call, request.send()).await.map(|_| ())
        }
        Kind::Template => {
            let request = ec2.delete_launch_template().launch_template_id(id);
            let call = Call::new("DeleteLaunchTemplate", operation);
            clients.call(call, request.send()).await.map(|_| ())
        }
    };
    match removed {
        Err(failure) if !failure.is_not_found() => Err(failure.error),
        Ok(()) | Err(_) => Ok(()),
    }
}

async fn volumes(clients: &Clients, settings: &Settings) -> Result<Vec<Residue>, ProviderError> {
    let mut found = Vec::new();
    let mut next = None;
    loop {
        let request = clients
            .ec2
            .describe_volumes()
            .filters(tags::ours(&settings.installation))
            .filters(tags::filter("status", &["available"]))
            .max_results(PAGE)
            .set_next_token(next);
        let call = Call::new("DescribeVolumes", OPERATION);
        let page = clients.call(call, request.send()).await?;
        found.extend(page.volumes().iter().filter_map(|volume| {
            let since = volume.create_time().map(timestamp);
            residue(Kind::Volume, volume.volume_id(), volume.tags(), since)
        }));
        next = continued(page.next_token());
        if next.is_none() {
            return Ok(found);
        }
    }
}

async fn interfaces(clients: &Clients, settings: &Settings) -> Result<Vec<Residue>, ProviderError> {
    let mut found = Vec::new();
    let mut next = None;
    loop {
        let request = clients
            .ec2
            .describe_network_interfaces()
            .filters(tags::ours(&settings.installation))
            .filters(tags::filter("status", &["available"]))
            .max_results(PAGE)
            .set_next_token(next);
        let call = Call::new("DescribeNetworkInterfaces", OPERATION);
        let page = clients.call(call, request.send()).await?;
        found.extend(page.network_interfaces().iter().filter_map(|interface| {
            let id = interface.network_interface_id();
            residue(Kind::Interface, id, interface.tag_set(), None)
        }));
        next = continued(page.next_token());
        if next.is_none() {
            return Ok(found);
        }
    }
}

/// Templates are made for one launch and never needed after it.
async fn templates(clients: &Clients, settings: &Settings) -> Result<Vec<Residue>, ProviderError> {
    let mut found = Vec::new();
    let mut next = None;
    loop {
        let request = clients
            .ec2
            .describe_launch_templates()
            .filters(tags::ours(&settings.installation))
            .max_results(PAGE)
            .set_next_token(next);
        let call = Call::new("DescribeLaunchTemplates", OPERATION);
        let page = clients.call(call, request.send()).await?;
        found.extend(page.launch_templates().iter().filter_map(|template| {
            let since = template.create_time().map(timestamp);
            let id = template.launch_template_id();
            residue(Kind::Template, id, template.tags(), since)
        }));
        next = continued(page.next_token());
        if next.is_none() {
            return Ok(found);
        }
    }
}

/// Requests that could still bring an instance, or hold on to one that is gone.
async fn spot_requests(
    clients: &Clients,
    settings: &Settings,
) -> Result<Vec<Residue>, ProviderError> {
    let mut found = Vec::new();
    let mut next = None;
    loop {
        let request = clients
            .ec2
            .describe_spot_instance_requests()
            .filters(tags::ours(&settings.installation))
            .filters(tags::filter("state", &["open", "active"]))
            .max_results(PAGE)
            .set_next_token(next);
        let call = Call::new("DescribeSpotInstanceRequests", OPERATION);
        let page = clients.call(call, request.send()).await?;
        found.extend(page.spot_instance_requests().iter().filter_map(|request| {
            let since = request.create_time().map(timestamp);
            let id = request.spot_instance_request_id();
            let thing = residue(Kind::SpotRequest, id, request.tags(), since)?;
            Some((thing, request.instance_id().map(str::to_owned)))
        }));
        next = continued(page.next_token());
        if next.is_none() {
            break;
        }
    }
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let described = listing::describe(clients, settings).await?;
    if !described.complete {
        // Whose instance is gone cannot be told.
        return Ok(Vec::new());
    }
    let is_alive = |id: &Option<String>| {
        let instance = id.as_ref().and_then(|id| described.instances.get(id));
        let state = instance.and_then(|instance| instance.state()?.name());
        state.is_some_and(|state| *state != InstanceStateName::Terminated)
    };
    found.retain(|(_, instance)| !is_alive(instance));
    Ok(found.into_iter().map(|(thing, _)| thing).collect())
}

/// Only what a launch of ours made: people may tag things of their own for the bill's sake.
fn residue(
    kind: Kind,
    id: Option<&str>,
    tags: &[Tag],
    since: Option<Timestamp>,
) -> Option<Residue> {
    tags::launch(tags)?;
    Some(Residue {
        kind,
        id: id?.to_owned(),
        since,
    })
}

fn continued(token: Option<&str>) -> Option<String> {
    token.filter(|token| !token.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thing(id: &str, since: Option<i64>) -> Residue {
        Residue {
            kind: Kind::Volume,
            id: id.to_owned(),
            since: since.map(at),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_thing_goes_when_it_is_old_and_was_seen_before() {
        let mut sightings = Sightings::default();
        let apart = Span::from_secs(30);
        let mut sweep = |now, things| {
            let ripe = sightings.ripe(things, at(now), apart);
            ripe.into_iter().map(|thing| thing.id).collect::<Vec<_>>()
        };
        let all = || {
            vec![
                thing("old", Some(0)),
                thing("young", Some(950)),
                thing("ageless", None),
            ]
        };
        assert_eq!(sweep(1_000, all()), Vec::<String>::new());
        assert_eq!(
            sweep(1_010, all()),
            Vec::<String>::new(),
            "too soon after the first"
        );
        assert_eq!(sweep(1_040, all()), ["old"]);
        assert_eq!(sweep(1_600, all()), ["old", "young", "ageless"]);
    }

    #[test]
    fn a_thing_that_was_in_use_in_between_is_seen_anew() {
        let mut sightings = Sightings::default();
        let apart = Span::from_secs(30);
        assert!(
            sightings
                .ripe(vec![thing("disk", Some(0))], at(1_000), apart)
                .is_empty()
        );
        assert!(sightings.ripe(Vec::new(), at(1_100), apart).is_empty());
        assert!(
            sightings
                .ripe(vec![thing("disk", Some(0))], at(1_200), apart)
                .is_empty()
        );
        assert_eq!(
            sightings
                .ripe(vec![thing("disk", Some(0))], at(1_300), apart)
                .len(),
            1
        );
    }
}
