"""Images in the row groups of Parquet files, which stay where they are: on this machine or behind a URL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from oneway.data.byterange import opened
from oneway.data.picture import CorruptImage, Fit, decode
from oneway.errors import InputError


@dataclass(frozen=True)
class Group:
    """A row group: the `number`-th of a file, of so many `rows`."""

    file: str
    number: int
    rows: int


@dataclass(frozen=True)
class RowGroups:
    """Reads images out of row groups, each made a square by `fit`.

    Nothing is copied to this machine's disk. A process holds two groups' images in memory, so that images which are
    asked for in their order are read once.

    Args:
        groups: in the order of the images.
        column: of images, as encoded bytes or as Hugging Face's pairs of bytes and path.
        names: of the images.
        fit: how one that is not square becomes so.

    """

    groups: tuple[Group, ...]
    column: str
    names: tuple[str, ...]
    fit: Fit = "crop"

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        return np.cumsum([group.rows for group in self.groups])

    def __call__(self, index: int, size: int) -> NDArray[np.uint8]:
        """Return image `index`, (size, size, 3); raise `CorruptImage`."""
        place = int(np.searchsorted(self._ends, index, side="right"))
        group = self.groups[place]
        row = index - int(self._ends[place]) + group.rows
        stored: Any = _images(group, self.column)[row].as_py()
        name = f"{group.file}: {self.names[index]}"
        file = group.file.removeprefix("file://")
        homes = () if "://" in file else (Path(file).parent,)
        return decode(encoded(stored, name, homes), name, size, fit=self.fit)


def encoded(stored: Any, name: str, homes: Sequence[Path]) -> BytesIO | Path:
    """Give an image as it is stored: its bytes, or a pair of bytes and path of which one may be missing.

    Args:
        stored: what stands in the column.
        name: what messages call it.
        homes: folders below one of which a path must lie; relative ones are below the first.

    Raises:
        CorruptImage: for a path that leads elsewhere: a table of somebody else reads no other file of this machine.

    """
    if not isinstance(stored, dict):
        return BytesIO(stored or b"")
    content: bytes | None = stored["bytes"]
    path: str | None = stored.get("path")
    if content is not None or not path:
        return BytesIO(content or b"")
    for home in homes:
        place = (homes[0] / path).resolve()
        if place.is_relative_to(home.resolve()):
            return place
    raise CorruptImage(
        f"{name}: cannot be decoded (its bytes are not stored, and its path {path!r} is not below "
        f"{' or '.join(map(str, homes)) or 'a folder of this machine'}; store the bytes, or move it there)"
    )


def layout(file: str) -> tuple[pa.Schema, tuple[Group, ...]]:
    """Read the columns of a file, with what else is said of them, and list its row groups in their order."""
    with _reading(file) as table:
        sizes = [table.metadata.row_group(number).num_rows for number in range(table.num_row_groups)]
        return table.schema_arrow, tuple(Group(file, number, rows) for number, rows in enumerate(sizes))


def columns(files: Sequence[str], names: Sequence[str]) -> pa.Table:
    """Read some columns of several files into memory, and no others.

    Raises:
        InputError: if a file lacks one that others have, or has it of another type.

    """
    tables: list[pa.Table] = []
    for file in files:
        with _reading(file) as table:
            tables.append(table.read(columns=list(names)).replace_schema_metadata())
        if tables[-1].schema != tables[0].schema:
            raise InputError(
                f"{file}: its columns are of other types than those of {files[0]}: "
                f"{tables[-1].schema.to_string()!r} is not {tables[0].schema.to_string()!r}; give all the same"
            )
    return pa.concat_tables(tables)


@contextmanager
def _reading(file: str) -> Iterator[parquet.ParquetFile]:
    with opened(file) as stream:
        try:
            yield parquet.ParquetFile(stream)
        except pa.ArrowException as error:
            raise InputError(f"{file}: cannot be read as Parquet ({error}); repair the file") from error


@lru_cache(maxsize=2)
def _images(group: Group, column: str) -> pa.ChunkedArray:
    with _reading(group.file) as table:
        return table.read_row_group(group.number, columns=[column]).column(column)
