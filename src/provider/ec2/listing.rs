//! Lists our instances: one filtered, paginated call for all, however many there are.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use aws_sdk_ec2::types::{Instance as Described, InstanceLifecycleType, InstanceStateName};
use aws_smithy_types::DateTime;

use super::clients::{Call, Clients};
use super::errors::Failure;
use super::settings::{AddressChoice, Settings};
use super::tags;
use crate::model::{Endpoint, InstanceId, Market, Pool, Timestamp};
use crate::provider::{Instance, InstanceState, Listing, Origin, ProviderError};

/// Instances per page: the most there can be, since pages cost calls.
const PAGE: i32 = 1000;
/// Far more pages than there can be instances: a listing that goes on is not one.
const MOST_PAGES: usize = 200;
/// What EC2 writes when it took a spot instance back.
const RECLAIMED: [&str; 2] = [
    "Server.SpotInstanceTermination",
    "Server.SpotInstanceShutdown",
];

/// All instances as EC2 describes them, and whether these are all.
#[derive(Debug)]
pub(super) struct Descriptions {
    /// By id.
    pub instances: BTreeMap<String, Described>,
    /// Whether these are all.
    pub complete: bool,
}

/// Lists our instances.
///
/// # Errors
/// Those of the first page; when a later one fails, the listing is not complete.
pub(super) async fn list(clients: &Clients, settings: &Settings) -> Result<Listing, ProviderError> {
    let described = describe(clients, settings).await?;
    let instances = described
        .instances
        .values()
        .filter_map(|instance| translate(settings, instance))
        .collect();
    Ok(Listing {
        complete: described.complete,
        instances,
    })
}

/// Describes our instances.
pub(super) async fn describe(
    clients: &Clients,
    settings: &Settings,
) -> Result<Descriptions, ProviderError> {
    let mut described = Descriptions {
        instances: BTreeMap::new(),
        complete: false,
    };
    let mut next: Option<String> = None;
    for number in 0..MOST_PAGES {
        let page = match page(clients, settings, next.clone()).await {
            Ok(page) => page,
            Err(failure) if number == 0 => return Err(failure.error),
            Err(failure) => {
                tracing::warn!(error = %failure.error, "a listing broke off");
                return Ok(described);
            }
        };
        let (instances, token) = page;
        described.instances.extend(instances);
        if token.is_none() {
            described.complete = true;
            return Ok(described);
        }
        if token == next {
            tracing::warn!("a listing repeats a page");
            return Ok(described);
        }
        next = token;
    }
    tracing::warn!("a listing does not end");
    Ok(described)
}

type Page = (Vec<(String, Described)>, Option<String>);

async fn page(
    clients: &Clients,
    settings: &Settings,
    next: Option<String>,
) -> Result<Page, Failure> {
    let request = clients
        .ec2
        .describe_instances()
        .filters(tags::ours(&settings.installation))
        .max_results(PAGE)
        .set_next_token(next);
    let call = Call::new("DescribeInstances", "listing instances");
    let answer = clients.call(call, request.send()).await?;
    let token = answer.next_token.filter(|token| !token.is_empty());
    let instances = answer
        .reservations
        .unwrap_or_default()
        .into_iter()
        .flat_map(|reservation| reservation.instances.unwrap_or_default())
        .filter_map(|instance| Some((instance.instance_id.clone()?, instance)))
        .collect();
    Ok((instances, token))
}

/// An instance in our words; `None`, with a warning, when its tags are not as we wrote them.
pub(super) fn translate(settings: &Settings, instance: &Described) -> Option<Instance> {
    let id = instance.instance_id()?;
    let Some(launch) = tags::launch(instance.tags()) else {
        tracing::warn!(
            instance.id = id,
            tag = tags::LAUNCH,
            "an instance of ours has no readable tag; it is left alone"
        );
        return None;
    };
    let state = state(instance)?;
    let reason = instance.state_reason();
    let code = reason.and_then(|reason| reason.code()).unwrap_or_default();
    Some(Instance {
        id: InstanceId(id.to_owned()),
        origin: Origin::Launch(launch),
        state,
        endpoints: endpoints(settings, instance),
        launched_at: instance.launch_time().map(timestamp).unwrap_or_default(),
        pool: pool(instance),
        why: reason
            .and_then(|reason| reason.message())
            .or(instance.state_transition_reason())
            .filter(|why| !why.is_empty())
            .map(str::to_owned),
        is_reclaimed: RECLAIMED.contains(&code),
    })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the SDK keeps a place for states that it does not know"
)]
fn state(instance: &Described) -> Option<InstanceState> {
    match instance.state()?.name()? {
        InstanceStateName::Pending => Some(InstanceState::Pending),
        InstanceStateName::Running => Some(InstanceState::Running),
        InstanceStateName::Stopping => Some(InstanceState::FallingAsleep),
        InstanceStateName::Stopped => Some(InstanceState::Asleep),
        InstanceStateName::ShuttingDown => Some(InstanceState::Stopping),
        InstanceStateName::Terminated => Some(InstanceState::Terminated),
        other => {
            tracing::warn!(state = other.as_str(), "an instance is in an unknown state");
            None
        }
    }
}

fn endpoints(settings: &Settings, instance: &Described) -> Vec<Endpoint> {
    let private = instance.private_ip_address();
    let public = instance.public_ip_address();
    let texts = match settings.address {
        AddressChoice::Private => vec![private],
        AddressChoice::Public => vec![public],
        AddressChoice::Both => vec![private, public],
    };
    texts
        .into_iter()
        .flatten()
        .filter_map(|text| text.parse::<IpAddr>().ok())
        .map(|address| Endpoint {
            address: SocketAddr::new(address, settings.ssh_port),
        })
        .collect()
}

/// The pool an instance was taken from.
pub(super) fn pool(instance: &Described) -> Option<Pool> {
    let market = match instance.instance_lifecycle() {
        Some(InstanceLifecycleType::Spot) => Market::Spot,
        Some(_) | None => Market::OnDemand,
    };
    Some(Pool {
        shape: instance.instance_type()?.as_str().to_owned(),
        zone: instance.placement()?.availability_zone()?.to_owned(),
        market,
    })
}

/// A time of the SDK as one of ours.
pub(super) fn timestamp(time: &DateTime) -> Timestamp {
    let micros = time.as_nanos() / 1_000;
    Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}

#[cfg(test)]
#[path = "tests/listing.rs"]
mod tests;
