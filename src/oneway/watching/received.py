"""What a server has received, as levels: bytes as they were sent, or a dump of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oneway.data.dump import dump_files
from oneway.data.shards import READERS, Features, reading
from oneway.errors import InputError
from oneway.shipping.contract import Contract, Numbers
from oneway.storage.inputs import regular

MESSAGES = ".bin"
"""Ends the name of a file of messages, one after the other."""


@dataclass(frozen=True)
class Received:
    """Answers of devices.

    Attributes:
        names: (n,) of each: that of its file of messages below the folder, without its end, or what the dump says.
        levels: (n, numbers).

    """

    names: list[str]
    levels: Numbers

    @property
    def pictures(self) -> NDArray[np.int64]:
        """Which picture each is an answer for (n,): answers for one picture have one name."""
        return np.asarray(np.unique(self.names, return_inverse=True)[1])

    @property
    def people(self) -> NDArray[np.int64] | None:
        """Who is in each picture (n,): what its name says before the last slash; nothing if not all names have one."""
        if not all("/" in name for name in self.names):
            return None
        return np.asarray(np.unique([name.rpartition("/")[0] for name in self.names], return_inverse=True)[1])


def read_received(path: Path, contract: Contract) -> Received:
    """Read what was received.

    Args:
        path: a file of messages (.bin, as client.py writes them), a folder of those, or a dump of features as
            `oneway.data.dump` describes it. In a dump, int8 (n, numbers) are levels, uint8 (n, bytes) messages, and
            floats the numbers that levels stand for. A name may stand there several times.
        contract: of the bundle.

    Raises:
        InputError: if nothing is there, it is damaged, or no device of the bundle sends it.

    """
    if not path.exists():
        raise InputError(f"{path} does not exist; give a folder of {MESSAGES} files, or a dump ({', '.join(READERS)})")
    names: list[str] = []
    levels: list[Numbers] = []
    for name, found in _messages(path, contract) if _is_messages(path) else _dumped(path, contract):
        names += name
        levels.append(found)
    return Received(names, np.concatenate(levels) if levels else np.zeros((0, contract.numbers), np.int8))


def _is_messages(path: Path) -> bool:
    return path.suffix == MESSAGES or (path.is_dir() and next(path.rglob(f"*{MESSAGES}"), None) is not None)


def _messages(path: Path, contract: Contract) -> list[tuple[list[str], Numbers]]:
    """Read every file of messages, each a picture's."""
    found = []
    for file in sorted(path.rglob(f"*{MESSAGES}")) if path.is_dir() else [path]:
        try:
            levels = contract.read(regular(file).read_bytes())
        except OSError as error:
            raise InputError(f"{file} cannot be read ({error.strerror or error})") from error
        except InputError as error:
            raise InputError(f"{file}: {error}") from error
        name = file.relative_to(path).with_suffix("").as_posix() if path.is_dir() else file.stem
        found.append(([name] * len(levels), levels))
    return found


def _dumped(path: Path, contract: Contract) -> list[tuple[list[str], Numbers]]:
    """Read every file of a dump."""
    found = []
    for file in dump_files(path):
        with reading(file):
            shard = READERS[file.suffix.lower()](file)
            blocks = [_levels(file, block, contract) for block in shard.blocks]
        levels = np.concatenate(blocks) if blocks else np.zeros((0, contract.numbers), np.int8)
        if len(shard.names) != len(levels) or not all(isinstance(name, str) for name in shard.names):
            raise InputError(f"{file}: {len(shard.names)} names for {len(levels)} answers; store one, text, for each")
        found.append((shard.names, levels))
    return found


def _levels(file: Path, block: Features, contract: Contract) -> Numbers:
    """Give the levels of answers in a dump, each held to what the contract lets a device send."""
    rows = block.reshape(len(block), -1)
    agreed = contract.quantisation
    try:
        if rows.dtype == np.uint8:
            return contract.read(rows.tobytes()) if rows.shape[1] == contract.num_bytes else _wrong(rows, contract)
        if rows.shape[1] != contract.numbers or rows.dtype.kind not in "fi":
            return _wrong(rows, contract)
        levels = rows.astype(np.float64) / (1 if rows.dtype.kind == "i" else agreed.step)
        if not np.isfinite(levels).all():
            bad = int((~np.isfinite(levels).all(axis=1)).sum())
            raise InputError(f"{bad} of {len(rows)} answers are not finite, as no device of this bundle sends")
        off = (np.abs(levels - np.rint(levels)) > 1e-2).any(axis=1) | (np.abs(levels) > agreed.top + 0.5).any(axis=1)
        if off.any():
            raise InputError(
                f"{int(off.sum())} of {len(rows)} answers hold numbers that are none of the contract's levels "
                f"({agreed.step:.6g} times -{agreed.top}..{agreed.top}): they are of another contract, or not rounded"
            )
        return np.rint(levels).astype(np.int8)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error


def _wrong(rows: Features, contract: Contract) -> Numbers:
    raise InputError(
        f"an answer of this bundle is {contract.numbers} numbers (levels in int8, or floats) or {contract.num_bytes} "
        f"bytes (uint8), and these are {rows.shape[1]} of {rows.dtype}; give what devices of this bundle sent"
    )
