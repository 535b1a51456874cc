from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oneway.data.picture import CorruptImage
from oneway.data.readers import celeba
from oneway.data.source import Photographs
from oneway.data.splits import assign, check
from oneway.errors import InputError
from trees import ATTRIBUTES, celeba_tree, photograph, real_data, truncate


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("official", [False, True])
def test_reads_the_layout_and_the_download(tmp_path: Path, official: bool) -> None:
    source = celeba.read(celeba_tree(tmp_path, official=official))
    assert source.layout == "celeba"
    assert source.names[:2] == ("000001.jpg", "000002.jpg")
    assert source.attributes == ATTRIBUTES
    expected = np.random.default_rng(0).integers(0, 2, (24, 5)) == 1
    assert np.array_equal(source.labels, expected)
    # The identity list is in reverse order: matched by name, person 100 has images 1, 9 and 17.
    assert source.identities is not None
    assert [source.names[i] for i, who in enumerate(source.identities) if who == "100"] == [
        "000001.jpg",
        "000009.jpg",
        "000017.jpg",
    ]
    assert source.partition is not None
    assert Counter(source.partition) == {"train": 18, "validation": 3, "test": 3}
    image = source.reader(0, 64)
    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8


def test_accepts_windows_line_ends_and_no_last_newline(tmp_path: Path) -> None:
    plain = celeba.read(celeba_tree(tmp_path))
    for path in tmp_path.glob("*.txt"):
        path.write_bytes(path.read_bytes().rstrip(b"\n").replace(b"\n", b"\r\n"))
    again = celeba.read(tmp_path)
    assert again.names == plain.names
    assert again.identities == plain.identities
    assert np.array_equal(again.labels, plain.labels)


def test_crop_is_columns_15_to_163_and_rows_40_to_188(tmp_path: Path) -> None:
    frame = np.zeros((218, 178, 3), dtype=np.uint8)
    frame[40:188, 15:163] = 200
    Image.fromarray(frame).save(tmp_path / "frame.png")
    reader = Photographs(tmp_path, ("frame.png",), celeba.FRAME, celeba.BOX)
    assert np.all(reader(0, 148) == 200)
    # At a smaller size the filter at the rim looks a little past the square, into the real image.
    assert np.all(reader(0, 64)[1:-1, 1:-1] == 200)


def test_landmarks_are_the_points_of_the_frame(tmp_path: Path) -> None:
    frame = np.zeros((218, 178, 3), dtype=np.uint8)
    for x, y in celeba.POINTS:
        frame[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3] = 255
    Image.fromarray(frame).save(tmp_path / "frame.png")
    crop = Photographs(tmp_path, ("frame.png",), celeba.FRAME, celeba.BOX)(0, 296)
    for x, y in celeba.LANDMARKS:
        assert crop[int(y * 296), int(x * 296)].min() > 200


def test_resizing_is_antialiased(tmp_path: Path) -> None:
    stripes = np.zeros((218, 178, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "frame.png")
    small = Photographs(tmp_path, ("frame.png",), celeba.FRAME, celeba.BOX)(0, 32)
    assert small.min() > 100
    assert small.max() < 155


def test_corrupt_image_names_the_file(tmp_path: Path) -> None:
    source = celeba.read(celeba_tree(tmp_path))
    truncate(tmp_path / "img_align_celeba" / "000003.jpg")
    (tmp_path / "img_align_celeba" / "000004.jpg").write_bytes(b"")
    (tmp_path / "img_align_celeba" / "000005.jpg").unlink()
    for index in (2, 3, 4):
        with pytest.raises(CorruptImage, match=f"00000{index + 1}.jpg: cannot be decoded"):
            source.reader(index, 64)


def test_another_frame_is_refused(tmp_path: Path) -> None:
    source = celeba.read(celeba_tree(tmp_path))
    photograph(tmp_path / "img_align_celeba" / "000002.jpg", 200, 218)
    with pytest.raises(InputError, match=r"000002.jpg: the frame must be 178x218 .* it is 200x218; use"):
        source.reader(1, 64)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("identity_CelebA.txt", "comes separately with the official release"),
        ("list_eval_partition.txt", "the celeba layout needs list_eval_partition.txt, the official split"),
        ("list_attr_celeba.txt", "the 40 attributes"),
    ],
)
def test_missing_list(tmp_path: Path, name: str, words: str) -> None:
    (celeba_tree(tmp_path) / name).unlink()
    with pytest.raises(InputError, match=words):
        celeba.read(tmp_path)


def test_missing_folders_and_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder; give the folder"):
        celeba.read(tmp_path / "none")
    with pytest.raises(InputError, match="needs img_align_celeba"):
        celeba.read(tmp_path)
    (celeba_tree(tmp_path) / "img_align_celeba" / "000007.jpg").unlink()
    with pytest.raises(InputError, match=r"1 of 24 listed images are missing: 000007.jpg; unpack"):
        celeba.read(tmp_path)


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("list_attr_celeba.txt", "24\n", "25\n", "line 1 announces 25 images, 24 lines follow"),
        ("list_attr_celeba.txt", "24\n", "", "line 1 must be the number of images"),
        ("list_attr_celeba.txt", "000002.jpg", "000002.jpg 1", "line 4 must have 6 columns, it has 7"),
        ("list_attr_celeba.txt", "000002.jpg", "000001.jpg", "lists an image twice"),
        ("identity_CelebA.txt", "000002.jpg", "000001.jpg", "has no line for 1 images .* 000002.jpg; use"),
        ("identity_CelebA.txt", "000024.jpg 107\n", "000024.jpg\n", "line 1 must have 2 columns, it has 1"),
        ("list_eval_partition.txt", "000002.jpg 0", "000002.jpg 4", "must be 0, 1 or 2, 000002.jpg has '4'"),
    ],
)
def test_malformed_lists(tmp_path: Path, name: str, old: str, new: str, words: str) -> None:
    replace(celeba_tree(tmp_path) / name, old, new)
    with pytest.raises(InputError, match=words):
        celeba.read(tmp_path)


@pytest.mark.parametrize("name", ["identity_CelebA.txt", "list_eval_partition.txt"])
def test_an_image_that_a_list_has_twice_is_named(tmp_path: Path, name: str) -> None:
    path = celeba_tree(tmp_path) / name
    path.write_text(path.read_text() + "000003.jpg 1\n")
    with pytest.raises(InputError, match=f"{name}: has more than one line for 1 images, the first: 000003.jpg"):
        celeba.read(tmp_path)


@pytest.mark.parametrize("value", ["0", "-2", "yes", "11"])
def test_label_that_is_not_binary(tmp_path: Path, value: str) -> None:
    path = celeba_tree(tmp_path) / "list_attr_celeba.txt"
    lines = path.read_text().splitlines()
    lines[4] = f"000003.jpg -1 {value} 1 1 1"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=f"label of Eyeglasses in line 5 must be -1 or 1, it is '{value}'"):
        celeba.read(tmp_path)


def test_empty_lists(tmp_path: Path) -> None:
    for name in ("list_attr_celeba.txt", "identity_CelebA.txt", "list_eval_partition.txt"):
        root = celeba_tree(tmp_path / name)
        (root / name).write_bytes(b"")
        with pytest.raises(InputError, match=f"{name}: line 1 must"):
            celeba.read(root)


def test_real_celeba() -> None:
    source = celeba.read(real_data("celeba"))
    assert len(source.names) == 15_500
    assert source.attributes[0] == "5_o_Clock_Shadow"
    assert len(source.attributes) == 40
    assert source.identities is not None
    assert source.partition is not None
    assert len(set(source.identities)) == 3_100
    people = Counter(part for _, part in set(zip(source.identities, source.partition, strict=True)))
    assert people == {"train": 2_500, "validation": 300, "test": 300}
    assert source.names[0] == "000004.jpg"
    assert source.identities[0] == "5805"
    assert source.labels[0].nonzero()[0].tolist() == [2, 24, 27, 32, 34, 36, 37, 39]
    splits = assign(source.identities, source.partition, count=len(source.names))
    check(source.identities, splits, source.names)
    assert source.reader(0, 64).std() > 20
