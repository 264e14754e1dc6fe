"""Which EC2 actions the lab answers from its own records; all others are moto's."""

from . import describes, fleet, launch, power, prices, templates
from .account import fresh_id, interface_record, volume_record
from .errors import ApiError, not_found
from .instance import utcnow
from .request import tags_by_resource


def _delete(kind, error, field, state):
    def delete(account, params):
        records, wanted = getattr(account, kind), params.get(field, "")
        if wanted not in records:
            raise not_found(error, kind.removesuffix("s"), [wanted])
        if records[wanted][state] == "in-use":
            code = "VolumeInUse" if kind == "volumes" else "InvalidParameterValue"
            raise ApiError(code, f"{wanted} is currently in use.")
        launch.dry_run(params)
        del records[wanted]
        return {"Return": True}

    return delete


def create_volume(account, params):
    tags = tags_by_resource(params.get("TagSpecifications", []), "on-demand").get("volume", {})
    launch.dry_run(params)
    volume = volume_record(params["AvailabilityZone"], params.get("Size", 8), params, tags)
    account.volumes[volume["VolumeId"]] = volume
    return volume


def create_network_interface(account, params):
    tags = tags_by_resource(params.get("TagSpecifications", []), "on-demand").get("network-interface", {})
    subnet = account.subnets().get(params.get("SubnetId"))
    if subnet is None:
        raise not_found("InvalidSubnetID.NotFound", "subnet", [params.get("SubnetId", "")])
    launch.dry_run(params)
    interface = interface_record(subnet, account.take_address(subnet, params.get("PrivateIpAddress")), [], tags)
    account.interfaces[interface["NetworkInterfaceId"]] = interface
    return {"NetworkInterface": {**interface, "TagSet": interface["Tags"]}}


def cancel_spot_instance_requests(account, params):
    """A request that is cancelled leaves its instance running, as on AWS."""
    cancelled = []
    for each in params.get("SpotInstanceRequestIds") or []:
        request = account.spot_requests.get(each)
        if request is None:
            raise not_found("InvalidSpotInstanceRequestID.NotFound", "spot instance request", [each])
        if request["State"] in ("open", "active"):
            request["State"] = "cancelled"
            code = "request-canceled-and-instance-running"
            request["Status"] = {"Code": code, "Message": code, "UpdateTime": utcnow()}
        cancelled.append({"SpotInstanceRequestId": each, "State": "cancelled"})
    return {"CancelledSpotInstanceRequests": cancelled}


def create_image(account, params):
    """A copy of the instance's image under a new name and owner; the guest's disk is not copied."""
    [instance] = account.named([params.get("InstanceId", "")])
    if any(each["Name"] == params.get("Name") for each in account.images.values()):
        raise ApiError("InvalidAMIName.Duplicate", f"AMI name {params.get('Name')} is already in use.")
    launch.dry_run(params)
    given = [each["Tags"] for each in params.get("TagSpecifications", []) if each["ResourceType"] == "image"]
    image = {
        **account.images[instance.record["ImageId"]],
        "ImageId": fresh_id("ami"),
        "Name": params.get("Name"),
        "OwnerId": "123456789012",
        "Public": False,
        "CreationDate": utcnow().strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "SourceImageId": instance.record["ImageId"],
        "Tags": given[0] if given else [],
    }
    account.images[image["ImageId"]] = image
    return {"ImageId": image["ImageId"]}


def deregister_image(account, params):
    if account.images.pop(params.get("ImageId"), None) is None:
        raise ApiError("InvalidAMIID.NotFound", f"The image id '[{params.get('ImageId')}]' does not exist")
    return {"Return": True}


CHANGES = {
    "RunInstances": launch.run_instances,
    "CreateFleet": fleet.create_fleet,
    "DeleteFleets": fleet.delete_fleets,
    "TerminateInstances": power.terminate_instances,
    "StopInstances": power.stop_instances,
    "StartInstances": power.start_instances,
    "RebootInstances": power.reboot_instances,
    "ModifyInstanceAttribute": power.modify_instance_attribute,
    "DescribeInstanceAttribute": power.describe_instance_attribute,
    "GetConsoleOutput": power.get_console_output,
    "CreateTags": power.create_tags,
    "DeleteTags": power.delete_tags,
    "CreateLaunchTemplate": templates.create_launch_template,
    "CreateLaunchTemplateVersion": templates.create_launch_template_version,
    "DeleteLaunchTemplate": templates.delete_launch_template,
    "CreateVolume": create_volume,
    "DeleteVolume": _delete("volumes", "InvalidVolume.NotFound", "VolumeId", "State"),
    "CreateNetworkInterface": create_network_interface,
    "DeleteNetworkInterface": _delete("interfaces", "InvalidNetworkInterfaceID.NotFound", "NetworkInterfaceId", "Status"),
    "CancelSpotInstanceRequests": cancel_spot_instance_requests,
    "CreateImage": create_image,
    "DeregisterImage": deregister_image,
}

LISTS = {
    "DescribeInstances": describes.describe_instances,
    "DescribeInstanceStatus": describes.describe_instance_status,
    "DescribeVolumes": describes.describe_volumes,
    "DescribeNetworkInterfaces": describes.describe_network_interfaces,
    "DescribeSpotInstanceRequests": describes.describe_spot_instance_requests,
    "DescribeFleets": fleet.describe_fleets,
    "DescribeLaunchTemplates": templates.describe_launch_templates,
    "DescribeLaunchTemplateVersions": templates.describe_launch_template_versions,
    "DescribeImages": describes.describe_images,
    "DescribeSubnets": describes.describe_subnets,
    "DescribeInstanceTypes": describes.describe_instance_types,
    "DescribeInstanceTypeOfferings": describes.describe_instance_type_offerings,
    "DescribeSpotPriceHistory": prices.describe_spot_price_history,
    "DescribeTags": describes.describe_tags,
}
