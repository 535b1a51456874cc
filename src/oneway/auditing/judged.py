"""What each judge of faces sees in the reconstructions, what is predicted of its features, and which of them counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from oneway.auditing.inference import GAINED
from oneway.auditing.labels import panel_of, strongest, unseen
from oneway.auditing.reconstruction import JUDGED
from oneway.auditing.steps import StepResult
from oneway.judges.judge import FALSE_ACCEPT_RATE, Judge
from oneway.metrics.estimate import Estimate, mean, spanning
from oneway.metrics.leakage import NoLeakError, leakage
from oneway.metrics.pairs import people_needed
from oneway.report.judging import JudgedPictures, JudgeReport, PredictedFeatures, Recognised
from oneway.report.values import AttackResult, Attacks, OrRefused, Refused, Scores

RATES = (1e-2, 1e-3, 1e-4)
"""False accept rates at which faces count as recognised."""
PerPicture = Mapping[str, NDArray[np.float64]]
Leaks = Callable[[Judge, PerPicture, PerPicture | None], OrRefused[Estimate]]
AGAIN = " again "
"""Before the number of a further training of the strongest attacker, in the name of its scores."""


@dataclass(frozen=True, kw_only=True)
class Counting:
    """The judges that count: the worst of faces in reconstructions, and of its own features."""

    pictures: Judge
    features: Judge


def counting(judges: Sequence[Judge], scores: PerPicture, control: PerPicture | None) -> Counting:
    """Choose the judges that count: those by which most leaks, faces to attackers who did not train with the judge.

    Where there is one only it counts, and if attackers trained with it its figures of faces are upper bounds. A judge
    that cannot tell who is shown counts where there is no other.

    Args:
        judges: all of them.
        scores: of every test picture, as in `scores.npz`.
        control: the same of the unprotected encoder.

    """
    seeing = [judge for judge in judges if judge.blind is None] or list(judges)

    def worst(leakage_of: Leaks) -> Judge:
        def high(judge: Judge) -> tuple[float, bool]:
            share = leakage_of(judge, scores, control)
            return share.high if isinstance(share, Estimate) else -np.inf, not judge.trained_with

        return max(seeing, key=high)

    return Counting(pictures=worst(pictures_leakage), features=worst(features_leakage))


def pictures_leakage(
    judge: Judge, scores: PerPicture, control: PerPicture | None, similarity: str | None = None
) -> OrRefused[Estimate]:
    """Give the leakage of faces as a judge sees them, or why there is none.

    Args:
        judge: who sees.
        scores: of every test picture, as in `scores.npz`.
        control: the same of the unprotected encoder.
        similarity: which similarities; by default those that count.

    """
    score, floor = f"inversion {similarity or judge.counted}", f"floor mean_picture {judge.key('picture_similarity')}"
    return sees_nobody(judge, control) or share_of(score, scores, control, scores.get(floor), judge.test.identities)


def features_leakage(judge: Judge, scores: PerPicture, control: PerPicture | None) -> OrRefused[Estimate]:
    """Give the leakage of a judge's features of the picture, or why there is none."""
    score = judge.key("feature_similarity")
    floor = scores.get(f"floor mean_feature {score}")
    return sees_nobody(judge, control) or share_of(score, scores, control, floor, judge.test.identities)


def sees_nobody(judge: Judge, control: PerPicture | None) -> Refused | None:
    """Say why what a judge sees is no share of a control, if it sees nobody."""
    if control is None or judge.blind is None:
        return None
    return Refused(refused=f"the verifier cannot tell {judge.told_apart}: {judge.blind}")


def share_of(
    score: str,
    scores: PerPicture,
    control: PerPicture | None,
    floor: NDArray[np.float64] | None,
    people: NDArray[np.int64],
    perhaps: str = "",
    share: Callable[..., Estimate] = leakage,
    cases: NDArray[np.float64] | None = None,
) -> OrRefused[Estimate]:
    """Give the leakage of one score, or why there is none.

    Args:
        score: its name in `scores.npz`.
        scores: of every test picture.
        control: the same of the unprotected encoder.
        floor: of who knows nothing, (n,), where the score was measured.
        people: whom the pictures show, (n,).
        perhaps: why it may not have been measured.
        share: which share of the control: `leakage`, or `excess`, whose floor is who has the task's decisions.
        cases: see `metrics.leakage.leakage`.

    """
    if control is None:
        return Refused(refused="there is no control to take a share of; give one with --control")
    if score not in scores or score not in control or floor is None:
        whose = "the control's audit" if score in scores else "this audit"
        return Refused(refused=f"{whose} did not measure it{perhaps}")
    try:
        best, *others = (
            share(ours, control[score], floor, people, cases=cases) for ours in every_training(scores, score)
        )
        return spanning(best, others)
    except NoLeakError as error:
        return Refused(refused=str(error))


def every_training(scores: PerPicture, name: str) -> list[NDArray[np.float64]]:
    """Give a score of every test picture by the strongest attacker: of its best training, then of its others."""
    return [scores[name], *(values for key, values in scores.items() if key.startswith(name + AGAIN))]


def reports(
    judges: Sequence[Judge],
    found: Mapping[str, StepResult],
    scores: PerPicture,
    control: PerPicture | None,
    counts: Counting,
) -> list[JudgeReport]:
    """Say of each judge how good it is on real pictures, what it sees, and what is predicted of its features.

    Args:
        judges: all of them; none is left out.
        found: what the steps found.
        scores: of every test picture, as in `scores.npz`.
        control: the same of the unprotected encoder.
        counts: the judges that count.

    """
    made = []
    for judge in judges:
        if judge.report is None:
            continue
        key, panel, independent = judge.key("picture_similarity"), panel_of(found), None
        seen = _pictures(judge, strongest(panel, judge), panel, scores, control, key)
        if judge.counted != key:
            independent = _pictures(
                judge, strongest(unseen(panel, judge), judge), panel, scores, control, judge.counted
            )
        made.append(
            replace(
                judge.report,
                trained_with=judge.trained_with,
                counts=judge is counts.pictures,
                pictures=seen,
                independent=independent,
                features=_features(judge, found[judge.key("feature")], scores, control, judge is counts.features),
            )
        )
    return made


def _pictures(
    judge: Judge,
    attacker: str,
    panel: Mapping[str, StepResult],
    scores: PerPicture,
    control: PerPicture | None,
    similarity: str,
) -> JudgedPictures:
    """Say what a judge sees in the reconstructions of an attacker, whose similarities have that name."""
    ours = every_training(scores, f"inversion {similarity}")
    floor = scores[f"floor mean_picture {judge.key('picture_similarity')}"]
    theirs = None if control is None else control.get(f"inversion {similarity}")
    people, first = judge.test.identities, None
    if judge.of_pictures:
        first = mean(panel[attacker].arrays[judge.key("found_first")], people, unit="share")
    return JudgedPictures(
        attacker=attacker,
        picture_similarity=_over(ours, judge, "cosine"),
        floor=mean(floor, people, unit="cosine"),
        control=None if theirs is None else mean(theirs, people, unit="cosine"),
        leakage=pictures_leakage(judge, scores, control, similarity),
        recognised=[_recognised(judge, rate, ours, floor, theirs) for rate in RATES],
        found_first=first,
    )


def _features(
    judge: Judge, step: StepResult, scores: PerPicture, control: PerPicture | None, counts: bool
) -> PredictedFeatures | None:
    """Say what is predicted of a judge's features; nothing where that was left out."""
    key = judge.key("feature_similarity")
    if step.refusal is not None:
        return None
    people = judge.test.identities
    theirs = None if control is None else control.get(key)
    return PredictedFeatures(
        counts=counts,
        strongest=step.facts.strongest or "",
        similarity=mean(scores[key], people, unit="cosine"),
        floor=mean(scores[f"floor mean_feature {key}"], people, unit="cosine"),
        control=None if theirs is None else mean(theirs, people, unit="cosine"),
        leakage=features_leakage(judge, scores, control),
        gained=mean(step.arrays[GAINED], people, unit="cosine") if GAINED in step.arrays else None,
    )


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
    faces = None if report is None else report.independent or report.pictures
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
