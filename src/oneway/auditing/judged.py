"""What each judge of faces sees in the reconstructions, and what is predicted of its features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from oneway.auditing.inference import GAINED
from oneway.auditing.labels import panel_of, strongest, unseen
from oneway.auditing.reconstruction import JUDGED
from oneway.auditing.shares import (
    Counting,
    PerPicture,
    every_training,
    features_excess,
    features_leakage,
    pictures_excess,
    pictures_leakage,
)
from oneway.auditing.steps import StepResult
from oneway.judges.judge import FALSE_ACCEPT_RATE, Judge
from oneway.metrics.estimate import Estimate, mean, spanning
from oneway.metrics.pairs import people_needed
from oneway.report.judging import JudgedPictures, JudgeReport, PredictedFeatures, Recognised
from oneway.report.values import AttackResult, Attacks, OrRefused, Refused, Scores, ValidationScore

RATES = (1e-2, 1e-3, 1e-4)
"""False accept rates at which faces count as recognised."""


def reports(
    judges: Sequence[Judge],
    found: Mapping[str, StepResult],
    scores: PerPicture,
    control: PerPicture | None,
    decided: PerPicture,
    counts: Counting,
) -> list[JudgeReport]:
    """Say of each judge how good it is on real pictures, what it sees, and what is predicted of its features.

    Args:
        judges: all of them; none is left out.
        found: what the steps found.
        scores: of every test picture, as in `scores.npz`.
        control: the same of the unprotected encoder.
        decided: the same of who has the task's decisions alone, as far as there are any.
        counts: the judges that count.

    """
    made = []
    for judge in judges:
        if judge.report is None:
            continue
        key, panel, independent = judge.key("picture_similarity"), panel_of(found), None
        seen = _pictures(judge, strongest(panel, judge), found, scores, control, decided, key)
        if judge.counted != key:
            attacker = strongest(unseen(panel, judge), judge)
            independent = _pictures(judge, attacker, found, scores, control, decided, judge.counted)
        made.append(
            replace(
                judge.report,
                trained_with=judge.trained_with,
                counts=judge is counts.pictures,
                pictures=seen,
                independent=independent,
                features=_features(judge, found, scores, control, decided, judge is counts.features),
            )
        )
    return made


def _pictures(
    judge: Judge,
    attacker: str,
    found: Mapping[str, StepResult],
    scores: PerPicture,
    control: PerPicture | None,
    decided: PerPicture,
    similarity: str,
) -> JudgedPictures:
    """Say what a judge sees in the reconstructions of an attacker, whose similarities have that name."""
    ours = every_training(scores, f"inversion {similarity}")
    floor = scores[f"floor mean_picture {judge.key('picture_similarity')}"]
    theirs = None if control is None else control.get(f"inversion {similarity}")
    people, first, drawn = judge.test.identities, None, panel_of(found)[attacker]
    chosen = drawn.facts.validation.get(judge.key("picture_similarity"))
    if judge.of_pictures:
        first = mean(drawn.arrays[judge.key("found_first")], people, unit="share")
    return JudgedPictures(
        attacker=attacker,
        picture_similarity=_over(ours, judge, "cosine"),
        floor=mean(floor, people, unit="cosine"),
        control=None if theirs is None else mean(theirs, people, unit="cosine"),
        leakage=pictures_leakage(judge, scores, control, similarity),
        excess=pictures_excess(judge, scores, control, decided) if similarity == judge.counted else None,
        recognised=[_recognised(judge, rate, ours, floor, theirs) for rate in RATES],
        found_first=first,
        validation=_validated(judge, "picture_similarity", chosen, found),
    )


def _features(
    judge: Judge,
    found: Mapping[str, StepResult],
    scores: PerPicture,
    control: PerPicture | None,
    decided: PerPicture,
    counts: bool,
) -> PredictedFeatures | None:
    """Say what is predicted of a judge's features; nothing where that was left out."""
    key, step = judge.key("feature_similarity"), found[judge.key("feature")]
    if step.refusal is not None:
        return None
    people, best = judge.test.identities, step.facts.ways[step.facts.strongest or ""]
    theirs = None if control is None else control.get(key)
    return PredictedFeatures(
        counts=counts,
        strongest=step.facts.strongest or "",
        similarity=mean(scores[key], people, unit="cosine"),
        floor=mean(scores[f"floor mean_feature {key}"], people, unit="cosine"),
        control=None if theirs is None else mean(theirs, people, unit="cosine"),
        leakage=features_leakage(judge, scores, control),
        excess=features_excess(judge, scores, control, decided),
        gained=mean(step.arrays[GAINED], people, unit="cosine") if GAINED in step.arrays else None,
        validation=_validated(judge, "feature_similarity", best.validation.get("feature_similarity"), found),
    )


def _validated(judge: Judge, name: str, score: float | None, found: Mapping[str, StepResult]) -> ValidationScore | None:
    """Put a score of validation people, as a judge sees it, beside its floor and that of the decisions."""
    if score is None:
        return None
    floors, decided = (found[step].facts.validation for step in ("floors", "decisions"))
    return ValidationScore(score=score, floor=floors[judge.key(name)], decisions=decided.get(judge.key(name)))


def _over(trainings: Sequence[NDArray[np.float64]], judge: Judge, unit: str) -> Estimate:
    """Estimate a mean over people, with an interval that reaches over every training of the attacker."""
    best, *others = (mean(values, judge.test.identities, unit=unit) for values in trainings)
    return spanning(best, others)


def _recognised(
    judge: Judge,
    rate: float,
    ours: Sequence[NDArray[np.float64]],
    floor: NDArray[np.float64],
    control: NDArray[np.float64] | None,
) -> Recognised:
    """Give the share of reconstructions that a judge takes for the person at a false accept rate."""
    at = judge.threshold_at(rate)

    def share(trainings: Sequence[NDArray[np.float64]] | None) -> Estimate | None:
        if trainings is None or at is None:
            return None
        return _over([(values > at).astype(np.float64) for values in trainings], judge, "share")

    return Recognised(
        false_accept_rate=rate,
        threshold=at,
        people_needed=people_needed(judge.validation.identities, rate) if at is None else None,
        true_accept_rate=judge.true_accept_rate(at),
        share=share(ours),
        floor=share([floor]),
        control=None if control is None else share([control]),
    )


def by_judge(step: StepResult, judges: Sequence[Judge]) -> dict[str, Scores]:
    """Reduce what each judge saw in one attacker's reconstructions over the test people."""
    seen: dict[str, Scores] = {}
    for judge in judges:
        keyed = {name: judge.key(name) for name in JUDGED if judge.key(name) in step.arrays}
        if keyed:
            arrays = {name: step.arrays[key] for name, key in keyed.items()}
            seen[judge.name] = dict(judge.estimates(arrays, step.arrays.get("index")))
    return seen


def as_judged(attacks: Attacks, reports: Sequence[JudgeReport], counts: Counting) -> Attacks:
    """Give attacks with the figures of faces and of a verifier's features as the judges that count saw them."""
    by_name = {report.name: report for report in reports}
    return (
        attacks
        | _with_pictures(attacks["inversion"], by_name.get(counts.pictures.name), counts.pictures)
        | _with_features(attacks["feature"], by_name.get(counts.features.name))
    )


def _with_pictures(inversion: OrRefused[AttackResult], report: JudgeReport | None, judge: Judge) -> Attacks:
    faces = None if report is None else report.counted
    if isinstance(inversion, Refused) or faces is None:
        return {}
    recognised = next(each.share for each in faces.recognised if each.false_accept_rate == FALSE_ACCEPT_RATE)
    seen: Scores = {"picture_similarity": faces.picture_similarity}
    if recognised is not None:
        seen["recognised"] = recognised
    if faces.found_first is not None:
        seen["found_first"] = faces.found_first
    return {
        "inversion": replace(
            inversion,
            scores=inversion.scores | seen,
            ways={
                name: replace(way, scores=way.scores | way.judged[judge.name]) for name, way in inversion.ways.items()
            },
            strongest=inversion.strongest | dict.fromkeys(seen, faces.attacker),
            validation=inversion.ways[faces.attacker].validation[judge.key("picture_similarity")],
        )
    }


def _with_features(feature: OrRefused[AttackResult], report: JudgeReport | None) -> Attacks:
    if isinstance(feature, Refused) or report is None or report.features is None:
        return {}
    similarity: Scores = {"feature_similarity": report.features.similarity}
    return {
        "feature": replace(feature, scores=similarity, strongest=dict.fromkeys(similarity, report.features.strongest))
    }
