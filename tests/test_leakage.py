"""Leakage: a share of the control's excess over its floor, over people, refused where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneway.metrics.estimate import mean
from oneway.metrics.leakage import NoLeakError, excess, leakage

PEOPLE = np.repeat(np.arange(60), 3)


def scores(seed: int, level: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(level, 0.1, len(PEOPLE))


def test_it_is_the_ratio_of_the_excesses_by_hand() -> None:
    victim, control, floor = scores(0, 0.3), scores(1, 0.6), scores(2, 0.1)
    found = leakage(victim, control, floor, PEOPLE)
    by_hand = (victim.mean() - floor.mean()) / (control.mean() - floor.mean())
    assert found.value == pytest.approx(by_hand)
    assert found.low < found.value < found.high
    assert (found.n, found.unit) == (60, "leakage")


def test_the_interval_resamples_people_as_a_loop_does() -> None:
    victim, control, floor = scores(0, 0.3), scores(1, 0.6), scores(2, 0.1)
    generator, drawn = np.random.default_rng(5), []
    for _ in range(3000):
        rows = np.concatenate([np.arange(3 * person, 3 * person + 3) for person in generator.integers(60, size=60)])
        v, c, f = (values[rows].mean() for values in (victim, control, floor))
        drawn.append((v - f) / (c - f))
    found = leakage(victim, control, floor, PEOPLE)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, (0.025, 0.975))), abs=0.005)


def test_the_floor_leaks_nothing_and_the_control_everything() -> None:
    control, floor = scores(1, 0.6), scores(2, 0.1)
    nothing, everything = leakage(floor, control, floor, PEOPLE), leakage(control, control, floor, PEOPLE)
    assert (nothing.low, nothing.value, nothing.high) == (0, 0, 0)
    assert (everything.low, everything.value, everything.high) == (1, 1, 1)


@given(scale=st.floats(0.1, 10), shift=st.floats(-5, 5, allow_subnormal=False))
def test_it_does_not_depend_on_the_unit_of_the_score(scale: float, shift: float) -> None:
    victim, control, floor = scores(0, 0.3), scores(1, 0.6), scores(2, 0.1)
    one = leakage(victim, control, floor, PEOPLE)
    other = leakage(scale * victim + shift, scale * control + shift, scale * floor + shift, PEOPLE)
    assert (other.low, other.value, other.high) == pytest.approx((one.low, one.value, one.high), abs=1e-6)


@given(step=st.floats(0.001, 1))
def test_a_higher_score_leaks_more(step: float) -> None:
    victim, control, floor = scores(0, 0.3), scores(1, 0.6), scores(2, 0.1)
    assert leakage(victim + step, control, floor, PEOPLE).value > leakage(victim, control, floor, PEOPLE).value


@pytest.mark.parametrize("level", [0.1, 0.11, 0.05, -0.3])
def test_a_control_at_its_floor_is_refused(level: float) -> None:
    with pytest.raises(NoLeakError, match=r"the control is not above its floor \(by .*\), so there is nothing"):
        leakage(scores(0, 0.3), scores(1, level), scores(2, 0.1), PEOPLE)


def test_what_is_common_to_all_three_cancels_in_the_interval() -> None:
    common = np.random.default_rng(9).normal(0, 1, 60)[PEOPLE]
    victim, control, floor = scores(0, 0.3), scores(1, 0.6), scores(2, 0.1)
    together = leakage(victim + common, control + common, floor + common, PEOPLE)
    assert together.high - together.low < 0.3
    assert mean(victim + common, PEOPLE, unit="cosine").high - mean(victim + common, PEOPLE, unit="cosine").low > 0.4


@given(seed=st.integers(0, 500), level=st.floats(0.1, 0.2))
def test_a_faint_control_gives_a_finite_share_or_none(seed: int, level: float) -> None:
    try:
        found = leakage(scores(seed, 0.3), scores(seed + 1, level), scores(2, 0.1), PEOPLE)
    except NoLeakError:
        return
    assert np.isfinite([found.low, found.value, found.high]).all()


def test_excess_is_the_share_of_what_the_decisions_leave_by_hand() -> None:
    victim, control, floor, decisions = scores(0, 0.4), scores(1, 0.6), scores(2, 0.1), scores(3, 0.3)
    ours, told = (leakage(each, control, floor, PEOPLE).value for each in (victim, decisions))
    found = excess(victim, control, decisions, PEOPLE)
    assert found.value == pytest.approx((ours - told) / (1 - told))
    assert found.low < found.value < found.high


def test_features_that_tell_the_decisions_alone_have_no_excess_and_the_control_has_all() -> None:
    control, decisions = scores(1, 0.6), scores(3, 0.3)
    assert excess(decisions, control, decisions, PEOPLE).value == 0
    assert excess(control, control, decisions, PEOPLE).value == 1


def test_excess_is_refused_where_the_task_itself_is_the_leak() -> None:
    with pytest.raises(NoLeakError, match=r"the control is not above what the task's decisions give away \(by "):
        excess(scores(0, 0.3), scores(1, 0.6), scores(3, 0.6), PEOPLE)


def test_pairs_none_of_which_is_linked_may_be_linked_all_the_same_and_people_without_pairs_say_nothing() -> None:
    people = np.concatenate([PEOPLE, np.arange(60, 100)])
    pairs = np.where(people < 60, 2.0, 0.0)
    chance = 1e-3 * pairs
    found = leakage(0 * pairs, pairs, chance, people, cases=pairs)
    most = 1 - 0.025 ** (1 / 60)
    assert found.n == 60
    assert found.value == pytest.approx(-1e-3 / (1 - 1e-3))
    assert found.high == pytest.approx((most - 1e-3) / (1 - 1e-3))
    half = np.where(people % 2 == 0, pairs, 0.0)
    alone = leakage(half[people < 60], pairs[people < 60], chance[people < 60], PEOPLE)
    assert leakage(half, pairs, chance, people, cases=pairs) == alone, "where much is linked it is resampled alone"
