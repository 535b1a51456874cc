from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from oneway.data.batches import to_pictures
from oneway.data.readers import celeba
from oneway.errors import InputError
from oneway.judges.align import TEMPLATE, Points, align, similarity_transform
from oneway.judges.preprocessing import PRESETS, Preprocessing
from oneway.judges.verifier import OnnxVerifier, TorchVerifier
from oneway.metrics.identity import similarity, threshold
from trees import real_data

SIDE = 112
PLAIN = Preprocessing(pixels="0..1")
PIXELS: Points = tuple((x * SIDE, y * SIDE) for x, y in TEMPLATE)
FRACTIONS = TEMPLATE
"""Landmarks of pictures that are in place already."""


def places(landmarks: Points, count: int) -> NDArray[np.float64]:
    """The same landmarks for each of several pictures."""
    return np.broadcast_to(np.array(landmarks), (count, 5, 2))


def placed(angle: float, scale: float, right: float, down: float, points: Points) -> Points:
    """Turn, scale and shift points, by the complex numbers that do so."""
    turn, shift = scale * complex(math.cos(angle), math.sin(angle)), complex(right, down)
    turned = [complex(x, y) * turn + shift for x, y in points]
    return tuple((z.real, z.imag) for z in turned)


def message(*fields: tuple[int, int | str | bytes]) -> bytes:
    """Write a protocol buffer of numbered fields."""

    def varint(value: int) -> bytes:
        return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)

    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            content = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(content)) + content
    return out


def averaging_network(path: Path, *, batch: int | None, side: int = SIDE) -> Path:
    """Write an ONNX network whose features are the mean of each colour; `batch` is fixed in the graph, or free."""

    def tensor(name: str, *sides: int | None) -> bytes:
        shape = message(*((1, message((2, "n") if side is None else (1, side))) for side in sides))
        return message((1, name), (2, message((1, message((1, 1), (2, shape))))))

    nodes = [
        message((1, "pictures"), (2, "pooled"), (4, "GlobalAveragePool")),
        message((1, "pooled"), (2, "features"), (4, "Flatten")),
    ]
    inputs, outputs = tensor("pictures", batch, 3, side, side), tensor("features", batch, 3)
    graph = message(*((1, node) for node in nodes), (2, "mean"), (11, inputs), (12, outputs))
    path.write_bytes(message((1, 8), (8, message((1, ""), (2, 13))), (7, graph)))
    return path


def dotted(points: Points, size: int) -> Tensor:
    """Draw a soft bright dot at each point, given as fractions of the side, each in a picture of its own."""
    rows, columns = np.mgrid[:size, :size] + 0.5
    dots = [np.exp(-((columns - x * size) ** 2 + (rows - y * size) ** 2) / (2 * (0.02 * size) ** 2)) for x, y in points]
    return torch.from_numpy(np.stack(dots))[:, None].float().expand(-1, 3, -1, -1)


def centre(picture: Tensor) -> tuple[float, float]:
    """Find a dot: the mean place of the light, in pixels from the picture's corner."""
    light = picture[0].double().numpy()
    rows, columns = np.mgrid[: light.shape[0], : light.shape[1]] + 0.5
    return float((columns * light).sum() / light.sum()), float((rows * light).sum() / light.sum())


def number(least: float, most: float) -> st.SearchStrategy[float]:
    """Numbers of a range; `launch` of another test may have switched the processor to round the smallest to 0."""
    return st.floats(least, most, allow_subnormal=False)


@settings(deadline=None)
@given(number(-math.pi, math.pi), number(0.05, 20), number(-200, 200), number(-200, 200), st.integers(2, 5))
def test_a_known_rotation_scale_and_shift_is_found(
    angle: float, scale: float, right: float, down: float, count: int
) -> None:
    found = similarity_transform(PIXELS[:count], placed(angle, scale, right, down, PIXELS[:count]))
    cosine, sine = scale * math.cos(angle), scale * math.sin(angle)
    np.testing.assert_allclose(found, [[cosine, -sine, right], [sine, cosine, down]], atol=1e-6)


def test_it_never_mirrors_and_is_the_nearest_in_squares() -> None:
    generator = np.random.default_rng(0)
    target = tuple((x + generator.normal(0, 3), y + generator.normal(0, 3)) for x, y in PIXELS)
    source = np.column_stack([PIXELS, np.ones(5)])

    def distance(matrix: NDArray[np.float64]) -> float:
        return float(((source @ matrix.T - target) ** 2).sum())

    found = similarity_transform(PIXELS, target)
    least = distance(found)
    assert np.linalg.det(found[:, :2]) > 0
    for _ in range(200):
        a, b, right, down = generator.normal(0, 0.02, 4)
        near = found + np.array([[a, -b, 30 * right], [b, a, 30 * down]])
        assert distance(near) > least
    flipped = tuple((-x, y) for x, y in PIXELS)
    assert distance(similarity_transform(PIXELS, flipped)) > 0
    assert np.linalg.det(similarity_transform(PIXELS, flipped)[:, :2]) > 0


@pytest.mark.parametrize("size", [64, 150, 256])
@pytest.mark.parametrize(
    ("angle", "scale", "right", "down"), [(0, 1, 0, 0), (0.3, 0.7, 0.2, 0.05), (-0.2, 0.5, 0.1, 0.4)]
)
def test_the_five_points_land_on_the_template(size: int, angle: float, scale: float, right: float, down: float) -> None:
    landmarks = placed(angle, scale, right, down, FRACTIONS)
    aligned = align(dotted(landmarks, size), landmarks, TEMPLATE, SIDE)
    assert aligned.shape == (5, 3, SIDE, SIDE)
    for picture, point in zip(aligned, PIXELS, strict=True):
        assert centre(picture) == pytest.approx(point, abs=0.2)


def test_celebas_points_land_within_a_few_pixels_though_no_similarity_fits_them() -> None:
    aligned = align(dotted(celeba.LANDMARKS, 128), celeba.LANDMARKS, TEMPLATE, SIDE)
    for picture, point in zip(aligned, PIXELS, strict=True):
        assert math.dist(centre(picture), point) < 4


def test_a_picture_in_place_is_left_alone() -> None:
    pictures = torch.rand(2, 3, SIDE, SIDE)
    torch.testing.assert_close(align(pictures, FRACTIONS, TEMPLATE, SIDE), pictures, atol=1e-3, rtol=0)


@pytest.mark.parametrize("batch", [None, 1, 4])
def test_a_network_gets_colours_by_the_mean_and_deviation_of_imagenet(tmp_path: Path, batch: int | None) -> None:
    verifier = OnnxVerifier(averaging_network(tmp_path / "mean.onnx", batch=batch), PRESETS["mobilefacenet"])
    colours = np.random.default_rng(0).random((5, 3))
    features = verifier(torch.from_numpy(colours)[:, :, None, None].expand(5, 3, 40, 40), places(FRACTIONS, 5))
    expected = (colours - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert verifier.name == "mean.onnx"
    np.testing.assert_allclose(features, expected, atol=1e-4)  # the network averages 12,544 floats


def test_features_are_unit_vectors_of_the_aligned_face(tmp_path: Path) -> None:
    verifier = OnnxVerifier(averaging_network(tmp_path / "mean.onnx", batch=None), PLAIN)
    pictures = torch.rand(4, 3, 64, 64)
    features = verifier(pictures, places(celeba.LANDMARKS, 4))
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    aligned = OnnxVerifier(averaging_network(tmp_path / "mean.onnx", batch=1), PLAIN)
    moved = align(pictures, celeba.LANDMARKS, TEMPLATE, SIDE)
    np.testing.assert_allclose(aligned(moved, places(FRACTIONS, 4)), features, atol=1e-3)


def test_what_is_no_such_network_is_refused(tmp_path: Path) -> None:
    good = averaging_network(tmp_path / "mean.onnx", batch=1)
    with pytest.raises(InputError, match=r"absent\.onnx' is not a file"):
        OnnxVerifier(tmp_path / "absent.onnx", PLAIN)
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(InputError, match=r"text\.onnx' is not a readable ONNX file"):
        OnnxVerifier(tmp_path / "text.onnx", PLAIN)
    with pytest.raises(InputError, match="the pack has no landmarks; `oneway prepare folder` finds them with --align"):
        OnnxVerifier(good, PLAIN)(torch.zeros(1, 3, 64, 64))
    with pytest.raises(InputError, match="takes pictures of 112 x 112 pixels, not of side 96; leave side out"):
        OnnxVerifier(good, replace(PLAIN, side=96))


def test_a_torch_network_gives_unit_vectors_and_is_switched_to_evaluation() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 5)).train()
    verifier = TorchVerifier(network, "ours")
    pictures = torch.rand(6, 3, 8, 8)
    features = verifier(pictures)
    with torch.no_grad():
        raw = network.eval()(pictures).numpy()
    np.testing.assert_allclose(features, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(verifier(pictures[:1]), features[:1], atol=1e-6)
    assert torch.equal(network[1].running_mean, torch.zeros(4))
    assert (features.dtype, verifier.name) == (np.float32, "ours")


def test_a_real_verifier_tells_real_people_apart() -> None:
    source = celeba.read(real_data("celeba"))
    path = real_data("weights") / "MobileFaceNet.onnx"
    assert source.identities is not None
    assert source.partition is not None
    of_test = [index for index, part in enumerate(source.partition) if part == "test"]
    names = sorted({source.identities[index] for index in of_test})[:70]
    chosen = [index for index in of_test if source.identities[index] in set(names)]
    people = np.array([names.index(source.identities[index]) for index in chosen])
    pixels = np.stack([source.reader(index, 64) for index in chosen])
    assert isinstance(source.landmarks, tuple)
    features = OnnxVerifier(path)(to_pictures(pixels), places(source.landmarks, len(pixels)))

    cosine = features @ features.T
    same = (people[:, None] == people) & ~np.eye(len(people), dtype=bool)
    apart = people[:, None] != people
    found = threshold(features, people, false_accept_rate=1e-3)
    assert len(people) >= 300
    assert found is not None
    assert 0.7 < (cosine[same] > found).mean() < 0.95
    assert cosine[same].mean() > 0.45
    assert abs(cosine[apart].mean()) < 0.1
    mirrored = OnnxVerifier(path)(to_pictures(pixels[:40, :, ::-1].copy()), places(source.landmarks, 40))
    assert similarity(mirrored, features[:40]).mean() > 0.8
    mean_picture = to_pictures(pixels).mean(dim=0, keepdim=True)
    ignorance = OnnxVerifier(path)(mean_picture, places(source.landmarks, 1)).repeat(len(people), axis=0)
    assert similarity(ignorance, features).mean() < 0.2
