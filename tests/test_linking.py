"""One way of linking: at each false accept rate as far as people suffice, chosen by the rate that leakage is of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from oneway.attacks.linkage import normalise
from oneway.auditing.linking import RATES, SCORES, link, with_unlinkability
from oneway.metrics.pairs import compare, thresholds
from oneway.metrics.registry import metrics

Split = dict[str, NDArray[np.float32]]


def crowd(num_people: int) -> tuple[Split, Any]:
    """Vectors of validation and test people, four pictures each, in a mixed order, and what stands for their pack."""
    generator = np.random.default_rng(num_people)
    vectors, people = {}, {}
    for split in ("validation", "test"):
        people[split] = generator.permutation(np.repeat(np.arange(num_people), 4))
        centres = generator.normal(size=(num_people, 32))[people[split]]
        vectors[split] = normalise(centres + generator.normal(size=centres.shape))
    return vectors, cast(
        Any, SimpleNamespace(**{name: SimpleNamespace(identities=who) for name, who in people.items()})
    )


@pytest.mark.parametrize(("num_people", "measured"), [(10, 0), (40, 2), (120, 3)])
def test_a_rate_is_measured_where_people_suffice_and_ways_are_chosen_by_one_of_a_thousand(
    num_people: int, measured: int
) -> None:
    vectors, pack = crowd(num_people)
    found = link(vectors, vectors, pack)
    assert [found.scores[name] is not None for name in RATES] == [place < measured for place in range(3)]
    shares = [share.value for name in list(RATES)[:measured] if (share := found.scores[name]) is not None]
    assert shares == sorted(shares, reverse=True)
    for name, rate in list(RATES.items())[:measured]:
        assert found.facts[name.replace("tar_at_", "") + "_met"] == pytest.approx(rate, rel=0.8)
    if measured < 2:
        assert found.arrays == {}
        return
    held = pack.validation.identities
    at = thresholds(vectors["validation"], vectors["validation"], held, [1e-3])[0]
    assert at is not None
    chosen = compare(vectors["validation"], vectors["validation"], held, [at])
    assert found.strength == chosen.accepted.sum() / chosen.pairs.sum() > 0.1
    reported = compare(vectors["test"], vectors["test"], pack.test.identities, [at])
    np.testing.assert_array_equal(found.arrays["accepted"], reported.accepted[0])
    np.testing.assert_array_equal(found.arrays["pairs"], reported.pairs)


def test_the_strongest_way_has_every_figure_of_linkage_with_its_floor() -> None:
    vectors, pack = crowd(40)
    found = with_unlinkability(link(vectors, vectors, pack), vectors, vectors, pack)
    assert set(SCORES) == {name for name, metric in metrics().items() if metric.attack == "linkage"}
    assert set(SCORES) == set(found.scores)
    for name in ("d_sys", "maximal_linkability"):
        share, floor = found.scores[name], found.facts[f"{name}_floor"]
        assert share is not None
        assert isinstance(floor, float)
        assert share.unit == metrics()[name].unit
        assert share.low > 2 * floor > 0
