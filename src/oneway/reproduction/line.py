"""A line of an experiment's table: the setting that makes it, and the row of the paper's that it stands beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from oneway.auditing.config import AuditConfig
from oneway.config import override
from oneway.metrics.registry import metrics
from oneway.protection.recipes import prescribe
from oneway.report.sweeps import ExperimentRow
from oneway.report.values import AttackResult, Floors, Scores, scores_of
from oneway.reproduction.config import ExperimentConfig
from oneway.sweep.store import Setting, Store

Protection = Literal["none", "paper", "bounded", "recommended"]
PROTECTIONS: tuple[Protection, ...] = ("none", "paper", "recommended")
"""Nothing; the paper's game of one step; the recipe that `oneway protect` has by default. The trade-off has the paper's
game with a bounded reward, too."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line.

    Attributes:
        id: names it in the table.
        title: what it is, in words.
        protection: of its encoder.
        setting: that makes it.
        attacker: the inversion attacker whose reconstructions are scored; the strongest by default.
        paper: the figures of the paper's row, by metric; empty where it has none.
        at: its place on the experiment's axis, if there is one.

    """

    id: str
    title: str
    protection: Protection
    setting: Setting
    attacker: str | None = None
    paper: Mapping[str, float] = field(default_factory=dict)
    at: float | str | None = None


def settings(
    config: ExperimentConfig,
    data: Path,
    *,
    attacked: Path | None = None,
    audit: AuditConfig | None = None,
    changes: Mapping[str, object] | None = None,
) -> dict[Protection, Setting]:
    """Give the setting of each protection, the unprotected one as the control of the others.

    Args:
        config: the network, the budgets and the attackers.
        data: the pack to train on.
        attacked: the pack whose public people the attackers have; the same by default.
        audit: other attackers.
        changes: of the network or the task, as `config.override` takes them.

    """
    base = override(config.protect, dict(changes or {}))
    setting = partial(Setting, audit=audit or config.audit, data=data, attacked=attacked or data)
    control = setting(protect=prescribe(base, "none"))
    return {
        "none": control,
        "paper": setting(protect=prescribe(base, "paper", config.pixel), control=control),
        "recommended": setting(protect=prescribe(base, "recipe"), control=control),
    }


def row(line: Line, store: Store) -> ExperimentRow:
    """Sum up a line, all figures on test people."""
    report = store.audited(line.setting)
    inversion = report.attacks["inversion"]
    assert isinstance(inversion, AttackResult)
    strongest = inversion.strongest.get("picture_similarity", inversion.strongest["mse"])
    drawn = inversion.ways[line.attacker or strongest].scores
    scores: Scores = {"mean_mcc": store.trained(line.setting).utility.value}
    scores |= {name: drawn.get(name) for name in ("picture_similarity", "ssim", "psnr", "recognised")}
    if line.attacker is not None:
        scores["strongest_picture_similarity"] = inversion.scores.get("picture_similarity")
    for name in ("feature_similarity", "tar_at_far_1e-3", "lda_score"):
        scores[name] = scores_of(report.attacks[metrics()[name].attack]).get(name)
    faces, features = report.floors["mean_picture"], report.floors.get("mean_feature", {})
    floor: Floors = {name: faces[name] for name in ("picture_similarity", "ssim", "psnr") if name in faces}
    return ExperimentRow(
        id=line.id,
        title=line.title,
        protection=line.protection,
        cut=line.setting.protect.network.cut,
        attacker=line.attacker,
        at=line.at,
        paper=dict(line.paper),
        scores=scores,
        strongest=strongest,
        leakage=report.leakage,
        floor=floor | {"mean_mcc": 0.0} | features,
        run=str(store.run(line.setting).relative_to(store.path)),
        audit=str(store.report(line.setting).relative_to(store.path)),
    )
