"""Which attacker counts, which is marked, and what a verdict adds when more access gets more."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from audited import audited, judged, typed
from oneway.auditing.assemble import unconverged
from oneway.auditing.attack_results import inversion_of
from oneway.auditing.conclusions import _further, numbers
from oneway.auditing.guards import check_convergence
from oneway.auditing.steps import StepFacts, StepResult, refused
from oneway.auditing.verdict import verdict
from oneway.config import to_dict
from oneway.metrics.estimate import Estimate
from oneway.metrics.registry import metrics
from oneway.report.convergence import doubts, further
from oneway.report.reports import AuditReport
from oneway.report.values import AttackResult, Course, Refused

PEOPLE = np.repeat(np.arange(30), 2)


class Judge:
    """Stands for a judge: only what the reduction over people needs."""

    name = "judge"
    verifier = SimpleNamespace(name=name)

    def key(self, name: str) -> str:
        return name

    def estimates(self, scores: dict[str, Any], _: Any) -> dict[str, Any]:
        from oneway.metrics.estimate import mean

        known = metrics()
        return {name: mean(values, PEOPLE, unit=known[name].unit) for name, values in scores.items() if name in known}


def attacker(mse: float, face: float, *, converged: bool = True, test_face: float | None = None) -> StepResult:
    noise = np.random.default_rng(0).normal(0, 1e-3, len(PEOPLE))
    arrays = {"mse": mse + noise, "picture_similarity": (face if test_face is None else test_face) + noise}
    facts = StepFacts(course=course(converged), validation={"mse": mse, "picture_similarity": face}, seconds=1.0)
    return StepResult(facts=facts, arrays=arrays)


def course(converged: bool) -> Course:
    return Course(converged=converged, steps=9, validation_error=0.1)


def chosen(**attackers: StepResult) -> AttackResult:
    floors = StepResult(arrays={"mean_picture mse": np.full(len(PEOPLE), 0.06)})
    found = {"floors": floors} | {f"inversion {name.replace('_', '-')}": step for name, step in attackers.items()}
    return inversion_of(found, [Judge()])  # type: ignore[arg-type]


def value(found: AttackResult, name: str) -> float:
    score = found.scores[name]
    assert score is not None
    return score.value


def test_the_strongest_is_chosen_on_validation_people_score_by_score() -> None:
    # The residual one has the best face on test people, by luck; on validation people it is the transformer.
    found = chosen(
        mirror=attacker(0.010, 0.30),
        residual=attacker(0.008, 0.31, test_face=0.9),
        transformer=attacker(0.009, 0.33),
    )
    assert found.strongest == {"mse": "residual", "picture_similarity": "transformer"}
    assert value(found, "picture_similarity") == pytest.approx(0.33, abs=1e-3)
    assert value(found, "mse") == pytest.approx(0.008, abs=1e-3)


def test_each_figure_of_pictures_is_of_the_attacker_that_is_strongest_by_it() -> None:
    steps = {"linear": (0.012, 0.44), "residual": (0.010, 0.39)}
    made = {}
    for name, (mse, ssim) in steps.items():
        step = attacker(mse, 0.3)
        arrays = step.arrays | {"ssim": np.full(len(PEOPLE), ssim)}
        made[name] = replace(
            step, arrays=arrays, facts=replace(step.facts, validation=step.facts.validation | {"ssim": ssim})
        )
    found = chosen(**made)
    assert (found.strongest["mse"], found.strongest["ssim"]) == ("residual", "linear")
    assert value(found, "ssim") == pytest.approx(0.44)


def test_only_an_attacker_that_lost_to_a_weaker_one_is_marked_as_badly_trained() -> None:
    found = chosen(linear=attacker(0.012, 0.2), mirror=attacker(0.010, 0.3), residual_2=attacker(0.011, 0.3))
    flags = {name: way.flags for name, way in found.ways.items()}
    assert flags["linear"] == flags["mirror"] == []
    assert flags["residual-2"] == ["lost to the weaker mirror on validation pictures: it has not been trained well"]


def test_a_near_loss_is_no_loss() -> None:
    found = chosen(mirror=attacker(0.0100, 0.3), residual=attacker(0.0104, 0.3))
    assert found.ways["residual"].flags == []


def test_an_attacker_out_of_budget_or_at_the_floor_is_marked() -> None:
    found = chosen(mirror=attacker(0.061, 0.0, converged=False))
    flags = found.ways["mirror"].flags
    assert any("ended by its budget" in flag for flag in flags)
    assert any("no better than the mean picture" in flag for flag in flags)


def share(low: float, value: float, high: float) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=30, unit="cosine")


def test_more_access_that_gets_more_is_told() -> None:
    attacks: dict[str, AttackResult | Refused] = {
        "inversion": AttackResult(scores={"picture_similarity": share(0.1, 0.15, 0.2)}),
        "optimisation": AttackResult(scores={"picture_similarity": share(0.5, 0.6, 0.7)}),
        "averaging": AttackResult(scores={"picture_similarity": share(0.15, 0.2, 0.25)}, facts={"draws": 16}),
    }
    (reason,) = _further(attacks, share(0.1, 0.15, 0.2))
    assert "has the encoder's weights gets more: similarity 0.600" in reason
    attacks["averaging"] = AttackResult(scores={"picture_similarity": share(0.3, 0.4, 0.5)}, facts={"draws": 16})
    assert "16 answers for one picture" in _further(attacks, share(0.1, 0.15, 0.2))[1]
    attacks["optimisation"] = Refused(refused="the encoder's weights were not given")
    assert len(_further(attacks, share(0.1, 0.15, 0.2))) == 1


@pytest.mark.parametrize(
    "late", ["inversion mirror", "feature", "decisions", "information", "averaging", "queries 100"]
)
def test_every_trained_attacker_counts_for_convergence(late: str) -> None:
    names = ["inversion mirror", "feature", "decisions", "inference", "information", "averaging", "queries 100"]
    found = {name: StepResult(facts=StepFacts(course=course(name != late))) for name in names}
    found |= {"linkage": StepResult(), "optimisation": refused("no weights")}
    assert unconverged(found) == [late]
    (guard,) = check_convergence([late])
    assert not guard.passed
    assert late in guard.message
    assert check_convergence([])[0].passed
    # On these three a leakage rests, so without them it cannot be called low; of the others it is said.
    rests = late in names[:3]
    assert bool(doubts([late])) == rests
    assert bool(further([late])) != rests
    little = dict.fromkeys(("picture_similarity", "feature_similarity", "linkage"), share(0.0, 0.1, 0.2))
    assert verdict(little, None, doubts=doubts([late])).level == ("partial" if rests else "low")


@pytest.mark.parametrize("decides", ["picture_similarity", "feature_similarity", "linkage"])
@pytest.mark.parametrize("utility", [True, False])
def test_the_figure_that_decides_is_among_the_numbers(decides: str, utility: bool) -> None:
    results = audited() if utility else audited() | {"utility": None}
    shares = dict.fromkeys(results["leakage"], plain(0.1, 0.2, 0.3)) | {decides: plain(0.1, 0.2, 0.4)}
    report = typed(judged(results | {"leakage": shares}))
    cards = numbers(report)
    (deciding,) = [card for card in cards if card.decides]
    assert deciding.leakage == report.leakage[decides]
    assert [card.value.unit for card in cards if card.leakage is None] == (["MCC", "bits"] if utility else ["bits"])


def plain(low: float, value: float, high: float) -> dict[str, Any]:
    return to_dict(share(low, value, high))


def test_without_a_verifier_the_figure_that_decides_is_among_the_numbers() -> None:
    results = audited()
    for block in (results["attacks"]["inversion"]["scores"], results["floors"]["mean_picture"]):
        del block["picture_similarity"]
    results["attacks"]["feature"] = {"refused": "there is no verifier"}
    results["leakage"] |= {name: {"refused": "none"} for name in ("picture_similarity", "feature_similarity")}
    report: AuditReport = typed(judged(results))
    cards = numbers(report)
    assert [card.leakage for card in cards if card.decides] == [report.leakage["linkage"]]
    assert [card.value.unit for card in cards] == ["SSIM", "share", "MCC", "bits"]
