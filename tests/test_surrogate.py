"""What attackers train with is the verifier itself, in torch, with gradients; what is not is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

import oneway
from oneway.data.batches import load
from oneway.judges.placed import Placed, placed
from oneway.judges.surrogate import Surrogate
from oneway.judges.verifier import Embedding, TorchVerifier, Verifier
from oneway.models.converted import to_torch

CPU = torch.device("cpu")


def write(path: Path, *, reshape: bool = True, half: bool = False) -> Path:
    """Write a verifier of 16 x 16 pictures as exporters do: weights in half precision, a reshape for a batch of one."""
    weights = np.random.default_rng(0).normal(0, 0.1, (8, 3, 16, 16)).astype(np.float16 if half else np.float32)
    name = "half" if half else "weights"
    nodes = [helper.make_node("Cast", ["half"], ["weights"], to=TensorProto.FLOAT)] if half else []
    nodes += [helper.make_node("Conv", ["pictures", "weights"], ["map"])]
    arrays = [numpy_helper.from_array(weights, name)]
    if reshape:
        arrays.append(numpy_helper.from_array(np.array([1, -1], dtype=np.int64), "shape"))
        nodes.append(helper.make_node("Reshape", ["map", "shape"], ["features"]))
    else:
        nodes.append(helper.make_node("Flatten", ["map"], ["features"]))
    first = 1 if reshape else "n"
    graph = helper.make_graph(
        nodes,
        "verifier",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, [first, 3, 16, 16])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [first, 8])],
        arrays,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    path.with_suffix(".json").write_text('{"pixels": "-1..1", "colours": "BGR"}', encoding="utf-8")
    return path


@pytest.mark.parametrize(("reshape", "half"), [(True, False), (False, True), (True, True)])
def test_a_converted_network_is_the_verifier_with_gradients_in_batches(
    pack: oneway.Pack, tmp_path: Path, reshape: bool, half: bool
) -> None:
    verifier = oneway.open_verifier(pack, write(tmp_path / "judge.onnx", reshape=reshape, half=half))
    assert verifier is not None
    surrogate = Surrogate(verifier, pack, CPU)
    pictures, points = load(pack.public, slice(0, 5)).requires_grad_(True), pack.public.landmarks(slice(0, 5))
    found = surrogate(pictures, points)
    np.testing.assert_allclose(found.detach().numpy(), verifier(pictures.detach(), points), atol=1e-5)
    found[2, 0].backward()
    moved = pictures.grad.abs().amax(dim=(1, 2, 3))
    assert moved[2] > 0
    assert moved[[0, 1, 3, 4]].max() == 0, "what is asked of one picture depends on it alone"


def test_the_points_of_mirrored_pictures_are_mirrored(pack: oneway.Pack) -> None:
    class Where:
        """Gives the points that it is given, for features."""

        name, fingerprint = "where", None

        def __call__(self, pictures: Tensor, points: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
            return self.differentiable(CPU)(pictures, points).numpy()

        def differentiable(self, _: torch.device) -> Embedding:
            return lambda pictures, points: torch.as_tensor(np.asarray(points).reshape(len(pictures), -1)).float()

    surrogate = Surrogate(_unchecked(Where()), pack, CPU)
    pictures = torch.zeros(2, 3, 8, 8)
    points = np.tile(np.array([[0.3, 0.4], [0.6, 0.45], [0.5, 0.6], [0.35, 0.8], [0.65, 0.7]]), (2, 1, 1))
    plain, turned = surrogate(pictures, points, np.array([False, True])).reshape(2, 5, 2).numpy()
    np.testing.assert_allclose(plain, points[0], rtol=1e-6)
    wanted = [[0.4, 0.45], [0.7, 0.4], [0.5, 0.6], [0.35, 0.7], [0.65, 0.8]]
    np.testing.assert_allclose(turned, wanted, rtol=1e-6)


def _unchecked(verifier: Verifier) -> Verifier:
    """Let unit length aside: what is looked at is what the network is given."""
    known = verifier.__call__

    class Unit:
        name, fingerprint = verifier.name, None

        def __call__(self, pictures: Tensor, points: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
            found = known(pictures, points)
            return found / np.square(found).sum(axis=1, keepdims=True)

        differentiable = verifier.differentiable  # type: ignore[attr-defined]

    return Unit()


def test_a_verifier_without_gradients_or_with_others_is_refused(pack: oneway.Pack) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * pack.size**2, 4))
    right = TorchVerifier(network, "right")

    class Silent:
        name, fingerprint = "silent", None

        def __call__(self, pictures: Tensor, points: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
            return right(pictures, points)

    class False_(Silent):
        name = "false"

        def differentiable(self, device: torch.device) -> Embedding:
            embed = right.differentiable(device)
            return lambda pictures, points: embed(1 - pictures, points).roll(1, dims=1)

    class Broken(Silent):
        name = "broken"

        def differentiable(self, device: torch.device) -> Embedding:
            raise KeyError("no such weight")

    for made, message in (
        (
            Silent(),
            "'silent', without gradients; give another verifier first, or none to train with: --set surrogates=0",
        ),
        (False_(), "'false' has other features as a network in torch"),
        (Broken(), r"'broken' cannot be trained with \('no such weight'\)"),
    ):
        with pytest.raises(oneway.InputError, match=message):
            Surrogate(made, pack, CPU)
    assert Surrogate(right, pack, CPU).name == "right"


def test_a_judge_on_a_device_is_the_judge(pack: oneway.Pack, tmp_path: Path) -> None:
    verifier = oneway.open_verifier(pack, write(tmp_path / "judge.onnx"))
    assert verifier is not None
    there = Placed(verifier, pack, CPU)
    assert (there.name, there.fingerprint, there.of_pictures) == (verifier.name, verifier.fingerprint, False)
    pictures, points = load(pack.test, slice(0, 5)), pack.test.landmarks(slice(0, 5))
    np.testing.assert_allclose(there(pictures, points), verifier(pictures, points), atol=1e-5)
    assert placed(verifier, pack, CPU) is verifier, "a processor gains nothing"


def test_a_judge_that_cannot_be_had_on_a_device_stays_where_it_is(pack: oneway.Pack) -> None:
    class Silent:
        name, fingerprint = "silent", None

        def __call__(self, pictures: Tensor, points: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
            raise AssertionError("nobody asked")

    judge = Silent()
    assert placed(judge, pack, torch.device("meta")) is judge


@pytest.mark.parametrize(("slopes", "fast"), [((0.25,), True), ((0.25, -0.5, 1.5), False)])
def test_prelu_of_one_slope_is_what_torch_is_fast_at(tmp_path: Path, slopes: tuple[float, ...], fast: bool) -> None:
    node = helper.make_node("PRelu", ["pictures", "slope"], ["features"])
    shape = ["n", 3, 2, 2]
    graph = helper.make_graph(
        [node],
        "prelu",
        [helper.make_tensor_value_info("pictures", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.array(slopes, dtype=np.float32).reshape(-1, 1, 1), "slope")],
    )
    path = tmp_path / "prelu.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    network = to_torch(path)
    pictures = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    found = network(pictures)
    found.sum().backward()
    factor = np.where(pictures.detach().numpy() > 0, 1, np.array(slopes, dtype=np.float32).reshape(-1, 1, 1))
    np.testing.assert_array_equal(found.detach().numpy(), pictures.detach().numpy() * factor)
    np.testing.assert_array_equal(pictures.grad.numpy(), factor)
    assert any(isinstance(each, nn.LeakyReLU) for each in network.modules()) == fast
