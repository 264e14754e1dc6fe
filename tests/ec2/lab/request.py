"""What one instance shall be: the launch call joined with its launch template, checked as AWS checks it."""

import base64
import binascii
import dataclasses

from . import catalogue, moto_app
from .errors import ApiError, invalid, missing, not_found

USER_DATA_LIMIT = 16 * 1024
TAGGABLE = ("instance", "volume", "network-interface", "spot-instances-request", "fleet", "launch-template")


@dataclasses.dataclass
class Request:
    """A checked launch request for one pool."""

    image: dict
    instance_type: str
    subnet: object
    market: str
    groups: list
    user_data: bytes
    tags: dict  # resource type -> {key: value}
    shutdown_behavior: str
    protected: bool
    hibernation: bool
    metadata: dict
    devices: list
    key_name: str | None
    address: str | None
    public: bool
    keep_interface: bool
    template: tuple | None  # (id, version)
    interruption: str
    max_price: str | None

    @property
    def pool(self):
        zone = self.subnet.availability_zone
        image = self.image["ImageId"]
        return {"type": self.instance_type, "zone": zone, "market": self.market, "image": image}


def checked(account, params):
    """The request of RunInstances parameters, or AWS's error."""
    template, data = template_data(account, params.get("LaunchTemplate"))
    return from_data(account, merged(data, params), template)


def template_data(account, specification):
    """((id, version), data) of a launch template, or (None, {})."""
    if not specification:
        return None, {}
    name, wanted = specification.get("LaunchTemplateName"), specification.get("LaunchTemplateId")
    for record in account.templates.values():
        if wanted == record["LaunchTemplateId"] or (name and name == record["LaunchTemplateName"]):
            break
    else:
        if wanted:
            raise not_found("InvalidLaunchTemplateId.NotFound", "specified launch template, with template", [wanted])
        raise ApiError("InvalidLaunchTemplateName.NotFoundException", f"The specified launch template, '{name}', does not exist.")
    version = specification.get("Version", "$Default")
    number = {"$Default": record["DefaultVersionNumber"], "$Latest": record["LatestVersionNumber"]}.get(version, version)
    try:
        return (record["LaunchTemplateId"], int(number)), record["versions"][int(number) - 1]
    except (ValueError, IndexError):
        raise ApiError(
            "InvalidLaunchTemplateId.VersionNotFound",
            f"Could not find the specified version {version} for the launch template with ID {record['LaunchTemplateId']}.",
        ) from None


def merged(data, params):
    """The call's own parameters win; tags of both are joined, the call's last."""
    joined = {**data, **{name: value for name, value in params.items() if name != "TagSpecifications"}}
    joined["TagSpecifications"] = data.get("TagSpecifications", []) + params.get("TagSpecifications", [])
    if "SubnetId" in params and "NetworkInterfaces" in data and "NetworkInterfaces" not in params:
        first = {**data["NetworkInterfaces"][0], "SubnetId": params["SubnetId"]}
        joined["NetworkInterfaces"] = [first]
        del joined["SubnetId"]
    return joined


def from_data(account, data, template):
    market_options = data.get("InstanceMarketOptions") or {}
    market = market_options.get("MarketType", "on-demand")
    spot = market_options.get("SpotOptions") or {}
    image = _image(account, data.get("ImageId"))
    instance_type = _type(data.get("InstanceType"))
    interface = _interface(data)
    subnet = _subnet(account, interface.get("SubnetId") or data.get("SubnetId"))
    behavior = data.get("InstanceInitiatedShutdownBehavior", "stop")
    if behavior not in ("stop", "terminate"):
        raise invalid("instanceInitiatedShutdownBehavior", behavior)
    _check_key(data.get("KeyName"))
    request = Request(
        image=image,
        instance_type=instance_type,
        subnet=subnet,
        market=market,
        groups=_groups(interface.get("Groups") or data.get("SecurityGroupIds") or [], subnet),
        user_data=decoded_user_data(data.get("UserData")),
        tags=tags_by_resource(data.get("TagSpecifications", []), market),
        shutdown_behavior=behavior,
        protected=bool(data.get("DisableApiTermination")),
        hibernation=bool((data.get("HibernationOptions") or {}).get("Configured")),
        metadata=data.get("MetadataOptions") or {},
        devices=data.get("BlockDeviceMappings") or [],
        key_name=data.get("KeyName"),
        address=interface.get("PrivateIpAddress") or data.get("PrivateIpAddress"),
        public=bool(interface.get("AssociatePublicIpAddress")),
        keep_interface=interface.get("DeleteOnTermination") is False,
        template=template,
        interruption=spot.get("InstanceInterruptionBehavior", "terminate"),
        max_price=spot.get("MaxPrice"),
    )
    _check_fit(request)
    return request


def _image(account, image_id):
    if not image_id:
        raise missing("ImageId")
    if not image_id.startswith("ami-"):
        raise ApiError("InvalidAMIID.Malformed", f'Invalid id: "{image_id}" (expecting "ami-...")')
    if image_id not in account.images:
        raise ApiError("InvalidAMIID.NotFound", f"The image id '[{image_id}]' does not exist")
    image = account.images[image_id]
    if image["State"] != "available":
        raise ApiError("InvalidAMIID.Unavailable", f"The image ID '{image_id}' is not available")
    return image


def _type(instance_type):
    instance_type = instance_type or "m1.small"
    if instance_type not in catalogue.types():
        raise ApiError("InvalidParameterValue", f"Invalid value '{instance_type}' for InstanceType.")
    return instance_type


def _interface(data):
    interfaces = data.get("NetworkInterfaces") or []
    if not interfaces:
        return {}
    if data.get("SubnetId") or data.get("SecurityGroupIds"):
        raise ApiError(
            "InvalidParameterCombination",
            "Network interfaces and an instance-level subnet ID may not be specified on the same request",
        )
    if len(interfaces) > 1 or interfaces[0].get("NetworkInterfaceId"):
        raise ApiError("Unsupported", "The lab makes one new network interface per instance.")
    return interfaces[0]


def _subnet(account, subnet_id):
    if not subnet_id:
        raise ApiError("MissingInput", "No subnets found for the default VPC. Please specify a subnet.")
    subnets = account.subnets()
    if subnet_id not in subnets:
        raise not_found("InvalidSubnetID.NotFound", "subnet", [subnet_id])
    return subnets[subnet_id]


def _groups(ids, subnet):
    backend = moto_app.backend("ec2")
    if not ids:
        default = backend.get_security_group_from_name("default", subnet.vpc_id)
        ids = [default.id] if default else []
    groups = []
    for each in ids:
        group = backend.get_security_group_from_id(each)
        if group is None:
            raise ApiError("InvalidGroup.NotFound", f"The security group '{each}' does not exist")
        if group.vpc_id != subnet.vpc_id:
            raise ApiError("InvalidParameter", f"Security group {each} and subnet {subnet.id} belong to different networks.")
        groups.append({"GroupId": each, "GroupName": group.name})
    return groups


def _check_key(name):
    if name and name not in moto_app.backend("ec2").key_pairs:
        raise ApiError("InvalidKeyPair.NotFound", f"The key pair '{name}' does not exist")


def decoded_user_data(text):
    if not text:
        return b""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ApiError("InvalidParameterValue", "Invalid BASE64 encoding of user data.") from None
    if len(raw) > USER_DATA_LIMIT:
        raise ApiError("InvalidParameterValue", f"User data is limited to {USER_DATA_LIMIT} bytes")
    return raw


def tags_by_resource(specifications, market):
    tags = {}
    for each in specifications:
        kind = each.get("ResourceType", "")
        if kind not in TAGGABLE or (kind == "spot-instances-request" and market != "spot"):
            raise ApiError("InvalidParameterValue", f"'{kind}' is not a valid taggable resource type for this operation.")
        for tag in each.get("Tags", []):
            check_tag(tag["Key"], tag.get("Value", ""))
            tags.setdefault(kind, {})[tag["Key"]] = tag.get("Value", "")
    for kind, of_kind in tags.items():
        if len(of_kind) > 50:
            raise ApiError("TagLimitExceeded", f"More than 50 tags specified for {kind}")
    return tags


def check_tag(key, value):
    if key.lower().startswith("aws:"):
        raise ApiError("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
    if not key or len(key) > 127 or len(value) > 255:
        raise ApiError("InvalidParameterValue", f"Tag '{key}' exceeds the maximum length")


def _check_fit(request):
    info = catalogue.types()[request.instance_type]
    architecture = request.image["Architecture"]
    if architecture not in info["ProcessorInfo"]["SupportedArchitectures"]:
        raise ApiError(
            "InvalidParameterValue",
            f"The architecture '{architecture}' of the specified image does not match the architecture of the "
            f"instance type {request.instance_type}.",
        )
    zones = catalogue.zones_of_type().get(request.instance_type, set())
    if request.pool["zone"] not in zones:
        raise ApiError(
            "Unsupported",
            f"Your requested instance type ({request.instance_type}) is not supported in your requested "
            f"Availability Zone ({request.pool['zone']}). Please retry your request by not specifying an Availability "
            f"Zone or choosing {', '.join(sorted(zones))}.",
        )
    if request.market == "spot" and "spot" not in info["SupportedUsageClasses"]:
        raise ApiError("UnsupportedOperation", f"Spot is not supported for {request.instance_type}.")
    if request.max_price and float(request.max_price) * 1e6 < catalogue.price(request.pool):
        raise ApiError(
            "SpotMaxPriceTooLow",
            f"Your Spot request price of {request.max_price} is lower than the minimum required Spot request "
            f"fulfillment price of {catalogue.price(request.pool) / 1e6}.",
        )
    if request.hibernation and not _can_hibernate(request, info):
        raise ApiError("UnsupportedHibernationConfiguration", "The root volume must be encrypted, and the type support hibernation.")


def _can_hibernate(request, info):
    root = request.image["RootDeviceName"]
    encrypted = any(each.get("DeviceName") == root and each.get("Ebs", {}).get("Encrypted") for each in request.devices)
    return info["HibernationSupported"] and encrypted and request.market == "on-demand"
