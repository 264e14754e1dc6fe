"""A guest's disk: the upper layer of its overlay, filled on the first boot from what its user data says."""

import base64
import functools
import gzip
import os
import shlex
import shutil
import uuid
from pathlib import Path

from . import keys, userdata

HERE = Path(__file__).parent / "guest"
STANDINS = ("poweroff", "halt", "reboot", "shutdown", "init", "telinit")
SSHD_CONFIG = """\
ListenAddress {address}:{port}
{host_keys}
PidFile /lab/run/sshd.pid
AuthorizedKeysFile .ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
"""
ROOT_REFUSED = (
    'no-port-forwarding,no-agent-forwarding,no-X11-forwarding,command="echo \'Please login as the user \\"{user}\\" '
    'rather than the user \\"root\\".\';echo;sleep 10;exit 142" '
)


@functools.lru_cache(maxsize=None)
def system_accounts():
    """The host's accounts that packages made; people's stay out."""
    accounts = {}
    for name, identity in (("passwd", 2), ("group", 2)):
        lines = Path("/etc", name).read_text().splitlines()
        keep = [line for line in lines if int(line.split(":")[identity]) < 1000 or line.startswith(("nobody:", "nogroup:"))]
        accounts[name] = [":".join(line.split(":")[:3] + [""]) for line in keep] if name == "group" else keep
    return accounts


class Disk:
    """`root` of the guest as the host sees it: files written here before a boot are in the guest."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.upper = self.directory / "upper"

    @property
    def shared(self):
        """/lab/run in the guest: the one directory that both sides may change while it runs."""
        return self.directory / "shared"

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)

    def console(self):
        try:
            return (self.shared / "console").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def _write(self, path, text, mode=0o644, owner=0):
        full = self.upper / path.lstrip("/")
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(text if isinstance(text, bytes) else text.encode())
        full.chmod(mode)
        if owner:
            os.chown(full, owner, owner)
        return full

    def exists(self):
        return self.upper.exists()

    def fill(self, plan):
        """First boot: everything that cloud-init writes before sshd starts. `plan`: a `Plan`."""
        for name in ("upper", "work", "root", "shared"):
            (self.directory / name).mkdir(parents=True)
        self.upper.chmod(0o755)
        # Of the host's files these stay out of sight.
        for path, mode in (("root", 0o700), ("home", 0o755), ("tmp", 0o1777), ("var/tmp", 0o1777), ("lab", 0o755), ("lab/run", 0o755)):
            directory = self.upper / path
            directory.mkdir(parents=True)
            directory.chmod(mode)
            os.setxattr(directory, "trusted.overlay.opaque", b"y")
        parsed = userdata.parse(plan.user_data)
        (self.shared / "console").write_text("".join(f"[cloud-init] {note}\n" for note in parsed.notes))
        self._system(plan, parsed.config)
        users = self._users(plan, parsed.config)
        self._accounts(users)
        self._sshd(plan, parsed.config)
        self._stages(parsed)

    def prepare_boot(self, plan):
        """Every boot: what a fault or a new port may change."""
        (self.shared / "sshd.pid").unlink(missing_ok=True)  # of an sshd that was killed
        flag = self.shared / "no-sshd"
        flag.touch() if plan.boot == "no-sshd" else flag.unlink(missing_ok=True)
        if plan.boot == "wrong-host-key":
            private, public = keys.host_key()
            self._write("/etc/ssh/ssh_host_ed25519_key", private, 0o600)
            self._write("/etc/ssh/ssh_host_ed25519_key.pub", public + "\n")

    # --- parts ---

    def _system(self, plan, config):
        name = str(config.get("hostname") or plan.host_name)
        self._write("/etc/hostname", name + "\n")
        self._write("/etc/hosts", f"127.0.0.1 localhost\n{plan.address} {name}\n")
        self._write("/etc/machine-id", uuid.uuid4().hex + "\n")
        self._write("/etc/pam.d/sudo", "auth sufficient pam_permit.so\naccount sufficient pam_permit.so\nsession sufficient pam_permit.so\n")
        self._write("/etc/sudo.conf", "Set disable_coredump false\n")  # limits are the host's
        for name in STANDINS:
            self._write(f"/usr/sbin/{name}", (HERE / "power").read_bytes(), 0o755)
        self._write("/usr/bin/systemctl", (HERE / "power").read_bytes(), 0o755)
        for name in ("init", "boot"):
            self._write(f"/lab/{name}", (HERE / name).read_bytes(), 0o755)

    def _users(self, plan, config):
        """[(name, uid, home, shell, keys, sudo)]; without `users` there is the image's own."""
        top = list(config.get("ssh_authorized_keys") or [])
        if plan.public_key:
            top.append(plan.public_key)
        users, next_uid = [], 1000
        for entry in config.get("users") or ["default"]:
            if isinstance(entry, str):
                entry = {"name": entry}
            name = entry.get("name")
            if name == "default":
                users.append((plan.login, next_uid, f"/home/{plan.login}", "/bin/bash", top, "ALL=(ALL) NOPASSWD:ALL"))
            elif name:
                own = entry.get("ssh_authorized_keys") or entry.get("ssh-authorized-keys") or []
                home, shell = entry.get("homedir") or f"/home/{name}", entry.get("shell") or "/bin/sh"
                users.append((name, int(entry.get("uid") or next_uid), home, shell, list(own), entry.get("sudo")))
            next_uid += 1
        for name, uid, home, _, authorized, _ in users:
            if name != "root":
                self._home(home, uid, authorized)
        self._root_keys(plan, config, users, top)
        return users

    def _root_keys(self, plan, config, users, top):
        own = [key for name, _, _, _, authorized, _ in users if name == "root" for key in authorized]
        refused = config.get("disable_root", True)
        lines = own + ([ROOT_REFUSED.format(user=plan.login) + key for key in top] if refused else top)
        if lines:
            self._home("/root", 0, lines)

    def _home(self, home, uid, authorized):
        directory = self.upper / home.lstrip("/")
        directory.mkdir(parents=True, exist_ok=True)
        for name in (".bashrc", ".profile"):
            skeleton = Path("/etc/skel", name)
            if uid and skeleton.exists():
                self._write(f"{home}/{name}", skeleton.read_bytes(), 0o644, uid)
        self._write(f"{home}/.ssh/authorized_keys", "".join(f"{key.strip()}\n" for key in authorized), 0o600, uid)
        for path, mode in ((directory, 0o700 if uid == 0 else 0o755), (directory / ".ssh", 0o700)):
            path.chmod(mode)
            os.chown(path, uid, uid)

    def _accounts(self, users):
        passwd, group = list(system_accounts()["passwd"]), list(system_accounts()["group"])
        shadow = [f"{line.split(':')[0]}:*:19000:0:99999:7:::" for line in passwd]
        for name, uid, home, shell, _, sudo in users:
            if name != "root":
                passwd.append(f"{name}:x:{uid}:{uid}::{home}:{shell}")
                group.append(f"{name}:x:{uid}:")
                shadow.append(f"{name}:*:19000:0:99999:7:::")
            rules = [sudo] if isinstance(sudo, str) else sudo or []
            if rules:
                self._write(f"/etc/sudoers.d/90-{name}", "".join(f"{name} {rule}\n" for rule in rules), 0o440)
        self._write("/etc/passwd", "\n".join(passwd) + "\n")
        self._write("/etc/group", "\n".join(group) + "\n")
        self._write("/etc/shadow", "\n".join(shadow) + "\n", 0o640)
        self._write("/etc/sudoers", "Defaults !requiretty\nDefaults secure_path=\"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"\nroot ALL=(ALL:ALL) ALL\n@includedir /etc/sudoers.d\n", 0o440)

    def _sshd(self, plan, config):
        given, kinds = config.get("ssh_keys") or {}, []
        for kind in ("ed25519", "ecdsa", "rsa"):
            if private := given.get(f"{kind}_private"):
                kinds.append(kind)
                self._write(f"/etc/ssh/ssh_host_{kind}_key", private.rstrip("\n") + "\n", 0o600)
                self._write(f"/etc/ssh/ssh_host_{kind}_key.pub", (given.get(f"{kind}_public") or "").strip() + "\n")
        if not kinds:
            kinds, (private, public) = ["ed25519"], keys.host_key()
            self._write("/etc/ssh/ssh_host_ed25519_key", private, 0o600)
            self._write("/etc/ssh/ssh_host_ed25519_key.pub", public + "\n")
        lines = "\n".join(f"HostKey /etc/ssh/ssh_host_{kind}_key" for kind in kinds)
        text = SSHD_CONFIG.format(address=plan.address, port=plan.port, host_keys=lines)
        self._write("/etc/ssh/sshd_config", text, 0o600)

    def _stages(self, parsed):
        for name in ("bootcmd", "runcmd"):
            if parsed.config.get(name):
                self._write(f"/lab/{name}", "#!/bin/sh\n" + "".join(_command(each) for each in parsed.config[name]), 0o700)
        if files := parsed.config.get("write_files"):
            lines = [self._file(index, each) for index, each in enumerate(files)]
            self._write("/lab/write-files", "#!/bin/sh\n" + "".join(lines), 0o700)
        for index, script in enumerate(parsed.scripts):
            self._write(f"/lab/scripts/part-{index + 1:03d}", script, 0o700)

    def _file(self, index, spec):
        """Shell lines that put a file in place: as root, in the guest, where its owner is known."""
        content, encoding = spec.get("content") or "", str(spec.get("encoding") or "")
        data = content if isinstance(content, bytes) else str(content).encode()
        if "b64" in encoding or "base64" in encoding:
            data = base64.b64decode(data)
        if "gz" in encoding:
            data = gzip.decompress(data)
        self._write(f"/lab/files/{index}", data, 0o600)
        path = shlex.quote(spec["path"])
        mode, owner = str(spec.get("permissions") or "0644"), str(spec.get("owner") or "root:root")
        arrow = ">>" if spec.get("append") else ">"
        return (
            f"mkdir -p \"$(dirname {path})\"\ncat /lab/files/{index} {arrow} {path}\n"
            f"chmod {shlex.quote(mode)} {path}\nchown {shlex.quote(owner)} {path}\n"
        )


def _command(command):
    text = command if isinstance(command, str) else shlex.join(str(word) for word in command)
    return text + "\n"
