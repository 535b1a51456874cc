"""What an attacker has of its victim: the type of an attack's first argument says its threat model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Protocol, final

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from oneway.data import resident
from oneway.data.batches import load
from oneway.data.dump import read_whole
from oneway.data.finite import check_finite
from oneway.data.packed import Part
from oneway.models.features import numbers
from oneway.models.noise import Noisy
from oneway.models.scale import pictures_needed
from oneway.models.seeded import seeded

Index = NDArray[np.int64] | slice
Bools = NDArray[np.bool_]


class Access(Protocol):
    """Features of a pack's pictures, however the attacker comes by them.

    Attributes:
        queries: pictures sent to the encoder so far, or whose features were stolen.

    """

    queries: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one picture's features."""
        ...

    @property
    def device(self) -> torch.device:
        """Where features are given."""
        ...

    @property
    def mirrors(self) -> bool:
        """Say whether features of mirrored pictures can be had too."""
        ...

    def features(self, part: Part, index: Index, mirrored: Bools | None = None) -> Tensor:
        """Give the features, (k, *shape) in float32, of the pictures at `index` of `part`.

        Args:
            part: where the pictures are.
            index: counted from 0 within the part.
            mirrored: (k,) which of them to mirror first; only where `mirrors` says so.

        """
        ...

    def seeded(self, *seed: int | str) -> AbstractContextManager[None]:
        """Let the answers of an encoder that adds noise be a function of a seed, in a block; see `models.seeded`."""
        ...


@final
class BlackBox:
    """Query access: the attacker sends pictures and gets features, neither weights nor gradients.

    The encoder answers in full precision, as it would where it is used: rounding would hide what it does not.

    Args:
        encoder: the frozen victim.
        fabric: where it runs.
        size: pixels a side of the pictures it takes.
        draws: how often each picture is sent; the answers are averaged (against an encoder that adds noise).

    """

    mirrors = True

    def __init__(self, encoder: nn.Module, fabric: Fabric, size: int, *, draws: int = 1) -> None:
        self._encoder = encoder.eval().requires_grad_(False).to(fabric.device)
        self._draws = draws
        self.device = fabric.device
        grey = torch.full((1, 3, size, size), 0.5, device=self.device)
        # Of one that draws nothing before its last step, the rest is done once for several answers.
        self._noisy: Noisy | None = None
        with torch.no_grad():
            if isinstance(encoder, Noisy) and torch.equal(encoder.clean(grey), encoder.clean(grey)):
                self._noisy = encoder
        self.queries = 0
        self.shape = tuple(self(grey).shape[1:])
        self.queries = 0

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 3, size, size) in 0..1 to their features (n, ...)."""
        self.queries += len(pictures) * self._draws
        ask: Callable[[], Tensor] = partial(self._encoder, pictures)
        if self._noisy is not None:
            ask = partial(self._noisy.add_noise, self._noisy.clean(pictures))
        features = numbers(ask(), len(pictures))
        for _ in range(self._draws - 1):
            features = features + numbers(ask(), len(pictures))
        return features / self._draws

    def features(self, part: Part, index: Index, mirrored: Bools | None = None) -> Tensor:
        """Send the pictures; see `Access`. Features that are not finite are an `InputError` that names the picture."""
        features = self(load(part, index, mirrored, self.device))
        if not bool(features.isfinite().all()):
            check_finite(features.cpu().numpy(), part, "the encoder's features", np.arange(len(part))[index])
        return features

    @property
    def noise_last(self) -> Noisy | None:
        """Give the encoder, if it draws nothing before its last step, so that the rest can be done once."""
        return self._noisy

    @torch.no_grad()
    def clean(self, pictures: Tensor) -> Tensor:
        """Map pictures to their features before the noise, where it is added last."""
        assert self._noisy is not None
        return numbers(self._noisy.clean(pictures), len(pictures))

    def seeded(self, *seed: int | str) -> AbstractContextManager[None]:
        """Seed the encoder; see `Access`."""
        return seeded(self._encoder, *seed)


@final
class FeatureDump:
    """Stored features: without `live`, the attacker has neither the encoder nor an answer for any other picture.

    Args:
        features: (n, ...) for each split the dump covers, in the order of its pictures; any number type, as stored.
        device: where features are given.
        mirrored: the same for the mirrored pictures, if there are any.
        live: answers for the splits that the dump does not cover.

    """

    def __init__(
        self,
        features: Mapping[str, NDArray[np.generic]],
        device: torch.device,
        mirrored: Mapping[str, NDArray[np.generic]] | None = None,
        live: Access | None = None,
    ) -> None:
        self._features, self._mirrored, self.device, self._live = features, mirrored or {}, device, live
        self.shape = tuple(next(iter(features.values())).shape[1:])
        self.queries = sum(len(stored) for stored in [*features.values(), *self._mirrored.values()])
        self._held: dict[tuple[str, bool], Tensor | None] = {}

    @property
    def mirrors(self) -> bool:
        """Say whether mirrored public pictures have features too."""
        return self._live is not None or "public" in self._mirrored

    def features(self, part: Part, index: Index, mirrored: Bools | None = None) -> Tensor:
        """Look the features up; see `Access`."""
        if part.split not in self._features and self._live is not None:
            self.queries += len(np.arange(len(part))[index])
            return self._live.features(part, index, mirrored)
        held = self._on_device(part.split, mirrored=False)
        if held is not None:
            rows = resident.rows_of(index, len(part), self.device)
            if mirrored is None or not mirrored.any():
                return held[rows]
            turned = self._on_device(part.split, mirrored=True)
            if turned is not None:
                flip = torch.from_numpy(mirrored).to(self.device).view(-1, *(1 for _ in self.shape))
                return torch.where(flip, turned[rows], held[rows])
        stored = read_whole(self._features[part.split][index])
        if mirrored is not None and mirrored.any():
            stored[mirrored] = read_whole(self._mirrored[part.split][np.arange(len(part))[index][mirrored]])
        return torch.from_numpy(stored).to(self.device)

    def _on_device(self, split: str, *, mirrored: bool) -> Tensor | None:
        """Give what is stored of a part, in float32, where it lies on a GPU."""
        key = (split, mirrored)
        if key not in self._held:
            stored = (self._mirrored if mirrored else self._features)[split]
            self._held[key] = resident.copied(len(stored), lambda rows: read_whole(stored[rows]), self.device)
        return self._held[key]

    def seeded(self, *seed: int | str) -> AbstractContextManager[None]:
        """Seed the encoder that answers `live`, if there is one; see `Access`."""
        return nullcontext() if self._live is None else self._live.seeded(*seed)


@final
class Renoised:
    """Query access to an encoder that adds noise last: the rest is done once, and every answer is that and new noise.

    Args:
        encoder: the frozen victim.
        clean: its features before the noise.

    """

    mirrors = True

    def __init__(self, encoder: Noisy, clean: FeatureDump) -> None:
        self._encoder, self._clean = encoder, clean
        self.shape, self.device, self.queries = clean.shape, clean.device, 0

    def features(self, part: Part, index: Index, mirrored: Bools | None = None) -> Tensor:
        """Add noise; see `Access`."""
        features = self._encoder.add_noise(self._clean.features(part, index, mirrored))
        self.queries += len(features)
        return features

    def seeded(self, *seed: int | str) -> AbstractContextManager[None]:
        """Seed the encoder; see `Access`."""
        return seeded(self._encoder, *seed)


@final
class WhiteBox:
    """Everything: the attacker has the encoder itself, weights and gradients.

    Args:
        encoder: the frozen victim.
        device: where it runs.

    Attributes:
        noise: deviation of the noise that it adds last, as its own code says; none if it says none.

    """

    def __init__(self, encoder: nn.Module, device: torch.device) -> None:
        self._encoder = encoder.eval().requires_grad_(False).to(device)
        self.device = device
        self.noise = encoder.noise if isinstance(encoder, Noisy) else None

    def clean(self, pictures: Tensor) -> Tensor:
        """Map pictures to their features before the noise that it adds last, with gradients for the pictures."""
        asked = self._encoder.clean if isinstance(self._encoder, Noisy) else self._encoder
        return numbers(asked(pictures), len(pictures))

    def __call__(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, 3, size, size) in 0..1 to their features, with gradients for the pictures."""
        return numbers(self._encoder(pictures), len(pictures))


def sample(rows: NDArray[np.int64], shape: tuple[int, ...], *, seed: int) -> NDArray[np.int64]:
    """Choose, of public pictures, those whose features tell an attacker their scale: all, or as many as that needs."""
    return np.sort(np.random.default_rng(seed).permutation(rows)[: pictures_needed(shape)])


def all_features(access: Access, part: Part, *, mirrored: bool = False) -> NDArray[np.float32]:
    """Give the features of a whole part, (len(part), *shape)."""
    given = []
    for start in range(0, len(part), 256):
        index = np.arange(start, min(start + 256, len(part)))
        given.append(access.features(part, index, np.ones(len(index), dtype=np.bool_) if mirrored else None))
    return torch.cat(given).cpu().numpy()


@torch.no_grad()
def mapped_features(access: Access, network: nn.Module, part: Part) -> Tensor:
    """Map the features of a whole part by a network: (len(part), k), in float32."""
    starts = range(0, len(part), 256)
    return torch.cat([network(access.features(part, slice(start, start + 256))).float() for start in starts])
