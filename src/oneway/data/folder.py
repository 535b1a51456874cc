"""Any tree of images, with a CSV or Parquet file of labels beside it."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.csv
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from oneway.data.source import Photographs, Source
from oneway.errors import InputError, unknown

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
NAME_COLUMNS = ("image", "file", "filename", "name", "path", "image_id")
IDENTITY_COLUMNS = ("identity", "person")
PARTITIONS = ("train", "validation", "test", "private", "public")
# What false and true are called, in the order they are tried.
BINARY = (("0", "1"), ("-1", "1"), ("false", "true"), ("0.0", "1.0"), ("-1.0", "1.0"))


def read(root: Path, labels: Path | None = None, identity: str | None = None, name: str | None = None) -> Source:
    """Read a tree of images below `root`, and what the table `labels` (.csv, .parquet) says of them.

    The column `name` holds each image's path relative to `root` (default: the first column called image,
    file, filename, name, path or image_id), the column `identity` the person (default: identity or person,
    if there is one; empty for unknown). A column `split` of train, validation, test, private, public is the
    official split; every other column is an attribute and must be binary. Rows and images are matched by
    name. Without `labels` there are neither attributes nor people. The crop is the largest square in the
    middle. Raise `InputError` for anything that does not fit, naming the column, the row or the images.
    """
    root = Path(root)
    images = _images(root)
    if labels is None:
        if identity is not None or name is not None:
            raise InputError("identity, name: are columns of a table of labels, and none is given; give --labels")
        return _source(root, images, {}, None, None)
    table = _table(Path(labels))
    name = _chosen(table, "name", name, NAME_COLUMNS, labels)
    if name is None:
        raise InputError(
            f"{labels}: no column is called {', '.join(NAME_COLUMNS)}; name the one that holds the images' "
            f"paths, its columns are: {', '.join(table.column_names)}"
        )
    identity = _chosen(table, "identity", identity, IDENTITY_COLUMNS, labels)
    order = _matched(labels, _texts(table, name, labels), images)
    people = _texts(table, identity, labels) if identity is not None else None
    partition = _partition(_texts(table, "split", labels), labels) if "split" in table.column_names else None
    attributes = {
        column: _binary(table, column, labels)[order]
        for column in table.column_names
        if column not in (name, identity, "split")
    }
    return _source(
        root,
        images,
        attributes,
        tuple(people[row] for row in order) if people else None,
        tuple(partition[row] for row in order) if partition else None,
    )


def _source(
    root: Path,
    images: tuple[str, ...],
    attributes: dict[str, NDArray[np.bool_]],
    identities: tuple[str, ...] | None,
    partition: tuple[str, ...] | None,
) -> Source:
    labels = np.zeros((len(images), len(attributes)), dtype=np.bool_)
    for place, column in enumerate(attributes.values()):
        labels[:, place] = column
    return Source(
        layout="folder",
        names=images,
        attributes=tuple(attributes),
        labels=labels,
        identities=identities,
        partition=partition,
        landmarks=None,
        reader=Photographs(root, images),
        crop="the largest square in the middle",
    )


def _images(root: Path) -> tuple[str, ...]:
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the folder that holds the images")
    found = []
    for folder, folders, files in os.walk(root):
        # Hidden files are thumbnails and resource forks, not the user's images.
        folders[:] = [entry for entry in folders if not entry.startswith(".")]
        found += [
            (Path(folder) / file).relative_to(root).as_posix()
            for file in files
            if file.lower().endswith(SUFFIXES) and not file.startswith(".")
        ]
    if not found:
        raise InputError(f"{root}: holds no image ({', '.join(SUFFIXES)}); give the folder that holds the images")
    return tuple(sorted(found))


def _table(path: Path) -> pa.Table:
    try:
        if path.suffix.lower() == ".parquet":
            table = parquet.read_table(path)
        elif path.suffix.lower() == ".csv":
            with open(path, encoding="utf-8-sig", newline="") as file:
                columns = next(csv.reader(file), [])
            # As text: else a name such as 000001 would be read as a number and lose its zeros.
            texts = pyarrow.csv.ConvertOptions(column_types={column: pa.string() for column in columns})
            table = pyarrow.csv.read_csv(path, convert_options=texts)
        else:
            raise InputError(f"{path}: labels must be a .csv or .parquet file")
    except (OSError, UnicodeDecodeError, pa.ArrowException, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table ({error}); repair the file") from error
    twice = [column for column, times in Counter(table.column_names).items() if times > 1]
    if twice:
        raise InputError(f"{path}: column {twice[0]!r} is there twice; rename one")
    return table


def _chosen(table: pa.Table, role: str, given: str | None, usual: tuple[str, ...], path: Path) -> str | None:
    if given is None:
        return next((column for column in table.column_names if column in usual), None)
    if given not in table.column_names:
        raise unknown(f"{path}: {role} column", given, table.column_names)
    return given


def _texts(table: pa.Table, column: str, path: Path) -> list[str]:
    try:
        texts: list[str | None] = compute.cast(table.column(column), pa.string()).to_pylist()
    except pa.ArrowException as error:
        raise InputError(f"{path}: column {column!r} must hold text or numbers, it cannot be read ({error})") from error
    return ["" if text is None else text for text in texts]


def _matched(path: Path, rows: list[str], images: tuple[str, ...]) -> NDArray[np.int64]:
    """Return for every image the number of its row."""
    places = {row: place for place, row in enumerate(rows)}
    for problem, way, names in (
        (
            "images have more than one row",
            "keep one of each",
            [row for row, times in Counter(rows).items() if times > 1],
        ),
        (
            "images have no row",
            "add rows or move them away",
            [image for image in images if image not in places],
        ),
        ("rows have no image", "delete them or add the images", sorted(places.keys() - set(images))),
    ):
        if names:
            raise InputError(f"{path}: {len(names)} {problem}: {_some(names)}; {way} (matched by relative path)")
    return np.array([places[image] for image in images], dtype=np.int64)


def _partition(texts: list[str], path: Path) -> list[str]:
    for row, text in enumerate(texts, start=1):
        if text not in PARTITIONS:
            raise InputError(
                f"{path}: column 'split', row {row}: must be one of {', '.join(PARTITIONS)}, it is {text!r}; "
                f"correct it, or drop the column to have the split made"
            )
    return texts


def _binary(table: pa.Table, column: str, path: Path) -> NDArray[np.bool_]:
    texts = np.char.lower(np.char.strip(np.array(_texts(table, column, path), dtype=np.str_)))
    fits = [np.isin(texts, pair) for pair in BINARY]
    best = int(np.argmax([np.count_nonzero(fit) for fit in fits]))
    if not fits[best].all():
        row = int(np.flatnonzero(~fits[best])[0])
        raise InputError(
            f"{path}: column {column!r}, row {row + 1}: an attribute must be 0 or 1, -1 or 1, true or false "
            f"all through, it is {texts[row].item()!r}; make it binary, or drop the column"
        )
    return np.asarray(texts == BINARY[best][1])


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:3]) + (", ..." if len(listed) > 3 else "")
