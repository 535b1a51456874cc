"""One attacker on one run: an audit that trains a single decoder and leaves every other attack out."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from oneway.attacks.inversion import InversionConfig
from oneway.auditing.audit import audit
from oneway.auditing.config import AuditConfig
from oneway.errors import InputError
from oneway.judges.verifier import Verifier
from oneway.protection.run import Run
from oneway.report.reports import AuditReport
from oneway.runtime import RuntimeConfig


def attack(
    run: Run,
    out: Path | str | None = None,
    config: InversionConfig | None = None,
    *,
    verifier: Verifier | None = None,
    control: Path | str | None = None,
    runtime: RuntimeConfig | None = None,
    network: nn.Module | None = None,
    images: bool = False,
    resume: bool = False,
    progress: bool = True,
) -> AuditReport:
    """Say what one attacker learns who steals a run's features: train a decoder from scratch, score it on test people.

    It is an audit with that attacker alone: the same floors, the same control, the same report, in minutes.

    Args:
        run: the victim; its encoder is frozen.
        out: a new folder for the attack; `attack` in the run's own by default.
        config: the attacker's decoder and schedule.
        verifier: compares faces; without one there are no identity scores.
        control: the folder of the same attack on the unprotected encoder, or of that run.
        runtime: where it runs.
        network: the module, if the run protects one of your own.
        images: as `audit` takes it.
        resume: continue the unfinished attack in `out`.
        progress: show a bar.

    Returns:
        the report, in which the other attacks are refused as left out.

    Raises:
        InputError: for anything that cannot be used.
        DivergedError: if the attacker's error is no longer finite.

    """
    config = config or InversionConfig()
    if config.perceptual:
        raise InputError(
            f"perceptual = {config.perceptual:g} needs a perceptual network, which one attack alone is not given; run "
            "oneway audit --set attackers=perceptual --set perceptual=vgg16"
        )
    return audit(
        run,
        out=run.path / "attack" if out is None else out,
        config=AuditConfig(alone=config, keep=config.keep, seed=config.seed, runtime=runtime or RuntimeConfig()),
        verifier=verifier,
        control=control,
        network=network,
        images=images,
        resume=resume,
        progress=progress,
    )
