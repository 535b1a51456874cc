"""The order of the test people in what an audit hands on: no name can be read from it, and a control still matches."""

from __future__ import annotations

import hashlib
import json

import numpy as np
from numpy.typing import NDArray

from oneway.data.linked import Linked
from oneway.data.packed import Test

SAMPLE = 16
"""Pictures whose pixels decide the order, beside all names: nobody guesses them."""


def hidden_order(test: Test) -> NDArray[np.int64]:
    """Shuffle the pictures of a test part by a key that only its pack gives: the picture in each row, (n,).

    A pack is in the order of its people's names, so that a row, or a person's number, would place a name among the
    others. The key is made of the pack's names, labels and pixels: audits on one pack agree wherever they are made, and
    who lacks the pack cannot undo it.
    """
    labels = test.pack.table.slice(test.rows.start, len(test))
    digest = hashlib.sha256(json.dumps(labels.to_pydict()).encode())
    if not isinstance(test.pack.pixels, Linked):  # what is decoded anew may differ by a bit elsewhere
        digest.update(test.images(np.linspace(0, len(test) - 1, SAMPLE).astype(np.int64)).tobytes())
    key = digest.digest()
    places = [hashlib.sha256(key + row.to_bytes(8, "big")).digest() for row in range(len(test))]
    return np.array(sorted(range(len(test)), key=places.__getitem__), dtype=np.int64)


def anonymous(people: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number people, (n,), anew from 0 in the order in which they appear."""
    _, first, codes = np.unique(people, return_index=True, return_inverse=True)
    numbers: NDArray[np.int64] = np.argsort(np.argsort(first))[codes]
    return numbers
