//! A launch into any of several pools: a launch template, `CreateFleet` of type instant, and the
//! template's end.
//!
//! The fleet is never deleted: an instant fleet is only a record of its launch, and deleting it
//! would terminate its instances.

use aws_sdk_ec2::operation::create_fleet::CreateFleetOutput;
use aws_sdk_ec2::operation::create_fleet::builders::CreateFleetFluentBuilder;
use aws_sdk_ec2::types::{
    CreateFleetError, DefaultTargetCapacityType, FleetLaunchTemplateConfigRequest,
    FleetLaunchTemplateOverridesRequest, FleetLaunchTemplateSpecificationRequest,
    FleetOnDemandAllocationStrategy, FleetType, InstanceType, LaunchTemplateAndOverridesResponse,
    OnDemandOptionsRequest, ResourceType, SpotAllocationStrategy, SpotInstanceInterruptionBehavior,
    SpotOptionsRequest, TargetCapacitySpecificationRequest,
};

use super::clients::{Call, Clients};
use super::errors::from_code;
use super::launch::fresh;
use super::request::{Place, Request};
use super::tags::specification;
use super::template;
use crate::model::{Market, Pool};
use crate::provider::{ErrorKind, LaunchAnswer, ProviderError};

const OPERATION: &str = "creating a fleet";

/// Sends it.
pub(super) async fn fleet(
    clients: &Clients,
    request: &Request,
    places: &[Place],
    token: &str,
) -> Result<LaunchAnswer, ProviderError> {
    let name = template::create(clients, request, token).await?;
    let builder = build(
        clients.launching.create_fleet(),
        request,
        places,
        &name,
        token,
    );
    let call = Call::of_instances("CreateFleet", OPERATION, request.count);
    let answer = clients.call(call, builder.send()).await.map_err(|failure| {
        let is_early = failure.is_not_found() && failure.is_about("InvalidLaunchTemplate");
        let mut error = failure.about(request.pools());
        if is_early {
            // A template that was just made is not known everywhere at once.
            error.kind = ErrorKind::Unknown;
        }
        error
    });
    let is_settled = !matches!(&answer, Err(error) if error.kind == ErrorKind::Unknown);
    if is_settled {
        // A launch that is sent again makes it again.
        template::delete(clients, &name).await;
    }
    let answer = read(request, places, &answer?);
    if answer
        .refusals
        .iter()
        .any(|error| error.kind == ErrorKind::Throttled)
    {
        clients.refused("CreateFleet");
    }
    Ok(answer)
}

fn build(
    builder: CreateFleetFluentBuilder,
    request: &Request,
    places: &[Place],
    template: &str,
    token: &str,
) -> CreateFleetFluentBuilder {
    let named = FleetLaunchTemplateSpecificationRequest::builder()
        .launch_template_name(template)
        // The first and only one, also of a template that was made again.
        .version("1")
        .build();
    let overrides = places.iter().map(|place| {
        FleetLaunchTemplateOverridesRequest::builder()
            .instance_type(InstanceType::from(place.shape.as_str()))
            .subnet_id(&place.subnet)
            .build()
    });
    let config = FleetLaunchTemplateConfigRequest::builder()
        .launch_template_specification(named)
        .set_overrides(Some(overrides.collect()))
        .build();
    let (kind, spot, on_demand) = strategy(request.market);
    let capacity = TargetCapacitySpecificationRequest::builder()
        .total_target_capacity(i32::try_from(request.count).unwrap_or(i32::MAX))
        .default_target_capacity_type(kind)
        .build();
    builder
        .client_token(token)
        .r#type(FleetType::Instant)
        .terminate_instances_with_expiration(false)
        .launch_template_configs(config)
        .target_capacity_specification(capacity)
        .set_spot_options(spot)
        .set_on_demand_options(on_demand)
        .tag_specifications(specification(ResourceType::Fleet, &request.tags))
}

/// Spot capacity is taken where it is deep and cheap; list prices are only cheap or not. No least
/// number is said, so that some machines are better than none.
fn strategy(
    market: Market,
) -> (
    DefaultTargetCapacityType,
    Option<SpotOptionsRequest>,
    Option<OnDemandOptionsRequest>,
) {
    match market {
        Market::Spot => {
            let options = SpotOptionsRequest::builder()
                .allocation_strategy(SpotAllocationStrategy::PriceCapacityOptimized)
                .instance_interruption_behavior(SpotInstanceInterruptionBehavior::Terminate)
                .build();
            (DefaultTargetCapacityType::Spot, Some(options), None)
        }
        Market::OnDemand => {
            let options = OnDemandOptionsRequest::builder()
                .allocation_strategy(FleetOnDemandAllocationStrategy::LowestPrice)
                .build();
            (DefaultTargetCapacityType::OnDemand, None, Some(options))
        }
    }
}

/// One answer holds both what was launched and what was not.
fn read(request: &Request, places: &[Place], answer: &CreateFleetOutput) -> LaunchAnswer {
    let mut read = LaunchAnswer::default();
    for group in answer.instances() {
        let shape = group.instance_type().map(InstanceType::as_str);
        let pool = pool_of(
            request,
            places,
            shape,
            group.launch_template_and_overrides(),
        );
        let ids = group.instance_ids().iter();
        read.instances
            .extend(ids.map(|id| fresh(request, id, pool.clone(), None, Vec::new())));
    }
    for error in answer.errors() {
        note(&mut read.refusals, request, places, error);
    }
    read
}

/// Errors of one code are one refusal, about all of their pools.
fn note(
    refusals: &mut Vec<ProviderError>,
    request: &Request,
    places: &[Place],
    error: &CreateFleetError,
) {
    let code = error.error_code().unwrap_or_default();
    let message = error.error_message().unwrap_or_default();
    let mut refusal = from_code(OPERATION, code, message);
    let pool = pool_of(request, places, None, error.launch_template_and_overrides());
    let same =
        |known: &&mut ProviderError| known.kind == refusal.kind && known.message == refusal.message;
    if let Some(known) = refusals.iter_mut().find(same) {
        known
            .pools
            .extend(pool.filter(|pool| !known.pools.contains(pool)));
    } else {
        match pool {
            Some(pool) => refusal.pools.push(pool),
            // Said of the fleet as a whole.
            None => refusal.pools = request.pools(),
        }
        refusals.push(refusal);
    }
}

/// The pool that an answer speaks of: the zone is told by the subnet that we named.
fn pool_of(
    request: &Request,
    places: &[Place],
    shape: Option<&str>,
    said: Option<&LaunchTemplateAndOverridesResponse>,
) -> Option<Pool> {
    let said = said?.overrides()?;
    let shape = shape.or(said.instance_type().map(InstanceType::as_str))?;
    let by_subnet = places
        .iter()
        .find(|place| Some(place.subnet.as_str()) == said.subnet_id())
        .map(|place| place.zone.as_str());
    Some(Pool {
        shape: shape.to_owned(),
        zone: by_subnet.or(said.availability_zone())?.to_owned(),
        market: request.market,
    })
}

#[cfg(test)]
#[path = "tests/fleet.rs"]
mod tests;
