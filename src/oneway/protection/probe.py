"""The fresh probe: what a decoder that never played makes of the encoder as it is, while it is still being trained.

The decoder that plays is no measure of privacy, since the encoder has learned to fail it. A probe is drawn afresh and
trained for a short while against the frozen encoder, on public people, and judged by validation people. So it tells in
time whether the encoder only outran its opponent, and which of its weights did best against someone new. It is a
short attack: what an encoder leaks is for an audit to say.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from oneway import losses
from oneway.config import Whole, record
from oneway.data.batches import Batches, load
from oneway.data.packed import Pack
from oneway.models.decoder import Decoder, mirror
from oneway.models.perceptual import Distance
from oneway.models.seeded import seeded
from oneway.protection.config import ProtectConfig
from oneway.protection.game import Player, Protector, adversary_steps, player, protection_term
from oneway.report.reports import Probed

SEED = 104_729
"""From the seeds of the decoders that play to those of the probes."""
OUTRUN = 0.8
"""A probe whose error is below this share of the playing decoder's has drawn what the latter could not."""


@record
@dataclass(frozen=True, kw_only=True)
class Reached:
    """What a checkpoint says: how many steps were taken, and what probes found, where there are any."""

    step: Whole
    probes: dict[str, Probed | None] | None


class Probe:
    """Makes probes, and keeps the protector's weights that did best in one.

    Args:
        fabric: where they run.
        pack: the data; probes are trained on its public people and judged by its validation people.
        attributes: the task.
        config: of the run.
        protector: who is probed.
        mean_face: (1, 3, size, size).
        sight: the perceptual network's distance, if the game has one.

    """

    def __init__(
        self,
        fabric: Fabric,
        pack: Pack,
        attributes: tuple[str, ...],
        config: ProtectConfig,
        protector: Player[Protector],
        mean_face: Tensor,
        sight: Distance | None,
    ) -> None:
        self._fabric, self._pack, self._config, self._protector = fabric, pack, config, protector
        self._labels = torch.from_numpy(pack.validation.labels(attributes))
        self._mean_face, self._sight = mean_face, sight
        self._kept = copy.deepcopy(protector.network)
        self.last: Probed | None = None
        self.best: Probed | None = None

    def due(self, step: int) -> bool:
        """Say whether a probe follows on `step`, which is only where the game has its full weight, and at the end."""
        game, steps = self._config.game, self._config.steps
        return step == steps or (step >= (game.warmup + game.ramp) * steps and step % game.probe_every == 0)

    def make(self, step: int, playing: Player[Decoder]) -> None:
        """Train a fresh decoder on the protector as it is after `step`, and keep its weights if they are the best."""
        game, config, encoder = self._config.game, self._config, self._protector.network.encoder
        seed = config.seed + SEED + step
        public = Batches(
            self._pack.public,
            batch_size=game.decoder_batch_size,
            seed=seed,
            device=self._fabric.device,
            rank=self._fabric.global_rank,
            world=self._fabric.world_size,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            decoder = mirror(encoder, self._pack.size, width=game.decoder_width)
        fresh = player(self._fabric, decoder, config.decoder_learning_rate, 0.0)
        with seeded(encoder, seed, self._fabric.global_rank):
            for first in range(0, game.probe_steps, 10):
                turns = range(first, min(first + 10, game.probe_steps))
                adversary_steps(self._fabric, self._protector, [fresh], [public(turn)[0] for turn in turns])
        judged = []
        for each in (fresh, playing):  # in the same noise
            with seeded(self._protector.network, config.seed, SEED):
                judged.append(self._judge(each.network))
        (utility, error, term), (_, playing_error, _) = judged
        found = Probed(
            step=step,
            error=error,
            playing_error=playing_error,
            objective=utility + term,
            alarm=error < OUTRUN * playing_error,
        )
        self.last = found
        if self.best is None or found.objective < self.best.objective:
            self.best = found
            self._kept.load_state_dict(self._protector.network.state_dict())

    @torch.no_grad()
    def _judge(self, decoder: Decoder) -> tuple[float, float, float]:
        """Give the utility loss, a decoder's error and the weighted term of the game, on validation people."""
        protector, validation, game = self._protector.network, self._pack.validation, self._config.game
        modes = [(module, module.training) for network in (protector, decoder) for module in network.modules()]
        for network in (protector, decoder):
            network.eval()
        totals = torch.zeros(3)
        for start in range(0, len(validation), 256):
            pictures = load(validation, slice(start, start + 256), device=self._fabric.device)
            labels = self._labels[start : start + 256].to(self._fabric.device)
            with self._fabric.autocast():
                features, logits = protector(pictures)
                drawn = decoder(features)
            term = protection_term(
                drawn, pictures, self._mean_face, game.target, game.pixel, game.perceptual, self._sight
            )
            found = [losses.utility(logits, labels), losses.reconstruction(drawn, pictures).mean(), term]
            totals += torch.stack(found).cpu() * len(pictures) / len(validation)
        for module, training in modes:
            module.training = training
        utility, error, term = totals.tolist()
        return utility, error, term

    def found(self) -> dict[str, Probed | None]:
        """Give the last probe and the best, whose weights are kept."""
        return {"last": self.last, "best": self.best}

    def remember(self, found: Mapping[str, Probed | None]) -> None:
        """Go back to what was found before."""
        self.last, self.best = found.get("last"), found.get("best")

    def take_best(self) -> None:
        """Put back the weights that did best against a fresh decoder."""
        self._protector.network.load_state_dict(self._kept.state_dict())

    def trained(self) -> dict[str, tuple[nn.Module, Optimizer | None]]:
        """Give what a checkpoint keeps, by name."""
        return {"kept": (self._kept, None)}
