"""The trade-off of utility and privacy (Table 2): the weight of the perceptual term in what the protector minimises.

The reward of eq. 8 has no bound: an encoder that gives up the task earns ever more of it. So every weight stands here
twice, as the paper has it and with a bounded reward, which is full where the decoder draws no more than the mean face.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

from oneway.config import override
from oneway.errors import InputError
from oneway.protection.recipes import prescribe
from oneway.reproduction.config import ExperimentConfig
from oneway.reproduction.line import Line, Protection, settings
from oneway.reproduction.paper import Effect, figures, table

BOUNDED = {
    "game.target": "mean_picture",
    "game.perceptual_relative": True,
    "game.warmup": 0.25,
    "game.ramp": 0.2,
}
"""The bounded reward, in units that do not depend on the network, and a start in which a decoder learns first."""


def lines(config: ExperimentConfig, data: Path) -> list[Line]:
    """List two rows for each weight of the perceptual term, and some for strengths of the recommended recipe.

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
    rewards: dict[Protection, dict[str, object]] = {"paper": {}, "bounded": BOUNDED}
    for protection, reward in rewards.items():
        for weight in config.perceptual:
            seen = {"game.perceptual": weight, "game.perceptual_network": config.perceptual_network} if weight else {}
            bounded = "bounded " if reward else ""
            found.append(
                Line(
                    id=f"{bounded}{weight:g}",
                    title=f"paper, {bounded and 'bounded reward, '}perceptual weight {weight:g}",
                    protection=protection,
                    setting=replace(own["paper"], protect=override(own["paper"].protect, reward | seen)),
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
    """List what Table 2 shows, of either reward: each step of the weight, and the whole way."""
    pairs: list[tuple[str, str]] = []
    for protection in ("paper", "bounded"):
        known = [line.id for line in found if line.paper and line.protection == protection]
        pairs += itertools.pairwise(known)
        if len(known) > 2:
            pairs.append((known[0], known[-1]))
    return [
        Effect(claim=f"weight {before} to {after}", metric=metric, before=before, after=after)
        for before, after in pairs
        for metric in ("mean_mcc", "picture_similarity", "feature_similarity")
    ]
