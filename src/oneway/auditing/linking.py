"""One way of linking stolen features to photographs, chosen by validation people and scored on test people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oneway.data.packed import Pack
from oneway.metrics import linkage
from oneway.metrics.estimate import Estimate

RATES = {"tar_at_far_1e-2": 1e-2, "tar_at_far_1e-3": 1e-3}
RANKS = {"rank_1": 1, "rank_5": 5}
Split = Mapping[str, linkage.Vectors]


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
    strength = 0.0
    for name, rate in RATES.items():
        at = linkage.threshold(stolen["validation"], photographs["validation"], held, false_accept_rate=rate)
        if at is None:
            facts[name] = None
            continue
        accepted, pairs = linkage.accepted(stolen["test"], photographs["test"], people, at)
        facts[name] = _plain(linkage.true_accept_rate(accepted, pairs, people))
        facts[name.replace("tar_at_", "") + "_met"] = linkage.false_accept_rate(
            stolen["test"], photographs["test"], people, at
        )
        reached = linkage.accepted(stolen["validation"], photographs["validation"], held, at)
        strength = float(reached[0].sum() / max(reached[1].sum(), 1))
        if rate == min(RATES.values()):
            arrays = {"accepted": accepted, "pairs": pairs}
    for name, rank in RANKS.items():
        facts[name] = _plain(linkage.identification(stolen["test"], photographs["test"], people, rank=rank))
    nearest = linkage.identification(stolen["validation"], photographs["validation"], held, rank=1)
    if any(facts[name] is None for name in RATES):
        strength = 0.0 if nearest is None else nearest.value
    return Linked(strength=strength, facts=facts, arrays=arrays)


def _plain(estimate: Estimate | None) -> dict[str, Any] | None:
    return None if estimate is None else estimate.to_dict()
