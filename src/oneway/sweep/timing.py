"""How long settings will take on this machine: a few steps of each, timed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from oneway.attacks.access import BlackBox
from oneway.auditing.foretell import TIMED, Rehearsal, judging
from oneway.auditing.measures import configured_panel
from oneway.auditing.surrogates import open_surrogates
from oneway.data.packed import Pack
from oneway.judges.identification import OWN, open_verifiers
from oneway.judges.verifier import Verifier
from oneway.models.decoder import stages_of
from oneway.protection.run import build
from oneway.protection.train import Training, open_distance
from oneway.runtime import launch
from oneway.sweep.store import Setting, Store
from oneway.tasks.registry import task_of


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a plan will take.

    Attributes:
        seconds: one setting after the other, each attacker as long as its budget lasts; the solved attackers, linkage
            and pictures come on top.
        runs: encoders to be trained.
        audits: audits to be made.

    """

    seconds: float
    runs: int
    audits: int


def estimate(settings: Sequence[Setting], store: Store, *, audits: bool = True) -> Estimate:
    """Time a few steps of what is not made yet: of the training, with the game and without, and of the attackers.

    Args:
        settings: those wanted, with their controls.
        store: where some may be already.
        audits: whether they are audited too.

    """
    everything = [each for setting in settings for each in (setting.control, setting) if each is not None]
    trained = {each.run: each for each in everything if not (store.run(each) / "results.json").exists()}
    audited = {each.report: each for each in everything if audits and not store.made(each)}
    seconds = sum(_training(setting) for setting in trained.values())
    verifiers = _verifiers(store) if audited else []
    judged = sum(judging(verifier, Pack.open(store.pack)) for verifier in verifiers)
    for each in audited.values():
        seconds += _attacking(each, verifiers, judged)
    return Estimate(seconds=seconds, runs=len(trained), audits=len(audited))


def _training(setting: Setting) -> float:
    pack, config = Pack.open(setting.data), setting.protect
    task = task_of(pack, config.task)
    protector = build(config, size=pack.size, num_logits=task.num_logits)
    fabric = launch(config.runtime)
    with TemporaryDirectory() as folder:
        training = Training(fabric, pack, task, config, protector, Path(folder), open_distance(config, fabric, pack))
        warm = min(training.warm_steps, config.steps)
        seconds = warm * _seconds_a_step(training, 0) if warm else 0.0
        if warm < config.steps:
            seconds += (config.steps - warm) * _seconds_a_step(training, warm)
    return seconds


def _seconds_a_step(training: Training, step: int) -> float:
    training.step = step
    training.play()
    begun = time.perf_counter()
    for _ in range(TIMED):
        training.play()
    return (time.perf_counter() - begun) / TIMED


def _verifiers(store: Store) -> list[Verifier]:
    """Open the verifiers of a store, unless it is the pack's own that is trained first, for a minute or two."""
    if not store.verifiers and not (store.pack / OWN).is_file():
        return []
    return open_verifiers(Pack.open(store.pack), store.verifiers)


def _attacking(setting: Setting, verifiers: list[Verifier], judged: float) -> float:
    """Time steps of the attackers that are trained, each of whom the verifiers then judge in `judged` seconds."""
    pack, audit = Pack.open(setting.attacked), setting.audit
    encoder = build(setting.protect, size=pack.size, num_logits=1).encoder
    fabric = launch(audit.runtime)
    surrogates = open_surrogates(verifiers, audit, pack, fabric.device)
    rehearsal = Rehearsal(
        access=BlackBox(encoder, fabric, pack.size),
        pack=pack,
        config=audit,
        fabric=fabric,
        stages=stages_of(encoder, pack.size),
        surrogates=surrogates.networks,
    )
    panel = configured_panel(audit, surrogates.groups).values()
    return (
        rehearsal.training(panel)
        + max(len(verifiers), 1) * rehearsal.predicting()
        + (len(panel) + audit.seeds - 1) * judged
    )
