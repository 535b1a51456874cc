"""Files and folders on the disk: files appear whole, space is reserved before it is used, a folder has one writer."""

from __future__ import annotations

import errno
import fcntl
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from oneway.errors import InputError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_RESERVATION = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
"""What a file system says that cannot reserve space."""


def unwritable(path: Path, error: OSError) -> InputError:
    """Make the error for a file that the disk does not take."""
    return InputError(f"cannot write {path}: {error.strerror or error}; free some space or choose another folder")


def check_file(path: Path) -> None:
    """Refuse a folder where a file is to be written.

    Raises:
        InputError: naming it.

    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it, such as {path / 'NAME'}")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to; when all went well it takes `path`'s place in one step.

    Raises:
        InputError: if the disk is full or the folder cannot be written, or `path` is one.

    """
    check_file(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def reserve(path: Path, num_bytes: int) -> None:
    """Make a file of `num_bytes` zeros whose space on the disk is its own.

    Without that, a full disk would be met only when a memory map of the file is written to, which ends the process by
    SIGBUS and without a word.

    Raises:
        InputError: if there is not so much space, naming the bytes needed and free; the file is removed then.

    """
    free = shutil.disk_usage(path.parent).free
    try:
        with open(path, "wb") as file:
            _allocate(file.fileno(), num_bytes, free)
    except OSError as error:
        path.unlink(missing_ok=True)
        if error.errno not in _FULL:
            raise unwritable(path, error) from error
        raise InputError(
            f"cannot write {path}: it needs {num_bytes:,} bytes and {free:,} are free; free some space or choose "
            "another folder"
        ) from error


def _allocate(descriptor: int, num_bytes: int, free: int) -> None:
    """Reserve the bytes, or where that cannot be done hold them to what is free."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, max(1, num_bytes))
        except OSError as error:
            if error.errno not in _NO_RESERVATION:
                raise
        else:
            return
    if num_bytes > free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.truncate(descriptor, num_bytes)


def new_array(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[Any]]:
    """Make an .npy file of zeros and map it for writing, its space reserved; see `reserve`.

    Returns:
        the map, `shape`; its `flush` puts what was written on the disk.

    """
    header = BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    )
    reserve(path, len(header.getvalue()) + np.dtype(dtype).itemsize * math.prod(shape))
    with open(path, "r+b") as file:
        file.write(header.getvalue())
    mapped: np.memmap[Any, np.dtype[Any]] = np.lib.format.open_memmap(path, "r+")
    return mapped


def check_writable(folder: Path) -> None:
    """Refuse a folder in which no file can be made, by making one that has no name.

    Raises:
        InputError: if it cannot be written.

    """
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"cannot write in {folder}: {error.strerror or error}; choose another folder") from error


def check_place(path: Path) -> None:
    """Refuse a path at which no file can be made, by trying in the nearest of its folders that is there.

    Raises:
        InputError: if it cannot be written.

    """
    check_writable(next(each for each in path.absolute().parents if each.exists()))


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Make `folder` this process's own as long as the block lasts; folders made for it that stay empty are removed.

    The lock is the system's, on the folder itself: the end of a process releases it, however it ends, and no file is
    left over. A file system that cannot lock (some network ones) grants it to everybody.

    Raises:
        InputError: if another process holds it, or it cannot be made or written.

    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        with _opened(folder) as descriptor:
            if not _lock(descriptor):
                raise InputError(
                    f"{folder} is being written by another process; wait for its end, or choose another --out"
                )
            check_writable(folder)
            yield
    finally:
        for each in missing:
            with suppress(OSError):
                each.rmdir()


@contextmanager
def held(path: Path) -> Iterator[bool]:
    """Hold the file `path`, made if need be, as long as the block lasts; says whether no other process does.

    The lock is the system's, as that of `hold`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        yield _lock(file.fileno())


def _lock(descriptor: int) -> bool:
    """Lock an open file or folder, unless another process has; where the file system has no locks, it is granted."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def clear(folder: Path) -> None:
    """Remove all that a folder holds."""
    for each in folder.iterdir():
        shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Open a folder, which is made if it is not there."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; choose another --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror or error}; choose another folder") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)
