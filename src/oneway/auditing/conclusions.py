"""What follows from an audit's figures: leakage, the numbers that stand first, what was not tested."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from oneway.attacks.panel import attackers
from oneway.auditing.attributes import LEFT_OUT
from oneway.auditing.config import AuditConfig
from oneway.auditing.control import Control
from oneway.auditing.labels import attacker_of
from oneway.auditing.shares import (
    Counting,
    PerPicture,
    excess_by_score,
    features_excess,
    features_leakage,
    pictures_excess,
    pictures_leakage,
    seeing,
    share_of,
)
from oneway.auditing.verdict import TITLES
from oneway.judges.judge import FALSE_ACCEPT_RATE, Judge
from oneway.metrics.estimate import Estimate
from oneway.report import convergence
from oneway.report.reports import AuditReport
from oneway.report.values import AttackResult, Attacks, Decisions, Number, OrRefused, Refused, refusals, scores_of

STANDS_FIRST = {
    "picture_similarity": (
        "inversion",
        "mean_picture",
        "picture_similarity",
        "Similarity of the best reconstruction",
    ),
    "ssim": ("inversion", "mean_picture", None, "Structural similarity of the best reconstruction"),
    "feature_similarity": ("feature", "mean_feature", "feature_similarity", "Similarity to the verifier's features"),
    "tar_at_far_1e-3": ("linkage", "chance", "linkage", "Stolen features linked to a photograph of the person"),
    "rank_1": ("linkage", "chance", None, "Person found first by stolen features"),
    "bits": ("information", None, None, "Information about the picture, at least"),
    "most_bits": ("capacity", None, None, "Information about the picture in one answer, at most, whoever attacks"),
}
"""The figures that can stand first: their attack, their floor, the leakage that is of them, their title."""

ExcessBy = Callable[[Judge, PerPicture, PerPicture | None, PerPicture], OrRefused[Estimate]]


def leakage_of(
    scores: Mapping[str, NDArray[np.float64]],
    control: Mapping[str, NDArray[np.float64]] | None,
    counts: Counting,
) -> dict[str, OrRefused[Estimate]]:
    """Give the three leakages of docs/audit.md, or why there is none.

    Args:
        scores: of every test picture, as in `scores.npz`.
        control: the same of the unprotected encoder.
        counts: the judges by whom faces and features count. Linkage needs none: the encoder's own features are
            compared with each other.

    """
    pairs, people = scores.get("linkage pairs"), counts.pictures.test.identities
    by_chance = None if pairs is None else pairs * FALSE_ACCEPT_RATE
    few = ", for which its validation people may be too few"
    return {
        "picture_similarity": pictures_leakage(counts.pictures, scores, control),
        "feature_similarity": features_leakage(counts.features, scores, control),
        "linkage": share_of("linkage accepted", scores, control, by_chance, people, few, cases=pairs),
    }


def excess_of(
    scores: PerPicture, control: PerPicture | None, decided: PerPicture, judges: Sequence[Judge]
) -> dict[str, OrRefused[Estimate]]:
    """Give what each leakage is above that of the task's decisions alone, or why it cannot be said.

    Of faces and of features it is by the judge by which it is most, who need not be the one by whom the leakage is:
    where a judge takes more from the features it mostly takes more from the decisions, too.

    Args:
        scores: of every test picture, as in `scores.npz`.
        control: the same of the unprotected encoder.
        decided: the same of who has the decisions alone, as far as there are any.
        judges: all of them.

    """

    def worst(excess_by: ExcessBy) -> OrRefused[Estimate]:
        shares = [excess_by(judge, scores, control, decided) for judge in seeing(judges)]
        known = [share for share in shares if isinstance(share, Estimate)]
        return max(known, key=lambda share: share.high) if known else shares[0]

    pairs = scores.get("linkage pairs")
    return {
        "picture_similarity": worst(pictures_excess),
        "feature_similarity": worst(features_excess),
        "linkage": excess_by_score("linkage accepted", scores, control, decided, judges[0], cases=pairs),
    }


def concluded(report: AuditReport) -> AuditReport:
    """Add to the verdict of a report the numbers that stand first, and the reasons that follow from its attacks."""
    first = next(iter(report.judges), None)
    panel = None if first is None or first.pictures is None else first.pictures.picture_similarity
    reasons = [
        *report.verdict.reasons,
        *_further(report.attacks, panel),
        *_decided(report),
        *convergence.further(report.unconverged),
    ]
    return replace(report, verdict=replace(report.verdict, reasons=reasons, numbers=numbers(report)))


def numbers(report: AuditReport) -> list[Number]:
    """Pick the numbers that stand first: the three that leakage is of, as far as they were measured, and the task's."""
    judged = "picture_similarity" in report.floors["mean_picture"]
    linked = scores_of(report.attacks["linkage"]).get("tar_at_far_1e-3") is not None
    wanted = [
        "picture_similarity" if judged else "ssim",
        "feature_similarity",
        "tar_at_far_1e-3" if linked else "rank_1",
    ]
    found = [number for name in wanted if (number := _number(report, name)) is not None]
    if report.utility is not None:
        against = None if report.control is None else report.control.utility
        found.append(
            Number(
                title=f"Utility: {report.utility.title} of the task",
                metric="utility",
                value=report.utility.value,
                floor=0.0,
                control=None if against is None else against.value,
                leakage=None,
                decides=False,
            )
        )
    elif len(found) < len(report.leakage) and (bits := _number(report, "bits")) is not None:
        found.append(bits)
    if (most := _number(report, "most_bits")) is not None:
        found.append(most)
    return found


def _number(report: AuditReport, metric: str) -> Number | None:
    attack, floor, share, title = STANDS_FIRST[metric]
    value = scores_of(report.attacks.get(attack)).get(metric)
    if value is None:
        return None
    beside = {} if report.control is None else scores_of(report.control.attacks.get(attack))
    return Number(
        title=title,
        metric=metric,
        value=value,
        floor=0.0 if floor is None else report.floors[floor].get(metric),
        control=beside.get(metric),
        leakage=None if share is None else report.leakage[share],
        decides=share is not None and share == report.verdict.decides,
    )


def _further(attacks: Attacks, panel: Estimate | None) -> list[str]:
    """Say where an attacker who has more than one black-box answer gets more than the panel, on which leakage rests.

    Args:
        attacks: all of them.
        panel: what the panel gets, as the first judge sees it, by whom the others are measured.

    """
    averaging = attacks["averaging"]
    draws = "several" if isinstance(averaging, Refused) else averaging.facts.get("draws")
    who = {"optimisation": "who has the encoder's weights", "averaging": f"who gets {draws} answers for one picture"}
    reasons = []
    for name, attacker in who.items():
        more = scores_of(attacks[name]).get("picture_similarity")
        if panel is not None and more is not None and more.low > panel.high:
            reasons.append(
                f"{attacker} gets more: similarity {more} instead of {panel.value:.3f}; the leakage above does "
                "not count that"
            )
    return reasons


def _decided(report: AuditReport) -> list[str]:
    """Say what the task's decisions alone give away, which is the least for any encoder that they can be read from."""
    shares = report.decisions.leakage if isinstance(report.decisions, Decisions) else {}
    known = [
        f"{TITLES[name]} {share.in_percent()}"
        for name, share in shares.items()
        if isinstance(share, Estimate) and share.low > 0
    ]
    if not known:
        return []
    whose = "this encoder" if report.control is None else "the unprotected encoder"
    return [
        f"of what {whose} gives away, the task's decisions alone give away at least: {', '.join(known)}; "
        "no encoder that they can be read from gives away less"
    ]


def untested(
    attacks: Attacks, config: AuditConfig, control: Control | None, judge: Judge, lacking: str | None
) -> list[str]:
    """Say what this audit does not show; `lacking` is why no attacker trains with the judge that was to."""
    missing = [f"{name}: {reason}" for name, reason in refusals(attacks) if name not in ("bound", "capacity")]
    told = attacks["inference"]
    if isinstance(told, AttackResult) and LEFT_OUT in told.facts:
        missing.append(f"inference of {told.facts[LEFT_OUT]}")
    inversion = attacks["inversion"]
    trained = {} if isinstance(inversion, Refused) else inversion.ways
    made = {attacker_of(label) for label in trained}
    missing += [
        f"the inversion attacker {name!r}"
        for name, attacker in attackers().items()
        if name not in made and not attacker.generates  # which is said below
    ]
    if not isinstance(attacks["optimisation"], Refused):
        missing.append(
            f"a longer white-box search than {config.optimisation.steps} steps: it has no test of convergence"
        )
    if config.seeds == 1:
        missing.append(
            "other initial weights of the strongest attacker, which was trained once, so that no interval holds what "
            "another training of it would have got: --set seeds=3"
        )
    if config.renewed is None and config.alone is None:
        missing.append("features of the same pictures by a renewed encoder, beside these: --set renewed=OTHER_RUN")
    if lacking is not None:
        missing.append(f"attackers who train with every judge but one: {lacking}")
    if judge.verifier is None:
        missing.append("what a judge sees in reconstructions: there is no verifier")
    if control is None:
        missing.append("a control: the same attacks on an unprotected encoder")
    drew = any(attackers()[name].generates for name in made)
    prior = "other generative priors" if drew else "generative priors (a GAN or diffusion model, --set generator=FILE)"
    return [
        *missing,
        f"{prior} that fill in what the features lack",
        "attackers with more, or other, public pictures than the pack's",
        "an attacker who changes the encoder, or its training data",
    ]
