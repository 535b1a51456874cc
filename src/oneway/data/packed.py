"""A pack: images of one size in one memory-mapped file, with labels, people and splits beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import ClassVar, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from oneway.data.description import DESCRIPTION, IMAGES, LABELS, REMEDY, read_description
from oneway.data.linked import SPANS, Linked, open_linked
from oneway.data.source import DRAWN, LANDMARKS, NAMING, Landmarks
from oneway.data.splits import SPLITS, people
from oneway.errors import InputError, unknown


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One split of a pack; each is a type of its own, so that a function says whose images it takes."""

    split: ClassVar[str]
    pack: Pack
    rows: slice

    def __len__(self) -> int:
        return int(self.rows.stop - self.rows.start)

    @cached_property
    def names(self) -> list[str]:
        """The name of every image, unique over the pack."""
        names: list[str] = self.pack.table.column("name").slice(self.rows.start, len(self)).to_pylist()
        return names

    @property
    def identities(self) -> NDArray[np.int64]:
        """The person in every image, (len,), codes from 0 that mean the same person all over the pack.

        An image of an unknown person has a code of its own.
        """
        return self.pack.people[self.rows]

    @property
    def num_people(self) -> int:
        """How many people the split holds; an image of an unknown person counts as one."""
        return len(np.unique(self.identities))

    @property
    def num_unknown(self) -> int:
        """How many images of the split do not say whom they show."""
        return self.pack.num_unknown(self.rows)

    def images(self, index: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        """Copy the images at `index` out of the memory map, or decode them: (k, size, size, 3), RGB in 0..255.

        `index` counts from 0 within this split. Raise `IndexError` for a place outside it.
        """
        if isinstance(index, slice):
            chosen = range(len(self))[index]
            if chosen.step == 1:
                return self.pack.read(slice(self.rows.start + chosen.start, self.rows.start + chosen.stop))
            index = np.array(chosen, dtype=np.int64)
        if len(index) and not (index.min() >= 0 and index.max() < len(self)):
            raise IndexError(f"index must lie in 0..{len(self) - 1}, got {index.min()}..{index.max()}")
        return self.pack.read(self.rows.start + index)

    def landmarks(self, index: NDArray[np.int64] | slice) -> NDArray[np.float64] | None:
        """Give the five points of the pictures at `index`: (k, 5, 2), fractions (x, y) of the side; none if unknown."""
        points = self.pack.points
        return None if points is None else points[self.rows][index]

    def labels(self, attributes: Sequence[str] | None = None) -> NDArray[np.bool_]:
        """Return the labels of `attributes` in that order (default: all), (len, attributes).

        Raise `InputError` for an attribute that the pack lacks, or that some of these images have no label of.
        """
        chosen = self.pack.attributes if attributes is None else tuple(attributes)
        labels = np.empty((len(self), len(chosen)), dtype=np.bool_)
        for place, attribute in enumerate(chosen):
            if attribute not in self.pack.attributes:
                raise unknown("attribute", attribute, self.pack.attributes)
            column = self.pack.table.column(attribute).slice(self.rows.start, len(self))
            if column.null_count:
                raise InputError(
                    f"{self.pack.path}: {column.null_count} {self.split} images have no label of {attribute}, since "
                    "they were joined from a pack without it"
                )
            labels[:, place] = column.to_numpy()
        return labels


@final
class Private(Part):
    """The people whose images must stay secret: the encoder trains on them, an attacker never sees them."""

    split = "private"


@final
class Public(Part):
    """Other people, whose images everyone may have: the attacker's training set."""

    split = "public"


@final
class Validation(Part):
    """Further people, for choosing among checkpoints and settings."""

    split = "validation"


@final
class Test(Part):
    """Further people, touched only to measure."""

    __test__ = False  # or pytest would take the class for a group of tests
    split = "test"


@dataclass(frozen=True, kw_only=True, eq=False)
class Pack:
    """A dataset prepared at one image size, opened from its folder without reading the images.

    `landmarks` are five points as fractions (x, y) of the image, the same in all, or None; `located` says whether
    labels.parquet holds those of each image instead, and `points` gives them in both cases; `hash` is the sha256 over
    images and labels (of a linked pack, over where its images lie and the labels); `counts` the number of images of
    each split; `joined` the hashes of the two packs of which `data.join` made it; `pixels` a map of all images, or
    what decodes them where they lie.
    """

    path: Path
    layout: str
    size: int
    attributes: tuple[str, ...]
    landmarks: Landmarks | None
    hash: str
    counts: dict[str, int]
    joined: tuple[str, ...] = ()
    located: bool = False
    pixels: NDArray[np.uint8] | Linked

    @classmethod
    def open(cls, path: Path | str) -> Pack:
        """Open the pack at `path`; raise `InputError` if it is missing, unfinished, damaged or no pack."""
        path = Path(path)
        said = read_description(path)
        if said.linked is None:
            pixels: NDArray[np.uint8] | Linked = _map(path / IMAGES)
        else:
            pixels = open_linked(path / SPANS, said.size, said.linked)
        pack = cls(
            path=path,
            layout=said.layout,
            size=said.size,
            attributes=said.attributes,
            landmarks=None if said.landmarks == LABELS else said.landmarks,
            located=said.landmarks == LABELS,
            hash=said.hash,
            joined=said.joined or (),
            counts={split: said.splits[split].images for split in SPLITS},
            pixels=pixels,
        )
        pack._check(said.count)
        return pack

    @property
    def about(self) -> dict[str, str]:
        """Say which pack it is to whoever is handed a result: its folder's name and its hash, and not where it lies."""
        return {"name": self.path.absolute().name, "hash": self.hash}

    @property
    def drawn(self) -> bool:
        """Say whether all of its faces are drawn, so that a picture of one shows nobody.

        Only `data.source.synthetic_source` makes such a pack; a joined one may hold others.
        """
        return self.layout == DRAWN and not self.joined

    @cached_property
    def private(self) -> Private:
        """The private split."""
        return Private(pack=self, rows=self._rows("private"))

    @cached_property
    def public(self) -> Public:
        """The public split."""
        return Public(pack=self, rows=self._rows("public"))

    @cached_property
    def validation(self) -> Validation:
        """The validation split."""
        return Validation(pack=self, rows=self._rows("validation"))

    @cached_property
    def test(self) -> Test:
        """The test split."""
        return Test(pack=self, rows=self._rows("test"))

    @cached_property
    def table(self) -> pa.Table:
        """The whole of labels.parquet: name, identity, split, and a bool column an attribute."""
        try:
            table = parquet.read_table(self.path / LABELS, partitioning=None)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{self.path / LABELS}: cannot be read ({error}); {REMEDY}") from error
        empty = [name for name in NAMING if table.column(name).null_count]
        if empty:
            raise InputError(f"{self.path / LABELS}: column {empty[0]!r} has rows without a value; {REMEDY}")
        if pc.count_distinct(table.column("name")).as_py() < len(table):
            raise InputError(f"{self.path / LABELS}: column 'name' names two images alike; {REMEDY}")
        found = pc.run_end_encode(table.column("split").combine_chunks(), run_end_type=pa.int64())
        ends = accumulate(self.counts[split] for split in SPLITS)
        if [*zip(found.values.to_pylist(), found.run_ends.to_pylist(), strict=True)] != [
            *zip(SPLITS, ends, strict=True)
        ]:
            raise InputError(f"{self.path / LABELS}: the splits differ from {DESCRIPTION}; prepare the pack again")
        return table

    @cached_property
    def people(self) -> NDArray[np.int64]:
        """The person in every image of the pack, (n,), as in `Part.identities`."""
        return people(self.table.column("identity"), len(self.pixels))

    def num_unknown(self, rows: slice = slice(None)) -> int:
        """Count the images that do not say whom they show, in `rows`; where there are any, no part is surely apart."""
        places = range(len(self.pixels))[rows]
        who = self.table.column("identity").slice(places.start, len(places))
        return int(pc.sum(pc.equal(who, "")).as_py() or 0)

    @cached_property
    def points(self) -> NDArray[np.float64] | None:
        """The five points of the face in every image, (n, 5, 2), as fractions (x, y) of its side; none if unknown."""
        if self.located:
            return np.asarray(self.table.column(LANDMARKS).combine_chunks().flatten().to_numpy().reshape(-1, 5, 2))
        if self.landmarks is None:
            return None
        return np.broadcast_to(np.array(self.landmarks, dtype=np.float64), (len(self.pixels), 5, 2))

    def read(self, rows: NDArray[np.int64] | slice) -> NDArray[np.uint8]:
        """Copy images of the whole pack, at places from 0 that are known to be there: (k, size, size, 3) in 0..255."""
        if isinstance(self.pixels, Linked):
            return self.pixels.take(np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows)
        if isinstance(rows, slice):
            return self.pixels[rows].copy()
        out = np.empty((len(rows), *self.pixels.shape[1:]), dtype=np.uint8)
        # The default mode would fill a second buffer first.
        return np.take(self.pixels, rows, axis=0, out=out, mode="clip")

    def _rows(self, split: str) -> slice:
        before = sum(self.counts[earlier] for earlier in SPLITS[: SPLITS.index(split)])
        return slice(before, before + self.counts[split])

    def _check(self, count: int) -> None:
        expected = (count, self.size, self.size, 3)
        if self.pixels.shape != expected or self.pixels.dtype != np.uint8:
            raise InputError(
                f"{self.path / IMAGES}: must be uint8 of shape {expected} as {DESCRIPTION} says, it is "
                f"{self.pixels.dtype} of shape {self.pixels.shape}; prepare the pack again"
            )
        try:
            metadata = parquet.read_metadata(self.path / LABELS)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{self.path / LABELS}: cannot be read ({error}); prepare the pack again") from error
        columns = (*NAMING, *([LANDMARKS] if self.located else []), *self.attributes)
        schema = metadata.schema.to_arrow_schema()
        names = tuple(schema.names)
        if metadata.num_rows != count or names != columns:
            raise InputError(
                f"{self.path / LABELS}: must have {count} rows and {len(columns)} columns as {DESCRIPTION} "
                f"says, it has {metadata.num_rows} and {len(names)}; prepare the pack again"
            )
        for name, kind in zip(schema.names, schema.types, strict=True):
            wanted = _kind(name)
            if kind != wanted:
                raise InputError(f"{self.path / LABELS}: column {name!r} must be {wanted}, it is {kind}; {REMEDY}")


def _kind(column: str) -> pa.DataType:
    """Give the type of a column of labels.parquet."""
    if column in NAMING:
        return pa.string()
    return pa.list_(pa.float64(), 10) if column == LANDMARKS else pa.bool_()


def _map(path: Path) -> NDArray[np.uint8]:
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, OverflowError) as error:
        raise InputError(f"{path}: truncated or not an array ({error}); prepare the pack again") from error
    # A plain array over the same map: slices of np.memmap cost much more to make.
    return np.asarray(mapped)
