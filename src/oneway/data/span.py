"""Where an image lies: a file, or a piece of one, on this machine or behind a URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from oneway.errors import InputError


@contextmanager
def opened(file: str) -> Iterator[BinaryIO]:
    """Open a file to read, by its path or by a URL as fsspec takes it.

    Raises:
        InputError: if it cannot be opened.

    """
    try:
        if "://" not in file:
            with Path(file).open("rb") as local:
                yield local
            return
        import fsspec

        with fsspec.open(file, "rb") as remote:
            yield remote
    except (OSError, ImportError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({error})") from error


@dataclass(frozen=True)
class Span:
    """Where an image lies: `size` bytes from `offset` on in a file, all of it where `size` is -1."""

    file: str
    offset: int = 0
    size: int = -1

    def read(self) -> bytes:
        """Read it; an uncompressed tar holds its files as they are."""
        with opened(self.file) as file:
            file.seek(self.offset)
            return file.read(self.size)
