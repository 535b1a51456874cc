"""What a dataset gives before it is packed: names, labels, people, and a way to read one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Protocol, get_args, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from oneway.data.byterange import ByteRange
from oneway.data.columns import Labels, check, kind_of, table_of
from oneway.data.picture import CROPS, Fit, decode
from oneway.errors import InputError
from oneway.plugins import Unfit, blamed

Landmarks = tuple[tuple[float, float], ...]
NAMING, LANDMARKS = ("name", "identity", "split"), "landmarks"
RESERVED = (*NAMING, LANDMARKS)
"""Columns of a pack's table that are no attributes; the last only where each image has landmarks of its own."""
READERS = "oneway.readers"
"""The group of entry points by which other packages add readers."""
DRAWN = "synthetic"
"""The layout of faces of people who do not exist: pictures of them are shown without being asked for."""


class Reader(Protocol):
    """Reads one image of a source; must be picklable, since other processes call it."""

    def __call__(self, index: int, size: int) -> NDArray[np.uint8]:
        """Return image `index`, (size, size, 3), RGB in 0..255; raise `CorruptImage` if it cannot be read."""
        ...


@runtime_checkable
class Files(Reader, Protocol):
    """A reader of files or of pieces of files, as `Photographs` is."""

    @property
    def spans(self) -> Sequence[ByteRange]:
        """Where each image lies."""
        ...

    @property
    def frame(self) -> tuple[int, int] | None:
        """The size that each must have, if any."""
        ...

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """The square that is cut out, if each is cut alike."""
        ...


@runtime_checkable
class Fitting(Reader, Protocol):
    """A reader, and a dataclass, of pictures of any shape."""

    @property
    def fit(self) -> Fit:
        """How those that are not square become so."""
        ...


@dataclass(frozen=True, kw_only=True)
class Source:
    """Images and labels as a layout on disk (or a generator) gives them, before they are packed.

    Entry i of every field speaks of the same image. An identity of "" means that the person is unknown;
    `identities` is None when no person is known at all, `partition` is None when the layout has no official
    split. `partition` holds "train", "validation", "test", and also "private", "public" where the user has
    divided the people already. `landmarks` are five points (left-in-image eye, right eye, nose, left and
    right mouth corner) as fractions (x, y) of the square crop, the same in all images, or an array (n, 5, 2) of each.

    `attributes` names the columns of `labels`. Where all are binary and none is missing, `labels` are bool
    (n, attributes); else a `pyarrow.Table` of such columns, each `bool`, a dictionary of strings (classes, in the order
    of the dictionary) or `float64` (numbers), null where a value is missing (see `data.columns`).

    `skipped` are the names of images that were left out already, each with the reason.
    """

    layout: str
    names: tuple[str, ...]
    attributes: tuple[str, ...]
    labels: Labels
    identities: tuple[str, ...] | None
    partition: tuple[str, ...] | None
    landmarks: Landmarks | NDArray[np.float64] | None
    reader: Reader
    crop: str = "the whole image"
    skipped: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        with blamed(READERS, self.layout):
            self._check_shapes()
        for text in (*self.names, *(self.identities or ())):
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise InputError(
                    f"{text.encode('utf-8', 'backslashreplace').decode()!r}: is no UTF-8, as the names of pictures and "
                    "people must be; rename it (convmv does so for whole folders)"
                ) from error
        if self.layout == DRAWN and not isinstance(self.reader, Drawings):
            raise InputError(f"layout {DRAWN!r} is of faces that oneway draws itself; give this source another name")
        for attribute in self.attributes:
            if not attribute.strip():
                raise InputError(f"attribute {attribute!r} has no name; name its column, or drop it")
            if attribute in RESERVED or self.attributes.count(attribute) > 1:
                raise InputError(
                    f"attribute {attribute!r}: attribute names must be unique and none of "
                    f"{', '.join(RESERVED)}, which the pack uses itself; rename that column"
                )
        for attribute, column in zip(self.attributes, self.columns.columns, strict=True):
            check(column, f"attribute {attribute!r}")

    @property
    def columns(self) -> pa.Table:
        """The labels as a table, a column for each attribute."""
        return table_of(self.labels, self.attributes)

    def _check_shapes(self) -> None:
        """Hold what a reader gives to speaking of the same images."""
        count = len(self.names)
        if isinstance(self.labels, pa.Table):
            self._check_columns(self.labels, count)
            labels = np.zeros((count, len(self.attributes)), dtype=np.bool_)
        else:
            labels = np.asarray(self.labels)
        if labels.dtype != np.bool_ or labels.shape != (count, len(self.attributes)):
            raise Unfit(
                f"gives labels of {labels.dtype} {labels.shape}, which must be bool ({count}, {len(self.attributes)}), "
                "one for each name and attribute"
            )
        for field in ("identities", "partition"):
            given = getattr(self, field)
            if given is not None and len(given) != count:
                raise Unfit(f"gives {len(given)} {field}, which must be {count}, one for each name, or None")
        if isinstance(self.landmarks, np.ndarray) and self.landmarks.shape != (count, 5, 2):
            raise Unfit(f"gives landmarks {self.landmarks.shape}, which must be ({count}, 5, 2), or the same for all")
        if len(set(self.names)) != count:
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise Unfit(f"gives the name {twice!r} to several images; each must have a name of its own")

    def _check_columns(self, labels: pa.Table, count: int) -> None:
        """Hold labels that are a table to its attributes, its images and the three kinds of columns."""
        if tuple(labels.column_names) != self.attributes or labels.num_rows != count:
            raise Unfit(
                f"gives a table of labels of {labels.num_rows} rows and the columns {', '.join(labels.column_names)}, "
                f"which must be {count} rows and its attributes, {', '.join(self.attributes)}"
            )
        for name, column in zip(labels.column_names, labels.columns, strict=True):
            if kind_of(column.type) is None:
                raise Unfit(
                    f"gives labels of type {column.type} in the column {name!r}, which must be bool, a dictionary of "
                    "strings (classes) or float64 (numbers)"
                )


def fitted(source: Source, fit: Fit) -> Source:
    """Let the pictures of a source become squares by `fit`.

    Raises:
        InputError: if `fit` is none of those, or anything but "crop" for a source that cuts its pictures in a way
            of its own, or whose landmarks lie in the square that is cut out.

    """
    ways = get_args(Fit)
    if fit not in ways:
        raise InputError(f"fit: must be {', '.join(ways[:-1])} or {ways[-1]}, not {fit!r}")
    if fit == "crop":
        return source
    reader = source.reader
    if source.crop != CROPS["crop"] or not isinstance(reader, Fitting) or not is_dataclass(reader):
        raise InputError(
            f"fit: {fit} is for pictures of any shape, and the {source.layout} layout gives squares of its own "
            f"({source.crop}); leave it out"
        )
    if source.landmarks is not None:
        raise InputError(
            f"fit: {fit} would move the landmarks, which are known of the square in the middle; leave out either, or "
            "cut the faces out by a detector"
        )
    return replace(source, reader=replace(reader, fit=fit), crop=CROPS[fit])


def read_picture(layout: str, reader: Reader, index: int, size: int) -> NDArray[np.uint8]:
    """Read image `index` of a layout, (size, size, 3), RGB in 0..255.

    Raises:
        CorruptImage: if it cannot be read.
        InputError: if the reader is another package's, and fails otherwise or gives no such picture.

    """
    with blamed(READERS, layout):
        given: object = reader(index, size)
        if not isinstance(given, np.ndarray) or given.dtype != np.uint8 or given.shape != (size, size, 3):
            found = f"{given.dtype} {given.shape}" if isinstance(given, np.ndarray) else type(given).__name__
            raise Unfit(f"reads image {index} as {found}, which must be uint8 {size, size, 3}, RGB in 0..255")
    return given


@dataclass(frozen=True)
class Photographs:
    """Reads image files below `root`, made square and scaled with an antialiased triangle filter.

    `frame` is the (width, height) every file must have, or None for any. `box` is the square (left, top,
    right, bottom) in pixels of that frame, or None for what `fit` makes of each file.
    """

    root: Path
    names: tuple[str, ...]
    frame: tuple[int, int] | None = None
    box: tuple[float, float, float, float] | None = None
    fit: Fit = "crop"

    def __call__(self, index: int, size: int) -> NDArray[np.uint8]:
        """Return image `index`, (size, size, 3); raise `CorruptImage`, or `InputError` for another frame."""
        path = self.root / self.names[index]
        return decode(path, str(path), size, self.frame, self.box, self.fit)

    @property
    def spans(self) -> list[ByteRange]:
        """Where the images lie: each is a whole file."""
        root = self.root.absolute()
        return [ByteRange(str(root / name)) for name in self.names]


@dataclass(frozen=True)
class Drawings:
    """Draws the faces of the world `seed`, `shots` of each person one after another."""

    seed: int
    shots: int

    def __call__(self, index: int, size: int) -> NDArray[np.uint8]:
        """Return drawing `index` as (size, size, 3) uint8."""
        from oneway.synthetic import faces  # only who draws needs aggdraw

        return faces.draw(faces.sample(self.seed, *divmod(index, self.shots)), size)


def synthetic_source(identities: int, shots: int, seed: int) -> Source:
    """Return the drawn faces of `identities` people, `shots` of each, of the world `seed`; no photographs."""
    from oneway.synthetic import faces

    for name, value in (("identities", identities), ("shots", shots)):
        if value < 1:
            raise InputError(f"{name}: must be at least 1, got {value}")
    drawn = [(identity, shot) for identity in range(identities) for shot in range(shots)]
    return Source(
        layout=DRAWN,
        names=tuple(f"person{identity:05d}/shot{shot:02d}" for identity, shot in drawn),
        attributes=faces.ATTRIBUTES,
        labels=np.stack([faces.sample(seed, identity, shot).labels() for identity, shot in drawn]),
        identities=tuple(f"person{identity:05d}" for identity, _ in drawn),
        partition=None,
        landmarks=faces.LANDMARKS,
        reader=Drawings(seed, shots),
        crop=f"drawn, seed {seed}",
    )
