"""Folders of finished work in a place that every node of a cluster reaches: a bucket, or any other URL of fsspec."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import gettempdir
from typing import Any

import fsspec

from oneway.errors import InputError
from oneway.storage import runs
from oneway.storage.atomic import whole


def scratch(gathering: Gathering) -> Path:
    """Say where a node keeps, on its own disk, what it makes for a gathering; it stays there for a resumption."""
    path = Path(gettempdir()) / f"oneway-{os.getuid()}" / runs.digest([gathering.url])
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path.parent.is_symlink() or path.parent.stat().st_uid != os.getuid():
        raise InputError(f"{path.parent} belongs to somebody else; delete it, or set TMPDIR to a folder of your own")
    return path


@dataclass(frozen=True)
class Gathering:
    """A place for finished folders.

    A folder is finished when its `results.json` is there, which is therefore written last, on either side.

    Args:
        url: as fsspec takes it: s3://bucket/sweep, gs://..., file:///...; its credentials are those of its library.

    """

    url: str

    def push(self, folder: Path, name: str) -> None:
        """Put a finished folder there as `name`, unless it is there.

        Raises:
            InputError: if it cannot be written.

        """
        with self._opened() as (files, root):
            if files.exists(f"{root}/{name}/{runs.RESULTS}"):
                return
            paths = [path for path in folder.rglob("*") if path.is_file()]
            for path in sorted(paths, key=lambda path: path == folder / runs.RESULTS):
                there = f"{root}/{name}/{path.relative_to(folder).as_posix()}"
                files.makedirs(there.rpartition("/")[0], exist_ok=True)
                files.put_file(str(path), f"{there}.partial")
                files.mv(f"{there}.partial", there)

    def pull(self, name: str, folder: Path) -> bool:
        """Bring the folder `name` from there, unless it is here; says whether it is finished.

        Raises:
            InputError: if it cannot be read, or holds a file that would lie elsewhere.

        """
        if (folder / runs.RESULTS).exists():
            return True
        with self._opened() as (files, root):
            there = f"{root}/{name}"
            last = f"{there}/{runs.RESULTS}"
            if not files.exists(last):
                return False
            for path in sorted(files.find(there), key=lambda path: path == last):
                below = PurePosixPath(path.removeprefix(f"{there}/"))
                if below.is_absolute() or ".." in below.parts:
                    raise InputError(f"gather={self.url} holds {path}, which is not below {name}; use another place")
                if below.suffix != ".partial":
                    with whole(folder / below) as partial:
                        files.get_file(path, str(partial))
        return True

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, str]]:
        """Open the place; what goes wrong there is said as the user's, whatever the transport raises."""
        try:
            files, root = fsspec.core.url_to_fs(self.url)
            yield files, root.rstrip("/")
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"gather={self.url} cannot be used ({type(error).__name__}: {error})") from error
