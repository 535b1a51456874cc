"""A finished run without its pack: what a device sends, and what a server decides by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from oneway.data.batches import to_pictures
from oneway.errors import InputError
from oneway.models.split import features_shape
from oneway.protection.game import Protector
from oneway.protection.made import finished, task_of_run
from oneway.protection.run import load
from oneway.tasks.task import Task

BATCH = 256
Pictures = NDArray[np.uint8] | Tensor | Sequence[Image.Image]


@dataclass(frozen=True, kw_only=True, eq=False)
class Loaded:
    """A trained encoder and its classifier, in evaluation mode on the processor.

    Attributes:
        size: pixels a side of the pictures that it takes.
        task: what it is for.
        shape: of one picture's features.
        protector: the encoder and the classifier.

    """

    size: int
    task: Task
    shape: tuple[int, ...]
    protector: Protector

    @property
    def attributes(self) -> tuple[str, ...]:
        """What it decides."""
        return self.task.columns

    @torch.no_grad()
    def encode(self, pictures: Pictures) -> Tensor:
        """Give what leaves the device, noise included, which is new in every call: (n, *shape), float32.

        Args:
            pictures: bytes (n, size, size, 3), RGB in 0..255; or a sequence of n PIL pictures of mode RGB, size by
                size; or a float tensor (n, 3, size, size), RGB in 0..1. They must be cut and scaled as the pack's
                were, which is not done here.

        Raises:
            InputError: for anything else.

        """
        given = _read(pictures, self.size)
        return torch.cat([self.protector.encoder(part).float() for part in torch.split(given, BATCH)])

    @torch.no_grad()
    def decide(self, features: Tensor) -> dict[str, NDArray[Any]]:
        """Decide every attribute by features: (n,) each, by name.

        Binary ones as bool, at the thresholds that validation people chose; classes by their names; numbers in their
        own unit.

        Args:
            features: as `encode` gives them, (n, *shape).

        Raises:
            InputError: for features of another shape, or that are not finite.

        """
        if not isinstance(features, Tensor) or features.shape[1:] != self.shape or not len(features):
            raise InputError(f"features must be a tensor (n, {_sides(self.shape)}), not {_said(features)}")
        if not features.isfinite().all():
            raise InputError("features must be finite, and some of these are not")
        copied = features.to("cpu", torch.float32, copy=True)  # the network may overwrite what it is given
        # The thresholds are taken off the logits, so that 0 is where they were.
        logits = torch.cat([self.protector.classifier(part) for part in torch.split(copied, BATCH)]).numpy()
        return self.task.decide(logits)


def load_encoder(path: Path | str, *, network: nn.Module | None = None) -> Loaded:
    """Load a finished run where its pictures are not: on a device that encodes, or on a server that decides.

    Args:
        path: the run's folder, of which `config.json`, `results.json` and `protector.safetensors` are needed.
        network: a module of the class the run was made with, if it was one of your own.

    Raises:
        InputError: if there is no finished run, or its weights do not fit.

    """
    path = Path(path)
    made = finished(path)
    if made.size is None:
        raise InputError(f"{path} was made by an earlier version and needs its pack: oneway.Run.open({path.name!r})")
    size, task = made.size, task_of_run(made, made.attributes)
    protector = load(path, made.protect, size=size, num_logits=task.num_logits, network=network)
    shape = features_shape(protector.encoder, size)
    return Loaded(size=size, task=task, shape=shape, protector=protector)


def _read(pictures: Pictures, size: int) -> Tensor:
    """Give pictures as (n, 3, size, size) in 0..1."""
    ways = (
        f"give bytes (n, {size}, {size}, 3) in 0..255, a list of PIL pictures of mode RGB, {size} by {size}, or a "
        f"float tensor (n, 3, {size}, {size}) in 0..1"
    )
    if isinstance(pictures, Tensor):
        if not pictures.is_floating_point() or pictures.shape[1:] != (3, size, size) or not len(pictures):
            raise InputError(f"pictures are {_said(pictures)}; {ways}")
        if not (pictures.isfinite().all() and pictures.min() >= 0 and pictures.max() <= 1):
            raise InputError(f"pictures lie in {pictures.min():g}..{pictures.max():g}, not in 0..1; {ways}")
        return pictures.to("cpu", torch.float32)
    if isinstance(pictures, Sequence) and pictures and all(isinstance(each, Image.Image) for each in pictures):
        for place, each in enumerate(pictures):
            if each.mode != "RGB" or each.size != (size, size):
                raise InputError(f"picture {place} is of mode {each.mode}, {each.width} by {each.height}; {ways}")
        pictures = np.stack([np.asarray(each) for each in pictures])
    if not isinstance(pictures, np.ndarray):
        raise InputError(f"pictures are {_said(pictures)}; {ways}")
    if pictures.dtype != np.uint8 or pictures.shape[1:] != (size, size, 3) or not len(pictures):
        raise InputError(f"pictures are {_said(pictures)}; {ways}")
    return to_pictures(np.ascontiguousarray(pictures))


def _sides(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def _said(given: object) -> str:
    """Name what was given by its type and shape."""
    if isinstance(given, Tensor | np.ndarray):
        return f"{given.dtype} of shape ({_sides(tuple(given.shape))})"
    return f"of type {type(given).__name__}"
