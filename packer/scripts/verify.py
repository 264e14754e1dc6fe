#!/usr/bin/env python3
"""Compares an image file's claims with what its probes print on this machine; ends with 1 if they differ.

It is what `dormouse image verify` does, before the AMI exists rather than after it. PyYAML is there
because cloud-init needs it; versions must be quoted in the file, since YAML takes 3.10 for 3.1.
"""

import subprocess
import sys

import yaml

PROBE_SECONDS = 60


def values(claim):
    """The texts that a claim stands for; none for one that has no value to compare."""
    if isinstance(claim, bool):
        return []
    return [str(value) for value in (claim if isinstance(claim, list) else [claim])]


def problems(image):
    """What is wrong with this machine, a sentence each."""
    found = []
    claims, probes = image["capabilities"], image.get("probes", {})
    for name in sorted(set(probes) - set(claims)):
        found.append(f"{name}: probed, but not claimed")
    if image.get("ready"):
        if run(image["ready"])[0] != 0:
            found.append(f"ready: `{image['ready']}` fails")
    for name, script in probes.items():
        code, lines = run(script)
        claimed = sorted(values(claims.get(name, True)))
        if code != 0:
            found.append(f"{name}: its probe ended with {code}")
        elif claimed and sorted(lines) != claimed:
            found.append(f"{name}: claimed {', '.join(claimed)}; found {', '.join(sorted(lines)) or 'nothing'}")
    return found


def run(script):
    """Exit code and non-empty lines of a shell script."""
    done = subprocess.run(
        ["sh", "-c", script], stdout=subprocess.PIPE, text=True, timeout=PROBE_SECONDS, check=False
    )
    return done.returncode, [line.strip() for line in done.stdout.splitlines() if line.strip()]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        image = yaml.safe_load(file)
    found = problems(image)
    for problem in found:
        print(f"{image['name']}: {problem}", file=sys.stderr)
    if not found:
        print(f"{image['name']}: all claims hold")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
