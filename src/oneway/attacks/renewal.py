"""Attacks on a renewed encoder: features by one are linked to those by another, or both are attacked together.

A password that was stolen is renewed, and the old one is worth nothing. Features by a new encoder, of another seed say,
are new only as far as those by the old one do not give them away. The attacker learns from public pictures sent through
both, and links stolen features to other pictures of the same people.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from oneway.attacks.access import Access, Bools, Index, mapped_features
from oneway.attacks.linear import regress
from oneway.attacks.linkage import Comparison, Components, Cosine, First, Vectors, by_components, normalise
from oneway.attacks.pairs import Pairs
from oneway.data.packed import Pack, Part

Split = dict[str, Vectors]


class Together:
    """Access to the features of every picture by several encoders: one behind the other, channel by channel.

    Where their maps are of different sizes, the numbers of each are laid out flat.

    Args:
        every: the encoders', at least one.
        mirrored: whether features of mirrored pictures are to be had, if every encoder gives them.

    """

    def __init__(self, every: Sequence[Access], *, mirrored: bool = True) -> None:
        self._every = tuple(every)
        self.device, self.queries = every[0].device, 0
        self.mirrors = mirrored and all(each.mirrors for each in every)
        shapes = [each.shape for each in every]
        self._flat = len({shape[1:] for shape in shapes}) > 1
        numbers = sum(int(np.prod(shape)) for shape in shapes)
        self.shape = (numbers,) if self._flat else (sum(shape[0] for shape in shapes), *shapes[0][1:])

    def features(self, part: Part, index: Index, mirrored: Bools | None = None) -> Tensor:
        """Put the features of each picture together; see `Access`."""
        found = [each.features(part, index, mirrored) for each in self._every]
        self.queries += len(found[0])
        return torch.cat([features.flatten(1) for features in found] if self._flat else found, dim=1)

    @contextmanager
    def seeded(self, *seed: int | str) -> Iterator[None]:
        """Seed every encoder; see `Access`."""
        with ExitStack() as stack:
            for each in self._every:
                stack.enter_context(each.seeded(*seed))
            yield


class Crossed(Components):
    """The components of stolen features by one encoder, beside those by another in the place of photographs'."""

    def __init__(self, stolen: Components, known: Components) -> None:
        self._sides = stolen, known
        self.number = min(stolen.number, known.number)
        self.public, self.known, self.people = stolen.public, known.public, stolen.people

    def of(self, part: Part, *, photographs: bool) -> Vectors:
        """Give the scaled components of every picture of a part, by the one encoder or by the other: (n, number)."""
        return self._sides[photographs].of(part, photographs=False)


class Mapped:
    """Compare components by one encoder with what is predicted of them from features by another.

    Args:
        predicted: of every picture of a part, by its split, (n, number).
        components: by the encoder that they are of.
        kept: the first of them that are compared.

    """

    def __init__(self, predicted: Split, components: Components, kept: int) -> None:
        self._predicted, self._real, self._kept = predicted, First(components, kept), kept

    def stolen(self, part: Part) -> Vectors:
        """Give unit vectors: (n, kept)."""
        return normalise(self._predicted[part.split][:, : self._kept])

    def photographs(self, part: Part) -> Vectors:
        """Give unit vectors: (n, kept)."""
        return self._real.stolen(part)


def components_of(access: Access, pack: Pack, *, seed: int) -> Components:
    """Give the principal components of an encoder's single answers."""
    return Components(Cosine(access, access, pack.public), pack.public, seed=seed)


def linked_by(stolen: Components, known: Components, pack: Pack) -> dict[str, Comparison]:
    """Give the ways of comparing components by one encoder with those by another, or by the same, without a map.

    The likelihood ratio learns from public people what components of one person have in common; the components
    themselves can be compared where both are of one encoder.
    """
    return by_components(Crossed(stolen, known), pack.public, directions=stolen is known)


def mapped(pairs: Pairs, components: Components, pack: Pack) -> dict[str, Mapped]:
    """Map features by one encoder onto the components by another, by ridge regression on public pictures.

    Args:
        pairs: whose features are mapped, and the public pictures that teach it.
        components: onto which they are mapped.
        pack: the people: validation ones choose the penalty.

    """
    source, validation = pairs.access, pack.validation
    known = torch.from_numpy(components.of(pairs.public, photographs=False)).to(source.device)
    wanted = torch.from_numpy(components.of(validation, photographs=False)).to(source.device)

    def error(network: nn.Module) -> float:
        return float((mapped_features(source, network, validation) - wanted).square().mean())

    network, _ = regress(pairs, lambda index, _: known[torch.from_numpy(index)], error)
    predicted = {part.split: mapped_features(source, network, part).cpu().numpy() for part in (validation, pack.test)}
    return {f"{kept} components": Mapped(predicted, components, kept) for kept in components.tried}
