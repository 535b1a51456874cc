"""Numbers that a network gave for pictures, held to being numbers before anything is made of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from oneway.data.packed import Part
from oneway.errors import InputError

_ROWS = 1024  # looked at together, since a map of the disk may be larger than memory


def check_finite(given: NDArray[np.generic], part: Part, what: str, index: NDArray[np.int64] | None = None) -> None:
    """Refuse numbers that are not finite, naming the first picture that they were given for, and how many there are.

    Args:
        given: (k, ...), any number type.
        part: whose pictures they are of.
        what: what gave them, such as "the encoder's features".
        index: (k,) which of the part's pictures they are; all by default.

    Raises:
        InputError: if some are NaN or infinite.

    """
    blocks = (slice(start, start + _ROWS) for start in range(0, len(given), _ROWS))
    finite = [np.isfinite(given[rows].reshape(len(given[rows]), -1)).all(axis=1) for rows in blocks]
    bad = np.flatnonzero(~np.concatenate(finite)) if finite else np.zeros(0, dtype=np.int64)
    if len(bad):
        first = int(bad[0] if index is None else index[bad[0]])
        raise InputError(
            f"{what} are not finite for {len(bad)} of {len(given)} {part.split} pictures, first for "
            f"{part.names[first]!r} (number {first} of them, counted from 0); mend the network (in half precision "
            "numbers above 65504 are infinite), or prepare the pack without such pictures"
        )
