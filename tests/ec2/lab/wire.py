"""The EC2 query protocol, by the shapes of botocore's model: form fields to nested parameters, results to XML.

Records are dicts in the shape of the API's answers (`InstanceId`, `State`, ...), so that one renderer and one
filter serve them all. Keys that the shape does not know are the lab's own and are not rendered.
"""

import base64
import functools
import uuid
from datetime import datetime, timezone
from xml.sax.saxutils import escape

import botocore.loaders
import botocore.model

XMLNS = "http://ec2.amazonaws.com/doc/2016-11-15/"


@functools.lru_cache(maxsize=None)
def service_model():
    return botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model("ec2", "service-2"), "ec2")


@functools.lru_cache(maxsize=None)
def operation(action):
    """The operation's model, or None where EC2 has no such action."""
    model = service_model()
    return model.operation_model(action) if action in model.operation_names else None


# --- requests -------------------------------------------------------------------------------------


def parse(action, form):
    """Form fields (flat, as sent) to nested parameters."""
    shape = operation(action).input_shape
    return _parse(shape, form, "") if shape else {}


def _parse(shape, form, prefix):
    if shape.type_name == "structure":
        found = {}
        for name, member in shape.members.items():
            key = f"{prefix}.{_query_name(member, name)}" if prefix else _query_name(member, name)
            if _present(form, key):
                found[name] = _parse(member, form, key)
        return found
    if shape.type_name == "list":
        found, n = [], 1
        while _present(form, f"{prefix}.{n}"):
            found.append(_parse(shape.member, form, f"{prefix}.{n}"))
            n += 1
        return found
    return _scalar(shape, form[prefix])


def _query_name(shape, name):
    if "queryName" in shape.serialization:
        return shape.serialization["queryName"]
    wire = shape.serialization.get("name", name)
    return wire[0].upper() + wire[1:]


def _present(form, key):
    return key in form or key + "." in form.prefixes


def _scalar(shape, text):
    if shape.type_name in ("integer", "long"):
        return int(text)
    if shape.type_name in ("float", "double"):
        return float(text)
    if shape.type_name == "boolean":
        return text.lower() == "true"
    if shape.type_name == "timestamp":
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    return text  # strings, and blobs still in base64


class Form(dict):
    """Form fields, with the set of dotted prefixes so that nested look-ups do not scan."""

    def __init__(self, pairs):
        super().__init__(pairs)
        self.prefixes = set()
        for key in self:
            at = key.find(".")
            while at >= 0:
                self.prefixes.add(key[: at + 1])
                at = key.find(".", at + 1)


# --- answers --------------------------------------------------------------------------------------


class Rendered(str):
    """XML that is ready: a list element rendered before."""


def answer(action, result):
    shape = operation(action).output_shape
    inner = _members(shape, result) if shape else "<return>true</return>"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<{action}Response xmlns="{XMLNS}">'
        f"<requestId>{uuid.uuid4()}</requestId>{inner}</{action}Response>"
    ).encode()


def error(error):
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error>'
        f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
        f"</Error></Errors><RequestID>{uuid.uuid4()}</RequestID></Response>"
    ).encode()


def render(shape, value):
    """The inside of an element."""
    kind = shape.type_name
    if kind == "structure":
        return value if isinstance(value, Rendered) else _members(shape, value)
    if kind == "list":
        item = shape.member.serialization.get("name", "item")
        return "".join(f"<{item}>{render(shape.member, each)}</{item}>" for each in value)
    if kind == "boolean":
        return "true" if value else "false"
    if kind == "timestamp":
        return stamp(value)
    if kind == "blob":
        return base64.b64encode(value).decode()
    return escape(str(value))


def _members(shape, value):
    parts = []
    for name, member in shape.members.items():
        inner = value.get(name)
        if inner is not None:
            wire = member.serialization.get("name", name)
            parts.append(f"<{wire}>{render(member, inner)}</{wire}>")
    return "".join(parts)


def element_shape(action, list_name):
    """The shape of an element of the answer's list, to render elements ahead."""
    return operation(action).output_shape.members[list_name].member


def stamp(when):
    if isinstance(when, str):
        return when
    return when.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z"
