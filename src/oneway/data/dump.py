"""Stored features: what leaks when a database of features is stolen, and neither the encoder nor its answers.

A dump is one file, or a folder of several (shards) that belong together, in any of three formats:

- `.npz`: arrays `names` (text) and `features` (pictures, ...);
- `.parquet`: a column `name` and either a column `features` of lists of equal length (or tensors of one shape), or
  columns `f0`, `f1`, ... of numbers;
- `.safetensors`: a tensor `features` (pictures, ...), and in the metadata, under `names`, a JSON list of the names.

A name is the picture's in the pack (the column `name` of its labels.parquet). The order is free; pictures that the pack
lacks and those of its private people are passed over, and every other picture of the pack needs features. Numbers stay
as stored: features quantised to bytes are attacked as bytes (only bfloat16 and float8, which numpy lacks, become
float32). Attackers read them in float32, so numbers that it does not hold are refused. Nothing is ever unpickled.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oneway.data.packed import Pack, Part
from oneway.data.shards import READERS, Features, Shard, reading
from oneway.errors import InputError
from oneway.storage.inputs import check_memory, regular


def read_dump(path: Path | str, pack: Pack) -> dict[str, Features]:
    """Read the stored features of a pack's public, validation and test pictures.

    One copy of them is held in memory, and a block of the file.

    Args:
        path: a file or a folder of files; see the module.
        pack: whose pictures they are of.

    Returns:
        for each of the three splits (len(part), ...), in the order of its pictures, in the number type of the file.

    Raises:
        InputError: if there is no dump, it is damaged, or it does not give every picture its finite features.

    """
    path = Path(path)
    parts: tuple[Part, ...] = (pack.public, pack.validation, pack.test)
    wanted = [(name, part.split) for part in parts for name in part.names]
    places = {name: place for place, (name, _) in enumerate(wanted)}
    features: Features | None = None
    seen: set[str] = set()
    for file in dump_files(path):
        with reading(file):
            shard = READERS[file.suffix.lower()](file)
            _check_names(file, shard, seen)
            rows = np.array([places.get(name, -1) for name in shard.names], dtype=np.int64)
            start = 0
            for block in shard.blocks:
                if features is None:
                    features = _room(file, block, len(wanted))
                _check_block(file, block, features)
                to = rows[start : start + len(block)]
                start += len(block)
                kept, to = block[to >= 0], to[to >= 0]
                with np.errstate(over="ignore"):  # attackers read single precision
                    finite = np.isfinite(kept.astype(np.float32)).all(axis=tuple(range(1, kept.ndim)))
                if not finite.all():
                    name, split = wanted[to[~finite][0]]
                    raise InputError(
                        f"{file}: the features of {name!r} ({split}) are not finite in single precision; no attack can "
                        "read them, so store what the encoder gives for it, or prepare the pack without this picture"
                    )
                try:
                    read_whole(kept)
                except InputError as error:
                    raise InputError(f"{file}: {error}") from error
                features[to] = kept
    missing = [(name, split) for name, split in wanted if name not in seen]
    if missing or features is None:
        name, split = missing[0]
        strangers = sorted(seen.difference(pack.table.column("name").to_pylist()))
        stranger = f"; it names others like {strangers[0]!r}" if strangers else ""
        raise InputError(
            f"{path}: {len(missing)} of {len(wanted)} pictures of the pack {pack.path} have no features, the first is "
            f"{name!r} ({split}){stranger}; store features of every picture under the name it has in the pack"
        )
    ends = np.cumsum([len(part) for part in parts])
    return {part.split: features[end - len(part) : end] for part, end in zip(parts, ends, strict=True)}


def read_whole(stored: Features) -> NDArray[np.float32]:
    """Give stored features in float32, in which attackers read them, in memory of their own; nothing is rounded off.

    Raises:
        InputError: for other than real numbers, or more than float32 holds, where a secret could hide.

    """
    if stored.dtype.kind not in "fiub":
        raise InputError(f"features must be real numbers, not {stored.dtype}; store both parts of a complex number")
    with np.errstate(over="ignore"):
        read = stored.astype(np.float32)
    if np.can_cast(stored.dtype, np.float32) or np.array_equal(read.astype(stored.dtype), stored, equal_nan=True):
        return read
    raise InputError(
        f"features are {stored.dtype} and hold more than float32 does, in which attackers read them; store no more: "
        "features.astype(numpy.float32), or whole numbers as several smaller ones"
    )


def dump_files(path: Path) -> list[Path]:
    """Give the files of a dump.

    Raises:
        InputError: if there is none.

    """
    known = ", ".join(READERS)
    if not path.exists():
        raise InputError(f"{path} does not exist; give a file of features or a folder of them ({known})")
    if regular(path).is_file():
        if path.suffix.lower() not in READERS:
            raise InputError(f"{path} is no file of features; it must end in {known}")
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in READERS and not file.name.startswith("."))
    if not found:
        raise InputError(f"{path} holds no file of features ({known}); give the folder that does, or one file")
    return [regular(file) for file in found]


def _room(path: Path, block: Features, count: int) -> Features:
    """Make the array of all features, each like those of `block`: (count, ...)."""
    needed = count * math.prod(block.shape[1:]) * block.dtype.itemsize
    remedy = "store smaller ones (float16 takes half), or prepare a pack of fewer pictures"
    check_memory(needed, f"{path}: features of {count} pictures", remedy)
    return np.empty((count, *block.shape[1:]), dtype=block.dtype)


def _check_names(path: Path, shard: Shard, seen: set[str]) -> None:
    """Hold a shard's names to its features and to those `seen` before, and add them."""
    if not all(isinstance(name, str) for name in shard.names):
        raise InputError(f"{path}: every name must be text, the name of a picture in the pack")
    if len(shard.names) != shard.count:
        raise InputError(
            f"{path}: {len(shard.names)} names for the features of {shard.count} pictures; store one name for each"
        )
    for name in shard.names:
        if name in seen:
            raise InputError(f"{path}: {name!r} has features twice; store those of each picture once")
        seen.add(name)


def _check_block(path: Path, block: Features, features: Features) -> None:
    """Hold features to numbers, and to the shape and type of those before."""
    if block.ndim < 2 or block.dtype.kind not in "fiu" or not math.prod(block.shape[1:]):
        raise _no_numbers(path, block)
    if block.shape[1:] != features.shape[1:] or block.dtype != features.dtype:
        raise InputError(
            f"{path}: its features are {block.dtype} of shape {block.shape[1:]}, those of other files of the dump "
            f"{features.dtype} of shape {features.shape[1:]}; store all as one encoder gives them"
        )


def _no_numbers(path: Path, features: Features) -> InputError:
    return InputError(
        f"{path}: features must be numbers (pictures, ...), not {features.dtype} of shape {features.shape}"
    )
