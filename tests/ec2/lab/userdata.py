"""What cloud-init would read in user data: cloud-config and scripts, plain or MIME, base64 once more or gzip."""

import base64
import binascii
import dataclasses
import email
import gzip

import yaml

KNOWN = {
    "hostname", "fqdn", "ssh_keys", "ssh_authorized_keys", "users", "write_files", "bootcmd", "runcmd", "ssh_deletekeys",
    "disable_root", "preserve_hostname", "manage_etc_hosts", "ssh_pwauth", "package_update", "package_upgrade", "system_info",
}  # fmt: skip


@dataclasses.dataclass
class UserData:
    config: dict
    scripts: list  # bytes, in order
    notes: list  # what was not understood, for the console


def parse(raw):
    parsed = UserData({}, [], [])
    try:
        _part(_unpacked(raw), None, parsed)
    except (yaml.YAMLError, ValueError, OSError) as error:
        parsed.notes.append(f"user data is unreadable: {error}")
    for key in sorted(set(parsed.config) - KNOWN):
        parsed.notes.append(f"cloud-config key '{key}' is not acted on here")
    return parsed


def _unpacked(raw):
    """Clients sometimes encode twice, and cloud-init forgives it."""
    try:
        if raw and raw[:1] not in (b"#", b"\x1f") and not raw.startswith((b"Content-Type", b"MIME", b"From ")):
            raw = base64.b64decode(raw.strip(), validate=True)
    except (binascii.Error, ValueError):
        pass
    return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw


def _part(body, content_type, parsed):
    head = body.lstrip()[:64]
    lower = head.lower()
    if content_type is None and lower.startswith((b"content-type:", b"mime-version:", b"from ")):
        for part in email.message_from_bytes(body.lstrip()).walk():
            if not part.is_multipart():
                _part(_unpacked_part(part), part.get_content_type(), parsed)
    elif head.startswith(b"#cloud-config") or content_type == "text/cloud-config":
        config = yaml.safe_load(body) or {}
        if not isinstance(config, dict):
            raise ValueError("cloud-config is not a mapping")
        parsed.config.update(config)
    elif head.startswith(b"#!") or content_type == "text/x-shellscript":
        parsed.scripts.append(body)
    elif body.strip():
        kind = content_type or head.split(b"\n")[0].decode(errors="replace")
        parsed.notes.append(f"a user data part is not acted on: {kind}")


def _unpacked_part(part):
    body = part.get_payload(decode=True)
    return gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
