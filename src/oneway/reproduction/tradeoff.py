"""The trade-off of utility and privacy (Table 2): the weight of the perceptual term in what the protector minimises."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

from oneway.config import override
from oneway.errors import InputError
from oneway.protection.recipes import prescribe
from oneway.reproduction.config import ExperimentConfig
from oneway.reproduction.line import Line, settings
from oneway.reproduction.paper import Effect, figures, table


def lines(config: ExperimentConfig, data: Path) -> list[Line]:
    """List a row for each weight of the perceptual term, and some for strengths of the recommended recipe.

    Raises:
        InputError: if there is no perceptual network.

    """
    if config.perceptual_network is None:
        raise InputError(
            "the trade-off needs a network for its perceptual term; give --perceptual-network vgg16 (downloaded), a "
            "safetensors file of VGG-16, or BACKBONE:FILE for one of timm's"
        )
    rows = {float(row["protector_perceptual_weight"]): figures(row) for row in table(2)}
    own = settings(config, data)
    found = [Line(id="unprotected", title="unprotected", protection="none", setting=own["none"])]
    for weight in config.perceptual:
        changes = {"game.perceptual": weight, "game.perceptual_network": config.perceptual_network} if weight else {}
        found.append(
            Line(
                id=f"{weight:g}",
                title=f"paper, perceptual weight {weight:g}",
                protection="paper",
                setting=replace(own["paper"], protect=override(own["paper"].protect, changes)),
                paper=rows.get(weight, {}),
                at=weight,
            )
        )
    base = config.protect
    for strength in config.strengths:
        found.append(
            Line(
                id=f"recommended {strength:g}",
                title=f"recommended, noise {strength:g}",
                protection="recommended",
                setting=replace(own["recommended"], protect=prescribe(base, "recipe", strength)),
                at=strength,
            )
        )
    return found


def effects(found: list[Line]) -> list[Effect]:
    """List what Table 2 shows: each step of the weight, and the whole way."""
    known = [line.id for line in found if line.paper]
    pairs = [*itertools.pairwise(known)]
    if len(known) > 2:
        pairs.append((known[0], known[-1]))
    return [
        Effect(claim=f"weight {before} to {after}", metric=metric, before=before, after=after)
        for before, after in pairs
        for metric in ("mean_mcc", "picture_similarity", "feature_similarity")
    ]
