"""A generator of pictures: what an attacker knows of them before it has seen a feature."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oneway.errors import InputError
from oneway.models.converted import to_torch
from oneway.models.onnx import Graph
from oneway.runtime import lay_out

AGREE = 0.02
"""The most that a pixel in 0..1 may differ between the file and the network that attackers train through."""
RANGE = 0.1
"""How far beyond 0..1 all but the outermost hundredths of pixels may lie; they are clipped."""
SAMPLES = 15
"""Pictures by which a generator is checked."""


class Generator(nn.Module):
    """A frozen generator, with gradients for its latents.

    Args:
        network: maps latents to pictures (n, 3, side, side) in 0..1, of any side.
        latents: shape of one picture's latents: (d,), or (layers, d) where each layer takes its own.
        size: pixels a side of the pictures that are wanted.

    """

    def __init__(self, network: nn.Module, latents: tuple[int, ...], size: int) -> None:
        super().__init__()
        self.network, self.latents, self.size = network.eval().requires_grad_(False), latents, size

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002
        """Stay as it draws, whoever is trained through it."""
        return super().train(mode=False)

    def forward(self, latents: Tensor) -> Tensor:
        """Map latents (n, *latents), standard normal where it was trained, to pictures (n, 3, size, size) in 0..1."""
        found = self.network(latents)
        drawn: Tensor = found if isinstance(found, Tensor) else found[0]
        if drawn.shape[-1] != self.size:
            drawn = F.interpolate(drawn, size=(self.size, self.size), mode="bilinear", antialias=True)
        return drawn.clamp(0, 1)


def open_generator(path: str | Path, size: int) -> Generator:
    """Open a generator of pictures, such as the half of a GAN that draws.

    Args:
        path: an ONNX file: one input, standard normal latents (n, d) or (n, layers, d) in float32, where the layers of
            one picture are alike in training and may differ for an attacker; its first output, pictures (n, 3, side,
            side) in 0..1, framed as those of the pack are. The batch n must be free.
        size: pixels a side of the pack's pictures, to which others are scaled.

    Raises:
        InputError: if there is no such file, its shapes or its pictures are others, or it gives no gradients.

    """
    graph = Graph(Path(path), "generator", takes="the latents")
    name, shape = f"the generator {str(path)!r}", tuple(graph.input.shape)
    if len(shape) not in (2, 3) or graph.input.type != "tensor(float)" or not all(type(n) is int for n in shape[1:]):
        raise InputError(
            f"{name} takes {graph.input.type} of {list(shape)}; it must take standard normal latents in float32, "
            "n x d or n x layers x d with only n free: export what comes before them as a part of it"
        )
    if isinstance(shape[0], int):
        raise InputError(f"{name} takes {shape[0]} latents at a time; export it with a free batch")
    # Where an attacker begins, and what it was trained on: the layers of one picture alike.
    latents = np.zeros((1 + SAMPLES, *shape[1:]), dtype=np.float32)
    latents[1:] += np.random.default_rng(0).standard_normal((SAMPLES, *(1,) * (len(shape) - 2), shape[-1]))
    try:
        theirs = graph.run(latents, graph.outputs[0].name)
    except InputError:
        raise
    except Exception as error:  # onnxruntime raises its own untyped errors
        raise InputError(f"{name} fails on {len(latents)} latents ({error}); export it with a free batch") from error
    if theirs.ndim != 4 or theirs.shape[1] != 3 or theirs.shape[2] != theirs.shape[3]:
        raise InputError(f"{name} draws {list(theirs.shape[1:])}; it must draw pictures, 3 x side x side")
    low, high = (float(end) for end in np.quantile(theirs, (0.01, 0.99)))
    if not (low >= -RANGE and high <= 1 + RANGE):  # which is so of pixels that are no numbers
        raise InputError(
            f"{name} draws pixels in {low:.3g}..{high:.3g}; export it with pixels in 0..1, and for latents of 0 too"
        )
    try:
        network = lay_out(to_torch(Path(path)), torch.device("cpu"))
        generator = Generator(network, shape[1:], theirs.shape[-1])
        given = torch.from_numpy(latents).requires_grad_()
        ours = generator(given)
        torch.autograd.backward(ours.sum())
    except Exception as error:  # whatever a converted network raises
        raise InputError(f"{name} cannot be trained through ({error}); export it with plainer layers") from error
    if ours.shape != theirs.shape or float(np.abs(ours.detach().numpy() - theirs.clip(0, 1)).max()) > AGREE:
        raise InputError(f"{name} draws other pictures as a network in torch; export it with plainer layers")
    if given.grad is None or not bool(given.grad.isfinite().all()) or not bool(given.grad.any()):
        raise InputError(f"{name} gives no gradients for its latents; export it with layers that do")
    generator.size = size
    return generator
