"""One lab for all tests, reset before each; boto3 as the client, OpenSSH's `ssh` as the visitor."""

import atexit
import json
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

import boto3
import botocore.config

from .. import keys

TOP = Path(__file__).parents[2]


def wait_for(condition, seconds=20, every=0.02):
    """The condition's first true value; fails with the last one after the deadline."""
    until = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > until:
            raise AssertionError(f"waited {seconds} s in vain, at last: {value!r}")
        time.sleep(every)
    return value


class RunningLab:
    """A lab process; ends with its stdin, so also when these tests are killed."""

    shared = None

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory()
        path = Path(self.directory.name, "ready.json")
        command = [sys.executable, "-m", "lab", "--ready-file", path, "--watch-stdin"]
        self.process = subprocess.Popen(command, cwd=TOP, stdin=subprocess.PIPE)
        wait_for(lambda: path.exists() or self.process.poll() is not None, 60)
        if self.process.poll() is not None:
            raise AssertionError("the lab did not start")
        self.ready = json.loads(path.read_text())

    @classmethod
    def get(cls):
        if cls.shared is None:
            cls.shared = cls()
            atexit.register(cls.shared.stop)
        return cls.shared

    def stop(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.directory.cleanup()

    def control(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.ready["control"] + path, data, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


class LabTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.lab = RunningLab.get()
        self.ready = self.lab.ready
        self.control = self.lab.control
        self.control("POST", "/reset", {})
        self.control("PATCH", "/settings", {"pending_ms": 20, "shutting_down_ms": 20, "stopping_ms": 20, "boot_ms": 10})
        self.ec2 = self.client("ec2")
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def client(self, service):
        ready = self.ready
        return boto3.client(
            service,
            endpoint_url=ready["front"],
            region_name=ready["region"],
            aws_access_key_id=ready["access_key_id"],
            aws_secret_access_key=ready["secret_access_key"],
            config=botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=30),
        )

    def image(self, system="debian", arch="x86_64"):
        return [each for each in self.ready["images"] if each["os"] == system and each["arch"] == arch][-1]["id"]

    def run_one(self, **changes):
        return self.run_many(1, **changes)[0]

    def run_many(self, count, **changes):
        call = {
            "ImageId": self.image(),
            "InstanceType": "m7i.large",
            "SubnetId": self.ready["subnets"][0]["id"],
            "MinCount": count,
            "MaxCount": count,
            **changes,
        }
        return [each["InstanceId"] for each in self.ec2.run_instances(**call)["Instances"]]

    def state(self, instance):
        return self.control("GET", f"/instances/{instance}")["state"]

    def wait_state(self, instance, state):
        return wait_for(lambda: self.state(instance) == state)

    def wait_phase(self, instance, phase="up"):
        self.wait_state(instance, "running")
        try:
            return wait_for(lambda: (guest := self.control("GET", f"/guests/{instance}"))["phase"] == phase and guest)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.control('GET', f'/guests/{instance}/console')['log']}") from None

    def assert_code(self, code, call, *arguments, **named):
        with self.assertRaises(botocore.exceptions.ClientError) as caught:
            call(*arguments, **named)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)
        return caught.exception.response

    def refused(self, status, method, path, body=None):
        with self.assertRaises(urllib.error.HTTPError) as caught:
            self.control(method, path, body)
        self.assertEqual(caught.exception.code, status)
        return json.load(caught.exception)["error"]


class Visitor:
    """Keys that go into user data, and `ssh` with the host key pinned."""

    def __init__(self, directory):
        self.directory = directory
        self.host_private, self.host_public = keys.host_key()
        private, self.client_public = keys.host_key()
        self.identity = directory / "identity"
        self.identity.write_text(private)
        self.identity.chmod(0o600)

    def cloud_config(self, extra=""):
        private = "".join(f"    {line}\n" for line in self.host_private.splitlines())
        return (
            f"#cloud-config\nssh_keys:\n  ed25519_private: |\n{private}  ed25519_public: {self.host_public}\n"
            f"ssh_authorized_keys:\n  - {self.client_public}\n{extra}"
        )

    def ssh(self, ready, address, command, login="admin"):
        known = self.directory / "known_hosts"
        port = ready["ssh_port"]
        known.write_text(f"{address if port == 22 else f'[{address}]:{port}'} {self.host_public}\n")
        options = ["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={known}"]
        options += ["-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=10", "-i", str(self.identity), "-p", str(port)]
        return subprocess.run(
            ["ssh", *options, f"{login}@{address}", command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )
