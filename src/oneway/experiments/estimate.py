"""How long settings will take on this machine: a few steps of each, timed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from oneway import losses
from oneway.attacks.inversion import attackers, draw_decoder
from oneway.data.batches import load
from oneway.data.packed import Pack
from oneway.experiments.sweep import Setting, Store
from oneway.models.decoder import stages_of
from oneway.models.identification import OWN, open_verifier
from oneway.models.split import features_shape
from oneway.protection.run import build
from oneway.protection.train import Training, open_sight
from oneway.runtime import launch

TIMED = 2
"""Steps of each kind that are timed, after one that is not."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a plan will take.

    Attributes:
        seconds: at most, one setting after the other: attackers mostly end before their budget does.
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
    judged = _judging(store) if audited else 0.0
    for each in audited.values():
        seconds += _attacking(each) + (len(each.audit.attackers) * each.audit.seeds + 1) * judged
    return Estimate(seconds=seconds, runs=len(trained), audits=len(audited))


def _training(setting: Setting) -> float:
    pack, config = Pack.open(setting.data), setting.protect
    attributes = tuple(config.attributes) or pack.attributes
    protector = build(config, size=pack.size, num_attributes=len(attributes))
    fabric = launch(config.runtime)
    with TemporaryDirectory() as folder:
        training = Training(fabric, pack, attributes, config, protector, Path(folder), open_sight(config, fabric))
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


def _judging(store: Store) -> float:
    """Time the verifier on what an attacker drew of validation and test people."""
    pack = Pack.open(store.pack)
    if store.verifier is None and not (store.pack / OWN).is_file():
        return 0.0  # it is trained first, for a minute or two
    verifier = open_verifier(pack, store.verifier)
    assert verifier is not None
    pictures = load(pack.test, slice(0, 32))
    begun = time.perf_counter()
    verifier(pictures)
    return (time.perf_counter() - begun) / len(pictures) * (len(pack.validation) + len(pack.test))


def _attacking(setting: Setting) -> float:
    pack, audit = Pack.open(setting.attacked), setting.audit
    encoder = build(setting.protect, size=pack.size, num_attributes=1).encoder.eval()
    shape, stages = features_shape(encoder, pack.size), stages_of(encoder, pack.size)
    seconds = 0.0
    for name in audit.attackers:
        config = attackers()[name]
        decoder = draw_decoder(config, shape, stages, pack.size).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        pictures = load(pack.public, slice(0, config.batch_size))
        with torch.no_grad():
            features = encoder(pictures)
        steps = config.max_steps if audit.steps is None else min(audit.steps, config.max_steps)
        for turn in range(1 + TIMED):
            if turn == 1:
                begun = time.perf_counter()
            losses.reconstruction(decoder(features), pictures).mean().backward()  # type: ignore[no-untyped-call]
        seconds += audit.seeds * steps * (time.perf_counter() - begun) / TIMED
    return seconds
