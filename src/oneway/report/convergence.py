"""Which attackers their budget ended, and what rests on them: a longer attack might have got more."""

from __future__ import annotations

from collections.abc import Iterable

LEAKAGE = ("inversion", "feature", "decisions")
"""The kinds of attackers on which the leakages rest: photographs are linked through the first two as well, and the
third says below what no leakage can be."""
RESTS: dict[str, tuple[str, ...]] = {
    "inversion": ("inversion",),
    "feature": ("feature",),
    "linkage": ("inversion", "feature"),
    "information": ("information",),
    "capacity": (),
}
"""The kinds of trained attackers on which the figures of an attack rest, even of those that are not the strongest: each
might be, trained longer."""


def among(names: Iterable[str], kinds: Iterable[str]) -> list[str]:
    """Keep the names of attackers of some kinds; the kind is the first word, as in `inversion mirror`."""
    wanted = set(kinds)
    return [name for name in names if name.partition(" ")[0] in wanted]


def doubts(names: Iterable[str]) -> list[str]:
    """Say what the attackers on which leakage rests, if the budget ended them, leave open."""
    late = among(names, LEAKAGE)
    return [f"{', '.join(late)}: ended by the budget, not by convergence, so more may leak"] if late else []


def further(names: Iterable[str]) -> list[str]:
    """Say the same of the other attackers, on whom no leakage rests."""
    names = list(names)
    late = [name for name in names if name not in among(names, LEAKAGE)]
    told = (
        f"{', '.join(late)}: ended by the budget, not by convergence, so more may be got there; no leakage rests on it"
    )
    return [told] if late else []
