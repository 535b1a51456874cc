"""Space on the disk: reserved before it is used, so that a full one is an error and not the end of the process."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from oneway.errors import InputError
from oneway.storage.atomic import new_array, reserve


def full(descriptor: int, offset: int, length: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_new_array_is_read_back_as_written_and_owns_its_space(tmp_path: Path) -> None:
    made = new_array(tmp_path / "a.npy", np.float32, (300, 5, 7))
    assert not made.any()
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= made.nbytes  # no hole is left to fill
    made[:] = np.arange(made.size).reshape(made.shape)
    made.flush()
    assert np.array_equal(np.load(tmp_path / "a.npy"), np.arange(300 * 35, dtype=np.float32).reshape(300, 5, 7))


def test_a_full_disk_is_an_error_that_names_the_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"cannot write .*a\.npy: it needs 4,128 bytes and [\d,]+ are free; free some"):
        new_array(tmp_path / "a.npy", np.uint8, (4000,))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["function", "file system"])
def test_where_nothing_can_be_reserved_the_free_space_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    def unable(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    if missing == "function":
        monkeypatch.delattr(os, "posix_fallocate")
    else:
        monkeypatch.setattr(os, "posix_fallocate", unable)
    reserve(tmp_path / "small", 5000)
    assert (tmp_path / "small").stat().st_size == 5000
    with pytest.raises(InputError, match=r"it needs 1,000,000,000,000,000,000 bytes"):
        reserve(tmp_path / "large", 10**18)
    assert [path.name for path in tmp_path.iterdir()] == ["small"]
