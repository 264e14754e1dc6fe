"""CreateFleet of type instant, and what is left of a fleet afterwards."""

from . import catalogue
from .account import fresh_id
from .errors import ApiError, invalid, missing
from .faults import api_error, is_pool_rule
from .instance import utcnow
from .launch import dry_run, launch, no_capacity, remember, replay
from .records import filtered, page, tag_list
from .request import from_data, merged, tags_by_resource, template_data


def create_fleet(account, params):
    if params.get("Type", "maintain") != "instant":
        raise ApiError("Unsupported", "The lab's fleets are of type instant.")
    made = replay(account, "CreateFleet", params, None)
    if made is not None:
        return _answer(account.fleets[made])
    targets = _targets(params)
    candidates = _candidates(account, params)
    dry_run(params)
    fleet = _record(params, targets)
    account.fleets[fleet["FleetId"]] = fleet
    for market, target in targets.items():
        if target:
            _fill(account, params, fleet, candidates, market, target)
    if not fleet["Instances"]:
        fleet["FleetState"] = "deleted"
    remember(account, "CreateFleet", params, None, fleet["FleetId"])
    return _answer(fleet)


def _targets(params):
    wanted = params.get("TargetCapacitySpecification")
    if not wanted or "TotalTargetCapacity" not in wanted:
        raise missing("TargetCapacitySpecification")
    total = wanted["TotalTargetCapacity"]
    default = wanted.get("DefaultTargetCapacityType", "on-demand")
    if total < 1 or default not in ("spot", "on-demand"):
        raise invalid("targetCapacitySpecification", wanted)
    given = {"on-demand": wanted.get("OnDemandTargetCapacity", 0), "spot": wanted.get("SpotTargetCapacity", 0)}
    given[default] = total - given["spot" if default == "on-demand" else "on-demand"]
    return given


def _candidates(account, params):
    """(template specification, template, data, override) of each way to make an instance."""
    configs = params.get("LaunchTemplateConfigs")
    if not configs:
        raise missing("LaunchTemplateConfigs")
    candidates = []
    for config in configs:
        specification = config.get("LaunchTemplateSpecification")
        if not specification:
            raise missing("LaunchTemplateSpecification")
        template, data = template_data(account, specification)
        used = {"LaunchTemplateId": template[0], "Version": str(template[1])}
        for override in config.get("Overrides") or [{}]:
            candidates.append((used, template, data, override))
    return candidates


def _record(params, targets):
    tags = {}
    for market in ("spot",) if targets["spot"] else ("on-demand",):
        tags = tags_by_resource(params.get("TagSpecifications", []), market)
    return {
        "FleetId": "fleet-" + fresh_id("x")[2:],
        "FleetState": "active",
        "ActivityStatus": "fulfilled",
        "CreateTime": utcnow(),
        "Type": "instant",
        "ClientToken": params.get("ClientToken", ""),
        "FulfilledCapacity": 0.0,
        "TargetCapacitySpecification": params["TargetCapacitySpecification"],
        "LaunchTemplateConfigs": params["LaunchTemplateConfigs"],
        "Tags": tag_list(tags.get("fleet", {})),
        "Errors": [],
        "Instances": [],
    }


def _answer(fleet):
    return {name: fleet[name] for name in ("FleetId", "Errors", "Instances")}


def _fill(account, params, fleet, candidates, market, target):
    """Takes from the best pools until the target is met. Every pool that cannot give is named in `Errors`."""
    options = params.get("SpotOptions" if market == "spot" else "OnDemandOptions") or {}
    pools = []
    for candidate in candidates:
        try:
            pools.append(_pool(account, params, candidate, market, options))
        except ApiError as error:
            fleet["Errors"].append(_error(candidate, market, error))
    taken = _share(pools, options.get("AllocationStrategy", "lowest-price"), target)
    if sum(count * pool["weight"] for pool, count in taken) < options.get("MinTargetCapacity", 0):
        error = ApiError("UnfulfillableCapacity", "Unable to fulfill the minimum target capacity.")
        fleet["Errors"].extend(_error(pool["candidate"], market, error) for pool in pools)
        return
    for pool, count in taken:
        try:
            _take(account, params, fleet, pool, count)
        except ApiError as error:
            fleet["Errors"].append(_error(pool["candidate"], market, error))


def _pool(account, params, candidate, market, options):
    """A pool that can give something, or the error it answers."""
    _, template, data, override = candidate
    request = _request(account, params, template, data, override, market, options)
    pool = request.pool
    rule = account.faults.first(
        lambda rule: rule.spec["action"] in ("CreateFleet", "*")
        and "error" in rule.spec
        and is_pool_rule(rule)
        and rule.pool_matches(pool)
    )
    if rule:
        raise api_error(rule.spec, pool)
    free = account.capacity.free(pool, account.used(pool))
    if free == 0:
        raise no_capacity(pool)
    return {
        "candidate": candidate,
        "request": request,
        "free": free,
        "price": catalogue.price(pool),
        "priority": override.get("Priority", float("inf")),
        "weight": override.get("WeightedCapacity", 1.0),
    }


def _request(account, params, template, data, override, market, options):
    names = ("InstanceType", "SubnetId", "ImageId", "Placement", "BlockDeviceMappings")
    changes = {name: override[name] for name in names if name in override}
    changes["TagSpecifications"] = [
        each for each in params.get("TagSpecifications", []) if each.get("ResourceType") != "fleet"
    ]
    data = {name: value for name, value in data.items() if name != "InstanceMarketOptions"}
    if market == "spot":
        spot = {"InstanceInterruptionBehavior": options.get("InstanceInterruptionBehavior", "terminate")}
        if "MaxPrice" in override:
            spot["MaxPrice"] = override["MaxPrice"]
        changes["InstanceMarketOptions"] = {"MarketType": "spot", "SpotOptions": spot}
    return from_data(account, merged(data, changes), template)


def _share(pools, strategy, target):
    """[(pool, count)] by the strategy. Two candidates of one pool share its slots, the first takes them."""
    depth = lambda pool: -(float("inf") if pool["free"] is None else pool["free"])  # noqa: E731
    orders = {
        "lowest-price": lambda pool: pool["price"],
        "price-capacity-optimized": lambda pool: (depth(pool), pool["price"]),
        "capacity-optimized": depth,
        "capacity-optimized-prioritized": lambda pool: (depth(pool), pool["priority"]),
        "prioritized": lambda pool: pool["priority"],
        "diversified": lambda pool: pool["price"],
    }
    order = orders.get(strategy.lower().replace("_", "-").replace("lowestprice", "lowest-price"))
    if order is None:
        raise invalid("allocationStrategy", strategy)
    left, unique = {}, {}
    for pool in sorted(pools, key=order):
        key = tuple(sorted(pool["request"].pool.items()))
        left.setdefault(key, float("inf") if pool["free"] is None else pool["free"])
        unique.setdefault(key, pool)
    counts, need, turns = dict.fromkeys(unique, 0), target, list(unique)
    while need > 0 and (turns := [key for key in turns if left[key]]):
        # Diversified takes one of each in turn, all others exhaust the best pool first.
        for key in turns if strategy == "diversified" else turns[:1]:
            if need > 0:
                left[key] -= 1
                counts[key] += 1
                need -= unique[key]["weight"]
    return [(pool, counts[key]) for key, pool in unique.items() if counts[key]]


def _take(account, params, fleet, pool, count):
    """Launches one by one, so that a quota or a full subnet leaves a partial fill."""
    request, candidate = pool["request"], pool["candidate"]
    made = []
    try:
        for _ in range(count):
            vcpus = catalogue.vcpus(request.instance_type)
            account.quotas.check(request.market, account.used_vcpus(request.market), vcpus)
            made += launch(account, request, 1, params.get("ClientToken", ""), fleet["FleetId"])
    finally:
        if made:
            fleet["FulfilledCapacity"] += pool["weight"] * len(made)
            fleet["Instances"].append(
                {
                    "LaunchTemplateAndOverrides": _origin(candidate),
                    "Lifecycle": request.market,
                    "InstanceIds": [each.id for each in made],
                    "InstanceType": request.instance_type,
                }
            )


def _origin(candidate):
    return {"LaunchTemplateSpecification": candidate[0], "Overrides": candidate[3]}


def _error(candidate, market, error):
    return {
        "LaunchTemplateAndOverrides": _origin(candidate),
        "Lifecycle": market,
        "ErrorCode": error.code,
        "ErrorMessage": error.message,
    }


# --- afterwards -----------------------------------------------------------------------------------

FLEET_FILTERS = {
    "activity-status": lambda fleet: fleet["ActivityStatus"],
    "fleet-state": lambda fleet: fleet["FleetState"],
    "type": lambda fleet: fleet["Type"],
    "excess-capacity-termination-policy": lambda fleet: "termination",
    "replace-unhealthy-instances": lambda fleet: "false",
}


def describe_fleets(account, params, limits):
    """As on AWS an instant fleet is shown only to those who name it, and tags are no filter."""
    named = params.get("FleetIds") or []
    for each in named:
        if each not in account.fleets:
            raise ApiError("InvalidFleetId.NotFound", f"The fleet ID '{each}' does not exist")
    chosen = filtered([account.fleets[each] for each in named], params.get("Filters"), FLEET_FILTERS)
    chosen, token = page(sorted(chosen, key=_fleet_id), _fleet_id, params, limits)
    return {"Fleets": chosen, "NextToken": token}


def _fleet_id(fleet):
    return fleet["FleetId"]


def delete_fleets(account, params):
    done, failed = [], []
    for each in params.get("FleetIds") or []:
        fleet = account.fleets.get(each)
        if fleet is None or not params.get("TerminateInstances"):
            code = "fleetIdDoesNotExist" if fleet is None else "fleetNotInDeletableState"
            failed.append({"FleetId": each, "Error": {"Code": code, "Message": code}})
            continue
        before, fleet["FleetState"] = fleet["FleetState"], "deleted"
        for instance in [one for one in account.instances.values() if one.fleet == each]:
            account.end(instance)
        done.append({"FleetId": each, "PreviousFleetState": before, "CurrentFleetState": "deleted_terminating"})
    return {"SuccessfulFleetDeletions": done, "UnsuccessfulFleetDeletions": failed}
