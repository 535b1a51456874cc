"""The white-box attack: no network is trained, the picture itself is moved until its features are the stolen ones.

It starts from what a ridge regression draws. Where the encoder's noise is known, it looks for the most probable picture
instead: a face whose features differ from the stolen ones by no more than that noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from oneway.attacks.access import WhiteBox
from oneway.attacks.components import ComponentDecoder
from oneway.config import Count, NotNegative, Positive, Whole, checked
from oneway.data.packed import Part
from oneway.progress import track

FALL = 1e-3
"""What is left of the weight of the total variation at the last step."""
COARSEST = 4
"""Least pixels a side of the coarsest layer of a picture."""


@checked
@dataclass(frozen=True, kw_only=True)
class OptimisationConfig:
    """How the attacker searches for a picture.

    Attributes:
        steps: of Adam.
        learning_rate: the first, of the logits of pixels, or of principal components in units of their deviation; it
            falls to 0 as a cosine.
        total_variation: the first weight of the smoothness, beside a mismatch of 1 for features like another
            picture's; it falls to a thousandth of itself, so that faces come out coarse first.
        num_pictures: how many pictures are attacked, each of another person.
        seed: of their choice.

    """

    steps: Count = 500
    learning_rate: Positive = 0.07
    total_variation: NotNegative = 100.0
    num_pictures: Count = 64
    seed: Whole = 0


def victims(part: Part, config: OptimisationConfig) -> NDArray[np.int64]:
    """Choose the pictures to attack: one each of `num_pictures` people drawn by the seed, or of all, if they are fewer.

    Returns:
        (k,) places in the part, in rising order.

    """
    generator = np.random.default_rng(config.seed)
    order = generator.permutation(len(part))
    one_each = order[np.unique(part.identities[order], return_index=True)[1]]
    return np.sort(generator.permutation(one_each)[: config.num_pictures])


def mismatch(features: Tensor, stolen: Tensor, scale: Tensor) -> Tensor:
    """Squared distance of features to the stolen ones in units of their variance, the mean over numbers: (n,).

    Args:
        features: (n, ...).
        stolen: (n, ...).
        scale: the variance of the features over public pictures, of any shape that spreads over theirs, such as
            (1, channels, 1, 1); what never varies does not count.

    """
    weights = torch.where(scale > 0, scale.clamp(min=1e-30).reciprocal(), 0)
    return ((features - stolen).square() * weights).flatten(1).mean(dim=1)


def total_variation(pictures: Tensor) -> Tensor:
    """Squared difference of neighbours, across and down, the sum over the picture divided by its numbers: (n,).

    Mahendran & Vedaldi 2015, eq. 4, with exponent 2.
    """
    across, down = pictures.diff(dim=3).square(), pictures.diff(dim=2).square()
    return (across.sum(dim=(1, 2, 3)) + down.sum(dim=(1, 2, 3))) / pictures[0].numel()


def optimise(
    access: WhiteBox,
    stolen: Tensor,
    start: Tensor,
    scale: Tensor,
    config: OptimisationConfig,
    *,
    progress: bool = True,
) -> Tensor:
    """Look for pictures whose features are the stolen ones, by gradients through the encoder.

    Adam minimises `mismatch` plus a falling weight times `total_variation` (Mahendran & Vedaldi, CVPR 2015; against
    collaborative inference He et al., ACSAC 2019), with no knowledge of faces but the start. A picture is a sum of
    layers of 4, 8, 16 and more pixels a side, so that its coarse forms are found as fast as its details.

    Every picture is sought for itself: its result does not depend on the others, which only share the work. The
    attack fails where gradients mislead it, which is no proof that nothing is there: a trained decoder may find it.

    Args:
        access: the victim, with weights and gradients.
        stolen: (n, ...), the features of the pictures to be found.
        start: (1, 3, size, size) or (n, 3, size, size) in 0..1, such as the mean public face.
        scale: see `mismatch`.
        config: the search.
        progress: show a bar.

    Returns:
        (n, 3, size, size) in 0..1.

    """
    size, count = start.shape[-1], len(stolen)
    ground = torch.logit(start.to(access.device).clamp(0.01, 0.99)).expand(count, -1, -1, -1)
    sides = [size >> halvings for halvings in range(size.bit_length()) if size >> halvings >= COARSEST] or [size]
    layers = [torch.zeros(count, 3, side, side, device=access.device, requires_grad=True) for side in sides]

    def measure(step: int) -> tuple[Tensor, Tensor]:
        pictures = _draw(ground, layers)
        smoothness = config.total_variation * FALL ** (step / config.steps) * total_variation(pictures)
        return mismatch(access(pictures), stolen, scale), smoothness

    _descend(layers, measure, config, betas=(0.9, 0.99), progress=progress)
    return _draw(ground, layers).detach()


def most_probable(
    access: WhiteBox,
    stolen: Tensor,
    start: ComponentDecoder,
    spread: Tensor,
    config: OptimisationConfig,
    *,
    progress: bool = True,
) -> Tensor:
    """Look for the most probable pictures, given noisy features and what faces are like: maximum a posteriori.

    A picture is a mean and principal components of public ones, each normally distributed; features differ from those
    of the picture by the encoder's own Gaussian noise. Adam minimises the mismatch in units of that noise plus half the
    squared components in units of their deviation, from where a ridge regression puts them.

    Args:
        access: the victim, whose noise is known.
        stolen: (n, ...), the features of the pictures to be found.
        start: the ridge regression.
        spread: deviation of each component over public pictures, (components,).
        config: the search.
        progress: show a bar.

    Returns:
        (n, 3, size, size) in 0..1.

    """
    noise = access.noise
    assert noise is not None
    scale = spread.clamp(min=1e-6)
    with torch.no_grad():
        components = start.read(stolen) / scale
    components.requires_grad_(True)

    def measure(_: int) -> tuple[Tensor, Tensor]:
        features = access.clean(start.picture(components * scale))
        distance = ((features - stolen) / noise).square().flatten(1).sum(dim=1) / 2
        return distance, components.square().sum(dim=1) / 2

    _descend([components], measure, config, betas=(0.9, 0.999), progress=progress)
    return start.picture(components.detach() * scale)


def _descend(
    searched: list[Tensor],
    measure: Callable[[int], tuple[Tensor, Tensor]],
    config: OptimisationConfig,
    *,
    betas: tuple[float, float],
    progress: bool,
) -> None:
    """Move what is searched down the sum of a mismatch and a penalty, (n,) each, which `measure` gives of a step."""
    optimizer = torch.optim.Adam(searched, lr=config.learning_rate, betas=betas)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    with track("optimise", config.steps, "steps", enabled=progress) as advance:
        for step in range(config.steps):
            distance, penalty = measure(step)
            optimizer.zero_grad()
            torch.autograd.backward((distance + penalty).sum())
            optimizer.step()
            falling.step()
            if (step + 1) % 20 == 0 or step + 1 == config.steps:
                advance(step % 20 + 1, mismatch=float(distance.detach().mean()))


def _draw(ground: Tensor, layers: list[Tensor]) -> Tensor:
    """Add the layers, each spread over the picture, to the ground, and map the sum to 0..1."""
    size = ground.shape[-2:]
    return torch.sigmoid(ground + sum(F.interpolate(layer, size, mode="bilinear") for layer in layers))
