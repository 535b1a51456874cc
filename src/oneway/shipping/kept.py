"""The decoder that `oneway attack --set keep=true` left, opened to be part of a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from oneway.attacks.inversion import DECODER, InversionConfig, draw_decoder
from oneway.config import from_dict
from oneway.errors import InputError
from oneway.metrics.estimate import Estimate
from oneway.models.decoder import stages_of
from oneway.protection.loaded import Loaded
from oneway.protection.run import Run
from oneway.report.reports import AuditReport, read_report
from oneway.report.values import Refused
from oneway.shipping.attacker import Attacker
from oneway.storage import runs

AGAIN = "attack the run anew: oneway attack RUN --set keep=true"


@dataclass(frozen=True)
class Kept:
    """A decoder from features (n, *shape) to pictures (n, 3, size, size) in 0..1, and what is said of it."""

    decoder: nn.Module
    about: Attacker


def open_attack(folder: Path, run: Run, loaded: Loaded) -> Kept:
    """Open the decoder that an attack on a run has kept.

    Args:
        folder: of `oneway attack`, with `--set keep=true`.
        run: the attacked one.
        loaded: the same, whose shapes the decoder has.

    Raises:
        InputError: if the attack is of another run, or has kept no decoder.

    """
    report = read_report(folder, AuditReport, "oneway attack")
    attacked, own = report.provenance.victim.get("hash"), run.about["hash"]
    if report.victim.kind != "run" or attacked != own:
        raise InputError(
            f"{folder} attacked {report.victim.kind} {report.victim.name} ({str(attacked)[:12]}), and {run.path} is "
            f"{own[:12]}; {AGAIN}"
        )
    told = report.provenance.audit.get("alone")
    if not (folder / DECODER).is_file() or told is None:
        raise InputError(f"{folder} keeps no decoder ({DECODER}); {AGAIN}")
    config = from_dict(InversionConfig, told, f"{folder / runs.RESULTS}: alone: ", AGAIN)
    decoder = draw_decoder(config, loaded.shape, stages_of(loaded.protector.encoder, loaded.size), loaded.size)
    runs.fill(decoder, runs.read_tensors(folder / DECODER)[0], folder / DECODER)
    return Kept(decoder.eval(), _about(folder, report, config.decoder, len(run.pack.public)))


def _about(folder: Path, report: AuditReport, decoder: str, pictures: int) -> Attacker:
    """Say of a report what a bundle says of its attacker."""
    found = report.attacks["inversion"]
    ssim = None if isinstance(found, Refused) else found.scores.get("ssim")
    floor = report.floors["mean_picture"].get("ssim")
    if isinstance(found, Refused) or ssim is None or floor is None:
        raise InputError(f"{folder / runs.RESULTS} says nothing of what its attacker draws; {AGAIN}")
    ways = list(found.ways.values())
    return Attacker(
        decoder=decoder,
        pictures=pictures,
        converged=all(way.course is not None and way.course.converged for way in ways),
        ssim=ssim.value,
        floor=floor.value if isinstance(floor, Estimate) else floor,
        results=runs.file_hash(folder / runs.RESULTS),
    )
