"""Where the checks read: the files of the project, and the plans that terraform's tests left."""

import json
import os
import re
from pathlib import Path

import hcl2
import yaml

TOP = Path(__file__).resolve().parents[2]
TERRAFORM = TOP / "terraform"
PACKER = TOP / "packer"
IMAGES = TOP / "images" / "ec2"
POLICY = TOP / "docs" / "iam-policy.json"
MODULES = {"terraform": TERRAFORM, "terraform/modules/sweeper-role": TERRAFORM / "modules" / "sweeper-role"}

# In the order in which people read them; terraform's maps are sorted by name.
FEATURES = [
    "launch", "pass-role", "sleep", "spot", "prices", "parameters", "interruptions", "logs", "accounts",
]


def work():
    """The run's directory, with copies of the tree and what the tools printed."""
    return Path(os.environ["DORMOUSE_INFRA_WORK"])


def plan(module, run):
    """The plan of a run of a module's tests."""
    with open(work() / "tree" / module / "plans.json", encoding="utf-8") as lines:
        for line in lines:
            message = json.loads(line)
            if message["type"] == "test_plan" and message.get("@testrun") == run:
                return message["test_plan"]
    raise LookupError(f"{module} has no plan of the run {run}")


def resources(module, run):
    """What a plan makes: values by address."""
    return {
        change["address"]: change["change"]["after"]
        for change in plan(module, run)["resource_changes"]
        if change["mode"] == "managed"
    }


def output(module, run, name):
    """A planned output."""
    return plan(module, run)["output_changes"][name]["after"]


def feature_documents():
    """The policy documents with everything on, by feature, as the plan has them."""
    planned = output("terraform", "everything", "policies")
    if set(planned) != set(FEATURES):
        raise LookupError(f"the features are {sorted(planned)}, expected {sorted(FEATURES)}")
    return {feature: json.loads(planned[feature]) for feature in FEATURES}


def sweeper_document():
    """The policy of the sweeper's role."""
    return json.loads(output("terraform/modules/sweeper-role", "everything", "policy"))


def hcl(path):
    """A parsed HCL file."""
    with open(path, encoding="utf-8") as file:
        return hcl2.load(file)


def plain(value):
    """A parsed value as the file has it: the parser wraps attributes into lists and adds line numbers."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items() if not key.startswith("__")}
    if isinstance(value, list):
        inner = [plain(one) for one in value]
        return inner[0] if len(inner) == 1 and not isinstance(inner[0], dict) else inner
    return value


def text_of(directory, pattern="*.tf"):
    """All files of a directory, as one text."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(directory.glob(pattern)))


def without_comments(text):
    """HCL without its comment lines."""
    return re.sub(r"(?m)^\s*(#|//).*$", "", text)


def images():
    """The EC2 image files by stem."""
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(IMAGES.glob("*.yaml"))}
