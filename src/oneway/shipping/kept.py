"""The strongest attacker, which an audit with `--set keep=true` has left, opened to be part of a bundle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from oneway.errors import InputError
from oneway.judges.judge import FALSE_ACCEPT_RATE
from oneway.metrics.estimate import Estimate
from oneway.models.onnx import Graph
from oneway.protection.run import Run
from oneway.report.reports import AuditReport, read_report
from oneway.report.values import Refused
from oneway.shipping.attacker import Attacker, Seen
from oneway.shipping.outside import kept_outside
from oneway.storage import runs

KEPT = "attacker.onnx"
"""File of the attacker in the folder of an audit: `features`, float32 (n, *shape), to `picture`, float32
(n, 3, size, size) in 0..1. What it says of itself: `attacker`, its name; `victim`, the hash of the encoder;
`trained_with`, the names of judges as JSON; `pictures`, how many of other people it learned from."""
AGAIN = "audit the run anew: oneway audit RUN --set keep=true --out NEW, or oneway attack for one attacker alone"


@dataclass(frozen=True)
class Kept:
    """The file of an attacker, see `KEPT`, and what is said of it."""

    path: Path
    about: Attacker


def open_kept(folder: Path, run: Run) -> Kept:
    """Open the attacker that an audit of a run, or an attack on it, has kept.

    Args:
        folder: of `oneway audit` or `oneway attack`, with `--set keep=true`.
        run: the attacked one.

    Raises:
        InputError: if the audit is of another encoder, or has kept no attacker.

    """
    report = read_report(folder, AuditReport, "oneway audit")
    attacked, own = report.provenance.victim.get("hash"), run.about["hash"]
    if report.victim.kind != "run" or attacked != own:
        raise InputError(
            f"{folder} attacked {report.victim.kind} {report.victim.name} ({str(attacked)[:12]}), and {run.path} is "
            f"{own[:12]}; {AGAIN}"
        )
    path = folder / KEPT
    if not path.is_file():
        raise InputError(f"{folder} keeps no attacker ({KEPT}); {AGAIN}")
    told = Graph(path, "attacker").about
    if told.get("victim") != own:
        raise InputError(f"{path} draws of another encoder ({str(told.get('victim'))[:12]}); {AGAIN}")
    outside = kept_outside(path)
    if outside is not None:
        raise InputError(f"{path}: {outside}; {AGAIN}")
    return Kept(path, _about(folder, report, told))


def _about(folder: Path, report: AuditReport, told: dict[str, str]) -> Attacker:
    """Say of a report, and of the file, what a bundle says of its attacker."""
    name = told.get("attacker", "")
    found, floors = report.attacks["inversion"], report.floors["mean_picture"]
    way = None if isinstance(found, Refused) else found.ways.get(name)
    if isinstance(found, Refused) or way is None or way.course is None:
        raise InputError(f"{folder / runs.RESULTS} says nothing of {name or KEPT}; {AGAIN}")
    ssim, floor = way.scores.get("ssim"), floors.get("ssim")
    if ssim is None or floor is None:
        raise InputError(f"{folder / runs.RESULTS} says nothing of what {name} draws; {AGAIN}")
    return Attacker(
        name=name,
        trained_with=tuple(json.loads(told["trained_with"])),
        pictures=int(told["pictures"]),
        converged=way.course.converged,
        ssim=ssim.value,
        floor=_value(floor),
        seen=_seen(report, name),
        results=runs.file_hash(folder / runs.RESULTS),
    )


def _seen(report: AuditReport, name: str) -> Seen | None:
    """Say what the judge that counts sees in what an attacker draws."""
    for judge in report.judges:
        for seen in (judge.independent, judge.pictures):
            if judge.counts and seen is not None and seen.attacker == name:
                rates = {each.false_accept_rate: each.share for each in seen.recognised}
                share = rates.get(FALSE_ACCEPT_RATE)
                return Seen(
                    judge=judge.name,
                    similarity=seen.picture_similarity.value,
                    floor=seen.floor.value,
                    recognised=None if share is None else share.value,
                )
    return None


def _value(floor: Estimate | float) -> float:
    return floor.value if isinstance(floor, Estimate) else floor
