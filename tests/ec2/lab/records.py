"""Filters and pages over records in the shape of the API's answers."""

import base64
import fnmatch
import re

from .errors import ApiError, invalid
from .wire import stamp

PAGE_LIMIT = 1000


def tags_of(record):
    return {tag["Key"]: tag["Value"] for tag in record.get("Tags", [])}


def tag_list(tags):
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def matches_glob(value, pattern):
    """AWS's wildcards are `*` and `?`, with `\\` before a literal one."""
    regex, at = "", 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\" and at + 1 < len(pattern):
            at += 1
            regex += re.escape(pattern[at])
        else:
            regex += {"*": ".*", "?": "."}.get(char, re.escape(char))
        at += 1
    return re.fullmatch(regex, value, re.DOTALL) is not None


def simple_glob(value, pattern):
    """The lab's own matchers: shell patterns, everything if there is none."""
    return pattern is None or fnmatch.fnmatchcase(str(value or ""), pattern)


def filtered(records, filters, fields):
    """The records that pass all filters. `fields`: filter name to a function giving one value or a list."""
    for wanted in filters or []:
        name, patterns = wanted["Name"], wanted.get("Values", [])
        value_of = _tag_value(name) or fields.get(name)
        if value_of is None:
            raise ApiError("InvalidParameterValue", f"The filter '{name}' is invalid")
        records = [each for each in records if _passes(value_of(each), patterns)]
    return list(records)


def _tag_value(name):
    if name.startswith("tag:"):
        key = name[4:]
        return lambda record: tags_of(record).get(key)
    if name == "tag-key":
        return lambda record: list(tags_of(record))
    return None


def _passes(value, patterns):
    values = value if isinstance(value, list) else [value]
    return any(matches_glob(_text(each), pattern) for each in values if each is not None for pattern in patterns)


def _text(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else stamp(value) if hasattr(value, "astimezone") else str(value)


def check_max_results(params, low=5, high=PAGE_LIMIT):
    size = params.get("MaxResults")
    if size is not None and not low <= size <= high:
        raise ApiError(
            "InvalidParameterValue",
            f"Value ( {size} ) for parameter maxResults is invalid. Expecting a value between {low} and {high}.",
        )


def page(items, key, params, limits):
    """One page of the items, which are sorted by `key` (a string), and the token of the next one or None.

    The token names the last key answered, so that items which come and go between pages move no other.
    `limits.page` is a fault's page size; size 0 answers an empty page with a token once, then the first page.
    """
    after, was_empty = _read_token(params.get("NextToken"))
    if limits.page == 0 and not was_empty and after is None:
        return [], _token("", empty=True)
    rest = [each for each in items if after is None or key(each) > after]
    sizes = [params.get("MaxResults"), limits.page or None, limits.max_page]
    size = min(size for size in sizes if size is not None)
    chosen = rest[:size]
    return chosen, _token(key(chosen[-1])) if len(rest) > size else None


def _token(last, empty=False):
    return base64.urlsafe_b64encode(("e" if empty else "k").encode() + last.encode()).decode()


def _read_token(token):
    if not token:
        return None, False
    try:
        text = base64.urlsafe_b64decode(token).decode()
    except ValueError:
        raise invalid("nextToken", token) from None
    return (None, True) if text.startswith("e") else (text[1:], False)
