"""The shares of a control: what leaks by each judge, and which of the judges counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oneway.judges.judge import Judge
from oneway.metrics.estimate import Estimate, spanning
from oneway.metrics.leakage import NoLeakError, excess, leakage
from oneway.report.values import OrRefused, Refused

PerPicture = Mapping[str, NDArray[np.float64]]
Leaks = Callable[[Judge, PerPicture, PerPicture | None], OrRefused[Estimate]]
UNDECIDED = "what the task's decisions alone give away was not measured"
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

    def worst(leakage_of: Leaks) -> Judge:
        def high(judge: Judge) -> tuple[float, bool]:
            share = leakage_of(judge, scores, control)
            return share.high if isinstance(share, Estimate) else -np.inf, not judge.trained_with

        return max(seeing(judges), key=high)

    return Counting(pictures=worst(pictures_leakage), features=worst(features_leakage))


def seeing(judges: Sequence[Judge]) -> list[Judge]:
    """Keep the judges that can tell who is shown, or all where none can."""
    return [judge for judge in judges if judge.blind is None] or list(judges)


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


def pictures_excess(
    judge: Judge, scores: PerPicture, control: PerPicture | None, decided: PerPicture
) -> OrRefused[Estimate]:
    """Give what the leakage of faces that counts is above that of the task's decisions alone, as a judge sees them."""
    return excess_by_score(f"inversion {judge.counted}", scores, control, decided, judge)


def features_excess(
    judge: Judge, scores: PerPicture, control: PerPicture | None, decided: PerPicture
) -> OrRefused[Estimate]:
    """Give what the leakage of a judge's features is above that of the task's decisions alone."""
    return excess_by_score(judge.key("feature_similarity"), scores, control, decided, judge)


def excess_by_score(
    score: str,
    scores: PerPicture,
    control: PerPicture | None,
    decided: PerPicture,
    judge: Judge,
    cases: NDArray[np.float64] | None = None,
) -> OrRefused[Estimate]:
    """Give the excess of one score that a judge gives, or why there is none; see `share_of`."""
    unknown = None if control is None or score in decided else Refused(refused=UNDECIDED)
    people, floor = judge.test.identities, decided.get(score)
    blind = sees_nobody(judge, control) if cases is None else None  # of cases none is a judge's
    return blind or unknown or share_of(score, scores, control, floor, people, share=excess, cases=cases)


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
