"""A run is of use without its pack: a device encodes with it, a server decides by it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import oneway
from oneway.data.batches import to_pictures

pytestmark = pytest.mark.whole


@pytest.fixture
def alone(unprotected: oneway.Run, tmp_path: Path) -> Path:
    """A run's folder with what may leave the machine that trained it, and no pack anywhere."""
    for name in ("config.json", "results.json", "protector.safetensors"):
        (tmp_path / "run").mkdir(exist_ok=True)
        shutil.copy(unprotected.path / name, tmp_path / "run" / name)
    return tmp_path / "run"


def test_it_encodes_and_decides_as_the_run_does(unprotected: oneway.Run, alone: Path) -> None:
    loaded, pixels = oneway.load_encoder(alone), unprotected.pack.test.images(slice(0, 5))
    assert loaded.size == 32
    assert loaded.attributes == unprotected.pack.attributes
    with torch.no_grad():
        features, logits = unprotected.load()(to_pictures(pixels))
    given = loaded.encode(pixels)
    assert given.shape == (5, *loaded.shape)
    torch.testing.assert_close(given, features)
    decided = loaded.decide(given)
    assert list(decided) == list(unprotected.pack.attributes)
    np.testing.assert_array_equal(np.stack(list(decided.values()), axis=1), logits.numpy() > 0)


def test_the_thresholds_are_the_calibrated_ones(unprotected: oneway.Run, alone: Path) -> None:
    """The mean MCC of its decisions on test people is the one that the run reports."""
    loaded, test = oneway.load_encoder(alone), unprotected.pack.test
    decided = np.stack(list(loaded.decide(loaded.encode(test.images(slice(None)))).values()), axis=1)
    found = []
    for told, true in zip(decided.T, test.labels().T, strict=True):
        hit, miss = (told & true).sum(), (~told & true).sum()
        false, right = (told & ~true).sum(), (~told & ~true).sum()
        norm = np.sqrt(float((hit + false) * (hit + miss) * (right + false) * (right + miss)))
        found.append(0.0 if norm == 0 else float(hit * right - false * miss) / norm)
    reported = oneway.storage.runs.read_json(alone / "results.json")["utility"]["value"]["value"]
    assert np.mean(found) == pytest.approx(reported, abs=1e-6)


def test_pictures_come_as_bytes_as_pil_or_as_a_tensor(unprotected: oneway.Run, alone: Path) -> None:
    loaded, pixels = oneway.load_encoder(alone), unprotected.pack.test.images(slice(0, 3))
    expected = loaded.encode(pixels)
    torch.testing.assert_close(loaded.encode([Image.fromarray(each) for each in pixels]), expected)
    torch.testing.assert_close(loaded.encode(to_pictures(pixels)), expected)
    torch.testing.assert_close(loaded.encode(pixels[:, :, ::-1][:, :, ::-1]), expected)


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (np.zeros((2, 32, 32, 3), dtype=np.float32), r"float32 of shape \(2, 32, 32, 3\)"),
        (np.zeros((32, 32, 3), dtype=np.uint8), r"uint8 of shape \(32, 32, 3\)"),
        (np.zeros((0, 32, 32, 3), dtype=np.uint8), r"shape \(0, 32"),
        (np.zeros((1, 64, 64, 3), dtype=np.uint8), r"give bytes \(n, 32, 32, 3\)"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), r"torch.uint8 of shape \(1, 3, 32, 32\)"),
        (torch.full((1, 3, 32, 32), 255.0), r"lie in 255..255, not in 0..1"),
        (torch.full((1, 3, 32, 32), float("nan")), "lie in nan..nan"),
        ([Image.new("L", (32, 32))], "picture 0 is of mode L, 32 by 32"),
        ([Image.new("RGB", (32, 32)), Image.new("RGB", (33, 32))], "picture 1 is of mode RGB, 33 by 32"),
        ([], "of type list"),
        ("face.png", "of type str"),
        (Image.new("RGB", (32, 32)), "of type Image"),
    ],
)
def test_other_pictures_are_refused_by_what_they_are(alone: Path, pictures: object, message: str) -> None:
    with pytest.raises(oneway.InputError, match=message):
        oneway.load_encoder(alone).encode(pictures)  # type: ignore[arg-type]


def test_other_features_are_refused_and_given_ones_are_left_as_they_are(alone: Path) -> None:
    loaded = oneway.load_encoder(alone)
    for features in (torch.zeros(1, 3), torch.zeros(0, *loaded.shape), np.zeros((1, *loaded.shape))):
        with pytest.raises(oneway.InputError, match="features must be a tensor"):
            loaded.decide(features)  # type: ignore[arg-type]
    with pytest.raises(oneway.InputError, match="must be finite"):
        loaded.decide(torch.full((1, *loaded.shape), float("inf")))
    given = torch.randn(2, *loaded.shape)
    before = given.clone()
    loaded.decide(given)
    assert torch.equal(given, before)


def test_noise_is_new_in_every_call_and_every_load(
    pack: oneway.Pack, tiny: Callable[..., oneway.ProtectConfig], tmp_path: Path
) -> None:
    config = tiny({"steps": 1, "defence": "noise"})
    oneway.protect(pack, tmp_path / "run", config, progress=False)
    pixels = pack.test.images(slice(0, 2))
    sent = [loaded.encode(pixels) for loaded in map(oneway.load_encoder, [tmp_path / "run"] * 2) for _ in range(2)]
    for first in range(4):
        for second in range(first):
            assert (sent[first] == sent[second]).float().mean() < 0.01


def test_a_module_of_ones_own_is_given(
    pack: oneway.Pack, tiny: Callable[..., oneway.ProtectConfig], tmp_path: Path
) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.ReLU())
    oneway.protect(pack, tmp_path / "run", tiny({"network.cut": "0", "steps": 1}), network=network, progress=False)
    with pytest.raises(oneway.InputError, match=r"network=\.\.\."):
        oneway.load_encoder(tmp_path / "run")
    assert oneway.load_encoder(tmp_path / "run", network=network).shape == (8, 8, 8)


def test_what_is_no_finished_run_is_refused(alone: Path, pack: oneway.Pack, tmp_path: Path) -> None:
    with pytest.raises(oneway.InputError, match="is not a folder"):
        oneway.load_encoder(tmp_path / "none")
    with pytest.raises(oneway.InputError, match="is a pack; give the --out of a `oneway protect`"):
        oneway.load_encoder(pack.path)
    (alone / "results.json").unlink()
    with pytest.raises(oneway.InputError, match="unfinished run"):
        oneway.load_encoder(alone)
