"""Labels of a Hugging Face dataset, by the types of its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from oneway.data.columns import Labels, classes, simplest
from oneway.data.readers.labels import attribute
from oneway.errors import InputError

if TYPE_CHECKING:
    from datasets import Features


def check_labelled(path: str, features: Features, table: pa.Table, task: tuple[str, ...]) -> None:
    """Refuse classes of which some pictures have none: -1, as the hub's test splits often have it."""
    from datasets import ClassLabel

    for name in task:
        if isinstance(features[name], ClassLabel):
            codes = table.column(name).to_pylist()
            none = [row for row, code in enumerate(codes) if code is None or code < 0]
            if none:
                raise InputError(
                    f"{path}: column {name!r}: {len(none)} of {len(codes)} pictures have no label (-1), the first in "
                    f"row {none[0] + 1}; choose a split that is labelled with --split, or leave {name!r} out of "
                    "--attributes"
                )


def labelled(features: Features, identity: str | None) -> tuple[str, ...]:
    """Name the columns that are labels by their type: bool, or classes."""
    from datasets import ClassLabel

    return tuple(
        name
        for name, feature in features.items()
        if name != identity and (getattr(feature, "dtype", None) == "bool" or isinstance(feature, ClassLabel))
    )


def read_labels(features: Features, table: pa.Table, task: tuple[str, ...], path: str, count: int) -> Labels:
    """Read the columns of the task: of two classes as binary, of more by their names, any other as in a table."""
    from datasets import ClassLabel

    columns = {}
    for name in task:
        feature = features[name]
        if isinstance(feature, ClassLabel) and feature.num_classes > 2:
            codes = table.column(name).to_pylist()
            columns[name] = classes([feature.names[code] for code in codes], feature.names)
        else:
            columns[name] = attribute(table, name, path)
    return simplest(pa.table(columns)) if columns else np.zeros((count, 0), dtype=np.bool_)
