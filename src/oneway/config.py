"""Configurations and records: checked when they are made, to JSON and back, their fields set by name.

A class is `@checked @dataclass(frozen=True, kw_only=True)`; what its fields may be, its annotations say. Whoever makes
one gets an `InputError` that names the field, its value and the law that it breaks. Laws between fields are in its
`__post_init__`, as an `InputError` whose message begins with the name of one of them.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, TypeVar, cast

import pydantic.dataclasses
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from oneway.errors import InputError, unknown
from oneway.laws import broken, classes_of, hints_of

T = TypeVar("T")
JsonSchema = dict[str, Any]
"""What JSON may be, as JSON Schema says it."""
_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


AsTuple = BeforeValidator(_tuple)
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
ShareBelowAll = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, lt=2**63)]
Several = Annotated[int, Field(ge=2, lt=2**63)]
Whole = Annotated[int, Field(ge=0, lt=2**63)]
Names = Annotated[tuple[str, ...], AsTuple]
Numbers = Annotated[tuple[float, ...], AsTuple]
Counts = Annotated[tuple[Count, ...], AsTuple]


def checked(kind: type[T]) -> type[T]:
    """Let a dataclass refuse unknown fields, values of another type or out of range, and numbers that are not finite.

    Raises:
        InputError: when one is made, naming the field, its value and the law.

    """
    settings = ConfigDict(extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True, strict=True)
    # Of a class of its own pydantic takes the fields as they are; of a subclass of one of its own it would make them
    # anew and lose their defaults.
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    below = types.new_class(kind.__name__, (kind,), {}, lambda namespace: namespace.update(names))
    made: Any = pydantic.dataclasses.dataclass(below, frozen=True, kw_only=True, config=settings)
    validated = made.__init__

    @functools.wraps(validated)
    def init(self: T, *arguments: Any, **fields: Any) -> None:
        try:
            validated(self, *arguments, **fields)
        except ValidationError as error:
            raise InputError(broken(error, type(self))) from None

    made.__init__ = init
    return cast(type[T], made)


def record(kind: type[T]) -> type[T]:
    """Let a dataclass be read from JSON strictly: no unknown field, no value of another type, no infinite number."""
    kind.__pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)  # type: ignore[attr-defined]
    return kind


def to_dict(value: Any) -> dict[str, object]:
    """Turn a configuration or record into JSON values, lists for tuples."""
    content: dict[str, object] = _adapter(type(value)).dump_python(value, mode="json")
    return content


def from_dict(kind: type[T], content: Any, where: str = "", remedy: str = "") -> T:
    """Make a configuration or record of JSON values, each of its field's own type.

    Args:
        kind: what it holds.
        content: JSON values, as they were read.
        where: begins the message of an error, such as the file's name and a colon.
        remedy: ends it.

    Raises:
        InputError: naming the field, its value and the law.

    """
    try:
        return cast(T, _adapter(kind).validate_json(json.dumps(content), strict=True))
    except ValidationError as error:
        wrong = broken(error, kind)
    except RecursionError:
        wrong = "it is nested too deeply"
    raise InputError(f"{where}{wrong}{remedy and f'; {remedy}'}")


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
        raise InputError(f"{where}: {broken(error, kind)}; {remedy}") from None


def schema(kind: Any) -> JsonSchema:
    """Describe the JSON of a record (JSON Schema, draft 2020-12), with what its docstrings say of each field."""
    return _adapter(kind).json_schema(mode="serialization")


def override(config: T, values: Mapping[str, object]) -> T:
    """Set fields of a (nested) configuration, named like `game.pixel`, all at once.

    Text is read as the field's own type: `none` where nothing may stand, parts between commas where there are several.
    Where one of several classes may stand, its `name` chooses it with its defaults: `defence=pca`.

    Raises:
        InputError: for a field that does not exist, or a value that it cannot have.

    """
    content = _changed(config, values, "", [setting.name for setting in settings(config)])
    try:
        return cast(T, _adapter(type(config)).validate_python(content, strict=False))
    except ValidationError as error:
        raise InputError(broken(error, type(config))) from None


def text(value: object) -> str:
    """Write a value as `override` reads it; a name that holds a comma cannot be told from two."""
    if isinstance(value, tuple):
        return ",".join(map(text, value))
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if dataclasses.is_dataclass(value):
        return str(getattr(value, "name", ""))
    return value if isinstance(value, str) else repr(value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """One field of a configuration.

    Attributes:
        name: as `override` takes it, such as `game.pixel`.
        value: what it is.
        owner: the class that has it.
        field: its name there.

    """

    name: str
    value: Any
    owner: Any
    field: str


def settings(config: Any, above: str = "") -> Iterator[Setting]:
    """List the fields of a (nested) configuration; of a class that was chosen by its name, that first."""
    kind: Any = type(config)
    for field, hint in hints_of(kind).items():
        setting = Setting(name=f"{above}{field}", value=getattr(config, field), owner=kind, field=field)
        choice = len(classes_of(hint)) > 1
        nested = dataclasses.is_dataclass(setting.value)
        if choice or not nested:
            yield setting
        if nested:
            below = settings(setting.value, f"{setting.name}.")
            yield from (each for each in below if not (choice and each.name == f"{setting.name}.name"))


def _changed(config: Any, values: Mapping[str, object], above: str, every: list[str]) -> dict[str, object]:
    """Give the fields of a configuration as they are to be; what a class is chosen for is set before what is in it."""
    kind: Any = type(config)
    hints = hints_of(kind)
    content: dict[str, object] = {field: getattr(config, field) for field in hints}
    below: dict[str, dict[str, object]] = {}
    for path, value in sorted(values.items(), key=lambda pair: "." in pair[0]):
        field, _, deeper = path.partition(".")
        classes = classes_of(hints.get(field))
        optional = type(None) in typing.get_args(hints.get(field))
        nothing = value is None or (optional and value == "none")
        group = len(classes) == 1 and not dataclasses.is_dataclass(value) and not nothing
        if field not in hints or (group if not deeper else not classes):
            here = [each.name for each in settings(config, above) if not above or each.name != f"{above}name"]
            raise _no_setting(f"{above}{path}", here, above, every)
        if deeper == "name" and len(classes) > 1:
            raise InputError(f"{above}{path} cannot be set; set {above}{field}={text(value)}, with its own defaults")
        if deeper:
            below.setdefault(field, {})[deeper] = value
        else:
            content[field] = _read(value, hints[field], f"{above}{field}")
    for field, inside in below.items():
        name, now = f"{above}{field}", content[field]
        if now is None:
            deeper = next(iter(inside))
            raise InputError(f"{name}.{deeper} cannot be set, since there is no {name}; set {name}=NAME first")
        content[field] = _changed(now, inside, f"{name}.", every)
    return content


def _no_setting(name: str, here: list[str], above: str, every: list[str]) -> InputError:
    """Offer settings of the same name, here or elsewhere, or those that are here."""
    known = here + [each for each in every if not each.startswith(above)]
    return unknown("setting", name, [each for each in known if each.split(".")[-1] == name.split(".")[-1]] or here)


def _read(value: Any, hint: Any, name: str) -> Any:
    """Read what a flag says as far as its type decides; the rest is pydantic's."""
    if value == "none" and type(None) in typing.get_args(hint):
        return None
    if isinstance(value, str) and any(typing.get_origin(each) is tuple for each in (hint, *typing.get_args(hint))):
        return tuple(part for part in value.split(",") if part)
    named = {kind.name: kind for kind in classes_of(hint)}
    if isinstance(value, str) and named:
        if value not in named:
            raise unknown(f"{name} =", value, named)
        return named[value]()
    return value


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]
