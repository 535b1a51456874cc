"""Limits hold an audit to figures: by the upper end of the interval, and what was not measured fails."""

from __future__ import annotations

from typing import Any

import pytest

import oneway
from audited import audited, typed
from oneway.config import to_dict
from oneway.metrics.registry import metrics
from oneway.report.convergence import RESTS
from oneway.report.limits import LEAKAGES, check_limits, limited, read_limits
from oneway.report.reports import AuditReport

FIGURE = {"value": 0.25, "low": 0.2, "high": 0.3, "n": 300, "unit": "cosine"}


def report(late: list[str], leakage: Any, **attacks: Any) -> AuditReport:
    """A report of some attacks."""
    results = audited() | {"unconverged": late}
    every = {name: {"scores": {}} for name in results["attacks"]} | {
        name: found if "refused" in found else {"scores": found} for name, found in attacks.items()
    }
    return typed(results | {"attacks": every, "leakage": dict.fromkeys(results["leakage"], leakage), "judges": []})


RESULTS = report(
    [],
    {"refused": "there is no control"},
    inversion={"picture_similarity": FIGURE},
    linkage={"tar_at_far_1e-3": None},
    feature={"refused": "there is no verifier"},
)


@pytest.mark.parametrize(("limit", "passed"), [("0.3", True), ("0.2999", False), ("0.25", False), ("1e9", True)])
def test_the_upper_end_must_lie_at_or_below_the_limit(limit: str, passed: bool) -> None:
    (check,) = check_limits(RESULTS, read_limits({"picture_similarity": limit}))
    assert (check.name, check.passed) == ("picture_similarity", passed)
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
    with pytest.raises(oneway.InputError, match="did you mean 'picture_similarity'"):
        read_limits({"picture_similarty": "0.3"})


@pytest.mark.parametrize("text", ["low", "nan", "inf", ""])
def test_a_limit_is_a_finite_number(text: str) -> None:
    with pytest.raises(oneway.InputError, match="limit of rank_1 must be"):
        read_limits({"rank_1": text})


def test_only_figures_of_which_more_is_worse_can_be_limited() -> None:
    assert "mse" not in limited()
    assert "mean_mcc" not in limited()
    assert all(metrics()[name].safer == "low" for name in limited() if name in metrics())


def measured(late: list[str]) -> AuditReport:
    return report(
        late,
        FIGURE,
        inversion={"picture_similarity": FIGURE},
        feature={"feature_similarity": FIGURE},
        linkage={"rank_1": FIGURE},
        information={"bits": FIGURE},
    )


@pytest.mark.parametrize(
    ("late", "failing"),
    [
        ([], []),
        (["inversion transformer"], ["picture_similarity", "rank_1", "leakage.picture_similarity", "leakage.linkage"]),
        (["feature"], ["feature_similarity", "rank_1", "leakage.feature_similarity", "leakage.linkage"]),
        (["information"], ["bits"]),
        (["inference", "averaging", "queries 100", "decisions"], []),
    ],
)
def test_a_figure_that_rests_on_an_attacker_which_its_budget_ended_fails(late: list[str], failing: list[str]) -> None:
    names = ("picture_similarity", "feature_similarity", "rank_1", "bits")
    asked = dict.fromkeys((*names, *(f"leakage.{name}" for name in LEAKAGES)), "1")
    checks = check_limits(measured(late), read_limits(asked))
    assert [check.name for check in checks if not check.passed] == failing
    for check in checks:
        if not check.passed:
            assert late[0] in check.message
            assert "--fail-above unconverged=1" in check.message


def test_attackers_that_their_budget_ended_pass_where_the_user_allows_as_many() -> None:
    results = measured(["inversion mirror", "inversion residual", "information"])

    def passed(**limits: str) -> list[bool]:
        return [check.passed for check in check_limits(results, read_limits(limits))]

    assert passed(picture_similarity="1", unconverged="1") == [False, False]
    assert passed(picture_similarity="1", unconverged="2") == [True, False]
    assert passed(picture_similarity="1", unconverged="3") == [True, True]
    assert passed(picture_similarity="0.1", unconverged="3") == [False, True], "a limit holds all the same"
    assert passed(unconverged="2") == [False]
    with pytest.raises(oneway.InputError, match="limit of unconverged must be a number"):
        read_limits({"unconverged": "yes"})


def test_it_is_known_of_every_figure_on_which_attackers_it_rests() -> None:
    assert set(limited().values()) <= set(RESTS)


def test_a_report_says_itself_whether_it_passes() -> None:
    assert RESULTS.passes({"picture_similarity": 0.3})
    assert not RESULTS.passes({"picture_similarity": 0.29})


def test_of_several_judges_the_highest_figure_is_held_to_a_limit_but_not_one_of_a_blind_judge() -> None:
    seen = {"attacker": "mirror", "floor": FIGURE, "control": None, "leakage": {"refused": "there is no control"}}
    rate = {"false_accept_rate": 1e-3, "threshold": 0.3, "true_accept_rate": FIGURE, "floor": None, "control": None}

    def judge(name: str, recognised: float, blind: str | None = None) -> dict[str, Any]:
        share = FIGURE | {"value": recognised, "low": recognised, "high": recognised}
        figures = seen | {"picture_similarity": FIGURE, "recognised": [rate | {"share": share}]}
        known = {"same": 0.5, "different": 0.0, "mean_picture": 0.1}
        of = {"name": name, "fingerprint": None, "false_accept_rate": 1e-3, "threshold": 0.3, "true_accept_rate": None}
        return of | {"similarity": known, "blind": blind, "counts": name == "one", "pictures": figures}

    counted = report([], FIGURE, inversion={"recognised": FIGURE | {"value": 0.01, "low": 0.0, "high": 0.02}})
    for others, most in (([], 0.02), ([judge("two", 0.1)], 0.1), ([judge("two", 0.1, "it accepts everybody")], 0.02)):
        results = to_dict(counted) | {"judges": [judge("one", 0.01), *others]}
        for limit in (most, most - 0.001):
            (check,) = check_limits(typed(results), {"recognised": limit})
            assert check.passed == (limit == most)
            assert ("(by two)" in check.message) == (most == 0.1)
    blind = to_dict(counted) | {"judges": [judge("one", 0.01, "it accepts everybody")]}
    (check,) = check_limits(typed(blind), {"recognised": 1.0})
    assert not check.passed, "where no judge sees anybody, nothing says that nobody is recognised"
    assert "the verifier one cannot tell who is shown: it accepts everybody" in check.message
