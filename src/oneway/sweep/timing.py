"""How long settings will take on this machine: a few steps of each, timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from oneway.attacks.access import BlackBox
from oneway.attacks.feature import FeatureConfig, learn
from oneway.attacks.fit import Place
from oneway.attacks.inversion import InversionConfig, draw_decoder, invert
from oneway.attacks.panel import attackers
from oneway.data.batches import load
from oneway.data.packed import Pack, Part, Public, Validation
from oneway.judges.identification import OWN, open_verifier
from oneway.models.decoder import stages_of
from oneway.models.perceptual import open_perceptual
from oneway.protection.run import build
from oneway.protection.train import Training, open_distance
from oneway.runtime import launch
from oneway.sweep.store import Setting, Store

TIMED = 2
"""Steps of each kind that are timed, after one that is not."""


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
    judged = _judging(store) if audited else 0.0
    for each in audited.values():
        seconds += _attacking(each) + (len(each.audit.attackers) + each.audit.seeds + 1) * judged
    return Estimate(seconds=seconds, runs=len(trained), audits=len(audited))


def _training(setting: Setting) -> float:
    pack, config = Pack.open(setting.data), setting.protect
    attributes = tuple(config.attributes) or pack.attributes
    protector = build(config, size=pack.size, num_attributes=len(attributes))
    fabric = launch(config.runtime)
    with TemporaryDirectory() as folder:
        training = Training(fabric, pack, attributes, config, protector, Path(folder), open_distance(config, fabric))
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
    pictures, landmarks = load(pack.test, slice(0, 32)), pack.test.landmarks(slice(0, 32))
    verifier(pictures[:1], None if landmarks is None else landmarks[:1])  # what is done once is not counted
    begun = time.perf_counter()
    verifier(pictures, landmarks)
    return (time.perf_counter() - begun) / len(pictures) * (len(pack.validation) + len(pack.test))


def _attacking(setting: Setting) -> float:
    """Time steps of the attackers that are trained, by the difference of two short trainings."""
    pack, audit = Pack.open(setting.attacked), setting.audit
    encoder = build(setting.protect, size=pack.size, num_attributes=1).encoder
    fabric = launch(audit.runtime)
    access = BlackBox(encoder, fabric, pack.size)
    public = Public(pack=pack, rows=_first(pack.public, 64))
    few = Validation(pack=pack, rows=_first(pack.validation, 1))
    known = {part.split: np.ones((len(part), 512), dtype=np.float32) for part in (public, few)}
    perceptual = None if audit.perceptual is None else open_perceptual(audit.perceptual).to(fabric.device)

    def draw(config: InversionConfig, place: Place) -> None:
        decoder = draw_decoder(config, access.shape, stages_of(encoder, pack.size), pack.size)
        invert(access, public, few, decoder, config, place, perceptual=perceptual)

    def predict(config: FeatureConfig, place: Place) -> None:
        learn(access, public, few, known, config, place)

    def seconds_of(attack: Callable[[Any, Place], None], config: InversionConfig | FeatureConfig) -> float:
        took = []
        for steps in (1, 1 + TIMED):
            with TemporaryDirectory() as folder:
                place = Place(fabric=fabric, checkpoint=Path(folder) / "attack.safetensors", progress=False)
                begun = time.perf_counter()
                attack(replace(config, max_steps=steps, check_every=steps), place)
                took.append(time.perf_counter() - begun)
        budget = config.max_steps if audit.steps is None else min(audit.steps, config.max_steps)
        return budget * max(0.0, took[1] - took[0]) / TIMED

    configs = [attackers()[name].config for name in audit.attackers]  # none of another package's, whose time is unknown
    drawn = [seconds_of(draw, config) for config in configs if config is not None]
    # Whichever is the strongest is trained again, so no other takes longer than the longest.
    return sum(drawn) + (audit.seeds - 1) * max(drawn, default=0.0) + seconds_of(predict, audit.feature)


def _first(part: Part, count: int) -> slice:
    return slice(part.rows.start, min(part.rows.start + count, part.rows.stop))
