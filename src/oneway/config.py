"""Configurations and records: checked when they are made, to JSON and back, their fields set by name.

A class is `@checked @dataclass(frozen=True, kw_only=True)`; what its fields may be, its annotations say. Whoever makes
one gets an `InputError` that names the field, its value and the law that it breaks.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, cast

import pydantic.dataclasses
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from oneway.errors import InputError

T = TypeVar("T")
SHOWN = 60
"""Characters of a wrong value that an error shows."""

_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def _divided(value: object) -> object:
    """Divide the text of a flag at its commas; a list of JSON is a tuple."""
    if isinstance(value, str):
        return tuple(part for part in value.split(",") if part)
    return tuple(value) if isinstance(value, list) else value


Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, lt=2**63)]
Whole = Annotated[int, Field(ge=0, lt=2**63)]
Names = Annotated[tuple[str, ...], BeforeValidator(_divided)]
Numbers = Annotated[tuple[float, ...], BeforeValidator(_divided)]
Counts = Annotated[tuple[Count, ...], BeforeValidator(_divided)]


def checked(kind: type[T]) -> type[T]:
    """Let a dataclass refuse unknown fields, values of another type or out of range, and numbers that are not finite.

    Raises:
        InputError: when one is made, naming the field, its value and the way out.

    """
    settings = ConfigDict(extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)
    made: Any = pydantic.dataclasses.dataclass(kind, frozen=True, kw_only=True, config=settings)
    validated = made.__init__

    @functools.wraps(validated)
    def init(self: T, *arguments: Any, **fields: Any) -> None:
        try:
            validated(self, *arguments, **fields)
        except ValidationError as error:
            raise InputError(_first(error)) from None

    made.__init__ = init
    return cast(type[T], made)


def to_dict(value: Any) -> dict[str, Any]:
    """Turn a configuration or record into JSON values, lists for tuples."""
    content: dict[str, Any] = TypeAdapter(type(value)).dump_python(value, mode="json")
    return content


def from_dict(kind: type[T], content: Mapping[str, Any], where: str = "") -> T:
    """Make a configuration or record of JSON values, each of its field's own type; `where` begins an error's message.

    Raises:
        InputError: naming the field, its value and the way out.

    """
    try:
        return cast(T, _adapter(kind).validate_json(json.dumps(content), strict=True))
    except ValidationError as error:
        raise InputError(f"{where}{_first(error)}") from None


def from_json(kind: type[T], text: bytes, where: str, remedy: str) -> T:
    """Make a configuration or record of the text of a file, which anyone may have written.

    Args:
        kind: what it holds.
        text: the file's content.
        where: the file's name, which begins the message of an error.
        remedy: the way out, which ends it.

    Raises:
        InputError: if it is no JSON, or a field is missing, unknown, of another type or out of range.

    """
    try:
        return cast(T, _adapter(kind).validate_json(text, strict=True))
    except ValidationError as error:
        raise InputError(f"{where}: {_first(error)}; {remedy}") from None


def schema(kind: Any) -> dict[str, Any]:
    """Describe the JSON of a record (JSON Schema, draft 2020-12), with what its docstrings say of each field."""
    return _adapter(kind).json_schema(mode="serialization")


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _first(error: ValidationError) -> str:
    """Say what is wrong with the first field that is: where it stands, the law that it breaks, and its value."""
    wrong = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in wrong["loc"])
    match wrong["type"]:
        case "value_error" if isinstance(wrong.get("ctx", {}).get("error"), InputError):
            return str(wrong["ctx"]["error"])
        case "json_invalid":
            return f"it is no JSON ({wrong['ctx']['error']})"
        case "missing" | "missing_keyword_only" | "missing_argument":
            return f"{place} is missing"
        case "unexpected_keyword_argument":
            return f"there is no field {place}"
        case _:
            value = repr(wrong["input"])
            shown = value if len(value) <= SHOWN else f"{value[:SHOWN]}..."
            law = wrong["msg"].removeprefix("Input ").removeprefix("should ").replace("should be", "must be")
            return (
                f"{place or 'it'} must {law}, not {shown}"
                if wrong["msg"].startswith("Input should ")
                else f"{place}: {law}, not {shown}"
            )
