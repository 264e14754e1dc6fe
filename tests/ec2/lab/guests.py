"""Guests: for each running instance a process tree in namespaces of its own, with sshd on the instance's address.

The account tells what shall be (`boot`, `end`, `forget`), under its lock; what takes time happens on two threads: one
spawns (and must live as long as the lab, since a guest dies with the thread that started it), one waits for ends.
"""

import collections
import dataclasses
import os
import queue
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import traceback
from pathlib import Path

from . import catalogue
from .disk import HERE, Disk

POWER_OFF, REBOOT = 64, 65  # exit status of a guest's PID 1, see guest/init
SPAWN = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc"]


@dataclasses.dataclass
class Plan:
    """What a boot needs to know of the instance."""

    address: str
    port: int
    login: str
    host_name: str
    user_data: bytes
    public_key: str | None
    boot: str | None = None  # a guest fault


class Guest:
    """One boot of an instance."""

    def __init__(self, instance, disk, faults):
        self.instance, self.disk, self.faults = instance, disk, faults
        self.process = None  # `unshare`, parent of the guest's PID 1
        self.previous = None  # the boot before
        self.ended = False

    @property
    def pid(self):
        """The guest's PID 1 as the host sees it."""
        return None if self.ended else self.first_pid()

    def first_pid(self):
        if self.process is None:
            return None
        try:
            pids = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        except OSError:
            return None
        return int(pids[0]) if pids else None

    @property
    def phase(self):
        if self.ended:
            return "off"
        if self.faults.get("boot") == "never":
            return "never"
        if self.process and self.disk.shared.joinpath("sshd.pid").exists():
            return "up"
        return "no-sshd" if self.process and self.disk.shared.joinpath("no-sshd").exists() else "booting"

    @property
    def up_at(self):
        """When sshd began to listen on this boot, in microseconds since 1970: it writes its pid file then."""
        try:
            return self.disk.shared.joinpath("sshd.pid").stat().st_mtime_ns // 1000
        except OSError:
            return None

    def tree(self):
        """Pids of all processes in the guest's pid namespace, as the host sees them."""
        if (first := self.pid) is None:
            return []
        try:
            namespace = os.readlink(f"/proc/{first}/ns/pid")
        except OSError:
            return []
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{name}/ns/pid") == namespace:
                    found.append(int(name))
            except OSError:
                continue  # it has just ended
        return found

    def signal(self, number, command=None):
        """Signals all of the guest's processes, or those of that command name."""
        for pid in self.tree():
            try:
                if command is None or Path(f"/proc/{pid}/comm").read_text().strip().startswith(command):
                    os.kill(pid, number)
            except OSError:
                continue


class Guests:
    def __init__(self, account, port, metadata, state_root="/dev/shm"):
        self._account, self._port, self._metadata = account, port, metadata
        self.state = Path(tempfile.mkdtemp(prefix="dormouse-lab-", dir=state_root))
        self._devices()
        self.guests = {}  # instance id -> the last boot
        self.boots = collections.Counter()
        self._work, self._exits = queue.SimpleQueue(), select.epoll()
        self._waiting = {}
        threading.Thread(target=self._spawn_all, name="spawner", daemon=True).start()
        threading.Thread(target=self._reap_all, name="reaper", daemon=True).start()

    def _devices(self):
        """What a guest's /dev holds; copied into each."""
        devices = self.state / "dev"
        devices.mkdir()
        for name in ("null", "zero", "full", "random", "urandom", "tty"):
            there = os.stat(f"/dev/{name}")
            os.mknod(devices / name, 0o666 | 0o020000, there.st_rdev)
            os.chmod(devices / name, 0o666)
        for name in ("pts", "shm"):
            (devices / name).mkdir()
        links = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
        for name, target in links.items():
            (devices / name).symlink_to(target)

    # --- told by the account, under its lock ---

    def boot(self, instance):
        rules = self._account.guest_faults
        rule = rules.first(lambda rule: "launch_fails" not in rule.spec and rule.pool_matches(instance.pool))
        guest = Guest(instance, Disk(self.state / instance.id), rule.spec if rule else {})
        guest.previous = self.guests.get(instance.id)
        if guest.previous:
            guest.previous.previous = None
        self.guests[instance.id] = guest
        self.boots[instance.id] += 1
        self._metadata.open(instance)
        if guest.faults.get("boot") != "never":
            delay = self._account.settings.boot_ms + (guest.faults.get("slow_ms") or 0)
            self._account.timeline.after(delay, lambda: self._work.put(lambda: self._spawn(guest)))

    def end(self, instance_id):
        """Kills the guest's tree: with PID 1's parent goes PID 1, with PID 1 its namespace."""
        guest = self.guests.get(instance_id)
        if guest is None or guest.ended:
            return
        guest.ended = True
        self._metadata.close(guest.instance)
        self._kill(guest)

    def _kill(self, guest):
        """Where PID 1 is known it suffices: its parent ends when the last process of the namespace has."""
        if guest.process and guest.process.returncode is None:
            if (pid := guest.first_pid()) is None:
                guest.process.kill()
            else:
                _kill(pid)

    def forget(self, instance_id):
        """The disk goes too, once nothing runs on it."""
        guest = self.guests.pop(instance_id, None)
        if guest is not None:
            self._work.put(lambda: self._remove(guest))

    def console(self, instance_id):
        guest = self.guests.get(instance_id)
        return guest.disk.console() if guest else ""

    def running(self):
        """How many guests still have processes."""
        return len(self._waiting)

    def settle(self):
        """Waits, without the lock, until what was asked of the spawner so far is done."""
        done = threading.Event()
        self._work.put(done.set)
        done.wait()

    # --- told by tests, under the lock ---

    def set_sshd(self, guest, run):
        if run:
            guest.disk.shared.joinpath("no-sshd").unlink(missing_ok=True)
            if pid := guest.pid:
                os.kill(pid, signal.SIGUSR1)
        else:
            guest.signal(signal.SIGKILL, "sshd")
            guest.disk.shared.joinpath("sshd.pid").unlink(missing_ok=True)
            guest.disk.shared.joinpath("no-sshd").touch()

    def freeze(self, guest, frozen):
        guest.signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def crash(self, guest):
        self.end(guest.instance.id)

    def power_off(self, guest):
        if pid := guest.pid:
            os.kill(pid, signal.SIGPWR)

    # --- the spawner's thread ---

    def _spawn_all(self):
        while True:
            work = self._work.get()
            try:
                work()
            except Exception:  # noqa: BLE001 one guest's trouble is shown, and is not the others'
                traceback.print_exc()

    def _spawn(self, guest):
        with self._account.lock:
            if guest.ended:
                return
            plan = self._plan(guest)
        if guest.previous and guest.previous.process:
            guest.previous.process.wait()  # its address and its disk are this one's
        if not guest.disk.exists():
            guest.disk.fill(plan)
        guest.disk.prepare_boot(plan)
        with open(guest.disk.shared / "console", "ab") as console:
            process = subprocess.Popen(
                [*SPAWN, "sh", HERE / "enter.sh", guest.disk.directory, plan.host_name],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        with self._account.lock:
            guest.process = process
            descriptor = os.pidfd_open(process.pid)
            self._waiting[descriptor] = guest
            self._exits.register(descriptor, select.EPOLLIN)
            if guest.ended:
                self._kill(guest)
            elif (after := guest.faults.get("sshd_dies_after_ms")) is not None:
                self._sshd_dies(guest, after)

    def _sshd_dies(self, guest, after):
        """Counts from sshd's start, for which it looks every few milliseconds."""
        timeline = self._account.timeline

        def look():
            if guest.ended:
                return
            if guest.phase == "up":
                timeline.after(after, lambda: guest.ended or self.set_sshd(guest, False))
            else:
                timeline.after(5, look)

        look()

    def _plan(self, guest):
        instance = guest.instance
        image = self._account.images.get(instance.record["ImageId"], {})
        return Plan(
            address=instance.address,
            port=self._port,
            login=catalogue.LOGINS.get(image.get("OwnerId"), "admin"),
            host_name="ip-" + instance.address.replace(".", "-"),
            user_data=instance.user_data,
            public_key=self._account.key_pair(instance.record.get("KeyName")),
            boot=guest.faults.get("boot"),
        )

    def _remove(self, guest):
        if guest.process:
            guest.process.wait()
        guest.disk.remove()

    # --- the reaper's thread ---

    def _reap_all(self):
        while True:
            for descriptor, _ in self._exits.poll():
                with self._account.lock:
                    guest = self._waiting.pop(descriptor)
                    self._exits.unregister(descriptor)
                    os.close(descriptor)
                    self._ended(guest, guest.process.wait())

    def _ended(self, guest, status):
        if guest.ended:
            return  # we did it
        guest.ended = True
        self._metadata.close(guest.instance)
        if status == POWER_OFF:
            self._account.powered_off(guest.instance)
        elif status == REBOOT and guest.instance.state == "running":
            self.boot(guest.instance)

    def close(self):
        """At the lab's end: kills all and waits until they are gone."""
        with self._account.lock:
            for each in list(self.guests.values()):
                self.end(each.instance.id)
            processes = [guest.process for guest in self._waiting.values()]
        for process in processes:
            process.wait()
        shutil.rmtree(self.state, ignore_errors=True)


def _kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
