"""Face verifiers: networks that say whether two pictures show one person, by the cosine of their features."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from oneway.errors import InputError
from oneway.models.onnx import IMAGENET, Graph

Points = tuple[tuple[float, float], ...]
TEMPLATE: Points = ((38.29, 51.70), (73.53, 51.50), (56.03, 71.74), (41.55, 92.37), (70.73, 92.20))
"""Where the five points of a face (eyes, nose, mouth corners) lie in a verifier's 112 x 112 picture, in pixels."""
SIDE = 112


class Verifier(Protocol):
    """Anything that maps pictures to identity features."""

    @property
    def name(self) -> str:
        """Say which verifier it is, for the provenance of a result."""

    @property
    def fingerprint(self) -> str | None:
        """A sha256 over all that decides its features; none where that cannot be said, and then none are kept."""

    def __call__(self, pictures: Tensor) -> NDArray[np.float32]:
        """Map pictures (n, 3, size, size) in 0..1 to unit vectors (n, d)."""


def similarity_transform(source: Points, target: Points) -> NDArray[np.float64]:
    """Fit rotation, scale and shift from `source` points to `target` points by least squares: a 2 x 3 matrix."""
    rows = [row for x, y in source for row in ((x, -y, 1, 0), (y, x, 0, 1))]
    (a, b, right, down), *_ = np.linalg.lstsq(np.array(rows), np.array(target).ravel(), rcond=None)
    return np.array([[a, -b, right], [b, a, down]])


def align(pictures: Tensor, landmarks: Points) -> Tensor:
    """Warp pictures so that their five points fall on `TEMPLATE`: (n, 3, 112, 112).

    Args:
        pictures: (n, 3, size, size).
        landmarks: the five points as fractions (x, y) of the picture's side, the same in all pictures.

    """
    matrix = np.vstack([similarity_transform(landmarks, TEMPLATE), [0, 0, 1]])
    columns, rows = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
    places = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(matrix).T
    grid = torch.as_tensor(places[..., :2] * 2 - 1, dtype=torch.float32).expand(len(pictures), -1, -1, -1)
    return F.grid_sample(pictures.float().cpu().contiguous(), grid, padding_mode="border", align_corners=False)


class OnnxVerifier:
    """A face-verification network in an ONNX file: RGB of 112 x 112 pixels, ImageNet's mean and deviation.

    Args:
        path: the file.
        landmarks: the five points of the faces it will be given, as fractions (x, y) of the picture's side.

    Raises:
        InputError: if the file is no such network, or the pack says nothing of where its faces are.

    """

    def __init__(self, path: Path, landmarks: Points | None) -> None:
        if landmarks is None:
            raise InputError(
                f"the verifier {path} needs faces aligned by five points, and this pack has no landmarks; "
                "use a verifier trained on the pack instead"
            )
        if not path.is_file():
            raise InputError(
                f"verifier {str(path)!r} is not a file; give an ONNX file, or a file made by `oneway verifier`"
            )
        self._graph = Graph(path, "verifier")
        shape = self._graph.input.shape
        if list(shape[1:]) != [3, SIDE, SIDE]:
            raise InputError(f"verifier {str(path)!r} takes {shape}; it must take n x 3 x {SIDE} x {SIDE}")
        self._landmarks = landmarks
        self.name = path.name

    @property
    def fingerprint(self) -> str:
        """A sha256 over the file, its weights, and how faces are aligned for it."""
        return hashlib.sha256(
            json.dumps([self._graph.fingerprint, self._landmarks, TEMPLATE, IMAGENET]).encode()
        ).hexdigest()

    def __call__(self, pictures: Tensor) -> NDArray[np.float32]:
        """Map pictures (n, 3, size, size) in 0..1 to unit vectors (n, d)."""
        mean, deviation = (torch.tensor(values)[:, None, None] for values in IMAGENET)
        inputs = ((align(pictures, self._landmarks) - mean) / deviation).numpy()
        features: NDArray[np.float32] = self._graph.run(inputs, self._graph.outputs[0].name)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        return features


class TorchVerifier:
    """A torch module from pictures in 0..1 to features of any length."""

    def __init__(self, network: nn.Module, name: str) -> None:
        self._network = network.eval()
        self.name = name

    @property
    def fingerprint(self) -> str:
        """A sha256 over the network's layers and weights."""
        digest = hashlib.sha256(repr(self._network).encode())
        for name, tensor in self._network.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> NDArray[np.float32]:
        """Map pictures (n, 3, size, size) in 0..1 to unit vectors (n, d)."""
        device = next(self._network.parameters()).device
        features: NDArray[np.float32] = F.normalize(self._network(pictures.to(device)).float(), dim=1).cpu().numpy()
        return features
