"""A reader of a folder of people, each a folder of pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from oneway.data.readers.layouts import Packing

if TYPE_CHECKING:
    from oneway.data.source import Source


@dataclass(frozen=True, kw_only=True)
class Album(Packing):
    """An album: a folder for each person, and in it pictures.

    Attributes:
        root: The folder of people.
        kind: Ending of the pictures' names.

    """

    root: Positional[Path]
    kind: str = "png"

    def source(self) -> Source:
        """Read the layout."""
        import numpy as np  # here, since `oneway prepare --help` loads this file

        from oneway.data.source import Photographs, Source
        from oneway.errors import InputError

        names = tuple(sorted(str(path.relative_to(self.root)) for path in self.root.glob(f"*/*.{self.kind}")))
        if not names:
            raise InputError(f"{self.root} holds no PERSON/PICTURE.{self.kind}; give the folder of an album")
        return Source(
            layout="album",
            names=names,
            attributes=(),
            labels=np.zeros((len(names), 0), dtype=np.bool_),
            identities=tuple(name.split("/")[0] for name in names),
            partition=None,
            landmarks=None,
            reader=Photographs(self.root, names),
        )
