"""RunInstances, and the making of instances for it and for CreateFleet."""

import itertools
import time

from . import catalogue, moto_app
from .account import fresh_id, interface_record, volume_record
from .errors import ApiError, invalid, missing
from .instance import Instance, utcnow
from .records import tag_list
from .request import checked


def run_instances(account, params):
    low, high = params.get("MinCount"), params.get("MaxCount")
    if low is None or high is None:
        raise missing("MinCount" if low is None else "MaxCount")
    if not 1 <= low <= high:
        raise invalid("minCount", low)
    subnet = params.get("SubnetId")
    scope = subnet_zone(account, subnet) if subnet else None
    made = replay(account, "RunInstances", params, scope)
    if made is None:
        request = checked(account, params)
        dry_run(params)
        count = available(account, request, low, high)
        token = params.get("ClientToken", "")
        made = [each.id for each in launch(account, request, count, token)]
        remember(account, "RunInstances", params, scope, made)
    instances = [account.instances[each] for each in made]
    return reservation(instances)


def subnet_zone(account, subnet_id):
    subnet = account.subnets().get(subnet_id)
    return subnet.availability_zone if subnet else None


def reservation(instances):
    return {
        "ReservationId": instances[0].reservation,
        "OwnerId": moto_app.ACCOUNT,
        "Groups": [],
        "Instances": [each.record for each in instances],
    }


def dry_run(params):
    if params.get("DryRun"):
        raise ApiError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)


# --- idempotency ----------------------------------------------------------------------------------


def replay(account, action, params, scope):
    """What the same token made before, or None. A launch that failed has made nothing and leaves no trace."""
    token = params.get("ClientToken")
    if not token:
        return None
    if len(token) > 64 or not token.isascii():
        raise invalid("clientToken", token)
    known = account.tokens.get((action, token, scope))
    if known is None:
        return None
    before, made = known
    if before != _without_token(params):
        raise ApiError(
            "IdempotentParameterMismatch",
            f"The client token you have provided is associated with a resource that is already deleted or was made with "
            f"other parameters. Please use a different client token. ({token})",
        )
    return made


def remember(account, action, params, scope, made):
    if token := params.get("ClientToken"):
        account.tokens[action, token, scope] = (_without_token(params), made)


def _without_token(params):
    return {name: value for name, value in params.items() if name != "ClientToken"}


# --- capacity -------------------------------------------------------------------------------------


def available(account, request, low, high):
    """How many of `high` can be had now; an error if fewer than `low`."""
    pool = request.pool
    free = account.capacity.free(pool, account.used(pool))
    if free is not None and free < low:
        raise no_capacity(pool)
    count = high if free is None else min(free, high)
    each = catalogue.vcpus(request.instance_type)
    account.quotas.check(request.market, account.used_vcpus(request.market), each * count)
    return count


def no_capacity(pool):
    kind = "Spot capacity" if pool["market"] == "spot" else f"{pool['type']} capacity"
    return ApiError(
        "InsufficientInstanceCapacity",
        f"We currently do not have sufficient {kind} in the Availability Zone you requested ({pool['zone']}). Our system "
        "will be working on provisioning additional capacity.",
        500,
    )


# --- making ---------------------------------------------------------------------------------------


def launch(account, request, count, token, fleet=None):
    """Makes `count` instances, all or none: addresses run out before anything exists."""
    reserved = fresh_id("r")
    made = []
    try:
        for index in range(count):
            made.append(_make(account, request, token, reserved, index, fleet))
    except ApiError:
        for each in made:
            _unmake(account, each)
        raise
    for each in made:
        account.begin(each)
    return made


_LAUNCHES = itertools.count()


def _make(account, request, token, reserved, index, fleet):
    address = account.take_address(request.subnet, request.address)
    interface = interface_record(request.subnet, address, request.groups, request.tags.get("network-interface", {}))
    account.interfaces[interface["NetworkInterfaceId"]] = interface
    instance = Instance(_record(request, token, index, address), request, time.time())
    instance.order = f"{next(_LAUNCHES):09d}"
    instance.reservation = reserved
    account.instances[instance.id] = instance
    _attach_interface(instance, request, interface)
    for name, volume, keep in _volumes(request):
        account.volumes[volume["VolumeId"]] = volume
        _attach_volume(instance, name, volume, keep)
    if request.market == "spot":
        _add_spot_request(account, instance, request)
    if fleet:
        instance.fleet = fleet
        instance.record["Tags"].append({"Key": "aws:ec2:fleet-id", "Value": fleet})
    rule = account.guest_faults.first(lambda rule: "launch_fails" in rule.spec and rule.pool_matches(instance.pool))
    instance.failing = rule.spec["launch_fails"] if rule else None
    return instance


def _unmake(account, instance):
    del account.instances[instance.id]
    account.spot_requests.pop(instance.spot_request, None)
    for each in instance.record["NetworkInterfaces"]:
        del account.interfaces[each["NetworkInterfaceId"]]
    for each in instance.record["BlockDeviceMappings"]:
        del account.volumes[each["Ebs"]["VolumeId"]]


def _record(request, token, index, address):
    tags = dict(request.tags.get("instance", {}))
    if request.template:
        tags["aws:ec2launchtemplate:id"] = request.template[0]
        tags["aws:ec2launchtemplate:version"] = str(request.template[1])
    info = catalogue.types()[request.instance_type]
    name = f"ip-{address.replace('.', '-')}.ec2.internal"
    record = {
        "InstanceId": fresh_id("i"),
        "AmiLaunchIndex": index,
        "ImageId": request.image["ImageId"],
        "InstanceType": request.instance_type,
        "KeyName": request.key_name,
        "LaunchTime": utcnow().replace(microsecond=0),
        "Placement": {"AvailabilityZone": request.pool["zone"], "GroupName": "", "Tenancy": "default"},
        "PrivateDnsName": name,
        "PrivateIpAddress": address,
        "PublicDnsName": "",
        "StateTransitionReason": "",
        "SubnetId": request.subnet.id,
        "VpcId": request.subnet.vpc_id,
        "Architecture": request.image["Architecture"],
        "BlockDeviceMappings": [],
        "ClientToken": token,
        "EbsOptimized": False,
        "EnaSupport": True,
        "Hypervisor": "xen",
        "InstanceLifecycle": "spot" if request.market == "spot" else None,
        "Monitoring": {"State": "disabled"},
        "NetworkInterfaces": [],
        "RootDeviceName": request.image["RootDeviceName"],
        "RootDeviceType": "ebs",
        "SecurityGroups": request.groups,
        "SourceDestCheck": True,
        "VirtualizationType": "hvm",
        "CpuOptions": {"CoreCount": info["VCpuInfo"].get("DefaultCores", 1), "ThreadsPerCore": 1},
        "HibernationOptions": {"Configured": request.hibernation},
        "MetadataOptions": {
            "State": "applied",
            "HttpTokens": request.metadata.get("HttpTokens", "required"),
            "HttpPutResponseHopLimit": request.metadata.get("HttpPutResponseHopLimit", 2),
            "HttpEndpoint": request.metadata.get("HttpEndpoint", "enabled"),
            "InstanceMetadataTags": request.metadata.get("InstanceMetadataTags", "disabled"),
        },
        "PlatformDetails": "Linux/UNIX",
        "UsageOperation": "RunInstances",
        "Tags": tag_list(tags),
    }
    if request.public:  # loopback is all the lab has: an instance's public address is its private one
        record.update(PublicIpAddress=address, PublicDnsName=name)
    return record


def _attach_interface(instance, request, interface):
    attachment = {
        "AttachmentId": fresh_id("eni-attach"),
        "DeviceIndex": 0,
        "Status": "attached",
        "AttachTime": utcnow(),
        "DeleteOnTermination": not request.keep_interface,
    }
    interface["Attachment"] = {**attachment, "InstanceId": instance.id, "InstanceOwnerId": moto_app.ACCOUNT}
    interface["Status"] = "in-use"
    names = ("NetworkInterfaceId", "SubnetId", "VpcId", "PrivateIpAddress", "MacAddress", "Status", "Groups", "PrivateIpAddresses")
    shown = {**{name: interface[name] for name in names}, "Attachment": attachment}
    instance.record["NetworkInterfaces"].append(shown)


def _volumes(request):
    """(device, volume record, whether it is kept) of the root and of what the request adds."""
    mappings = {each["DeviceName"]: dict(each.get("Ebs", {})) for each in request.image["BlockDeviceMappings"]}
    for each in request.devices:
        mappings.setdefault(each["DeviceName"], {}).update(each.get("Ebs", {}))
    for name, ebs in mappings.items():
        size = ebs.get("VolumeSize", 8)
        volume = volume_record(request.pool["zone"], size, ebs, request.tags.get("volume", {}))
        yield name, volume, ebs.get("DeleteOnTermination") is False


def _attach_volume(instance, device, volume, keep):
    attachment = {
        "VolumeId": volume["VolumeId"],
        "InstanceId": instance.id,
        "Device": device,
        "State": "attached",
        "AttachTime": utcnow(),
        "DeleteOnTermination": not keep,
    }
    volume["Attachments"].append(attachment)
    volume["State"] = "in-use"
    shown = {
        "VolumeId": volume["VolumeId"],
        "Status": "attached",
        "AttachTime": attachment["AttachTime"],
        "DeleteOnTermination": not keep,
    }
    instance.record["BlockDeviceMappings"].append({"DeviceName": device, "Ebs": shown})


def _add_spot_request(account, instance, request):
    record = {
        "SpotInstanceRequestId": fresh_id("sir")[:12],
        "State": "active",
        "Status": {"Code": "fulfilled", "Message": "Your Spot request is fulfilled.", "UpdateTime": utcnow()},
        "Type": "one-time",
        "CreateTime": utcnow(),
        "InstanceId": instance.id,
        "InstanceInterruptionBehavior": request.interruption,
        "LaunchedAvailabilityZone": request.pool["zone"],
        "ProductDescription": "Linux/UNIX",
        "SpotPrice": request.max_price or f"{catalogue.on_demand_price(request.instance_type) / 1e6:.6f}",
        "LaunchSpecification": {"ImageId": request.image["ImageId"], "InstanceType": request.instance_type},
        "Tags": tag_list(request.tags.get("spot-instances-request", {})),
    }
    account.spot_requests[record["SpotInstanceRequestId"]] = record
    instance.spot_request = record["SpotInstanceRequestId"]
    instance.record["SpotInstanceRequestId"] = record["SpotInstanceRequestId"]
