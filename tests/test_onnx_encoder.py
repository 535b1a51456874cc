"""Encoders in ONNX files: what comes back is what the same weights give in torch, and a wrong file says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

import oneway
from oneway.attacks.access import BlackBox
from oneway.models.onnx import RANGES, Graph, OnnxEncoder
from oneway.runtime import launch

Side = int | str | None
TYPES = {"float": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "uint8": TensorProto.UINT8}
SIZE = 8


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """What the files hold: a map of features, for pictures of any size."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3)).eval()


def export(
    network: nn.Module,
    path: Path,
    *,
    batch: Side = "n",
    size: Side = "s",
    last: bool = False,
    kind: str = "float",
    nodes: tuple[onnx.NodeProto, ...] = (),
    outputs: tuple[str, ...] = ("features",),
    inputs: tuple[str, ...] = (),
) -> Path:
    """Write the network, with colours last or first, and `nodes` after it that make the `outputs`."""
    weights = [numpy_helper.from_array(w.detach().numpy(), name) for name, w in network.state_dict().items()]
    shape = [batch, size, size, 3] if last else [batch, 3, size, size]
    chain = [
        helper.make_node("Cast", ["pictures"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node(
            "Transpose" if last else "Identity", ["floats"], ["x"], **({"perm": [0, 3, 1, 2]} if last else {})
        ),
        helper.make_node("Conv", ["x", "0.weight", "0.bias"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["y"], ["early"]),
        helper.make_node("Conv", ["early", "2.weight", "2.bias"], ["features"]),
        *nodes,
    ]
    graph = helper.make_graph(
        chain,
        "encoder",
        [
            helper.make_tensor_value_info("pictures", TYPES[kind], shape),
            *(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in inputs),
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def draw(count: int, size: int = SIZE, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def expected(network: nn.Module, pictures: Tensor) -> Tensor:
    found: Tensor = network(pictures)
    return found


@pytest.mark.parametrize("batch", ["n", None, 1, 3, 7])
@pytest.mark.parametrize("last", [False, True])
def test_it_gives_what_torch_gives_whatever_the_batch_of_the_graph(
    network: nn.Module, tmp_path: Path, batch: Side, last: bool
) -> None:
    encoder = OnnxEncoder(export(network, tmp_path / "e.onnx", batch=batch, last=last), SIZE, pixels="0..1")
    for count in (1, 3, 7, 10):
        features = encoder(draw(count))
        assert features.dtype == torch.float32
        torch.testing.assert_close(features, expected(network, draw(count)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("batch", [1, 3, "n"])
def test_pictures_are_shared_out_among_threads_and_come_back_in_order(
    network: nn.Module, tmp_path: Path, batch: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = Graph(export(network, tmp_path / "encoder.onnx", batch=batch), "encoder")
    rows = torch.rand(11, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(rows).numpy()
    for threads in (1, 2, 5, 20):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        np.testing.assert_allclose(graph.run(rows.numpy(), "features"), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("pixels", "seen"),
    [
        ("0..1", lambda pictures: pictures),
        ("-1..1", lambda pictures: 2 * pictures - 1),
        ("0..255", lambda pictures: 255 * pictures),
        (
            "imagenet",
            lambda pictures: (
                (pictures - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
                / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
            ),
        ),
    ],
)
def test_the_network_sees_the_range_it_expects(network: nn.Module, tmp_path: Path, pixels: str, seen) -> None:
    encoder = OnnxEncoder(export(network, tmp_path / "e.onnx"), SIZE, pixels=pixels)
    wanted = expected(network, seen(draw(4)))
    torch.testing.assert_close(encoder(draw(4)), wanted, atol=1e-4, rtol=1e-4)
    for other in set(RANGES) - {pixels}:  # or a wrong range would pass unseen
        wrong = OnnxEncoder(tmp_path / "e.onnx", SIZE, pixels=other)
        assert (wrong(draw(4)) - wanted).abs().mean() > 0.03


def test_a_network_of_bytes_gets_the_very_bytes(network: nn.Module, tmp_path: Path) -> None:
    encoder = OnnxEncoder(export(network, tmp_path / "e.onnx", kind="uint8"), SIZE, pixels="0..255")
    whole = torch.arange(3 * SIZE * SIZE * 4).remainder(256).reshape(4, 3, SIZE, SIZE).float()
    torch.testing.assert_close(encoder(whole / 255), expected(network, whole), atol=1e-3, rtol=1e-4)


def test_a_network_of_halves_gets_halves(network: nn.Module, tmp_path: Path) -> None:
    encoder = OnnxEncoder(export(network, tmp_path / "e.onnx", kind="float16"), SIZE, pixels="0..1")
    torch.testing.assert_close(encoder(draw(3)), expected(network, draw(3).half().float()), atol=1e-5, rtol=1e-5)


@settings(deadline=None, max_examples=20)
@given(order=st.permutations(range(7)), seed=st.integers(0, 99))
def test_features_of_a_picture_depend_on_no_other(order: list[int], seed: int, tmp_path_factory, network) -> None:
    path = tmp_path_factory.getbasetemp() / "shared.onnx"
    encoder = OnnxEncoder(path if path.exists() else export(network, path, batch=3), SIZE, pixels="0..1")
    pictures = draw(7, seed=seed)
    torch.testing.assert_close(encoder(pictures[order]), encoder(pictures)[order], atol=1e-6, rtol=1e-6)


def test_it_is_a_black_box_without_gradients(
    network: nn.Module, tmp_path: Path, runtime: oneway.RuntimeConfig, pack: oneway.Pack
) -> None:
    encoder = OnnxEncoder(export(network, tmp_path / "e.onnx", size=pack.size), pack.size, pixels="imagenet")
    access = BlackBox(encoder, launch(runtime), pack.size)
    assert access.shape == (5, 14, 14)
    assert access.queries == 0
    assert access.features(pack.public, np.arange(5)).shape == (5, 5, 14, 14)
    assert access.queries == 5
    pictures = draw(2, pack.size).requires_grad_()
    assert not encoder(pictures).requires_grad


def test_quantised_features_come_as_floats(network: nn.Module, tmp_path: Path) -> None:
    cast = helper.make_node("Cast", ["features"], ["code"], to=TensorProto.INT8)
    path = export(network, tmp_path / "e.onnx", nodes=(cast,), outputs=("code",))
    features = OnnxEncoder(path, SIZE, pixels="0..255")(draw(3))
    assert features.dtype == torch.float32
    assert torch.equal(features, features.round())


def test_one_of_several_outputs_is_chosen(network: nn.Module, tmp_path: Path) -> None:
    path = export(network, tmp_path / "e.onnx", outputs=("early", "features"))
    with pytest.raises(oneway.InputError, match="has 2 outputs; choose one with output = 'early' or 'features'"):
        OnnxEncoder(path, SIZE, pixels="0..1")
    with pytest.raises(oneway.InputError, match=r"output 'feature' does not exist; did you mean 'features'"):
        OnnxEncoder(path, SIZE, pixels="0..1", output="feature")
    early = OnnxEncoder(path, SIZE, pixels="0..1", output="early")(draw(2))
    torch.testing.assert_close(early, F.relu(expected(network[0], draw(2))), atol=1e-5, rtol=1e-5)


def test_the_range_must_be_given(network: nn.Module, tmp_path: Path) -> None:
    path = export(network, tmp_path / "e.onnx")
    with pytest.raises(oneway.InputError, match=r"needs pixels, the range .*: 0\.\.1, -1\.\.1, 0\.\.255, imagenet"):
        OnnxEncoder(path, SIZE)
    with pytest.raises(oneway.InputError, match=r"pixels = '0\.\.256' does not exist; did you mean '0\.\.255'"):
        OnnxEncoder(path, SIZE, pixels="0..256")
    with pytest.raises(oneway.InputError, match=r"nowhere\.onnx' is not a file"):
        OnnxEncoder(tmp_path / "nowhere.onnx", SIZE)


def test_what_is_no_encoder_of_these_pictures_is_refused(network: nn.Module, tmp_path: Path) -> None:
    def refused(path: Path, match: str, pixels: str = "0..1") -> None:
        with pytest.raises(oneway.InputError, match=match):
            OnnxEncoder(path, SIZE, pixels=pixels)

    refused(tmp_path / "absent.onnx", r"absent\.onnx' is not a file; give an ONNX file")
    refused(tmp_path, "is not a file")
    (tmp_path / "text.onnx").write_text("no network")
    refused(tmp_path / "text.onnx", r"text\.onnx' is not a readable ONNX file")
    path = tmp_path / "e.onnx"
    refused(export(network, path, inputs=("scale",)), r"has 2 inputs \(pictures, scale\); it must have one")
    refused(export(network, path, size=16), "takes pictures of 16 x 16 pixels, and the pack's have 8 x 8; prepare")
    refused(export(network, path, size=16, last=True), "takes pictures of 16 x 16 pixels")
    refused(export(network, path, kind="uint8"), r"takes bytes, so pixels must be '0\.\.255', not '0\.\.1'")


def test_an_input_of_another_kind_is_refused(tmp_path: Path) -> None:
    def identity(kind: int, *shape: Side) -> Path:
        value = [helper.make_tensor_value_info(name, kind, shape) for name in ("pictures", "features")]
        graph = helper.make_graph([helper.make_node("Identity", ["pictures"], ["features"])], "g", value[:1], value[1:])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, tmp_path / "e.onnx")
        return tmp_path / "e.onnx"

    for kind, shape, match in (
        (TensorProto.FLOAT, (1, 4, SIZE, SIZE), r"takes \[1, 4, 8, 8\]; it must take n x 3 x size x size"),
        (TensorProto.FLOAT, ("n", 192), r"takes \['n', 192\]; it must take"),
        (TensorProto.INT64, ("n", 3, SIZE, SIZE), r"takes tensor\(int64\); it must take tensor\(float\)"),
    ):
        with pytest.raises(oneway.InputError, match=match):
            OnnxEncoder(identity(kind, *shape), SIZE, pixels="0..1")


@pytest.mark.parametrize(
    ("node", "batch", "match"),
    [
        (helper.make_node("Transpose", ["features"], ["out"], perm=[1, 0, 2, 3]), "n", r"shape \(5, 2, 2, 2\) for 2"),
        (helper.make_node("Transpose", ["features"], ["out"], perm=[1, 0, 2, 3]), 1, r"shape \(5, 1, 2, 2\) for 1"),
        (helper.make_node("ReduceMean", ["features"], ["out"], axes=[1, 2, 3], keepdims=0), "n", r"shape \(2,\)"),
        (helper.make_node("ReduceMean", ["features"], ["out"], keepdims=0), "n", r"shape \(\) for 2 pictures"),
        (helper.make_node("Shape", ["features"], ["out"]), "n", r"shape \(4,\) for 2 pictures"),
        (helper.make_node("SequenceConstruct", ["features"], ["out"]), "n", "must be one tensor of numbers"),
    ],
    ids=["batch second", "batch second, fixed", "numbers", "a number", "a vector", "sequence"],
)
def test_an_output_without_the_batch_first_is_refused(
    network: nn.Module, tmp_path: Path, node: onnx.NodeProto, batch: Side, match: str
) -> None:
    path = export(network, tmp_path / "e.onnx", batch=batch, nodes=(node,), outputs=("out",))
    with pytest.raises(oneway.InputError, match=match):
        OnnxEncoder(path, SIZE, pixels="0..1")


def test_a_graph_that_fails_on_the_pictures_is_refused(network: nn.Module, tmp_path: Path) -> None:
    path = export(network, tmp_path / "e.onnx")  # free in size, but a picture of 2 leaves the last layer nothing
    with pytest.raises(oneway.InputError, match="fails on 2 pictures of 2 x 2 pixels"):
        OnnxEncoder(path, 2, pixels="0..1")


def test_a_fingerprint_changes_with_the_weights_wherever_they_lie(network: nn.Module, tmp_path: Path) -> None:
    path = export(network, tmp_path / "inside.onnx")
    inside = Graph(path, "encoder").fingerprint
    assert inside == Graph(path.rename(tmp_path / "moved.onnx"), "encoder").fingerprint
    folder = tmp_path / "weights"
    folder.mkdir()
    onnx.save(
        onnx.load(tmp_path / "moved.onnx"),
        folder / "outside.onnx",
        save_as_external_data=True,
        location="outside.data",
        size_threshold=0,
    )
    weights = folder / "outside.data"
    outside = Graph(folder / "outside.onnx", "encoder").fingerprint
    (folder / "another.data").write_bytes(b"not of this network")
    assert Graph(folder / "outside.onnx", "encoder").fingerprint == outside != inside
    content = bytearray(weights.read_bytes())
    content[0] ^= 1
    weights.write_bytes(content)
    assert Graph(folder / "outside.onnx", "encoder").fingerprint != outside
    weights.unlink()
    with pytest.raises(oneway.InputError, match=r"outside\.onnx' is not a readable ONNX file"):
        OnnxEncoder(folder / "outside.onnx", SIZE, pixels="0..1")


def test_opening_a_file_leaves_denormal_numbers_off(network: nn.Module, tmp_path: Path) -> None:
    def smallest() -> bool:
        return bool(np.float32(1e-39) * np.float32(0.5) > 0)

    try:
        torch.set_flush_denormal(False)
        assert smallest()
        torch.set_flush_denormal(True)
        encoder = OnnxEncoder(export(network, tmp_path / "e.onnx"), SIZE, pixels="0..1")
        encoder(draw(2))
        assert not smallest()
    finally:
        torch.set_flush_denormal(True)
