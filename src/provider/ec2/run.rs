//! A launch into a single pool: `RunInstances`.

use aws_sdk_ec2::operation::run_instances::builders::RunInstancesFluentBuilder;
use aws_sdk_ec2::types::{
    BlockDeviceMapping, EbsBlockDevice, HibernationOptionsRequest, HttpTokensState,
    IamInstanceProfileSpecification, InstanceInterruptionBehavior, InstanceMarketOptionsRequest,
    InstanceMetadataEndpointState, InstanceMetadataOptionsRequest,
    InstanceNetworkInterfaceSpecification, InstanceType, MarketType, ResourceType,
    ShutdownBehavior, SpotInstanceType, SpotMarketOptions, VolumeType,
};

use super::clients::{Call, Clients};
use super::launch::fresh;
use super::request::{Place, Request};
use super::tags::specification;
use crate::model::Market;
use crate::provider::{LaunchAnswer, ProviderError};

/// Things that a launch tags: all that can outlive it. Spot requests exist on that market only, and
/// naming them on the other one is an error.
pub(super) fn tagged(market: Market) -> Vec<ResourceType> {
    let mut resources = vec![
        ResourceType::Instance,
        ResourceType::Volume,
        ResourceType::NetworkInterface,
    ];
    match market {
        Market::Spot => resources.push(ResourceType::SpotInstancesRequest),
        Market::OnDemand => {}
    }
    resources
}

/// Sends it.
pub(super) async fn run(
    clients: &Clients,
    request: &Request,
    place: &Place,
    token: &str,
) -> Result<LaunchAnswer, ProviderError> {
    let builder = build(clients.launching.run_instances(), request, place, token);
    let call = Call::of_instances("RunInstances", "running instances", request.count);
    let answer = clients
        .call(call, builder.send())
        .await
        .map_err(|failure| failure.about(request.pools()))?;
    let instances = answer
        .instances()
        .iter()
        .filter_map(|instance| {
            let launched_at = instance.launch_time().map(super::listing::timestamp);
            let pool = Some(request.pool(place));
            Some(fresh(
                request,
                instance.instance_id()?,
                pool,
                launched_at,
                Vec::new(),
            ))
        })
        .collect();
    Ok(LaunchAnswer {
        instances,
        refusals: Vec::new(),
    })
}

fn build(
    builder: RunInstancesFluentBuilder,
    request: &Request,
    place: &Place,
    token: &str,
) -> RunInstancesFluentBuilder {
    let specifications = tagged(request.market)
        .into_iter()
        .map(|resource| specification(resource, &request.tags));
    let count = i32::try_from(request.count).unwrap_or(i32::MAX);
    let builder = builder
        .client_token(token)
        .image_id(&request.image)
        .instance_type(InstanceType::from(place.shape.as_str()))
        .min_count(1)
        .max_count(count)
        .user_data(&request.user_data)
        // Powering off from inside is how a machine ends by itself. AMIs can bring another default.
        .instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate)
        .metadata_options(metadata())
        .set_tag_specifications(Some(specifications.collect()))
        .set_instance_market_options(market(request.market))
        .block_device_mappings(root(request))
        .set_hibernation_options(request.hibernate.then(|| {
            HibernationOptionsRequest::builder()
                .configured(true)
                .build()
        }))
        .set_iam_instance_profile(request.instance_profile.as_ref().map(|name| {
            IamInstanceProfileSpecification::builder()
                .name(name)
                .build()
        }));
    place_in(builder, request, place)
}

/// A public address can only be asked for by describing the interface.
fn place_in(
    builder: RunInstancesFluentBuilder,
    request: &Request,
    place: &Place,
) -> RunInstancesFluentBuilder {
    let groups = Some(request.security_groups.clone()).filter(|groups| !groups.is_empty());
    if !request.public_address {
        return builder
            .subnet_id(&place.subnet)
            .set_security_group_ids(groups);
    }
    let interface = InstanceNetworkInterfaceSpecification::builder()
        .device_index(0)
        .associate_public_ip_address(true)
        .delete_on_termination(true)
        .subnet_id(&place.subnet)
        .set_groups(groups)
        .build();
    builder.network_interfaces(interface)
}

/// Builds reach the metadata service by sessions only, and not from containers.
fn metadata() -> InstanceMetadataOptionsRequest {
    InstanceMetadataOptionsRequest::builder()
        .http_tokens(HttpTokensState::Required)
        .http_put_response_hop_limit(1)
        .http_endpoint(InstanceMetadataEndpointState::Enabled)
        .build()
}

fn market(market: Market) -> Option<InstanceMarketOptionsRequest> {
    match market {
        Market::OnDemand => None,
        Market::Spot => {
            let spot = SpotMarketOptions::builder()
                .spot_instance_type(SpotInstanceType::OneTime)
                .instance_interruption_behavior(InstanceInterruptionBehavior::Terminate)
                .build();
            let options = InstanceMarketOptionsRequest::builder()
                .market_type(MarketType::Spot)
                .spot_options(spot)
                .build();
            Some(options)
        }
    }
}

fn root(request: &Request) -> BlockDeviceMapping {
    let root = &request.root;
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let disk = EbsBlockDevice::builder()
        .delete_on_termination(true)
        .volume_size(number(root.gib))
        .volume_type(VolumeType::from(root.volume.as_str()))
        .set_iops(root.iops.map(number))
        .set_throughput(root.throughput.map(number))
        .set_encrypted(root.encrypted.then_some(true));
    BlockDeviceMapping::builder()
        .device_name(&root.device)
        .ebs(disk.build())
        .build()
}
