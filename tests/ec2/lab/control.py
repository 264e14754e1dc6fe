"""The control API: how a test looks into the lab and disturbs it. README.md is its contract."""

import collections
import json
import re

from .faults import Refused, Settings
from .instance import utcnow
from .limits import HOLDS_SLOT
from .records import tags_of

JSON = [("Content-Type", "application/json")]
_ROUTES = []


def route(method, pattern):
    """`pattern` is a path with `{}` for an id; the call gets the ids, then the body."""
    regex = re.compile(pattern.replace("{}", "([^/]+)") + "/?")

    def add(call):
        _ROUTES.append((method, regex, call))
        return call

    return add


class Control:
    def __init__(self, account, guests, reset):
        self.account, self.guests, self.reset = account, guests, reset
        self.ready = {}

    def answer(self, handler, method, target, headers, body):
        try:
            result = self._dispatch(method, target.partition("?")[0], body)
            return 200, JSON, json.dumps(result if result is not None else {}).encode()
        except Refused as refused:
            return refused.status, JSON, json.dumps({"error": str(refused)}).encode()

    def _dispatch(self, method, path, body):
        try:
            given = json.loads(body) if body.strip() else {}
        except ValueError as error:
            raise Refused(f"not JSON: {error}") from None
        for verb, pattern, call in _ROUTES:
            match = pattern.fullmatch(path or "/")
            if match and verb == method:
                if call is reset:
                    return call(self)  # waits for guests, which need the lock
                with self.account.lock:
                    return call(self, *match.groups(), *([given] if method != "GET" else []))
        raise Refused(f"no such call: {method} {path}", 404)

    def instance(self, wanted):
        if wanted not in self.account.instances:
            raise Refused(f"no instance '{wanted}'", 404)
        return self.account.instances[wanted]

    def guest(self, wanted):
        self.instance(wanted)
        guest = self.guests.guests.get(wanted)
        if guest is None:
            raise Refused(f"no guest of '{wanted}'", 404)
        return guest


def fields(given, **defaults):
    """The fields of a body; each must be known and of its default's type."""
    if not isinstance(given, dict):
        raise Refused("expected an object")
    for name, value in given.items():
        if name not in defaults:
            raise Refused(f"unknown field '{name}'; known: {', '.join(defaults)}")
        if type(value) is not type(defaults[name]):
            raise Refused(f"'{name}' must be a {type(defaults[name]).__name__}")
    return collections.namedtuple("Fields", defaults)(**{**defaults, **given})


# --- the lab --------------------------------------------------------------------------------------


@route("GET", "/")
def ready(control):
    return control.ready


@route("POST", "/reset")
def reset(control):
    control.reset()


@route("GET", "/settings")
def get_settings(control):
    return vars(control.account.settings)


@route("PATCH", "/settings")
def patch_settings(control, given):
    fields(given, **vars(Settings()))
    control.account.settings.change(given)


def _rules(path, rules):
    route("GET", path)(lambda control: rules(control).shown())
    route("POST", path)(lambda control, given: {"id": rules(control).add(given)})
    route("DELETE", path)(lambda control, _: rules(control).remove())
    route("DELETE", path + "/{}")(lambda control, name, _: rules(control).remove(name))


_rules("/faults", lambda control: control.account.faults)
_rules("/guest-faults", lambda control: control.account.guest_faults)


@route("GET", "/capacity")
def get_capacity(control):
    used = collections.Counter(
        (each.pool["type"], each.zone, each.market) for each in control.account.instances.values() if each.state in HOLDS_SLOT
    )
    rows = [{"type": kind, "zone": zone, "market": market, "used": n} for (kind, zone, market), n in sorted(used.items())]
    return {"rules": control.account.capacity.rules, "used": rows}


@route("PUT", "/capacity")
def put_capacity(control, given):
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise Refused("expected a list of {type, zone, market, slots}")
    control.account.capacity.set(given)


@route("GET", "/quotas")
def get_quotas(control):
    return control.account.quotas.limits


@route("PUT", "/quotas")
def put_quotas(control, given):
    control.account.quotas.set(given)


@route("GET", "/throttle")
def get_throttle(control):
    return control.account.throttle.shown()


@route("PUT", "/throttle")
def put_throttle(control, given):
    control.account.throttle.set(given)


@route("GET", "/journal")
def journal_counts(control):
    return control.account.journal.counts()


@route("GET", "/journal/{}")
def journal_of(control, action):
    return control.account.journal.of(action)


@route("DELETE", "/journal")
def clear_journal(control, _):
    control.account.journal.clear()


@route("GET", "/summary")
def summary(control):
    account = control.account
    by_state = collections.defaultdict(list)
    for each in account.instances.values():
        by_state[each.state].append(each.id)
    requests = [each for each in account.spot_requests.values() if each["State"] in ("open", "active")]
    fleets = [each for each in account.fleets.values() if each["FleetState"] == "active"]
    return {
        "instances": by_state,
        "volumes": [_shown(each, "VolumeId", "State") for each in account.volumes.values()],
        "interfaces": [_shown(each, "NetworkInterfaceId", "Status") for each in account.interfaces.values()],
        "spot_requests": [
            {**_shown(each, "SpotInstanceRequestId", "State"), "instance": each["InstanceId"]} for each in requests
        ],
        "fleets": [{"id": each["FleetId"], "state": each["FleetState"], "tags": tags_of(each)} for each in fleets],
        "launch_templates": [
            {"id": each["LaunchTemplateId"], "name": each["LaunchTemplateName"], "tags": tags_of(each)}
            for each in account.templates.values()
        ],
        "guests": control.guests.running(),
    }


def _shown(record, key, state):
    attachment = record.get("Attachment") or (record.get("Attachments") or [{}])[0]
    return {"id": record[key], "state": record[state], "instance": attachment.get("InstanceId"), "tags": tags_of(record)}


# --- instances ------------------------------------------------------------------------------------


@route("GET", "/instances")
def instances(control):
    return [each.shown() for each in control.account.instances.values()]


@route("GET", "/instances/{}")
def one_instance(control, wanted):
    return control.instance(wanted).shown()


def _live_spot(control, wanted):
    instance = control.instance(wanted)
    if instance.market != "spot" or instance.state not in ("pending", "running"):
        raise Refused(f"'{wanted}' is {instance.market} and {instance.state}, not a live spot instance", 409)
    return instance


@route("POST", "/instances/{}/reclaim")
def reclaim(control, wanted, given):
    how = fields(given, after_ms=120_000, notice=True, event=True)
    instance = _live_spot(control, wanted)
    control.account.reclaim(instance, how.after_ms)
    if not how.notice:
        instance.notice = None
    if how.event:
        control.account.interruptions("EC2 Spot Instance Interruption Warning", instance, {"instance-action": "terminate"})


@route("POST", "/instances/{}/rebalance")
def rebalance(control, wanted, given):
    how = fields(given, event=True)
    instance = _live_spot(control, wanted)
    instance.rebalance = utcnow().strftime("%Y-%m-%dT%H:%M:%SZ")
    if how.event:
        control.account.interruptions("EC2 Instance Rebalance Recommendation", instance, {})


@route("POST", "/instances/{}/terminate")
def terminate(control, wanted, given):
    how = fields(given, reason="Server.InternalError", stop=False)
    reason = (how.reason, f"{how.reason}: ended by the provider")
    instance = control.instance(wanted)
    (control.account.halt if how.stop else control.account.end)(instance, reason)


@route("POST", "/volumes")
def stray_volume(control, given):
    how = fields(given, zone="us-east-1a", tags={})
    return {"id": control.account.stray_volume(how.zone, how.tags)}


@route("POST", "/interfaces")
def stray_interface(control, given):
    how = fields(given, subnet="", tags={})
    subnet = control.account.subnets().get(how.subnet)
    if subnet is None:
        raise Refused(f"no subnet '{how.subnet}'", 404)
    return {"id": control.account.stray_interface(subnet, how.tags)}


# --- guests ---------------------------------------------------------------------------------------


def _guest_shown(control, wanted):
    guest = control.guest(wanted)
    return {
        "id": wanted,
        "address": guest.instance.address,
        "port": control.ready["ssh_port"],
        "pid": guest.pid,
        "phase": guest.phase,
        "up_at": guest.up_at,
        "boots": control.guests.boots[wanted],
        "faults": [guest.faults] if guest.faults else [],
    }


@route("GET", "/guests")
def guests(control):
    return [_guest_shown(control, each) for each in control.guests.guests]


@route("GET", "/guests/{}")
def one_guest(control, wanted):
    return _guest_shown(control, wanted)


@route("GET", "/guests/{}/console")
def console(control, wanted):
    return {"log": control.guest(wanted).disk.console()}


@route("POST", "/guests/{}/sshd")
def sshd(control, wanted, given):
    how = fields(given, run=False, after_ms=0)
    guest = control.guest(wanted)
    control.account.timeline.after(how.after_ms, lambda: guest.ended or control.guests.set_sshd(guest, how.run))


@route("POST", "/guests/{}/freeze")
def freeze(control, wanted, given):
    control.guests.freeze(control.guest(wanted), fields(given, frozen=True).frozen)


@route("POST", "/guests/{}/crash")
def crash(control, wanted, given):
    fields(given)
    control.guests.crash(control.guest(wanted))


@route("POST", "/guests/{}/power-off")
def power_off(control, wanted, given):
    fields(given)
    control.guests.power_off(control.guest(wanted))
