"""CelebA in the layout of its official release."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oneway.data.source import Landmarks, Photographs, Source
from oneway.errors import InputError
from oneway.storage.inputs import regular

FRAME = (178, 218)
BOX = (15.0, 40.0, 163.0, 188.0)
POINTS = ((69.6, 111.2), (107.9, 111.2), (88.1, 136.0), (71.8, 152.3), (105.4, 152.2))
LANDMARKS: Landmarks = tuple(((x - BOX[0]) / (BOX[2] - BOX[0]), (y - BOX[1]) / (BOX[3] - BOX[1])) for x, y in POINTS)
PARTITIONS = ("train", "validation", "test")
FOLDERS = (".", "Anno", "Eval", "Img")


def read(root: Path) -> Source:
    """Read CelebA's lists: the 40 attributes, the people, the official split.

    `root` holds `img_align_celeba/`, `list_attr_celeba.txt`, `identity_CelebA.txt` and
    `list_eval_partition.txt`, or has them in the `Anno`, `Eval` and `Img` folders of the download. The lists
    are matched by image name. The crop is the square of columns 15..163, rows 40..188 of the 178x218 frame.
    Raise `InputError` for a missing file or a list that cannot be read, naming it and the line.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the folder that holds CelebA's img_align_celeba")
    images = _find(root, "img_align_celeba", "the aligned and cropped images, unpacked from img_align_celeba.zip")
    attribute_list = _find(root, "list_attr_celeba.txt", "the 40 attributes of every image")
    identity_list = _find(
        root,
        "identity_CelebA.txt",
        "the person in every image, needed to keep people apart between the splits; it comes separately with "
        "the official release, in Anno/",
    )
    partition_list = _find(root, "list_eval_partition.txt", "the official split, in Eval/")

    attributes, names, cells = _attributes(attribute_list)
    identities = _column(identity_list, names)
    partition_codes = _column(partition_list, names)
    odd = np.flatnonzero(~np.isin(partition_codes, [b"0", b"1", b"2"]))
    if len(odd):
        raise InputError(
            f"{partition_list}: the split must be 0, 1 or 2, {names[odd[0]].decode()} has "
            f"{partition_codes[odd[0]].decode()!r}; use the file of the official release"
        )
    listed = tuple(names.astype(np.str_).tolist())
    _check_present(images, listed)
    return Source(
        layout="celeba",
        names=listed,
        attributes=attributes,
        labels=cells,
        identities=tuple(identities.astype(np.str_).tolist()),
        partition=tuple(np.asarray(PARTITIONS)[partition_codes.astype(np.int64)].tolist()),
        landmarks=LANDMARKS,
        reader=Photographs(images, listed, FRAME, BOX),
        crop="columns 15..163, rows 40..188 of the 178x218 frame",
    )


def _find(root: Path, name: str, what: str) -> Path:
    for folder in FOLDERS:
        if (root / folder / name).exists():
            return root / folder / name
    raise InputError(f"{root / name}: not found (nor in Anno/, Eval/, Img/); the celeba layout needs {name}, {what}")


def _content(path: Path) -> bytes:
    try:
        return regular(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error


def _attributes(path: Path) -> tuple[tuple[str, ...], NDArray[np.bytes_], NDArray[np.bool_]]:
    content = _content(path)
    head = content.split(b"\n", 2)
    if len(head) < 3 or not head[0].strip().isdigit():
        raise InputError(
            f"{path}: line 1 must be the number of images and line 2 the attribute names, line 1 is "
            f"{head[0][:40].decode(errors='replace')!r}; use the file of the official release"
        )
    attributes = tuple(head[1].decode(errors="replace").split())
    text, starts, ends = _cells(path, head[2], columns=1 + len(attributes), first_line=3)
    if len(starts) != int(head[0]):
        raise InputError(
            f"{path}: line 1 announces {int(head[0])} images, {len(starts)} lines follow; "
            f"the file is truncated, or line 1 must be corrected"
        )
    begin, end = starts[:, 1:], ends[:, 1:]
    positive = (end - begin == 1) & (text[begin] == ord("1"))
    negative = (end - begin == 2) & (text[begin] == ord("-")) & (text[end - 1] == ord("1"))
    odd = np.argwhere(~(positive | negative))
    if len(odd):
        row, column = odd[0]
        value = text[begin[row, column] : end[row, column]].tobytes().decode(errors="replace")
        raise InputError(
            f"{path}: the label of {attributes[column]} in line {row + 3} must be -1 or 1, it is {value!r}; "
            f"use the file of the official release"
        )
    return attributes, _texts(text, starts[:, 0], ends[:, 0]), positive


def _column(path: Path, names: NDArray[np.bytes_]) -> NDArray[np.bytes_]:
    """Return the second column of a two-column list, (n,), in the order of `names`."""
    text, starts, ends = _cells(path, _content(path), columns=2, first_line=1)
    listed, values = _texts(text, starts[:, 0], ends[:, 0]), _texts(text, starts[:, 1], ends[:, 1])
    order = np.argsort(listed, kind="stable")
    place = order[np.minimum(np.searchsorted(listed[order], names), len(listed) - 1)]
    missing = names[listed[place] != names]
    if len(missing):
        raise InputError(
            f"{path}: has no line for {len(missing)} images of list_attr_celeba.txt, the first: "
            f"{_some(missing.astype(np.str_).tolist())}; use the files of one release"
        )
    ordered = listed[order]
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        raise InputError(
            f"{path}: has more than one line for {len(twice)} images, the first: "
            f"{_some(twice.astype(np.str_).tolist())}; keep one of each"
        )
    return values[place]


def _cells(
    path: Path, body: bytes, *, columns: int, first_line: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Find where each blank-separated cell starts and ends: the bytes, and two (lines, columns) arrays."""
    text = np.frombuffer(body, dtype=np.uint8)
    solid = np.zeros(len(text) + 2, dtype=np.int8)
    solid[1:-1] = text > ord(" ")
    edges = np.diff(solid)
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    line_of_cell = np.cumsum(text == ord("\n"), dtype=np.int32)[starts]
    cells_in_line = np.bincount(line_of_cell)
    odd = np.flatnonzero((cells_in_line != columns) & (cells_in_line != 0))
    if len(odd) or not len(starts):
        line, found = (int(odd[0]), int(cells_in_line[odd[0]])) if len(odd) else (0, 0)
        raise InputError(
            f"{path}: line {line + first_line} must have {columns} columns, it has {found}; "
            f"use the file of the official release"
        )
    return text, starts.reshape(-1, columns), ends.reshape(-1, columns)


def _texts(text: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bytes_]:
    width = int((ends - starts).max())
    places = starts[:, None] + np.arange(width)
    letters = np.where(places < ends[:, None], text[np.minimum(places, len(text) - 1)], 0).astype(np.uint8)
    return letters.view(f"S{width}")[:, 0]


def _check_present(images: Path, names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        raise InputError("list_attr_celeba.txt: lists an image twice; use the file of the official release")
    try:
        present = set(os.listdir(images))
    except OSError as error:
        raise InputError(f"{images}: cannot be listed ({error.strerror})") from error
    missing = [name for name in names if name not in present]
    if missing:
        raise InputError(
            f"{images}: {len(missing)} of {len(names)} listed images are missing: {_some(missing)}; "
            f"unpack img_align_celeba.zip in full, or shorten the lists to the images you have"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
