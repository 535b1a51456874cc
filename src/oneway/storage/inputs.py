"""Files that a user names: what may be opened at all, and how JSON and arrays are read that may be anything."""

from __future__ import annotations

import hashlib
import json
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


def check_memory(num_bytes: float, what: str, remedy: str) -> None:
    """Refuse what takes more memory than is free, before any is taken.

    Raises:
        InputError: naming `what`, the bytes it takes and those that are free, and the remedy.

    """
    free = free_memory()
    if free is not None and num_bytes > free:
        raise InputError(f"{what} take {num_bytes:,.0f} bytes of memory and {free:,} are free; {remedy}")


def read_object(path: Path, remedy: str) -> dict[str, object]:
    """Read a JSON object; nothing is known of its fields.

    Raises:
        FileNotFoundError: if nothing is there.
        InputError: if it is no regular file, or holds something else; `remedy` says the way out.

    """
    try:
        content = json.loads(regular(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, InputError):
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}); {remedy}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds {type(content).__name__}, not an object; {remedy}")
    return content


def read_array(path: Path) -> NDArray[Any]:
    """Read an .npy file, whose header is held to the file's length before memory is taken.

    Raises:
        OSError, ValueError, EOFError: if it cannot be read, or is shorter than its header says.
        InputError: if it is no regular file.

    """
    import numpy as np

    return np.array(np.load(regular(path), mmap_mode="r", allow_pickle=False))


def file_hash(path: Path) -> str:
    """Give the sha256 of a file.

    Raises:
        InputError: if it is missing or cannot be read.

    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; give the folder of a finished run") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from error
