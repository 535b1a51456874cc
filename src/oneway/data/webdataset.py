"""WebDataset shards: tar files in which an image and a JSON file of the same key stand side by side."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from oneway.data.labels import IDENTITY_COLUMNS, binaries, chosen, partition_of, some, texts
from oneway.data.picture import SUFFIXES, decode
from oneway.data.source import Source
from oneway.data.span import Span, matching, opened
from oneway.data.tar import members
from oneway.errors import InputError

LABELS = ".json"


@dataclass(frozen=True)
class Shards:
    """Reads images out of shards, the largest square in the middle of each."""

    spans: tuple[Span, ...]
    names: tuple[str, ...]
    frame: None = None
    box: None = None

    def __call__(self, index: int, size: int) -> NDArray[np.uint8]:
        """Return image `index`, (size, size, 3); raise `CorruptImage`."""
        span = self.spans[index]
        return decode(BytesIO(span.read()), f"{span.file}: {self.names[index]}", size)


def read(pattern: str, identity: str | None = None) -> Source:
    """Read what the shards that `pattern` matches say of their images; the images stay where they are.

    A sample is an image and, if there are labels, `KEY.json` beside it: an object of binary attributes, the person at
    `identity` (default: identity or person, if there is one) and the official split at `split` (train, validation,
    test, private or public), the same fields in every sample. The crop is the largest square in the middle. Raise
    `InputError` for anything that does not fit, naming the shard and the sample.
    """
    shards = matching(pattern)
    if not shards:
        raise InputError(f"{pattern}: no such file; give the tar files, for example 'shards/*.tar' in quotes")
    images: dict[str, Span] = {}
    told: dict[str, Span] = {}
    for shard in shards:
        for key, suffix, span in _files(shard):
            found = told if suffix == LABELS else images
            if key in found:
                raise InputError(f"{shard}: the key {key!r} is there twice, also in {found[key].file}; rename one")
            found[key] = span
    if not images:
        raise InputError(f"{pattern}: {len(shards)} shards hold no image ({', '.join(SUFFIXES)})")
    names = tuple(images)
    table = _table(pattern, names, told)
    identity = chosen(table.column_names, "identity", identity, IDENTITY_COLUMNS, pattern)
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


def _files(shard: str) -> list[tuple[str, str, Span]]:
    """List the images and label files of a shard: key, suffix, and where it lies."""
    found = []
    try:
        with opened(shard) as file:
            for member in members(file):
                path = PurePosixPath(member.name)
                stem, dot, suffix = path.name.partition(".")  # a key ends at the first point, as WebDataset has it
                if member.isfile() and stem and dot + suffix.lower() in (*SUFFIXES, LABELS):
                    span = Span(shard, member.offset_data, member.size)
                    found.append(((path.parent / stem).as_posix(), dot + suffix.lower(), span))
    except tarfile.TarError as error:
        raise InputError(
            f"{shard}: cannot be read as an uncompressed tar file ({error}); unpack one that is compressed"
        ) from error
    return found


def _table(pattern: str, names: tuple[str, ...], told: dict[str, Span]) -> pa.Table:
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
                f"{told[name].file}: {name}{LABELS}: the field {odd!r} is not in every sample; give all the same"
            )
    return pa.table({field: [None if row[field] is None else str(row[field]) for row in rows] for field in fields})


def _sample(name: str, span: Span) -> dict[str, Any]:
    try:
        content = json.loads(span.read())
    except ValueError as error:
        raise InputError(f"{span.file}: {name}{LABELS}: is no JSON ({error}); repair it") from error
    if not isinstance(content, dict):
        raise InputError(f"{span.file}: {name}{LABELS}: must be an object of attributes, it is {content!r}")
    return content
