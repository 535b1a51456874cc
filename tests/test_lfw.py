from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from oneway.data.readers import celeba, lfw
from oneway.errors import InputError
from trees import lfw_tree, real_data


@pytest.mark.parametrize("folder", [".", "lfw-deepfunneled"])
def test_reads_the_folder_or_its_parent(tmp_path: Path, folder: str) -> None:
    source = lfw.read(lfw_tree(tmp_path) / folder)
    assert source.layout == "lfw"
    assert source.names[:3] == (
        "Given_Family-0/Given_Family-0_0001.jpg",
        "Given_Family-1/Given_Family-1_0001.jpg",
        "Given_Family-1/Given_Family-1_0002.jpg",
    )
    assert source.identities is not None
    assert Counter(source.identities)["Given_Family-2"] == 3
    assert (source.attributes, source.partition, source.labels.shape) == ((), None, (12, 0))
    assert source.reader(0, 32).shape == (32, 32, 3)


def test_crop_is_the_best_square() -> None:
    def distance(left: float, top: float, side: float) -> float:
        return float(np.sum(((np.array(lfw.POINTS) - (left, top)) / side - celeba.LANDMARKS) ** 2))

    left, top, right, bottom = lfw.BOX
    side = right - left
    assert bottom - top == pytest.approx(side)
    assert 0 < left < right < 250
    assert 0 < top < bottom < 250
    # An independent search: no other square nearby brings the points nearer to CelebA's.
    moves = [(x, y, z) for x in (-2, 0, 2) for y in (-2, 0, 2) for z in (-4, 0, 4) if (x, y, z) != (0, 0, 0)]
    assert all(distance(left, top, side) < distance(left + x, top + y, side + z) for x, y, z in moves)
    assert np.abs(np.array(lfw.LANDMARKS) - np.array(celeba.LANDMARKS)).max() < 0.02


def test_missing_and_foreign_trees(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder; give the folder that holds lfw-deepfunneled/"):
        lfw.read(tmp_path / "none")
    (tmp_path / "Somebody").mkdir()
    (tmp_path / "Somebody" / "portrait.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"holds no image of the lfw layout, .*Name_0001.jpg; unpack"):
        lfw.read(tmp_path)


def test_what_is_not_of_the_layout_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lfw.read(lfw_tree(tmp_path))
    assert "1 files are not of the layout and are passed over: 1 .jpg (Given_Family-0/notes.jpg)" in caplog.text


def test_real_lfw() -> None:
    source = lfw.read(real_data("lfw"))
    assert len(source.names) == 2_534
    assert source.identities is not None
    assert len(set(source.identities)) == 1_000
    assert source.reader(0, 64).std() > 20
