"""Whether an encoder adds noise is found in every number, whatever the scale of the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

import oneway
from conftest import RUNTIME
from oneway.auditing.stealing import differs, steal
from oneway.auditing.victim import Victim, from_module, from_onnx
from oneway.models.noise import Noisy
from oneway.runtime import launch

CHANNELS, LARGE = 64, 1e5
SHAPES = {"vector": (64,), "map": (64, 4, 4), "tokens": (5, 64), "positions last": (64, 5), "channels last": (4, 4, 64)}


class Scaled(nn.Module):
    """Gives in the same channels a number of a large scale, one that never varies, and small ones, which have noise."""

    def __init__(self, shape: tuple[int, ...] = (64,), *, noise: float = 0.0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(12, CHANNELS), nn.Sigmoid())
        scale = torch.ones(CHANNELS)
        scale[0], scale[1] = LARGE, 0
        self.scale, self.small = nn.Parameter(scale), nn.Parameter((scale == 1).float())
        self.shape, self.noise = shape, noise

    def forward(self, pictures: Tensor) -> Tensor:
        axis = 1 + self.shape.index(CHANNELS)
        lengths = [CHANNELS if place == axis else 1 for place in range(1 + len(self.shape))]
        lengths[0] = -1
        features = (self.scale * self.layers(pictures)).view(lengths).expand(-1, *self.shape)
        lengths[0] = 1
        return features + self.noise * self.small.view(lengths) * torch.randn_like(features)


def said_noisy(victim: Victim, folder: Path) -> bool:
    found = steal(victim, launch(RUNTIME), folder, draws=2, seed=0, progress=False)
    assert found.noisy == (found.averaged is not None)
    return found.noisy


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_noise_beside_a_channel_of_a_large_scale_is_noise(
    shape: tuple[int, ...], noise: float, other_pack: oneway.Pack, tmp_path: Path
) -> None:
    victim = from_module(Scaled(shape, noise=noise), "output", other_pack, launch(RUNTIME))
    assert said_noisy(victim, tmp_path) == (noise > 0)


DETERMINISTIC: dict[str, Callable[[], nn.Module]] = {
    "float32": lambda: nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3)),
    "half": lambda: nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3)).to(torch.bfloat16),
    "scales": lambda: nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(392, 4)),
    "all the same": lambda: nn.Sequential(nn.Flatten(), nn.Linear(768, 3, bias=False), nn.Threshold(1e9, 0.1)),
    "noise of 0": lambda: Noisy(nn.Conv2d(3, 4, 4, 4), 0.0),
}


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_an_encoder_without_noise_has_none(name: str, other_pack: oneway.Pack, tmp_path: Path) -> None:
    assert not said_noisy(from_module(DETERMINISTIC[name](), "output", other_pack, launch(RUNTIME)), tmp_path)


@pytest.mark.parametrize("noise", [False, True])
def test_a_graph_is_told_likewise(noise: bool, other_pack: oneway.Pack, tmp_path: Path) -> None:
    draw = [
        helper.make_node("RandomNormalLike", ["a"], ["drawn"], mean=0.0, scale=1.0),
        helper.make_node("Add", ["a", "drawn"], ["b"]),
    ]
    nodes = [
        helper.make_node("AveragePool", ["x"], ["a"], kernel_shape=[4, 4], strides=[4, 4]),
        *(draw if noise else [helper.make_node("Identity", ["a"], ["b"])]),
        helper.make_node("Mul", ["a", "large"], ["c"]),
        helper.make_node("Concat", ["b", "c"], ["features"], axis=1),
    ]
    made = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 6, 4, 4])],
        [numpy_helper.from_array(np.array(LARGE, dtype=np.float32), "large")],
    )
    path = tmp_path / "encoder.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    assert said_noisy(from_onnx(path, other_pack, "0..1", None), tmp_path / "features") == noise


def test_sums_in_another_order_are_the_same_answer_and_a_single_picture_tells_noise_too() -> None:
    generator = torch.Generator().manual_seed(0)
    summands = torch.randn(8, 50, 1000, generator=generator)
    assert not differs(summands.sum(dim=2), summands.flip(2).double().sum(dim=2).float())
    assert differs(summands[:1, :, 0], summands[:1, :, 1])
    assert not differs(summands[:1, :, 0], summands[:1, :, 0])
