"""Two modules that answer otherwise have two fingerprints, and one module has one, in whatever process."""

from __future__ import annotations

import io
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import oneway
from conftest import RUNTIME
from oneway.auditing.victim import from_module
from oneway.models.behaviour import fingerprint
from oneway.models.copying import copy_network
from oneway.models.noise import Noisy
from oneway.models.split import first_part
from oneway.runtime import launch


class Mode(Enum):
    SOFT = 1
    HARD = 2


class Holding(nn.Module):
    """Holds anything beside a layer."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.layer, self.value = nn.Conv2d(3, 4, 3), value

    def forward(self, pictures: Tensor) -> Tensor:
        features: Tensor = self.layer(pictures)
        return features


class Scaling(nn.Module):
    """Scales what its layers give, in a forward that is traced."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.first, self.last, self.scale = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1), scale

    def forward(self, pictures: Tensor) -> Tensor:
        features: Tensor = self.last(self.first(pictures) * self.scale)
        return features


class Unsaved(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(value), persistent=False)


def hooked(factor: float) -> nn.Module:
    network = nn.Conv2d(3, 4, 3)
    network.register_forward_hook(lambda _, __, given: given * factor)
    return network


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval()


def quantised(factor: float) -> nn.Module:
    network = nn.Linear(12, 4)
    network.weight.data *= factor
    return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Flatten(), network), {nn.Linear}, torch.qint8)


def loaded(network: nn.Module) -> Any:
    kept = io.BytesIO()
    torch.jit.save(torch.jit.script(network.eval()), kept)
    kept.seek(0)
    return torch.jit.load(kept)


def traced(scale: float) -> Any:
    return torch.jit.trace(Scaling(scale).eval(), torch.zeros(1, 3, 8, 8))


def noisy(noise: float) -> nn.Module:
    return Noisy(nn.Conv2d(3, 4, 3), noise)


def multiplying(factor: float) -> Callable[[Tensor], Tensor]:
    return lambda pictures: factor * pictures


APART: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    "a number": (lambda: noisy(0.1), lambda: noisy(5.0)),
    "a number within": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.1)),
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.2)),
    ),
    "a class": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU()),
    ),
    "a stride": (lambda: nn.Conv2d(3, 4, 3, stride=1), lambda: nn.Conv2d(3, 4, 3, stride=2)),
    "a weight": (lambda: nn.Conv2d(3, 4, 3), lambda: nn.Conv2d(3, 4, 3).double().half()),
    "a buffer that is not saved": (lambda: Unsaved(0.0), lambda: Unsaved(0.5)),
    "a hook": (lambda: hooked(1.0), lambda: hooked(2.0)),
    "a traced number": (
        lambda: first_part(Scaling(1.0), "last"),
        lambda: first_part(Scaling(2.0), "last"),
    ),
    "TorchScript": (lambda: torch.jit.script(Scaling(1.0)), lambda: torch.jit.script(Scaling(2.0))),
    "TorchScript of a file": (lambda: loaded(Scaling(1.0)), lambda: loaded(Scaling(2.0))),
    "TorchScript, traced": (lambda: traced(1.0), lambda: traced(2.0)),
    "TorchScript, frozen": (
        lambda: torch.jit.freeze(torch.jit.script(Scaling(1.0).eval())),
        lambda: torch.jit.freeze(torch.jit.script(Scaling(2.0).eval())),
    ),
    "packed weights": (lambda: quantised(1.0), lambda: quantised(2.0)),
}
VALUES: dict[str, tuple[Any, Any]] = {
    "words": ("soft", "hard"),
    "truth": (True, False),
    "tuples": ((1, (2.5, "a")), (1, (2.5, "b"))),
    "lists": ([1, 2], [2, 1]),
    "sets": ({"a", "b", "c"}, {"a", "b", "d"}),
    "mappings": ({"a": 1, "b": 2}, {"a": 2, "b": 1}),
    "types of number": (torch.float16, torch.bfloat16),
    "enumerations": (Mode.SOFT, Mode.HARD),
    "numbers of numpy": (np.float32(0.1), np.float32(0.2)),
    "arrays": (np.arange(3), np.arange(3) + 1),
    "tensors": (torch.arange(3), torch.arange(3) + 1),
    "the type of tensors": (torch.zeros(2, dtype=torch.float16), torch.zeros(2, dtype=torch.bfloat16)),
    "functions": (F.relu, F.gelu),
    "functions of Python": (lambda x: x * 0.1, lambda x: x * 5.0),
    "what functions hold": (multiplying(0.1), multiplying(5.0)),
    "functions with arguments": (partial(F.leaky_relu, negative_slope=0.1), partial(F.leaky_relu, negative_slope=0.2)),
}
for _name, _pair in VALUES.items():
    APART[_name] = (partial(Holding, _pair[0]), partial(Holding, _pair[1]))
SAME: dict[str, Callable[[], nn.Module]] = {
    "timm": lambda: timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2),
    "timm, cut": lambda: first_part(timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2), "blocks.0"),
    "timm, convolutions": lambda: timm.create_model("mobilenetv3_small_050"),
    "objects": lambda: Holding([object(), {1: object()}, object, print, nn.ReLU()]),
    "what holds itself": lambda: Holding(round_about()),
}


def round_about() -> list[Any]:
    around: list[Any] = [1]
    around.append(around)
    return around


def every() -> Iterator[tuple[str, nn.Module]]:
    for name, makers in APART.items():
        for place, make in enumerate(makers):
            yield f"{name} {place}", seeded(make)
    for name, make in SAME.items():
        yield name, seeded(make)


@pytest.mark.parametrize("name", APART)
def test_modules_that_differ_in_one_thing_are_told_apart_and_each_is_itself(name: str) -> None:
    first, second = (fingerprint(seeded(make)) for make in APART[name])
    assert first != second
    assert [fingerprint(seeded(make)) for make in APART[name]] == [first, second]


@pytest.mark.parametrize("name", SAME)
def test_a_copy_and_one_that_was_asked_are_the_same(name: str) -> None:
    network = seeded(SAME[name])
    told = fingerprint(network)
    assert fingerprint(seeded(SAME[name])) == told
    network(torch.rand(1, 3, 32, 32))
    assert fingerprint(network) == fingerprint(copy_network(network)) == told


@pytest.mark.whole
def test_every_process_gives_the_same() -> None:
    code = "import test_behaviour as t\nfor name, module in t.every(): print(name, t.fingerprint(module))"
    told = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", f"held = [object() for _ in range({seed}0000)]\n{code}"],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            cwd=Path(__file__).parent,
        )
        told.append(done.stdout)
    assert told[0] == told[1]
    assert len(told[0].splitlines()) == 2 * len(APART) + len(SAME)


def test_neither_private_attributes_nor_where_a_file_lies_count() -> None:
    one, other = seeded(lambda: Holding("/here/weights.pt")), seeded(lambda: Holding("/there/weights.pt"))
    other._calls = 7  # type: ignore[assignment]
    assert fingerprint(one) == fingerprint(other)


def test_numbers_that_say_nothing_are_said_too() -> None:
    told = {fingerprint(seeded(partial(Holding, value))) for value in (math.nan, math.inf, -math.inf, 0.0, -0.0, 0)}
    assert len(told) == 6


@pytest.mark.parametrize(("make", "cut"), [(noisy, "output"), (Scaling, "output"), (Scaling, "last")])
def test_encoders_that_differ_in_a_plain_number_are_not_one_victim(
    make: Callable[[float], nn.Module], cut: str, other_pack: oneway.Pack
) -> None:
    fabric = launch(RUNTIME)
    made = [seeded(partial(make, noise)) for noise in (0.1, 0.1, 5.0)]
    first, again, other = (from_module(module, cut, other_pack, fabric).identity for module in made)
    assert first == again
    assert first != other
    assert first | {"hash": None} == other | {"hash": None}
