"""WebDataset shards: tar files in which an image and a JSON file of the same key stand side by side."""

from __future__ import annotations

import glob
import json
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from oneway.data.folder import SUFFIXES
from oneway.data.labels import IDENTITY_COLUMNS, binaries, chosen, partition_of, some, texts
from oneway.data.source import Source, decode
from oneway.errors import InputError

LABELS = ".json"


@dataclass(frozen=True)
class Place:
    """Where a file lies in a shard: `size` bytes from `offset` on."""

    shard: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """Read it; an uncompressed tar holds its files as they are."""
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


@dataclass(frozen=True)
class Shards:
    """Reads images out of shards, the largest square in the middle of each."""

    places: tuple[Place, ...]
    names: tuple[str, ...]

    def __call__(self, index: int, size: int) -> NDArray[np.uint8]:
        """Return image `index`, (size, size, 3); raise `CorruptImage`."""
        place = self.places[index]
        return decode(BytesIO(place.read()), f"{place.shard}: {self.names[index]}", size)


def read(pattern: str, identity: str | None = None) -> Source:
    """Read what the shards that `pattern` matches say of their images; the images stay where they are.

    A sample is an image and, if there are labels, `KEY.json` beside it: an object of binary attributes, the person at
    `identity` (default: identity or person, if there is one) and the official split at `split` (train, validation,
    test, private or public), the same fields in every sample. The crop is the largest square in the middle. Raise
    `InputError` for anything that does not fit, naming the shard and the sample.
    """
    shards = [Path(name) for name in sorted(glob.glob(pattern))]
    if not shards:
        raise InputError(f"{pattern}: no such file; give the tar files, for example 'shards/*.tar' in quotes")
    images: dict[str, Place] = {}
    told: dict[str, Place] = {}
    for shard in shards:
        for key, suffix, place in _files(shard):
            found = told if suffix == LABELS else images
            if key in found:
                raise InputError(f"{shard}: the key {key!r} is there twice, also in {found[key].shard}; rename one")
            found[key] = place
    if not images:
        raise InputError(f"{pattern}: {len(shards)} shards hold no image ({', '.join(SUFFIXES)})")
    names = tuple(images)
    table = _table(pattern, names, told)
    identity = chosen(table, "identity", identity, IDENTITY_COLUMNS, pattern)
    attributes = tuple(column for column in table.column_names if column not in (identity, "split"))
    partition = tuple(partition_of(texts(table, "split", pattern), pattern)) if "split" in table.column_names else None
    return Source(
        layout="webdataset",
        names=names,
        attributes=attributes,
        labels=binaries(table, attributes, pattern, len(names)),
        identities=None if identity is None else tuple(texts(table, identity, pattern)),
        partition=partition,
        landmarks=None,
        reader=Shards(tuple(images.values()), names),
        crop="the largest square in the middle",
    )


def _files(shard: Path) -> list[tuple[str, str, Place]]:
    """List the images and label files of a shard: key, suffix, and where it lies."""
    found = []
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                stem, dot, suffix = path.name.partition(".")  # a key ends at the first point, as WebDataset has it
                if member.isfile() and stem and dot + suffix.lower() in (*SUFFIXES, LABELS):
                    place = Place(shard, member.offset_data, member.size)
                    found.append(((path.parent / stem).as_posix(), dot + suffix.lower(), place))
    except (OSError, tarfile.TarError) as error:
        raise InputError(
            f"{shard}: cannot be read as an uncompressed tar file ({error}); unpack one that is compressed"
        ) from error
    return found


def _table(pattern: str, names: tuple[str, ...], told: dict[str, Place]) -> pa.Table:
    """Collect what the samples say of themselves: one row an image."""
    if not told:
        return pa.table({})
    silent = [name for name in names if name not in told]
    if silent:
        raise InputError(f"{pattern}: {len(silent)} images have no {LABELS} file: {some(silent)}; add one to each")
    rows = [_sample(name, told[name]) for name in names]
    fields = list(rows[0])
    for name, row in zip(names, rows, strict=True):
        if row.keys() != rows[0].keys():
            odd = sorted(row.keys() ^ rows[0].keys())[0]
            raise InputError(
                f"{told[name].shard}: {name}{LABELS}: the field {odd!r} is not in every sample; give all the same"
            )
    return pa.table({field: [None if row[field] is None else str(row[field]) for row in rows] for field in fields})


def _sample(name: str, place: Place) -> dict[str, Any]:
    try:
        content = json.loads(place.read())
    except ValueError as error:
        raise InputError(f"{place.shard}: {name}{LABELS}: is no JSON ({error}); repair it") from error
    if not isinstance(content, dict):
        raise InputError(f"{place.shard}: {name}{LABELS}: must be an object of attributes, it is {content!r}")
    return content
