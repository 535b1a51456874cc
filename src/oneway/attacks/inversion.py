"""The inversion attack: a decoder trained from scratch on public pictures and their features (eqs. 1 to 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oneway import losses
from oneway.attacks.access import Access, sample
from oneway.attacks.fit import Fitted, Place, Schedule, fit
from oneway.config import Count, NotNegative, Positive, checked
from oneway.data.batches import Batches, load
from oneway.data.packed import Part, Public, Validation
from oneway.errors import InputError
from oneway.models.adversarial import AdversarialLoss
from oneway.models.decoder import Decoder, Stage, stages_of_shape
from oneway.models.perceptual import Distance, Perceptual
from oneway.models.residual import ResidualDecoder
from oneway.models.transformer import TransformerDecoder

AnyDecoder = Decoder | ResidualDecoder | TransformerDecoder
Drawing = TypeVar("Drawing", bound=AnyDecoder)
Architecture = Literal["mirror", "residual", "transformer"]


@checked
@dataclass(frozen=True, kw_only=True)
class InversionConfig(Schedule):
    """The attacker's decoder, what it minimises and how long it is trained.

    It minimises reconstruction + gan * deception + perceptual * distance (eq. 5): `losses.reconstruction`, a mean over
    pixels with values in 0..1, `losses.deception` and `losses.perceptual`. The first is about 0.01 where an attack
    succeeds, the second about -0.7 where the discriminator cannot tell, the third some units, as the network has it;
    so weights that leave the first its say are far below 1.

    Attributes:
        decoder: `mirror` (of the encoder), `residual` (a U-shape with many more weights) or `transformer`.
        width: factor on the decoder's channels.
        gan: weight of the discriminator's opinion, the first weight of eq. 5; 0 trains no discriminator.
        perceptual: weight of the distance in a perceptual network, the second weight of eq. 5.
        keep: let `attack` leave the attacker beside its results, as `AuditConfig.keep` says.

    """

    decoder: Architecture = "mirror"
    width: Positive = 2.0
    gan: NotNegative = 0.0
    perceptual: NotNegative = 0.0
    batch_size: Count = 16
    learning_rate: Positive = 4e-3
    check_every: Count = 300
    max_steps: Count = 6000
    keep: bool = False


def draw_decoder(config: InversionConfig, shape: tuple[int, ...], stages: list[Stage] | None, size: int) -> AnyDecoder:
    """Draw a decoder's first weights, by the seed.

    Args:
        config: which decoder, how wide, and the seed.
        shape: of one picture's features.
        stages: what `stages_of` reads off the encoder, if it can be had; the mirror is of those.
        size: pixels a side of the pictures.

    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        if config.decoder == "residual":
            return ResidualDecoder(shape, size, width=config.width)
        if config.decoder == "transformer":
            return TransformerDecoder(shape, size, width=config.width)
        return Decoder(shape, stages or stages_of_shape(shape, size), size, width=config.width)


def invert(
    access: Access,
    public: Public,
    validation: Validation,
    decoder: Drawing,
    config: InversionConfig,
    place: Place,
    *,
    perceptual: Perceptual | None = None,
    rows: NDArray[np.int64] | None = None,
    name: str = "attack",
) -> Fitted[Drawing]:
    """Train `decoder` to undo the encoder, until it stops getting better on people it was not trained on.

    Better is a lower reconstruction error, plus the weighted perceptual distance where that has a weight; the
    discriminator's opinion does not count, since it means something else at every check.

    Args:
        access: the victim.
        public: the attacker's pictures.
        validation: other people, who decide when to stop and which weights are kept.
        decoder: new weights, from features to pictures; it is told the scale of the features first.
        config: what it minimises, and the schedule.
        place: where it runs and where its state is kept.
        perceptual: the network of `config.perceptual`.
        rows: the public pictures whose features it has, each queried once and not mirrored; all by default.
        name: of the attack, for the bar and for errors.

    Raises:
        InputError: if `config.perceptual` has no network.
        DivergedError: if the error is no longer finite.

    """
    seen = _sight(config.perceptual, perceptual, place) if config.perceptual else None
    rival = AdversarialLoss(public.pack.size, seed=config.seed, fabric=place.fabric) if config.gan else None
    batches = Batches(
        public,
        batch_size=config.batch_size,
        seed=config.seed,
        device=place.fabric.device,
        mirror=access.mirrors and rows is None,
        rows=rows,
    )
    if not place.checkpoint.exists():
        with access.seeded(config.seed, name, "scale"):
            decoder.whiten.observe(access.features(public, sample(batches.rows, access.shape, seed=config.seed)))

    def compare(reconstructed: Tensor, pictures: Tensor) -> Tensor:
        error = losses.reconstruction(reconstructed, pictures)
        return error if seen is None else error + config.perceptual * seen(reconstructed, pictures)

    def loss(network: nn.Module, step: int) -> Tensor:
        index, mirrored = batches.draw(step)
        pictures = load(public, index, mirrored, place.fabric.device)
        reconstructed = network(access.features(public, index, mirrored))
        error = compare(reconstructed, pictures).mean()
        return error if rival is None else error + config.gan * rival(reconstructed, pictures).mean()

    def error(network: nn.Module) -> float:
        total = 0.0
        for start in range(0, len(validation), 256):
            part = slice(start, start + 256)
            total += float(compare(*reconstruct(access, network, validation, part, place)).sum())
        return total / len(validation)

    others = {} if rival is None else {"discriminator": (rival.network, rival.optimizer)}
    return fit(decoder, loss, error, config, place, name=name, access=access, others=others)


def _sight(weight: float, network: Perceptual | None, place: Place) -> Distance:
    if network is None:
        raise InputError(
            f"perceptual = {weight:g} weighs a distance in a network that was not given; give one, as "
            "open_perceptual('vgg16') does, or set perceptual to 0"
        )
    return Distance(network, place.fabric)


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
