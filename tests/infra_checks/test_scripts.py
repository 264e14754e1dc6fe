"""The scripts that no other tool looks at: what verify.py says, and whether the Windows ones parse."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import tree_sitter
import tree_sitter_powershell

from infra_checks import sources

IMAGE = """
name: sample
capabilities: {{ os: debian, python: ["3.9.1", "3.10.2"], sqlite: true }}
ready: "{ready}"
probes:
  python: {python}
  sqlite: echo anything
"""


def verify(python="echo 3.10.2; echo 3.9.1", ready="true"):
    """How verify.py ends on an image with these scripts, and what it says."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "image.yaml"
        path.write_text(IMAGE.format(python=python, ready=ready), encoding="utf-8")
        done = subprocess.run([sys.executable, str(sources.PACKER / "scripts" / "verify.py"), str(path)],
                              capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def broken_lines(text):
    """Lines of a PowerShell script that the grammar cannot read."""
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
    nodes, lines = [parser.parse(text.encode()).root_node], []
    while nodes:
        node = nodes.pop()
        if node.is_error or node.is_missing:
            lines.append(node.start_point.row + 1)
        nodes.extend(node.children)
    return sorted(set(lines))


class Verify(unittest.TestCase):
    def test_accepts_what_is_claimed_in_any_order(self):
        self.assertEqual(verify(), (0, "sample: all claims hold\n"))

    def test_refuses_a_missing_version(self):
        code, said = verify(python="echo 3.9.1")
        self.assertEqual(code, 1)
        self.assertIn("python: claimed 3.10.2, 3.9.1; found 3.9.1", said)

    def test_refuses_a_version_nobody_claimed(self):
        code, said = verify(python="echo 3.9.1; echo 3.10.2; echo 3.11.0")
        self.assertEqual(code, 1)
        self.assertIn("found 3.10.2, 3.11.0, 3.9.1", said)

    def test_refuses_a_failing_probe_and_a_machine_that_is_not_ready(self):
        code, said = verify(python="exit 3", ready="false")
        self.assertEqual(code, 1)
        self.assertIn("python: its probe ended with 3", said)
        self.assertIn("ready: `false` fails", said)


class Windows(unittest.TestCase):
    def test_scripts_parse(self):
        scripts = sorted((sources.PACKER / "scripts" / "windows").glob("*.ps1"))
        self.assertEqual(len(scripts), 3)
        for path in scripts:
            text = path.read_text(encoding="utf-8")
            # EC2's marks around user data are no PowerShell.
            text = text.replace("<powershell>", "").replace("</powershell>", "")
            self.assertEqual(broken_lines(text), [], path.name)

    def test_a_broken_script_is_noticed(self):
        self.assertEqual(broken_lines("$ok = 1\nif ($ok { 'x' }\n"), [2])
