"""One EC2 instance: its record in the API's shape, its history, and what only the lab knows of it."""

import datetime

from .records import tags_of

CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}

USER_SHUTDOWN = ("Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown")
GUEST_SHUTDOWN = ("Client.InstanceInitiatedShutdown", "Client.InstanceInitiatedShutdown: Instance initiated shutdown")
RECLAIMED = ("Server.SpotInstanceTermination", "Server.SpotInstanceTermination: Spot instance termination")


def utcnow():
    return datetime.datetime.now(datetime.timezone.utc)


class Instance:
    def __init__(self, record, request, at):
        self.record = record  # shape `Instance` of the API
        self.request = request  # the launch request it came from (`launch.Request`)
        self.reservation = None
        self.spot_request = self.fleet = None
        self.created_at, self.ended_at = at, None
        self.user_data = request.user_data  # bytes as the guest reads them
        self.shutdown_behavior = request.shutdown_behavior
        self.protected = request.protected
        self.epoch = 0  # counts changes of state, so that what was planned for an earlier one lapses
        self.failing = None  # the reason with which the launch will fail
        self.notice = self.rebalance = None  # what the metadata service shows
        self.history = []
        self.rendered = None

    @property
    def id(self):
        return self.record["InstanceId"]

    @property
    def state(self):
        return self.record["State"]["Name"]

    @property
    def address(self):
        return self.record.get("PrivateIpAddress")

    @property
    def market(self):
        return self.request.market

    @property
    def zone(self):
        return self.record["Placement"]["AvailabilityZone"]

    @property
    def pool(self):
        return {
            "type": self.record["InstanceType"],
            "zone": self.zone,
            "market": self.market,
            "image": self.record["ImageId"],
            "instance": self.id,
        }

    def touch(self):
        self.rendered = None

    def enter(self, state, now, reason=None):
        """Changes the state and remembers it for late answers."""
        self.epoch += 1
        self.record["State"] = {"Code": CODES[state], "Name": state}
        if reason:
            self.record["StateReason"] = {"Code": reason[0], "Message": reason[1]}
            self.record["StateTransitionReason"] = _transition(reason)
        elif state in ("pending", "running"):
            self.record.pop("StateReason", None)
            self.record["StateTransitionReason"] = ""
        changed = ("State", "StateReason", "StateTransitionReason")
        self.history.append((now, {name: self.record.get(name) for name in changed}))
        self.touch()

    def as_of(self, when):
        """The record as it was then, or None if it did not exist."""
        past = [change for at, change in self.history if at <= when]
        if not past:
            return None
        return self.record if len(past) == len(self.history) else {**self.record, **past[-1]}

    def shown(self):
        """What the control API tells."""
        reason = self.record.get("StateReason")
        return {
            "id": self.id,
            "state": self.state,
            "type": self.record["InstanceType"],
            "zone": self.zone,
            "market": self.market,
            "image": self.record["ImageId"],
            "address": self.address,
            "subnet": self.record.get("SubnetId"),
            "client_token": self.record.get("ClientToken"),
            "tags": tags_of(self.record),
            "state_reason": reason["Code"] if reason else None,
            "launched_at": self.record["LaunchTime"].isoformat(),
            "spot_request": self.spot_request,
            "fleet": self.fleet,
            "shutdown_behavior": self.shutdown_behavior,
        }


def _transition(reason):
    """As AWS writes it: only a user's own stop has a time."""
    if reason[0].startswith("Client.UserInitiated"):
        return f"User initiated ({utcnow():%Y-%m-%d %H:%M:%S} GMT)"
    return reason[1].partition(": ")[2] or reason[0]
