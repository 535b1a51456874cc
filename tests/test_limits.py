"""Limits hold an audit to figures: by the upper end of the interval, and what was not measured fails."""

from __future__ import annotations

import pytest

import oneway
from oneway.auditing.limits import HOMES, check_limits, read_limits

FIGURE = {"value": 0.25, "low": 0.2, "high": 0.3, "n": 300, "unit": "cosine"}
RESULTS = {
    "attacks": {
        "inversion": {"face_similarity": FIGURE},
        "linkage": {"tar_at_far_1e-3": None},
        "feature": {"refused": "there is no verifier"},
    },
    "leakage": {"linkage": {"refused": "there is no control"}},
}


@pytest.mark.parametrize(("limit", "passed"), [("0.3", True), ("0.2999", False), ("0.25", False), ("1e9", True)])
def test_the_upper_end_must_lie_at_or_below_the_limit(limit: str, passed: bool) -> None:
    (check,) = check_limits(RESULTS, read_limits({"face_similarity": limit}))
    assert (check.name, check.passed) == ("face_similarity", passed)
    assert "0.250 [0.200, 0.300]" in check.message


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("feature_similarity", "there is no verifier"),
        ("tar_at_far_1e-3", "it was not measured"),
        ("leakage.linkage", "there is no control"),
        ("recognised", "it was not measured"),
    ],
)
def test_what_was_not_measured_fails_and_says_why(name: str, reason: str) -> None:
    (check,) = check_limits(RESULTS, read_limits({name: "1"}))
    assert not check.passed
    assert reason in check.message


def test_a_figure_that_does_not_exist_is_an_error_that_offers_the_nearest() -> None:
    with pytest.raises(oneway.InputError, match="did you mean 'face_similarity'"):
        read_limits({"face_similarty": "0.3"})


@pytest.mark.parametrize("text", ["low", "nan", "inf", ""])
def test_a_limit_is_a_finite_number(text: str) -> None:
    with pytest.raises(oneway.InputError, match="limit of rank_1 must be"):
        read_limits({"rank_1": text})


def test_only_figures_of_which_more_is_worse_can_be_limited() -> None:
    assert "mse" not in HOMES
    assert "mean_mcc" not in HOMES
