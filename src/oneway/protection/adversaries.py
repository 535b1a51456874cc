"""The simulated attackers: decoders that learn on public pictures; the protector plays against the strongest."""

from __future__ import annotations

from functools import partial

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from oneway.models.adversarial import AdversarialLoss
from oneway.models.decoder import Decoder, mirror
from oneway.models.perceptual import Distance
from oneway.protection.config import ProtectConfig
from oneway.protection.game import Objective, Player, Protector, adversary_steps, player

SEED = 7919
"""Between the seeds of two decoders."""


class Adversaries:
    """One or several decoders of different sizes, and what they minimise.

    Args:
        fabric: where they run.
        encoder: whose mirrors they are.
        size: pixels a side of the pictures.
        config: how many there are, how wide, and what they minimise.
        sight: the perceptual network's distance, if the game has one.

    """

    def __init__(
        self, fabric: Fabric, encoder: nn.Module, size: int, config: ProtectConfig, sight: Distance | None
    ) -> None:
        game = config.game
        self._fabric, self._config, self._draw = fabric, config, partial(_draw, encoder, size, config)
        self.players = [
            player(fabric, self._draw(number, number), config.decoder_learning_rate, 0.0)
            for number in range(game.decoders)
        ]
        self._rival = AdversarialLoss(size, seed=config.seed + 1, fabric=fabric) if game.decoder_gan else None
        self.objective: Objective = Objective(
            gan=game.decoder_gan, rival=self._rival, perceptual=game.decoder_perceptual, sight=sight
        )
        self._errors = torch.zeros(game.decoders)

    def learn(self, protector: Player[Protector], batches: list[Tensor]) -> Tensor:
        """Step every decoder once on each batch of public pictures; give the strongest one's mean error."""
        errors = adversary_steps(self._fabric, protector, self.players, batches, self.objective)
        if len(self.players) > 1:  # in all processes the same one is the strongest
            errors = self._fabric.all_reduce(errors, reduce_op="mean")  # type: ignore[assignment]
        self._errors = errors
        return errors.min()

    @property
    def strongest(self) -> Player[Decoder]:
        """The decoder whose error was the smallest when they last learned."""
        return self.players[int(self._errors.argmin())]

    def renew(self, step: int) -> None:
        """Draw a decoder anew where it is its turn, `step` steps after the game began: none is ever old."""
        every = self._config.game.decoder_restart
        if not every or step == 0 or step % every:
            return
        turn = step // every
        number = (turn - 1) % len(self.players)
        renewed = self.players[number]
        renewed.network.load_state_dict(self._draw(number, len(self.players) + turn).state_dict())
        for weight in renewed.network.parameters():
            renewed.optimizer.state.pop(weight, None)

    def trained(self) -> dict[str, tuple[nn.Module, Optimizer | None]]:
        """Give the networks and optimizers that a checkpoint keeps, by name."""
        named: dict[str, tuple[nn.Module, Optimizer | None]] = {
            "adversary" if number == 0 else f"adversary {number + 1}": (each.network, each.optimizer)
            for number, each in enumerate(self.players)
        }
        if self._rival is not None:
            named["discriminator"] = (self._rival.network, self._rival.optimizer)
        return named


def _draw(encoder: nn.Module, size: int, config: ProtectConfig, number: int, drawn: int) -> Decoder:
    """Draw the weights of decoder `number`, the `drawn`-th decoder of the run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed + 1 + SEED * drawn)
        return mirror(encoder, size, width=config.game.decoder_width / 2**number)
