"""Where an image lies: a file, or a piece of one, on this machine or behind a URL."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import fsspec

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
        with fsspec.open(file, "rb") as remote:
            yield remote
    except (OSError, ImportError) as error:
        raise InputError(f"{file}: cannot be read ({error})") from error


@dataclass(frozen=True)
class Span:
    """Where an image lies: `size` bytes from `offset` on in a file, all of it where `size` is -1."""

    file: str
    offset: int = 0
    size: int = -1

    def read(self) -> bytes:
        """Read it and no more; an uncompressed tar holds its files as they are.

        Raises:
            InputError: if it cannot be read.

        """
        if "://" not in self.file:
            with opened(self.file) as file:
                file.seek(self.offset)
                return file.read(self.size)
        try:
            files, path = fsspec.core.url_to_fs(self.file)
            end = None if self.size < 0 else self.offset + self.size
            content: bytes = files.cat_file(path, start=self.offset, end=end)
        except Exception as error:  # every transport has errors of its own
            raise InputError(f"{self.file}: cannot be read ({error})") from error
        return content


def matching(pattern: str) -> list[str]:
    """List the files that a pattern of paths, or of URLs as fsspec takes them, matches, in order.

    Raises:
        InputError: if the place cannot be listed.

    """
    if "://" not in pattern:
        return [str(Path(name).absolute()) for name in sorted(glob.glob(pattern, recursive=True))]
    try:
        files, path = fsspec.core.url_to_fs(pattern)
        names = sorted(files.glob(path))
    except Exception as error:  # every transport has errors of its own
        raise InputError(f"{pattern}: cannot be listed ({error})") from error
    start = pattern.removesuffix(path)  # with the host, where there is one
    if start == pattern:
        raise InputError(f"{pattern}: cannot be read as a URL of {path}; give one that ends in the path")
    return [start + name for name in names]
