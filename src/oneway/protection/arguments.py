"""The arguments of `oneway protect` that make a configuration again."""

from __future__ import annotations

import dataclasses
from typing import Any

from oneway.config import override, settings, text
from oneway.errors import InputError
from oneway.protection.config import PRESETS, ProtectConfig
from oneway.protection.recipes import prescribe

FLAGS = {"network.cut": "--cut", "task": "--task", "steps": "--steps", "seed": "--seed"}
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
    written = {name: text(value) for name, value in _differing(base, config).items() if dataclasses.is_dataclass(value)}
    written |= {name: text(value) for name, value in _differing(override(base, written), config).items()}
    if lost := _differing(override(base, written), config):
        raise InputError(f"the settings of this run cannot be written as arguments: {', '.join(lost)}")
    given = ["--preset", preset, "--defence", f"{defence}={strength!r}"]
    for name, value in written.items():
        given += [FLAGS[name], value] if name in FLAGS else ["--set", f"{name}={value}"]
    return given


def _differing(base: ProtectConfig, config: ProtectConfig) -> dict[str, object]:
    """Give the settings of a configuration that are others than a base's; of a class, whether it is another one."""
    theirs = {setting.name: setting.value for setting in settings(base)}
    return {
        setting.name: setting.value
        for setting in settings(config)
        if setting.name not in theirs or _told(setting.value) != _told(theirs[setting.name])
    }


def _told(value: Any) -> Any:
    return type(value) if dataclasses.is_dataclass(value) else value
