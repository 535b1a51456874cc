"""A configuration as it would be used: every field by the name that `--set` takes, with its value, law and meaning."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from functools import cache
from typing import Any

from docstring_parser import parse

from oneway.config import JsonSchema, schema, settings, text

UNBOUNDED = 2**62
"""Limits above it are the computer's, and not worth a word."""


def settings_lines(config: Any, *, width: int, above: str = "") -> Iterator[str]:
    """Write every field of a configuration: NAME=VALUE, and below it what it may be and what it means.

    Args:
        config: a configuration of `config.checked` classes.
        width: characters of a line.
        above: begins every name, such as `executor.`.

    """
    for setting in settings(config, above):
        yield f"{setting.name}={text(setting.value)}"
        said = f"{law(_schema(setting.owner)['properties'][setting.field])}; {meaning(setting.owner, setting.field)}"
        yield textwrap.fill(said, width, initial_indent="    ", subsequent_indent="    ")


def law(described: JsonSchema) -> str:
    """Say what a field may be, from its JSON Schema."""
    if "anyOf" in described:
        return " or ".join(law(each) for each in described["anyOf"])
    if "oneOf" in described:
        return " | ".join(described["discriminator"]["mapping"])
    if "const" in described or "enum" in described:
        return " | ".join(map(str, described.get("enum") or [described["const"]]))
    match described.get("type"):
        case "integer":
            return f"whole number{_range(described)}"
        case "number":
            return f"number{_range(described)}"
        case "boolean":
            return "true | false"
        case "null":
            return "none"
        case "array":
            return f"list with commas, each a {law(described['items'])}"
    return "text"


def _range(described: JsonSchema) -> str:
    low, above = described.get("minimum"), described.get("exclusiveMinimum")
    high, below = described.get("maximum"), described.get("exclusiveMaximum")
    bounds = [
        f"above {above:g}" if above is not None else None,
        f"{low:g} or more" if low is not None else None,
        f"at most {high:g}" if high is not None else None,
        f"below {below:g}" if below is not None and below < UNBOUNDED else None,
    ]
    said = [bound for bound in bounds if bound]
    return f", {', '.join(said)}" if said else ""


def meaning(owner: type[Any], field: str) -> str:
    """Give what the docstring of a field's class, or of the one it was inherited from, says of it."""
    return next((said[field] for kind in owner.__mro__ if field in (said := _documented(kind))), "")


@cache
def _schema(kind: Any) -> JsonSchema:
    return schema(kind)


@cache
def _documented(kind: Any) -> dict[str, str]:
    return {said.arg_name: " ".join((said.description or "").split()) for said in parse(kind.__doc__ or "").params}
