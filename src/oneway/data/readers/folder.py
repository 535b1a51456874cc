"""Any tree of images, with a CSV or Parquet file of labels beside it."""

from __future__ import annotations

import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from oneway.data.columns import simplest
from oneway.data.picture import CROPS, SUFFIXES
from oneway.data.readers.labels import (
    IDENTITY_COLUMNS,
    TABLES,
    attributes,
    chosen,
    partition_of,
    passed_over,
    read_table,
    some,
    texts,
)
from oneway.data.readers.landmarks import COLUMNS, read_landmarks
from oneway.data.readers.trees import classes_in, split_of
from oneway.data.source import Photographs, Source
from oneway.errors import InputError

log = logging.getLogger("oneway.data")
NAME_COLUMNS = ("image", "file", "filename", "name", "path", "image_id")


def read(
    root: Path,
    labels: Path | None = None,
    identity: str | None = None,
    name: str | None = None,
    align: Path | None = None,
) -> Source:
    """Read a tree of images below `root`, and what the table `labels` (.csv, .parquet) says of them.

    The column `name` holds each image's path relative to `root` (default: the first column called image,
    file, filename, name, path or image_id, or else the first that holds paths of images), the column `identity` the
    person (default: identity or person, if there is one; empty for unknown). A column `split` of train, validation,
    test, private, public is the official split; the ten columns lefteye_x to rightmouth_y (see `landmarks`) say where
    the face is, for verifiers that need it; every other column is an attribute: binary, classes or numbers (see
    `labels.attribute`). Rows and images are matched by name. Without `labels` nobody is known;
    folders train, test and the like are the split, and folders below them, or alone, classes (see `trees`).
    The crop is the largest square in the middle, or with the face detector `align` (an ONNX file of YuNet) the face
    (see `readers.faces`). Linked folders are followed, each folder once; files that are no images are counted in a
    warning.
    Raise `InputError` for anything that does not fit, naming the column, the row or the images.
    """
    root = Path(root)
    source = _read(root, labels, identity, name)
    if align is None:
        return source
    from oneway.data.readers.faces import with_faces

    return with_faces(source, root, Path(align))


def _read(root: Path, labels: Path | None, identity: str | None, name: str | None) -> Source:
    images = _images(root, None if labels is None else Path(labels))
    if labels is None:
        if identity is not None or name is not None:
            raise InputError("identity, name: are columns of a table of labels, and none is given; give --labels")
        divided = split_of(images)
        return _source(root, images, classes_in(images, divided=divided is not None), None, divided)
    table = read_table(Path(labels))
    there = set(images)
    name = chosen(table.column_names, "name", name, NAME_COLUMNS, labels)
    if name is None:
        known = there | _alone(images).keys()
        name = next((column for column in table.column_names if _holds_paths(table, column, known)), None)
    if name is None:
        raise InputError(
            f"{labels}: no column is called {', '.join(NAME_COLUMNS)}, and none holds paths of images in {root}; "
            f"rename the one that does, its columns are: {', '.join(table.column_names)}"
        )
    if identity == name:
        raise InputError(f"{labels}: column {name!r} cannot be both the name and the identity; name another")
    others = [column for column in table.column_names if column != name]
    identity = chosen(others, "identity", identity, IDENTITY_COLUMNS, labels)
    alone = _alone(images)
    rows = [_spelled(row, there) for row in texts(table, name, labels)]
    order = _matched(labels, [row if row in there else alone.get(row, row) for row in rows], images)
    people = texts(table, identity, labels) if identity is not None else None
    partition = partition_of(texts(table, "split", labels), labels) if "split" in table.column_names else None
    landmarks = read_landmarks(table, order, root, images, labels)
    told = [column for column in table.column_names if column not in (name, identity, "split", *COLUMNS)]
    return _source(
        root,
        images,
        attributes(table, told, labels).take(pa.array(order)) if told else None,
        tuple(people[row] for row in order) if people else None,
        tuple(partition[row] for row in order) if partition else None,
        landmarks,
    )


def _source(
    root: Path,
    images: tuple[str, ...],
    labels: pa.Table | None,
    identities: tuple[str, ...] | None,
    partition: tuple[str, ...] | None,
    landmarks: NDArray[np.float64] | None = None,
) -> Source:
    return Source(
        layout="folder",
        names=images,
        attributes=() if labels is None else tuple(labels.column_names),
        labels=np.zeros((len(images), 0), dtype=np.bool_) if labels is None else simplest(labels),
        identities=identities,
        partition=partition,
        landmarks=landmarks,
        reader=Photographs(root, images),
        crop=CROPS["crop"],
    )


def _images(root: Path, labels: Path | None) -> tuple[str, ...]:
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the folder that holds the images")
    found: list[str] = []
    others: list[str] = []
    for file in _files(root):
        # Hidden files are thumbnails and resource forks, not the user's images.
        if not file.name.startswith(".") and (labels is None or file != labels):
            (found if file.suffix.lower() in SUFFIXES else others).append(file.relative_to(root).as_posix())
    if not found:
        beside = f", beside {passed_over(others)}" if others else ""
        raise InputError(
            f"{root}: holds no image ({', '.join(SUFFIXES)}){beside}; give the folder that holds the images"
        )
    if others:
        tables = [name for name in others if Path(name).suffix.lower() in TABLES] if labels is None else []
        hint = f"; if {root / tables[0]} holds labels, give it with --labels" if tables else ""
        log.warning(
            "%s: files that are no images, %d, are passed over: %s%s", root, len(others), passed_over(others), hint
        )
    return tuple(sorted(found))


def _files(root: Path) -> Iterator[Path]:
    """List the files below a folder, those of linked folders too, and each folder once, however many lead to it."""
    waiting, linked = [root], list[Path]()
    seen: set[tuple[int, int]] = set()
    while waiting or linked:
        folder = waiting.pop() if waiting else linked.pop(0)  # first what really lies here
        try:
            about = folder.stat()
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            raise InputError(f"{folder}: cannot be listed ({error.strerror})") from error
        if (about.st_dev, about.st_ino) in seen:
            log.warning("%s: leads to a folder that was read already, and is passed over", folder)
            continue
        seen.add((about.st_dev, about.st_ino))
        for entry in entries:
            if not entry.is_dir():
                yield Path(entry.path)
            elif not entry.name.startswith("."):
                (linked if entry.is_symlink() else waiting).append(Path(entry.path))


def _holds_paths(table: pa.Table, column: str, images: set[str]) -> bool:
    """Say whether most of what a column holds are paths of images."""
    try:
        told = table.column(column).cast(pa.string()).drop_null().to_pylist()
    except pa.ArrowException:  # no text, so no path
        return False
    return 2 * sum(_spelled(row, images) in images for row in told) > len(told)


def _alone(images: tuple[str, ...]) -> dict[str, str]:
    """Give the path of every image whose file's name no other has, by that name: tables often leave folders out."""
    counts = Counter(image.rpartition("/")[2] for image in images)
    return {name: image for image in images if counts[name := image.rpartition("/")[2]] == 1}


def _spelled(row: str, images: set[str]) -> str:
    """Write a path of a table as the folder has it, if it is another spelling of one: ./a, a\\b, letters composed."""
    ways = (row, PurePosixPath(row).as_posix(), PurePosixPath(row.replace("\\", "/")).as_posix())
    composed = (unicodedata.normalize(form, way) for form in ("NFC", "NFD") for way in ways[1:])
    return next((way for way in (*ways, *composed) if way in images), row)


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
            raise InputError(f"{path}: {len(names)} {problem}: {some(names)}; {way} (matched by relative path)")
    return np.array([places[image] for image in images], dtype=np.int64)
