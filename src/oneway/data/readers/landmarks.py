"""Where the face is in each picture of a folder: ten columns of its table, in pixels of the picture as it is seen."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from oneway.data.picture import middle, seen_size
from oneway.data.readers.labels import texts
from oneway.errors import InputError

COLUMNS = tuple(
    f"{point}_{axis}" for point in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth") for axis in "xy"
)
"""As CelebA's table has them: left and right are the picture's, not the person's."""


def read_landmarks(
    table: pa.Table, order: NDArray[np.int64], root: Path, images: tuple[str, ...], path: Path
) -> NDArray[np.float64] | None:
    """Read the five points of every image: (n, 5, 2), fractions (x, y) of the square that is cut out of its middle.

    Args:
        table: with all of `COLUMNS`, in pixels from the upper left corner of each picture as it is seen, or none.
        order: the row of every image.
        root: the folder of the images.
        images: their paths in it.
        path: of the table, for messages.

    Returns:
        nothing, where the table has none of the columns. Points of an image that cannot be opened are not numbers; it
        is refused, or left out, when it is read.

    Raises:
        InputError: for a column that is missing, a cell that is no number, points that cannot be a face's in the
            picture, or eyes that are the other way round.

    """
    present = [name for name in COLUMNS if name in table.column_names]
    if not present:
        return None
    missing = [name for name in COLUMNS if name not in present]
    if missing:
        raise InputError(f"{path}: has landmarks, but no column {missing[0]!r}; it must have {', '.join(COLUMNS)}")
    told = np.stack([_numbers(table, name, path) for name in COLUMNS], axis=1)[order].reshape(-1, 5, 2)
    points = np.full_like(told, math.nan)
    for index, image in enumerate(images):
        size = seen_size(root / image)
        if size is None:
            continue
        left, top, right, _ = middle(*size)
        face = told[index].mean(axis=0)
        if not ((face >= 0) & (face <= size)).all() or np.ptp(told[index], axis=0).max() < 2:
            raise InputError(
                f"{path}: the landmarks of {image}, {told[index].tolist()}, are not those of a face in its "
                f"{size[0]} x {size[1]} pixels; give pixels of the picture as it is seen, from its upper left corner"
            )
        points[index] = (told[index] - (left, top)) / (right - left)
    turned = told[:, 0, 0] > told[:, 1, 0]
    if turned.mean() > 0.5:
        raise InputError(
            f"{path}: in {turned.mean():.0%} of the images lefteye lies right of righteye; left and right are the "
            "picture's, not the person's: rename the columns of eyes and mouth corners"
        )
    return points


def _numbers(table: pa.Table, column: str, path: Path) -> NDArray[np.float64]:
    found = np.empty(table.num_rows)
    for row, text in enumerate(texts(table, column, path)):
        try:
            found[row] = float(text)
        except ValueError:
            found[row] = math.nan
        if not math.isfinite(found[row]):
            raise InputError(
                f"{path}: column {column!r}, row {row + 1}: must be a number of pixels, it is {text!r}; give the "
                "landmarks of every image, or drop their columns"
            )
    return found
