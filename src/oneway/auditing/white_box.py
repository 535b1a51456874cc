"""The step of an audit in which an attacker has the encoder itself."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oneway.attacks import optimisation
from oneway.attacks.components import ComponentDecoder
from oneway.attacks.fit import Place
from oneway.attacks.panel import LINEAR
from oneway.auditing.context import AuditContext
from oneway.auditing.labels import panel_of, strongest
from oneway.auditing.reconstruction import attacker_context
from oneway.auditing.steps import StepFacts, StepResult, refused
from oneway.data.batches import load
from oneway.data.packed import Test, Validation
from oneway.metrics.registry import of_reconstructions
from oneway.models.scale import Standardise
from oneway.report.values import Facts

SAMPLE = 1024
"""Public pictures by which a white-box attacker knows the scale of features, and what faces are like."""


def optimised(context: AuditContext, place: Place, found: Mapping[str, StepResult]) -> StepResult:
    """Optimise pictures until a known encoder maps them to the stolen features.

    Who has the weights has all that the panel has: where validation people say that its search is no better, its
    pictures are those of the strongest of the panel.
    """
    white, config, pack = context.stolen.white, context.config.optimisation, context.pack
    if white is None:
        return refused("the encoder's weights were not given")
    linear = LINEAR.fit(attacker_context(context, place, LINEAR, context.stolen.access, "white box")).network
    tried = optimisation.victims(pack.validation, config)
    chosen = optimisation.victims(pack.test, config)
    best = strongest(panel_of(found), context.judge)
    panel = found[f"inversion {best}"].arrays
    name = "picture_similarity" if context.judge.verifier is not None else "mse"
    searched = _searched(context, place, linear, pack.validation, tried)
    judged = context.judge.measure(searched, pack.validation, (name,), index=tried)[name]
    gain = float((judged - panel[f"validation {name}"][tried]).mean())
    if (gain > 0) == (name == "mse"):
        scores = {name: panel[name][chosen] for name in of_reconstructions() if name in panel}
    else:
        scores = context.judge.measure(_searched(context, place, linear, pack.test, chosen), pack.test, index=chosen)
        best = "search"
    facts: Facts = {"num_pictures": len(chosen), "strongest": best}
    return StepResult(facts=StepFacts(facts=facts), arrays=scores | {"index": chosen})


def _searched(
    context: AuditContext, place: Place, linear: ComponentDecoder, part: Validation | Test, index: NDArray[np.int64]
) -> list[tuple[Tensor, Tensor]]:
    """Search for pictures of a part, and give them beside the originals."""
    white, config, pack = context.stolen.white, context.config.optimisation, context.pack
    assert white is not None
    stolen = context.stolen.access.features(part, index)
    public = np.sort(np.random.default_rng(context.config.seed).permutation(len(pack.public))[:SAMPLE])
    if white.noise is not None and context.stolen.noisy:
        spread = linear.components(load(pack.public, public, device=place.fabric.device)).std(dim=0)
        drawn = optimisation.most_probable(white, stolen, linear, spread, config, progress=place.progress)
    else:
        standardise = Standardise(context.stolen.access.shape)
        standardise.observe(context.stolen.access.features(pack.public, public).cpu())
        scale = standardise.deviation.square()[None].to(place.fabric.device)
        with torch.no_grad():
            start = linear(stolen)
        drawn = optimisation.optimise(white, stolen, start, scale, config, progress=place.progress)
    return [(drawn.cpu(), load(part, index))]
