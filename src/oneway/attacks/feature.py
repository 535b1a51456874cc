"""The feature-level attack: map stolen features to a face verifier's features of the picture (eq. 10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from oneway.attacks.access import Access, mapped_features, sample
from oneway.attacks.fit import Fitted, Place, Schedule, fit
from oneway.attacks.kernel import Kernel, correction
from oneway.attacks.linkage import normalise
from oneway.attacks.pairs import Pairs, Regress, Solved
from oneway.config import Count, checked
from oneway.data.batches import Batches
from oneway.data.packed import Part, Public, Validation
from oneway.metrics.identity import similarity
from oneway.models.head import Head, reads_map

NAME = "feature attack"
DROPOUT, DECAY, HIDDEN = 0.2, 0.1, 32
"""Of a network that corrects what was solved: dropout, weight decay, and hidden units for each of `width`."""
Vectors = NDArray[np.float32]


@checked
@dataclass(frozen=True, kw_only=True)
class FeatureConfig(Schedule):
    """The attacker's network and how long it is trained.

    Attributes:
        width: channels of its first stage, for features that are a map; else a 32nd of its hidden units.

    """

    width: Count = 16
    # Noise hides small steps: who checks every 100 gives up on a noisy map long before it is learnt.
    check_every: Count = 300
    max_steps: Count = 6000


class Corrected(nn.Module):
    """A kernel regression, and what a network of two hidden layers adds to it: nothing before it is trained.

    Args:
        solved: the regression, which stays as it is.
        outputs: length of the vector.
        hidden: units of each hidden layer.

    """

    def __init__(self, solved: Kernel, outputs: int, *, hidden: int) -> None:
        super().__init__()
        self.solved = solved
        self.layers = correction(solved.centres.shape[1], outputs, width=hidden, dropout=DROPOUT)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (n, ...) to vectors (n, outputs)."""
        added: Tensor = self.layers(self.solved.scale(features.float()).flatten(1))
        return F.normalize(self.solved(features), dim=1) + added


def solve(
    regress: Regress[Solved], pairs: Pairs, validation: Validation, known: Mapping[str, Vectors]
) -> Fitted[Solved]:
    """Predict the verifier's features by a regression that is solved.

    Args:
        regress: how it is solved.
        pairs: what it learns from.
        validation: other people, who choose the penalty.
        known: the verifier's features of both, unit vectors (n, d) by split.

    """
    vectors = torch.from_numpy(known["public"]).to(pairs.access.device)
    network, error = regress(
        pairs,
        # Faces are nearly symmetric, and so are a verifier's features: the mirrored picture has the same target.
        lambda index, _: vectors[torch.from_numpy(index)],
        lambda network: _error(pairs.access, network, validation, known["validation"]),
    )
    return Fitted(network=network, steps=0, converged=True, validation_error=error)


def learn(
    access: Access,
    public: Public,
    validation: Validation,
    known: Mapping[str, Vectors],
    solved: Kernel,
    config: FeatureConfig,
    place: Place,
) -> Fitted[nn.Module]:
    """Train a network to predict the verifier's features; it minimises 1 - cosine, which the paper leaves open.

    Of a map it is a convolutional one. Of anything else it corrects a kernel regression, which such a network loses to
    if it starts from nothing.

    Args:
        access: the victim.
        public: the attacker's pictures.
        validation: other people, who decide when to stop and which weights are kept.
        known: the verifier's features of both, unit vectors (n, d) by split.
        solved: what a kernel regression predicts.
        config: the network and its schedule.
        place: where it runs and where its state is kept.

    Raises:
        DivergedError: if the error is no longer finite.

    """
    targets = torch.from_numpy(known["public"]).to(place.fabric.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = (
            Head(access.shape, targets.shape[1], width=config.width)
            if reads_map(access.shape)
            else Corrected(solved, targets.shape[1], hidden=HIDDEN * config.width)
        )
    batches = Batches(public, batch_size=config.batch_size, seed=config.seed, mirror=access.mirrors)
    if isinstance(network, Head) and not place.checkpoint.exists():
        seen = sample(np.arange(len(public)), access.shape, seed=config.seed)
        with access.seeded(config.seed, NAME, "scale"):
            network.whiten.observe(access.features(public, seen))

    def loss(network: nn.Module, step: int) -> Tensor:
        index, mirrored = batches.draw(step)
        predicted = network(access.features(public, index, mirrored)).float()
        return (1 - F.cosine_similarity(predicted, targets[torch.from_numpy(index)])).mean()

    return fit(
        network,
        loss,
        lambda network: _error(access, network, validation, known["validation"]),
        config,
        place,
        name=NAME,
        access=access,
        weight_decay=DECAY if isinstance(network, Corrected) else 0.0,
    )


def predict(access: Access, network: nn.Module, part: Part) -> Vectors:
    """Predict the verifier's features of every picture of a part: unit vectors (n, d)."""
    network.eval()
    return F.normalize(mapped_features(access, network, part), dim=1).cpu().numpy()


def together(predictions: Mapping[str, Sequence[Vectors]], constant: Vectors, known: Vectors) -> dict[str, Vectors]:
    """Add up several predictions, each weighed by least squares on validation pictures.

    Args:
        predictions: k of them by split, `validation` among these, (n, d) each.
        constant: what is predicted knowing nothing, (d,), which is weighed too.
        known: what is predicted of the validation pictures, (n, d).

    Returns:
        unit vectors (n, d) by split.

    """

    def stacked(several: Sequence[Vectors]) -> NDArray[np.float64]:
        return np.stack([*several, np.broadcast_to(constant, several[0].shape)]).astype(np.float64)

    held = stacked(predictions["validation"])
    weights = np.linalg.lstsq(held.reshape(len(held), -1).T, known.reshape(-1).astype(np.float64))[0]
    return {split: normalise(np.tensordot(weights, stacked(several), axes=1)) for split, several in predictions.items()}


def _error(access: Access, network: nn.Module, validation: Validation, known: Vectors) -> float:
    return float(1 - similarity(predict(access, network, validation), known).mean())
