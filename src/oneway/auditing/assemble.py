"""From what the steps found to the report, the scores of every picture, and the pictures of the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from oneway.auditing import conclusions, guards, judged
from oneway.auditing.attack_results import attacks_of, estimates_of, feature_of, inferred
from oneway.auditing.attributes import DECIDED
from oneway.auditing.config import AuditConfig
from oneway.auditing.context import AuditContext
from oneway.auditing.control import Control
from oneway.auditing.decisions import as_scores, summarise
from oneway.auditing.labels import panel_of, strongest, trainings, unseen
from oneway.auditing.measures import ALONE, few_queries
from oneway.auditing.monotonicity import check_control, check_decisions, check_monotonicity
from oneway.auditing.profile import profile
from oneway.auditing.reconstruction import JUDGED, shown
from oneway.auditing.shares import AGAIN, Counting, counting
from oneway.auditing.steps import StepResult
from oneway.auditing.verdict import verdict
from oneway.auditing.victim import Victim
from oneway.data.packed import Pack
from oneway.judges.judge import FALSE_ACCEPT_RATE, Judge
from oneway.metrics.estimate import mean
from oneway.metrics.linkage import chance
from oneway.metrics.registry import metrics
from oneway.metrics.unlinkability import MEASURES
from oneway.report import convergence
from oneway.report.asked import Asked, Provenance
from oneway.report.judging import JudgeReport
from oneway.report.page import Pictures
from oneway.report.reports import AuditReport, Subject
from oneway.report.values import (
    Attacks,
    Decisions,
    Floors,
    Guard,
    OrRefused,
    Point,
    Queries,
    Refused,
    Scores,
    ValidationScore,
    scores_of,
)
from oneway.storage import runs


def assemble(
    found: Mapping[str, StepResult],
    context: AuditContext,
    passed: list[Guard],
    doubts: list[str],
    control: Control | None,
    asked: Asked,
) -> AuditReport:
    """Put together the report; `passed` are the guards of before, `doubts` are why no verdict is `low`."""
    late, victim, judges, config = unconverged(found), context.victim, context.judges, context.config
    attacks = attacks_of(found, victim.pack, judges)
    scores, theirs = per_picture(found, attacks, judges), None if control is None else control.scores
    counts = counting(judges, scores, theirs)
    decided = as_scores(found["decisions"], judges)
    seen = judged.reports(judges, found, scores, theirs, decided, counts)
    attacks["feature"] = feature_of(found[counts.features.key("feature")], counts.features)
    attacks = judged.as_judged(attacks, seen, counts)
    leakage = conclusions.leakage_of(scores, theirs, counts)
    decisions = summarise(found["decisions"], scores, theirs, judges, counts)
    if isinstance(decisions, Decisions):
        decisions = replace(decisions, scores=decisions.scores | _told(found["inference"], victim.pack))
    test = victim.pack.test
    of_pictures = judges[0].of_pictures or (judges[0].verifier is None and test.num_unknown == len(test))
    held = check_control(scores, theirs, judges)
    beside = [check_monotonicity(found, judges), *check_decisions(scores, decided, judges), *held]
    floors = _floors(found, victim.pack, counts)
    linked = scores_of(attacks["linkage"]).get("tar_at_far_1e-3")
    judging = guards.check_judges(seen)
    more = [guard.message for guard in (*judging, *beside) if guard.passed is False] + convergence.doubts(late)
    report = AuditReport(
        victim=Subject(
            name=victim.name,
            kind=victim.kind,
            threat_models=_threat_models(victim),
            noisy=context.stolen.noisy,
            features=list(context.stolen.access.shape),
            picture_size=victim.pack.size,
            task=None if victim.task is None else list(victim.task),
            of_pictures=of_pictures,
        ),
        utility=victim.utility,
        attacks=attacks,
        queries=_queries(found, judges[0], config),
        floors=floors,
        validation=_validation(found, attacks, seen, counts),
        control=None if control is None else control.beside(counts),
        judges=seen,
        iso24745=None if of_pictures else profile(found, context, seen, attacks, floors["chance"], control),
        unconverged=late,
        guards=passed + judging + guards.check_convergence(late) + beside,
        untested=conclusions.untested(attacks, config, control, judges[0], context.surrogates.lacking),
        seconds={name: step.facts.seconds for name, step in found.items() if step.facts.seconds is not None},
        leakage=leakage,
        excess=conclusions.excess_of(scores, theirs, decided, judges),
        decisions=decisions,
        verdict=verdict(
            leakage,
            linked,
            doubts=doubts + more,
            judged=[each.leakages for each in seen if each.blind is None],
        ),
        provenance=Provenance(**runs.provenance(), **vars(asked)),
    )
    return conclusions.concluded(report)


def _told(inference: StepResult, pack: Pack) -> Scores:
    """Give how well attributes that are not the task are told by its decisions alone."""
    counts, ways = inference.arrays.get("confusion decisions"), inference.facts.ways
    scores = {} if counts is None else inferred(counts, inference.facts.attributes, pack)
    return scores | (ways[DECIDED].scores if DECIDED in ways else {})


def unconverged(found: Mapping[str, StepResult]) -> list[str]:
    """Name the steps of an audit whose attacker was trained, and ended by its budget instead of by convergence."""
    return [name for name, step in found.items() if step.facts.course is not None and not step.facts.course.converged]


def per_picture(
    found: Mapping[str, StepResult], attacks: Attacks, judges: Sequence[Judge]
) -> dict[str, NDArray[np.float64]]:
    """Give the scores of every test picture by the strongest attackers and the floors, (n,) each, by name."""
    scores: dict[str, NDArray[np.float64]] = {}
    for name, attacker in _strongest(attacks).items():
        scores |= _by_every_training(found, attacker, name, name)
    panel = panel_of(found)
    for judge in judges:  # each has a strongest attacker of its own
        attacker = strongest(panel, judge)
        for key in map(judge.key, JUDGED):
            if key in panel[attacker].arrays:
                scores |= _by_every_training(found, attacker, key, key)
        if judge.counted != judge.key("picture_similarity"):
            attacker = strongest(unseen(panel, judge), judge)
            scores |= _by_every_training(found, attacker, judge.key("picture_similarity"), judge.counted)
        predicted = found[judge.key("feature")].arrays
        if "feature_similarity" in predicted:
            scores[judge.key("feature_similarity")] = predicted["feature_similarity"]
    for name, values in found["floors"].arrays.items():
        scores[f"floor {name}"] = values
    for name in ("accepted", "pairs"):
        if name in found["linkage"].arrays:
            scores[f"linkage {name}"] = found["linkage"].arrays[name]
    return scores


def _by_every_training(
    found: Mapping[str, StepResult], attacker: str, key: str, name: str
) -> dict[str, NDArray[np.float64]]:
    """Give a score by an attacker, and by its other trainings, each under a name of its own."""
    panel = panel_of(found)
    scores = {f"inversion {name}": panel[attacker].arrays[key]}
    for turn, label in enumerate(trainings(panel, attacker), 2):
        scores[f"inversion {name}{AGAIN}{turn}"] = panel[label].arrays[key]
    return scores


def pictures_of(found: Mapping[str, StepResult], report: AuditReport, pack: Pack, control: Control | None) -> Pictures:
    """Collect the pictures that the page shows."""
    drawn = {name: step.arrays["pictures people"] for name, step in panel_of(found).items()}
    people = {"original": pack.test.images(shown(pack)), **drawn}
    if control is not None and control.pictures is not None:
        people["control"] = control.pictures
    best = found[f"inversion {foremost(report.attacks)}"].arrays
    similarity = best.get("picture_similarity", best["ssim"])[best["index best"]]
    return Pictures(
        people=people,
        worst={"original": pack.test.images(best["index best"]), "reconstruction": best["pictures best"]},
        worst_similarity=[float(value) for value in similarity],
    )


def strongest_pictures(found: Mapping[str, StepResult], report: AuditReport) -> NDArray[np.uint8]:
    """Give the strongest attacker's pictures of the people that every report shows."""
    pictures: NDArray[np.uint8] = found[f"inversion {foremost(report.attacks)}"].arrays["pictures people"]
    return pictures


def _strongest(attacks: Attacks) -> dict[str, str]:
    inversion = attacks["inversion"]
    return {} if isinstance(inversion, Refused) else inversion.strongest


def foremost(attacks: Attacks) -> str:
    """Name the attacker that counts for faces, or without a verifier for error."""
    strongest = _strongest(attacks)
    return strongest.get("picture_similarity", strongest["mse"])


def _validation(
    found: Mapping[str, StepResult], attacks: Attacks, seen: Sequence[JudgeReport], counts: Counting
) -> dict[str, ValidationScore]:
    """Give what leakage is made of as validation people have it, by the judges that count: to choose a setting by."""
    by_name = {report.name: report.validation for report in seen}
    scores: dict[str, ValidationScore] = {}
    for name, judge in (("picture_similarity", counts.pictures), ("feature_similarity", counts.features)):
        if judge.blind is None and name in by_name.get(judge.name, {}):
            scores[name] = by_name[judge.name][name]
    linked = attacks["linkage"]
    if not isinstance(linked, Refused) and linked.validation is not None:
        decided = found["decisions"].facts.validation.get("linkage")
        scores["linkage"] = ValidationScore(score=linked.validation, floor=FALSE_ACCEPT_RATE, decisions=decided)
    return scores


def _floors(found: Mapping[str, StepResult], pack: Pack, counts: Counting) -> dict[str, Floors]:
    floors: dict[str, Floors] = {"mean_picture": {}, "random_public_picture": {}}
    judged_by = dict.fromkeys(JUDGED, counts.pictures) | {"feature_similarity": counts.features}
    for key, values in found["floors"].arrays.items():
        floor, name = key.split(" ", 1)
        if name in judged_by and not judged_by[name].first:
            continue  # the first judge's
        name = next((score for score, judge in judged_by.items() if judge.key(score) == name), name)
        if name not in metrics():
            continue  # another's
        floors.setdefault(floor, {})[name] = mean(values, pack.test.identities, unit=metrics()[name].unit)
    guessed: Floors = dict(chance(pack.test.num_people))
    known = {"lda_score": found["scatter"].facts.facts.get("chance")} | {
        name: found["linkage"].facts.facts.get(f"{name}_floor") for name in MEASURES
    }
    guessed |= {name: floor for name, floor in known.items() if isinstance(floor, float)}
    return floors | {"constant_prediction": {"utility": 0.0, "inferred_mcc": 0.0}, "chance": guessed}


def _queries(found: Mapping[str, StepResult], judge: Judge, config: AuditConfig) -> OrRefused[Queries]:
    """Draw up the query curve: of who learns from few pairs, and last of the panel's strongest with all it has."""
    if config.alone is not None:
        return Refused(refused=ALONE)
    attacker = few_queries(found, judge)
    last = found[f"inversion {strongest(panel_of(found), judge)}"]
    points = [step for name, step in found.items() if name.startswith("queries ")] + [last]
    curve = [
        Point(queries=step.course.queries or 0, converged=step.course.converged, scores=estimates_of(judge, step))
        for step in points
    ]
    breach = {"recognised": config.breach}
    return Queries(attacker=attacker, breach=breach, curve=curve, pairs_to_breach=_breached(curve, breach))


def _breached(curve: Iterable[Point], breach: Mapping[str, float]) -> int | None:
    for point in curve:
        for name, level in breach.items():
            score = point.scores.get(name)
            if score is not None and score.low > level:
                return point.queries
    return None


def _threat_models(victim: Victim) -> list[str]:
    if victim.encoder is None:
        return ["feature dump"]
    return ["black box", "white box"] if victim.white else ["black box"]
