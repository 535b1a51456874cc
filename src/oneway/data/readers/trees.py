"""What folders say of the images in them: the given split, and classes, as torchvision's ImageFolder has them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from oneway.data.columns import classes
from oneway.data.readers.labels import SPLIT_NAMES

CLASS = "class"
"""The attribute that class folders give."""
LEAST = 10
"""Images a folder, on average, from which folders are taken for classes where no split lies above them: people have
folders of their own too, with a few images each."""


def split_of(names: Sequence[str]) -> tuple[str, ...] | None:
    """Give the split of every image, if the first folders are called train, test and the like, and nothing else."""
    first = [name.partition("/")[0].lower() if "/" in name else "" for name in names]
    told = {SPLIT_NAMES.get(folder) for folder in first}
    return tuple(SPLIT_NAMES[folder] for folder in first) if None not in told and {"train", "test"} <= told else None


def classes_in(names: Sequence[str], *, divided: bool) -> pa.Table | None:
    """Give the class of every image as the column `class`, if each lies in one folder, below that of its split.

    Args:
        names: paths of the images.
        divided: whether the first folder is that of the split.

    Returns:
        nothing where images lie at several depths, or in one folder, or in so many that they are no classes.

    """
    below = [name.split("/")[1 if divided else 0 : -1] for name in names]
    if any(len(folders) != 1 for folders in below):
        return None
    told = [folder for (folder,) in below]
    least = 2 if divided else LEAST
    return pa.table({CLASS: classes(told)}) if 1 < len(set(told)) <= len(told) / least else None
