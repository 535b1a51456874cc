"""Label columns of three kinds: binary, classes, numbers. Everywhere a missing value is a null of Arrow's.

A binary column is `bool`, one of classes a dictionary of strings, whose order is that of the classes, and numbers are
`float64`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
from numpy.typing import NDArray

from oneway.errors import InputError

Kind = Literal["binary", "classes", "numbers"]
Labels = NDArray[np.bool_] | Any
"""Labels of n images: bool (n, columns) where all are binary and none is missing, else a `pyarrow.Table` of n rows."""
MANY = 6
"""Classes that are named in a sentence."""


def kind_of(column: pa.DataType) -> Kind | None:
    """Say of which kind a column of this type is; none where it is no label column."""
    if pa.types.is_boolean(column):
        return "binary"
    if pa.types.is_dictionary(column) and pa.types.is_string(column.value_type):
        return "classes"
    return "numbers" if pa.types.is_float64(column) else None


def classes(values: Sequence[str | None], names: Sequence[str] | None = None) -> pa.DictionaryArray:
    """Make a column of classes, (n,), of their names; `names` are all classes in their order, or all that occur.

    Those that occur are ordered as numbers where they all are numbers, else as text.
    """
    if names is None:
        names = sorted({value for value in values if value is not None}, key=_as_number_or_text)
    codes = compute.index_in(pa.array(values, pa.string()), value_set=pa.array(names, pa.string()))
    return pa.DictionaryArray.from_arrays(codes.cast(pa.int32()), pa.array(names, pa.string()))


def _as_number_or_text(name: str) -> tuple[float, str]:
    try:
        return float(name), name
    except ValueError:
        return float("inf"), name


def classes_of(column: pa.ChunkedArray) -> tuple[str, ...]:
    """Give the classes of a column in their order."""
    return tuple(column.unify_dictionaries().combine_chunks().dictionary.to_pylist())


def table_of(labels: Labels, attributes: Sequence[str]) -> pa.Table:
    """Give labels as a table, a column for each attribute."""
    if isinstance(labels, pa.Table):
        return labels
    return pa.table({name: labels[:, place] for place, name in enumerate(attributes)})


def simplest(table: pa.Table) -> Labels:
    """Give labels as bool (n, columns) where all are binary and none is missing, else as the table that they are."""
    if any(kind_of(column.type) != "binary" or column.null_count for column in table.columns):
        return table
    columns = [column.to_numpy() for column in table.columns]
    return np.stack(columns, axis=1) if columns else np.zeros((table.num_rows, 0), dtype=np.bool_)


def check(column: pa.ChunkedArray, where: str) -> None:
    """Refuse a column whose classes or numbers cannot be used; `where` begins the message.

    Raises:
        InputError: for a class that is spelled in two ways or has no name, and for a number that is not finite.

    """
    if kind_of(column.type) == "numbers":
        numbers = column.combine_chunks()
        odd = np.flatnonzero(~np.isfinite(numbers.fill_null(0.0).to_numpy(zero_copy_only=False)))
        if len(odd):
            raise InputError(
                f"{where}, row {odd[0] + 1}: must be a finite number, it is {numbers[int(odd[0])].as_py()}; correct "
                "it, or leave it empty where it is not known"
            )
    elif kind_of(column.type) == "classes":
        counts = {each["values"]: each["counts"] for each in compute.value_counts(column.cast(pa.string())).to_pylist()}
        spelled: dict[str, str] = {}
        for name in classes_of(column):
            if not name.strip():
                raise InputError(f"{where}: a class has the name {name!r}; name it, or leave it empty for none")
            same = spelled.setdefault(" ".join(name.split()).casefold(), name)
            if same != name:
                raise InputError(
                    f"{where}: {same!r} ({counts.get(same, 0)} images) and {name!r} ({counts.get(name, 0)} images) are "
                    "one class in two spellings; spell it in one way"
                )


def content(labels: Labels) -> bytes:
    """Give what tells labels from others: of binary ones without a gap their bytes alone."""
    simple = simplest(labels) if isinstance(labels, pa.Table) else labels
    if isinstance(simple, np.ndarray):
        return np.ascontiguousarray(simple).tobytes()
    told = b""
    for column in simple.columns:
        kind = kind_of(column.type)
        names = classes_of(column) if kind == "classes" else ()
        missing = column.is_null().combine_chunks().to_numpy(zero_copy_only=False)
        told += json.dumps([kind, names]).encode() + missing.tobytes()
        if kind == "classes":
            values = codes(column, names)
        else:
            zero = False if kind == "binary" else 0.0
            values = column.combine_chunks().fill_null(zero).to_numpy(zero_copy_only=False)
        told += values.tobytes()
    return told


def codes(column: pa.ChunkedArray, names: Sequence[str]) -> NDArray[np.int64]:
    """Give the class of every image as its place in `names`, (n,); -1 where it is missing, or none of them."""
    found = compute.index_in(column.cast(pa.string()), value_set=pa.array(names, pa.string()))
    return np.asarray(found.cast(pa.int64()).fill_null(-1).to_numpy())


def said(names: Sequence[str], classes: Mapping[str, Sequence[str]], numbers: Sequence[str]) -> str:
    """Say what label columns there are, and of which kind each is, if any is not binary."""
    number = f"{len(names)} attribute{'s' if len(names) > 1 else ''}"
    if not classes and not numbers:
        return number
    told = []
    for name in names:
        if name in classes:
            told.append(f"{name} (classes: {listed(classes[name])})")
        elif name in numbers:
            told.append(f"{name} (numbers)")
    binary = [name for name in names if name not in classes and name not in numbers]
    shown = [*told, *([f"{len(binary)} binary ({listed(binary)})"] if binary else [])]
    return f"{number}: {', '.join(shown)}"


def listed(names: Sequence[str]) -> str:
    """List names, of many the first and the number."""
    return ", ".join(names[:MANY]) + (f", ... {len(names)} in all" if len(names) > MANY else "")
