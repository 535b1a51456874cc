"""What the task's decisions alone give away: no encoder from which they can be read gives away less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from oneway.attacks.access import FeatureDump
from oneway.attacks.fit import Place
from oneway.attacks.panel import SOLVED, Attacker
from oneway.auditing import inference, reconstruction
from oneway.auditing.conclusions import leakage_of
from oneway.auditing.context import AuditContext
from oneway.auditing.labels import panel_of, strongest, unseen
from oneway.auditing.reconstruction import JUDGED
from oneway.auditing.shares import Counting, counting
from oneway.auditing.stealing import Stolen
from oneway.auditing.steps import StepFacts, StepResult, refused
from oneway.judges.judge import Judge
from oneway.metrics.registry import of_reconstructions
from oneway.report.values import Decisions, OrRefused

JITTER = 0.03
"""Deviation of noise on decisions of -1 and 1: it hides none, and breaks the ties between people with equal ones, since
no threshold lets in one of a thousand pairs where one of a hundred is equal."""


def drawn_from_decisions(context: AuditContext, place: Place, attacker: Attacker, label: str) -> StepResult:
    """Let one inversion attacker of the panel draw from the task's decisions alone."""
    inner = _as_stolen(context, place)
    return inner if isinstance(inner, StepResult) else reconstruction.inversion(inner, place, attacker, label)


def attack_decisions(context: AuditContext, place: Place, further: Mapping[str, StepResult]) -> StepResult:
    """Attack the task's decisions, a bit for each attribute or class, or a number, as if these were the features.

    Args:
        context: the audit.
        place: where it computes.
        further: what attackers of the panel drew of them, by label, beside the solved ones, who draw here; the other
            attacks are those on features.

    """
    inner = _as_stolen(context, place)
    if isinstance(inner, StepResult):
        return inner
    attackers = [replace(attacker, seed=context.config.seed) for attacker in SOLVED]
    found = {
        f"inversion {attacker.name}": reconstruction.inversion(inner, place, attacker, attacker.name)
        for attacker in attackers
    } | {f"inversion {label}": step for label, step in further.items()}
    panel = panel_of(found)
    first = panel[strongest(panel, context.judge)].arrays
    drawn = {name: first[name] for name in of_reconstructions() if name in first}
    for judge in context.judges:
        best = panel[strongest(_counted(panel, judge), judge)].arrays
        drawn |= {judge.key(name): best[judge.key(name)] for name in JUDGED if judge.key(name) in best}
    if context.config.alone is not None:
        return StepResult(arrays=drawn)
    seen: dict[str, NDArray[np.generic]] = {}
    for number, judge in enumerate(context.judges):
        apart = replace(place, checkpoint=place.checkpoint.with_suffix(f".{number}{place.checkpoint.suffix}"))
        step = found[judge.key("feature")] = inference.predicted(inner, apart, judge, found, halved=False)
        if step.refusal is None:
            seen[judge.key("feature_similarity")] = step.arrays["feature_similarity"]
    linkage = inference.linked(inner, place, found)
    courses = [course for judge in context.judges if (course := found[judge.key("feature")].facts.course) is not None]
    facts = StepFacts(
        scores=linkage.facts.scores,
        course=max(courses, key=lambda one: not one.converged, default=None),  # one that its budget ended, if any was
        validation=_validated(context.judges, panel, found) | linkage.facts.validation,
    )
    return StepResult(facts=facts, arrays={**drawn, **seen, **linkage.arrays})


def _counted(panel: Mapping[str, StepResult], judge: Judge) -> Mapping[str, StepResult]:
    """Keep the attackers whose drawings count as a judge sees them: who did not train with it, if there is another."""
    return panel if judge.alone else unseen(panel, judge)


def _as_stolen(context: AuditContext, place: Place) -> AuditContext | StepResult:
    """Let the task's decisions be what was stolen, or say why there are none."""
    decisions = context.victim.decisions
    if decisions is None:
        return refused("what the encoder's task decides is not known")
    public = decisions["public"]
    vary = (public != public[:1]).any(axis=0)
    if not vary.any():
        return refused("the task decides alike for every public picture")
    drawn_from = np.random.default_rng(context.config.seed)
    bits = np.isin(public[:, vary], (0, 1)).all(axis=0)
    features: dict[str, NDArray[np.generic]] = {}
    for split, told in decisions.items():
        signs = np.where(bits, 2.0 * told[:, vary] - 1, told[:, vary])
        ties = np.where(bits, JITTER, 0.0)  # numbers have none
        features[split] = (signs + ties * drawn_from.standard_normal(signs.shape)).astype(np.float32)
    dump = FeatureDump(features, place.fabric.device)
    stolen = Stolen(access=dump, fitted_on=dump, noisy=False, white=None, averaged=None)
    return replace(context, stolen=stolen)


def _validated(
    judges: Sequence[Judge], panel: Mapping[str, StepResult], found: Mapping[str, StepResult]
) -> dict[str, float]:
    """Give what the decisions give away on validation people, by every judge."""
    scores: dict[str, float] = {}
    for judge in judges:
        key, features = judge.key("picture_similarity"), found[judge.key("feature")].facts
        if judge.verifier is not None:
            scores[key] = panel[strongest(_counted(panel, judge), judge)].facts.validation[key]
            scores[judge.key("feature_similarity")] = features.ways[features.strongest or ""].validation[
                "feature_similarity"
            ]
    return scores


def as_scores(step: StepResult, judges: Sequence[Judge]) -> dict[str, NDArray[np.float64]]:
    """Name what the decisions give away of every test picture as the same of the encoder is named in `scores.npz`."""
    names = {"accepted": "linkage accepted", "pairs": "linkage pairs"}
    for judge in judges:
        features = judge.key("feature_similarity")
        names |= {judge.key("picture_similarity"): f"inversion {judge.counted}", features: features}
    return {name: step.arrays[key] for key, name in names.items() if key in step.arrays}


def summarise(
    step: StepResult,
    scores: Mapping[str, NDArray[np.float64]],
    control: Mapping[str, NDArray[np.float64]] | None,
    judges: Sequence[Judge],
    counts: Counting,
) -> OrRefused[Decisions]:
    """Give the scores of the decisions, and their leakages.

    Args:
        step: what `attack_decisions` found.
        scores: of every test picture, of the encoder and the floors, as in `scores.npz`.
        control: those of the control; where there is none, what the decisions give away is a share of what the encoder
            does, by the judges by whom it is most.
        judges: all of them.
        counts: the judges by whom faces and features count, where there is a control.

    """
    if step.refusal is not None:
        return step.refusal
    arrays, decided = step.arrays, as_scores(step, judges)
    decided |= {name: values for name, values in scores.items() if name.startswith("floor ")}
    against = scores if control is None else control
    counts = counting(judges, decided, against) if control is None else counts
    features = counts.features.key("feature_similarity")
    seen = {name: counts.pictures.key(name) for name in JUDGED} | {"feature_similarity": features}
    judged = {name: arrays[key] for name, key in seen.items() if key in arrays}
    return Decisions(
        scores={**judges[0].estimates({**arrays, **judged}), **step.facts.scores},
        leakage=leakage_of(decided, against, counts),
        course=step.facts.course,
        seconds=step.facts.seconds,
    )
