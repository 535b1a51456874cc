"""Members of tar files that strangers made: no header is believed that promises more than the file holds."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import BinaryIO

_HEADER = 2**20
"""Bytes of the longest header that is read, long names and comments included."""


class _Headers:
    """What tarfile reads headers from: it would take memory for as much as a header says of itself."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._file.read(size)


def members(file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """List the members of an uncompressed tar file, which must be open at its beginning and allow seeking.

    Raises:
        tarfile.TarError: if it is none, or a member has a size below 0 or beyond the end of the file, or is sparse.

    """
    end = file.seek(0, 2)
    file.seek(0)
    try:
        with tarfile.open(fileobj=_Headers(file), mode="r:") as tar:  # type: ignore[call-overload]
            for member in tar:
                if member.issparse():
                    raise tarfile.ReadError(f"{member.name} is stored as a sparse file; pack it without")
                if not member.isdir() and not 0 <= member.size <= end - member.offset_data:
                    raise tarfile.ReadError(f"{member.name} would have {member.size:,} bytes, in a file of {end:,}")
                yield member
    except OSError:  # of the disk or the network
        raise
    except Exception as error:  # tarfile raises anything over a damaged header
        raise tarfile.ReadError(str(error) or type(error).__name__) from error
