"""One way of linking stolen features to photographs, chosen by validation people and scored on test people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from oneway.attacks.linkage import Comparison, normalise
from oneway.data.packed import Pack
from oneway.metrics import linkage
from oneway.metrics.pairs import Vectors, compare, thresholds
from oneway.metrics.unlinkability import MEASURES, unlinkability
from oneway.report.values import Facts, Scores

RATES = {"tar_at_far_1e-2": 1e-2, "tar_at_far_1e-3": 1e-3, "tar_at_far_1e-4": 1e-4}
DECIDES = "tar_at_far_1e-3"
"""By which ways are chosen, and of which leakage is."""
RANKS = {"rank_1": 1, "rank_5": 5}
SCORES = (*RATES, *RANKS, *MEASURES)
"""Everything that is said of linkage, as far as it was measured."""
Split = Mapping[str, Vectors]


def sides(ways: Mapping[str, Comparison], pack: Pack) -> tuple[dict[str, Split], dict[str, Split]]:
    """Give the two sides that each way compares, stolen and known, of validation and test pictures."""
    parts = (pack.validation, pack.test)
    return (
        {name: {part.split: way.stolen(part) for part in parts} for name, way in ways.items()},
        {name: {part.split: way.photographs(part) for part in parts} for name, way in ways.items()},
    )


def centred(vectors: Split) -> Split:
    """Take the mean of validation people off unit vectors."""
    mean = vectors["validation"].mean(axis=0)
    return {split: normalise(values - mean) for split, values in vectors.items()}


@dataclass(frozen=True, kw_only=True)
class Linked:
    """How well one way links.

    Attributes:
        strength: on validation people: what ways are chosen by.
        scores: estimates on test people.
        facts: the false accept rates that were met, and floors.
        arrays: pairs of each test picture, `accepted` at a false accept rate of 1e-3, and all `pairs`.

    """

    strength: float
    scores: Scores
    facts: Facts
    arrays: dict[str, NDArray[np.float64]]


def link(stolen: Split, photographs: Split, pack: Pack) -> Linked:
    """Score a way of linking; its thresholds come from pairs of different validation people.

    Args:
        stolen: unit vectors of `validation` and `test` pictures, made from stolen features.
        photographs: the same of the photographs they are compared with.
        pack: whose pictures they are.

    """
    held, people = pack.validation.identities, pack.test.identities
    scores: Scores = dict.fromkeys(RATES)
    facts: Facts = {}
    arrays: dict[str, NDArray[np.float64]] = {}
    nearest = linkage.identification(stolen["validation"], photographs["validation"], held, rank=1)
    strength = 0.0 if nearest is None else nearest.value
    found = thresholds(stolen["validation"], photographs["validation"], held, tuple(RATES.values()))
    at = {name: one for name, one in zip(RATES, found, strict=True) if one is not None}
    compared = compare(stolen["test"], photographs["test"], people, tuple(at.values()))
    for name, accepted, met in zip(at, compared.accepted, compared.false_accept_rates, strict=True):
        scores[name] = linkage.true_accept_rate(accepted, compared.pairs, people)
        facts[name.replace("tar_at_", "") + "_met"] = float(met)
        if name == DECIDES:
            arrays = {"accepted": accepted, "pairs": compared.pairs}
    if scores[DECIDES] is not None:
        reached = compare(stolen["validation"], photographs["validation"], held, [at[DECIDES]])
        strength = float(reached.accepted.sum() / max(reached.pairs.sum(), 1))
    for name, rank in RANKS.items():
        scores[name] = linkage.identification(stolen["test"], photographs["test"], people, rank=rank)
    return Linked(strength=strength, scores=scores, facts=facts, arrays=arrays)


def with_unlinkability(way: Linked, stolen: Split, photographs: Split, pack: Pack) -> Linked:
    """Add to a way how far its scores of test pictures link them at all thresholds together.

    Each of `MEASURES` is an estimate or none, and has a floor of shuffled people, `NAME_floor`, where it is one.
    """
    found, floors = unlinkability(stolen["test"], photographs["test"], pack.test.identities)
    floor_of: Facts = {f"{name}_floor": floor for name, floor in floors.items()}
    return replace(way, scores=way.scores | found, facts=way.facts | floor_of)
