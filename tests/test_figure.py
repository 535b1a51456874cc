from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audited import audited, typed
from oneway.metrics.estimate import Estimate
from oneway.report.curve import BOTTOM, LEFT, RIGHT, TOP, decades, draw_curve, spread
from oneway.report.figure import (
    NOTHING,
    Axis,
    axis,
    count,
    duration,
    ends,
    interval,
    measured,
    number,
    refused,
    tick,
    value,
)
from oneway.report.values import Point, Queries, Refused

THIN, MINUS = "\u202f", "\u2212"
REFUSED = Refused(refused="no verifier")
numbers = st.floats(-1e4, 1e4, allow_nan=False, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-6)


def figure(value: float, unit: str = "cosine", half: float = 0.018) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half, n=9, unit=unit)


def queries() -> list[Point]:
    found = typed(audited()).queries
    assert isinstance(found, Queries)
    return found.curve


@pytest.mark.parametrize(
    ("given_value", "unit", "text"),
    [
        (0.3564, "cosine", "0.356"),
        (-0.3564, "MCC", f"{MINUS}0.356"),
        (-0.0001, "MCC", "0.000"),
        (0.001, "share", f"0.1{THIN}%"),
        (1.0, "share", f"100.0{THIN}%"),
        (16.44, "dB", f"16.4{THIN}dB"),
        (5.617, "bits", f"5.62{THIN}bits"),
        (0.02364, "MSE", "0.0236"),
        (2541.02, "", f"2{THIN}541"),
    ],
)
def test_a_number_has_the_digits_of_its_unit(given_value: float, unit: str, text: str) -> None:
    assert number(given_value, unit) == text
    assert value(Estimate(value=given_value, low=0, high=1, n=3, unit=unit)) == text
    assert value(given_value, unit) == text


def test_an_interval_says_its_unit_once() -> None:
    assert interval(figure(0.164, "share", 0.03)) == "[13.4, 19.4]"
    assert interval(figure(0.01, "MCC", 0.03)) == f"[{MINUS}0.020, 0.040]"
    assert interval(0.3) == interval(None) == interval(REFUSED) == ""


def test_what_was_not_measured_has_no_number() -> None:
    assert value(None) == value(REFUSED) == NOTHING
    assert not measured(None)
    assert not measured(REFUSED)
    assert measured(0.0)
    assert measured(figure(0.0))
    assert refused(REFUSED)
    assert not refused(figure(0.0))
    assert list(ends(None, REFUSED, 0.5, figure(0.3, half=0.1))) == pytest.approx([0.5, 0.3, 0.2, 0.4])


def test_times_and_counts() -> None:
    assert [duration(seconds) for seconds in (0.44, 59.0, 61, 3600 + 125)] == [
        f"0.4{THIN}s",
        f"59.0{THIN}s",
        f"1{THIN}min 1{THIN}s",
        f"1{THIN}h 2{THIN}min",
    ]
    assert count(1234567) == f"1{THIN}234{THIN}567"
    assert [tick(0.2, "share"), tick(-0.2), tick(10, "dB")] == [f"20{THIN}%", f"{MINUS}0.2", "10"]


@given(values=st.lists(numbers, max_size=5), full=st.sampled_from([0.0, 1.0, 8.0]))
def test_an_axis_holds_all_that_is_shown_and_zero(values: list[float], full: float) -> None:
    made = axis(*values, full=full)
    tolerance = 1e-6 * (made.high - made.low)
    for shown in (*values, 0.0, full):
        assert made.low - tolerance <= shown <= made.high + tolerance
    assert 1 <= made.steps <= 9
    assert (made.ticks[0], made.ticks[-1]) == pytest.approx((made.low, made.high))
    assert np.allclose(np.diff(made.ticks), (made.high - made.low) / made.steps)
    assert any(abs(mark) <= tolerance for mark in made.ticks)


@given(values=st.lists(numbers, min_size=2, max_size=5))
def test_places_on_an_axis_keep_order_and_stay_on_it(values: list[float]) -> None:
    made = axis(*values[:-1])
    places = [made.place(shown) for shown in sorted(values)]
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in places)
    start, length = made.span(values[0], values[-1])
    assert (start, start + length) == pytest.approx(sorted((made.place(values[0]), made.place(values[-1]))), abs=0.011)


def test_an_axis_of_shares_is_whole() -> None:
    assert axis(figure(0.3), 0.05) == Axis(0.0, 1.0, 5)
    assert axis(figure(0.3)).ticks == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert axis(-0.03) == Axis(-0.2, 1.0, 6)
    assert [tick(at) for at in axis(-0.03).ticks][:3] == [f"{MINUS}0.2", "0", "0.2"]
    assert axis(0.0, full=0.0).high > 0


def test_the_curve_is_logarithmic_in_the_queries() -> None:
    drawn = draw_curve(queries(), "picture_similarity", {})
    by_queries = {point.queries: point for point in queries()}
    x = {queries: drawn.points[place].x for place, queries in enumerate(sorted(by_queries))}
    assert x[1000] - x[100] == pytest.approx(x[10_000] - x[1000], abs=0.2)
    assert (x[100], x[40_960]) == (LEFT, RIGHT)
    assert [text for _, text in drawn.across] == ["100", "1k", "10k"]
    assert dict(zip((text for _, text in drawn.across), (place for place, _ in drawn.across), strict=True)) == {
        "100": x[100],
        "1k": x[1000],
        "10k": x[10_000],
    }


def test_the_curve_rises_where_the_score_does() -> None:
    curve = queries()
    for score, direction in (("picture_similarity", -1), ("mse", 1)):
        drawn = draw_curve(curve[::-1], score, {"floor": 0.05, "control": figure(0.66)})
        heights = [point.y for point in drawn.points]
        assert heights == sorted(heights, reverse=direction < 0)  # y points downwards
        for point in drawn.points:
            assert TOP <= point.high <= point.y <= point.low <= BOTTOM
            assert LEFT <= point.x <= RIGHT
    assert [point.converged for point in drawn.points] == [*[True] * 4, False, True]


def test_levels_that_are_missing_are_not_drawn() -> None:
    curve = queries()
    levels = {"control": None, "breach": 0.1, "floor": REFUSED}
    drawn = draw_curve(curve, "recognised", levels, 5200)
    assert [line.name for line in drawn.lines] == ["breach"]
    assert drawn.lines[0].text == f"10.0{THIN}%"
    assert drawn.breach is not None
    assert drawn.points[3].x < drawn.breach < drawn.points[4].x  # between 3000 and 10 000
    assert draw_curve(curve, "recognised", levels).breach is None


def test_a_single_number_of_queries_stands_in_the_middle() -> None:
    drawn = draw_curve(queries()[:1], "mse", {})
    assert drawn.points[0].x == pytest.approx((LEFT + RIGHT) / 2)
    assert len(drawn.across) >= 2


@given(heights=st.lists(st.floats(0, 200, allow_subnormal=False), max_size=6))
def test_labels_are_moved_apart_and_keep_their_order(heights: list[float]) -> None:
    moved = spread(heights, 15)
    assert len(moved) == len(heights)
    for first, second in itertools.pairwise(sorted(moved)):
        assert second - first >= 15 - 0.11
    order = sorted(range(len(heights)), key=lambda place: heights[place])
    assert [moved[place] for place in order] == sorted(moved)


def test_labels_that_are_apart_stay_where_they_are() -> None:
    assert spread([100.0, 10.0, 50.0], 15) == [100.0, 10.0, 50.0]
    assert spread([50.0, 50.0], 15) == [42.5, 57.5]  # around their middle
    assert spread([0.0, 10.0, 100.0], 20) == [-5.0, 15.0, 100.0]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (100, 40_960, [100, 1000, 10_000]),
        (150, 900, [200, 500]),
        (30, 300, [50, 100, 200]),
        (210, 280, [210, 280]),
    ],
)
def test_ticks_of_queries_are_powers_of_ten_or_what_there_is(low: float, high: float, ticks: list[float]) -> None:
    assert decades(low, high) == pytest.approx(ticks)
    assert all(math.isclose(tick, round(tick)) for tick in decades(low, high))
