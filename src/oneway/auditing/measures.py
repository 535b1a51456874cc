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

    def beside(name: str, make: Callable[..., Found], *given: Any) -> None:
        take(name, _left_out if room.config.brief else make, *given)

    take("floors", faces.floors)
    panel = _panel(room)
    for label, config in panel.items():
        take(f"inversion {label}", faces.inversion, config, label)
    take("feature", facts.predicted)
    take("linkage", facts.linked, found)
    take("scatter", facts.scattered)
    take("decisions", attack_decisions)
    beside("inference", facts.inferred)
    beside("information", facts.informed)
    beside("bound", facts.bounded)
    beside("optimisation", faces.optimised)
    best = faces.strongest({label: found[f"inversion {label}"] for label in panel})
    beside("averaging", faces.averaging, panel[best], best)
    learner = few_queries(found)
    for number in () if room.config.brief else room.config.queries:
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
    panel: dict[str, InversionConfig | None] = {"linear": None}
    configs, config = attackers(), room.config
    for name in config.attackers:
        for turn in range(config.seeds):
            label = name if config.seeds == 1 else f"{name}-{turn + 1}"
            panel[label] = budget(room, replace(configs[name], seed=config.seed + turn))
    return panel


def _left_out(*_: Any) -> Found:
    return refused("left out: the audit is brief")
