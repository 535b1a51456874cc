"""The steps of an audit that draw faces: floors, inversion attackers, and what they do with less or more."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oneway.attacks.access import Access
from oneway.attacks.context import Context
from oneway.attacks.fit import Place
from oneway.attacks.inversion import draw_decoder, reconstruct
from oneway.attacks.kernel import PASSES
from oneway.attacks.linear import PICTURES
from oneway.attacks.panel import KERNEL, Attacker, attackers
from oneway.auditing.config import AuditConfig
from oneway.auditing.context import AuditContext, course
from oneway.auditing.keeping import keep
from oneway.auditing.labels import strongest
from oneway.auditing.steps import StepFacts, StepResult, refused
from oneway.data.batches import load
from oneway.data.packed import Pack, Test, Validation
from oneway.judges.judge import Judge, Scores, in_batches, joined
from oneway.metrics.registry import of_reconstructions
from oneway.models.generator import Generator, open_generator
from oneway.models.perceptual import Perceptual, open_perceptual
from oneway.report.values import Facts
from oneway.storage import runs

DECODER = "decoder.safetensors"
"""Ends the name of the file of a decoder that another attacker goes on from."""
JUDGED = ("picture_similarity", "recognised", "found_first")
"""The scores that a judge gives."""
SHOWN = 8
"""Test people whose pictures the report shows."""


def shown(pack: Pack) -> NDArray[np.int64]:
    """Choose one picture each of test people spread evenly over the split, not picked: (at most 8,)."""
    first = np.unique(pack.test.identities, return_index=True)[1]
    spread = np.linspace(0, len(first) - 1, min(SHOWN, len(first))).astype(np.int64)
    chosen: NDArray[np.int64] = np.sort(first)[spread]
    return chosen


def floors(context: AuditContext, _: Place) -> StepResult:
    """Score attackers who know nothing."""
    pack, judge = context.pack, context.judge
    random = np.random.default_rng(context.config.seed).integers(len(pack.public), size=len(pack.test))
    mean = judge.mean_picture
    # One attacker alone needs no floor of features, for which a slow judge looks at every public picture.
    public = None if judge.verifier is None or context.config.alone is not None else judge.known(pack.public)

    def mean_picture(part: Validation | Test, names: Collection[str]) -> Scores:
        vectors = None if judge.verifier is None else judge.of_mean_picture(part)
        return judge.measure(repeated_pictures(mean, part), part, names, vectors=vectors)

    scores = {"mean_picture": mean_picture(pack.test, tuple(of_reconstructions()))}
    vectors = None if public is None else public[random]
    scores["random_public_picture"] = judge.measure(chosen_pictures(random, pack), pack.test, vectors=vectors)
    arrays = {f"{floor} {name}": values for floor, named in scores.items() for name, values in named.items()}
    validation: dict[str, float] = {}
    for each in context.judges:
        if each.verifier is None:
            continue
        if not each.first:
            for name, values in mean_picture_scores(each, pack.test).items():
                arrays[f"mean_picture {each.key(name)}"] = values
        seen_there = mean_picture_scores(each, pack.validation)["picture_similarity"]
        validation[each.key("picture_similarity")] = float(seen_there.mean())
        if context.config.alone is None:
            constant, key = each.known(pack.public).mean(axis=0), each.key("feature_similarity")
            constant /= max(float(np.linalg.norm(constant)), 1e-12)
            arrays[f"mean_feature {key}"] = (each.known(pack.test) @ constant).astype(np.float64)
            validation[key] = float((each.known(pack.validation) @ constant).mean())
    return StepResult(facts=StepFacts(validation=validation), arrays=arrays)


def mean_picture_scores(judge: Judge, part: Validation | Test) -> Scores:
    """Score the mean face by the judge's features alone."""
    return judge.measure(repeated_pictures(judge.mean_picture, part), part, JUDGED, vectors=judge.of_mean_picture(part))


def inversion(
    context: AuditContext,
    place: Place,
    attacker: Attacker,
    label: str,
    access: Access | None = None,
    *,
    keeping: bool = False,
) -> StepResult:
    """Train one inversion attacker, or solve the linear one, and score it; which of them counts is chosen later.

    Args:
        context: what is attacked.
        place: where it computes.
        attacker: who is trained.
        label: its name, with its seed if there are several.
        access: another access than the audit's own.
        keeping: write its file, since it may be the strongest, which the audit is to leave.

    """
    fitted_on = context.stolen.fitted_on if access is None else access
    access = context.stolen.access if access is None else access
    fitted = attacker.fit(attacker_context(context, place, attacker, access, label, fitted_on=fitted_on))
    if any(other.start == attacker.name for other in attackers().values()):
        runs.write_tensors(context.steps.path(f"inversion {label}", DECODER), fitted.network.state_dict())
    pack, decoder = context.pack, fitted.network
    chosen_by = tuple(name for name in of_reconstructions() if name not in JUDGED or name == "picture_similarity")
    validation = _scores(context, place, access, decoder, pack.validation, chosen_by)
    test = _scores(context, place, access, decoder, pack.test, tuple(of_reconstructions()))
    kept = {f"validation {name}": validation[name] for name in ("mse", "picture_similarity") if name in validation}
    for judge in context.judges:
        key = judge.key("vectors")
        if key in test:
            kept |= {f"{key} validation": validation.pop(key), f"{key} test": test.pop(key)}
    means = {name: float(values.mean()) for name, values in validation.items()}
    best = _best_recovered(test, pack.test)
    drawn = {"people": shown(pack), "best": best} if context.images else {}
    queries = len(pack.public) * (2 if access.mirrors else 1)
    if attacker.solved and attacker.name != KERNEL.name:
        queries = min(len(pack.public), PICTURES) * (context.config.draws if context.stolen.noisy else 1)
    elif attacker.solved and context.stolen.noisy:
        queries *= PASSES
    if keeping:
        keep(context, decoder, access, label, attacker, min(queries, len(pack.public)))
    return StepResult(
        facts=StepFacts(course=course(fitted, queries), validation=means, trained_with=list(attacker.trains_with)),
        arrays=test
        | kept
        | {f"pictures {name}": pixels_of(access, decoder, pack.test, index, place) for name, index in drawn.items()}
        | {"index best": best},
    )


def _scores(
    context: AuditContext,
    place: Place,
    access: Access,
    decoder: nn.Module,
    part: Validation | Test,
    names: Collection[str],
) -> Scores:
    """Score what a decoder draws of a part, once for all judges: the others see faces alone."""
    measured: list[Scores] = []
    for index in in_batches(part):
        drawn, pictures = reconstruct(access, decoder, part, index, place)
        rows = np.arange(index.start, index.start + len(pictures))
        scores: Scores = {}
        for judge in context.judges:
            wanted = (*(names if judge.first else JUDGED), "vectors")
            seen = judge.measure_batch(drawn, pictures, part, rows, wanted)
            scores |= {judge.key(name): values for name, values in seen.items()}
        measured.append(scores)
    return joined(measured)


def averaging(
    context: AuditContext, place: Place, attacker: Attacker, label: str, found: Mapping[str, StepResult]
) -> StepResult:
    """Attack a noisy encoder by the average of several answers for one picture, by the strongest of the panel.

    Who has several answers has one: where validation people say that the average is no better, one it is.
    """
    if context.stolen.averaged is None:
        if context.victim.encoder is None:
            return refused("stored features are one answer for each picture, and nobody can be asked for more")
        return refused("the encoder answers alike each time, so there is nothing to average")
    several, single = (
        inversion(context, place, attacker, "averaging", context.stolen.averaged()),
        found[f"inversion {label}"],
    )
    best = strongest({"average": several, "one answer": single}, context.judge)
    facts: Facts = {"draws": context.config.draws, "attacker": label, "strongest": best}
    arrays = several.arrays if best == "average" else single.arrays
    return StepResult(facts=replace(several.facts, facts=facts), arrays=arrays)


def queried(context: AuditContext, place: Place, attacker: Attacker, number: int) -> StepResult:
    """Attack with the features of a few public pictures only."""
    access = context.stolen.access
    chosen = np.sort(np.random.default_rng(context.config.seed).permutation(len(context.pack.public))[:number])
    fitted = attacker.fit(attacker_context(context, place, attacker, access, f"{number} queries", rows=chosen))
    names = ("mse", *JUDGED)
    pictures = decoded_pictures(access, fitted.network, context.pack.test, place)
    return StepResult(
        facts=StepFacts(course=course(fitted, number)),
        arrays=context.judge.measure(pictures, context.pack.test, names),
    )


def attacker_context(
    context: AuditContext,
    place: Place,
    attacker: Attacker,
    access: Access,
    label: str,
    *,
    fitted_on: Access | None = None,
    rows: NDArray[np.int64] | None = None,
) -> Context:
    """Give an attacker what it may have."""
    start = None
    if attacker.start is not None and attacker.goes_on(access.shape) and rows is None:
        start = _trained_before(context, attackers()[attacker.start])
    perceptual, generator = networks_of(attacker, context.config, context.pack.size, place.fabric.device)
    return Context(
        access=access,
        fitted_on=access if fitted_on is None else fitted_on,
        public=context.pack.public,
        validation=context.pack.validation,
        place=place,
        stages=context.victim.stages,
        seed=attacker.seed,
        steps=context.config.steps,
        perceptual=perceptual,
        generator=generator,
        surrogates=tuple(context.surrogates.networks[name] for name in attacker.trains_with),
        start=start,
        noisy=context.stolen.noisy,
        rows=rows,
        name=label,
    )


def networks_of(
    attacker: Attacker, config: AuditConfig, size: int, device: torch.device
) -> tuple[Perceptual | None, Generator | None]:
    """Open the networks that an attacker sees and draws with, for pictures of a size, if it needs them."""
    perceptual, generator = None, None
    if attacker.sees and config.perceptual is not None:
        perceptual = open_perceptual(config.perceptual).to(device)
    if attacker.generates and config.generator is not None:
        generator = open_generator(config.generator, size).to(device)
    return perceptual, generator


def _trained_before(context: AuditContext, attacker: Attacker) -> nn.Module | None:
    """Give the decoder of an attacker that was trained before, if it was."""
    path = context.steps.path(f"inversion {attacker.name}", DECODER)
    if attacker.config is None or not path.exists():
        return None
    shape, size = context.stolen.access.shape, context.pack.size
    decoder = draw_decoder(attacker.config, shape, context.victim.stages, size)
    runs.fill(decoder, runs.read_tensors(path)[0], path)
    return decoder


def _best_recovered(scores: Scores, test: Test) -> NDArray[np.int64]:
    """Find the test people best recovered, one picture each, the best first."""
    value = scores.get("picture_similarity", -scores["mse"])
    order = np.argsort(-value, kind="stable")
    first = np.unique(test.identities[order], return_index=True)[1]
    best: NDArray[np.int64] = order[np.sort(first)[:SHOWN]]
    return best


def decoded_pictures(
    access: Access, decoder: nn.Module, part: Validation | Test, place: Place
) -> Iterator[tuple[Tensor, Tensor]]:
    """Decode a part's pictures, in batches: the reconstructions and the originals."""
    for index in in_batches(part):
        yield reconstruct(access, decoder, part, index, place)


def repeated_pictures(picture: Tensor, part: Validation | Test) -> Iterator[tuple[Tensor, Tensor]]:
    """Give one picture for every picture of a part, in batches, beside the originals."""
    for index in in_batches(part):
        pictures = load(part, index)
        yield picture.expand_as(pictures), pictures


def chosen_pictures(index: NDArray[np.int64], pack: Pack) -> Iterator[tuple[Tensor, Tensor]]:
    """Give a public picture for every test picture, in batches, beside the originals."""
    for batch in in_batches(pack.test):
        yield load(pack.public, index[batch]), load(pack.test, batch)


def pixels_of(
    access: Access, decoder: nn.Module, part: Test, index: NDArray[np.int64], place: Place
) -> NDArray[np.uint8]:
    """Decode pictures of a part to bytes: (k, size, size, 3) in 0..255."""
    drawn, _ = reconstruct(access, decoder, part, index, place)
    pixels: NDArray[np.uint8] = (drawn.permute(0, 2, 3, 1).cpu().numpy() * 255).round().astype(np.uint8)
    return pixels
