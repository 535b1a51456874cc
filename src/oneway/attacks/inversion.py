"""The inversion attack: a decoder trained from scratch on public pictures and their features (eq. 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oneway import losses
from oneway.attacks.access import Access
from oneway.attacks.fit import Fitted, Place, check_schedule, fit
from oneway.data.batches import Batches, load
from oneway.data.packed import Part, Public, Validation
from oneway.errors import InputError
from oneway.models.decoder import Decoder

SAMPLE = 512
"""Public pictures whose features tell the decoder their scale."""


@dataclass(frozen=True, kw_only=True)
class InversionConfig:
    """The attacker's decoder and how long it is trained.

    Attributes:
        width: factor on the channels of the encoder's mirror.
        batch_size: public pictures in a batch.
        learning_rate: the first; it falls to 0.3 of itself whenever the error on the validation people has not
            improved by 1 % since the last check, and training ends when that happens after the last fall.
        drops: how often the learning rate falls.
        check_every: steps between two checks.
        max_steps: the budget; an attack that it ends says so, since a longer one might do better.
        seed: of the initial weights and of the order of the pictures.

    """

    width: float = 2.0
    batch_size: int = 16
    learning_rate: float = 4e-3
    drops: int = 3
    check_every: int = 200
    max_steps: int = 6000
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.width > 0:
            raise InputError(f"width must be positive, not {self.width}")
        check_schedule(self)


def invert(
    access: Access,
    public: Public,
    validation: Validation,
    decoder: Decoder,
    config: InversionConfig,
    place: Place,
    *,
    rows: NDArray[np.int64] | None = None,
    name: str = "attack",
) -> Fitted[Decoder]:
    """Train `decoder` to undo the encoder, until it stops getting better on people it was not trained on.

    Args:
        access: the victim.
        public: the attacker's pictures.
        validation: other people, who decide when to stop and which weights are kept.
        decoder: new weights, from features to pictures; it is told the scale of the features first.
        config: the schedule.
        place: where it runs and where its state is kept.
        rows: the public pictures whose features it has, each queried once and not mirrored; all by default.
        name: of the attack, for the bar and for errors.

    Raises:
        DivergedError: if the error is no longer finite.

    """
    batches = Batches(
        public,
        batch_size=config.batch_size,
        seed=config.seed,
        device=place.fabric.device,
        mirror=access.mirrors and rows is None,
        rows=rows,
    )
    if not place.checkpoint.exists():
        sample = np.random.default_rng(config.seed).permutation(batches.rows)[:SAMPLE]
        decoder.standardise.observe(access.features(public, np.sort(sample)))

    def loss(network: nn.Module, step: int) -> Tensor:
        index, mirrored = batches.draw(step)
        pictures = load(public, index, mirrored, place.fabric.device)
        return losses.reconstruction(network(access.features(public, index, mirrored)), pictures).mean()

    def error(network: nn.Module) -> float:
        total = 0.0
        for start in range(0, len(validation), 256):
            part = slice(start, start + 256)
            total += float(losses.reconstruction(*reconstruct(access, network, validation, part, place)).sum())
        return total / len(validation)

    return fit(decoder, loss, error, config, place, name=name, access=access)


@torch.no_grad()
def reconstruct(
    access: Access, decoder: nn.Module, part: Part, index: NDArray[np.int64] | slice, place: Place
) -> tuple[Tensor, Tensor]:
    """Decode the features of pictures of a part.

    Returns:
        the reconstructions and the pictures, both (n, 3, size, size) in 0..1.

    """
    with place.fabric.autocast():
        reconstructed = decoder(access.features(part, index)).float()
    return reconstructed, load(part, index, device=place.fabric.device)
