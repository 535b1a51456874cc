"""An attacker who is given more never gets less: where one does, that attack failed, and the encoder may leak more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from oneway.auditing.labels import panel_of, strongest, unseen
from oneway.auditing.renewal import BOTH, RENEWAL, THIS
from oneway.auditing.shares import PerPicture
from oneway.auditing.steps import StepResult
from oneway.judges.judge import Judge
from oneway.metrics.estimate import mean
from oneway.report.values import Guard

CALLED = {"linear": "a ridge regression", "kernel": "a kernel ridge regression"}
"""What sentences call the attackers that no optimiser can fail, by label."""
Scores = NDArray[np.float64]
Index = slice | NDArray[np.int64]


def check_monotonicity(found: Mapping[str, StepResult], judges: Sequence[Judge]) -> Guard:
    """Hold every attacker to one who has less, on the same test pictures.

    One has lost where the 95 % interval over people of the mean difference lies below 0.

    Args:
        found: what the steps found.
        judges: by whom faces are compared, the first one everything, the others what they alone score; without a
            verifier it is the error that is compared.

    """
    people = judges[0].test.identities
    lost: list[str] = []
    held: dict[str, None] = {}
    for judge in judges:
        if judge.blind is not None and not judge.first:
            continue
        seen = "" if judge.first else f", as {judge.name} sees it"
        for more, less, difference, index in [*_by(judge, found), *(_pairs(found, judge) if judge.first else ())]:
            apart = mean(difference, people[index], unit="cosine")
            if apart.high < 0:
                by = f"{less}{seen}, by {-apart.value:.3f}"
                lost.append(f"{more} gets less than {by}, so that attack, or the choice of it, has failed")
            else:
                held[more] = None
    if lost:
        return Guard(name="monotonicity", passed=False, message="; ".join(lost))
    message = f"who has more gets no less: {', '.join(held)}" if held else "no two attackers could be compared"
    return Guard(name="monotonicity", passed=True if held else None, message=message)


def check_control(scores: PerPicture, control: PerPicture | None, judges: Sequence[Judge]) -> list[Guard]:
    """Mark an encoder of which more was got than of its control: an attack on the control may have failed.

    Nobody protects an encoder by giving more away, so either this one is no protection, or the control's figure is too
    low, and with it what a share of the control is made of. One has lost as in `check_monotonicity`.

    Args:
        scores: of every test picture, as in `scores.npz`.
        control: the same of the unprotected encoder; nothing is checked without one.
        judges: all of them; one that cannot tell who is shown is left out.

    """
    if control is None:
        return []
    more, held = _above(_against(scores, control, judges), judges)
    if more:
        message = (
            f"more was got of this encoder than of its control: {'; '.join(more)}; so it gives away more than an "
            "unprotected one does, or an attack on the control failed and shares of it are not to be trusted: audit "
            "the control anew, in another folder"
        )
        return [Guard(name="control", passed=False, message=message)]
    message = f"no more was got than of the control: {', '.join(held)}"
    return [Guard(name="control", passed=True, message=message)] if held else []


def check_decisions(scores: PerPicture, decided: PerPicture, judges: Sequence[Judge]) -> list[Guard]:
    """Mark a panel that got less from the features than from the task's decisions, which can be read from them.

    Args:
        scores: of every test picture, as in `scores.npz`.
        decided: the same of who has the decisions alone; nothing is checked of what is not there.
        judges: as in `check_control`.

    """
    lost, held = _above(_against(decided, scores, judges), judges)
    if lost:
        message = f"the panel got less than the task's decisions alone give away: {'; '.join(lost)}; it has not got all"
        return [Guard(name="decisions", passed=False, message=message)]
    message = f"the panel got no less than the task's decisions alone give away: {', '.join(held)}"
    return [Guard(name="decisions", passed=True, message=message)] if held else []


def _above(differences: Iterable[tuple[str, Scores]], judges: Sequence[Judge]) -> tuple[list[str], list[str]]:
    """Give the titles of differences above 0 by the 95 % interval over people, with how much, and of the others."""
    people = judges[0].test.identities
    above, others = [], []
    for title, difference in differences:
        apart = mean(difference, people, unit="difference")
        if apart.low > 0:
            above.append(f"{title}, by {apart.value:.3f}")
        else:
            others.append(title)
    return above, others


def _against(
    scores: PerPicture, control: PerPicture, judges: Sequence[Judge]
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Give, by title, how much more the first got of each picture than the second, as far as both measured it."""
    names = {"SSIM": "inversion ssim"}
    for judge in judges:
        if judge.verifier is None or judge.blind is not None:
            continue
        key = judge.key("picture_similarity")
        names[f"the reconstruction, by {judge.name}"] = f"inversion {key}"
        if judge.counted != key:
            names[f"that of who did not train with {judge.name}, by it"] = f"inversion {judge.counted}"
        names[f"features of {judge.name}"] = judge.key("feature_similarity")
    for title, name in names.items():
        if name in scores and name in control:
            yield title, scores[name] - control[name]
    accepted = "linkage accepted"
    if accepted in scores and accepted in control:
        yield "linked pairs", (scores[accepted] - control[accepted]) / max(1.0, scores["linkage pairs"].mean())


def _by(judge: Judge, found: Mapping[str, StepResult]) -> Iterator[tuple[str, str, Scores, Index]]:
    """Compare, as `_pairs` does, what one judge sees of the panel, and the attack on its features."""
    name, sign = _score(judge)
    panel, everything = panel_of(found), slice(None)
    if name not in next(iter(panel.values())).arrays:
        return
    drawn, others = {"the panel": panel[strongest(panel, judge)].arrays[name]}, unseen(panel, judge)
    if others and judge.counted != judge.key("picture_similarity"):
        drawn["who did not train with the judge"] = others[strongest(others, judge)].arrays[name]
    for whose, best in drawn.items():
        for label, called in CALLED.items():
            if label in panel:
                yield whose, called, sign * (best - panel[label].arrays[name]), everything
    step = found.get(judge.key("feature"))
    predicted = None if step is None else step.arrays.get("feature_similarity")
    if predicted is not None:
        yield "the feature attack", "the verifier on what was drawn", predicted - drawn["the panel"], everything


def _score(judge: Judge) -> tuple[str, float]:
    """Name the score of pictures by which attackers are compared, and its sign: 1 where more is more."""
    return (judge.key("picture_similarity"), 1.0) if judge.verifier is not None else ("mse", -1.0)


def _pairs(found: Mapping[str, StepResult], judge: Judge) -> Iterator[tuple[str, str, Scores, Index]]:
    """Give who has more, who has less, by how much the first gets more of each picture, and which pictures."""
    name, sign = _score(judge)
    panel, everything = panel_of(found), slice(None)
    best = panel[strongest(panel, judge)].arrays[name]
    white = found["optimisation"].arrays
    if name in white:
        yield "the white box", "the black box", sign * (white[name] - best[white["index"]]), white["index"]
    renewed = {whose: found[step] for whose, step in RENEWAL.items() if step in found}
    if BOTH in renewed:
        most, least = renewed[strongest(renewed, judge)].arrays[name], renewed[THIS].arrays[name]
        yield "who has the features of both encoders", "who has one's", sign * (most - least), everything
    several = found["averaging"].arrays.get(name)
    if several is not None:
        yield "who has several answers", "who has one", sign * (several - best), everything
