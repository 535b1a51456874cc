"""Which attacker counts, which is marked, and what a verdict adds when more access gets more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oneway.auditing.conclusions import further
from oneway.auditing.results import _inversion
from oneway.auditing.steps import Found
from oneway.judge import UNITS

PEOPLE = np.repeat(np.arange(30), 2)


class Judge:
    """Stands for a judge: only what the reduction over people needs."""

    verifier = object()

    def estimates(self, scores: dict[str, Any], _: Any) -> dict[str, Any]:
        from oneway.metrics.estimate import mean

        return {name: mean(values, PEOPLE, unit=UNITS[name]) for name, values in scores.items() if name in UNITS}


def attacker(mse: float, face: float, *, converged: bool = True, test_face: float | None = None) -> Found:
    noise = np.random.default_rng(0).normal(0, 1e-3, len(PEOPLE))
    arrays = {"mse": mse + noise, "face_similarity": (face if test_face is None else test_face) + noise}
    return Found(facts={"converged": converged, "validation": {"mse": mse, "face_similarity": face}}, arrays=arrays)


def chosen(**attackers: Found) -> dict[str, Any]:
    floors = Found(facts={}, arrays={"mean_face mse": np.full(len(PEOPLE), 0.06)})
    found = {"floors": floors} | {f"inversion {name.replace('_', '-')}": step for name, step in attackers.items()}
    return _inversion(found, Judge())  # type: ignore[arg-type]


def test_the_strongest_is_chosen_on_validation_people_score_by_score() -> None:
    # The residual one has the best face on test people, by luck; on validation people it is the transformer.
    found = chosen(
        mirror=attacker(0.010, 0.30),
        residual=attacker(0.008, 0.31, test_face=0.9),
        transformer=attacker(0.009, 0.33),
    )
    assert found["strongest"] == {"mse": "residual", "face_similarity": "transformer"}
    assert found["face_similarity"]["value"] == pytest.approx(0.33, abs=1e-3)
    assert found["mse"]["value"] == pytest.approx(0.008, abs=1e-3)


def test_only_an_attacker_that_lost_to_a_weaker_one_is_marked_as_badly_trained() -> None:
    found = chosen(linear=attacker(0.012, 0.2), mirror=attacker(0.010, 0.3), residual_2=attacker(0.011, 0.3))
    flags = {name: one["flags"] for name, one in found["attackers"].items()}
    assert flags["linear"] == flags["mirror"] == []
    assert flags["residual-2"] == ["lost to the weaker mirror on validation people: it has not been trained well"]


def test_a_near_loss_is_no_loss() -> None:
    found = chosen(mirror=attacker(0.0100, 0.3), residual=attacker(0.0104, 0.3))
    assert found["attackers"]["residual"]["flags"] == []


def test_an_attacker_out_of_budget_or_at_the_floor_is_marked() -> None:
    found = chosen(mirror=attacker(0.061, 0.0, converged=False))
    flags = found["attackers"]["mirror"]["flags"]
    assert any("ended by its budget" in flag for flag in flags)
    assert any("no better than the mean face" in flag for flag in flags)


def share(low: float, value: float, high: float) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "n": 30, "unit": "cosine"}


def test_more_access_that_gets_more_is_told() -> None:
    attacks: dict[str, Any] = {
        "inversion": {"face_similarity": share(0.1, 0.15, 0.2)},
        "optimisation": {"face_similarity": share(0.5, 0.6, 0.7)},
        "averaging": {"face_similarity": share(0.15, 0.2, 0.25), "draws": 16},
    }
    (reason,) = further(attacks)
    assert "has the encoder's weights gets more: face similarity 0.60" in reason
    attacks["averaging"]["face_similarity"] = share(0.3, 0.4, 0.5)
    assert "16 answers for one picture" in further(attacks)[1]
    attacks["optimisation"] = {"refused": "the encoder's weights were not given"}
    assert len(further(attacks)) == 1
