"""The attacks of an audit, in their order; each is a step that is taken once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from oneway.attacks.inversion import attackers
from oneway.auditing import faces, facts
from oneway.auditing.room import Room, budget
from oneway.auditing.steps import Found


def measure(room: Room) -> dict[str, Found]:
    """Take every step of the audit, or find it taken; gives what each found, by name."""
    found: dict[str, Found] = {}

    def take(name: str, make: Callable[..., Found], *given: Any) -> None:
        found[name] = room.steps.take(name.replace(" ", "-"), lambda place: make(room, place, *given))

    take("floors", faces.floors)
    take("inversion linear", faces.linear)
    configs = attackers()
    for name in room.config.attackers:
        for turn in range(room.config.seeds):
            label = name if room.config.seeds == 1 else f"{name}-{turn + 1}"
            config = budget(room, replace(configs[name], seed=room.config.seed + turn))
            take(f"inversion {label}", faces.inversion, config, label)
    take("feature", facts.predicted)
    take("linkage", facts.linked, found)
    take("scatter", facts.scattered)
    take("inference", facts.inferred)
    take("information", facts.informed)
    take("bound", facts.bounded)
    take("optimisation", faces.optimised)
    take("averaging", faces.averaging)
    for number in room.config.queries:
        if number < len(room.pack.public):
            take(f"queries {number}", faces.queried, number)
    return found
