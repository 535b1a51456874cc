"""How a face-verification network takes pictures: stated, not guessed; each statement does what it says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

import oneway
from oneway.data.packed import Pack
from oneway.judges import preprocessing
from oneway.judges.align import TEMPLATE
from oneway.judges.preprocessing import KNOWN, PRESETS, Preprocessing, stated
from oneway.judges.verifier import OnnxVerifier
from oneway.models.onnx import Graph
from test_verifier import averaging_network, places
from trees import real_data

PLAIN = Preprocessing(pixels="0..1")


def seen(path: Path, given: Preprocessing, colours: NDArray[np.float64]) -> NDArray[np.float32]:
    """Ask a network that averages colours about pictures of one colour each."""
    pictures = torch.from_numpy(colours)[:, :, None, None].expand(-1, 3, 40, 40)
    return OnnxVerifier(path, given)(pictures, places(TEMPLATE, len(colours)))


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (PLAIN, lambda rgb: rgb),
        (Preprocessing(pixels="0..255", mean=(100.0,), deviation=(128.0,)), lambda rgb: (rgb * 255 - 100) / 128),
        (Preprocessing(pixels="-1..1"), lambda rgb: rgb * 2 - 1),
        (
            Preprocessing(pixels="imagenet"),
            lambda rgb: (rgb - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        ),
        (
            Preprocessing(pixels="imagenet", colours="BGR"),
            lambda rgb: ((rgb - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225])[:, ::-1],
        ),
        (
            Preprocessing(pixels="0..255", colours="BGR", mean=(103.9, 116.8, 123.7), deviation=(57.4, 57.1, 58.4)),
            lambda rgb: (rgb[:, ::-1] * 255 - [103.9, 116.8, 123.7]) / [57.4, 57.1, 58.4],
        ),
    ],
    ids=["0..1", "0..255", "-1..1", "imagenet", "imagenet BGR", "Caffe"],
)
def test_a_network_gets_the_numbers_that_it_expects(tmp_path: Path, given: Preprocessing, expected: Any) -> None:
    path = averaging_network(tmp_path / "mean.onnx", batch=None)
    colours = np.random.default_rng(0).random((5, 3))
    np.testing.assert_allclose(seen(path, given, colours), unit(expected(colours)), atol=1e-4)


@pytest.mark.parametrize("side", [96, 128, 160])
def test_a_network_of_another_side_gets_its_side_and_its_template(tmp_path: Path, side: int) -> None:
    template = tuple((0.2 + 0.6 * x, 0.1 + 0.6 * y) for x, y in TEMPLATE)
    given = replace(PLAIN, template=template)
    made = given(torch.rand(2, 3, 64, 64), places(template, 2), side)
    assert made.shape == (2, 3, side, side)
    assert OnnxVerifier(averaging_network(tmp_path / "n.onnx", batch=1, side=side), given)._side == side
    # What lies in place already is left alone.
    same = torch.rand(1, 3, side, side)
    np.testing.assert_allclose(given(same, places(template, 1), side), same.numpy(), atol=1e-3)


def test_each_picture_is_aligned_by_its_own_points() -> None:
    pictures = torch.rand(3, 3, 64, 64)
    rng = np.random.default_rng(1)
    own = np.array(TEMPLATE) * 0.6 + rng.uniform(0, 0.3, (3, 1, 2)) + rng.normal(0, 0.01, (3, 5, 2))
    together = PLAIN(pictures, own, 112)
    for index in range(3):
        alone = PLAIN(pictures[index : index + 1], own[index : index + 1], 112)
        np.testing.assert_allclose(together[index], alone[0], atol=1e-5)
    assert np.abs(together[0] - PLAIN(pictures[:1], own[1:2], 112)[0]).mean() > 0.01


def test_a_crop_needs_no_landmarks_and_is_the_square_that_it_says() -> None:
    pictures = torch.rand(2, 3, 64, 64)
    cut = replace(PLAIN, crop=(0.25, 0.5, 0.25))(pictures, None, 16)
    np.testing.assert_allclose(cut, pictures[:, :, 32:48, 16:32].numpy(), atol=1e-5)
    whole = replace(PLAIN, crop=(0.0, 0.0, 1.0))(pictures, None, 64)
    np.testing.assert_allclose(whole, pictures.numpy(), atol=1e-5)


def last(path: Path, side: int | str, *, half: bool = False) -> Path:
    """Write a network that takes colours last, and gives the mean of each."""
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    nodes = [helper.make_node("ReduceMean", ["pictures"], ["features"], axes=[1, 2], keepdims=0)]
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("pictures", kind, ["n", side, side, 3])],
        [helper.make_tensor_value_info("features", kind, ["n", 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("half", [False, True])
def test_colours_may_come_last_and_a_free_side_is_stated(tmp_path: Path, half: bool) -> None:
    colours = np.random.default_rng(0).random((5, 3))
    fixed = seen(last(tmp_path / "fixed.onnx", 112, half=half), PLAIN, colours)
    free = seen(last(tmp_path / "free.onnx", "side", half=half), replace(PLAIN, side=48), colours)
    for found in (fixed, free):
        np.testing.assert_allclose(found, unit(colours), atol=2e-3 if half else 1e-4)
    with pytest.raises(oneway.InputError, match="leaves the side of its pictures free; state it as side"):
        OnnxVerifier(tmp_path / "free.onnx", PLAIN)


def test_features_are_centred_by_the_mean_of_public_people(pack: Pack, tmp_path: Path) -> None:
    path = averaging_network(tmp_path / "mean.onnx", batch=None)
    whole = replace(PLAIN, crop=(0.0, 0.0, 1.0))
    with pytest.raises(oneway.InputError, match="is to be centred by other people's mean feature"):
        OnnxVerifier(path, replace(whole, centred=True))
    centred = oneway.open_verifier(pack, path, preprocessing=replace(whole, centred=True))
    assert centred is not None
    public, test = (part.images(slice(None)) / 255 for part in (pack.public, pack.test))
    expected = unit(test.mean(axis=(1, 2)) - public.mean(axis=(0, 1, 2)))
    pictures = torch.from_numpy(test).permute(0, 3, 1, 2).float()
    agree = (centred(pictures) * expected).sum(axis=1)
    assert agree.min() > 0.99  # the picture is scaled up, which moves its mean a little
    assert np.median(agree) > 0.9999
    plain = oneway.open_verifier(pack, path, preprocessing=whole)
    assert plain is not None
    assert plain.fingerprint != centred.fingerprint


def test_an_unknown_network_without_a_statement_is_refused_with_the_ways_out(pack: Pack, tmp_path: Path) -> None:
    path = averaging_network(tmp_path / "mine.onnx", batch=1)
    for ask in (lambda: oneway.open_verifier(pack, path), lambda: OnnxVerifier(path)):
        with pytest.raises(oneway.InputError, match=r"none of the known networks \(mobilefacenet.*write .*mine\.json"):
            ask()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"pixels": "0..255"}, Preprocessing(pixels="0..255")),
        ({"pixels": "0..1", "mean": 127.5, "deviation": 2}, replace(PLAIN, mean=(127.5,), deviation=(2.0,))),
        ({"preset": "dlib"}, PRESETS["dlib"]),
        ({"preset": "dlib", "centred": False}, replace(PRESETS["dlib"], centred=False)),
        ({"pixels": "0..1", "crop": [0, 0.1, 0.9], "side": 160}, replace(PLAIN, crop=(0.0, 0.1, 0.9), side=160)),
        (
            {"pixels": "0..1", "template": [list(point) for point in TEMPLATE[::-1]]},
            replace(PLAIN, template=TEMPLATE[::-1]),
        ),
    ],
)
def test_a_json_file_beside_the_network_states_it(tmp_path: Path, content: Any, expected: Preprocessing) -> None:
    (tmp_path / "net.json").write_text(json.dumps(content))
    assert stated(tmp_path / "net.onnx", next(iter(KNOWN))) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "holds list, not an object"),
        ("{}", "it must state pixels"),
        ('{"pixel": "0..1"}', "must state pixels"),
        ('{"pixels": "0..1", "meen": 1}', "did you mean 'mean'"),
        ('{"pixels": "0..256"}', "did you mean '0..255'"),
        ('{"preset": "dlibb"}', "did you mean 'dlib'"),
        ('{"preset": 3}', "preset = '3' does not exist"),
        ('{"pixels": "0..1", "colours": "RBG"}', "colours = 'RBG' does not exist"),
        ('{"pixels": "0..1", "mean": [1, 2]}', "mean must be one number, or one for each colour"),
        ('{"pixels": "0..1", "deviation": 0}', "deviation must be .* above 0"),
        ('{"pixels": "0..1", "template": [[0, 0]]}', "template must be five points"),
        ('{"pixels": "0..1", "template": [[38, 51], [73, 51], [56, 71], [41, 92], [70, 92]]}', "as fractions"),
        ('{"pixels": "0..1", "template": 3}', "template"),
        ('{"pixels": "0..1", "crop": [0, 0]}', "crop must be left, top and side"),
        ('{"pixels": "0..1", "side": 0}', "side must be at least 1"),
        ('{"pixels": "0..1", "mean": NaN}', "finite"),
        ('{"pixels": "0..1", "centred": "maybe"}', "centred must be true or false"),
    ],
)
def test_what_cannot_be_is_refused_with_the_files_name(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "net.json").write_text(content)
    with pytest.raises(oneway.InputError, match=rf"net\.json.*{message}"):
        stated(tmp_path / "net.onnx", "unknown")


def test_a_known_network_is_recognised_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = averaging_network(tmp_path / "renamed.onnx", batch=None)
    monkeypatch.setitem(preprocessing.KNOWN, Graph(path, "verifier").fingerprint, "retail-0095")
    assert OnnxVerifier(path).preprocessing == PRESETS["retail-0095"]
    assert set(KNOWN.values()) == set(PRESETS)


@pytest.mark.parametrize(
    ("file", "preset"),
    [
        ("MobileFaceNet", "mobilefacenet"),
        ("mobilefacenet_y1", "mobilefacenet-y1"),
        ("face_reidentification_retail_0095", "retail-0095"),
        ("dlib_face_resnet", "dlib"),
    ],
)
def test_the_real_networks_are_recognised(file: str, preset: str) -> None:
    path = real_data("weights") / f"{file}.onnx"
    assert stated(path, Graph(path, "verifier").fingerprint) == PRESETS[preset]
