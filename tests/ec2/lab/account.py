"""The account's own records (instances and all that hangs on them) and the life cycle of instances.

moto keeps what has no life of its own: VPCs, subnets, security groups, key pairs, parameters, queues. Every
method runs under `lock`. Guests follow the instances' states; they are told through `guests`, never asked.
"""

import ipaddress
import re
import secrets
import threading
import time

from . import catalogue, moto_app
from .errors import ApiError, not_found
from .faults import Rules, Settings, check_api_rule, check_guest_rule
from .instance import GUEST_SHUTDOWN, RECLAIMED, USER_SHUTDOWN, utcnow
from .journal import Journal
from .limits import HOLDS_SLOT, Capacity, Quotas, Throttle
from .records import tag_list
from .timeline import Timeline


def fresh_id(prefix):
    return f"{prefix}-{secrets.token_hex(9)[:17]}"


class Account:
    def __init__(self, network):
        self.lock = threading.RLock()
        self.timeline = Timeline(self.lock)
        self.network = ipaddress.ip_network(network)
        self.guests = None  # set by the composition; has boot, end, forget
        self.interruptions = None  # likewise; called with an event to send to the queue
        self.settings = Settings()
        self.faults = Rules("fault", check_api_rule)
        self.guest_faults = Rules("guest-fault", check_guest_rule)
        self.capacity, self.quotas, self.throttle = Capacity(), Quotas(), Throttle()
        self.journal = Journal()
        self.instances, self.volumes, self.interfaces = {}, {}, {}
        self.spot_requests, self.fleets, self.templates = {}, {}, {}
        self.images = {}
        self.tokens = {}  # (action, token, scope) -> (parameters, what was made)

    # --- look-ups ---

    def subnets(self):
        """moto's subnets inside the lab's network, by id."""
        found = {}
        for of_zone in moto_app.backend("ec2").subnets.values():
            for subnet in of_zone.values():
                if ipaddress.ip_network(subnet.cidr_block).subnet_of(self.network):
                    found[subnet.id] = subnet
        return found

    def named(self, ids):
        """The instances of these ids, or AWS's error."""
        for each in ids:
            if not re.fullmatch(r"i-[0-9a-f]{8}([0-9a-f]{9})?", each):
                raise ApiError("InvalidInstanceID.Malformed", f'Invalid id: "{each}"')
        absent = [each for each in ids if each not in self.instances or not self.is_known(self.instances[each])]
        if absent:
            raise not_found("InvalidInstanceID.NotFound", "instance", absent)
        return [self.instances[each] for each in dict.fromkeys(ids)]

    def is_known(self, instance):
        """Whether the API has heard of it already, and not forgotten it yet."""
        now = time.time()
        if instance.ended_at and now - instance.ended_at > self.settings.terminated_visible_ms / 1000:
            return False
        return now - instance.created_at >= self.settings.not_found_ms / 1000

    def used(self, pool):
        return sum(1 for each in self.instances.values() if each.state in HOLDS_SLOT and _same_pool(each.pool, pool))

    def used_vcpus(self, market):
        live = (each for each in self.instances.values() if each.state in HOLDS_SLOT and each.market == market)
        return sum(catalogue.vcpus(each.record["InstanceType"]) for each in live)

    def records_with_id(self, resource):
        """The own record of any kind that has tags, or None (then it may be moto's)."""
        if resource in self.instances:
            return self.instances[resource].record
        for kind in (self.volumes, self.interfaces, self.spot_requests, self.fleets, self.templates, self.images):
            if resource in kind:
                return kind[resource]
        return None

    def key_pair(self, name):
        """The public key of a key pair, or None."""
        pair = moto_app.backend("ec2").key_pairs.get(name)
        return pair.public_key if pair else None

    # --- addresses ---

    def take_address(self, subnet, wanted=None):
        taken = {each["PrivateIpAddress"] for each in self.interfaces.values()}
        network = ipaddress.ip_network(subnet.cidr_block)
        usable = range(4, network.num_addresses - 1)  # AWS keeps the first four and the last
        if wanted:
            if int(ipaddress.ip_address(wanted)) - int(network[0]) not in usable:
                raise ApiError("InvalidParameterValue", f"Address {wanted} does not fall within the subnet's address range")
            if wanted in taken:
                raise ApiError("InvalidIPAddress.InUse", f"Address {wanted} is in use.")
            return wanted
        for address in map(str, map(network.__getitem__, usable)):
            if address not in taken:
                return address
        raise ApiError(
            "InsufficientFreeAddressesInSubnet",
            f"There are not enough free addresses in subnet '{subnet.id}' to satisfy the requested number of instances.",
        )

    # --- life of an instance ---

    def begin(self, instance):
        """A new instance, or a stopped one that was started."""
        instance.enter("pending", time.time())
        self._later(instance, self.settings.pending_ms, self._run)

    def _run(self, instance):
        if instance.failing:
            self.end(instance, (instance.failing, f"{instance.failing}: launch failed"), at_once=True)
            return
        instance.enter("running", time.time())
        self.guests.boot(instance)

    def end(self, instance, reason=USER_SHUTDOWN, at_once=False):
        """Terminates: the guest dies now, the record goes through `shutting-down`."""
        if instance.state in ("terminated", "shutting-down"):
            return
        self.guests.end(instance.id)
        instance.enter("shutting-down", time.time(), reason)
        self._later(instance, 0 if at_once else self.settings.shutting_down_ms, self._gone)

    def _gone(self, instance):
        reason = instance.record.get("StateReason", {})
        instance.enter("terminated", time.time(), (reason.get("Code", ""), reason.get("Message", "")))
        instance.ended_at = time.time()
        self.guests.forget(instance.id)
        self._release(instance)
        self._close_spot_request(instance)
        self._close_fleet(instance)

    def halt(self, instance, reason=USER_SHUTDOWN):
        """Stops: the guest dies now, its disk stays."""
        if instance.state not in ("running", "pending"):
            return
        self.guests.end(instance.id)
        instance.enter("stopping", time.time(), reason)
        self._later(instance, self.settings.stopping_ms, lambda each: each.enter("stopped", time.time(), reason))

    def powered_off(self, instance):
        """The guest switched itself off."""
        if instance.state != "running":
            return
        if instance.shutdown_behavior == "terminate":
            self.end(instance, GUEST_SHUTDOWN)
        else:
            self.halt(instance, GUEST_SHUTDOWN)

    def reclaim(self, instance, after_ms):
        """A spot interruption: the notice is the metadata's, the end comes later."""
        at = utcnow().timestamp() + after_ms / 1000
        instance.notice = {"action": "terminate", "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))}
        self.timeline.after(after_ms, lambda: self.end(instance, RECLAIMED))

    def _later(self, instance, ms, call):
        epoch = instance.epoch

        def due():
            if instance.epoch == epoch:
                call(instance)

        self.timeline.after(ms, due)

    def _release(self, instance):
        """Volumes and interfaces that go with the instance; what stays is left unattached."""
        for volume in [each for each in self.volumes.values() if _attached_to(each) == instance.id]:
            attachment = volume["Attachments"].pop()
            if attachment["DeleteOnTermination"] and not self.settings.leave_volumes:
                del self.volumes[volume["VolumeId"]]
            volume["State"] = "available"
        for interface in [each for each in self.interfaces.values() if _attached_to(each) == instance.id]:
            attachment = interface.pop("Attachment")
            if attachment["DeleteOnTermination"] and not self.settings.leave_interfaces:
                del self.interfaces[interface["NetworkInterfaceId"]]
            interface["Status"] = "available"
        for name in ("PrivateIpAddress", "PublicIpAddress", "SubnetId", "VpcId"):
            instance.record.pop(name, None)
        instance.record.update(NetworkInterfaces=[], BlockDeviceMappings=[], PrivateDnsName="", PublicDnsName="")
        instance.touch()

    def _close_spot_request(self, instance):
        request = self.spot_requests.get(instance.spot_request)
        if request and request["State"] in ("open", "active"):
            reclaimed = instance.record["StateReason"]["Code"] == RECLAIMED[0]
            request["State"] = "closed"
            code = "instance-terminated-no-capacity" if reclaimed else "instance-terminated-by-user"
            request["Status"] = {"Code": code, "Message": code, "UpdateTime": utcnow()}

    def _close_fleet(self, instance):
        if instance.fleet and not any(
            each.fleet == instance.fleet and each.state != "terminated" for each in self.instances.values()
        ):
            if fleet := self.fleets.get(instance.fleet):
                fleet["FleetState"] = "deleted"

    # --- things left behind ---

    def stray_volume(self, zone, tags):
        volume = volume_record(zone, 8, {}, tags)
        self.volumes[volume["VolumeId"]] = volume
        return volume["VolumeId"]

    def stray_interface(self, subnet, tags):
        interface = interface_record(subnet, self.take_address(subnet), [], tags)
        self.interfaces[interface["NetworkInterfaceId"]] = interface
        return interface["NetworkInterfaceId"]


def _same_pool(one, other):
    return all(one[name] == other[name] for name in ("type", "zone", "market"))


def _attached_to(record):
    attachment = record.get("Attachment") or (record.get("Attachments") or [{}])[0]
    return attachment.get("InstanceId")


def volume_record(zone, size, ebs, tags):
    return {
        "VolumeId": fresh_id("vol"),
        "AvailabilityZone": zone,
        "Size": size,
        "State": "available",
        "CreateTime": utcnow(),
        "VolumeType": ebs.get("VolumeType", "gp3"),
        "Encrypted": bool(ebs.get("Encrypted", False)),
        "SnapshotId": ebs.get("SnapshotId", ""),
        "Iops": ebs.get("Iops", 3000),
        "Throughput": ebs.get("Throughput", 125),
        "MultiAttachEnabled": False,
        "Attachments": [],
        "Tags": tag_list(tags),
    }


def interface_record(subnet, address, groups, tags):
    octets = [int(part) for part in address.split(".")]
    return {
        "NetworkInterfaceId": fresh_id("eni"),
        "SubnetId": subnet.id,
        "VpcId": subnet.vpc_id,
        "AvailabilityZone": subnet.availability_zone,
        "OwnerId": moto_app.ACCOUNT,
        "PrivateIpAddress": address,
        "PrivateIpAddresses": [{"Primary": True, "PrivateIpAddress": address}],
        "MacAddress": "0a:ff:" + ":".join(f"{octet:02x}" for octet in octets),
        "InterfaceType": "interface",
        "SourceDestCheck": True,
        "RequesterManaged": False,
        "Description": "",
        "Status": "available",
        "Groups": groups,
        "Tags": tag_list(tags),
    }
