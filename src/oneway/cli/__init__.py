"""The command line: one function a command, which says what it takes and hands over."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import tyro

from oneway.cli.compare import benchmark, experiment, recommend
from oneway.cli.make import demo, prepare, protect, verifier
from oneway.cli.measure import attack, audit
from oneway.console import allow_every_character, console, marked
from oneway.errors import DivergedError, InputError, LostError

COMMANDS: dict[str, Callable[..., None]] = {
    "prepare": prepare,
    "protect": protect,
    "attack": attack,
    "audit": audit,
    "benchmark": benchmark,
    "recommend": recommend,
    "experiment": experiment,
    "verifier": verifier,
    "demo": demo,
}

_ATTACKERS = "the weights of attackers and the features that were stolen for them"
KEPT = {
    "protect": "the weights of the decoder that plays against the encoder",
    "attack": "the attacker's weights",
    "audit": _ATTACKERS,
    "benchmark": _ATTACKERS,
    "experiment": _ATTACKERS,
}
"""What an interrupted command leaves on the disk, which turns features into pictures."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name; what a user did wrong is said in one line, with exit code 2."""
    allow_every_character()
    if list(sys.argv[1:] if arguments is None else arguments) == ["--version"]:
        from importlib.metadata import version

        print(f"oneway {version('oneway')}")
        return
    try:
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="oneway",
            description="Train image encoders whose features keep a task and cannot be turned back into the image, "
            "and measure how far that holds. `oneway --version` says which version this is.",
            args=arguments,
            config=(
                tyro.conf.FlagCreatePairsOff,
                tyro.conf.DisallowNone,
                tyro.conf.OmitArgPrefixes,
                tyro.conf.OmitSubcommandPrefixes,
            ),
        )
    except (InputError, DivergedError, LostError) as error:
        console(stderr=True).print(marked("error:", f" {_one_line(error)}", style="bold red"), soft_wrap=True)
        sys.exit(2 if isinstance(error, InputError) else 1)
    except KeyboardInterrupt:
        given = list(sys.argv[1:] if arguments is None else arguments)
        way = {"demo": "give the same command again to continue", "verifier": "give the same command to start again"}
        hint = way.get(given[0] if given else "", "add --resume to the same command to continue")
        console(stderr=True).print(f"stopped; {hint}")
        if given and given[0] in KEPT:
            left = f"until it has finished, its folder keeps {KEPT[given[0]]}; finishing removes them"
            console(stderr=True).print(left)
        sys.exit(130)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
