"""Files of a pack on the disk, written so that no kill and no power cut leaves a hole that nobody sees."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oneway.errors import InputError
from oneway.storage.atomic import reserve

_COPIED = 256  # rows held in memory while a file is copied


@dataclass(frozen=True)
class ImageFile:
    """An .npy file of `count` images of `size` x `size` pixels, which several processes fill at once."""

    path: Path
    count: int
    size: int

    @cached_property
    def header(self) -> bytes:
        """What stands before the images."""
        head = BytesIO()
        shape = (self.count, self.size, self.size, 3)
        np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return head.getvalue()

    @property
    def row_bytes(self) -> int:
        """Bytes of one image."""
        return self.size * self.size * 3

    @property
    def num_bytes(self) -> int:
        """Bytes of the whole file."""
        return len(self.header) + self.count * self.row_bytes

    def exists(self) -> bool:
        """Say whether the file is there in its full length, be it filled or not."""
        return self.path.exists() and self.path.stat().st_size == self.num_bytes

    def create(self) -> None:
        """Make the file, with black images, and reserve its space."""
        reserve(self.path, self.num_bytes)
        with open(self.path, "r+b") as file:
            file.write(self.header)

    def write(self, start: int, images: NDArray[np.uint8]) -> None:
        """Put `images`, (k, size, size, 3), from row `start` on; they are on the disk when this returns."""
        # Not through a memory map: on a full disk that would end in SIGBUS instead of an error.
        with open(self.path, "r+b") as file:
            file.seek(len(self.header) + start * self.row_bytes)
            file.write(images.data)
            file.flush()
            os.fsync(file.fileno())

    def copy(self, path: Path, rows: NDArray[np.int64]) -> ImageFile:
        """Write the chosen `rows` into a second file at `path`."""
        copy = ImageFile(path, len(rows), self.size)
        pixels = np.load(self.path, mmap_mode="r")
        with open(path, "wb") as file:
            file.write(copy.header)
            for start in range(0, len(rows), _COPIED):
                file.write(pixels[rows[start : start + _COPIED]].data)
        return copy


def write(path: Path, content: bytes) -> None:
    """Write a small file so that it is there in full or not at all."""
    fresh = path.with_name(path.name + ".new")
    with open(fresh, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


@contextmanager
def explained(partial: Path) -> Iterator[None]:
    """Rewrite what the system says about the disk and the processes."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"{partial}: the disk is full; what is done is kept, free some space and rerun with --resume"
            ) from error
        raise InputError(f"{error.filename or partial}: cannot be written ({error.strerror or error})") from error
    except BrokenProcessPool as error:
        raise InputError(
            f"{partial}: a process that reads images died, for lack of memory, or because the script "
            f"that calls prepare lacks `if __name__ == '__main__':`; rerun with --resume and fewer --jobs"
        ) from error
