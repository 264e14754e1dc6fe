"""What a test may set: settings, fault rules of the API and of guests. Plain data behind the account's lock."""

import dataclasses
import threading

from .errors import ApiError
from .records import simple_glob


class Refused(Exception):
    """The control API's 400 (or another status): what the test asked makes no sense."""

    def __init__(self, message, status=400):
        super().__init__(message)
        self.status = status


@dataclasses.dataclass
class Settings:
    """Milliseconds, unless the name says otherwise."""

    pending_ms: int = 300
    shutting_down_ms: int = 300
    stopping_ms: int = 300
    boot_ms: int = 200
    describe_lag_ms: int = 0
    not_found_ms: int = 0
    leave_volumes: bool = False
    leave_interfaces: bool = False
    terminated_visible_ms: int = 3_600_000
    max_page: int = 1000

    def change(self, fields):
        for name, value in fields.items():
            if name not in self.__dataclass_fields__:
                raise Refused(f"no setting '{name}'")
            wanted = self.__dataclass_fields__[name].type
            if type(value) is not wanted or (wanted is int and value < 0):
                raise Refused(f"setting '{name}' must be a {wanted.__name__}, not {value!r}")
        for name, value in fields.items():
            setattr(self, name, value)


@dataclasses.dataclass
class Limits:
    """The pages of one call."""

    max_page: int
    page: int | None = None
    lag_ms: int = 0


MATCHERS = {"type", "zone", "market", "image", "instance"}
COMMON = {"skip", "count"}
EFFECTS = {"error", "latency_ms", "lose_reply", "hang", "page", "lag_ms"}
GUEST_EFFECTS = {"boot", "slow_ms", "sshd_dies_after_ms", "launch_fails"}
BOOTS = ("never", "no-sshd", "wrong-host-key")


class Rule:
    """One rule: what it matches, how often, and (as the dict it came as) what it does."""

    def __init__(self, name, spec):
        self.name, self.spec = name, spec
        self.seen = self.hits = 0
        self.cleared = threading.Event()

    def hit(self):
        """Counts a match; whether the rule acts on it."""
        self.seen += 1
        skip, count = self.spec.get("skip") or 0, self.spec.get("count")
        if self.seen <= skip or (count is not None and self.hits >= count):
            return False
        self.hits += 1
        return True

    def pool_matches(self, pool):
        return all(simple_glob(pool.get(name), self.spec.get(name)) for name in MATCHERS)

    def shown(self):
        return {"id": self.name, "seen": self.seen, "hits": self.hits, "rule": self.spec}


class Rules:
    """An ordered list of rules; the first that hits decides."""

    def __init__(self, prefix, check):
        self._prefix, self._check = prefix, check
        self._rules, self._made = [], 0

    def add(self, spec):
        self._check(spec)
        self._made += 1
        rule = Rule(f"{self._prefix}-{self._made}", spec)
        self._rules.append(rule)
        return rule.name

    def remove(self, name=None):
        gone = [rule for rule in self._rules if name in (None, rule.name)]
        if name is not None and not gone:
            raise Refused(f"no rule '{name}'", 404)
        self._rules = [rule for rule in self._rules if rule not in gone]
        for rule in gone:
            rule.cleared.set()

    def shown(self):
        return [rule.shown() for rule in self._rules]

    def first(self, matches):
        for rule in self._rules:
            if matches(rule) and rule.hit():
                return rule
        return None


def check_api_rule(spec):
    _check_keys(spec, {"action", "type", "zone", "market"} | COMMON | EFFECTS, EFFECTS)
    if not isinstance(spec.get("action"), str):
        raise Refused("a fault rule needs an 'action'")
    if "error" in spec:
        _check_keys(spec["error"], {"code", "status", "message"}, {"code"})
    if spec.get("lose_reply") not in (None, "before", "after"):
        raise Refused("'lose_reply' is 'before' or 'after'")


def check_guest_rule(spec):
    _check_keys(spec, MATCHERS | COMMON | GUEST_EFFECTS, GUEST_EFFECTS)
    if spec.get("boot") is not None and spec["boot"] not in BOOTS:
        raise Refused(f"'boot' is one of {', '.join(BOOTS)}")


def _check_keys(spec, known, one_of):
    if not isinstance(spec, dict):
        raise Refused("expected an object")
    if unknown := sorted(set(spec) - known):
        raise Refused(f"unknown field '{unknown[0]}'; known: {', '.join(sorted(known))}")
    if not one_of & set(spec):
        raise Refused(f"expected at least one of {', '.join(sorted(one_of))}")
    for name in ("skip", "count", "latency_ms", "page", "lag_ms", "slow_ms", "sshd_dies_after_ms", "status"):
        value = spec.get(name)
        if value is not None and (type(value) is not int or value < 0):
            raise Refused(f"'{name}' must be a whole number")


def api_error(spec, pool=None):
    """The error of a rule."""
    error = spec["error"]
    where = f" for {pool['type']} in {pool['zone']}" if pool else ""
    message = error.get("message") or f"The lab was told to answer {error['code']}{where}."
    return ApiError(error["code"], message, error.get("status") or 400)


def is_pool_rule(rule):
    return any(rule.spec.get(name) is not None for name in ("type", "zone", "market"))
