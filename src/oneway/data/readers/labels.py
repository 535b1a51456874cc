"""What tables say of images: people, the official split, attributes; from a CSV, Parquet or any Arrow table."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.csv
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from oneway.data.columns import classes
from oneway.errors import InputError, unknown
from oneway.storage.inputs import regular

IDENTITY_COLUMNS = ("identity", "person")
PARTITIONS = ("train", "validation", "test", "private", "public")
SPLIT_NAMES = {name: name for name in PARTITIONS} | {
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "testing": "test",
}
"""What the parts of a given split are called, in columns and in folders."""
TABLES = (".parquet", ".csv", ".tsv")
"""Suffixes of tables of labels."""
DELIMITERS = ",;\t|"
_KINDS = 8  # of files that are named when they are passed over
# What false and true are called, in the order they are tried.
BINARY = (("0", "1"), ("-1", "1"), ("false", "true"), ("0.0", "1.0"), ("-1.0", "1.0"))


def read_table(path: Path) -> pa.Table:
    """Read a .parquet file, or a .csv or .tsv with commas, semicolons, tabs or bars; raise `InputError` if it is none.

    So it does if a column is there twice. The delimiter is the one that parts the first line into the most columns.
    """
    regular(path)
    try:
        if path.suffix.lower() == ".parquet":
            table = parquet.read_table(path, partitioning=None)  # seed=1/ in its path is no column
        elif path.suffix.lower() in (".csv", ".tsv"):
            with open(path, encoding="utf-8-sig", newline="") as file:
                first = file.readline()
                parted = {mark: next(csv.reader([first], delimiter=mark), []) for mark in DELIMITERS}
                delimiter = max(DELIMITERS, key=lambda mark: ('"' not in "".join(parted[mark]), len(parted[mark])))
                file.seek(0)
                columns = next(csv.reader(file, delimiter=delimiter), [])
            # As text: else a name such as 000001 would be read as a number and lose its zeros.
            as_text = pyarrow.csv.ConvertOptions(column_types={column: pa.string() for column in columns})
            parse = pyarrow.csv.ParseOptions(delimiter=delimiter)
            table = pyarrow.csv.read_csv(path, parse_options=parse, convert_options=as_text)
        else:
            raise InputError(f"{path}: labels must be a .csv, .tsv or .parquet file")
    except FileNotFoundError as error:
        raise InputError(f"--labels {path} does not exist; give a .csv or .parquet file") from error
    except (OSError, UnicodeDecodeError, pa.ArrowException, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table ({error}); repair the file") from error
    table = table.rename_columns([column.strip() for column in table.column_names])
    if "" in table.column_names:
        raise InputError(
            f"{path}: column {table.column_names.index('') + 1} has no name; give it one, or drop it (it is the index "
            "of a table that was written with it)"
        )
    twice = [column for column, times in Counter(table.column_names).items() if times > 1]
    if twice:
        raise InputError(f"{path}: column {twice[0]!r} is there twice; rename one")
    return table


def chosen(
    columns: Sequence[str], role: str, given: str | None, usual: tuple[str, ...], path: Path | str
) -> str | None:
    """Give the column that the user named, or the first with one of the `usual` names, if there is one."""
    if given is None:
        return next((column for column in columns if column in usual), None)
    if given not in columns:
        raise unknown(f"{path}: {role} column", given, columns)
    return given


def texts(table: pa.Table, column: str, path: Path | str) -> list[str]:
    """Give a column as text, "" where it is empty."""
    try:
        found: list[str | None] = compute.cast(table.column(column), pa.string()).to_pylist()
    except pa.ArrowException as error:
        raise InputError(f"{path}: column {column!r} must hold text or numbers, it cannot be read ({error})") from error
    return ["" if text is None else text for text in found]


def partition_of(told: list[str], path: Path | str) -> list[str]:
    """Check the official split of every row."""
    for row, text in enumerate(told, start=1):
        if text.lower() not in SPLIT_NAMES:
            raise InputError(
                f"{path}: column 'split', row {row}: must be one of {', '.join(PARTITIONS)}, it is {text!r}; "
                f"correct it, or drop the column to have the split made"
            )
    return [SPLIT_NAMES[text.lower()] for text in told]


def binary(table: pa.Table, column: str, path: Path | str) -> NDArray[np.bool_]:
    """Read an attribute, (n,); raise `InputError` naming the first row that is neither false nor true."""
    told = np.char.lower(np.char.strip(np.array(texts(table, column, path), dtype=np.str_)))
    fits = [np.isin(told, pair) for pair in BINARY]
    best = int(np.argmax([np.count_nonzero(fit) for fit in fits]))
    if not fits[best].all():
        row = int(np.flatnonzero(~fits[best])[0])
        raise InputError(
            f"{path}: column {column!r}, row {row + 1}: an attribute must be 0 or 1, -1 or 1, true or false "
            f"all through, it is {told[row].item()!r}; make it binary, or drop the column"
        )
    return np.asarray(told == BINARY[best][1])


def binaries(table: pa.Table, columns: tuple[str, ...], path: Path | str, count: int) -> NDArray[np.bool_]:
    """Read attributes, (count, len(columns))."""
    labels = np.zeros((count, len(columns)), dtype=np.bool_)
    for place, column in enumerate(columns):
        labels[:, place] = binary(table, column, path)
    return labels


def attribute(table: pa.Table, column: str, path: Path | str) -> pa.Array:
    """Read an attribute of whichever kind it is, (n,), as `data.columns` has it; an empty cell is a missing value.

    It is binary if all that it says is 0 and 1, -1 and 1, or false and true; else numbers if all of it are numbers;
    else classes, if all of it are words, unless more than half of the images have one of their own.

    Raises:
        InputError: for numbers among words, and for words that are no classes.

    """
    told = np.char.strip(np.array(texts(table, column, path), dtype=np.str_))
    there = told != ""
    if not there.any():
        raise InputError(f"{path}: column {column!r} is empty in every row; fill it in, or drop it")
    small = np.char.lower(told)
    for no, yes in BINARY:
        if np.isin(small[there], (no, yes)).all():
            return pa.array(small == yes, mask=~there)
    words = [row for row in np.flatnonzero(there) if _number(told[row]) is None]
    if not words:
        return pa.array([_number(text) for text in told], pa.float64())
    distinct, count = len(np.unique(told[there])), int(there.sum())
    if len(words) < count:
        numbers = np.setdiff1d(np.flatnonzero(there), words)
        rare, others = (numbers, "words") if len(numbers) < len(words) else (np.array(words), "numbers")
        odd, rest = int(rare[0]), f"{count - len(rare)} rows are {others}"
        raise InputError(
            f"{path}: column {column!r}, row {odd + 1}: is {told[odd].item()!r}, and {rest}; an attribute must be "
            "numbers (an empty cell where one is not known), or words that are classes, all through: correct it, or "
            "drop the column"
        )
    if distinct > max(2, count // 2):
        raise InputError(
            f"{path}: column {column!r} holds {distinct} different words in {count} rows, such as "
            f"{told[words[0]].item()!r}, so they are no classes; drop the column, or name it with --identity if it "
            "says who is shown"
        )
    return classes([text or None for text in told.tolist()])


def attributes(table: pa.Table, columns: Sequence[str], path: Path | str) -> pa.Table:
    """Read attributes of whichever kinds, as a table of these columns; see `attribute`."""
    return pa.table({column: attribute(table, column, path) for column in columns})


def _number(text: str) -> float | None:
    try:
        return float(text) if text and "_" not in text else None
    except ValueError:
        return None


def passed_over(names: Iterable[str]) -> str:
    """Count files by suffix, each with an example: "3 .txt (a/notes.txt, ...)"."""
    by_suffix: dict[str, list[str]] = {}
    for name in names:
        dot, suffix = name.rpartition("/")[2].partition(".")[1:]
        by_suffix.setdefault((dot + suffix).lower() or "without a suffix", []).append(name)
    counts = sorted(by_suffix.items(), key=lambda each: -len(each[1]))
    told = [f"{len(each)} {suffix} ({each[0]}{', ...' if len(each) > 1 else ''})" for suffix, each in counts[:_KINDS]]
    rest = sum(len(each) for _, each in counts[_KINDS:])
    return ", ".join([*told, *([f"{rest} others"] if rest else [])])


def some(names: Iterable[str]) -> str:
    """List the first three names."""
    listed = list(names)
    return ", ".join(listed[:3]) + (", ..." if len(listed) > 3 else "")
