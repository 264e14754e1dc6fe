"""Describe actions over the lab's own records. The front renders what they return."""

import time

from . import catalogue, wire
from .errors import ApiError, invalid, not_found
from .launch import reservation
from .records import check_max_results, filtered, page, tags_of

# --- instances ------------------------------------------------------------------------------------

INSTANCE_FILTERS = {
    "instance-id": lambda record: record["InstanceId"],
    "instance-state-name": lambda record: record["State"]["Name"],
    "instance-state-code": lambda record: record["State"]["Code"],
    "instance-type": lambda record: record["InstanceType"],
    "image-id": lambda record: record["ImageId"],
    "subnet-id": lambda record: record.get("SubnetId"),
    "vpc-id": lambda record: record.get("VpcId"),
    "availability-zone": lambda record: record["Placement"]["AvailabilityZone"],
    "private-ip-address": lambda record: record.get("PrivateIpAddress"),
    "ip-address": lambda record: record.get("PublicIpAddress"),
    "client-token": lambda record: record["ClientToken"],
    "instance-lifecycle": lambda record: record["InstanceLifecycle"],
    "spot-instance-request-id": lambda record: record.get("SpotInstanceRequestId"),
    "launch-time": lambda record: record["LaunchTime"],
    "architecture": lambda record: record["Architecture"],
    "key-name": lambda record: record["KeyName"],
    "state-reason-code": lambda record: record.get("StateReason", {}).get("Code"),
    "reservation-id": lambda record: record["reservation"],
    "instance.group-id": lambda record: [group["GroupId"] for group in record["SecurityGroups"]],
    "network-interface.network-interface-id": lambda record: [
        each["NetworkInterfaceId"] for each in record["NetworkInterfaces"]
    ],
    "block-device-mapping.volume-id": lambda record: [each["Ebs"]["VolumeId"] for each in record["BlockDeviceMappings"]],
}


def describe_instances(account, params, limits):
    chosen, token = _instances(account, params, limits)
    reservations = []
    for instance, record in chosen:
        if not reservations or reservations[-1]["ReservationId"] != instance.reservation:
            reservations.append({**reservation([instance]), "Instances": []})
        reservations[-1]["Instances"].append(_rendered(instance, record))
    return {"Reservations": reservations, "NextToken": token}


def _instances(account, params, limits):
    """([(instance, its record as of then)], token), in the order of their launch."""
    check_max_results(params)
    named = params.get("InstanceIds") or []
    if named and "MaxResults" in params:
        raise ApiError(
            "InvalidParameterCombination",
            "The parameter instancesSet cannot be used with the parameter maxResults",
        )
    when = time.time() - max(account.settings.describe_lag_ms, limits.lag_ms) / 1000
    known = account.named(named) if named else [each for each in account.instances.values() if account.is_known(each)]
    views = {each.id: (each, each.as_of(when)) for each in known}
    if absent := [each for each in named if views[each][1] is None]:
        raise not_found("InvalidInstanceID.NotFound", "instance", absent)
    records = []
    for instance, record in views.values():
        if record is not None:
            record["reservation"] = instance.reservation
            records.append(record)
    passed = {each["InstanceId"] for each in filtered(records, params.get("Filters"), INSTANCE_FILTERS)}
    items = sorted((views[each] for each in passed), key=_order)
    return page(items, _order, params, limits)


def _order(item):
    return item[0].order


def _rendered(instance, record):
    """XML of the present record is kept: most of a big list has not changed since the last one."""
    shape = wire.element_shape("DescribeInstances", "Reservations").members["Instances"].member
    if record is not instance.record:
        return wire.Rendered(wire.render(shape, record))
    if instance.rendered is None:
        instance.rendered = wire.Rendered(wire.render(shape, record))
    return instance.rendered


def describe_instance_status(account, params, limits):
    chosen, token = _instances(account, {**params, "Filters": _status_filters(params)}, limits)
    if not params.get("IncludeAllInstances"):
        chosen = [(instance, record) for instance, record in chosen if record["State"]["Name"] == "running"]
    return {"InstanceStatuses": [_status(record) for _, record in chosen], "NextToken": token}


def _status_filters(params):
    return [each for each in params.get("Filters") or [] if each["Name"] in INSTANCE_FILTERS]


def _status(record):
    status = "ok" if record["State"]["Name"] == "running" else "not-applicable"
    return {
        "InstanceId": record["InstanceId"],
        "AvailabilityZone": record["Placement"]["AvailabilityZone"],
        "InstanceState": record["State"],
        "InstanceStatus": {"Status": status},
        "SystemStatus": {"Status": status},
    }


# --- everything else is a list of records with an id ------------------------------------------------


def _attachment(record, name):
    attachment = record.get("Attachment") or (record.get("Attachments") or [{}])[0]
    return attachment.get(name)


VOLUME_FILTERS = {
    "volume-id": lambda record: record["VolumeId"],
    "status": lambda record: record["State"],
    "availability-zone": lambda record: record["AvailabilityZone"],
    "volume-type": lambda record: record["VolumeType"],
    "size": lambda record: record["Size"],
    "snapshot-id": lambda record: record["SnapshotId"],
    "create-time": lambda record: record["CreateTime"],
    "encrypted": lambda record: record["Encrypted"],
    "attachment.instance-id": lambda record: _attachment(record, "InstanceId"),
    "attachment.status": lambda record: _attachment(record, "State"),
    "attachment.delete-on-termination": lambda record: _attachment(record, "DeleteOnTermination"),
}
INTERFACE_FILTERS = {
    "network-interface-id": lambda record: record["NetworkInterfaceId"],
    "status": lambda record: record["Status"],
    "availability-zone": lambda record: record["AvailabilityZone"],
    "subnet-id": lambda record: record["SubnetId"],
    "vpc-id": lambda record: record["VpcId"],
    "private-ip-address": lambda record: record["PrivateIpAddress"],
    "group-id": lambda record: [group["GroupId"] for group in record["Groups"]],
    "attachment.instance-id": lambda record: _attachment(record, "InstanceId"),
    "attachment.status": lambda record: _attachment(record, "Status"),
    "attachment.delete-on-termination": lambda record: _attachment(record, "DeleteOnTermination"),
}
SPOT_FILTERS = {
    "spot-instance-request-id": lambda record: record["SpotInstanceRequestId"],
    "state": lambda record: record["State"],
    "status-code": lambda record: record["Status"]["Code"],
    "instance-id": lambda record: record["InstanceId"],
    "type": lambda record: record["Type"],
    "create-time": lambda record: record["CreateTime"],
    "launched-availability-zone": lambda record: record["LaunchedAvailabilityZone"],
}
IMAGE_FILTERS = {
    "image-id": lambda record: record["ImageId"],
    "name": lambda record: record["Name"],
    "owner-id": lambda record: record["OwnerId"],
    "owner-alias": lambda record: record["ImageOwnerAlias"],
    "architecture": lambda record: record["Architecture"],
    "state": lambda record: record["State"],
    "image-type": lambda record: record["ImageType"],
    "is-public": lambda record: record["Public"],
    "virtualization-type": lambda record: record["VirtualizationType"],
    "root-device-type": lambda record: record["RootDeviceType"],
    "hypervisor": lambda record: record["Hypervisor"],
    "creation-date": lambda record: record["CreationDate"],
    "ena-support": lambda record: record["EnaSupport"],
    "description": lambda record: record["Description"],
}
SUBNET_FILTERS = {
    "subnet-id": lambda record: record["SubnetId"],
    "vpc-id": lambda record: record["VpcId"],
    "availability-zone": lambda record: record["AvailabilityZone"],
    "availabilityZone": lambda record: record["AvailabilityZone"],
    "cidr-block": lambda record: record["CidrBlock"],
    "state": lambda record: record["State"],
    "default-for-az": lambda record: record["DefaultForAz"],
    "available-ip-address-count": lambda record: record["AvailableIpAddressCount"],
}


def _listed(records, key, params, limits, filters, ids, error):
    """A page of the named records (or of all) that pass the filters."""
    check_max_results(params)
    named = params.get(ids) or []
    known = {each[key] for each in records}
    if absent := [each for each in named if each not in known]:
        raise not_found(error, key.removesuffix("Id").lower(), absent)
    chosen = filtered([each for each in records if not named or each[key] in named], params.get("Filters"), filters)
    by_key = lambda record: record[key]  # noqa: E731
    return page(sorted(chosen, key=by_key), by_key, params, limits)


def describe_volumes(account, params, limits):
    records = list(account.volumes.values())
    found, token = _listed(records, "VolumeId", params, limits, VOLUME_FILTERS, "VolumeIds", "InvalidVolume.NotFound")
    return {"Volumes": found, "NextToken": token}


def describe_network_interfaces(account, params, limits):
    key, error = "NetworkInterfaceId", "InvalidNetworkInterfaceID.NotFound"
    records = [{**each, "TagSet": each["Tags"]} for each in account.interfaces.values()]
    found, token = _listed(records, key, params, limits, INTERFACE_FILTERS, key + "s", error)
    return {"NetworkInterfaces": found, "NextToken": token}


def describe_spot_instance_requests(account, params, limits):
    key, error = "SpotInstanceRequestId", "InvalidSpotInstanceRequestID.NotFound"
    records = list(account.spot_requests.values())
    found, token = _listed(records, key, params, limits, SPOT_FILTERS, key + "s", error)
    return {"SpotInstanceRequests": found, "NextToken": token}


def describe_images(account, params, limits):
    owners = {"self": "123456789012"}
    wanted = [owners.get(each, each) for each in params.get("Owners") or []]
    records = [
        each for each in account.images.values() if not wanted or each["OwnerId"] in wanted or each["ImageOwnerAlias"] in wanted
    ]
    found, token = _listed(records, "ImageId", params, limits, IMAGE_FILTERS, "ImageIds", "InvalidAMIID.NotFound")
    return {"Images": found, "NextToken": token}


def describe_subnets(account, params, limits):
    records = [_subnet(account, each) for each in account.subnets().values()]
    found, token = _listed(records, "SubnetId", params, limits, SUBNET_FILTERS, "SubnetIds", "InvalidSubnetID.NotFound")
    return {"Subnets": found, "NextToken": token}


def _subnet(account, subnet):
    used = sum(1 for each in account.interfaces.values() if each["SubnetId"] == subnet.id)
    return {
        "SubnetId": subnet.id,
        "VpcId": subnet.vpc_id,
        "CidrBlock": subnet.cidr_block,
        "AvailabilityZone": subnet.availability_zone,
        "AvailableIpAddressCount": subnet.cidr.num_addresses - 5 - used,
        "DefaultForAz": False,
        "MapPublicIpOnLaunch": False,
        "OwnerId": "123456789012",
        "State": "available",
        "Tags": [{"Key": tag["key"], "Value": tag["value"]} for tag in subnet.get_tags()],
    }


# --- types ----------------------------------------------------------------------------------------


def describe_instance_types(account, params, limits):
    check_max_results(params, high=100)
    named = params.get("InstanceTypes") or []
    if named and "MaxResults" in params:
        raise ApiError("InvalidParameterCombination", "The parameter InstanceTypes cannot be used with MaxResults.")
    if unknown := [each for each in named if each not in catalogue.types()]:
        raise ApiError("InvalidInstanceType", f"The following supplied instance types do not exist: [{', '.join(unknown)}]")
    records = [catalogue.types()[each] for each in named or catalogue.types()]
    fields = {name: _path(path) for name, path in catalogue.FILTER_PATHS.items()}
    key = lambda record: record["InstanceType"]  # noqa: E731
    chosen = sorted(filtered(records, params.get("Filters"), fields), key=key)
    paged = params if named else {"MaxResults": 100, **params}
    chosen, token = page(chosen, key, paged, limits)
    return {"InstanceTypes": [_rendered_type(each["InstanceType"]) for each in chosen], "NextToken": token}


def _path(path):
    def value(record):
        for name in path:
            record = (record or {}).get(name)
        return record

    return value


_TYPES = {}


def _rendered_type(name):
    if name not in _TYPES:
        shape = wire.element_shape("DescribeInstanceTypes", "InstanceTypes")
        _TYPES[name] = wire.Rendered(wire.render(shape, catalogue.types()[name]))
    return _TYPES[name]


OFFERING_FILTERS = {"instance-type": lambda row: row["InstanceType"], "location": lambda row: row["Location"]}


def describe_instance_type_offerings(account, params, limits):
    check_max_results(params)
    location = params.get("LocationType", "region")
    if location not in ("region", "availability-zone", "availability-zone-id"):
        raise invalid("locationType", location)
    rows = filtered(catalogue.offerings(location), params.get("Filters"), OFFERING_FILTERS)
    key = lambda row: f"{row['InstanceType']} {row['Location']}"  # noqa: E731
    rows, token = page(sorted(rows, key=key), key, params, limits)
    return {"InstanceTypeOfferings": rows, "NextToken": token}


# --- tags -----------------------------------------------------------------------------------------

TAG_FILTERS = {
    "resource-id": lambda row: row["ResourceId"],
    "resource-type": lambda row: row["ResourceType"],
    "key": lambda row: row["Key"],
    "value": lambda row: row["Value"],
}


def describe_tags(account, params, limits):
    kinds = {
        "instance": {each.id: each.record for each in account.instances.values()},
        "volume": account.volumes,
        "network-interface": account.interfaces,
        "spot-instances-request": account.spot_requests,
        "launch-template": account.templates,
        "image": account.images,
    }
    rows = [
        {"ResourceId": each, "ResourceType": kind, "Key": key, "Value": value}
        for kind, records in kinds.items()
        for each, record in records.items()
        for key, value in tags_of(record).items()
    ]
    key = lambda row: f"{row['ResourceId']} {row['Key']}"  # noqa: E731
    rows, token = page(sorted(filtered(rows, params.get("Filters"), TAG_FILTERS), key=key), key, params, limits)
    return {"Tags": rows, "NextToken": token}
