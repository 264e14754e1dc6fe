"""What the account offers: instance types and their zones (moto's tables), prices, and the lab's own images."""

import datetime
import functools
import zlib

from . import moto_app  # noqa: F401 sets moto's environment before moto is imported
from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS, INSTANCE_TYPES, InstanceType

REGION = moto_app.REGION
ZONES = [REGION + letter for letter in "abcdef"]
DEBIAN, CANONICAL = "136693071363", "099720109477"
LOGINS = {DEBIAN: "admin", CANONICAL: "ubuntu"}

FILTER_PATHS = InstanceType._filter_attributes


def types():
    return INSTANCE_TYPES


def offerings(location_type):
    return INSTANCE_TYPE_OFFERINGS[location_type][REGION]


@functools.lru_cache(maxsize=None)
def zones_of_type():
    zones = {}
    for row in offerings("availability-zone"):
        zones.setdefault(row["InstanceType"], set()).add(row["Location"])
    return zones


def vcpus(instance_type):
    return INSTANCE_TYPES[instance_type]["VCpuInfo"]["DefaultVCpus"]


# --- prices, in micro-dollars an hour -------------------------------------------------------------

# List prices of us-east-1 per vCPU, where a family's sizes are multiples of each other.
PER_VCPU = {
    "m7i": 50_400, "m7a": 57_960, "m7g": 40_800, "m6i": 48_000, "m6a": 43_200, "m6g": 38_500, "m5": 48_000,
    "c7i": 44_625, "c7a": 51_320, "c7g": 36_250, "c6i": 42_500, "c6a": 38_250, "c6g": 34_000, "c5": 42_500,
    "r7i": 66_150, "r7g": 53_550, "r6i": 63_000,
}  # fmt: skip


@functools.lru_cache(maxsize=None)
def on_demand_price(instance_type):
    """The list price where it is known, else about what its size would cost."""
    info = INSTANCE_TYPES[instance_type]
    cores, gib = info["VCpuInfo"]["DefaultVCpus"], info["MemoryInfo"]["SizeInMiB"] / 1024
    if per_vcpu := PER_VCPU.get(instance_type.partition(".")[0]):
        return per_vcpu * cores
    if instance_type.startswith(("t3.", "t4g.", "t3a.")):
        return round({"t3": 10_400, "t4g": 8_400, "t3a": 9_400}[instance_type.partition(".")[0]] * gib)
    return round(cores * 38_800 + gib * 2_900)


def spot_price(instance_type, zone):
    """About a third of the list price, steady for each type and zone."""
    share = 28 + zlib.crc32(f"{instance_type}/{zone}".encode()) % 15
    return on_demand_price(instance_type) * share // 100


def price(pool):
    if pool["market"] == "spot":
        return spot_price(pool["type"], pool["zone"])
    return on_demand_price(pool["type"])


# --- images ---------------------------------------------------------------------------------------

ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}
SYSTEMS = {
    ("debian", "12"): (DEBIAN, "debian-12-{arch}-{date}-2220", "/dev/xvda"),
    ("ubuntu", "24.04"): (
        CANONICAL,
        "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-{arch}-server-{date}",
        "/dev/sda1",
    ),
}
PARAMETERS = {
    ("debian", "12"): "/aws/service/debian/release/12/latest/{arch}",
    ("ubuntu", "24.04"): "/aws/service/canonical/ubuntu/server/24.04/stable/current/{arch}/hvm/ebs-gp3/ami-id",
}


def stock_images(today):
    """(records, ready-file rows, parameters): three dates of each system, the last some days ago, oldest first."""
    records, rows, parameters = [], [], {}
    for (system, version), (owner, name, device) in SYSTEMS.items():
        for arch, short in ARCHITECTURES.items():
            for days in (95, 40, 9):
                date = today - datetime.timedelta(days=days)
                full = name.format(arch=short, date=f"{date:%Y%m%d}")
                record = image_record(full, owner, arch, device, f"{date:%Y-%m-%d}T00:00:00.000Z")
                records.append(record)
                rows.append(_row(record, system, version))
            parameters[PARAMETERS[system, version].format(arch=short)] = records[-1]["ImageId"]
    return records, rows, parameters


def image_record(name, owner, architecture, device, created):
    """A stable id for each name, so that runs of the same day can be compared."""
    digest = f"{zlib.crc32(name.encode()):08x}{zlib.adler32(name.encode()):08x}0"
    return {
        "ImageId": f"ami-{digest}",
        "Name": name,
        "OwnerId": owner,
        "ImageOwnerAlias": None,
        "ImageLocation": f"{owner}/{name}",
        "Description": name,
        "Architecture": architecture,
        "CreationDate": created,
        "State": "available",
        "Public": owner != moto_app.ACCOUNT,
        "ImageType": "machine",
        "VirtualizationType": "hvm",
        "Hypervisor": "xen",
        "EnaSupport": True,
        "PlatformDetails": "Linux/UNIX",
        "UsageOperation": "RunInstances",
        "RootDeviceType": "ebs",
        "RootDeviceName": device,
        "BlockDeviceMappings": [
            {
                "DeviceName": device,
                "Ebs": {
                    "SnapshotId": f"snap-{digest}",
                    "VolumeSize": 8,
                    "VolumeType": "gp3",
                    "DeleteOnTermination": True,
                    "Encrypted": False,
                },
            }
        ],
        "Tags": [],
    }


def _row(record, system, version):
    return {
        "id": record["ImageId"],
        "name": record["Name"],
        "owner": record["OwnerId"],
        "os": system,
        "version": version,
        "arch": record["Architecture"],
        "created": record["CreationDate"],
        "login": LOGINS[record["OwnerId"]],
    }
