"""Spot price history, and the one answer of the Pricing service that Dormouse asks for."""

import datetime
import json
import zlib

from . import catalogue
from .errors import ApiError
from .instance import utcnow
from .records import check_max_results, filtered, page

STEP = datetime.timedelta(hours=6)  # how often a spot price "changes"
DESCRIPTION = "Linux/UNIX"

SPOT_FILTERS = {
    "availability-zone": lambda row: row["AvailabilityZone"],
    "instance-type": lambda row: row["InstanceType"],
    "product-description": lambda row: row["ProductDescription"],
    "spot-price": lambda row: row["SpotPrice"],
    "timestamp": lambda row: row["Timestamp"],
}


def describe_spot_price_history(account, params, limits):
    """Per type and zone: the price in force at StartTime (default: now), and each change until EndTime."""
    check_max_results(params)
    now = utcnow()
    start, end = params.get("StartTime") or now, min(params.get("EndTime") or now, now)
    descriptions = params.get("ProductDescriptions") or [DESCRIPTION]
    named, zones = params.get("InstanceTypes"), catalogue.zones_of_type()
    wanted_zone = params.get("AvailabilityZone")
    rows = []
    if any(each.startswith(DESCRIPTION) for each in descriptions):
        for each in named or zones:
            for zone in sorted(zones.get(each, ())):
                if wanted_zone in (None, zone):
                    rows += _changes(each, zone, start, end)
    rows = filtered(rows, params.get("Filters"), SPOT_FILTERS)
    key = lambda row: f"{row['InstanceType']} {row['AvailabilityZone']} {row['Timestamp'].isoformat()}"  # noqa: E731
    rows, token = page(sorted(rows, key=key), key, params, limits)
    return {"SpotPriceHistory": rows, "NextToken": token or ""}


def _changes(instance_type, zone, start, end):
    """A price is said again every six hours, at a minute of the pool's own."""
    offset = zlib.crc32(f"{zone}{instance_type}".encode()) % int(STEP.total_seconds())
    seconds = int(end.timestamp())
    last = seconds - (seconds - offset) % int(STEP.total_seconds())
    price = f"{catalogue.spot_price(instance_type, zone) / 1e6:.6f}"
    rows, at = [], datetime.datetime.fromtimestamp(last, datetime.timezone.utc)
    while True:
        rows.append(
            {
                "AvailabilityZone": zone,
                "InstanceType": instance_type,
                "ProductDescription": DESCRIPTION,
                "SpotPrice": price,
                "Timestamp": at,
            }
        )
        if at <= start or len(rows) >= 4 * 90:  # the history of AWS is 90 days long
            return rows
        at -= STEP


# --- Pricing --------------------------------------------------------------------------------------


def get_products(params, limits):
    """Products of AmazonEC2 as JSON texts, one per instance type: shared tenancy, plain Linux, used capacity."""
    if params.get("ServiceCode") != "AmazonEC2":
        raise ApiError("InvalidParameterException", "Input Parameters are invalid")
    wanted = {each["Field"]: each["Value"] for each in params.get("Filters") or []}
    names = [wanted["instanceType"]] if "instanceType" in wanted else sorted(catalogue.zones_of_type())
    found = []
    for name in names:
        if name in catalogue.zones_of_type():
            attributes = _attributes(name)
            if all(attributes.get(field) == value for field, value in wanted.items() if field != "ServiceCode"):
                found.append(name)
    found, token = page(found, str, {"MaxResults": 100, **params}, limits)
    answer = {"FormatVersion": "aws_v1", "PriceList": [json.dumps(_product(each)) for each in found]}
    return {**answer, "NextToken": token} if token else answer


def _attributes(instance_type):
    info = catalogue.types()[instance_type]
    return {
        "instanceType": instance_type,
        "servicecode": "AmazonEC2",
        "servicename": "Amazon Elastic Compute Cloud",
        "location": "US East (N. Virginia)",
        "locationType": "AWS Region",
        "regionCode": catalogue.REGION,
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "licenseModel": "No License required",
        "capacitystatus": "Used",
        "marketoption": "OnDemand",
        "operation": "RunInstances",
        "usagetype": f"BoxUsage:{instance_type}",
        "currentGeneration": "Yes" if info["CurrentGeneration"] else "No",
        "vcpu": str(info["VCpuInfo"]["DefaultVCpus"]),
        "memory": f"{info['MemoryInfo']['SizeInMiB'] / 1024:g} GiB",
    }


def _product(instance_type):
    sku = f"{zlib.crc32(instance_type.encode()):08X}LAB00"[:13]
    term, rate = f"{sku}.JRTCKXETXF", f"{sku}.JRTCKXETXF.6YS6EN2CT7"
    usd = f"{catalogue.on_demand_price(instance_type) / 1e6:.10f}"
    dimension = {
        "unit": "Hrs",
        "beginRange": "0",
        "endRange": "Inf",
        "rateCode": rate,
        "description": f"${usd} per On Demand Linux {instance_type} Instance Hour",
        "appliesTo": [],
        "pricePerUnit": {"USD": usd},
    }
    on_demand = {
        "sku": sku,
        "effectiveDate": "2026-01-01T00:00:00Z",
        "offerTermCode": "JRTCKXETXF",
        "termAttributes": {},
        "priceDimensions": {rate: dimension},
    }
    return {
        "product": {"productFamily": "Compute Instance", "sku": sku, "attributes": _attributes(instance_type)},
        "serviceCode": "AmazonEC2",
        "terms": {"OnDemand": {term: on_demand}},
        "version": "20260101000000",
        "publicationDate": "2026-01-01T00:00:00Z",
    }
