"""Where an image lies: a file, or a piece of one, on this machine or behind a URL."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

import fsspec

from oneway.data.picture import LARGEST_FILE, CorruptImage
from oneway.errors import InputError
from oneway.storage.inputs import regular

PROTOCOLS = ("file", "http", "https", "s3", "gs", "gcs", "az", "abfs", "abfss", "hf")
"""Of the URLs that are opened: fsspec knows others, some of which read what another file names, or start programs."""


@contextmanager
def opened(file: str) -> Iterator[BinaryIO]:
    """Open a file to read, by its path or by a URL of one of `PROTOCOLS`.

    Raises:
        InputError: if it cannot be opened.

    """
    check(file)
    try:
        if "://" not in file:
            with Path(file).open("rb") as local:
                yield local
            return
        files, path = fsspec.core.url_to_fs(file)  # fsspec.open would take brackets for a pattern
        with files.open(path, "rb") as remote:
            yield remote
    except (OSError, ImportError) as error:
        raise InputError(f"{file}: cannot be read ({error})") from error


@dataclass(frozen=True)
class ByteRange:
    """Where an image lies: `size` bytes from `offset` on in a file, all of it where `size` is -1."""

    file: str
    offset: int = 0
    size: int = -1

    def read(self) -> bytes:
        """Read it and no more; an uncompressed tar holds its files as they are.

        Raises:
            CorruptImage: if it is longer than any picture that is decoded.
            InputError: if it cannot be read.

        """
        check(self.file)
        if self.offset < 0 or self.size < -1:
            raise InputError(f"{self.file}: {self.size} bytes from {self.offset} on are no piece of a file")
        if self.size > LARGEST_FILE:
            raise CorruptImage(f"{self.file} at {self.offset}: it has more than {LARGEST_FILE:,} bytes")
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


def check(file: str) -> None:
    """Refuse what must not be opened.

    Raises:
        InputError: for a URL of a protocol that is none of `PROTOCOLS`, or of several in a chain, and for a pipe or a
            device.

    """
    protocol, is_url, path = file.partition("://")
    if not is_url:
        regular(Path(file))
    elif "::" in file:
        raise InputError(f"{file}: chains of URLs (::) are not opened; give the URL of the file itself")
    elif protocol not in PROTOCOLS:
        raise InputError(f"{file}: {protocol}:// is not opened; copy the files, or give one of {', '.join(PROTOCOLS)}")
    elif protocol == "file":
        if not path.startswith("/"):
            raise InputError(f"{file}: must be file:// and an absolute path")
        regular(Path(path))


def root_of(files: Iterable[str]) -> str:
    """Say below which folder, or URL, all `files` lie, links resolved."""
    folders = [_home(file).split("/")[:-1] for file in set(files)]
    shared = takewhile(lambda names: len(set(names)) == 1, zip(*folders, strict=False))
    return "/".join(names[0] for names in shared) or "/"


def check_below(file: str, root: str) -> None:
    """Hold a file to the folder, or URL, `root`, wherever `..` and links lead.

    Raises:
        InputError: if it lies elsewhere.

    """
    if not _home(file).startswith(f"{_home(root).rstrip('/')}/"):
        raise InputError(f"{file}: does not lie below {root}, the root of this pack; prepare the pack again")


def _home(file: str) -> str:
    """Say where a file really lies: a path without links, or the URL itself."""
    if "://" not in file or file.startswith("file://"):
        return os.path.realpath(file.removeprefix("file://"))
    if ".." in unquote(file).replace("\\", "/").split("/"):
        raise InputError(f"{file}: a URL must not lead upwards (..)")
    return file


def _literal(pattern: str) -> str:
    """Take what is there by the name that a pattern begins with for that name, whatever brackets are in it."""
    path = Path(pattern)
    there = next((place for place in (path, *path.parents) if place.exists()), Path())
    return str(Path(glob.escape(str(there))) / path.relative_to(there))


def matching(pattern: str) -> list[str]:
    """List the files that a pattern of paths, or of URLs of one of `PROTOCOLS`, matches, in order.

    Raises:
        InputError: if the place cannot be listed.

    """
    check(pattern)
    if "://" not in pattern:
        return [str(Path(name).absolute()) for name in sorted(glob.glob(_literal(pattern), recursive=True))]
    try:
        files, path = fsspec.core.url_to_fs(pattern)
        names = sorted(files.glob(path))
    except Exception as error:  # every transport has errors of its own
        raise InputError(f"{pattern}: cannot be listed ({error})") from error
    start = pattern.removesuffix(path)  # with the host, where there is one
    if start == pattern:
        raise InputError(f"{pattern}: cannot be read as a URL of {path}; give one that ends in the path")
    return [start + name for name in names]
