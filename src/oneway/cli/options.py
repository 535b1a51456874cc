"""What several commands take: settings by name, a device, an executor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_type_hints

from tyro.conf import Positional, UseAppendAction, arg

from oneway.console import console
from oneway.errors import InputError

if TYPE_CHECKING:
    from oneway.sweep.executor import Executor

Given = TypeVar("Given")
Data = Positional[Annotated[Path | None, arg(metavar="DATA")]]
Settings = UseAppendAction[tuple[str, ...]]
Paths = UseAppendAction[tuple[Path, ...]]
Device = Literal["auto", "cpu", "cuda", "mps"]
EXECUTOR = "executor."
"""Begins the settings of an executor, beside those of a command's configuration."""


def without_nothing(taker: Any, defaults: Mapping[str, object]) -> dict[str, object]:
    """Give the annotations of what takes arguments, by which help says of none that it is nothing, or off, by default.

    Args:
        taker: a function, or a class of fields.
        defaults: of its arguments, by name.

    """
    silent = [name for name, value in defaults.items() if value is None or value is False]
    hints = get_type_hints(taker, include_extras=True)
    return hints | {name: Annotated[hints[name], arg(help_behavior_hint="")] for name in silent}


def pairs(settings: Sequence[str], *, flag: str = "--set") -> dict[str, str]:
    """Read NAME=VALUE, each given once or more often, of which the last counts.

    Raises:
        InputError: for what is no pair.

    """
    given = [setting.partition("=") for setting in settings]
    for name, equals, _ in given:
        if not equals:
            named = "; --show-config, or --help, prints every NAME" if flag == "--set" else ""
            raise InputError(f"{flag} takes NAME=VALUE, not {name!r}{named}")
    return {name: value for name, _, value in given}


def given(flags: Mapping[str, object]) -> dict[str, object]:
    """Keep the flags that were given, by the names of the fields that they set."""
    return {name: value for name, value in flags.items() if value is not None}


def required(value: Given | None, name: str) -> Given:
    """Give what a command cannot do without, except for showing its configuration.

    Raises:
        InputError: if it was not given.

    """
    if value is None:
        raise InputError(f"{name} is missing; `--help` says what it is, `--show-config` needs nothing but settings")
    return value


def check_out(path: Path | None) -> None:
    """Refuse a place for a file, if one is given, before the work whose result it is to hold.

    Raises:
        InputError: if it is a folder, or no file can be made there.

    """
    from oneway.storage.atomic import check_file, check_place

    if path is not None:
        check_file(path)
        check_place(path)


def show(config: Any, above: str = "") -> None:
    """Print every field of a configuration as it would be used."""
    from oneway.report.settings import settings_lines

    said = console()
    for line in settings_lines(config, width=said.width, above=above):
        said.print(line, soft_wrap=True)


def open_executor(jobs: int, pairs: Mapping[str, str]) -> tuple[Executor, dict[str, str]]:
    """Make the executor that settings name; gives those of the command's configuration too."""
    from oneway.config import override
    from oneway.sweep.executor import Executor

    own = {name.removeprefix(EXECUTOR): value for name, value in pairs.items() if name.startswith(EXECUTOR)}
    made = override(Executor(), {"jobs": jobs, **own})
    return made, {name: value for name, value in pairs.items() if not name.startswith(EXECUTOR)}
