"""Instance metadata on each guest's own address: IMDSv2, and v1 where the launch allowed it.

One thread accepts for all guests; each connection is served by a thread of its own.
"""

import json
import secrets
import selectors
import socket
import threading

from .moto_app import ACCOUNT, REGION
from .server import Handler

PORT = 1338
TEXT = [("Content-Type", "text/plain")]


class Metadata:
    def __init__(self, account):
        self._account = account
        self._listeners, self._tokens = {}, {}
        self._selector = selectors.DefaultSelector()
        self._changed, self._change = socket.socketpair()
        self._selector.register(self._changed, selectors.EVENT_READ)
        threading.Thread(target=self._accept_all, name="metadata", daemon=True).start()

    def open(self, instance):
        """The guest boots. The caller holds the account's lock, as with `close`."""
        if instance.id in self._listeners:
            return
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((instance.address, PORT))
        listener.listen(16)
        listener.setblocking(False)  # a client may be gone again before it is accepted
        self._listeners[instance.id] = listener
        self._selector.register(listener, selectors.EVENT_READ, instance)
        self._change.send(b".")  # a selector that already waits shall see it

    def close(self, instance):
        listener = self._listeners.pop(instance.id, None)
        if listener is not None:
            self._selector.unregister(listener)
            listener.close()
            self._tokens.pop(instance.id, None)

    def _accept_all(self):
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._changed:
                    self._changed.recv(64)
                    continue
                try:
                    connection, peer = key.fileobj.accept()
                except OSError:
                    continue  # closed in the meantime
                threading.Thread(target=self._serve, args=(connection, peer, key.data), daemon=True).start()

    def _serve(self, connection, peer, instance):
        self_answer = lambda handler, method, target, headers, body: self._answer(instance, method, target, headers)  # noqa: E731
        try:
            Handler(connection, peer, _Answering(self_answer))
        except (ConnectionError, TimeoutError):
            pass  # the client left
        finally:
            connection.close()

    def _answer(self, instance, method, target, headers):
        with self._account.lock:
            path = target.split("?")[0].rstrip("/")
            if method == "PUT" and path == "/latest/api/token":
                return self._new_token(instance, headers)
            if method not in ("GET", "HEAD"):
                return 405, TEXT, b""
            token = headers.get("X-aws-ec2-metadata-token")
            optional = instance.record["MetadataOptions"]["HttpTokens"] == "optional"
            if token not in self._tokens.get(instance.id, ()) and not (token is None and optional):
                return 401, TEXT, b""
            content = _content(self._account, instance, path)
            return (404, TEXT, b"Not Found") if content is None else (200, TEXT, content)

    def _new_token(self, instance, headers):
        seconds = headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if not seconds.isdigit() or not 1 <= int(seconds) <= 21600:
            return 400, TEXT, b"Bad Request"
        token = secrets.token_urlsafe(40)
        self._tokens.setdefault(instance.id, set()).add(token)
        return 200, [*TEXT, ("X-aws-ec2-metadata-token-ttl-seconds", seconds)], token.encode()


class _Answering:
    """What `Handler` needs of a server."""

    def __init__(self, answer):
        self.answer = answer


def _content(account, instance, path):
    if path == "/latest/user-data":
        return instance.user_data or None
    if path == "/latest/dynamic/instance-identity/document":
        return json.dumps(_identity(instance)).encode()
    if not path.startswith("/latest/meta-data"):
        return None
    leaves = _leaves(account, instance)
    name = path.removeprefix("/latest/meta-data").strip("/")
    if name in leaves:
        return leaves[name].encode()
    inside = name + "/" if name else ""
    rest = [leaf.removeprefix(inside) for leaf in leaves if leaf.startswith(inside)]
    listing = dict.fromkeys(leaf.split("/")[0] + "/" * ("/" in leaf) for leaf in rest)
    return "\n".join(sorted(listing)).encode() if listing else None


def _leaves(account, instance):
    record = instance.record
    leaves = {
        "instance-id": instance.id,
        "instance-type": record["InstanceType"],
        "instance-life-cycle": instance.market,
        "local-ipv4": instance.address or "",
        "ami-id": record["ImageId"],
        "hostname": record["PrivateDnsName"],
        "local-hostname": record["PrivateDnsName"],
        "placement/availability-zone": instance.zone,
        "placement/region": REGION,
        "reservation-id": instance.reservation,
    }
    pair = account.key_pair(record.get("KeyName"))
    if pair:
        leaves["public-keys/0/openssh-key"] = pair
    if instance.notice:
        leaves["spot/instance-action"] = json.dumps(instance.notice)
        leaves["spot/termination-time"] = instance.notice["time"]
    if instance.rebalance:
        leaves["events/recommendations/rebalance"] = json.dumps({"noticeTime": instance.rebalance})
    return leaves


def _identity(instance):
    record = instance.record
    return {
        "accountId": ACCOUNT,
        "architecture": record["Architecture"],
        "availabilityZone": instance.zone,
        "imageId": record["ImageId"],
        "instanceId": instance.id,
        "instanceType": record["InstanceType"],
        "privateIp": instance.address,
        "region": REGION,
        "version": "2017-09-30",
    }
