"""From what the steps found to the report, the scores of every picture, and the pictures of the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oneway import runs
from oneway.auditing import conclusions, guards
from oneway.auditing.config import AuditConfig
from oneway.auditing.control import Control
from oneway.auditing.decisions import summarise
from oneway.auditing.faces import shown
from oneway.auditing.faces import strongest as strongest_of
from oneway.auditing.measures import few_queries, known_attacker
from oneway.auditing.steps import Found
from oneway.auditing.verdict import verdict
from oneway.auditing.victim import Stolen, Victim
from oneway.data.packed import Pack
from oneway.judge import FALSE_ACCEPT_RATE, Judge
from oneway.metrics.classification import mcc
from oneway.metrics.estimate import Estimate, by_person, estimate, mean
from oneway.metrics.fisher import least_mse
from oneway.metrics.linkage import chance
from oneway.metrics.registry import metrics, of_reconstructions
from oneway.report import convergence
from oneway.report.page import Pictures
from oneway.report.values import (
    Asked,
    AttackResult,
    Attacks,
    AuditReport,
    Course,
    Decisions,
    Excess,
    Floors,
    Guard,
    OrRefused,
    Point,
    Provenance,
    Queries,
    Refused,
    Scores,
    Subject,
    Way,
    scores_of,
)

LOST = 1.05
"""An attacker whose validation error is this many times a weaker one's has lost to it."""


def assemble(
    found: Mapping[str, Found],
    victim: Victim,
    stolen: Stolen,
    judge: Judge,
    config: AuditConfig,
    passed: list[Guard],
    doubts: list[str],
    control: Control | None,
    asked: Asked,
) -> AuditReport:
    """Put together the report; `passed` are the guards of before, `doubts` are why no verdict is `low`."""
    late = unconverged(found)
    attacks = _attacks(found, victim.pack, judge)
    scores, theirs = per_picture(found, attacks), None if control is None else control.scores
    leakage = conclusions.leakage_of(scores, theirs, judge)
    decisions = summarise(found["decisions"], scores, scores if theirs is None else theirs, judge)
    inferred = found["inference"].arrays.get("confusion decisions")
    if inferred is not None and isinstance(decisions, Decisions):
        told = _correlations(inferred, found["inference"].facts["attributes"], victim.pack)
        decisions = replace(decisions, scores=decisions.scores | told)
    beside = guards.check_decisions(leakage, decisions)
    linked = scores_of(attacks["linkage"]).get("tar_at_far_1e-3")
    more = [guard.message for guard in beside if not guard.passed] + convergence.doubts(late)
    report = AuditReport(
        victim=Subject(
            name=victim.name,
            kind=victim.kind,
            threat_models=_threat_models(victim),
            noisy=stolen.noisy,
            features=list(stolen.access.shape),
            picture_size=victim.pack.size,
            task=None if victim.task is None else list(victim.task),
        ),
        utility=victim.utility,
        attacks=attacks,
        queries=_queries(found, judge, config),
        floors=_floors(found, victim.pack),
        validation=_validation(found, attacks, judge),
        control=None if control is None else control.beside(),
        verifier=judge.report,
        unconverged=late,
        guards=passed + guards.check_judge(judge.report) + guards.check_convergence(late) + beside,
        untested=conclusions.untested(attacks, config, control, judge),
        seconds={name: step.facts["seconds"] for name, step in found.items()},
        leakage=leakage,
        decisions=decisions,
        verdict=verdict(leakage, linked, doubts=doubts + more),
        provenance=Provenance(**runs.provenance(), **vars(asked)),
    )
    return conclusions.concluded(report)


def unconverged(found: Mapping[str, Found]) -> list[str]:
    """Name the steps of an audit whose attacker was trained, and ended by its budget instead of by convergence."""
    return [name for name, step in found.items() if step.facts.get("converged") is False]


def _attacks(found: Mapping[str, Found], pack: Pack, judge: Judge) -> Attacks:
    """Give the result of every attack, or why there is none."""
    attacks: Attacks = {"inversion": _inversion(found, judge)}
    for name, give in {
        "feature": _feature,
        "linkage": _linkage,
        "scatter": _scatter,
        "inference": _inference,
        "optimisation": _scored,
        "information": _information,
        "averaging": _scored,
        "bound": _bound,
    }.items():
        step = found[name]
        attacks[name] = step.refusal or replace(give(step, pack, judge), seconds=step.facts["seconds"])
    return attacks


def per_picture(found: Mapping[str, Found], attacks: Attacks) -> dict[str, NDArray[np.float64]]:
    """Give the scores of every test picture by the strongest attackers and the floors, (n,) each, by name."""
    scores = {}
    for name, attacker in _strongest(attacks).items():
        scores[f"inversion {name}"] = found[f"inversion {attacker}"].arrays[name]
    for name, values in found["floors"].arrays.items():
        scores[f"floor {name}"] = values
    if "feature_similarity" in found["feature"].arrays:
        scores["feature_similarity"] = found["feature"].arrays["feature_similarity"]
    for name in ("accepted", "pairs"):
        if name in found["linkage"].arrays:
            scores[f"linkage {name}"] = found["linkage"].arrays[name]
    return scores


def pictures_of(found: Mapping[str, Found], report: AuditReport, pack: Pack, control: Control | None) -> Pictures:
    """Collect the pictures that the page shows."""
    drawn = {
        name.removeprefix("inversion "): step.arrays["pictures people"]
        for name, step in found.items()
        if name.startswith("inversion ")
    }
    people = {"original": pack.test.images(shown(pack)), **drawn}
    if control is not None and control.pictures is not None:
        people["control"] = control.pictures
    best = found[f"inversion {_first(report.attacks)}"].arrays
    similarity = best.get("face_similarity", best["ssim"])[best["index best"]]
    return Pictures(
        people=people,
        worst={"original": pack.test.images(best["index best"]), "reconstruction": best["pictures best"]},
        worst_similarity=[float(value) for value in similarity],
    )


def strongest_pictures(found: Mapping[str, Found], report: AuditReport) -> NDArray[np.uint8]:
    """Give the strongest attacker's pictures of the people that every report shows."""
    pictures: NDArray[np.uint8] = found[f"inversion {_first(report.attacks)}"].arrays["pictures people"]
    return pictures


def _strongest(attacks: Attacks) -> dict[str, str]:
    inversion = attacks["inversion"]
    return {} if isinstance(inversion, Refused) else inversion.strongest


def _first(attacks: Attacks) -> str:
    """Name the attacker that counts for faces, or without a verifier for error."""
    strongest = _strongest(attacks)
    return strongest.get("face_similarity", strongest["mse"])


def _inversion(found: Mapping[str, Found], judge: Judge) -> AttackResult:
    """Choose for each score the attacker that is strongest on validation people, and report it on test people."""
    steps = {name.removeprefix("inversion "): step for name, step in found.items() if name.startswith("inversion ")}

    def error(name: str) -> float:
        return float(steps[name].facts["validation"]["mse"])

    by_error = min(steps, key=error)
    by_face = strongest_of(steps)
    floor = float(found["floors"].arrays["mean_face mse"].mean())
    ways = {}
    for name, step in steps.items():
        flags = [] if step.facts["converged"] else ["ended by its budget: a longer attack may get more"]
        weaker = [other for other in steps if _weaker(other, name) and error(name) > LOST * error(other)]
        if weaker:
            flags.append(f"lost to the weaker {weaker[0]} on validation people: it has not been trained well")
        if error(name) >= floor:
            flags.append("no better than the mean face")
        ways[name] = Way(
            scores=_estimates(judge, step),
            course=course_of(step.facts),
            validation=step.facts["validation"],
            flags=flags,
            seconds=step.facts["seconds"],
        )
    strongest = {
        name: by_face if name in ("face_similarity", "recognised") else by_error
        for name in of_reconstructions()
        if name in steps[by_error].arrays
    }
    return AttackResult(
        scores={name: ways[attacker].scores[name] for name, attacker in strongest.items()},
        strongest=strongest,
        ways=ways,
        validation=ways[by_face].validation.get("face_similarity"),
    )


def _validation(found: Mapping[str, Found], attacks: Attacks, judge: Judge) -> dict[str, Excess]:
    """Give what leakage is made of as validation people have it: what a setting may be chosen by."""
    least = found["floors"].facts["validation"] | {"linkage": FALSE_ACCEPT_RATE}
    sources = {"face_similarity": "inversion", "feature_similarity": "feature", "linkage": "linkage"}
    scores: dict[str, Excess] = {}
    for name, attack in sources.items():
        result = attacks[attack]
        if isinstance(result, Refused) or result.validation is None:
            continue
        if name != "linkage" and judge.blind is not None:
            continue
        scores[name] = Excess(score=result.validation, floor=least[name])
    return scores


def _weaker(first: str, second: str) -> bool:
    """Say whether an attacker can do no more than another, of whichever seeds."""
    return known_attacker(first).name in known_attacker(second).at_least


def course_of(facts: Mapping[str, Any]) -> Course | None:
    """Say how the training of a step's attacker went, if it has one."""
    if "converged" not in facts:
        return None
    return Course(
        converged=facts["converged"],
        steps=facts["steps"],
        validation_error=facts["validation_error"],
        queries=facts.get("queries"),
    )


def _estimates(judge: Judge, step: Found) -> Scores:
    index = step.arrays.get("index")
    return dict(judge.estimates(dict(step.arrays), index))


def _facts(step: Found, *names: str) -> dict[str, int | float | str]:
    return {name: step.facts[name] for name in names if name in step.facts}


def _scored(step: Found, _: Pack, judge: Judge) -> AttackResult:
    facts = _facts(step, "num_pictures", "draws", "attacker")
    return AttackResult(scores=_estimates(judge, step), course=course_of(step.facts), facts=facts)


def _feature(step: Found, _: Pack, judge: Judge) -> AttackResult:
    ways, strongest = step.facts["ways"], step.facts["strongest"]
    return AttackResult(
        scores=_estimates(judge, step),
        strongest={"feature_similarity": strongest},
        ways={name: Way(course=course_of(course)) for name, course in ways.items()},
        course=course_of(step.facts),
        validation=1 - ways[strongest]["validation_error"],
    )


def _linkage(step: Found, _: Pack, __: Judge) -> AttackResult:
    ways = {name: _linked(facts) for name, facts in step.facts["ways"].items()}
    strongest = step.facts["strongest"]
    return AttackResult(
        scores=ways[strongest].scores,
        strongest=dict.fromkeys(ways[strongest].scores, strongest),
        ways=ways,
        facts=ways[strongest].facts,
        validation=None if ways[strongest].scores["tar_at_far_1e-3"] is None else step.facts["validation"],
    )


def _linked(facts: Mapping[str, Any]) -> Way:
    names = [name for name, metric in metrics().items() if metric.attack == "linkage"]
    return Way(
        scores={name: read_estimate(facts[name]) for name in names},
        facts={name: value for name, value in facts.items() if name not in names},
    )


def read_estimate(content: Mapping[str, Any] | None) -> Estimate | None:
    """Give an estimate that a step kept."""
    return None if content is None else Estimate(**content)


def _scatter(step: Found, _: Pack, __: Judge) -> AttackResult:
    return AttackResult(scores={name: read_estimate(step.facts[name]) for name in ("lda_score", "between", "within")})


def _correlations(counts: NDArray[np.float64], names: list[str], pack: Pack) -> Scores:
    totals = by_person(counts, pack.test.identities)
    each: Scores = {
        f"inferred_mcc.{name}": estimate(totals[:, place :: len(names)], lambda sums: mcc(sums)[:, 0], unit="MCC")
        for place, name in enumerate(names)
    }
    return {"inferred_mcc": estimate(totals, lambda sums: mcc(sums).mean(axis=1), unit="MCC")} | each


def _inference(step: Found, pack: Pack, _: Judge) -> AttackResult:
    scores = _correlations(step.arrays["confusion"], step.facts["attributes"], pack)
    return AttackResult(scores=scores, course=course_of(step.facts))


def _information(step: Found, pack: Pack, _: Judge) -> AttackResult:
    bits = mean(step.arrays["bits"], pack.test.identities[step.arrays["index"]], unit="bits")
    return AttackResult(scores={"bits": bits}, course=course_of(step.facts), facts=_facts(step, "ceiling"))


def _bound(step: Found, pack: Pack, _: Judge) -> AttackResult:
    dfil = mean(step.arrays["dfil"], pack.test.identities[step.arrays["index"]], unit="dFIL")
    # A falling function of the estimate turns its interval round.
    value, low, high = (least_mse(end) for end in (dfil.value, dfil.high, dfil.low))
    least = Estimate(value=value, low=low, high=high, n=dfil.n, unit="MSE")
    facts = _facts(step, "num_pictures") | {"holds_for": "unbiased attackers"}
    return AttackResult(scores={"dfil": dfil, "least_mse": least}, facts=facts)


def _floors(found: Mapping[str, Found], pack: Pack) -> dict[str, Floors]:
    floors: dict[str, Floors] = {"mean_face": {}, "random_public_face": {}}
    for key, values in found["floors"].arrays.items():
        floor, name = key.split(" ")
        floors.setdefault(floor, {})[name] = mean(values, pack.test.identities, unit=metrics()[name].unit)
    guessed: Floors = dict(chance(pack.test.num_people))
    if "chance" in found["scatter"].facts:
        guessed["lda_score"] = found["scatter"].facts["chance"]
    return floors | {"constant_prediction": {"mean_mcc": 0.0, "inferred_mcc": 0.0}, "chance": guessed}


def _queries(found: Mapping[str, Found], judge: Judge, config: AuditConfig) -> OrRefused[Queries]:
    """Draw up the query curve; its last point is the attacker's of the panel who made it."""
    if config.alone is not None:
        return Refused(refused="left out: one attacker alone was asked for")
    attacker = few_queries(found)
    points = [step for name, step in found.items() if name.startswith("queries ")] + [found[f"inversion {attacker}"]]
    curve = [
        Point(queries=step.facts["queries"], converged=step.facts["converged"], scores=_estimates(judge, step))
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
