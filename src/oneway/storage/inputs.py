"""Files that a user names: what may be opened at all, and how an array is read that may promise what is not there."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oneway.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def endless(path: Path) -> str | None:
    """Say what stands at `path` if opening it may wait for ever or reading it never end; nothing for anything else."""
    try:
        return _KINDS.get(stat.S_IFMT(os.stat(path).st_mode))
    except (OSError, ValueError):  # who opens it says what is missing
        return None


def regular(path: Path) -> Path:
    """Give `path` back, to be opened.

    Raises:
        InputError: if a named pipe, a socket or a device stands there.

    """
    kind = endless(path)
    if kind is not None:
        raise InputError(f"{path} is {kind}, not a file; write what it gives into a file, and give that")
    return path


def free_memory() -> int | None:
    """Say how many bytes of memory can be taken; nothing where the system (other than Linux) does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)


def read_array(path: Path) -> NDArray[Any]:
    """Read an .npy file, whose header is held to the file's length before memory is taken.

    Raises:
        OSError, ValueError, EOFError: if it cannot be read, or is shorter than its header says.
        InputError: if it is no regular file.

    """
    import numpy as np

    return np.array(np.load(regular(path), mmap_mode="r", allow_pickle=False))
