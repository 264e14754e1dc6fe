"""The AWS endpoint: which service and action a request is, the faults that hit it, who answers, the journal."""

import json
import re
import time
from urllib.parse import parse_qsl

from . import faults, prices, request, wire
from .actions import CHANGES, LISTS
from .errors import ApiError
from .server import Hangup, client_has_left

# What AWS's scope calls a service, as tests know it.
SCOPE = re.compile(r"Credential=[^/]*/\d+/[^/]*/([a-z0-9-]+)/aws4_request")
XML = [("Content-Type", "text/xml;charset=UTF-8")]
JSON = [("Content-Type", "application/x-amz-json-1.1")]
LAUNCHES = ("RunInstances", "StartInstances")


class Call:
    """One request of a client, understood."""

    def __init__(self, method, target, headers, body):
        self.method, self.target, self.headers, self.body = method, target, headers, body
        scope = SCOPE.search(headers.get("Authorization", ""))
        self.service = scope.group(1) if scope else "ec2"
        self.is_json = "json" in headers.get("Content-Type", "")
        if self.is_json:
            self.flat = json.loads(body or b"{}")
            self.action = headers.get("X-Amz-Target", "").rpartition(".")[2]
        else:
            text = body.decode() or target.partition("?")[2]
            self.flat = wire.Form(parse_qsl(text, keep_blank_values=True))
            self.action = self.flat.get("Action", "")
        self.shown = {key: value for key, value in self.flat.items() if key not in ("Action", "Version")}


class Front:
    def __init__(self, account, moto):
        self._account, self._moto = account, moto

    def answer(self, handler, method, target, headers, body):
        call = Call(method, target, headers, body)
        account = self._account
        with account.lock:
            rule = account.faults.first(lambda rule: self._matches(rule, call))
        effect = rule.spec if rule else {}
        if effect.get("latency_ms"):
            time.sleep(effect["latency_ms"] / 1000)
        if effect.get("hang"):
            self._note(call, "hang", 0, rule)
            while not (rule.cleared.wait(0.05) or client_has_left(handler.connection)):
                pass
            raise Hangup
        if effect.get("lose_reply") == "before":
            self._note(call, "lost-reply", 0, rule)
            raise Hangup
        status, headers, content, outcome, instances = self._long_poll(handler, call, effect)
        lost = effect.get("lose_reply") == "after"
        self._note(call, "lost-reply" if lost else outcome, 0 if lost else status, rule, instances)
        if lost:
            raise Hangup
        return status, headers, content

    def _matches(self, rule, call):
        spec = rule.spec
        if spec["action"] not in ("*", call.action):
            return False
        if not faults.is_pool_rule(rule):
            return True
        pools = self._pools(call) if call.action in LAUNCHES else []
        return any(rule.pool_matches(pool) for pool in pools)

    def _pools(self, call):
        """The pools that a launch means, as far as it can be understood."""
        try:
            params = wire.parse(call.action, call.flat)
            if call.action == "RunInstances":
                return [request.checked(self._account, params).pool]
            return [each.pool for each in self._account.named(params.get("InstanceIds", []))]
        except (ApiError, ValueError):
            return []

    def _note(self, call, outcome, status, rule, instances=()):
        fault = rule.name if rule else None
        entry = {"outcome": outcome, "status": status, "fault": fault, "instances": list(instances)}
        with self._account.lock:
            self._account.journal.note(call.service, call.action, call.shown, entry)

    def _long_poll(self, handler, call, effect):
        """moto would wait for messages under the lock, so the front asks again until there is one."""
        seconds = call.flat.get("WaitTimeSeconds", 0) if call.action == "ReceiveMessage" and call.is_json else 0
        if not seconds:
            return self._perform(call, effect)
        call.body = json.dumps({**call.flat, "WaitTimeSeconds": 0}).encode()
        until = time.monotonic() + seconds
        while True:
            answer = self._perform(call, effect)
            if b'"Body"' in answer[2] or answer[0] != 200 or time.monotonic() >= until or client_has_left(handler.connection):
                return answer
            time.sleep(0.02)

    def _perform(self, call, effect):
        """(status, headers, content, outcome, instances)"""
        account = self._account
        with account.lock:
            try:
                if "error" in effect:
                    raise faults.api_error(effect)
                if call.service == "ec2":
                    account.throttle.take(call.action)
                limits = faults.Limits(account.settings.max_page, effect.get("page"), effect.get("lag_ms") or 0)
                return self._dispatch(call, limits)
            except ApiError as error:
                headers, content = _rendered_error(call, error)
                return error.status, headers, content, error.code, ()

    def _dispatch(self, call, limits):
        if call.service == "pricing" and call.action == "GetProducts":
            content = json.dumps(prices.get_products(call.flat, limits)).encode()
            return 200, JSON, content, "ok", ()
        if call.service == "ec2" and self._is_own(call):
            params = _parsed(call)
            if call.action in LISTS:
                result, made = LISTS[call.action](self._account, params, limits), ()
            else:
                result = CHANGES[call.action](self._account, params)
                made = _instances_in(result) or params.get("InstanceIds", ())
            return 200, XML, wire.answer(call.action, result), "ok", made
        return self._pass_on(call)

    def _is_own(self, call):
        """Tags of what moto keeps are moto's business."""
        if call.action in ("CreateTags", "DeleteTags"):
            named = [value for key, value in call.flat.items() if key.startswith("ResourceId.")]
            return not any(re.match(r"(vpc|subnet|sg|key)-", each) for each in named)
        return call.action in CHANGES or call.action in LISTS

    def _pass_on(self, call):
        if call.service == "ec2" and wire.operation(call.action) is None:
            raise ApiError("InvalidAction", f"The action {call.action} is not valid for this web service.")
        host = call.headers.get("Host", "127.0.0.1:80")
        status, headers, content = self._moto.call(call.method, call.target, call.headers, call.body, host)
        if status >= 500 and content.lstrip()[:5].lower() in (b"<!doc", b"<html"):
            raise ApiError("InternalError", f"moto has no answer to this {call.action}", 500)
        outcome = "ok" if status < 400 else _error_code(content)
        return status, headers, content, outcome, ()


def _parsed(call):
    try:
        return wire.parse(call.action, call.flat)
    except ValueError as error:
        raise ApiError("InvalidParameterValue", f"Cannot read the parameters: {error}") from None


def _rendered_error(call, error):
    if call.is_json:
        body = {"__type": error.code, "message": error.message}
        return [*JSON, ("x-amzn-ErrorType", error.code)], json.dumps(body).encode()
    return XML, wire.error(error)


def _error_code(content):
    match = re.search(rb"<Code>([^<]*)</Code>|\"__type\": ?\"([^\"]*)\"", content)
    return (match.group(1) or match.group(2)).decode().rpartition("#")[2] if match else "error"


def _instances_in(result):
    """Ids of the instances that an answer names."""
    names = ("Instances", "TerminatingInstances", "StoppingInstances", "StartingInstances")
    rows = [row for name in names for row in result.get(name, [])]
    return [each for row in rows for each in row.get("InstanceIds") or [row["InstanceId"]]]
