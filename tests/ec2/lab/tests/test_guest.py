"""Guests: booted through the API, visited by ssh with a pinned host key."""

import gzip
import json
import os
import socket
import urllib.error
import urllib.request
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

from .support import LabTest, Visitor, wait_for


class GuestTest(LabTest):
    def setUp(self):
        super().setUp()
        self.visitor = Visitor(self.directory)

    def boot(self, extra="", **changes):
        instance = self.run_one(UserData=self.visitor.cloud_config(extra), **changes)
        guest = self.wait_phase(instance)
        return instance, guest["address"]

    def ssh(self, address, command, status=0, login="admin"):
        done = self.visitor.ssh(self.ready, address, command, login)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout

    def test_injected_keys_let_in_and_pin_the_host(self):
        _, address = self.boot()
        self.assertTrue(address.startswith(self.ready["network"].rsplit(".", 2)[0]))
        self.assertEqual(self.ssh(address, "whoami; sudo -n whoami; pwd"), "admin\nroot\n/home/admin\n")
        ubuntu = self.run_one(UserData=self.visitor.cloud_config(), ImageId=self.image("ubuntu"))
        other = self.wait_phase(ubuntu)["address"]
        self.assertEqual(self.ssh(other, "whoami", login="ubuntu"), "ubuntu\n")
        self.ssh(other, "whoami", status=255, login="admin")

    def test_wrong_host_key_is_refused_by_the_pin(self):
        self.control("POST", "/guest-faults", {"boot": "wrong-host-key", "count": 1})
        _, address = self.boot()
        done = self.visitor.ssh(self.ready, address, "true")
        self.assertEqual(done.returncode, 255)
        self.assertIn("Host key verification failed", done.stderr)

    def test_guest_sees_its_own_machine_only(self):
        _, address = self.boot()
        seen = self.ssh(address, "ps -e | wc -l; ls /home; ls /tmp; hostname; sudo ls -A /root")
        processes, *names = seen.split()
        self.assertLess(int(processes), 20)
        self.assertEqual(names, ["admin", "ip-" + address.replace(".", "-"), ".ssh"])
        for switch in ("mount -t tmpfs none /mnt", "echo 1 >/proc/sys/vm/drop_caches", "unshare --mount true"):
            self.assertNotEqual(self.visitor.ssh(self.ready, address, f"sudo sh -c '{switch}'").returncode, 0, switch)
        self.ssh(address, "echo mine | sudo tee /etc/lab-was-here")
        self.assertFalse(os.path.exists("/etc/lab-was-here"))

    def test_cloud_config_and_scripts_of_mime_parts(self):
        message = MIMEMultipart()
        extra = (
            "users:\n  - default\n  - name: build\n    ssh_authorized_keys: ['%s']\n"
            "write_files:\n  - {path: /etc/deep/file, content: 'from files', permissions: '0640', owner: 'admin:admin'}\n"
            "  - {path: /etc/b64, content: aGVsbG8=, encoding: b64}\n"
            "bootcmd:\n  - echo boot >>/order\n"
            "runcmd:\n  - [sh, -c, 'echo run >>/order']\n  - cat /etc/b64 >/from-runcmd\n" % self.visitor.client_public
        )
        message.attach(MIMEText(self.visitor.cloud_config(extra), "cloud-config"))
        message.attach(MIMEText("#!/bin/bash\necho \"script $(id -u)\" >>/order\n", "x-shellscript"))
        instance = self.run_one(UserData=gzip.compress(message.as_bytes()))
        address = self.wait_phase(instance)["address"]
        wait_for(lambda: "finished" in self.control("GET", f"/guests/{instance}/console")["log"])
        self.assertEqual(self.ssh(address, "cat /order /from-runcmd"), "boot\nrun\nscript 0\nhello")
        self.assertEqual(self.ssh(address, "stat -c '%U %a' /etc/deep/file; cat /etc/deep/file"), "admin 640\nfrom files")
        self.assertEqual(self.ssh(address, "whoami", login="build"), "build\n")

    def test_stop_keeps_disk_and_address(self):
        instance, address = self.boot()
        boot_id = self.ssh(address, "echo kept >file; cat /proc/sys/kernel/random/boot_id")
        self.ec2.stop_instances(InstanceIds=[instance])
        self.wait_state(instance, "stopped")
        wait_for(lambda: self.control("GET", "/summary")["guests"] == 0)
        self.assert_code(
            "UnsupportedHibernationConfiguration", self.ec2.stop_instances, InstanceIds=[instance], Hibernate=True
        )
        self.ec2.modify_instance_attribute(InstanceId=instance, InstanceType={"Value": "m7i.xlarge"})
        self.ec2.start_instances(InstanceIds=[instance])
        self.assertEqual(self.wait_phase(instance)["address"], address)
        self.assertEqual(self.ssh(address, "cat file"), "kept\n")
        self.assertNotEqual(self.ssh(address, "cat /proc/sys/kernel/random/boot_id"), boot_id)
        self.assert_code(
            "IncorrectInstanceState",
            self.ec2.modify_instance_attribute,
            InstanceId=instance,
            InstanceType={"Value": "m7i.large"},
        )

    def test_power_off_obeys_the_shutdown_behaviour(self):
        for behavior, state in (("terminate", "terminated"), ("stop", "stopped")):
            with self.subTest(behavior):
                instance, address = self.boot(InstanceInitiatedShutdownBehavior=behavior)
                self.ssh(address, "/usr/sbin/poweroff", status=1)  # only root may
                self.visitor.ssh(self.ready, address, "sudo poweroff")
                self.wait_state(instance, state)
                shown = self.control("GET", f"/instances/{instance}")
                self.assertEqual(shown["state_reason"], "Client.InstanceInitiatedShutdown")
                wait_for(lambda: self.control("GET", "/summary")["guests"] == 0)

    def test_reboot_from_inside_comes_back(self):
        instance, address = self.boot()
        before = self.ssh(address, "cat /proc/sys/kernel/random/boot_id")
        self.visitor.ssh(self.ready, address, "sudo shutdown -r now")
        wait_for(lambda: (guest := self.control("GET", f"/guests/{instance}"))["boots"] == 2 and guest["phase"] == "up")
        self.assertNotEqual(self.ssh(address, "cat /proc/sys/kernel/random/boot_id"), before)
        self.assertEqual(self.state(instance), "running")

    def test_terminate_kills_daemons_too(self):
        instance, address = self.boot()
        self.ssh(address, "setsid sleep 4242 >/dev/null 2>&1 </dev/null &")
        wait_for(lambda: len(_pids_of("sleep\x004242\x00")) == 1)
        self.ec2.terminate_instances(InstanceIds=[instance])
        wait_for(lambda: self.control("GET", "/summary")["guests"] == 0)
        self.assertEqual(_pids_of("sleep\x004242\x00"), [])
        with self.assertRaises(OSError):
            socket.create_connection((address, self.ready["ssh_port"]), 5).close()

    def test_sshd_dies_and_returns(self):
        instance, address = self.boot()
        self.control("POST", f"/guests/{instance}/sshd", {"run": False})
        wait_for(lambda: self.visitor.ssh(self.ready, address, "true").returncode == 255)
        self.assertEqual(self.control("GET", f"/guests/{instance}")["phase"], "no-sshd")
        self.control("POST", f"/guests/{instance}/sshd", {"run": True})
        self.wait_phase(instance)
        self.ssh(address, "true")

    def test_guest_faults(self):
        self.control("POST", "/guest-faults", {"boot": "never", "count": 1})
        never = self.run_one()
        self.wait_phase(never, "never")
        self.control("POST", "/guest-faults", {"boot": "no-sshd", "count": 1})
        silent = self.run_one()
        self.wait_phase(silent, "no-sshd")
        self.control("POST", "/guest-faults", {"launch_fails": "Client.VolumeLimitExceeded", "count": 1})
        failed = self.run_one()
        self.wait_state(failed, "terminated")
        self.assertEqual(self.control("GET", f"/instances/{failed}")["state_reason"], "Client.VolumeLimitExceeded")
        self.control("POST", "/guest-faults", {"sshd_dies_after_ms": 1, "count": 1})
        self.wait_phase(self.run_one(), "no-sshd")

    def test_console_output_is_the_guests_log(self):
        instance, _ = self.boot("runcmd: ['echo seen-on-console']\n")
        wait_for(lambda: "seen-on-console" in self.ec2.get_console_output(InstanceId=instance).get("Output", ""))

    def test_reclaim_shows_in_metadata_and_queue(self):
        instance, address = self.boot(InstanceMarketOptions={"MarketType": "spot"})
        token = self.metadata(address, "/latest/api/token", "PUT", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
        asked = {"X-aws-ec2-metadata-token": token}
        self.assertEqual(self.metadata(address, "/latest/meta-data/instance-id", headers=asked), instance)
        self.assert_http(401, address, "/latest/meta-data/instance-id", {})
        self.assert_http(404, address, "/latest/meta-data/spot/instance-action", asked)
        self.control("POST", f"/instances/{instance}/reclaim", {"after_ms": 1500})
        notice = json.loads(self.metadata(address, "/latest/meta-data/spot/instance-action", headers=asked))
        self.assertEqual(notice["action"], "terminate")
        [message] = self.client("sqs").receive_message(QueueUrl=self.ready["queue_url"], WaitTimeSeconds=5)["Messages"]
        event = json.loads(message["Body"])
        self.assertEqual(event["detail"], {"instance-id": instance, "instance-action": "terminate"})
        self.assertEqual(self.state(instance), "running")
        self.wait_state(instance, "terminated")
        [request] = self.ec2.describe_spot_instance_requests()["SpotInstanceRequests"]
        self.assertEqual(request["State"], "closed")
        self.assertEqual(self.control("GET", f"/instances/{instance}")["state_reason"], "Server.SpotInstanceTermination")

    def test_frozen_guest_is_silent_and_goes_on(self):
        instance, address = self.boot()
        self.control("POST", f"/guests/{instance}/freeze", {"frozen": True})
        with socket.create_connection((address, self.ready["ssh_port"]), 5) as connection:
            connection.settimeout(0.3)
            with self.assertRaises(TimeoutError):
                connection.recv(1)
            self.control("POST", f"/guests/{instance}/freeze", {"frozen": False})
            connection.settimeout(10)
            self.assertEqual(connection.recv(4), b"SSH-")

    def metadata(self, address, path, method="GET", headers=None):
        url = f"http://{address}:{self.ready['metadata_port']}{path}"
        request = urllib.request.Request(url, method=method, headers=headers or {})
        return urllib.request.urlopen(request, timeout=10).read().decode()

    def assert_http(self, status, address, path, headers):
        with self.assertRaises(urllib.error.HTTPError) as caught:
            self.metadata(address, path, headers=headers)
        self.assertEqual(caught.exception.code, status)


def _pids_of(command):
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline") as file:
                if file.read() == command:
                    found.append(int(name))
        except OSError:
            continue
    return found
