"""A pack: images of one size in one memory-mapped file, with labels, people and splits beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import ClassVar, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from oneway.data.columns import Kind, codes
from oneway.data.description import DESCRIPTION, LABELS, REMEDY, read_description
from oneway.data.linked import Linked
from oneway.data.opened import check_columns, open_pixels
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
        """Return the labels of binary `attributes` in that order (default: all of the pack's), (len, attributes).

        Raise `InputError` for an attribute that the pack lacks, that is not binary, or that some images have no label
        of.
        """
        chosen = self.pack.attributes if attributes is None else tuple(attributes)
        labels = np.empty((len(self), len(chosen)), dtype=np.bool_)
        for place, attribute in enumerate(chosen):
            if attribute in self.pack.attributes and self.pack.kind(attribute) != "binary":
                raise InputError(
                    f"{self.pack.path}: {attribute} holds {self.pack.kind(attribute)}, so it is not binary"
                )
            labels[:, place] = self.values(attribute)
        return labels

    def missing(self, attribute: str) -> int:
        """Count the images that have no label of an attribute."""
        return int(self._column(attribute).null_count)

    def values(self, attribute: str) -> NDArray[np.generic]:
        """Return one attribute of every image, (len,): bool, the place of its class among the pack's, or a number.

        Raise `InputError` for an attribute that the pack lacks, or that some images have no label of.
        """
        column = self._column(attribute)
        if column.null_count:
            joined = ", since they were joined from a pack without it" if self.pack.joined else ""
            raise InputError(
                f"{self.pack.path}: {column.null_count} {self.split} images have no label of "
                f"{attribute}{joined}; leave it out of the task, or prepare the pack without these images"
            )
        if attribute not in self.pack.classes:
            return np.asarray(column.to_numpy())
        places = codes(column, self.pack.classes[attribute])
        if (places < 0).any():
            odd = column[int(places.argmin())].as_py()
            raise InputError(f"{self.pack.path / LABELS}: {odd!r} is no class of {attribute}; {REMEDY}")
        return places

    def _column(self, attribute: str) -> pa.ChunkedArray:
        if attribute not in self.pack.attributes:
            raise unknown("attribute", attribute, self.pack.attributes)
        return self.pack.table.column(attribute).slice(self.rows.start, len(self))


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

    `attributes` names its label columns: `classes` has the names of the classes of each that has some, in their order,
    `numbers` are numbers, the others are binary.
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
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: tuple[str, ...] = ()
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
        pixels = open_pixels(path, said)
        check_columns(path, said)
        return cls(
            path=path,
            layout=said.layout,
            size=said.size,
            attributes=said.attributes,
            classes=said.classes,
            numbers=said.numbers,
            landmarks=None if said.landmarks == LABELS else said.landmarks,
            located=said.landmarks == LABELS,
            hash=said.hash,
            joined=said.joined or (),
            counts={split: said.splits[split].images for split in SPLITS},
            pixels=pixels,
        )

    def __reduce__(self) -> tuple[Callable[[Path], Pack], tuple[Path]]:
        """Open the folder again where it is sent to another process."""
        return Pack.open, (self.path.absolute(),)

    def kind(self, attribute: str) -> Kind:
        """Say of which kind an attribute is."""
        return "classes" if attribute in self.classes else "numbers" if attribute in self.numbers else "binary"

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
        """The whole of labels.parquet: name, identity, split, and a column an attribute."""
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
