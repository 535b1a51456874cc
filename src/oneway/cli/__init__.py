"""The command line: one function a command, which says what it takes and hands over."""

from __future__ import annotations

import difflib
import inspect
import os
import re
import shlex
import signal
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FunctionType
from typing import Literal

import tyro

from oneway.cli.installation import doctor
from oneway.cli.make import demo, prepare, protect, verifier
from oneway.cli.measure import attack, audit, price
from oneway.cli.options import without_nothing
from oneway.cli.ship import card, export, serve, verify_bundle, watch
from oneway.cli.sweep import benchmark, compare, experiment, leaderboard, recommend
from oneway.console import allow_every_character, console, marked
from oneway.data.readers.layouts import layouts
from oneway.errors import DivergedError, InputError, LostError, unknown
from oneway.plugins import points

FILES = """
_oneway_or_files() { _tyro_oneway; [ -n "${COMPREPLY[*]}" ] || COMPREPLY=(); }
complete -o default -F _oneway_or_files oneway
"""
"""Lets bash complete names of files where nothing else is known, which tyro's script leaves out for positional ones."""


def completion(shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]], /) -> None:
    """Print the script by which a shell completes commands, flags and their values: docs/usage.md.

    Args:
        shell: The shell that you use.
    """
    from tyro.extras import subcommand_cli_from_dict

    with suppress(SystemExit):  # by which tyro ends once it has printed
        subcommand_cli_from_dict(COMMANDS, prog="oneway", args=["--tyro-print-completion", shell], config=MARKERS)
    if shell == "bash":
        print(FILES)


COMMANDS: dict[str, Callable[..., None]] = {
    "prepare": prepare,
    "protect": protect,
    "attack": attack,
    "audit": audit,
    "compare": compare,
    "price": price,
    "export": export,
    "card": card,
    "verify-bundle": verify_bundle,
    "serve": serve,
    "watch": watch,
    "benchmark": benchmark,
    "recommend": recommend,
    "leaderboard": leaderboard,
    "experiment": experiment,
    "verifier": verifier,
    "demo": demo,
    "doctor": doctor,
    "completion": completion,
}

MARKERS = (
    tyro.conf.FlagCreatePairsOff,
    tyro.conf.DisallowNone,
    tyro.conf.OmitArgPrefixes,
    tyro.conf.OmitSubcommandPrefixes,
)
"""How the functions of commands are read."""

_ATTACKERS = "the weights of attackers and the features that were stolen for them"
KEPT = {
    "protect": "the weights of the decoder that plays against the encoder, if one does",
    "attack": "the attacker's weights",
    "audit": _ATTACKERS,
    "benchmark": _ATTACKERS,
    "experiment": _ATTACKERS,
}
"""What an interrupted command leaves on the disk, which turns features into pictures."""

RESUMED = ("prepare", *KEPT, "demo")
"""The commands that go on where they were interrupted; all but the last take --resume."""

MEASURING = ("audit", "benchmark")
ADDED = {"oneway.attacks": "attackers", "oneway.metrics": "figures", "oneway.judges": "judges"}
"""What other packages add to what these commands measure, by entry-point group."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name; what a user did wrong is said in one line, with exit code 2."""
    allow_every_character()
    if not sys.warnoptions:  # what libraries say of each other is for us, who ask for it by PYTHONWARNINGS
        warnings.simplefilter("ignore")
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given == ["--version"]:
            from importlib.metadata import version

            print(f"oneway {version('oneway')}", flush=True)
            return
        if given in (["--help"], ["-h"]):
            print(_listing(), flush=True)
            return
        if not given or given[0] not in COMMANDS:
            raise InputError(_no_command(given))
        _check_names([*given, os.getcwd()])
        if given[0] == "prepare" and given[1:] and not given[1].startswith("-") and given[1] not in layouts():
            raise unknown("layout", given[1], layouts())
        tyro.cli(
            _readable(COMMANDS[given[0]]),
            prog=f"oneway {given[0]}",
            description=_description(given[0]),
            args=given[1:],
            config=MARKERS,
        )
    except (InputError, DivergedError, LostError) as error:
        console(stderr=True).print(marked("error:", f" {_one_line(error)}", style="bold red"), soft_wrap=True)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except KeyboardInterrupt:
        console(stderr=True).print(f"stopped; {_way_on(given)}", soft_wrap=True)
        if given[0] in KEPT:
            left = f"until it has finished, its folder keeps {KEPT[given[0]]}; finishing removes them"
            console(stderr=True).print(left)
        sys.exit(130)
    except BrokenPipeError:  # who reads has read enough, as `| head` does; what is left in the buffer goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)


def _readable(command: Callable[..., None]) -> Callable[..., None]:
    """Let help say what a docstring does, each argument in one paragraph, and not that what need not be given is none.

    tyro keeps lines as they are broken in the docstring, and adds the default of every argument.
    """
    assert isinstance(command, FunctionType)
    defaults = {name: parameter.default for name, parameter in inspect.signature(command).parameters.items()}
    readable = FunctionType(command.__code__, command.__globals__, command.__name__, command.__defaults__)
    readable.__kwdefaults__ = command.__kwdefaults__
    readable.__doc__ = re.sub(r"\n {8,}", " ", inspect.cleandoc(command.__doc__ or ""))
    readable.__annotations__ = without_nothing(command, defaults)
    return readable


def _way_on(given: Sequence[str]) -> str:
    """Give the line by which an interrupted command goes on, or begins again where nothing is kept."""
    if given[0] not in RESUMED:
        return f"start again: {shlex.join(['oneway', *given])}"
    further = [] if given[0] == "demo" or "--resume" in given else ["--resume"]
    return f"go on: {shlex.join(['oneway', *given, *further])}"


def _listing() -> str:
    """Give the commands, each with its first sentence; what a command takes is in its own --help."""
    width = max(len(name) for name in COMMANDS)
    lines = [
        "usage: oneway COMMAND ...",
        "",
        "Train image encoders whose features keep a task and cannot be turned back into the image, and measure how",
        "far that holds. `oneway COMMAND --help` says what a command takes, `oneway --version` which version this is.",
        "",
    ]
    for name, command in COMMANDS.items():
        summary = " ".join((inspect.getdoc(command) or "").split("\n\n")[0].split())
        lines += textwrap.wrap(
            f"{name:<{width}}  {summary}", 110, initial_indent="  ", subsequent_indent=" " * (width + 4)
        )
    return "\n".join(lines)


def _description(name: str) -> str | None:
    """Give what the help of a command begins with: its docstring, and what other packages add to what it measures."""
    groups = ADDED if name in MEASURING else {}
    added = [f"{kind} {', '.join(points(group))}" for group, kind in groups.items() if points(group)]
    if not added:
        return None
    said = (inspect.getdoc(COMMANDS[name]) or "").split("\n\nArgs:")[0]
    return f"{said}\n\nInstalled packages add: {'; '.join(added)}."


def _no_command(given: Sequence[str]) -> str:
    if not given:
        return f"which command? one of {', '.join(COMMANDS)}; `oneway --help` says what each does"
    near = difflib.get_close_matches(given[0], COMMANDS, n=1)
    hint = f"did you mean `oneway {near[0]}`?" if near else f"there are {', '.join(COMMANDS)}"
    return f"there is no command {given[0]!r}; {hint}"


def _check_names(names: Sequence[str]) -> None:
    """Refuse names of files that are no UTF-8 before work is done for them: Arrow, among others, opens no other."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            encoding = sys.getfilesystemencoding()
            way = "rename it" if encoding == "utf-8" else f"names are read as {encoding} here: set PYTHONUTF8=1"
            raise InputError(f"{name!r} is not UTF-8, and such files cannot be read or written; {way}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
