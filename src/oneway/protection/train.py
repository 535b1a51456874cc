"""Protect an encoder: play the game step by step, logged, checkpointed, resumable."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from oneway.config import Whole, from_dict, record, to_dict
from oneway.data.batches import Batches, load, mean_picture, spread
from oneway.data.packed import Pack
from oneway.errors import DivergedError, InputError
from oneway.models.batch_invariance import check_company
from oneway.models.decoder import Decoder, mirror
from oneway.models.perceptual import Distance, open_perceptual
from oneway.models.seeded import seeded
from oneway.plugins import blamed
from oneway.progress import track
from oneway.protection.config import ProtectConfig
from oneway.protection.defences.defence import penalty_of
from oneway.protection.game import Protector, adversary_steps, player, protector_step
from oneway.protection.log import Log
from oneway.protection.run import WEIGHTS, Run, build, describe, predict_logits
from oneway.report.reports import RunReport, Validated
from oneway.report.values import SCHEMA
from oneway.runtime import launch, together
from oneway.storage import runs
from oneway.storage.claims import claim_in_one, tidy
from oneway.tasks.registry import task_of
from oneway.tasks.task import GROUP, Task, labels_of, loss_of, targets_of, utility_of

LOG_EVERY = 20
MEASURED = 256
"""Public pictures by which the units of a perceptual distance are measured."""
COLUMNS = ("utility_loss", "protector_error", "adversary_error", "pixel_weight", "learning_rate")


def protect(
    pack: Pack,
    out: Path | str,
    config: ProtectConfig | None = None,
    *,
    network: nn.Module | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Run:
    """Train an encoder whose features keep a task and resist a decoder that learns to invert them.

    Plays the game of Xiao et al. 2020 (eqs. 6 to 9) on the pack's private and public people. How far the encoder
    resists is not known from this: attack it afresh.

    Args:
        pack: the data.
        out: the new run folder: configuration, weights, log, and `results.json` with the utility on the test people.
        config: the network, the game and its schedule.
        network: a module of your own instead of a configured backbone; `config.network.cut` names its layer.
        resume: continue the unfinished run in `out`; on one CPU process the result is the same to the bit.
        progress: show a bar with rates and losses.

    Raises:
        InputError: for anything that cannot be used, before anything is written.
        DivergedError: if a loss is no longer finite; the last good checkpoint is kept.
        LostError: if one of several processes died; the last checkpoint is kept.

    """
    config, out = config or ProtectConfig(), Path(out)
    task = task_of(pack, config.task)
    fabric = launch(config.runtime)
    _divide(config, fabric.world_size)
    protector = build(config, size=pack.size, num_logits=task.num_logits, network=network)
    if network is not None:
        check_company(protector.encoder, pack.public, torch.device("cpu"))
    distance = open_distance(config, fabric, pack)
    described = {
        "protect": runs.named(config),
        "network": None if network is None else type(network).__qualname__,
        **describe(pack, task, out),
    }
    with claim_in_one(fabric, out, described, resume=resume) as continued:
        training = Training(fabric, pack, task, config, protector, out, distance)
        if continued:
            training.restore()
        with together(fabric):
            training.run(progress=progress and fabric.is_global_zero)
            if fabric.is_global_zero:
                _finish(training, pack, task, protector, described)
            fabric.barrier()
    return Run(path=out, config=config, pack=pack)


def open_distance(config: ProtectConfig, fabric: Fabric, pack: Pack) -> Distance | None:
    """Open the distance in the game's perceptual network, in its units, if the protector looks through one."""
    seen = config.game.perceptual_network if config.game.perceptual else None
    if seen is None:
        return None
    distance = Distance(open_perceptual(seen), fabric)
    if config.game.perceptual_relative:
        some = load(pack.public, spread(len(pack.public), MEASURED), device=fabric.device)
        distance.measure(some, mean_picture(pack.public, fabric.device))
    return distance


def _divide(config: ProtectConfig, processes: int) -> None:
    sizes = {"batch_size": config.batch_size, "game.decoder_batch_size": config.game.decoder_batch_size}
    for name, size in sizes.items():
        if size % processes:
            raise InputError(f"{name} {size} must be a multiple of the {processes} processes")


@record
@dataclass(frozen=True, kw_only=True)
class Reached:
    """What a checkpoint says: how many steps were taken."""

    step: Whole


class Training:
    """The state of a protect run, and its loop."""

    def __init__(
        self,
        fabric: Fabric,
        pack: Pack,
        task: Task,
        config: ProtectConfig,
        protector: Protector,
        out: Path,
        distance: Distance | None = None,
    ) -> None:
        game, world = config.game, fabric.world_size
        self.fabric, self.task, self.config, self.out, self.step = fabric, task, config, out, 0
        self.warm_steps = int(game.warmup * config.steps) if game.played else config.steps
        self.protector = player(fabric, protector, config.learning_rate, config.weight_decay)
        decoder = _draw_decoder(protector.encoder, pack.size, config.seed + 1)
        self.adversary = player(fabric, decoder, config.decoder_learning_rate, 0.0)
        shared = partial(Batches, rank=fabric.global_rank, world=world, device=fabric.device)
        labels = targets_of(task, pack.private)
        self.private = shared(pack.private, labels, batch_size=config.batch_size, seed=config.seed)
        self.public = shared(pack.public, batch_size=game.decoder_batch_size, seed=config.seed + 1)
        self.mean_picture, self.distance = mean_picture(pack.public, fabric.device), distance

    def run(self, *, progress: bool) -> None:
        """Play until the last step."""
        recent: list[Tensor] = []
        saved = time.monotonic()
        log = Log(self.out, COLUMNS, step=self.step) if self.fabric.is_global_zero else None
        with track(
            f"protect, {self.task.decides}", self.config.steps, "steps", enabled=progress, before=self.step
        ) as advance:
            while self.step < self.config.steps:
                recent.append(self.play())
                self.step += 1
                if self.step % LOG_EVERY == 0 or self.step == self.config.steps:
                    figures = self._check(torch.stack(recent).cpu(), log)
                    advance(len(recent), **figures)
                    recent = []
                    if time.monotonic() - saved > self.config.runtime.checkpoint_seconds:
                        self.save()
                        saved = time.monotonic()
        self.save()
        if log is not None:
            log.close()

    def play(self) -> Tensor:
        """One step of the protector, after the adversary's steps once the game is on."""
        config, game = self.config, self.config.game
        rate = learning_rate(self.step, config.steps) * config.learning_rate
        for group in self.protector.optimizer.param_groups:
            group["lr"] = rate
        played = self.step - self.warm_steps
        share, adversary_error = 0.0, torch.zeros((), device=self.fabric.device)
        with seeded(self.protector.network, config.seed, self.step, self.fabric.global_rank):
            if played >= 0:
                share = min(1.0, (played + 1) / max(1.0, game.ramp * config.steps))
                first = played * game.decoder_steps
                batches = [self.public(step)[0] for step in range(first, first + game.decoder_steps)]
                adversary_error = adversary_steps(self.fabric, self.protector, self.adversary, batches)
            pictures, labels = self.private(self.step)
            utility_loss, protector_error = protector_step(
                self.fabric,
                self.protector,
                self.adversary,
                pictures,
                labels,
                utility_loss=partial(loss_of, self.task),
                mean_picture=self.mean_picture,
                pixel=game.pixel * share,
                target=game.target,
                perceptual=game.perceptual * share,
                distance=self.distance,
                penalty=None if config.active is None else partial(penalty_of, config.active),
            )
        settings = torch.tensor([game.pixel * share, rate], device=self.fabric.device)
        return torch.cat([torch.stack([utility_loss, protector_error, adversary_error]), settings])

    def _check(self, figures: Tensor, log: Log | None) -> dict[str, float]:
        """Log the averages of the last steps, unless one of them has diverged."""
        finite = figures.isfinite().all(dim=1)
        if not finite.all():
            step = self.step - len(figures) + int((~finite).nonzero()[0, 0]) + 1
            checkpoint = self.out / runs.CHECKPOINT
            kept = f"step {runs.read_tensors(checkpoint)[1]['step']} in {checkpoint}" if checkpoint.exists() else "none"
            raise DivergedError(
                f"the loss is not finite at step {step} (last good checkpoint: {kept}); "
                f"lower learning_rate (now {self.config.learning_rate:g}) or pixel (now {self.config.game.pixel:g})"
            )
        ruined = [
            name
            for network, _ in self._players().values()
            for name, weight in network.state_dict().items()
            if not weight.isfinite().all()
        ]
        if ruined:
            raise DivergedError(f"the weights {ruined[0]} are not finite after step {self.step}")
        means = dict(zip(COLUMNS, figures.mean(dim=0).tolist(), strict=True))
        if log is not None:
            log.write(self.step, means)
        played = {"decoder error": means["adversary_error"]} if self.step > self.warm_steps else {}
        return {"utility loss": means["utility_loss"], **played}

    def _players(self) -> dict[str, tuple[nn.Module, Optimizer | None]]:
        return {
            "protector": (self.protector.network, self.protector.optimizer),
            "adversary": (self.adversary.network, self.adversary.optimizer),
        }

    def save(self) -> None:
        """Write everything that the rest of the run depends on."""
        if self.fabric.is_global_zero:
            runs.save(self.out / runs.CHECKPOINT, self._players(), to_dict(Reached(step=self.step)))

    def restore(self) -> None:
        """Go back to the checkpoint, if the run got as far as writing one."""
        if not (self.out / runs.CHECKPOINT).exists():
            return
        path = self.out / runs.CHECKPOINT
        about = runs.restore(path, self._players())
        reached = from_dict(Reached, about, f"{path}: ", "delete it to begin anew")
        if reached.step > self.config.steps:
            raise InputError(f"{path}: step is {reached.step} of {self.config.steps}; delete it to begin anew")
        self.step = reached.step


def _draw_decoder(encoder: nn.Module, size: int, seed: int) -> Decoder:
    """Draw the weights of the decoder that plays, the mirror of the encoder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return mirror(encoder, size)


def learning_rate(step: int, steps: int) -> float:
    """Give the share of the highest learning rate at `step`: it rises over the first tenth, then falls as a cosine."""
    done = (step + 1) / steps
    return min(1.0, done / 0.1) * (0.5 + 0.5 * math.cos(math.pi * max(0.0, (done - 0.1) / 0.9))) + 1e-4


def _calibrate(fabric: Fabric, pack: Pack, config: ProtectConfig, task: Task, protector: Protector) -> float:
    """Shift the logits so that 0 is where the task's thresholds are, as the validation people say.

    Returns:
        its utility on these, none of them decided on by thresholds that were chosen on them.

    """
    with seeded(protector, 1):
        logits = predict_logits(fabric, protector, pack.validation)
    labels = labels_of(task, pack.validation)
    with blamed(GROUP, task.name):
        if config.calibrate:
            protector.classifier.shift(torch.from_numpy(task.thresholds(logits, labels)).to(fabric.device))
        return task.validated(logits, labels, pack.validation.identities, calibrated=config.calibrate)


def _finish(training: Training, pack: Pack, task: Task, protector: Protector, described: Mapping[str, object]) -> None:
    """Write the weights and the utility on the test people; with the results in place, the run is finished."""
    fabric, config, out = training.fabric, training.config, training.out
    if config.active is not None:
        with seeded(protector, config.seed, "finish"):
            config.active.finish(protector.encoder, pack.private)
    held = _calibrate(fabric, pack, config, task, protector)
    runs.write_tensors(out / WEIGHTS, protector.state_dict())
    with seeded(protector, 0):
        logits = predict_logits(fabric, protector, pack.test)
    report = RunReport(
        schema=SCHEMA,
        utility=utility_of(task, logits, labels_of(task, pack.test), pack.test.identities),
        validation=Validated(utility=held),
        provenance=runs.provenance(**described),
    )
    runs.write_json(out / runs.RESULTS, to_dict(report))
    tidy(out, *(() if config.keep else (runs.CHECKPOINT,)))
