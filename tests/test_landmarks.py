"""Where the face is in pictures of a folder of one's own: columns of its table, right after crop, scaling and turns."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import oneway
from oneway.data.join import join
from oneway.data.prepare import prepare
from oneway.data.readers import folder
from oneway.data.readers.landmarks import COLUMNS
from oneway.errors import InputError
from oneway.judges.preprocessing import Preprocessing
from test_verifier import averaging_network

Row = dict[str, Any]


def bright(path: Path, size: tuple[int, int], points: Sequence[tuple[float, float]], turn: int = 1) -> None:
    """Write a black picture of a size as it is seen, with a white spot at each point, stored as a camera turns it."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    for x, y in points:
        pixels[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3] = 255
    image = Image.fromarray(pixels)
    back = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[turn]
    image = image if back is None else image.transpose(back)
    exif = Image.Exif()
    exif[0x0112] = turn
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, exif=exif)


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    """Write pictures of 12 people, each of another size and place of the face, and their table."""

    def make(change: Callable[[list[Row]], object] = lambda rows: None) -> Path:
        rng = np.random.default_rng(0)
        rows: list[Row] = []
        for index in range(12):
            size = (int(rng.integers(160, 260)), int(rng.integers(160, 260)))
            middle = np.array(size) / 2 + rng.uniform(-8, 8, 2)
            points = middle + np.array([(-24, -20), (24, -20), (0, 4), (-16, 28), (16, 28)])
            turn = (1, 3, 6, 8)[index % 4]
            bright(tmp_path / "faces" / f"{index:02d}.png", size, [(x, y) for x, y in points[:1]], turn)
            row = {"image": f"{index:02d}.png", "identity": f"p{index // 3}", "Smiling": index % 2}
            row["split"] = ("private", "public", "validation", "test")[index // 3]
            rows.append(row | dict(zip(COLUMNS, points.ravel().tolist(), strict=True)))
        change(rows)
        path = tmp_path / "labels.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows[::-1])  # matched by name
        return path

    return make


def test_the_points_of_each_picture_lie_on_it_after_crop_scale_and_turn(
    tree: Callable[..., Path], tmp_path: Path
) -> None:
    source = folder.read(tmp_path / "faces", tree())
    assert source.attributes == ("Smiling",)
    pack = prepare(source, tmp_path / "pack", size=64, jobs=1, progress=False)
    assert pack.located
    for part in (pack.private, pack.public, pack.validation, pack.test):
        images, points = part.images(slice(None)), part.landmarks(slice(None))
        assert points is not None
        assert points.shape == (len(part), 5, 2)
        for image, (eye, *_) in zip(images, points, strict=True):
            light = image[..., 0].astype(float)
            rows, columns = np.mgrid[:64, :64] + 0.5
            spot = (columns * light).sum() / light.sum(), (rows * light).sum() / light.sum()
            assert spot == pytest.approx(eye * 64, abs=0.6)


def test_a_verifier_gets_each_face_by_its_own_points_and_another_place_is_another_pack(
    tree: Callable[..., Path], tmp_path: Path
) -> None:
    pack = prepare(folder.read(tmp_path / "faces", tree()), tmp_path / "pack", size=64, jobs=1, progress=False)
    network = averaging_network(tmp_path / "mean.onnx", batch=None)
    assert oneway.open_verifier(pack, network, preprocessing=Preprocessing(pixels="0..1")) is not None
    with pytest.raises(InputError, match="the pack has no landmarks"):
        oneway.open_verifier(replace(pack, located=False), network, preprocessing=Preprocessing(pixels="0..1"))
    moved = tree(lambda rows: rows[0].update(nose_x=rows[0]["nose_x"] + 1))
    again = prepare(folder.read(tmp_path / "faces", moved), tmp_path / "again", size=64, jobs=1, progress=False)
    assert again.hash != pack.hash


def test_packs_with_their_own_points_are_joined_and_unknown_ones_are_not_guessed(
    tree: Callable[..., Path], tmp_path: Path
) -> None:
    pack = prepare(folder.read(tmp_path / "faces", tree()), tmp_path / "pack", size=64, jobs=1, progress=False)
    both = join(pack, pack, tmp_path / "both")
    assert both.points is not None
    assert pack.points is not None
    after = pack.public.rows.stop
    np.testing.assert_array_equal(both.points[after : after + 12], pack.points)
    np.testing.assert_array_equal(both.test.landmarks(slice(None)), pack.test.landmarks(slice(None)))
    unknown = prepare(folder.read(tmp_path / "faces"), tmp_path / "unknown", size=64, jobs=1, progress=False)
    one, other = (replace(each, attributes=()) for each in (pack, unknown))
    assert join(other, one, tmp_path / "third").points is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [row.pop("nose_y") for row in rows], "has landmarks, but no column 'nose_y'"),
        (lambda rows: rows[3].update(nose_y=""), "column 'nose_y', row 9: must be a number of pixels, it is ''"),
        (lambda rows: rows[0].update(nose_y="nan"), "column 'nose_y', row 12"),
        (
            lambda rows: [row.update({name: row[name] / 200 for name in COLUMNS}) for row in rows],
            r"the landmarks of 00\.png, .* give pixels of the picture as it is seen",
        ),
        (lambda rows: rows[1].update({name: rows[1][name] + 900 for name in COLUMNS}), r"the landmarks of 01\.png"),
        (
            lambda rows: [row.update(lefteye_x=row["righteye_x"], righteye_x=row["lefteye_x"]) for row in rows],
            "in 100% of the images lefteye lies right of righteye",
        ),
    ],
    ids=["a column short", "empty", "nan", "fractions", "elsewhere", "the person's left"],
)
def test_points_that_cannot_be_are_refused(
    tree: Callable[..., Path], tmp_path: Path, change: Callable[[list[Row]], object], message: str
) -> None:
    labels = tree(change)
    with pytest.raises(InputError, match=message):
        folder.read(tmp_path / "faces", labels)


def test_a_picture_that_cannot_be_opened_is_left_to_skip_bad(tree: Callable[..., Path], tmp_path: Path) -> None:
    labels = tree()
    (tmp_path / "faces" / "00.png").write_bytes(b"no picture")
    source = folder.read(tmp_path / "faces", labels)
    with pytest.raises(InputError, match="cannot be decoded"):
        prepare(source, tmp_path / "pack", size=32, jobs=1, progress=False)
    pack = prepare(source, tmp_path / "other", size=32, jobs=1, skip_bad=True, progress=False)
    assert pack.points is not None
    assert np.isfinite(pack.points).all()
