//! The launch template of one fleet: made for it under a name that its token gives, and removed
//! after it. One that stays behind is found by the sweep.

use aws_sdk_ec2::types::{
    LaunchTemplateBlockDeviceMappingRequest, LaunchTemplateEbsBlockDeviceRequest,
    LaunchTemplateHibernationOptionsRequest, LaunchTemplateHttpTokensState,
    LaunchTemplateIamInstanceProfileSpecificationRequest,
    LaunchTemplateInstanceMetadataEndpointState, LaunchTemplateInstanceMetadataOptionsRequest,
    LaunchTemplateInstanceNetworkInterfaceSpecificationRequest,
    LaunchTemplateTagSpecificationRequest, RequestLaunchTemplateData, ResourceType,
    ShutdownBehavior, VolumeType,
};

use super::clients::{Call, Clients};
use super::request::Request;
use super::run::tagged;
use super::tags::{pairs, specification};
use crate::provider::ProviderError;

/// What EC2 answers when the name is taken, which for this name means: by this very template.
const EXISTS: &str = "InvalidLaunchTemplateName.AlreadyExistsException";

/// Makes the template of a launch, unless it exists, and returns its name.
pub(super) async fn create(
    clients: &Clients,
    request: &Request,
    token: &str,
) -> Result<String, ProviderError> {
    let name = format!("dormouse-{token}");
    let builder = clients
        .launching
        .create_launch_template()
        // No token here: EC2 would answer for one that is gone again. The name is unique.
        .launch_template_name(&name)
        .version_description("made for one launch, removed after it")
        .launch_template_data(data(request))
        .tag_specifications(specification(ResourceType::LaunchTemplate, &request.tags));
    let call = Call::new("CreateLaunchTemplate", "creating a launch template");
    match clients.call(call, builder.send()).await {
        Ok(_) => Ok(name),
        Err(failure) if failure.code.as_deref() == Some(EXISTS) => Ok(name),
        Err(failure) => Err(failure.error),
    }
}

/// Removes a template, as far as that works.
pub(super) async fn delete(clients: &Clients, name: &str) {
    let request = clients
        .ec2
        .delete_launch_template()
        .launch_template_name(name);
    let call = Call::new("DeleteLaunchTemplate", "deleting a launch template");
    if let Err(failure) = clients.call(call, request.send()).await {
        let error = failure.error;
        tracing::debug!(template = name, %error, "a launch template is left to the sweep");
    }
}

fn data(request: &Request) -> RequestLaunchTemplateData {
    let specifications = tagged(request.market).into_iter().map(|resource| {
        LaunchTemplateTagSpecificationRequest::builder()
            .resource_type(resource)
            .set_tags(Some(pairs(&request.tags)))
            .build()
    });
    let data = RequestLaunchTemplateData::builder()
        .image_id(&request.image)
        .user_data(&request.user_data)
        // Powering off from inside is how a machine ends by itself. AMIs can bring another default.
        .instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate)
        .metadata_options(metadata())
        .set_tag_specifications(Some(specifications.collect()))
        .block_device_mappings(root(request))
        .set_hibernation_options(request.hibernate.then(|| {
            LaunchTemplateHibernationOptionsRequest::builder()
                .configured(true)
                .build()
        }))
        .set_iam_instance_profile(request.instance_profile.as_ref().map(|name| {
            LaunchTemplateIamInstanceProfileSpecificationRequest::builder()
                .name(name)
                .build()
        }));
    let groups = Some(request.security_groups.clone()).filter(|groups| !groups.is_empty());
    if !request.public_address {
        return data.set_security_group_ids(groups).build();
    }
    // The subnet comes from the fleet's overrides.
    let interface = LaunchTemplateInstanceNetworkInterfaceSpecificationRequest::builder()
        .device_index(0)
        .associate_public_ip_address(true)
        .delete_on_termination(true)
        .set_groups(groups)
        .build();
    data.network_interfaces(interface).build()
}

/// Builds reach the metadata service by sessions only, and not from containers.
fn metadata() -> LaunchTemplateInstanceMetadataOptionsRequest {
    LaunchTemplateInstanceMetadataOptionsRequest::builder()
        .http_tokens(LaunchTemplateHttpTokensState::Required)
        .http_put_response_hop_limit(1)
        .http_endpoint(LaunchTemplateInstanceMetadataEndpointState::Enabled)
        .build()
}

fn root(request: &Request) -> LaunchTemplateBlockDeviceMappingRequest {
    let root = &request.root;
    let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let disk = LaunchTemplateEbsBlockDeviceRequest::builder()
        .delete_on_termination(true)
        .volume_size(number(root.gib))
        .volume_type(VolumeType::from(root.volume.as_str()))
        .set_iops(root.iops.map(number))
        .set_throughput(root.throughput.map(number))
        .set_encrypted(root.encrypted.then_some(true));
    LaunchTemplateBlockDeviceMappingRequest::builder()
        .device_name(&root.device)
        .ebs(disk.build())
        .build()
}
