"""The strength of the attacker (Table 1): losses, more pictures, and what is trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from oneway.auditing.config import AuditConfig
from oneway.reproduction.config import ExperimentConfig
from oneway.reproduction.line import PROTECTIONS, Line, Protection, settings
from oneway.reproduction.paper import Effect, figures, table

SINGLE = {"9": {"mean_mcc": 0.851}, "10": {"mean_mcc": 0.862}}
"""The paper's MCC of Smiling, where it is the only attribute: the task's own, and not the mean over 40."""
GROUPS = (
    ("1", "2", "pixel loss", "mirror"),
    ("3", "4", "pixel and GAN loss", "gan"),
    ("5", "6", "pixel and GAN loss, more attacker's pictures", "gan"),
    ("7", "8", "pixel and GAN loss, more pictures in training too", "gan"),
    ("9", "10", "pixel loss; the task is {0} alone, whose MCC stands here", "mirror"),
)
"""Pairs of the table's rows, unprotected and protected, and what their attacker has."""


def lines(config: ExperimentConfig, data: Path, joined: Path | None) -> list[Line]:
    """List the ten rows of Table 1, those of protected encoders once more with the recommended recipe.

    Args:
        config: the network, the budgets and the attackers.
        data: the pack.
        joined: the same pack with more public people; without it, rows 5 to 8 are left out. Those people have no
            attributes, so in training only the game's decoder gets them, and row 7's encoder is trained as row 5's.

    """
    plain, gan = _with(config, "mirror"), _with(config, "mirror", "gan")
    own = settings(config, data, audit=gan)
    single = settings(config, data, audit=plain, changes={"task": (config.single,)})
    made = {"1": own, "3": own, "9": single}
    if joined is not None:
        made["5"] = settings(config, data, attacked=joined, audit=gan)
        twin = made["5"]["none"]
        made["7"] = {
            name: twin if name == "none" else replace(each, control=twin)
            for name, each in settings(config, joined, audit=gan).items()
        }
    rows = {row["id"]: figures(row) for row in table(1)}
    found = []
    for first, second, title, attacker in GROUPS:
        for protection in PROTECTIONS if first in made else ():
            number = first if protection == "none" else second
            found.append(
                Line(
                    id=_id(number, protection),
                    title=f"{'unprotected' if protection == 'none' else protection}; {title.format(config.single)}",
                    protection=protection,
                    setting=made[first][protection],
                    attacker=attacker,
                    paper=rows[number] | SINGLE.get(number, {}),
                )
            )
    return found


def effects(found: list[Line]) -> list[Effect]:
    """List what Table 1 shows."""
    there = {line.id: line for line in found}
    claims = []
    for first, second, _, _ in GROUPS:
        for protection in ("paper", "recommended"):
            after = _id(second, protection)
            for metric in ("picture_similarity", "feature_similarity", "mean_mcc"):
                if after in there:
                    claim = f"protection, {there[after].title}"
                    claims.append(Effect(claim=claim, metric=metric, before=first, after=after))
    stronger = [
        ("a GAN loss helps the attacker", "1", "3"),
        ("more pictures help the attacker", "3", "5"),
        ("one attribute leaves less to draw from", "1", "9"),
    ]
    claims += [
        Effect(claim=claim, metric="picture_similarity", before=before, after=after)
        for claim, before, after in stronger
    ]
    return [effect for effect in claims if {effect.before, effect.after} <= there.keys()]


def _with(config: ExperimentConfig, *attackers: str) -> AuditConfig:
    """Give the audit that has some attackers in any case: rows without the GAN need not train it."""
    return replace(config.audit, attackers=tuple(dict.fromkeys((*config.audit.attackers, *attackers))))


def _id(number: str, protection: Protection | str) -> str:
    return f"{number} recommended" if protection == "recommended" else number
