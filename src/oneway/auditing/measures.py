"""The attacks of an audit, in their order; each is a step that is taken once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from oneway.attacks.fit import Place
from oneway.attacks.panel import LINEAR, Attacker, attackers, trained
from oneway.auditing import faces, facts
from oneway.auditing.decisions import attack_decisions
from oneway.auditing.room import Room
from oneway.auditing.steps import Found, refused

ALONE = "left out: one attacker alone was asked for"
"""Why an audit by one attacker has nothing else."""


def measure(room: Room) -> dict[str, Found]:
    """Take every step of the audit, or find it taken; gives what each found, by name."""
    found: dict[str, Found] = {}

    def take(name: str, make: Callable[..., Found], *given: Any) -> None:
        def made(place: Place) -> Found:
            # No step depends on what those before it drew, so it is the same after a kill.
            with room.victim.seeded(room.config.seed, name):
                return make(room, place, *given)

        found[name] = room.steps.take(name.replace(" ", "-"), made)

    def unless(left_out: str | None, name: str, make: Callable[..., Found], *given: Any) -> None:
        """Take a step, unless there is a reason to leave it out."""
        take(name, make if left_out is None else lambda *_: refused(left_out), *given)

    alone = None if room.config.alone is None else ALONE
    brief = alone or ("left out: the audit is brief" if room.config.brief else None)
    take("floors", faces.floors)
    panel = _panel(room)
    for label, attacker in panel.items():
        take(f"inversion {label}", faces.inversion, attacker, label)
    unless(alone, "feature", facts.predicted)
    unless(alone, "linkage", facts.linked, found)
    unless(alone, "scatter", facts.scattered)
    take("decisions", attack_decisions)
    unless(brief, "inference", facts.inferred)
    unless(brief, "information", facts.informed)
    unless(brief, "bound", facts.bounded)
    unless(brief, "optimisation", faces.optimised)
    best = faces.strongest({label: found[f"inversion {label}"] for label in panel})
    unless(brief, "averaging", faces.averaging, panel[best], best)
    if brief is None:
        learner = few_queries(found)
        for number in room.config.queries:
            if number < len(room.pack.public):
                take(f"queries {number}", faces.queried, panel[learner], number)
    return found


def few_queries(found: Mapping[str, Found]) -> str:
    """Name the attacker who makes the query curve: of those who learn from few pairs the one that draws best with all.

    Larger decoders need more pairs than these: with few they draw worse.
    """
    plain = {
        name: step
        for name, step in found.items()
        if name.startswith("inversion ") and known_attacker(name.removeprefix("inversion ")).few
    }
    return faces.strongest(plain).removeprefix("inversion ")


def known_attacker(label: str) -> Attacker:
    """Give the attacker of a label, of whichever seed."""
    return attackers()[label.partition("-")[0]]


def _panel(room: Room) -> dict[str, Attacker]:
    """List the inversion attackers by label, the linear one first."""
    config = room.config
    if config.alone is not None:
        return {config.alone.decoder: trained(config.alone.decoder, config.alone)}
    panel = {LINEAR.name: replace(LINEAR, seed=config.seed)}
    for name in config.attackers:
        for turn in range(config.seeds):
            label = name if config.seeds == 1 else f"{name}-{turn + 1}"
            panel[label] = replace(attackers()[name], seed=config.seed + turn)
    return panel
