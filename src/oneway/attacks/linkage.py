"""The linkage attack: stolen features are compared with the encoder's features of photographs, to find who it is.

Each way maps the features of any part to unit vectors, whose cosine tells how likely two pictures show one person.
What it learns, it learns from public people, whose identities are known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor, nn

from oneway.attacks.access import Access
from oneway.attacks.fit import Fitted, Place, check_schedule, fit
from oneway.data.batches import Batches
from oneway.data.packed import Part, Public, Validation
from oneway.errors import InputError
from oneway.models.decoder import Standardise
from oneway.models.head import Head
from oneway.models.identification import margin_loss

Vectors = NDArray[np.float32]
COMPONENTS = 256
"""Principal components that discriminant analysis is given at most."""
PICTURES = 8192
"""Public pictures that it is given at most."""
SAMPLE = 512
"""Public pictures whose features tell the embedding their scale."""


@dataclass(frozen=True, kw_only=True)
class LinkageConfig:
    """The embedding and how long it is trained.

    Attributes:
        width: channels of its first stage.
        outputs: its length.
        batch_size: public pictures in a batch.
        learning_rate: the first; it falls to 0.3 of itself whenever the error on the validation people has not
            improved by 1 % since the last check, and training ends when that happens after the last fall.
        drops: how often the learning rate falls.
        check_every: steps between two checks.
        max_steps: the budget; an attack that it ends says so, since a longer one might do better.
        seed: of the initial weights and of the order of the pictures.

    """

    width: int = 16
    outputs: int = 128
    batch_size: int = 64
    learning_rate: float = 2e-3
    drops: int = 2
    check_every: int = 100
    max_steps: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "outputs"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be positive, not {getattr(self, name)}")
        check_schedule(self)


class Cosine:
    """Compare features as they are, each channel standardised over public pictures."""

    def __init__(self, access: Access, public: Public) -> None:
        self._access = access
        self._standardise = Standardise(access.shape).to(access.device)
        step = -(-len(public) // SAMPLE)
        self._standardise.observe(access.features(public, np.arange(0, len(public), step)))

    def __call__(self, part: Part) -> Vectors:
        """Give a unit vector for every picture of a part: (n, d)."""
        return torch.cat([F.normalize(flat, dim=1) for flat in self.flat(part, np.arange(len(part)))]).cpu().numpy()

    def flat(self, part: Part, rows: NDArray[np.int64]) -> list[Tensor]:
        """Give the standardised features of pictures of a part, in batches (k, d)."""
        batches = np.array_split(rows, -(-len(rows) // 256))
        return [self._standardise(self._access.features(part, batch)).flatten(1) for batch in batches]


class Discriminant:
    """Compare features after linear discriminant analysis of public people (scikit-learn, covariance shrunk)."""

    def __init__(self, cosine: Cosine, public: Public, *, seed: int) -> None:
        self._cosine = cosine
        rows = np.sort(np.random.default_rng(seed).permutation(len(public))[:PICTURES])
        flat = torch.cat(cosine.flat(public, rows)).cpu().numpy()
        people = public.identities[rows]
        self._pca = PCA(min(COMPONENTS, *(side - 1 for side in flat.shape)), svd_solver="randomized", random_state=seed)
        reduced = self._pca.fit_transform(flat)
        self._lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(reduced, people)

    def __call__(self, part: Part) -> Vectors:
        """Give a unit vector for every picture of a part: (n, d)."""
        given = [
            self._lda.transform(self._pca.transform(flat.cpu().numpy()))
            for flat in self._cosine.flat(part, np.arange(len(part)))
        ]
        return normalise(np.concatenate(given))


class Embedding:
    """Compare what a trained network makes of the features."""

    def __init__(self, access: Access, network: Head) -> None:
        self._access, self._network = access, network

    @torch.no_grad()
    def __call__(self, part: Part) -> Vectors:
        """Give a unit vector for every picture of a part: (n, d)."""
        given = [
            F.normalize(self._network(self._access.features(part, slice(start, start + 256))).float(), dim=1)
            for start in range(0, len(part), 256)
        ]
        return torch.cat(given).cpu().numpy()


def embed(access: Access, public: Public, validation: Validation, config: LinkageConfig, place: Place) -> Fitted[Head]:
    """Train an embedding that tells public people apart (CosFace, Wang et al. 2018), to recognise others by.

    Args:
        access: the victim.
        public: the attacker's pictures, with identities.
        validation: other people; the share of their pairs of different people that lie nearer than a pair of one
            person decides when to stop and which weights are kept.
        config: the network and its schedule.
        place: where it runs and where its state is kept.

    Raises:
        DivergedError: if the error is no longer finite.

    """
    names, people = np.unique(public.identities, return_inverse=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        head = Head(access.shape, config.outputs, width=config.width)
        centres = nn.ParameterList([torch.randn(len(names), config.outputs)]).to(place.fabric.device)
    optimizer = torch.optim.AdamW(centres.parameters(), lr=config.learning_rate, weight_decay=0.0)
    batches = Batches(public, batch_size=config.batch_size, seed=config.seed, mirror=access.mirrors)
    if not place.checkpoint.exists():
        sample = np.random.default_rng(config.seed).permutation(len(public))[:SAMPLE]
        head.standardise.observe(access.features(public, np.sort(sample)))
    targets = torch.from_numpy(people).to(place.fabric.device)

    def loss(network: nn.Module, step: int) -> Tensor:
        # The centres' gradient is that of the step before, whose loss has been differentiated since.
        if centres[0].grad is not None:
            optimizer.step()
            optimizer.zero_grad()
        index, mirrored = batches.draw(step)
        features = network(access.features(public, index, mirrored)).float()
        return margin_loss(features, centres[0], targets[torch.from_numpy(index)])

    def error(network: Head) -> float:
        network.eval()
        return confusion(Embedding(access, network)(validation), validation.identities)

    others = {"centres": (centres, optimizer)}
    return fit(head, loss, error, config, place, name="linkage embedding", access=access, others=others)


def confusion(vectors: Vectors, people: NDArray[np.int64]) -> float:
    """Give the chance that a pair of different people lies nearer than a pair of one: 1 - area under the ROC curve.

    0 for perfect linkage, 0.5 for none; where nobody appears twice, 0.5.
    """
    scores = vectors @ vectors.T
    upper = np.triu(np.ones_like(scores, dtype=bool), 1)
    same = people[:, None] == people[None, :]
    genuine, impostor = scores[same & upper], np.sort(scores[~same & upper])
    if not len(genuine) or not len(impostor):
        return 0.5
    below = (np.searchsorted(impostor, genuine, "left") + np.searchsorted(impostor, genuine, "right")) / 2
    return float(max(1 - below.mean() / len(impostor), 1e-6))


def normalise(vectors: NDArray[np.floating]) -> Vectors:
    """Scale rows (n, d) to length 1; a row of zeros stays."""
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    unit: Vectors = (vectors / lengths).astype(np.float32)
    return unit
