"""An encoder whose answer for a picture depends on the others in the batch is refused; any other is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from torch import Tensor, nn

import oneway
from oneway.errors import InputError
from oneway.models.batch_invariance import check_company
from oneway.models.noise import Noisy
from oneway.models.onnx import OnnxEncoder
from oneway.models.split import split

pytestmark = pytest.mark.whole

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def fixed() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def by_batch() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten())


def by_picture() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.InstanceNorm2d(4), nn.Flatten())


class Calling(nn.Module):
    """Does something to the features of a network."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.change = by_picture(), change

    def forward(self, pictures: Tensor) -> Tensor:
        return self.change(self.network(pictures))


def own_draws(deviation: float) -> Callable[[Tensor], Tensor]:
    """Add noise that torch's seed does not decide."""
    random = np.random.default_rng(0)
    return lambda features: features + torch.from_numpy(random.normal(0, deviation, features.shape)).float()


DEPENDENT: dict[str, Callable[[], nn.Module]] = {
    "batch statistics": by_batch,
    "batch statistics whatever the mode": lambda: Calling(lambda x: F.batch_norm(x, None, None, training=True)),
    "less the mean of the batch, faintly": lambda: Calling(lambda x: x - 0.02 * x.mean(dim=0)),
    "a secret of the neighbour in one small number": lambda: Calling(
        lambda x: torch.cat([x, 1e-4 * x.roll(1, dims=0)[:, :1]], dim=1)
    ),
    "the place in the batch": lambda: Calling(lambda x: x + 0.1 * torch.arange(len(x))[:, None]),
    "noise after batch statistics": lambda: Noisy(by_batch(), 1.0),
    "dropout after batch statistics": lambda: nn.Sequential(by_batch(), Calling(lambda x: x).change and Dropped()),
    "noise of its own after batch statistics": lambda: nn.Sequential(by_batch(), Noise(0.5)),
}


class Dropped(nn.Module):
    """Drops features in use as in training."""

    def forward(self, features: Tensor) -> Tensor:
        return F.dropout(features, 0.3, training=True)


class Noise(nn.Module):
    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.change = own_draws(deviation)

    def forward(self, features: Tensor) -> Tensor:
        return self.change(features)


INDEPENDENT: dict[str, Callable[[], nn.Module]] = {
    "statistics of the picture": by_picture,
    "noise": lambda: Noisy(by_picture(), 3.0),
    "dropout": lambda: nn.Sequential(by_picture(), Dropped()),
    "noise of its own": lambda: nn.Sequential(by_picture(), Noise(0.5)),
    "squeezed": lambda: Calling(lambda x: x.squeeze()),
}


@pytest.mark.parametrize("name", DEPENDENT)
def test_features_that_depend_on_the_batch_are_refused(name: str, pack: oneway.Pack) -> None:
    with pytest.raises(
        InputError, match=r"answers depend on the batch: .*(alone|other pictures|elsewhere).*running stat"
    ):
        check_company(DEPENDENT[name](), pack.public, CPU)


@pytest.mark.parametrize("name", INDEPENDENT)
def test_features_that_do_not_are_not(name: str, pack: oneway.Pack) -> None:
    encoder = INDEPENDENT[name]().train()
    for _ in range(5):
        check_company(encoder, pack.public, CPU)
    assert all(module.training for module in encoder.modules())


def graph(path: Path, nodes: list[Any], batch: int | str = "n") -> OnnxEncoder:
    made = helper.make_graph(
        [helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[8, 8], strides=[8, 8]), *nodes],
        "encoder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 32, 32])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [batch, 3, 4, 4])],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return OnnxEncoder(path, 32, pixels="0..1")


DIFFERENCE = [
    helper.make_node("ReduceMean", ["y"], ["mean"], axes=[0], keepdims=1),
    helper.make_node("Sub", ["y", "mean"], ["z"]),
]
DRAWN = [
    helper.make_node("RandomNormalLike", ["y"], ["noise"], mean=0.0, scale=0.1),
]


@pytest.mark.parametrize("batch", ["n", 4])
@pytest.mark.parametrize("threads", [1, 5])
def test_a_graph_is_asked_in_company_however_its_pictures_are_shared_out(
    tmp_path: Path, pack: oneway.Pack, batch: int | str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    plain = graph(tmp_path / "plain.onnx", [helper.make_node("Neg", ["y"], ["features"])], batch)
    check_company(plain, pack.public, CPU)
    noisy = graph(tmp_path / "noisy.onnx", [*DRAWN, helper.make_node("Add", ["y", "noise"], ["features"])], batch)
    check_company(noisy, pack.public, CPU)
    trained = graph(tmp_path / "trained.onnx", [*DIFFERENCE, helper.make_node("Neg", ["z"], ["features"])], batch)
    both = [*DIFFERENCE, *DRAWN, helper.make_node("Add", ["z", "noise"], ["features"])]
    for encoder in (trained, graph(tmp_path / "both.onnx", both, batch)):
        with pytest.raises(InputError, match="answers depend on the batch"):
            check_company(encoder, pack.public, CPU)


def test_it_is_refused_before_anything_is_trained_or_written(
    pack: oneway.Pack, people: oneway.Pack, tiny: Callable[..., oneway.ProtectConfig], tmp_path: Path
) -> None:
    config = tiny({"network.cut": "output"})
    with pytest.raises(InputError, match="answers depend on the batch"):
        oneway.protect(pack, tmp_path / "run", config, network=by_batch(), progress=False)
    with pytest.raises(InputError, match="answers depend on the batch"):
        oneway.audit(by_batch(), data=people, out=tmp_path / "audit", progress=False)
    assert not list(tmp_path.iterdir())


def test_a_part_before_a_norm_of_the_batch_may_be_cut_off(pack: oneway.Pack) -> None:
    encoder, _ = split(by_batch(), "0")
    check_company(encoder, pack.public, CPU)
