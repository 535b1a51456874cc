"""The verdict follows from the leakages by the documented rule."""

from __future__ import annotations

from typing import Any

import pytest

from oneway.auditing.verdict import verdict


def share(low: float, value: float, high: float) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "n": 300, "unit": "leakage"}


NONE = {"refused": "there is no control"}
LITTLE = share(0.0, 0.1, 0.2)


def leaks(face: dict[str, Any], link: dict[str, Any]) -> dict[str, Any]:
    return {"face_similarity": face, "feature_similarity": NONE if face is NONE else LITTLE, "linkage": link}


@pytest.mark.parametrize(
    ("face", "link", "level"),
    [
        (share(0.0, 0.1, 0.2), share(0.1, 0.2, 0.25), "low"),
        (share(0.0, 0.1, 0.2), share(0.1, 0.2, 0.26), "partial"),
        (share(-0.1, 0.0, 0.1), share(0.5, 0.6, 0.7), "open"),
        (share(0.49, 0.6, 0.7), share(0.0, 0.1, 0.2), "partial"),
        (share(0.0, 0.1, 0.2), NONE, "partial"),
        (share(0.9, 1.0, 1.1), NONE, "open"),
        (NONE, NONE, "undecided"),
    ],
)
def test_the_worst_leakage_decides(face: dict[str, Any], link: dict[str, Any], level: str) -> None:
    found = verdict(leaks(face, link), None, converged=True)
    assert found["level"] == level
    assert len(found["reasons"]) >= 3, "each leakage, or its refusal, is told"


def test_the_sentence_names_the_worst() -> None:
    sentence = verdict(leaks(LITTLE, share(0.5, 0.62, 0.7)), None, converged=True)["sentence"]
    assert sentence.startswith("62%")
    assert "linking stolen features" in sentence


@pytest.mark.parametrize(("low", "level"), [(0.11, "open"), (0.1, "undecided"), (0.0, "undecided")])
def test_without_a_control_features_that_link_people_are_open(low: float, level: str) -> None:
    assert verdict({"linkage": NONE}, share(low, 0.3, 0.4), converged=True)["level"] == level


def test_an_attacker_that_did_not_converge_is_told_and_forbids_a_low_verdict() -> None:
    found = [verdict(leaks(LITTLE, LITTLE), None, converged=converged) for converged in (True, False)]
    assert [one["level"] for one in found] == ["low", "partial"]
    assert "not every attacker ended by convergence" in " ".join(found[1]["reasons"])
    assert "converge" not in " ".join(found[0]["reasons"])


def test_a_panel_that_got_less_than_the_decisions_give_away_is_no_ground_for_a_low_verdict() -> None:
    found = verdict(leaks(LITTLE, LITTLE), None, converged=True, beaten=True)
    assert found["level"] == "partial"
    assert "give away more than the panel got" in " ".join(found["reasons"])


def test_a_low_verdict_says_that_it_speaks_of_what_was_tried() -> None:
    assert "attacks tried here" in verdict(leaks(LITTLE, LITTLE), None, converged=True)["sentence"]
