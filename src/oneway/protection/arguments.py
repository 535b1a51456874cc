"""The arguments of `oneway protect` that make a configuration again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from oneway.config import override
from oneway.errors import InputError
from oneway.protection.config import PRESETS, ProtectConfig
from oneway.protection.recipes import prescribe

FLAGS = {"network.cut": "--cut", "steps": "--steps", "seed": "--seed"}
"""Settings that have a flag of their own."""


def arguments(config: ProtectConfig, defence: str, strength: float) -> list[str]:
    """Give the arguments that make `config`, a defence of `protection.recipes` at a strength, beside pack and --out.

    Of the presets it begins with the one from which the fewest settings differ.

    Raises:
        InputError: if there are none: a setting, such as a name with a comma, cannot be written as one.

    """
    return min((_from(preset, config, defence, strength) for preset in PRESETS), key=len)


def _from(preset: str, config: ProtectConfig, defence: str, strength: float) -> list[str]:
    base = prescribe(PRESETS[preset](), defence, strength)
    differing = dict(_differences(base, config))
    if lost := [name for name, _ in _differences(override(base, differing), config)]:
        raise InputError(f"the settings of this run cannot be written as arguments: {', '.join(lost)}")
    given = ["--preset", preset, "--defence", f"{defence}={strength!r}"]
    for name, value in differing.items():
        given += [FLAGS[name], value] if name in FLAGS else ["--set", f"{name}={value}"]
    return given


def _differences(base: Any, config: Any, above: str = "") -> Iterator[tuple[str, str]]:
    """Give the settings, named like `game.pixel`, in which a configuration differs from another, as text."""
    for field in dataclasses.fields(config):
        name, ours, theirs = f"{above}{field.name}", getattr(config, field.name), getattr(base, field.name)
        if ours == theirs:
            continue
        if dataclasses.is_dataclass(ours) and not isinstance(ours, type):
            kind: Any = type(ours)
            if not isinstance(theirs, kind):
                yield name, kind.name
                theirs = kind()
            yield from _differences(theirs, ours, f"{name}.")
        else:
            yield name, _text(ours)


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return value if isinstance(value, str) else repr(value)
