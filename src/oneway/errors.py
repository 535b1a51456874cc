"""The errors that a user can cause, each naming what was wrong, its value and the way out."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """What was given cannot be used: the message names it, the value it had, and what to do instead."""


class DivergedError(RuntimeError):
    """Training met a loss that is not finite; the message names the step and the checkpoint that was kept."""


class LostError(RuntimeError):
    """A process that takes part in a run died or is out of reach; the message says how to go on."""


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Make the error for a `name` that is not among the `known` ones, offering the nearest of them."""
    options = list(known)
    near = get_close_matches(name, options, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {', '.join(options) or 'none'}"
    return InputError(f"{kind} {name!r} does not exist; {hint}")
