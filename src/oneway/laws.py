"""What a value breaks, in one sentence: the field with the way to it, the law, and the value."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from oneway.errors import InputError, unknown

SHOWN = 60
"""Characters of a wrong value that an error shows."""
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "a text",
    "tuple": "a list",
    "list": "a list",
    "dataclass": "an object",
    "dict": "an object",
    "model": "an object",
}
"""What pydantic's errors of a type ask for, by the first word of their names."""


@functools.cache
def hints_of(kind: Any) -> dict[str, Any]:
    """Give the types of a dataclass's fields, without what `Annotated` says of them; of anything else, nothing."""
    if not dataclasses.is_dataclass(kind):
        return {}
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def classes_of(hint: Any) -> list[Any]:
    """Give the dataclasses that a type is, or is a union of."""
    return [kind for kind in (hint, *typing.get_args(hint)) if dataclasses.is_dataclass(kind)]


def broken(error: ValidationError, kind: Any) -> str:
    """Say what is wrong with the first field that is: where it stands, the law that it breaks, and its value."""
    wrong = error.errors(include_url=False)[0]
    names, reached = _place(kind, wrong["loc"])
    place, context = ".".join(names), wrong.get("ctx", {})
    match wrong["type"]:
        case "value_error" if isinstance(context.get("error"), InputError):
            said = str(context["error"])
            owners = classes_of(reached)
            begins = place and len(owners) == 1 and said.partition(" ")[0] in hints_of(owners[0])
            return f"{place}.{said}" if begins else said
        case "json_invalid":
            return f"it is no JSON ({context['error']})"
        case "missing" | "missing_keyword_only" | "missing_argument":
            return f"{place} is missing"
        case "unexpected_keyword_argument":
            _, owner = _place(kind, wrong["loc"][:-1])
            known = [".".join([*names[:-1], each]) for found in classes_of(owner) for each in hints_of(found)]
            return str(unknown("field", place, known))
        case "literal_error":
            options = context["expected"].split("'")[1::2]
            if len(options) > 1:
                return str(unknown(f"{place} =", _shown(wrong["input"], str), options))
            return f"{place} must be {context['expected']}, not {_shown(wrong['input'])}"
        case "union_tag_invalid":
            return str(unknown(f"{place} =", context["tag"][:SHOWN], context["expected_tags"].split("'")[1::2]))
        case "union_tag_not_found":
            return f"{place}.{context['discriminator'].strip(chr(39))} is missing"
        case _:
            law = _law(wrong["type"], context) or wrong["msg"].removeprefix("Input should ").removeprefix("be ")
            return f"{place or 'it'} must be {law}, not {_shown(wrong['input'])}"


def _law(kind: str, context: Mapping[str, Any]) -> str | None:
    """Say what pydantic's error of a kind asks for."""
    match kind:
        case "greater_than_equal":
            return f"at least {_plain(context['ge'])}" if context["ge"] else "0 or more"
        case "greater_than":
            return f"above {_plain(context['gt'])}" if context["gt"] else "positive"
        case "less_than_equal":
            return f"at most {_plain(context['le'])}"
        case "less_than":
            return f"below {_plain(context['lt'])}"
        case "finite_number":
            return "a finite number"
    return KINDS.get(kind.partition("_")[0])


def _shown(value: object, written: Callable[[object], str] = repr) -> str:
    """Show a wrong value, shortened."""
    try:
        shown = written(value)
    except (ValueError, RecursionError):  # a number of thousands of digits
        return f"one of type {type(value).__name__}"
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."


def _plain(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def _place(kind: Any, location: tuple[int | str, ...]) -> tuple[list[str], Any]:
    """Name the fields on the way to where an error is, and give the type there.

    A place in a list is not named, nor a part with brackets, which says which kind of a union it is.
    """
    names: list[str] = []
    for part in location:
        classes = classes_of(kind)
        chosen = {getattr(each, "name", None): each for each in classes} if len(classes) > 1 else {}
        if part in chosen:
            kind = chosen[part]
        elif not isinstance(part, int) and not part.startswith("(") and "[" not in part:
            names.append(part)
            kind = hints_of(classes[0]).get(part) if len(classes) == 1 else None
    return names, kind
