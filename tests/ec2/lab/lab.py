"""The lab put together: account, guests, the three HTTP servers, and what exists at the start."""

import datetime
import fcntl
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

from moto.ssm.models import Parameter

from . import catalogue, metadata
from .account import Account
from .control import Control
from .faults import Settings
from .front import Front
from .guests import Guests
from .moto_app import ACCOUNT, REGION, Moto, backend
from .server import Server

STATE_ROOT = Path("/dev/shm")
QUEUE = "lab-interruptions"


class Unfit(Exception):
    """This machine cannot run a lab; says why."""


def check_machine():
    """Everything a guest needs, tried once for real: better a clear refusal than guests that never boot."""
    if os.geteuid() != 0:
        raise Unfit("the lab needs root: guests are made of mount and pid namespaces, and listen on port 22")
    absent = [name for name in ("setpriv", "unshare", "sudo", "sshd", "pivot_root") if not shutil.which(name, path=SEARCH)]
    if absent:
        raise Unfit(f"not installed: {', '.join(absent)} (Debian: openssh-server, sudo, util-linux)")
    probe = STATE_ROOT / f"dormouse-lab-probe-{os.getpid()}"
    for name in ("upper", "work", "root"):
        (probe / name).mkdir(parents=True)
    script = 'mount -t overlay probe -o "lowerdir=/,upperdir=$0/upper,workdir=$0/work" "$0/root" && [ $$ = 1 ]'
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "sh", "-c", script, str(probe)]
    tried = subprocess.run(command, capture_output=True, text=True)
    shutil.rmtree(probe, ignore_errors=True)
    if tried.returncode != 0:
        raise Unfit(f"namespaces or overlay mounts are not allowed here: {tried.stderr.strip()}")


SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Network:
    """A /16 of loopback that no other lab uses, held by a socket on its last usable address."""

    def __init__(self, wanted=None):
        candidates = [wanted] if wanted else [f"127.{n}.0.0/16" for n in range(10, 100)]
        for candidate in candidates:
            if self._hold(candidate):
                self.cidr = candidate
                return
        raise Unfit(f"in use by another lab: {', '.join(candidates[:3])} ...")

    def _hold(self, cidr):
        self.prefix = cidr.rsplit(".", 2)[0]
        self._socket = socket.socket()
        try:
            self._socket.bind((f"{self.prefix}.255.254", metadata.PORT))
            self._socket.listen(1)
            return True
        except OSError:
            self._socket.close()
            return False

    def can_listen(self, port):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((f"{self.prefix}.255.254", port))
                probe.listen(1)
                return True
            except OSError:
                return False

    def subnets(self):
        return [(zone, f"{self.prefix}.{16 * index}.0/20") for index, zone in enumerate(catalogue.ZONES[:3])]


def remove_stale_state():
    """Disks of labs that were killed: theirs is the lock that nobody holds."""
    for directory in STATE_ROOT.glob("dormouse-lab-*/"):
        try:
            with open(directory / "lock", "rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory, ignore_errors=True)
        except OSError:
            continue  # alive, or not yet locked


class Lab:
    def __init__(self, options):
        check_machine()
        remove_stale_state()
        self._network = Network(options.network)
        port = options.ssh_port or (22 if self._network.can_listen(22) else 2222)
        if not self._network.can_listen(port):
            raise Unfit(f"something else listens on port {port} of all addresses")
        self.account = Account(self._network.cidr)
        self._moto = Moto()
        self.guests = Guests(self.account, port, metadata.Metadata(self.account), STATE_ROOT)
        self._lock = open(self.guests.state / "lock", "wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.account.guests, self.account.interruptions = self.guests, self._interruption
        self._control = Control(self.account, self.guests, self.reset)
        self._front_server = Server(("127.0.0.1", options.port), Front(self.account, self._moto).answer)
        self._control_server = Server(("127.0.0.1", options.control_port), self._control.answer)
        with self.account.lock:
            self._control.ready = self._furnish(port)
        self._front_server.start("front")
        self._control_server.start("control")

    @property
    def ready(self):
        return self._control.ready

    def _furnish(self, port):
        """What exists at the start, as the ready file tells it."""
        ec2 = backend("ec2")
        for of_zone in list(ec2.subnets.values()):
            for subnet in list(of_zone):
                ec2.delete_subnet(subnet)  # the default VPC's, whose addresses are not loopback
        vpc = ec2.create_vpc(self._network.cidr)
        subnets = [
            {"id": ec2.create_subnet(vpc.id, cidr, availability_zone=zone).id, "zone": zone, "cidr": cidr} for zone, cidr in self._network.subnets()
        ]
        group = ec2.create_security_group("lab", "guests of the lab", vpc_id=vpc.id)
        records, rows, parameters = catalogue.stock_images(datetime.datetime.now(datetime.timezone.utc))
        self.account.images = {record["ImageId"]: record for record in records}
        for name, image in parameters.items():
            self._put_parameter(name, image)
        queue = backend("sqs").create_queue(QUEUE, {})
        return {
            "pid": os.getpid(),
            "front": self._front_server.url,
            "control": self._control_server.url,
            "region": REGION,
            "account": ACCOUNT,
            "access_key_id": "lab",
            "secret_access_key": "lab",
            "network": self._network.cidr,
            "ssh_port": port,
            "metadata_port": metadata.PORT,
            "vpc": vpc.id,
            "security_group": group.id,
            "subnets": subnets,
            "images": rows,
            "parameters": parameters,
            "queue_url": queue.url(urlsplit(self._front_server.url)),
            "queue_arn": queue.queue_arn,
        }

    def _put_parameter(self, name, value):
        """Straight into moto's store: names under /aws are not for clients to write."""
        parameter = Parameter(
            account_id=ACCOUNT,
            name=name,
            value=value,
            parameter_type="String",
            description=None,
            allowed_pattern=None,
            keyid=None,
            last_modified_date=datetime.datetime.now(),
            version=1,
            data_type="aws:ec2:image",
        )
        backend("ssm")._parameters[name].append(parameter)

    def _interruption(self, kind, instance, detail):
        """An event as EventBridge sends it, in the queue that a rule would feed."""
        event = {
            "version": "0",
            "id": f"lab-{time.time_ns()}",
            "detail-type": kind,
            "source": "aws.ec2",
            "account": ACCOUNT,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "region": REGION,
            "resources": [f"arn:aws:ec2:{instance.zone}:instance/{instance.id}"],
            "detail": {"instance-id": instance.id, **detail},
        }
        backend("sqs").send_message(QUEUE, json.dumps(event))

    def reset(self):
        """All that tests made goes; what existed at the start stays. Waits until no guest is left."""
        account = self.account
        with account.lock:
            account.settings.change(vars(Settings()))
            account.faults.remove()
            account.guest_faults.remove()
            account.capacity.set([])
            account.quotas.set({"on-demand": None, "spot": None})
            account.throttle.set({"on": False})
            for instance in list(account.instances.values()):
                instance.epoch += 1  # nothing planned for it shall happen
                self.guests.end(instance.id)
                self.guests.forget(instance.id)
            kept = {row["id"] for row in self.ready["images"]}
            account.images = {key: image for key, image in account.images.items() if key in kept}
            for records in (account.instances, account.volumes, account.interfaces, account.tokens):
                records.clear()
            for records in (account.spot_requests, account.fleets, account.templates):
                records.clear()
            account.journal.clear()
            backend("sqs").get_queue(QUEUE).last_purged_at = None  # SQS purges once a minute, tests more often
            backend("sqs").purge_queue(QUEUE)
        self.guests.settle()
        while True:
            with account.lock:
                if not self.guests.running():
                    return
            time.sleep(0.01)

    def close(self):
        self.guests.close()
