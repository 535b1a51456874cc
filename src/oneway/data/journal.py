"""The journal of an unfinished preparation: which chunks of images are read, and which images of them are bad."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from oneway.errors import InputError
from oneway.storage.inputs import regular

Bad = list[tuple[int, str]]
"""Rows that could not be decoded, each with the reason."""


def journalled(path: Path, num_chunks: int) -> Iterator[tuple[int, Bad]]:
    """Give the chunks that a journal says were read, each with what was bad in it.

    Raises:
        InputError: if it is damaged, or of more chunks than `num_chunks`.

    """
    for entered in regular(path).read_bytes().splitlines(keepends=True) if path.exists() else ():
        # A line without its end was being written when the run was killed.
        if entered.endswith(b"\n"):
            try:
                chunk, bad = json.loads(entered)
                entry = chunk, [(row, why) for row, why in bad]
            except (ValueError, TypeError, RecursionError) as error:
                raise InputError(f"{path} is damaged ({error}); delete {path.parent} to begin anew") from error
            if type(chunk) is not int or not 0 <= chunk < num_chunks:
                raise InputError(f"{path} is of other images ({chunk!r}); delete {path.parent} to begin anew")
            yield entry


def line(chunk: int, bad: Bad) -> bytes:
    """Write the line of a chunk."""
    return json.dumps([chunk, bad]).encode() + b"\n"
