"""Any Dataset of pictures and labels becomes a pack, and one that lies is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import oneway
from oneway.data.readers.dataset import from_dataset
from oneway.errors import InputError

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (60, 20, 16, 3), dtype=np.uint8)


class Set(torch.utils.data.Dataset[Any]):
    """Items as given, and a length that may lie."""

    def __init__(self, items: list[Any], length: int | None = None, classes: list[str] | None = None) -> None:
        self.items, self.length = items, len(items) if length is None else length
        if classes is not None:
            self.classes = classes

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


FORMS: dict[str, Callable[[Any], Any]] = {
    "PIL": Image.fromarray,
    "bytes": lambda pixels: pixels,
    "tensor": lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1),
    "floats": lambda pixels: torch.from_numpy(pixels / np.float32(255)).permute(2, 0, 1),
}


@pytest.mark.parametrize("form", FORMS)
def test_pictures_of_every_form_are_the_same_pixels(form: str) -> None:
    source = from_dataset(Set([(FORMS[form](pixels), 0) for pixels in PIXELS[:3]]))
    np.testing.assert_array_equal(source.reader(1, 16), PIXELS[1, 2:18])  # the largest square in the middle


def test_pictures_of_16_bits_keep_the_upper_8() -> None:
    wide = RANDOM.integers(0, 2**16, (16, 16, 3), dtype=np.uint16)
    for given in (wide, wide[..., 0], Image.fromarray(wide[..., 0])):
        found = from_dataset(Set([(given, True)])).reader(0, 16)
        three = np.asarray(given) if np.ndim(given) == 3 else np.repeat(wide[..., :1], 3, axis=2)
        np.testing.assert_array_equal(found, three >> 8)


def test_grey_pictures_are_grey() -> None:
    grey = PIXELS[0, :16, :, 0]
    for given in (grey, torch.from_numpy(grey)[None], Image.fromarray(grey)):
        found = from_dataset(Set([(given, True)])).reader(0, 16)
        np.testing.assert_array_equal(found, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize(
    ("labels", "classes", "found"),
    [
        ([0, 1, None], None, [False, True, None]),
        ([True, False, True], None, [True, False, True]),
        ([2, 0, 10], None, ["2", "0", "10"]),
        (list(torch.tensor([2, 0, 1])), ["cat", "dog", "bird"], ["bird", "cat", "dog"]),
        (["dog", "cat", None], None, ["dog", "cat", None]),
        ([np.float32(1.5), 2.0, None], None, [1.5, 2.0, None]),
    ],
)
def test_labels_have_their_kind(labels: list[Any], classes: list[str] | None, found: list[Any]) -> None:
    source = from_dataset(Set([(PIXELS[0], label) for label in labels], classes=classes))
    assert source.columns.column("label").to_pylist() == found


def test_classes_that_no_item_has_are_known_all_the_same() -> None:
    source = from_dataset(Set([(PIXELS[0], 0), (PIXELS[1], 2)], classes=["a", "b", "c"]))
    assert source.columns.column("label").type.index_type is not None
    assert source.columns.column("label").combine_chunks().dictionary.to_pylist() == ["a", "b", "c"]


def test_a_dataset_is_packed_with_its_groups_whole(tmp_path: Path) -> None:
    items = [(PIXELS[index], {"old": index % 2 == 0, "age": float(index)}) for index in range(60)]
    pack = oneway.prepare(
        Set(items), tmp_path / "pack", size=16, groups=[index // 3 for index in range(60)], progress=False
    )
    assert pack.attributes == ("old", "age")
    for part in (pack.private, pack.public, pack.validation, pack.test):
        assert all(len(set(part.identities[part.identities == who])) == 1 for who in part.identities)
    assert sum(part.num_people for part in (pack.private, pack.public, pack.validation, pack.test)) == 20
    assert pack.num_unknown() == 0


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: Set([(PIXELS[0], 0)], length=2), r"item 1 of the dataset, which says that it has 2, cannot be had"),
        (lambda: Set([PIXELS[0]]), r"item 0 of the dataset is ndarray of uint8 .* must be a tuple"),
        (lambda: Set([(PIXELS, 0)]), r"picture of item 0 is ndarray of uint8 and shape \(60, 20, 16, 3\)"),
        (lambda: Set([(PIXELS[0].astype(int), 0)]), "picture of item 0 is ndarray of int64"),
        (lambda: Set([(torch.randn(3, 8, 8), 0)]), r"picture of item 0 lies in -.* leave out the normalisation"),
        (lambda: Set([(PIXELS[0], [1, 2])]), "label 'label' of item 0 is list; it must be"),
        (lambda: Set([(PIXELS[0], 0), (PIXELS[0], "a")]), r"several kinds: int \(item 0\), str \(item 1\)"),
        (lambda: Set([(PIXELS[0], None)]), "label 'label' is missing in every item"),
        (
            lambda: Set([(PIXELS[0], {"a": 1}), (PIXELS[0], {"b": 1})]),
            "item 1 of the dataset has the labels b, and item 0",
        ),
        (lambda: Set([(PIXELS[0], 5)], classes=["a", "b"]), "label 'label' of item 0 is 5, and the dataset names 2"),
        (lambda: Set([(PIXELS[0], "Cat"), (PIXELS[0], "cat")]), "one class in two spellings"),
        (lambda: iter([(PIXELS[0], 0)]), "has no length"),
    ],
)
def test_a_dataset_that_lies_is_refused_by_its_item(made: Callable[[], Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        from_dataset(made())


def test_a_given_division_is_kept(tmp_path: Path) -> None:
    items = [(PIXELS[index], index % 2 == 0) for index in range(60)]
    split = ["train"] * 40 + ["Val"] * 8 + ["test"] * 12
    pack = oneway.prepare(Set(items), tmp_path / "pack", size=16, split=split, progress=False)
    assert sorted(pack.test.names) == [str(index) for index in range(48, 60)]
    assert sorted(pack.validation.names) == [str(index) for index in range(40, 48)]
    assert len(pack.private) + len(pack.public) == 40


def test_a_division_that_cannot_be_is_refused(tmp_path: Path) -> None:
    data = Set([(PIXELS[index], index % 2 == 0) for index in range(6)])
    with pytest.raises(InputError, match="split is 2, and the dataset has 6 items; give one for each"):
        from_dataset(data, split=["train", "test"])
    with pytest.raises(InputError, match="split of item 1 is 'exam'; it must be one of train, validation"):
        from_dataset(data, split=["train", "exam", *["test"] * 4])
    with pytest.raises(InputError, match="'a'"):  # one group in two parts
        oneway.prepare(data, tmp_path / "p", size=16, groups=list("abcabc"), split=["train"] * 3 + ["test"] * 3)
    with pytest.raises(InputError, match="split: is of a Dataset"):
        oneway.prepare(from_dataset(data), tmp_path / "p", size=16, split=["train"] * 6)


def test_groups_must_be_one_for_each_item(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="groups are 2, and the dataset has 1 items"):
        from_dataset(Set([(PIXELS[0], 0)]), ["a", "b"])
    with pytest.raises(InputError, match="groups: are of a Dataset"):
        oneway.prepare(from_dataset(Set([(PIXELS[0], 0)])), tmp_path / "p", size=16, groups=["a"])
