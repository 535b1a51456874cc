"""The layer after which features leave the device (Table 3), and how they gather by person there."""

from __future__ import annotations

import itertools
from pathlib import Path

from oneway.reproduction.config import ExperimentConfig
from oneway.reproduction.line import PROTECTIONS, Line, settings
from oneway.reproduction.paper import Effect, figures, table


def lines(config: ExperimentConfig, data: Path) -> list[Line]:
    """List the rows of Table 3, and those of protected encoders once more with the recommended recipe."""
    rows = {(row["cut"].split(" ")[0], row["protected"]): figures(row) for row in table(3)}
    found = []
    for cut in config.cuts:
        made = settings(config, data, changes={"network.cut": cut})
        for protection in PROTECTIONS:
            found.append(
                Line(
                    id=f"{cut} {protection}",
                    title=f"{cut}, {'unprotected' if protection == 'none' else protection}",
                    protection=protection,
                    setting=made[protection],
                    paper=rows.get((cut, "no" if protection == "none" else "yes"), {}),
                    at=cut,
                )
            )
    return found


def effects(found: list[Line]) -> list[Effect]:
    """List what Table 3 shows: protection at each cut, and the cut where nothing is protected."""
    known = [line for line in found if line.paper]
    unprotected = [line.id for line in known if line.protection == "none"]
    claims = [
        Effect(claim=f"protection at {line.at}", metric=metric, before=f"{line.at} none", after=line.id)
        for line in known
        if line.protection != "none"
        for metric in ("picture_similarity", "mean_mcc", "lda_score")
    ]
    return claims + [
        Effect(claim=f"{before} to {after}, unprotected", metric="picture_similarity", before=before, after=after)
        for before, after in itertools.pairwise(unprotected)
    ]
