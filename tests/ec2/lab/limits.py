"""What the account has left: slots per pool, vCPU quotas, and the token buckets of the API."""

import time

from .errors import ApiError
from .faults import Refused
from .records import simple_glob

HOLDS_SLOT = ("pending", "running", "stopping", "shutting-down")


class Capacity:
    """Slots per type x zone x market. The first rule that matches a pool counts, separately for each pool."""

    def __init__(self):
        self.rules = []

    def set(self, rules):
        for rule in rules:
            unknown = set(rule) - {"type", "zone", "market", "slots"}
            slots = rule.get("slots")
            if unknown or "slots" not in rule or not (slots is None or (type(slots) is int and slots >= 0)):
                raise Refused(f"not a capacity rule: {rule}")
        self.rules = list(rules)

    def slots(self, pool):
        """The pool's size, None for unlimited."""
        for rule in self.rules:
            if all(simple_glob(pool[name], rule.get(name)) for name in ("type", "zone", "market")):
                return rule["slots"]
        return None

    def free(self, pool, used):
        slots = self.slots(pool)
        return None if slots is None else max(0, slots - used)


class Quotas:
    """vCPUs in use at once, by market."""

    def __init__(self):
        self.limits = {"on-demand": None, "spot": None}

    def set(self, limits):
        for market, limit in limits.items():
            if market not in self.limits or not (limit is None or (type(limit) is int and limit >= 0)):
                raise Refused(f"not a quota: {market} = {limit!r}")
        self.limits.update(limits)

    def check(self, market, used, more):
        limit = self.limits[market]
        if limit is None or used + more <= limit:
            return
        if market == "spot":
            raise ApiError("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
        raise ApiError(
            "VcpuLimitExceeded",
            f"You have requested more vCPU capacity than your current vCPU limit of {limit} allows for the "
            "instance bucket that the specified instance type belongs to.",
        )


# Bucket size and refill per second: https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
BUCKETS = {
    "RunInstances": (5, 2),
    "StartInstances": (5, 2),
    "TerminateInstances": (100, 5),
    "CreateTags": (100, 10),
    "GetConsoleOutput": (100, 10),
    "Describe*": (100, 20),
    "*": (50, 5),
}


class Throttle:
    """A token bucket per action, while switched on."""

    def __init__(self):
        self.set({"on": False})

    def set(self, spec):
        if unknown := set(spec) - {"on", "buckets"}:
            raise Refused(f"unknown field '{unknown.pop()}'")
        try:
            extra = {name: (each["max"], each["refill_per_s"]) for name, each in spec.get("buckets", {}).items()}
        except (KeyError, TypeError):
            raise Refused("a bucket is {max, refill_per_s}") from None
        self.on = bool(spec.get("on"))
        self._table = {**extra, **{name: each for name, each in BUCKETS.items() if name not in extra}}
        self._levels = {}

    def shown(self):
        buckets = {name: {"max": each[0], "refill_per_s": each[1]} for name, each in self._table.items()}
        return {"on": self.on, "buckets": buckets}

    def take(self, action):
        if not self.on:
            return
        size, refill = next(each for name, each in self._table.items() if simple_glob(action, name))
        now = time.monotonic()
        level, at = self._levels.get(action, (size, now))
        level = min(size, level + (now - at) * refill)
        if level < 1:
            self._levels[action] = (level, now)
            raise ApiError("RequestLimitExceeded", "Request limit exceeded.", 503)
        self._levels[action] = (level - 1, now)
