"""Images that stay where they are: files, or pieces of tar files, decoded when they are asked for."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from numpy.typing import NDArray
from PIL import Image

from oneway.config import Count, record
from oneway.data.byterange import ByteRange, check_below
from oneway.data.picture import LARGEST, Fit, decode
from oneway.errors import InputError

SPANS = "spans.parquet"


@record
@dataclass(frozen=True, kw_only=True)
class Link:
    """What pack.json says of images that stay where they are; `Linked` explains the fields."""

    frame: tuple[Count, Count] | None
    box: tuple[float, float, float, float] | None
    root: str
    fit: Fit = "crop"

    def __post_init__(self) -> None:
        if self.box is not None:
            left, top, right, bottom = self.box
            if not (0 <= left < right and 0 <= top < bottom):
                raise InputError(f"box must be left, top, right and bottom of a square in pixels, not {self.box}")


@dataclass(frozen=True)
class Linked:
    """The images of a pack that is linked to their files, as its packed pixels would be.

    Args:
        path: the Parquet file of spans, one row an image.
        size: pixels a side.
        frame: (width, height) that every image must have, or None for any.
        box: the square that is cut out of it, in its pixels, or None for what `fit` says.
        root: the folder, or the URL, below which all must lie: a pack of somebody else reads nothing from elsewhere.
        fit: how a picture becomes a square without a box.

    """

    path: Path
    size: int
    frame: tuple[int, int] | None
    box: tuple[float, float, float, float] | None
    root: str
    fit: Fit

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """The type of the pixels."""
        return np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of images, and their shape."""
        return (len(self), self.size, self.size, 3)

    def __len__(self) -> int:
        return int(self._spans.num_rows)

    @cached_property
    def _spans(self) -> pa.Table:
        try:
            table = parquet.read_table(self.path, partitioning=None).select(["file", "offset", "size"])
            if table.schema.types[0] not in (pa.string(), pa.dictionary(pa.int32(), pa.string())):
                raise pa.ArrowInvalid("its files are no text")
            if table.schema.types[1:] != [pa.int64()] * 2 or any(column.null_count for column in table.columns):
                raise pa.ArrowInvalid("it lacks places of images")
            return table
        except (OSError, KeyError, pa.ArrowException) as error:
            raise InputError(f"{self.path}: cannot be read ({error}); prepare the pack again") from error

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Decode the images at `rows`, several at once: (k, size, size, 3), RGB in 0..255.

        Raises:
            InputError: for a file that is gone or lies outside of the root, or an image that cannot be decoded.

        """
        table = self._spans.take(pa.array(rows))
        files = table.column("file").to_pylist()
        offsets, sizes = (table.column(name).to_pylist() for name in ("offset", "size"))
        out = np.empty((len(rows), self.size, self.size, 3), dtype=np.uint8)

        def fill(number: int) -> None:
            span = ByteRange(files[number], offsets[number], sizes[number])
            check_below(span.file, self.root)
            content = BytesIO(span.read())
            out[number] = decode(content, f"{span.file} at {span.offset}", self.size, self.frame, self.box, self.fit)

        list(_threads().map(fill, range(len(rows))))  # decoders let go of the interpreter's lock
        return out


def write_spans(path: Path, spans: Sequence[ByteRange]) -> None:
    """Write the file of spans that `Linked` reads."""
    columns: dict[str, pa.Array] = {
        "file": pa.array([span.file for span in spans]).dictionary_encode(),
        "offset": pa.array([span.offset for span in spans], pa.int64()),
        "size": pa.array([span.size for span in spans], pa.int64()),
    }
    parquet.write_table(pa.table(columns), path)


@cache
def _threads() -> ThreadPoolExecutor:
    Image.init()  # or several threads would load its decoders at once
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")


def open_linked(path: Path, size: int, link: Link) -> Linked:
    """Open the spans at `path` for pictures of `size` pixels a side, cut out as `link` says.

    Raises:
        InputError: for a size that is larger than any picture that is decoded.

    """
    if size * size > LARGEST:
        raise InputError(
            f"{path.parent}: size must be at most {math.isqrt(LARGEST)}, not {size}; prepare the pack again"
        )
    return Linked(path, size, link.frame, link.box, link.root, link.fit)
