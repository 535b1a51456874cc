"""Any Dataset of torch's kind, of pictures and their labels, from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from oneway.data.columns import classes, simplest
from oneway.data.picture import CROPS, Fit, decoded
from oneway.data.readers.labels import PARTITIONS, SPLIT_NAMES
from oneway.data.source import Source
from oneway.errors import InputError

LABEL = "label"
"""The attribute of a Dataset whose label is one value."""
Label = bool | int | float | str | None


class Dataset(Protocol):
    """What `torch.utils.data.Dataset` promises: so many items, each asked for by its place."""

    def __len__(self) -> int:
        """Give the number of items."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """Give an item: a picture and its label."""
        ...


@dataclass(frozen=True)
class Items:
    """Reads the pictures of a Dataset."""

    dataset: Dataset
    fit: Fit = "crop"

    def __call__(self, index: int, size: int) -> NDArray[np.uint8]:
        """Return image `index`, (size, size, 3); raise `CorruptImage`."""
        picture, _ = _item(self.dataset, index)
        return decoded(_picture(picture, index), f"item {index}", size, self.fit)


def from_dataset(
    dataset: Dataset, groups: Sequence[object] | None = None, split: Sequence[str] | None = None
) -> Source:
    """Describe a Dataset; every item is asked for once now, for its label, and again for its picture.

    Args:
        dataset: each item is (picture, label). A picture is one of PIL, or an array or tensor: bytes (h, w), (h, w, 3)
            or (3, h, w), or uint16 (its upper 8 bits count) or floats in 0..1 of these shapes. A label is a bool, an
            int (of a class, by the Dataset's `classes` where it has them), a float (a number), a word (of a class),
            None where it is missing, or a dict of these by the name of the attribute.
        groups: for each item whom, or what, it is of (a person, patient, device, ...): no group is in two parts. None
            or an empty text where that is not known.
        split: for each item the part that it is in, if that is given: train, validation, test, or private and public
            instead of train, as folders and tables have it.

    Raises:
        InputError: for anything else, naming the item.

    """
    try:
        count = len(dataset)
    except TypeError as error:
        raise InputError(
            f"the dataset {type(dataset).__name__} has no length, as a stream has none; give one that has"
        ) from error
    if groups is not None and len(groups) != count:
        raise InputError(f"groups are {len(groups)}, and the dataset has {count} items; give one for each")
    if split is not None and len(split) != count:
        raise InputError(f"split is {len(split)}, and the dataset has {count} items; give one for each")
    told: list[Mapping[str, Label]] = []
    for index in range(count):
        picture, label = _item(dataset, index)
        _picture(picture, index)
        told.append(_named(label, index))
        if told[index].keys() != told[0].keys():
            raise InputError(
                f"item {index} of the dataset has the labels {', '.join(told[index]) or 'none'}, and item 0 has "
                f"{', '.join(told[0]) or 'none'}; give every item the same ones, None where one is not known"
            )
    names = getattr(dataset, "classes", None)
    columns = {
        name: _column(name, [labels[name] for labels in told], names if name == LABEL else None)
        for name in (told[0] if told else ())
    }
    table = pa.table(columns) if columns else None
    width = len(str(max(0, count - 1)))
    return Source(
        layout="dataset",
        names=tuple(f"{index:0{width}}" for index in range(count)),
        attributes=tuple(columns),
        labels=np.zeros((count, 0), dtype=np.bool_) if table is None else simplest(table),
        identities=None if groups is None else tuple("" if group is None else str(_plain(group)) for group in groups),
        partition=None if split is None else tuple(_part(part, index) for index, part in enumerate(split)),
        landmarks=None,
        reader=Items(dataset),
        crop=CROPS["crop"],
    )


def _part(given: object, index: int) -> str:
    part = SPLIT_NAMES.get(str(given).lower())
    if part is None:
        raise InputError(f"split of item {index} is {given!r}; it must be one of {', '.join(PARTITIONS)}")
    return part


def _item(dataset: Dataset, index: int) -> tuple[Any, Any]:
    try:
        item = dataset[index]
    except Exception as error:  # the user's own code may raise anything
        raise InputError(
            f"item {index} of the dataset, which says that it has {len(dataset)}, cannot be had "
            f"({type(error).__name__}: {error}); let its length and its items agree"
        ) from error
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise InputError(f"item {index} of the dataset is {_said(item)}, which must be a tuple (picture, label)")
    return item[0], item[1]


def _picture(given: Any, index: int) -> Image.Image:
    """Give a picture as PIL's."""
    if isinstance(given, Image.Image):
        return given
    pixels = np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3) and pixels.shape[2] not in (1, 3):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
    if not fits or not pixels.size or (pixels.dtype not in (np.uint8, np.uint16) and pixels.dtype.kind != "f"):
        raise InputError(
            f"the picture of item {index} is {_said(given)}; it must be one of PIL, or bytes, uint16 or floats in "
            "0..1, of shape (h, w), (h, w, 3) or (3, h, w)"
        )
    if pixels.dtype.kind == "f":
        if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
            raise InputError(
                f"the picture of item {index} lies in {pixels.min():g}..{pixels.max():g}; floats must be in 0..1: "
                "leave out the normalisation, which belongs to the network"
            )
        pixels = np.rint(255 * pixels.astype(np.float64)).astype(np.uint8)
    elif pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels))


def _named(label: Any, index: int) -> dict[str, Label]:
    """Give the labels of an item by name."""
    given = label if isinstance(label, Mapping) else {LABEL: label}
    named = {str(name): _plain(value) for name, value in given.items()}
    for name, value in named.items():
        if value is not None and not isinstance(value, bool | int | float | str):
            raise InputError(
                f"the label {name!r} of item {index} is {_said(value)}; it must be a bool, an int, a float, a word or "
                "None, or a dict of these by name"
            )
    return named


def _plain(value: Any) -> Any:
    """Give a number of NumPy's or torch's as Python's."""
    if getattr(value, "shape", None) == ():
        value = value.item()
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value


def _column(name: str, values: Sequence[Label], names: Sequence[str] | None) -> pa.Array:
    """Make a column of labels, (n,), which must all be of one kind."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        raise InputError(f"the label {name!r} is missing in every item; leave it out")
    if len(kinds) > 1:
        first = {kind.__name__: [type(value) for value in values].index(kind) for kind in kinds}
        seen = ", ".join(f"{kind} (item {index})" for kind, index in sorted(first.items(), key=lambda each: each[1]))
        raise InputError(f"the label {name!r} is of several kinds: {seen}; let it be of one kind all through")
    (kind,) = kinds
    if kind is bool:
        return pa.array(values, pa.bool_())
    if kind is float:
        return pa.array(values, pa.float64())
    if kind is str:
        return classes([None if value is None else str(value) for value in values])
    return _of_classes(name, [None if value is None else int(value) for value in values], names)


def _of_classes(name: str, values: Sequence[int | None], names: Sequence[str] | None) -> pa.Array:
    """Make a column of classes that are counted; of 0 and 1 alone without names, a binary one."""
    if names is None and {value for value in values if value is not None} <= {0, 1}:
        return pa.array([None if value is None else bool(value) for value in values], pa.bool_())
    if names is None:
        return classes([None if value is None else str(value) for value in values])
    there = range(len(names))
    beyond = next((place for place, value in enumerate(values) if value is not None and value not in there), None)
    if beyond is not None:
        raise InputError(
            f"the label {name!r} of item {beyond} is {values[beyond]}, and the dataset names {len(names)} classes; "
            f"labels must be 0 to {len(names) - 1}"
        )
    return classes([None if value is None else str(names[value]) for value in values], [str(each) for each in names])


def _said(given: Any) -> str:
    shape = getattr(given, "shape", None)
    return f"{type(given).__name__}" + (f" of {given.dtype} and shape {tuple(shape)}" if shape is not None else "")
