"""What a dataset gives before it is packed: names, labels, people, and a way to read one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from oneway.data.byterange import ByteRange
from oneway.data.picture import decode
from oneway.errors import InputError

Landmarks = tuple[tuple[float, float], ...]
NAMING, LANDMARKS = ("name", "identity", "split"), "landmarks"
RESERVED = (*NAMING, LANDMARKS)
"""Columns of a pack's table that are no attributes; the last only where each image has landmarks of its own."""
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
        """The square that is cut out, if it is not the largest in the middle."""
        ...


@dataclass(frozen=True, kw_only=True)
class Source:
    """Images and labels as a layout on disk (or a generator) gives them, before they are packed.

    Entry i of every field speaks of the same image. An identity of "" means that the person is unknown;
    `identities` is None when no person is known at all, `partition` is None when the layout has no official
    split. `partition` holds "train", "validation", "test", and also "private", "public" where the user has
    divided the people already. `landmarks` are five points (left-in-image eye, right eye, nose, left and
    right mouth corner) as fractions (x, y) of the square crop, the same in all images, or an array (n, 5, 2) of each.
    """

    layout: str
    names: tuple[str, ...]
    attributes: tuple[str, ...]
    labels: NDArray[np.bool_]
    identities: tuple[str, ...] | None
    partition: tuple[str, ...] | None
    landmarks: Landmarks | NDArray[np.float64] | None
    reader: Reader
    crop: str = "the whole image"

    def __post_init__(self) -> None:
        assert self.labels.dtype == np.bool_
        assert self.labels.shape == (len(self.names), len(self.attributes))
        assert self.identities is None or len(self.identities) == len(self.names)
        assert self.partition is None or len(self.partition) == len(self.names)
        assert len(set(self.names)) == len(self.names)
        assert not isinstance(self.landmarks, np.ndarray) or self.landmarks.shape == (len(self.names), 5, 2)
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


@dataclass(frozen=True)
class Photographs:
    """Reads image files below `root`, cut to a square and scaled with an antialiased triangle filter.

    `frame` is the (width, height) every file must have, or None for any. `box` is the square (left, top,
    right, bottom) in pixels of that frame, or None for the largest square in the middle of each file.
    """

    root: Path
    names: tuple[str, ...]
    frame: tuple[int, int] | None = None
    box: tuple[float, float, float, float] | None = None

    def __call__(self, index: int, size: int) -> NDArray[np.uint8]:
        """Return image `index`, (size, size, 3); raise `CorruptImage`, or `InputError` for another frame."""
        path = self.root / self.names[index]
        return decode(path, str(path), size, self.frame, self.box)

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
