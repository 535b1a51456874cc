"""What each judge of faces sees in the reconstructions, and which of them counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from oneway.attacks.panel import attackers
from oneway.auditing.reconstruction import FACES, attacker_of, panel_of, strongest
from oneway.auditing.steps import StepResult
from oneway.judges.judge import FALSE_ACCEPT_RATE, Judge
from oneway.metrics.estimate import Estimate, mean, spanning
from oneway.metrics.leakage import NoLeakError, leakage
from oneway.report.judging import JudgedFaces, JudgeReport, Recognised
from oneway.report.values import Attacks, OrRefused, Refused, Scores

RATES = (1e-2, 1e-3, 1e-4)
"""False accept rates at which faces count as recognised."""
PerPicture = Mapping[str, NDArray[np.float64]]
AGAIN = " again "
"""Before the number of a further training of the strongest attacker, in the name of its scores."""


def counting(judges: Sequence[Judge], scores: PerPicture, control: PerPicture | None) -> Judge:
    """Choose the judge that counts: the one by which most leaks to attackers who did not train with it.

    Where there is one only it counts, and if attackers trained with it its figures are upper bounds. A judge that
    cannot tell who is shown counts where there is no other.

    Args:
        judges: all of them.
        scores: of every test picture, as in `scores.npz`.
        control: the same of the unprotected encoder.

    """
    seeing = [judge for judge in judges if judge.blind is None] or list(judges)

    def high(judge: Judge) -> tuple[float, bool]:
        share = leakage_by(judge, scores, control, judge.counted)
        return share.high if isinstance(share, Estimate) else -np.inf, not judge.trained_with

    return max(seeing, key=high)


def leakage_by(judge: Judge, scores: PerPicture, control: PerPicture | None, similarity: str) -> OrRefused[Estimate]:
    """Give the leakage of faces as a judge sees them, or why there is none; `similarity` names whose are counted."""
    score, floor = f"inversion {similarity}", f"floor mean_face {judge.key('face_similarity')}"
    if control is None:
        return Refused(refused="there is no control to take a share of; give one with --control")
    if judge.blind is not None:
        return Refused(refused=f"the verifier cannot tell who is shown: {judge.blind}")
    if score not in scores or score not in control:
        return Refused(refused=f"{'this audit' if score not in scores else 'the control'} did not measure it")
    try:
        people, trainings = judge.test.identities, every_training(scores, score)
        best, *others = (leakage(ours, control[score], scores[floor], people) for ours in trainings)
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
    counts: Judge,
) -> list[JudgeReport]:
    """Say of each judge how good it is on real pictures, and what it sees in the reconstructions.

    Args:
        judges: all of them; none is left out.
        found: what the steps found.
        scores: of every test picture, as in `scores.npz`.
        control: the same of the unprotected encoder.
        counts: the judge that counts.

    """
    made = []
    for judge in judges:
        if judge.report is None:
            continue
        key, panel, independent = judge.key("face_similarity"), panel_of(found), None
        faces = _faces(judge, strongest(panel, judge), scores, control, key)
        if judge.counted != key:
            independent = _faces(judge, strongest(without_surrogate(panel), judge), scores, control, judge.counted)
        made.append(
            replace(
                judge.report,
                trained_with=judge.trained_with,
                counts=judge is counts,
                faces=faces,
                independent=independent,
            )
        )
    return made


def without_surrogate(panel: Mapping[str, StepResult]) -> dict[str, StepResult]:
    """Keep the inversion attackers who train with no judge; the linear one is always among them."""
    return {label: step for label, step in panel.items() if not attackers()[attacker_of(label)].surrogate}


def _faces(judge: Judge, attacker: str, scores: PerPicture, control: PerPicture | None, similarity: str) -> JudgedFaces:
    """Say what a judge sees in the reconstructions of an attacker, whose similarities have that name."""
    ours = every_training(scores, f"inversion {similarity}")
    floor = scores[f"floor mean_face {judge.key('face_similarity')}"]
    theirs = None if control is None else control.get(f"inversion {similarity}")
    people = judge.test.identities
    return JudgedFaces(
        attacker=attacker,
        face_similarity=_over(ours, judge, "cosine"),
        floor=mean(floor, people, unit="cosine"),
        control=None if theirs is None else mean(theirs, people, unit="cosine"),
        leakage=leakage_by(judge, scores, control, similarity),
        recognised=[_recognised(judge, rate, ours, floor, theirs) for rate in RATES],
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
        true_accept_rate=judge.true_accept_rate(at),
        share=share(ours),
        floor=share([floor]),
        control=None if control is None else share([control]),
    )


def by_judge(step: StepResult, judges: Sequence[Judge]) -> dict[str, Scores]:
    """Reduce what each judge saw in one attacker's reconstructions over the test people."""
    seen: dict[str, Scores] = {}
    for judge in judges:
        keyed = {name: judge.key(name) for name in FACES if judge.key(name) in step.arrays}
        if keyed:
            arrays = {name: step.arrays[key] for name, key in keyed.items()}
            seen[_name(judge)] = dict(judge.estimates(arrays, step.arrays.get("index")))
    return seen


def as_judged(attacks: Attacks, reports: Sequence[JudgeReport], judge: Judge) -> Attacks:
    """Give attacks with the figures of faces in reconstructions, of every attacker, as one of their judges saw them."""
    inversion, judge_name = attacks["inversion"], _name(judge)
    faces = next((each.independent or each.faces for each in reports if each.name == judge_name), None)
    if isinstance(inversion, Refused) or faces is None:
        return attacks
    recognised = next(each.share for each in faces.recognised if each.false_accept_rate == FALSE_ACCEPT_RATE)
    seen: Scores = {"face_similarity": faces.face_similarity}
    if recognised is not None:
        seen["recognised"] = recognised
    return attacks | {
        "inversion": replace(
            inversion,
            scores=inversion.scores | seen,
            ways={
                name: replace(way, scores=way.scores | way.judged[judge_name]) for name, way in inversion.ways.items()
            },
            strongest=inversion.strongest | dict.fromkeys(seen, faces.attacker),
            validation=inversion.ways[faces.attacker].validation[judge.key("face_similarity")],
        )
    }


def _name(judge: Judge) -> str:
    return "" if judge.verifier is None else judge.verifier.name
