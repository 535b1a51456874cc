"""Data as people have it: class folders, tables of any delimiter, given splits without validation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oneway.data.readers import folder
from oneway.data.readers.labels import read_table
from oneway.data.readers.trees import classes_in, split_of
from oneway.data.splits import SPLITS, assign
from oneway.errors import InputError


def draw(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(root / name)


def test_folders_of_a_split_and_of_classes_are_the_split_and_the_task(tmp_path: Path) -> None:
    names = [f"{part}/{kind}/{number}.png" for part in ("Train", "val", "test") for kind in "ab" for number in range(2)]
    draw(tmp_path, *names)
    source = folder.read(tmp_path)
    assert source.attributes == ("class",)
    assert source.columns.column("class").to_pylist() == [name.split("/")[1] for name in source.names]
    assert set(zip((name.split("/")[0] for name in source.names), source.partition or (), strict=True)) == {
        ("Train", "train"), ("val", "validation"), ("test", "test"),
    }  # fmt: skip


def test_class_folders_alone_are_classes_if_each_holds_many() -> None:
    many = [f"{kind}/{number}" for kind in "ab" for number in range(10)]
    told = classes_in(many, divided=False)
    assert told is not None
    assert told.column("class").to_pylist() == ["a"] * 10 + ["b"] * 10
    assert split_of(many) is None


@pytest.mark.parametrize(
    "names",
    [
        [f"person {who}/{shot}" for who in range(40) for shot in range(3)],  # of people, as LFW has them
        [f"a/{number}" for number in range(20)],
        [*(f"a/{number}" for number in range(20)), *(f"b/c/{number}" for number in range(20))],
        [str(number) for number in range(20)],
    ],
)
def test_other_folders_are_no_classes(names: list[str]) -> None:
    assert classes_in(names, divided=False) is None


def test_folders_beside_train_and_test_are_no_split() -> None:
    assert split_of(["train/a/1", "test/a/1", "more/a/1"]) is None
    assert split_of(["train/a/1", "val/a/1"]) is None


def test_a_class_in_two_spellings_is_refused(tmp_path: Path) -> None:
    kinds = [f"{part}/{kind}" for part in ("train", "test") for kind in ("Cat", "cat")]
    draw(tmp_path, *(f"{kind}/{number}.png" for kind in kinds for number in range(2)))
    with pytest.raises(InputError, match=r"'Cat' .* and 'cat' .* are one class in two spellings"):
        folder.read(tmp_path)


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("before", ["", "\N{BOM}"])
def test_any_delimiter_is_found(tmp_path: Path, mark: str, before: str) -> None:
    draw(tmp_path / "i", "1.png", "2.png")
    rows = [["image", "kind of thing", "size"], ["1.png", "cat", "1.5"], ["2.png", "dog", ""]]
    path = tmp_path / "labels.csv"
    path.write_text("".join(mark.join(row) + "\n" for row in rows), encoding="utf-8-sig" if before else "utf-8")
    assert read_table(path).column_names == rows[0]
    source = folder.read(tmp_path / "i", path)
    assert source.columns.to_pydict() == {"kind of thing": ["cat", "dog"], "size": [1.5, None]}


def test_a_comma_within_quotes_parts_nothing(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text('image;"size, in px"\n1.png;2\n')
    assert read_table(tmp_path / "l.csv").column_names == ["image", "size, in px"]


def test_a_table_may_leave_folders_out_where_that_is_clear(tmp_path: Path) -> None:
    draw(tmp_path / "i", "train2017/001.png", "val2017/002.png")
    (tmp_path / "l.csv").write_text("file_name,split,smiling\n002.png,val,1\n001.png,training,0\n")
    source = folder.read(tmp_path / "i", tmp_path / "l.csv")
    assert source.partition == ("train", "validation")
    assert source.labels[:, 0].tolist() == [False, True]
    draw(tmp_path / "i", "val2017/001.png")
    with pytest.raises(InputError, match="none holds paths of images"):
        folder.read(tmp_path / "i", tmp_path / "l.csv")


@pytest.mark.parametrize("division", ["shuffle", "hash"])
def test_where_the_given_split_has_no_validation_a_tenth_of_its_people_are_held_out(division: str) -> None:
    names = [f"person {index // 2}" for index in range(4000)]
    partition = ["train"] * 3000 + ["test"] * 1000
    codes = assign(names, partition, count=4000, seed=1, division=division, names=names)  # type: ignore[arg-type]
    assert (codes[3000:] == SPLITS.index("test")).all()
    shares = np.bincount(codes[:3000], minlength=4) / 3000
    np.testing.assert_allclose(shares, [0.45, 0.45, 0.1, 0], atol=0.03)
    of_person = codes.reshape(-1, 2)
    assert (of_person[:, 0] == of_person[:, 1]).all()
