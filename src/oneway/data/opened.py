"""The files of a pack, held to what its description says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from oneway.data.description import DESCRIPTION, IMAGES, LABELS, REMEDY, Description
from oneway.data.linked import SPANS, Linked, open_linked
from oneway.data.source import LANDMARKS, NAMING
from oneway.errors import InputError


def open_pixels(folder: Path, said: Description) -> NDArray[np.uint8] | Linked:
    """Map the images of a pack, or open what decodes them where they lie.

    Raises:
        InputError: if they are missing or damaged, or others than `said`.

    """
    pixels = open_linked(folder / SPANS, said.size, said.linked) if said.linked is not None else _map(folder / IMAGES)
    expected = (said.count, said.size, said.size, 3)
    if pixels.shape != expected or pixels.dtype != np.uint8:
        raise InputError(
            f"{folder / IMAGES}: must be uint8 of shape {expected} as {DESCRIPTION} says, it is "
            f"{pixels.dtype} of shape {pixels.shape}; {REMEDY}"
        )
    return pixels


def _map(path: Path) -> NDArray[np.uint8]:
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, OverflowError) as error:
        raise InputError(f"{path}: truncated or not an array ({error}); {REMEDY}") from error
    # A plain array over the same map: slices of np.memmap cost much more to make.
    return np.asarray(mapped)


def check_columns(folder: Path, said: Description) -> None:
    """Refuse labels.parquet where its rows, its columns or their types are others than `said`, without reading it."""
    try:
        metadata = parquet.read_metadata(folder / LABELS)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{folder / LABELS}: cannot be read ({error}); {REMEDY}") from error
    located = [LANDMARKS] if said.landmarks == LABELS else []
    columns = (*NAMING, *located, *said.attributes)
    schema = metadata.schema.to_arrow_schema()
    names = tuple(schema.names)
    if metadata.num_rows != said.count or names != columns:
        raise InputError(
            f"{folder / LABELS}: must have {said.count} rows and {len(columns)} columns as {DESCRIPTION} "
            f"says, it has {metadata.num_rows} and {len(names)}; {REMEDY}"
        )
    for name, kind in zip(schema.names, schema.types, strict=True):
        wanted = _type(name, said)
        if kind != wanted:
            raise InputError(f"{folder / LABELS}: column {name!r} must be {wanted}, it is {kind}; {REMEDY}")


def _type(column: str, said: Description) -> pa.DataType:
    """Give the type of a column of labels.parquet."""
    if column in NAMING or column in said.classes:
        return pa.string()
    if column == LANDMARKS:
        return pa.list_(pa.float64(), 10)
    return pa.float64() if column in said.numbers else pa.bool_()
