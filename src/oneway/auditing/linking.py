"""One way of linking stolen features to photographs, chosen by validation people and scored on test people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oneway.data.packed import Pack
from oneway.metrics import linkage
from oneway.metrics.estimate import Estimate
from oneway.metrics.pairs import Vectors, compare, thresholds
from oneway.metrics.unlinkability import MEASURES, unlinkability

RATES = {"tar_at_far_1e-2": 1e-2, "tar_at_far_1e-3": 1e-3, "tar_at_far_1e-4": 1e-4}
DECIDES = "tar_at_far_1e-3"
"""By which ways are chosen, and of which leakage is."""
RANKS = {"rank_1": 1, "rank_5": 5}
SCORES = (*RATES, *RANKS, *MEASURES)
"""Everything that is said of linkage, as far as it was measured."""
Split = Mapping[str, Vectors]


@dataclass(frozen=True, kw_only=True)
class Linked:
    """How well one way links.

    Attributes:
        strength: on validation people: what ways are chosen by.
        facts: estimates on test people, as in `results.json`.
        arrays: pairs of each test picture, `accepted` at a false accept rate of 1e-3, and all `pairs`.

    """

    strength: float
    facts: dict[str, Any]
    arrays: dict[str, NDArray[np.float64]]


def link(stolen: Split, photographs: Split, pack: Pack) -> Linked:
    """Score a way of linking; its thresholds come from pairs of different validation people.

    Args:
        stolen: unit vectors of `validation` and `test` pictures, made from stolen features.
        photographs: the same of the photographs they are compared with.
        pack: whose pictures they are.

    """
    held, people = pack.validation.identities, pack.test.identities
    facts: dict[str, Any] = {}
    arrays: dict[str, NDArray[np.float64]] = {}
    nearest = linkage.identification(stolen["validation"], photographs["validation"], held, rank=1)
    strength = 0.0 if nearest is None else nearest.value
    found = thresholds(stolen["validation"], photographs["validation"], held, tuple(RATES.values()))
    at = {name: one for name, one in zip(RATES, found, strict=True) if one is not None}
    compared = compare(stolen["test"], photographs["test"], people, tuple(at.values()))
    facts |= dict.fromkeys(RATES)
    for name, accepted, met in zip(at, compared.accepted, compared.false_accept_rates, strict=True):
        facts[name] = _plain(linkage.true_accept_rate(accepted, compared.pairs, people))
        facts[name.replace("tar_at_", "") + "_met"] = float(met)
        if name == DECIDES:
            arrays = {"accepted": accepted, "pairs": compared.pairs}
    if facts[DECIDES] is not None:
        reached = compare(stolen["validation"], photographs["validation"], held, [at[DECIDES]])
        strength = float(reached.accepted.sum() / max(reached.pairs.sum(), 1))
    for name, rank in RANKS.items():
        facts[name] = _plain(linkage.identification(stolen["test"], photographs["test"], people, rank=rank))
    return Linked(strength=strength, facts=facts, arrays=arrays)


def with_unlinkability(way: Linked, stolen: Split, photographs: Split, pack: Pack) -> Linked:
    """Add to the facts of a way how far its scores of test pictures link them at all thresholds together.

    Each of `MEASURES` is an estimate or none, and has a floor of shuffled people, `NAME_floor`, where it is one.
    """
    found, floors = unlinkability(stolen["test"], photographs["test"], pack.test.identities)
    measured = {name: _plain(one) for name, one in found.items()}
    return replace(way, facts=way.facts | measured | {f"{name}_floor": floor for name, floor in floors.items()})


def _plain(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else estimate.to_dict()
