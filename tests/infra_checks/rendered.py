"""Writes the user data of the planned host to a file, for shellcheck."""

import base64
import sys
from pathlib import Path

from infra_checks import sources


def user_data():
    """The script that the host's first boot runs."""
    template = sources.resources("terraform", "everything")["aws_launch_template.orchestrator"]
    return base64.b64decode(template["user_data"]).decode()


if __name__ == "__main__":
    (Path(sys.argv[1]) / "user_data.sh").write_text(user_data(), encoding="utf-8")
