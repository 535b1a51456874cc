"""The step of an audit that bounds what passes through the encoder's noise, whoever attacks: nothing is trained."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oneway.attacks.access import WhiteBox
from oneway.attacks.fit import Place
from oneway.auditing.context import AuditContext
from oneway.auditing.steps import StepFacts, StepResult, refused
from oneway.data.batches import load
from oneway.data.packed import Part
from oneway.metrics.capacity import SHRINKAGES, Guess, power_bits
from oneway.models.noise import Noisy
from oneway.report.values import Facts

PICTURES, NUMBERS, BATCH = 4096, 2**27, 256
"""Pictures of a part at most whose features are looked at, numbers that these have together
at most, and pictures of a batch."""


@torch.no_grad()
def passed(context: AuditContext, _: Place) -> StepResult:
    """Bound the bits that one answer tells of the picture, and the average of several, from above.

    The guess is made of public people's features, its shrinkage chosen by validation people's, and the bound is over
    test people.
    """
    encoder, pack, draws = context.victim.encoder, context.pack, context.config.draws
    if not isinstance(encoder, Noisy) or encoder.noise <= 0:
        return refused(unknown_noise(context))

    asked = WhiteBox(encoder, context.steps.fabric.device)

    def clean(part: Part, index: NDArray[np.int64]) -> Tensor:
        return asked.clean(load(part, index, device=asked.device)).flatten(1).cpu()

    number = clean(pack.test, np.arange(1)).shape[1]
    most = min(PICTURES, max(2, NUMBERS // number))
    rng = np.random.default_rng(context.config.seed)
    parts = {part.split: part for part in (pack.public, pack.validation, pack.test)}
    chosen = {name: np.sort(rng.permutation(len(part))[:most]) for name, part in parts.items()}
    features = {
        name: torch.cat([clean(parts[name], index) for index in np.array_split(rows, -(-len(rows) // BATCH))])
        for name, rows in chosen.items()
    }
    guess = Guess.of(features["public"])
    validation, test = (guess.distances(features[name]) for name in ("validation", "test"))
    arrays: dict[str, NDArray[np.generic]] = {"index": chosen["test"]}
    for name, answers in (("most_bits", 1), ("most_bits_averaged", draws)):
        bits = partial(guess.most_bits, noise=encoder.noise / answers**0.5)
        shrinkage = min(SHRINKAGES, key=lambda share: bits(validation, shrinkage=share).mean())
        arrays[name] = bits(test, shrinkage=shrinkage)
    facts: Facts = {
        "numbers": number,
        "noise": encoder.noise,
        "draws": draws,
        "by_power": power_bits(number, encoder.noise),
    }
    return StepResult(facts=StepFacts(facts=facts), arrays=arrays)


def unknown_noise(context: AuditContext) -> str:
    """Say why there is no bound that the noise gives."""
    if context.victim.encoder is None:
        return "no bound: stored features do not say what noise they carry"
    if not context.stolen.noisy:
        return "no bound: the encoder is deterministic"
    return "no bound: the encoder adds noise, but not as its last step in a way that is known"
