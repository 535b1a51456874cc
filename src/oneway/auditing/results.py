"""From what the steps found to `results.json`, the scores of every picture, and the pictures of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oneway import runs
from oneway.auditing import conclusions, convergence, guards
from oneway.auditing.config import AuditConfig
from oneway.auditing.control import Control
from oneway.auditing.decisions import summarise
from oneway.auditing.faces import shown
from oneway.auditing.faces import strongest as strongest_of
from oneway.auditing.measures import few_queries
from oneway.auditing.steps import Found
from oneway.auditing.verdict import verdict
from oneway.auditing.victim import Stolen, Victim
from oneway.data.packed import Pack
from oneway.judge import FALSE_ACCEPT_RATE, UNITS, Judge
from oneway.metrics.classification import mcc
from oneway.metrics.estimate import Estimate, by_person, estimate, mean
from oneway.metrics.fisher import least_mse
from oneway.metrics.linkage import chance
from oneway.report.page import Pictures

LOST = 1.05
"""An attacker whose validation error is this many times a weaker one's has lost to it."""
CAPACITY = {"linear": 0, "mirror": 1, "gan": 1, "perceptual": 1, "residual": 2, "transformer": 2}
"""Which inversion attackers are weaker than which, by what their decoders can represent."""
Plain = dict[str, Any]


def assemble(
    found: Mapping[str, Found],
    victim: Victim,
    stolen: Stolen,
    judge: Judge,
    config: AuditConfig,
    passed: list[guards.Guard],
    doubts: list[str],
    control: Control | None,
    described: Plain,
) -> Plain:
    """Put together what `results.json` holds, as docs/results.md describes it; `doubts` are why no verdict is `low`."""
    inversion, late = _inversion(found, judge), convergence.unconverged(found)
    about = judge.about_verifier()
    attacks: Plain = {
        "inversion": inversion,
        "feature": _feature(found["feature"], judge),
        "linkage": found["linkage"].facts,
        "scatter": found["scatter"].facts,
        "inference": _inference(found["inference"], victim.pack),
        "optimisation": _scored(found["optimisation"], judge),
        "information": _information(found["information"], victim.pack),
        "averaging": _scored(found["averaging"], judge),
    }
    results: Plain = {
        "schema": runs.SCHEMA,
        "kind": "audit",
        "victim": {
            "name": victim.name,
            "kind": victim.kind,
            "threat_models": _threat_models(victim),
            "noisy": stolen.noisy,
            "features": list(stolen.access.shape),
            "picture_size": victim.pack.size,
            "task": None if victim.task is None else list(victim.task),
        },
        "utility": victim.utility,
        "attacks": attacks,
        "bound": _bound(found["bound"], victim.pack),
        "queries": _queries(found, judge, config),
        "floors": _floors(found["floors"], victim.pack),
        "validation": _validation(found, inversion, judge),
        "control": None if control is None else control.to_dict(),
        "verifier": about,
        "unconverged": late,
        "guards": passed + guards.check_judge(about) + guards.check_convergence(late),
        "untested": conclusions.untested(attacks, config, control, judge),
        "seconds": {name: step.facts["seconds"] for name, step in found.items()},
        "provenance": runs.provenance(**described),
    }
    scores, theirs = per_picture(found, results), None if control is None else control.scores
    results["leakage"] = conclusions.leakage_of(scores, theirs, judge)
    results["decisions"] = summarise(found["decisions"], scores, scores if theirs is None else theirs, judge)
    beside = guards.check_decisions(results["leakage"], results["decisions"])
    results["guards"] += beside
    linked = attacks["linkage"].get("tar_at_far_1e-3")
    more = [guard["message"] for guard in beside if not guard["passed"]] + convergence.doubts(late)
    results["verdict"] = verdict(results["leakage"], linked, doubts=doubts + more)
    results["verdict"]["numbers"] = conclusions.numbers(results)
    results["verdict"]["reasons"] += conclusions.further(attacks) + conclusions.told_by_decisions(results)
    results["verdict"]["reasons"] += convergence.further(late)
    return results


def per_picture(found: Mapping[str, Found], results: Plain) -> dict[str, NDArray[np.float64]]:
    """Give the scores of every test picture by the strongest attackers and the floors, (n,) each, by name."""
    scores = {}
    for name, attacker in results["attacks"]["inversion"]["strongest"].items():
        scores[f"inversion {name}"] = found[f"inversion {attacker}"].arrays[name]
    for name, values in found["floors"].arrays.items():
        scores[f"floor {name}"] = values
    if "feature_similarity" in found["feature"].arrays:
        scores["feature_similarity"] = found["feature"].arrays["feature_similarity"]
    for name in ("accepted", "pairs"):
        if name in found["linkage"].arrays:
            scores[f"linkage {name}"] = found["linkage"].arrays[name]
    return scores


def pictures_of(found: Mapping[str, Found], results: Plain, pack: Pack, control: Control | None) -> Pictures:
    """Collect the pictures that the report shows."""
    inversion = results["attacks"]["inversion"]
    drawn = {name: found[f"inversion {name}"].arrays["pictures people"] for name in inversion["attackers"]}
    people = {"original": pack.test.images(shown(pack)), **drawn}
    if control is not None and control.pictures is not None:
        people["control"] = control.pictures
    best = found[f"inversion {_first(inversion)}"].arrays
    similarity = best.get("face_similarity", best["ssim"])[best["index best"]]
    return Pictures(
        people=people,
        worst={"original": pack.test.images(best["index best"]), "reconstruction": best["pictures best"]},
        worst_similarity=[float(value) for value in similarity],
    )


def strongest_pictures(found: Mapping[str, Found], results: Plain) -> NDArray[np.uint8]:
    """Give the strongest attacker's pictures of the people that every report shows."""
    strongest = _first(results["attacks"]["inversion"])
    pictures: NDArray[np.uint8] = found[f"inversion {strongest}"].arrays["pictures people"]
    return pictures


def _first(inversion: Plain) -> str:
    """Name the attacker that counts for faces, or without a verifier for error."""
    strongest: str = inversion["strongest"].get("face_similarity", inversion["strongest"]["mse"])
    return strongest


def _inversion(found: Mapping[str, Found], judge: Judge) -> Plain:
    """Choose for each score the attacker that is strongest on validation people, and report it on test people."""
    steps = {name.removeprefix("inversion "): step for name, step in found.items() if name.startswith("inversion ")}

    def error(name: str) -> float:
        return float(steps[name].facts["validation"]["mse"])

    by_error = min(steps, key=error)
    by_face = strongest_of(steps)
    attackers = {}
    floor = float(found["floors"].arrays["mean_face mse"].mean())
    for name, step in steps.items():
        flags = [] if step.facts["converged"] else ["ended by its budget: a longer attack may get more"]
        weaker = [other for other in steps if _capacity(other) < _capacity(name) and error(name) > LOST * error(other)]
        if weaker:
            flags.append(f"lost to the weaker {weaker[0]} on validation people: it has not been trained well")
        if error(name) >= floor:
            flags.append("no better than the mean face")
        attackers[name] = _plain(judge, step) | step.facts | {"flags": flags}
    names = [name for name in UNITS if name in steps[by_error].arrays]
    strongest = {name: by_face if name in ("face_similarity", "recognised") else by_error for name in names}
    return {name: attackers[attacker][name] for name, attacker in strongest.items()} | {
        "strongest": strongest,
        "attackers": attackers,
    }


def _validation(found: Mapping[str, Found], inversion: Plain, judge: Judge) -> Plain:
    """Give what leakage is made of as validation people have it: what a setting may be chosen by."""
    floors = found["floors"].facts["validation"]
    scores: Plain = {}
    if "face_similarity" in inversion["strongest"] and judge.blind is None:
        strongest = inversion["attackers"][inversion["strongest"]["face_similarity"]]
        scores["face_similarity"] = strongest["validation"]["face_similarity"]
    feature, linkage = found["feature"].facts, found["linkage"].facts
    if "refused" not in feature and judge.blind is None:
        scores["feature_similarity"] = 1 - feature["ways"][feature["strongest"]]["validation_error"]
    if linkage.get("tar_at_far_1e-3") is not None:
        scores["linkage"] = linkage["validation"]
    least = floors | {"linkage": FALSE_ACCEPT_RATE}
    return {name: {"score": score, "floor": least[name]} for name, score in scores.items()}


def _capacity(name: str) -> int:
    """Rank an attacker, of whichever seed."""
    return CAPACITY[name.partition("-")[0]]


def _plain(judge: Judge, step: Found) -> Plain:
    index = step.arrays.get("index")
    return {name: score.to_dict() for name, score in judge.estimates(dict(step.arrays), index).items()}


def _scored(step: Found, judge: Judge) -> Plain:
    return step.facts | _plain(judge, step)


def _feature(step: Found, judge: Judge) -> Plain:
    if "refused" in step.facts:
        return step.facts
    similarity = mean(step.arrays["feature_similarity"], judge.test.identities, unit="cosine")
    return step.facts | {"feature_similarity": similarity.to_dict()}


def _inference(step: Found, pack: Pack) -> Plain:
    if "refused" in step.facts:
        return step.facts
    names = step.facts["attributes"]

    def correlations(counts: NDArray[np.float64]) -> Plain:
        totals = by_person(counts, pack.test.identities)
        each = {
            name: estimate(totals[:, place :: len(names)], lambda sums: mcc(sums)[:, 0], unit="MCC").to_dict()
            for place, name in enumerate(names)
        }
        mean_mcc = estimate(totals, lambda sums: mcc(sums).mean(axis=1), unit="MCC")
        return {"mean_mcc": mean_mcc.to_dict(), "mcc": each}

    decided = step.arrays.get("confusion decisions")
    beside = None if decided is None else correlations(decided)
    return step.facts | correlations(step.arrays["confusion"]) | {"decisions": beside}


def _information(step: Found, pack: Pack) -> Plain:
    if "refused" in step.facts:
        return step.facts
    return step.facts | {
        "bits": mean(step.arrays["bits"], pack.test.identities[step.arrays["index"]], unit="bits").to_dict()
    }


def _bound(step: Found, pack: Pack) -> Plain:
    if "refused" in step.facts:
        return step.facts
    dfil = mean(step.arrays["dfil"], pack.test.identities[step.arrays["index"]], unit="dFIL")
    # A falling function of the estimate turns its interval round.
    value, low, high = (least_mse(end) for end in (dfil.value, dfil.high, dfil.low))
    least = Estimate(value=value, low=low, high=high, n=dfil.n, unit="MSE")
    return step.facts | {"dfil": dfil.to_dict(), "least_mse": least.to_dict(), "holds_for": "unbiased attackers"}


def _floors(step: Found, pack: Pack) -> Plain:
    floors: Plain = {"mean_face": {}, "random_public_face": {}, "mean_feature": None}
    for key, values in step.arrays.items():
        floor, name = key.split(" ")
        unit = UNITS.get(name, "cosine")
        floors[floor] = (floors[floor] or {}) | {name: mean(values, pack.test.identities, unit=unit).to_dict()}
    return floors | {"constant_prediction": {"mean_mcc": 0.0}, "chance": chance(pack.test.num_people)}


def _queries(found: Mapping[str, Found], judge: Judge, config: AuditConfig) -> Plain:
    """Draw up the query curve; its last point is the attacker's of the panel who made it."""
    attacker = few_queries(found)
    points = [step for name, step in found.items() if name.startswith("queries ")] + [found[f"inversion {attacker}"]]
    curve = [_plain(judge, step) | {name: step.facts[name] for name in ("queries", "converged")} for step in points]
    pairs = None
    for point in curve:
        if "recognised" in point and point["recognised"]["low"] > config.breach:
            pairs = point["queries"]
            break
    return {
        "attacker": attacker,
        "breach": {"recognised": config.breach},
        "curve": curve,
        "pairs_to_breach": pairs,
    }


def _threat_models(victim: Victim) -> list[str]:
    if victim.encoder is None:
        return ["feature dump"]
    return ["black box", "white box"] if victim.white else ["black box"]
