"""The verifier's features of the real pictures: computed once, kept under what decides them, made again if spoiled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oneway.data.batches import to_pictures
from oneway.data.packed import Pack, Public
from oneway.judges.align import TEMPLATE
from oneway.judges.cache import known_features
from oneway.judges.verifier import OnnxVerifier, TorchVerifier, Verifier
from test_verifier import PLAIN, averaging_network
from trees import truncate


class Counting:
    """A verifier that counts the pictures it is shown."""

    def __init__(self, verifier: Verifier, *, fingerprint: str | None = "given") -> None:
        self.verifier, self.shown, self.name = verifier, 0, "counting"
        self.fingerprint = verifier.fingerprint if fingerprint == "given" else fingerprint

    def __call__(self, pictures: Tensor, landmarks: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
        self.shown += len(pictures)
        return self.verifier(pictures, landmarks)


@pytest.fixture
def counting(verifier: Verifier) -> Counting:
    return Counting(verifier)


def test_they_are_what_the_verifier_gives_in_the_order_of_the_pictures(
    pack: Pack, verifier: Verifier, tmp_path: Path
) -> None:
    for part in (pack.public, pack.validation, pack.test):
        for _ in range(2):
            found = known_features(verifier, part, tmp_path, progress=False)
            expected = verifier(to_pictures(part.images(slice(None))))
            np.testing.assert_allclose(found, expected, atol=1e-5)
    assert sorted(path.name.partition("-")[0] for path in tmp_path.iterdir()) == ["public", "test", "validation"]


def test_they_are_computed_once(pack: Pack, counting: Counting, tmp_path: Path) -> None:
    first = known_features(counting, pack.test, tmp_path, progress=False)
    assert counting.shown == len(pack.test)
    again = known_features(counting, pack.test, tmp_path, progress=False)
    assert counting.shown == len(pack.test) + 1  # the first picture, to hold the file to the verifier
    np.testing.assert_array_equal(again, first)


def test_the_pack_keeps_them(other_pack: Pack, verifier: Verifier, tmp_path: Path) -> None:
    known_features(verifier, replace(other_pack, path=tmp_path).test, progress=False)
    (kept,) = (tmp_path / "known").iterdir()
    assert kept.name.startswith("test-")


def test_another_pack_part_or_verifier_is_another_file(pack: Pack, verifier: Verifier, tmp_path: Path) -> None:
    other = Counting(verifier, fingerprint="other")
    fewer = Public(pack=pack, rows=slice(pack.public.rows.start, pack.public.rows.stop - 1))
    relabelled = replace(pack, hash="0" * 64)
    elsewhere = replace(pack, landmarks=TEMPLATE)
    for given, part in (
        (verifier, pack.public),
        (other, pack.public),
        (verifier, fewer),
        (verifier, relabelled.public),
        (verifier, elsewhere.public),
    ):
        assert len(known_features(given, part, tmp_path, progress=False)) == len(part)
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize(
    "spoil",
    [
        truncate,
        lambda path: path.write_bytes(b""),
        lambda path: np.save(path, np.load(path)[1:]),
        lambda path: np.save(path, np.load(path)[:, 1:]),
        lambda path: np.save(path, np.load(path).astype(np.float64)),
        lambda path: np.save(path, np.load(path) * (np.arange(len(np.load(path))) != 7)[:, None]),
        lambda path: np.save(path, np.load(path) * np.where(np.arange(len(np.load(path))) == 7, np.nan, 1)[:, None]),
        lambda path: np.save(path, np.load(path)[:, ::-1]),
        lambda path: np.save(path, np.array([{}]), allow_pickle=True),
    ],
    ids=["truncated", "empty", "a row short", "a column short", "doubles", "zeros", "nan", "others", "pickled"],
)
def test_a_spoiled_file_is_made_again(
    pack: Pack, counting: Counting, tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    first = known_features(counting, pack.test, tmp_path, progress=False)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    spoil(path)
    np.testing.assert_allclose(known_features(counting, pack.test, tmp_path, progress=False), first, atol=1e-6)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_kept_where_the_folder_cannot_be_written(
    pack: Pack, counting: Counting, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "known").write_text("a file in the way")
    for turn in (1, 2):
        found = known_features(counting, pack.test, tmp_path / "known", progress=False)
        assert counting.shown == turn * len(pack.test) == turn * len(found)
    assert "features of the test pictures are not kept: cannot write" in caplog.text


def test_nothing_is_kept_of_a_verifier_that_cannot_be_told_from_others(
    pack: Pack, verifier: Verifier, tmp_path: Path
) -> None:
    known_features(Counting(verifier, fingerprint=None), pack.test, tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


def test_a_bar_says_how_far_it_is(
    pack: Pack, verifier: Verifier, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known_features(verifier, pack.test, tmp_path)
    total = len(pack.test)
    assert f"recognise the test pictures: {total}/{total}" in capsys.readouterr().err
    known_features(verifier, pack.test, tmp_path)
    assert capsys.readouterr().err == ""


def test_a_torch_verifier_is_told_by_its_layers_and_weights() -> None:
    def network(stride: int = 1) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return nn.Sequential(nn.Conv2d(3, 4, 3, stride=stride), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2))

    def made(stride: int = 1) -> nn.Module:
        built = network(stride)
        with torch.no_grad():
            built(torch.zeros(2, 3, 8, 8))
        return built

    plain = TorchVerifier(made(), "a").fingerprint
    with torch.no_grad():
        moved = made()
        moved[1].running_mean += 1e-3
    fingerprints = [
        TorchVerifier(given, "b").fingerprint for given in (moved, made(2), nn.Sequential(*made()[:2], nn.Flatten()))
    ]
    assert len({plain, *fingerprints}) == 4
    half = made().to(torch.bfloat16).to(memory_format=torch.channels_last)
    assert len(TorchVerifier(half, "c").fingerprint) == 64


def test_an_onnx_verifier_is_told_by_its_file_and_how_it_takes_pictures(tmp_path: Path) -> None:
    path = averaging_network(tmp_path / "mean.onnx", batch=None)
    first = OnnxVerifier(path, PLAIN).fingerprint
    shifted = tuple((x + 0.01, y) for x, y in TEMPLATE)
    others = [OnnxVerifier(path, replace(PLAIN, template=shifted)).fingerprint]
    others.append(OnnxVerifier(path, replace(PLAIN, pixels="0..255")).fingerprint)
    model = onnx.load(path)
    model.doc_string = "another export"
    onnx.save(model, path)
    others.append(OnnxVerifier(path, PLAIN).fingerprint)
    assert len({first, *others}) == 4
    copy = averaging_network(tmp_path / "copy.onnx", batch=None)
    assert OnnxVerifier(copy, PLAIN).fingerprint == first
