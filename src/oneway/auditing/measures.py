"""The attacks of an audit, in their order; each is a step that is taken once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from oneway.attacks.fit import Place
from oneway.attacks.inversion import InversionConfig, attackers
from oneway.auditing import faces, facts
from oneway.auditing.decisions import attack_decisions
from oneway.auditing.room import Room, budget
from oneway.auditing.steps import Found, refused


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

    alone = "left out: one attacker alone was asked for" if room.config.alone is not None else None
    brief = alone or ("left out: the audit is brief" if room.config.brief else None)
    take("floors", faces.floors)
    panel = _panel(room)
    for label, config in panel.items():
        take(f"inversion {label}", faces.inversion, config, label)
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
    """Name the attacker who makes the query curve: the linear one or a mirror, whichever draws better with all queries.

    Larger decoders need more pairs than these: with few they draw worse.
    """
    plain = {name: step for name, step in found.items() if name == "inversion linear" or "inversion mirror" in name}
    return faces.strongest(plain).removeprefix("inversion ")


def _panel(room: Room) -> dict[str, InversionConfig | None]:
    """List the inversion attackers by name, the linear one first, which has no configuration."""
    if room.config.alone is not None:
        return {room.config.alone.decoder: budget(room, room.config.alone)}
    panel: dict[str, InversionConfig | None] = {"linear": None}
    configs, config = attackers(), room.config
    for name in config.attackers:
        for turn in range(config.seeds):
            label = name if config.seeds == 1 else f"{name}-{turn + 1}"
            panel[label] = budget(room, replace(configs[name], seed=config.seed + turn))
    return panel
