"""How many bits features carry of their picture: a critic learns to tell a picture's own features from others'."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from oneway.attacks.access import Access, Index, sample
from oneway.attacks.fit import Fitted, Place, Schedule, fit
from oneway.config import Count, Positive, Several, checked
from oneway.data.batches import Batches, load
from oneway.data.packed import Part, Public, Validation
from oneway.models.head import Head
from oneway.models.scale import Standardise, Whiten

NAME = "information bound"
CHECKED = 2000
"""Validation pictures, at most, that decide when to stop: all their pairs are compared."""
POSITIONS = 16
"""Positions a side at which the critic reads a picture."""
FASTER = 3.0
"""How much faster than the weights the scale is learned: it has further to go."""
Scores = NDArray[np.float32]


@checked
@dataclass(frozen=True, kw_only=True)
class InformationConfig(Schedule):
    """The critic and how long it is trained.

    Attributes:
        width: channels of the first stage of both of its halves.
        outputs: length of the two vectors it compares.
        batch_size: public pictures in a batch, each told from all others of it.

    """

    width: Count = 16
    outputs: Count = 128
    batch_size: Several = 128
    learning_rate: Positive = 4e-3
    check_every: Count = 50
    max_steps: Count = 400


class Critic(nn.Module):
    """Say how well pictures and features go together: the scaled cosine of a vector of each.

    The scale is learned, so that a critic who knows nothing can say so. Pictures are standardised first, and features
    whitened.

    Args:
        shape: of one picture's features.
        pictures: maps pictures (n, 3, size, size) to vectors (n, outputs).
        features: maps features (m, *shape) to vectors (m, outputs).

    """

    def __init__(self, shape: tuple[int, ...], pictures: nn.Module, features: nn.Module) -> None:
        super().__init__()
        self.seen, self.read = Standardise((3, 1, 1)), Whiten(shape)
        self.pictures, self.features = pictures, features
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0) / FASTER))

    def forward(self, pictures: Tensor, features: Tensor) -> Tensor:
        """Score every picture with every picture's features: (n, m)."""
        return self.compare(self.pictures(self.seen(pictures)), self.features(self.read(features)))

    def compare(self, pictures: Tensor, features: Tensor) -> Tensor:
        """Score vectors of pictures with vectors of features: (n, m), in nats."""
        # In full precision: what bf16 rounds off a scaled cosine is worth a tenth of a nat.
        with torch.autocast(pictures.device.type, enabled=False):
            cosine = F.normalize(pictures.float()) @ F.normalize(features.float()).T
            scores: Tensor = (FASTER * self.log_scale).exp() * cosine
        return scores


def new_critic(shape: tuple[int, ...], size: int, config: InformationConfig) -> Critic:
    """Build a critic of pictures of `size` pixels a side, which it reads in patches, and of features of a shape."""
    patch = max(1, size // POSITIONS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        pictures = nn.Sequential(
            nn.Conv2d(3, config.width, patch, stride=patch),
            Head((config.width, size // patch, size // patch), config.outputs, width=config.width),
        )
        return Critic(shape, pictures, Head(shape, config.outputs, width=config.width))


def learn(
    access: Access, public: Public, validation: Validation, critic: Critic, config: InformationConfig, place: Place
) -> Fitted[Critic]:
    """Train a critic on public pictures to find each picture's features among those of its batch (InfoNCE).

    What it shows of new people by `metrics.information.info_nce` is a lower bound, in expectation, since it has never
    met them (van den Oord et al. 2018; Poole et al. 2019). It is no upper bound, and no proof of safety where it is
    low: a better critic may show more.

    Args:
        access: the victim.
        public: the attacker's pictures, whose features it has.
        validation: other people, whose cross-entropy decides when to stop and which weights are kept.
        critic: new weights; it is told the scale of what it sees first.
        config: the schedule.
        place: where it runs and where its state is kept.

    Raises:
        DivergedError: if the cross-entropy is no longer finite.

    """
    batches = Batches(public, batch_size=config.batch_size, seed=config.seed, mirror=access.mirrors)
    checked = np.sort(np.random.default_rng(config.seed).permutation(len(validation))[:CHECKED])
    if not place.checkpoint.exists():
        seen = sample(np.arange(len(public)), access.shape, seed=config.seed)
        critic.seen.observe(load(public, seen))
        with access.seeded(config.seed, NAME, "scale"):
            critic.read.observe(access.features(public, seen))

    def loss(network: nn.Module, step: int) -> Tensor:
        index, mirrored = batches.draw(step)
        pictures = load(public, index, mirrored, place.fabric.device)
        return _cross_entropy(network(pictures, access.features(public, index, mirrored)))

    def error(network: Critic) -> float:
        return float(_cross_entropy(torch.from_numpy(score(access, network, validation, checked, place))))

    return fit(critic, loss, error, config, place, name=NAME, access=access)


def _cross_entropy(scores: Tensor) -> Tensor:
    """What it costs, in nats, to bet by these scores on whose features are the picture's own."""
    return F.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


@torch.no_grad()
def score(access: Access, critic: Critic, part: Part, index: Index, place: Place) -> Scores:
    """Score each of n pictures of a part with the features of all n: (n, n), a row a picture, in nats.

    All pairs are kept in memory, so n is best at most a few thousand; the bound cannot exceed log2 n.
    """
    rows = np.arange(len(part))[index]
    pictures, features = [], []
    with place.fabric.autocast():
        for start in range(0, len(rows), 256):
            some = rows[start : start + 256]
            pictures.append(critic.pictures(critic.seen(load(part, some, device=place.fabric.device))))
            features.append(critic.features(critic.read(access.features(part, some))))
    return critic.compare(torch.cat(pictures), torch.cat(features)).cpu().numpy()
