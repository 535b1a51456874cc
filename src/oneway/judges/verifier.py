"""Face verifiers: networks that say whether two pictures show one person, by the cosine of their features."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from oneway.config import to_dict
from oneway.data.batches import load, spread
from oneway.data.packed import Pack, Public
from oneway.errors import InputError
from oneway.judges.preprocessing import Preprocessing, stated
from oneway.models.onnx import DTYPES, Graph, chosen_output
from oneway.runtime import lay_out

_CENTRED_ON = 2048
"""Public pictures at most of whose features the mean is taken."""
_BATCH = 256


Embedding = Callable[[Tensor, NDArray[np.float64] | None], Tensor]
"""A function from pictures (n, 3, size, size) in 0..1, and their five points, to unit vectors (n, d)."""


class Verifier(Protocol):
    """Anything that maps pictures to identity features."""

    @property
    def name(self) -> str:
        """Say which verifier it is, for the provenance of a result."""

    @property
    def fingerprint(self) -> str | None:
        """A sha256 over all that decides its features; none where that cannot be said, and then none are kept."""

    def __call__(self, pictures: Tensor, landmarks: NDArray[np.float64] | None = None, /) -> NDArray[np.float32]:
        """Map pictures (n, 3, size, size) in 0..1 to unit vectors (n, d).

        Where the pack knows them, `landmarks` are the five points of each picture, (n, 5, 2), as fractions of its side.
        """


def of_pictures(verifier: Verifier | None) -> bool:
    """Say whether a judge tells pictures apart, whatever they show, instead of people.

    It says so itself, by an attribute `of_pictures`; a verifier without one is of faces.
    """
    return bool(getattr(verifier, "of_pictures", False))


class OnnxVerifier:
    """A face-verification network in an ONNX file: pictures n x 3 x side x side, or colours last, to one vector each.

    Args:
        path: the file.
        preprocessing: how it takes pictures; by default as `preprocessing.stated` finds it.
        others: public people whose mean feature is subtracted, where the network's features are to be centred.

    Raises:
        InputError: if the file is no such network, or nothing says how it takes pictures.

    """

    def __init__(self, path: Path, preprocessing: Preprocessing | None = None, *, others: Public | None = None) -> None:
        if not path.is_file():
            raise InputError(
                f"verifier {str(path)!r} is not a file; give an ONNX file, or a file made by `oneway verifier`"
            )
        self._graph = Graph(path, "verifier")
        self._hash = self._graph.fingerprint
        self.name = path.name
        self.preprocessing = preprocessing or stated(path, self._hash)
        self._side, self._last = _taken(f"verifier {str(path)!r}", self._graph.input, self.preprocessing.side)
        self._output = chosen_output(f"verifier {str(path)!r}", self._graph.outputs, self.preprocessing.output)
        self.of_pictures = self.preprocessing.of_pictures
        self._place = [output.name for output in self._graph.outputs].index(self._output)
        self._others = others if self.preprocessing.centred else None
        if self.preprocessing.centred and others is None:
            raise InputError(
                f"verifier {str(path)!r} is to be centred by other people's mean feature, and none are given; open it "
                "with oneway.open_verifier(pack, path)"
            )

    @property
    def fingerprint(self) -> str:
        """A sha256 over the file, its weights, how it takes pictures, and the people by whom it is centred."""
        others = None if self._others is None else [self._others.pack.hash, len(self._others)]
        taken = {name: value for name, value in to_dict(self.preprocessing).items() if name != "of_pictures"}
        told = [self._hash, taken, others]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def __call__(self, pictures: Tensor, landmarks: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        """Map pictures (n, 3, size, size) in 0..1 to unit vectors (n, d)."""
        features = self._features(pictures, landmarks)
        if self._others is not None:
            features = features - self._mean
        length = np.linalg.norm(features, axis=1, keepdims=True)
        unit: NDArray[np.float32] = features / np.maximum(length, np.finfo(np.float32).tiny)
        return unit

    def check(self, pack: Pack) -> None:
        """Look at one picture of a pack, so that what is missing is said before anything else is done.

        Raises:
            InputError: if the pack has no landmarks and the network needs them, or the network fails.

        """
        first = slice(0, 1)
        try:
            answer = self._features(load(pack.public, first), pack.public.landmarks(first))
        except InputError as error:
            raise InputError(f"verifier {self.name!r} on {pack.path}: {error}") from error
        except Exception as error:  # onnxruntime raises its own untyped errors
            raise InputError(f"verifier {self.name!r} fails on a picture of {pack.path}: {error}") from error
        if not np.isfinite(answer).all():
            raise InputError(f"verifier {self.name!r} on {pack.path}: its answer is not finite; export it anew")

    def _features(self, pictures: Tensor, landmarks: NDArray[np.float64] | None) -> NDArray[np.float32]:
        inputs = self.preprocessing(pictures.cpu(), landmarks, self._side).numpy()
        if self._last:
            inputs = inputs.transpose(0, 2, 3, 1)
        given = np.ascontiguousarray(inputs, dtype=DTYPES[self._graph.input.type])
        found = self._graph.run(given, self._output)
        return found.reshape(len(found), -1).astype(np.float32, copy=False)

    def differentiable(self, device: torch.device) -> Embedding:
        """Give the network in torch, see `surrogate.Differentiable`."""
        from oneway.judges.surrogate import unit
        from oneway.models.converted import to_torch

        network = lay_out(to_torch(self._graph.path), device)
        mean = None if self._others is None else torch.from_numpy(self._mean).to(device)

        def embed(pictures: Tensor, landmarks: NDArray[np.float64] | None) -> Tensor:
            inputs = self.preprocessing(pictures, landmarks, self._side)
            inputs = inputs.permute(0, 2, 3, 1) if self._last else inputs.to(memory_format=torch.channels_last)
            found = network(inputs)
            features = (found if isinstance(found, Tensor) else found[self._place]).flatten(1)
            return unit(features if mean is None else features - mean)

        return embed

    @cached_property
    def _mean(self) -> NDArray[np.float32]:
        """The mean feature of other people's pictures, spread evenly over the part: (d,)."""
        others = self._others
        assert others is not None
        chosen = spread(len(others), _CENTRED_ON)
        total: NDArray[np.float64] = np.zeros(1)
        for start in range(0, len(chosen), _BATCH):
            index = chosen[start : start + _BATCH]
            total = total + self._features(load(others, index), others.landmarks(index)).sum(axis=0, dtype=np.float64)
        return (total / len(chosen)).astype(np.float32)


def _taken(name: str, taken: Any, side: int | None) -> tuple[int, bool]:
    """Give the side of the pictures that a network takes, and whether their colours come last."""
    shape = taken.shape
    last = len(shape) == 4 and shape[1] != 3 and shape[3] == 3
    sides = (shape[1:3] if last else shape[2:]) if len(shape) == 4 else []
    if len(sides) != 2 or not (last or shape[1] == 3):
        raise InputError(f"{name} takes {shape}; it must take n x 3 x side x side, or n x side x side x 3")
    if taken.type not in DTYPES:
        raise InputError(f"{name} takes {taken.type}; it must take {', '.join(DTYPES)}")
    fixed = {each for each in sides if isinstance(each, int)}
    if not fixed and side is None:
        raise InputError(f"{name} leaves the side of its pictures free; state it as side beside pixels")
    wanted = fixed if side is None else fixed | {side}
    if len(wanted) != 1:
        taken = " x ".join(map(str, sides))
        raise InputError(f"{name} takes pictures of {taken} pixels, not of side {side}; leave side out")
    return next(iter(wanted)), last


class TorchVerifier:
    """A torch module from pictures in 0..1 to features of any length; it needs no landmarks."""

    def __init__(self, network: nn.Module, name: str, *, of_pictures: bool = False) -> None:
        self._network = network.eval()
        self.name, self.of_pictures = name, of_pictures

    @property
    def fingerprint(self) -> str:
        """A sha256 over the network's layers and weights."""
        digest = hashlib.sha256(repr(self._network).encode())
        for name, tensor in self._network.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def differentiable(self, device: torch.device) -> Embedding:
        """Give the network, see `surrogate.Differentiable`."""
        network = copy.deepcopy(self._network).to(device).requires_grad_(False)
        return lambda pictures, _: F.normalize(network(pictures).float(), dim=1)

    @torch.no_grad()
    def __call__(self, pictures: Tensor, _: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        """Map pictures (n, 3, size, size) in 0..1 to unit vectors (n, d)."""
        device = next(self._network.parameters()).device
        features: NDArray[np.float32] = F.normalize(self._network(pictures.to(device)).float(), dim=1).cpu().numpy()
        return features
