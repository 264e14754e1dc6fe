"""What is printed from the plan and the modules: docs/iam-policy.json and the READMEs' tables."""

import json
import re

from infra_checks import sources

TABLES = re.compile(r"(<!-- tables: printed by tests/infra --write -->\n).*?(<!-- end of tables -->)", re.S)


def policy():
    """The complete policy as a text: the statements of all features, one after the other."""
    statements = [
        {key: statement[key] for key in ("Sid", "Effect", "Action", "Resource", "Condition") if key in statement}
        for document in sources.feature_documents().values()
        for statement in document["Statement"]
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, indent=2) + "\n"


def blocks(directory, kind):
    """The blocks of a kind in a module, in the order of the file."""
    return [
        (name, body)
        for path in sorted(directory.glob("*.tf"))
        for block in sources.hcl(path).get(kind, [])
        for name, body in unwrapped(block).items()
        if not name.startswith("__")
    ]


def unwrapped(block):
    """A block's one or more bodies, whose attributes the parser has put into lists of one."""
    def once(value):
        return value[0] if isinstance(value, list) and len(value) == 1 else value

    return {
        name: {key: once(value) for key, value in body.items()} if isinstance(body, dict) else once(body)
        for name, body in block.items()
    }


def meaning(body):
    """A description as people read it."""
    return body["description"].replace('\\"', '"')


def default(body):
    """How a variable's default is shown."""
    if "default" not in body:
        return "required"
    value = body["default"]
    return f"`{json.dumps(value)}`"


def tables(directory):
    """The tables of a module's inputs and outputs."""
    lines = ["", "| input | meaning | default |", "|---|---|---|"]
    lines += [f"| `{name}` | {meaning(body)} | {default(body)} |" for name, body in blocks(directory, "variable")]
    lines += ["", "| output | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {meaning(body)} |" for name, body in blocks(directory, "output")]
    return "\n".join(lines) + "\n\n"


def readme(directory):
    """A module's README as it should be."""
    text = (directory / "README.md").read_text(encoding="utf-8")
    if not TABLES.search(text):
        raise LookupError(f"{directory}/README.md has no place for tables")
    return TABLES.sub(lambda match: match[1] + tables(directory) + match[2], text)


def main():
    sources.POLICY.write_text(policy(), encoding="utf-8")
    for directory in sources.MODULES.values():
        text = readme(directory)
        (directory / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
