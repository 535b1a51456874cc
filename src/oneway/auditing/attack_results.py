"""From what each step of an audit found to the result of its attack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from oneway.auditing.judged import by_judge
from oneway.auditing.labels import panel_of, trainings
from oneway.auditing.labels import strongest as strongest_of
from oneway.auditing.measures import known_attacker
from oneway.auditing.reconstruction import JUDGED
from oneway.auditing.steps import StepResult
from oneway.data.packed import Pack
from oneway.judges.judge import Judge
from oneway.metrics.classification import correlations
from oneway.metrics.estimate import Estimate, mean, spanning
from oneway.metrics.fisher import least_mse
from oneway.metrics.registry import Metric, of_reconstructions
from oneway.report.values import AttackResult, Attacks, Facts, OrRefused, Scores, Way

LOST = 1.05
"""An attacker whose validation error is this many times a weaker one's has lost to it."""


def attacks_of(found: Mapping[str, StepResult], pack: Pack, judges: Sequence[Judge]) -> Attacks:
    """Give the result of every attack, or why there is none; of faces and features as the first judge sees them."""
    attacks: Attacks = {"inversion": inversion_of(found, judges), "feature": feature_of(found["feature"], judges[0])}
    others: dict[str, Callable[[StepResult, Pack, Judge], AttackResult]] = {
        "linkage": linkage_of,
        "scatter": _scatter,
        "inference": _inference,
        "optimisation": _scored,
        "information": _information,
        "averaging": _scored,
        "bound": _bound,
        "capacity": _capacity,
    }
    for name, give in others.items():
        step = found[name]
        attacks[name] = step.refusal or replace(give(step, pack, judges[0]), seconds=step.facts.seconds)
    return attacks


def inversion_of(found: Mapping[str, StepResult], judges: Sequence[Judge]) -> AttackResult:
    """Choose for each score the attacker that is strongest on validation people, and report it on test people."""
    steps = panel_of(found)

    def error(name: str) -> float:
        return float(steps[name].facts.validation["mse"])

    by_face = strongest_of(steps, judges[0])
    floor = float(found["floors"].arrays["mean_picture mse"].mean())
    ways = {}
    for name, step in steps.items():
        flags = [] if step.course.converged else ["ended by its budget: a longer attack may get more"]
        weaker = [other for other in steps if _weaker(other, name) and error(name) > LOST * error(other)]
        if weaker:
            flags.append(f"lost to the weaker {weaker[0]} on validation pictures: it has not been trained well")
        if error(name) >= floor:
            flags.append("no better than the mean picture")
        ways[name] = Way(
            scores=estimates_of(judges[0], step),
            judged=by_judge(step, judges),
            course=step.facts.course,
            validation=step.facts.validation,
            flags=flags,
            seconds=step.facts.seconds,
        )
    measured = next(iter(steps.values())).arrays
    strongest = {
        name: by_face if name in JUDGED else min(steps, key=partial(_risk, steps, metric))
        for name, metric in of_reconstructions().items()
        if name in measured
    }
    return AttackResult(
        scores={name: _over_seeds(steps, ways, attacker, name) for name, attacker in strongest.items()},
        strongest=strongest,
        ways=ways,
        validation=ways[by_face].validation.get("picture_similarity"),
    )


def _risk(steps: Mapping[str, StepResult], metric: Metric, name: str) -> float:
    """Give a figure of an attacker on validation people, lower where it is stronger; its error if that is not known."""
    found = steps[name].facts.validation
    value = float(found.get(metric.name, found["mse"]))
    return value if metric.safer == "high" or metric.name not in found else -value


def _over_seeds(steps: Mapping[str, StepResult], ways: Mapping[str, Way], attacker: str, name: str) -> Estimate | None:
    """Give a score of an attacker, with an interval over people and over its trainings."""
    best = ways[attacker].scores[name]
    others = [ways[label].scores[name] for label in trainings(steps, attacker)]
    return None if best is None else spanning(best, [each for each in others if each is not None])


def _weaker(first: str, second: str) -> bool:
    """Say whether an attacker can do no more than another, of whichever seeds."""
    return known_attacker(first).name in known_attacker(second).at_least


def estimates_of(judge: Judge, step: StepResult) -> Scores:
    """Reduce a step's scores of test pictures over the people in them."""
    index = step.arrays.get("index")
    return dict(judge.estimates(dict(step.arrays), index))


def _scored(step: StepResult, _: Pack, judge: Judge) -> AttackResult:
    return AttackResult(scores=estimates_of(judge, step), course=step.facts.course, facts=step.facts.facts)


def feature_of(step: StepResult, judge: Judge) -> OrRefused[AttackResult]:
    """Give what was predicted of a judge's features, or why nothing was."""
    if step.refusal is not None:
        return step.refusal
    ways, strongest = step.facts.ways, step.facts.strongest or ""
    return AttackResult(
        scores=estimates_of(judge, step),
        strongest={"feature_similarity": strongest},
        ways=ways,
        course=step.facts.course,
        validation=ways[strongest].validation["feature_similarity"],
        seconds=step.facts.seconds,
    )


def linkage_of(step: StepResult, *_: object) -> AttackResult:
    """Give what the strongest way of linking gets, and every other."""
    found = step.facts
    return AttackResult(
        scores=found.scores,
        strongest=dict.fromkeys(found.scores, found.strongest or ""),
        ways=found.ways,
        facts=found.facts,
        validation=None if found.scores["tar_at_far_1e-3"] is None else found.validation["linkage"],
    )


def _scatter(step: StepResult, _: Pack, __: Judge) -> AttackResult:
    return AttackResult(scores=step.facts.scores)


def inferred(counts: NDArray[np.float64], names: list[str], pack: Pack) -> Scores:
    """Give the MCC of attributes, and their mean, from the confusion of every test picture, (n, 4 a)."""
    mean_mcc, each = correlations(counts, pack.test.identities, names)
    return {"inferred_mcc": mean_mcc, **{f"inferred_mcc.{name}": one for name, one in each.items()}}


def _inference(step: StepResult, pack: Pack, _: Judge) -> AttackResult:
    counts = step.arrays.get("confusion")
    scores = {} if counts is None else inferred(counts, step.facts.attributes, pack)
    return AttackResult(scores=scores | step.facts.scores, course=step.facts.course, facts=step.facts.facts)


def _information(step: StepResult, pack: Pack, _: Judge) -> AttackResult:
    bits = mean(step.arrays["bits"], pack.test.identities[step.arrays["index"]], unit="bits")
    return AttackResult(scores={"bits": bits}, course=step.facts.course, facts=step.facts.facts)


def _capacity(step: StepResult, pack: Pack, _: Judge) -> AttackResult:
    people = pack.test.identities[step.arrays["index"]]
    names = ("most_bits", "most_bits_averaged")
    scores: Scores = {name: mean(step.arrays[name], people, unit="bits") for name in names}
    return AttackResult(scores=scores, facts=step.facts.facts)


def _bound(step: StepResult, pack: Pack, _: Judge) -> AttackResult:
    dfil = mean(step.arrays["dfil"], pack.test.identities[step.arrays["index"]], unit="dFIL")
    # A falling function of the estimate turns its interval round.
    value, low, high = (least_mse(end) for end in (dfil.value, dfil.high, dfil.low))
    least = Estimate(value=value, low=low, high=high, n=dfil.n, unit="MSE")
    facts: Facts = step.facts.facts | {"holds_for": "unbiased attackers"}
    return AttackResult(scores={"dfil": dfil, "least_mse": least}, facts=facts)
