"""What several commands take: settings by name, a device, an executor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import UseAppendAction

from oneway.errors import InputError

if TYPE_CHECKING:
    from oneway.experiments.executor import Executor

Settings = UseAppendAction[tuple[str, ...]]
Device = Literal["auto", "cpu", "cuda", "mps"]


def pairs(settings: Sequence[str], *, flag: str = "--set") -> dict[str, Any]:
    """Read NAME=VALUE, each given once or more often, of which the last counts.

    Raises:
        InputError: for what is no pair.

    """
    given = [setting.partition("=") for setting in settings]
    for name, equals, _ in given:
        if not equals:
            raise InputError(f"{flag} takes NAME=VALUE, not {name!r}")
    return {name: value for name, _, value in given}


def open_executor(kind: Literal["local", "ray"], jobs: int, pairs: dict[str, Any]) -> tuple[Executor, dict[str, Any]]:
    """Make the executor that a command names; gives the settings of its configuration too."""
    from oneway.config import override
    from oneway.experiments.executor import Executor

    prefix = "executor."
    own = {name.removeprefix(prefix): value for name, value in pairs.items() if name.startswith(prefix)}
    made = override(Executor(kind=kind, jobs=jobs), own)
    return made, {name: value for name, value in pairs.items() if not name.startswith(prefix)}
