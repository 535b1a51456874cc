"""The steps of an audit that learn facts: who it is, how many bits; no face is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from oneway.attacks import feature, information, kernel, linear, linkage, optimisation
from oneway.attacks.access import all_features
from oneway.attacks.fit import Fitted, Place
from oneway.auditing.capacity import unknown_noise
from oneway.auditing.context import AuditContext, course
from oneway.auditing.labels import panel_of
from oneway.auditing.linking import Split, centred, link, sides, with_unlinkability
from oneway.auditing.steps import StepFacts, StepResult, refused
from oneway.data.batches import load
from oneway.data.packed import Pack, Public, Test, Validation
from oneway.judges.judge import Judge
from oneway.metrics import identity, scatter
from oneway.metrics.fisher import fisher_leakage
from oneway.metrics.information import ceiling, info_nce
from oneway.models.noise import Noisy
from oneway.report.values import Course, Way

TOGETHER = "all together"
"""The way of predicting a judge's features that adds up what the others predict."""
GAINED = "gained"
"""The array of what a kernel regression predicts of each picture better than one that knows half of the people."""
COMPARED = 2000
"""Test pictures at most by which information is bounded: all their pairs are compared."""
BOUNDED, PROBES = 64, 16
"""Test pictures at most, each of another person, that bound the error of unbiased attackers, and probes of each."""


def predicted(
    context: AuditContext, place: Place, judge: Judge, found: Mapping[str, StepResult], *, halved: bool = True
) -> StepResult:
    """Map stolen features to a judge's (eq. 10); of several ways the best on validation people counts.

    By a trained network, by two solved ones, by letting the judge look at what was drawn, and by all of these together.

    Args:
        context: what is attacked.
        place: where it computes.
        judge: whose features are predicted.
        found: what the steps before have found.
        halved: measure too what the second half of the public people gives (`GAINED`).

    """
    if judge.verifier is None:
        return refused("there is no verifier whose features could be predicted")
    pack, access = context.pack, context.stolen.access
    known = {part.split: judge.known(part) for part in (pack.public, pack.validation)}
    config = context.config.feature.within(context.config.steps)
    pairs = context.stolen.pairs(pack.public, context.config.seed)
    solved = feature.solve(kernel.regress, pairs, pack.validation, known)
    ways: dict[str, Fitted[Any]] = {
        "linear": feature.solve(linear.regress, pairs, pack.validation, known),
        "kernel": solved,
        "network": feature.learn(access, pack.public, pack.validation, known, solved.network, config, place),
    }
    courses: dict[str, Course | None] = {name: course(fitted) for name, fitted in ways.items()}
    errors = {name: fitted.validation_error for name, fitted in ways.items()}
    drawn = {f"reconstruction by {name}": step for name, step in panel_of(found).items()}
    errors |= {name: 1 - step.facts.validation[judge.key("picture_similarity")] for name, step in drawn.items()}
    parts = (pack.validation, pack.test)
    seen: dict[str, dict[str, feature.Vectors]] = {
        name: {part.split: feature.predict(access, fitted.network, part) for part in parts}
        for name, fitted in ways.items()
    }
    for name, step in drawn.items():
        seen[name] = {part.split: step.arrays[f"{judge.key('vectors')} {part.split}"] for part in parts}
    each = {part.split: [vectors[part.split] for vectors in seen.values()] for part in parts}
    seen[TOGETHER] = feature.together(each, known["public"].mean(axis=0), known["validation"])
    errors[TOGETHER] = float(1 - identity.similarity(seen[TOGETHER]["validation"], known["validation"]).mean())
    strongest = min(errors, key=lambda name: errors[name])
    arrays: dict[str, NDArray[Any]] = {f"vectors {split}": vectors for split, vectors in seen[strongest].items()}
    arrays["feature_similarity"] = identity.similarity(arrays["vectors test"], judge.known(pack.test))
    half = of_half_the_people(pack.public, context.config.seed)
    if halved and 1 < len(half) < len(pack.public):
        fewer = feature.solve(kernel.regress, replace(pairs, rows=half), pack.validation, known)
        by_all, by_half = seen["kernel"]["test"], feature.predict(access, fewer.network, pack.test)
        better = [identity.similarity(vectors, judge.known(pack.test)) for vectors in (by_all, by_half)]
        arrays[GAINED] = better[0] - better[1]
    tried = {
        name: Way(course=courses.get(name), validation={"feature_similarity": 1 - error})
        for name, error in errors.items()
    }
    facts = StepFacts(course=courses["network"], strongest=strongest, ways=tried)
    return StepResult(facts=facts, arrays=arrays)


def of_half_the_people(public: Public, seed: int) -> NDArray[np.int64]:
    """Choose the pictures of half of the public people at random: (n,), ascending."""
    people = np.unique(public.identities)
    chosen = np.random.default_rng(seed).permutation(people)[len(people) // 2 :]
    return np.flatnonzero(np.isin(public.identities, chosen))


def linked(context: AuditContext, _: Place, found: dict[str, StepResult]) -> StepResult:
    """Compare stolen features with photographs of the same people, in several ways; the best counts."""
    pack, access = context.pack, context.stolen.access
    if pack.test.num_people == len(pack.test):
        return refused(f"{alone(pack.test)}, so there is no photograph to link to")
    if pack.validation.num_people == len(pack.validation):
        return refused(f"{alone(pack.validation)}, so nothing says which way of linking is the best")
    cosine = linkage.Cosine(access, context.stolen.gallery(), pack.public)
    components = linkage.Components(cosine, pack.public, seed=context.config.seed)
    ways = {"cosine": cosine} | linkage.by_components(components, pack.public)
    stolen, photographs = sides(ways, pack)
    # What is made of stolen features to look like a face, or like a verifier's view of one, is compared with faces.
    parts = (pack.validation, pack.test)
    for judge in context.judges:
        drawn = {
            f"reconstruction by {name}": (step.arrays, judge.key("vectors")) for name, step in panel_of(found).items()
        }
        features = found[judge.key("feature")].arrays
        for name, (arrays, key) in {"verifier features": (features, "vectors"), **drawn}.items():
            if f"{key} test" not in arrays:
                continue
            way = name if judge.first else f"{name}, by {judge.name}"
            stolen[way] = centred({part.split: arrays[f"{key} {part.split}"] for part in parts})
            photographs[way] = centred({part.split: judge.known(part) for part in parts})
    return best_way(stolen, photographs, pack)


def best_way(stolen: Mapping[str, Split], photographs: Mapping[str, Split], pack: Pack) -> StepResult:
    """Score every way of linking, and give the one that links most pairs of validation people; see `linking.link`."""
    scored = {name: link(stolen[name], photographs[name], pack) for name in stolen}
    strongest = max(scored, key=lambda name: scored[name].strength)
    scored[strongest] = with_unlinkability(scored[strongest], stolen[strongest], photographs[strongest], pack)
    best = scored[strongest]
    facts = StepFacts(
        scores=best.scores,
        facts=best.facts,
        strongest=strongest,
        ways={name: Way(scores=one.scores, facts=one.facts) for name, one in scored.items()},
        validation={"linkage": best.strength},
    )
    return StepResult(facts=facts, arrays=best.arrays)


def alone(part: Validation | Test) -> str:
    """Say why no two pictures of a part are of one person, as far as is known."""
    if part.num_unknown:
        unknown = f"to which group {part.num_unknown} of {len(part)} {part.split} pictures belong is unknown"
        return f"{unknown}, and none that is known appears twice"
    return f"no {part.split} person appears twice"


def scattered(context: AuditContext, _: Place) -> StepResult:
    """Measure how features gather by person (Table 3)."""
    test = context.pack.test
    if test.num_people == len(test):
        return refused(f"{alone(test)}, so there is no scatter within a person")
    flat = all_features(context.stolen.access, test).reshape(len(test), -1)
    measured = scatter.scatter(flat, test.identities)
    chance = scatter.chance(flat, test.identities, seed=context.config.seed)
    score = measured["lda_score"]
    if not np.isfinite([score.value, score.low, score.high, chance]).all():
        none = measured["within"].value == 0
        return refused(
            "all pictures of each test person have the same features, so there is no scatter within a person"
            if none
            else "too few test people have pictures with different features to say how far these scatter"
        )
    return StepResult(facts=StepFacts(scores=dict(measured), facts={"chance": chance}))


def informed(context: AuditContext, place: Place) -> StepResult:
    """Bound the information between picture and features from below."""
    pack, access = context.pack, context.stolen.access
    config = context.config.information.within(context.config.steps)
    critic = information.new_critic(access.shape, pack.size, config)
    fitted = information.learn(access, pack.public, pack.validation, critic, config, place)
    # All pairs of the scored pictures are compared, so of many people only some are.
    index = np.sort(np.random.default_rng(context.config.seed).permutation(len(pack.test))[:COMPARED])
    bits = info_nce(information.score(access, fitted.network, pack.test, index, place))
    facts = StepFacts(course=course(fitted), facts={"ceiling": ceiling(len(index))})
    return StepResult(facts=facts, arrays={"bits": bits, "index": index})


def bounded(context: AuditContext, place: Place) -> StepResult:
    """Bound the error of unbiased attackers from below, where the encoder's noise is known."""
    encoder, config = context.victim.encoder, context.config
    if not isinstance(encoder, Noisy) or not (context.victim.white and context.stolen.noisy):
        return refused(_unbounded(context))
    chosen = optimisation.victims(context.pack.test, replace(config.optimisation, num_pictures=BOUNDED))
    dfil = fisher_leakage(
        encoder.clean,
        load(context.pack.test, chosen, device=place.fabric.device),
        encoder.noise,
        probes=PROBES,
        generator=torch.Generator().manual_seed(config.seed),
    )
    if not (np.isfinite(dfil).all() and dfil.all()):
        return refused("no bound: for some pictures the encoder has no gradient, or none that is finite")
    return StepResult(facts=StepFacts(facts={"num_pictures": len(chosen)}), arrays={"dfil": dfil, "index": chosen})


def _unbounded(context: AuditContext) -> str:
    """Say why there is no bound."""
    if context.victim.encoder is not None and context.stolen.noisy and not context.victim.white:
        return "no bound: the encoder adds noise, but as a black box it shows neither the noise nor gradients"
    return unknown_noise(context)
