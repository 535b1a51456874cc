"""Every figure of a finished audit, with the scores of every picture that it is made of, where they are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oneway.auditing.control import SCORES, check_scores, read_scores
from oneway.auditing.reconstruction import JUDGED
from oneway.auditing.renamed import Names, names_here, report_here, score_here
from oneway.auditing.shares import every_training
from oneway.errors import InputError
from oneway.judges.judge import BY, FALSE_ACCEPT_RATE, INDEPENDENT
from oneway.metrics.difference import Ratio
from oneway.metrics.estimate import Estimate
from oneway.metrics.registry import metrics, of_reconstructions
from oneway.report.judging import JudgedPictures
from oneway.report.limits import LEAKAGES, SHARES
from oneway.report.reports import AuditReport, read_report
from oneway.report.values import INFERRED, Refused, Scores, scores_of

COMMAND = "oneway audit ENCODER --out NEW"
MORE = {"optimisation": "a white box", "averaging": "who averages several answers"}
"""The attacks with more than one black-box answer that draw pictures, and who makes them."""
MadeOf = Callable[[], list[Ratio]]
"""Gives a figure of each training of an attacker, the best first."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of one audit.

    Attributes:
        metric: its name in limits, such as `picture_similarity`, `leakage.linkage`; `utility` is the task's.
        title: for people.
        value: none where too little was measured.
        made_of: of which scores of every picture; none where they are not kept.

    """

    metric: str
    title: str
    value: Estimate | None
    made_of: MadeOf | None = None


class Finished:
    """A finished audit, with its scores of every test picture in the order that all audits of its pack share.

    Args:
        path: its folder.
        names: of its judges, where they are to be called otherwise.

    Raises:
        InputError: if it holds no finished audit, or its scores are missing or damaged: when they are asked for.

    """

    def __init__(self, path: Path, names: Names | None = None) -> None:
        self.path, self._names = path, names or {}
        self.report = report_here(read_report(path, AuditReport, COMMAND), self._names)

    def beside(self, other: Finished) -> Finished:
        """Give the same, with its judges called as in another audit by the same ones."""
        return Finished(self.path, names_here(self.report.provenance.judges, other.report.provenance.judges))

    @cached_property
    def scores(self) -> dict[str, NDArray[np.float64]]:
        """Scores by name, (n,) each."""
        return {score_here(name, self._names): values for name, values in self._stored.items() if name != "people"}

    @cached_property
    def people(self) -> NDArray[np.int64]:
        """Whom the pictures show, (n,)."""
        return self._stored["people"].astype(np.int64)

    @cached_property
    def _stored(self) -> dict[str, NDArray[Any]]:
        path = self.path / SCORES
        stored = read_scores(path)
        people = stored.get("people", np.empty(0))
        if people.dtype.kind not in "iu" or people.ndim != 1 or not len(people):
            raise InputError(f"{path} does not say whom its pictures show; make the audit again")
        check_scores(path, stored, len(people), "the audit")
        return stored

    def means(self, key: str, above: float | None = None) -> MadeOf | None:
        """Give the mean of a score over the pictures, or the share of them above a threshold, if the score is kept."""
        if key not in self.scores:
            return None
        every = every_training(self.scores, key)
        return lambda: [
            Ratio.mean(values if above is None else (values > above).astype(np.float64)) for values in every
        ]

    def linked(self) -> MadeOf | None:
        """Give the share of pairs of one person that are accepted."""
        if "linkage accepted" not in self.scores:
            return None
        return lambda: [Ratio(parts=self.scores["linkage accepted"], wholes=self.scores["linkage pairs"])]


def figures_of(audit: Finished, *, averaged: bool) -> dict[str, Figure]:
    """Give every figure of an audit by a name that no other has; what was not measured is left out.

    Args:
        audit: of an encoder.
        averaged: whether another encoder is attacked by averages of its answers. Of an encoder without noise they are
            all alike, so the panel's figure is that of averages too: else noise would look safer than it is.

    """
    report = audit.report
    figures: dict[str, Figure] = {}
    if report.utility is not None:
        title = f"utility: {report.utility.title}"
        figures["utility"] = Figure(metric="utility", title=title, value=report.utility.value)
    figures |= dict(_judged(audit))
    inversion = scores_of(report.attacks.get("inversion"))
    for name in of_reconstructions():
        if name in inversion and name not in JUDGED and not name.endswith("_affine"):
            made_of = audit.means(f"inversion {name}")
            figures[name] = Figure(metric=name, title=metrics()[name].title, value=inversion[name], made_of=made_of)
    for name, metric in metrics().items():
        if metric.attack not in ("inversion", "feature") and name != "rank_5":
            value = scores_of(report.attacks.get(metric.attack)).get(name)
            made_of = audit.linked() if name == "tar_at_far_1e-3" else None
            figures[name] = Figure(metric=name, title=metric.title, value=value, made_of=made_of)
    for name, value in scores_of(report.attacks.get("inference")).items():
        if name.startswith(INFERRED):
            figures[name] = Figure(metric=name, title=f"inferred: {name.removeprefix(INFERRED)}", value=value)
    for attack, who in MORE.items():
        scores = scores_of(report.attacks.get(attack))
        if attack == "averaging" and averaged and not report.victim.noisy:
            scores = _panel(report)
        name = "picture_similarity" if "picture_similarity" in scores else "ssim"
        title = f"{report.words.title(metrics()[name].title)}, to {who}"
        figures[f"{name} {attack}"] = Figure(metric=name, title=title, value=scores.get(name))
    for share in SHARES:
        for name, found in (report.leakage if share == "leakage" else report.excess).items():
            value = None if isinstance(found, Refused) else found
            title = f"{share} of {dict(zip(LEAKAGES, (report.words.faces, 'features', 'linkage'), strict=True))[name]}"
            figures[f"{share}.{name}"] = Figure(metric=f"{share}.{name}", title=title, value=value)
    return {name: figure for name, figure in figures.items() if figure.value is not None}


def _panel(report: AuditReport) -> Scores:
    """Give what the panel gets, faces as the first judge sees them, as it sees those of averages."""
    first = next(iter(report.judges), None)
    seen: Scores = (
        {} if first is None or first.pictures is None else {"picture_similarity": first.pictures.picture_similarity}
    )
    return scores_of(report.attacks.get("inversion")) | seen


def _judged(audit: Finished) -> Iterator[tuple[str, Figure]]:
    """Give what each judge sees: in reconstructions, by who trained with it and by who did not, and its features."""
    report = audit.report
    for place, judge in enumerate(report.judges):
        of = "" if place == 0 else f"{BY}{judge.name}"
        by = f", {judge.name}" if len(report.judges) > 1 else ""
        seen: list[tuple[str, str, JudgedPictures | None]] = [
            (INDEPENDENT, "", judge.independent),
            ("", ", upper bound" if judge.independent is not None else "", judge.pictures),
        ]
        for whose, bound, pictures in seen:
            if pictures is None:
                continue
            key = f"inversion picture_similarity{of}{whose}"
            at = next((each for each in pictures.recognised if each.false_accept_rate == FALSE_ACCEPT_RATE), None)
            threshold = None if at is None else at.threshold
            rows = {
                "picture_similarity": (pictures.picture_similarity, audit.means(key)),
                "recognised": (None if at is None else at.share, audit.means(key, threshold)),
                "found_first": (pictures.found_first, None if whose else audit.means(f"inversion found_first{of}")),
            }
            for name, (value, made_of) in rows.items():
                title = f"{report.words.title(metrics()[name].title)}{by}{bound}"
                yield f"{name}{of}{whose}", Figure(metric=name, title=title, value=value, made_of=made_of)
        if judge.features is not None:
            name, value = "feature_similarity", judge.features.similarity
            made_of = audit.means(f"feature_similarity{of}")
            yield (
                f"{name}{of}",
                Figure(metric=name, title=f"{metrics()[name].title}{by}", value=value, made_of=made_of),
            )
