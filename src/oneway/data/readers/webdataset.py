"""WebDataset shards: tar files in which an image and a JSON file of the same key stand side by side."""

from __future__ import annotations

import json
import logging
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from oneway.data.byterange import ByteRange, matching, opened
from oneway.data.picture import CROPS, SUFFIXES, Fit, decode
from oneway.data.readers.labels import IDENTITY_COLUMNS, binaries, chosen, partition_of, passed_over, some, texts
from oneway.data.readers.tar import members
from oneway.data.source import Source
from oneway.errors import InputError

LABELS, CLASSES = ".json", ".cls"
log = logging.getLogger("oneway.data")


@dataclass(frozen=True)
class Shards:
    """Reads images out of shards, each made a square by `fit`."""

    spans: tuple[ByteRange, ...]
    names: tuple[str, ...]
    frame: None = None
    box: None = None
    fit: Fit = "crop"

    def __call__(self, index: int, size: int) -> NDArray[np.uint8]:
        """Return image `index`, (size, size, 3); raise `CorruptImage`."""
        span = self.spans[index]
        return decode(BytesIO(span.read()), f"{span.file}: {self.names[index]}", size, fit=self.fit)


def read(pattern: str, identity: str | None = None) -> Source:
    """Read what the shards that `pattern` matches say of their images; the images stay where they are.

    A sample is an image and, if there are labels, `KEY.json` beside it: an object of binary attributes, the person at
    `identity` (default: identity or person, if there is one) and the official split at `split` (train, validation,
    test, private or public), the same fields in every sample; or `KEY.cls`, a class of two, which is the attribute
    `cls`, or the person if `identity` says so. A key ends at the first point of a file's name. The crop is the largest
    square in the middle. Raise `InputError` for anything that does not fit, naming the shard and the sample.
    """
    shards = matching(pattern)
    if not shards:
        raise InputError(f"{pattern}: no such file; give the tar files, for example 'shards/*.tar' in quotes")
    samples: dict[str, dict[str, ByteRange]] = {}
    for shard in shards:
        for key, suffix, span in _files(shard):
            sample = samples.setdefault(key, {})
            other = next(iter(sample.values()), span)
            if suffix in sample or other.file != shard:
                raise InputError(f"{shard}: the key {key!r} is there twice, also in {other.file}; rename one")
            sample[suffix] = span
    chosen_images = _chosen(pattern, samples)
    if not chosen_images:
        held = passed_over(f"{key}{suffix}" for key, sample in samples.items() for suffix in sample)
        raise InputError(
            f"{pattern}: {len(shards)} shards hold no image ({', '.join(SUFFIXES)}){held and f', beside {held}'}"
        )
    images = {key: samples[key][suffix] for key, suffix in chosen_images.items()}
    told, classes = ({key: each[kind] for key, each in samples.items() if kind in each} for kind in (LABELS, CLASSES))
    names = tuple(images)
    table = _table(pattern, names, told, classes, identity)
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
        crop=CROPS["crop"],
    )


def _files(shard: str) -> list[tuple[str, str, ByteRange]]:
    """List the files of a shard: key, suffix, and where it lies."""
    found = []
    try:
        with opened(shard) as file:
            for member in members(file):
                path = PurePosixPath(member.name)
                stem, dot, suffix = path.name.partition(".")  # a key ends at the first point, as WebDataset has it
                if member.isfile() and stem:
                    span = ByteRange(shard, member.offset_data, member.size)
                    found.append(((path.parent / stem).as_posix(), dot + suffix.lower(), span))
    except tarfile.TarError as error:
        raise InputError(
            f"{shard}: cannot be read as an uncompressed tar file ({error}); unpack one that is compressed"
        ) from error
    return found


def _chosen(pattern: str, samples: Mapping[str, Mapping[str, ByteRange]]) -> dict[str, str]:
    """Give the suffix of the image of every sample that has one, and say what else is passed over.

    `KEY.jpg` is the image where there is also `KEY.mask.png`; of several of one rank none is.
    """
    ranks: dict[str, list[str]] = {}
    for key, sample in samples.items():
        images = [suffix for suffix in sample if PurePosixPath(suffix).suffix in SUFFIXES or suffix in SUFFIXES]
        ranks[key] = [suffix for suffix in images if suffix in SUFFIXES] or images
    for key, images in ranks.items():
        if len(images) > 1:
            raise InputError(
                f"{pattern}: the sample {key!r} has several images: {', '.join(images)}; a key ends at the first point "
                "of a file's name, so keep one image in each sample, or rename them to KEY.jpg of keys without points"
            )
    found = {key: images[0] for key, images in ranks.items() if images}
    others = [
        f"{key}{suffix}"
        for key, sample in samples.items()
        for suffix in sample
        if suffix != found.get(key) and not (key in found and suffix in (LABELS, CLASSES))
    ]
    if found and others:
        log.warning("%s: %d files are passed over: %s", pattern, len(others), passed_over(others))
    if len(set(found.values()) & set(SUFFIXES)) < len(set(found.values())):
        plain = next((key for key, suffix in found.items() if suffix in SUFFIXES), None)
        odd = next(key for key, suffix in found.items() if suffix not in SUFFIXES)
        if plain is not None:
            raise InputError(
                f"{pattern}: the sample {plain!r} has the image {found[plain]}, {odd!r} has only {found[odd]}; "
                "name the image alike in every sample"
            )
    return found


def _table(
    pattern: str,
    names: tuple[str, ...],
    told: Mapping[str, ByteRange],
    classes: Mapping[str, ByteRange],
    identity: str | None,
) -> pa.Table:
    """Collect what the samples say of themselves: one row an image."""
    columns: dict[str, list[str | None]] = {}
    for kind, found in ((LABELS, told), (CLASSES, classes)):
        silent = [name for name in names if name not in found] if found else []
        if silent:
            raise InputError(f"{pattern}: {len(silent)} images have no {kind} file: {some(silent)}; add one to each")
    if told:
        rows = [_sample(name, told[name]) for name in names]
        for name, row in zip(names, rows, strict=True):
            if row.keys() != rows[0].keys():
                odd = sorted(row.keys() ^ rows[0].keys())[0]
                raise InputError(
                    f"{told[name].file}: {name}{LABELS}: the field {odd!r} is not in every sample; give all the same"
                )
        columns = {field: [None if row[field] is None else str(row[field]) for row in rows] for field in rows[0]}
    if classes:
        own = CLASSES.removeprefix(".")
        if own in columns:
            raise InputError(f"{pattern}: the field {own!r} of {LABELS} files is also a {CLASSES} file; keep one")
        numbers = [classes[name].read().decode(errors="replace").strip() for name in names]
        if identity != own and "-1" in numbers:
            raise InputError(
                f"{pattern}: {names[numbers.index('-1')]}{CLASSES} is -1, which is no label; label it, or leave it out"
            )
        if identity == own or len(set(numbers)) <= 2:
            columns[own] = list(numbers)
        else:
            log.warning(
                "%s: the %s files name %d classes and are passed over, since an attribute has two; if they are "
                "people, give --identity %s",
                pattern,
                CLASSES,
                len(set(numbers)),
                own,
            )
    return pa.table(columns)


def _sample(name: str, span: ByteRange) -> dict[str, object]:
    try:
        content = json.loads(span.read())
    except ValueError as error:
        raise InputError(f"{span.file}: {name}{LABELS}: is no JSON ({error}); repair it") from error
    if not isinstance(content, dict):
        raise InputError(f"{span.file}: {name}{LABELS}: must be an object of attributes, it is {content!r}")
    return content
