"""Folders of finished work in a place that every node of a cluster reaches: a bucket, or any other URL of fsspec."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import fsspec

from oneway import runs
from oneway.errors import InputError


def scratch(gathering: Gathering) -> Path:
    """Say where a node keeps, on its own disk, what it makes for a gathering."""
    return Path(gettempdir()) / f"oneway-{runs.digest([gathering.url])}"


@dataclass(frozen=True)
class Gathering:
    """A place for finished folders.

    A folder is finished when its `results.json` is there, which is therefore written last, on either side.

    Args:
        url: as fsspec takes it: s3://bucket/sweep, gs://..., file:///...; its credentials are those of its library.

    """

    url: str

    def push(self, folder: Path, name: str) -> None:
        """Put a finished folder there as `name`."""
        files, root = self._open()
        paths = [path for path in folder.rglob("*") if path.is_file()]
        for path in sorted(paths, key=lambda path: path == folder / runs.RESULTS):
            there = f"{root}/{name}/{path.relative_to(folder).as_posix()}"
            files.makedirs(there.rpartition("/")[0], exist_ok=True)
            files.put_file(str(path), there)

    def pull(self, name: str, folder: Path) -> bool:
        """Bring the folder `name` from there, unless it is here; says whether it is finished."""
        last = folder / runs.RESULTS
        if last.exists():
            return True
        files, root = self._open()
        there = f"{root}/{name}"
        if not files.exists(f"{there}/{runs.RESULTS}"):
            return False
        paths = sorted(files.find(there), key=lambda path: path == f"{there}/{runs.RESULTS}")
        for path in paths:
            with runs.whole(folder / path.removeprefix(f"{there}/")) as partial:
                files.get_file(path, str(partial))
        return True

    def _open(self) -> tuple[Any, str]:
        try:
            files, root = fsspec.core.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise InputError(f"gather={self.url} cannot be opened: {error}") from error
        return files, root.rstrip("/")
