"""Modules that draw at random in use: from the operating system, unless a seed is in force."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oneway.errors import InputError


class Seeded(nn.Module):
    """A module whose every call draws anew, and which protects by what it draws.

    Whoever knows what was drawn can take it off, so by default every number is made of bytes of the operating system,
    and no state is kept from which it could be found again. Only inside `seeded` are numbers a function of a seed. A
    copy of a module, or one that was pickled, has no seed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seed: tuple[int | str, ...] | None = None
        self._calls = 0

    def __getstate__(self) -> dict[str, object]:
        """Give what a copy or a pickle keeps: all but the seed."""
        return self.__dict__ | {"_seed": None, "_calls": 0}

    def normal(self, shape: torch.Size, device: torch.device) -> Tensor:
        """Draw standard normal numbers of a shape, in float32."""
        generator = self._generator(device)
        if generator is not None:
            return torch.randn(shape, generator=generator, device=device)
        first, second = _uniform(2 * -(-shape.numel() // 2)).reshape(2, -1)
        radius, angle = np.sqrt(-2 * np.log(first)), 2 * math.pi * second  # Box and Muller 1958
        drawn = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[: shape.numel()]
        return _tensor(drawn, shape, device)

    def uniform(self, shape: torch.Size, device: torch.device) -> Tensor:
        """Draw numbers of a shape that are spread evenly over 0..1, in float32."""
        generator = self._generator(device)
        if generator is not None:
            return torch.rand(shape, generator=generator, device=device)
        return _tensor(_uniform(shape.numel()), shape, device)

    def _generator(self, device: torch.device) -> torch.Generator | None:
        """Give the generator of this call and count it, if a seed is in force."""
        traced = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        if traced or torch.compiler.is_exporting():
            raise InputError(
                f"{type(self).__name__} draws anew in each call, and a traced graph would hold one draw for ever, so "
                "whoever has the graph could take it off; export the part before it, and draw on the device"
            )
        if self._seed is None:
            return None
        self._calls += 1
        return torch.Generator(device).manual_seed(_state(*self._seed, self._calls - 1))


@contextmanager
def seeded(network: nn.Module, *seed: int | str) -> Iterator[None]:
    """Let all that a network draws at random be a function of a seed, as training, attacks and tests need it.

    That is what its `Seeded` modules draw, counted from the beginning of the block, and what any other module draws
    of torch's own generators, whose state is put back. After the block the operating system decides again, or the
    seed of the block around it.

    Args:
        network: any module.
        seed: numbers, 0 or more, and names; the whole of it decides.

    """
    modules = [module for module in network.modules() if isinstance(module, Seeded)]
    generators = [torch.default_generator]
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        generators.append(torch.cuda.default_generators[torch.cuda.current_device()])
    before = [(module._seed, module._calls) for module in modules]
    states = [generator.get_state() for generator in generators]
    try:
        for module in modules:
            module._seed, module._calls = seed, 0
        for generator in generators:
            generator.manual_seed(_state(*seed))
        yield
    finally:
        for module, (its, calls) in zip(modules, before, strict=True):
            module._seed, module._calls = its, calls
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def _state(*seed: int | str) -> int:
    """Mix numbers and names to one number of 64 bits."""
    numbers = [int.from_bytes(part.encode(), "big") if isinstance(part, str) else part for part in seed]
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def _uniform(count: int) -> NDArray[np.float64]:
    """Make numbers above 0 and up to 1, of 53 bits each, of bytes of the operating system."""
    bits = np.frombuffer(os.urandom(8 * count), np.uint64) >> np.uint64(11)
    return (bits + np.uint64(1)).astype(np.float64) * 2.0**-53


def _tensor(numbers: NDArray[np.float64], shape: torch.Size, device: torch.device) -> Tensor:
    return torch.from_numpy(numbers.astype(np.float32)).view(shape).to(device)
