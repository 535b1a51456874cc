"""Files of stored features, read in blocks so that no file is ever held whole."""

from __future__ import annotations

import json
import math
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as parquet
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from oneway.errors import InputError, unknown
from oneway.storage.inputs import regular

Features = NDArray[np.generic]
_BLOCK = 2**24  # bytes read at a time
_DEFLATED = 1032  # deflate makes nothing smaller than by this factor


@dataclass(frozen=True)
class Shard:
    """One file of features: its names, and its features in blocks (k, ...) of consecutive pictures.

    `count` says for how many pictures there are features. Neither names nor features have been checked.
    """

    names: list[Any]
    count: int
    blocks: Iterator[Features]


DAMAGE = (
    *(OSError, ValueError, EOFError, RecursionError),
    *(zipfile.BadZipFile, zlib.error, pa.ArrowException, SafetensorError),
)
"""What libraries raise over a damaged file."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the libraries raise over a damaged file into an error that names it."""
    try:
        yield
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(f"{path} is truncated, damaged or no {path.suffix} file ({error}); store it again") from error
    except MemoryError as error:
        raise InputError(
            f"{path} takes more memory than there is ({error}); store fewer or smaller features"
        ) from error


def read_arrays(path: Path) -> dict[str, Features]:
    """Read every array of an .npz file, whose headers are held to its length before memory is taken."""
    _headers(path)
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def read_npz(path: Path) -> Shard:
    """Open arrays `names` and `features`; see `oneway.data.dump`."""
    headers = _headers(path)
    for key in ("names", "features"):
        if key not in headers:
            raise unknown(f"{path}: array", key, list(headers))
    with np.load(path, allow_pickle=False) as arrays:
        names = arrays["names"].ravel().tolist()
    shape, by_column, dtype = headers["features"]
    return Shard(names, shape[0] if shape else 0, _npz_blocks(path, shape, dtype, by_column))


def _headers(path: Path) -> dict[str, tuple[tuple[int, ...], bool, np.dtype[Any]]]:
    """Give shape, order and type of every array of an .npz file, which can hold them."""
    headers = {}
    with zipfile.ZipFile(regular(path)) as archive:
        for stored in archive.infolist():
            key = stored.filename.removesuffix(".npy")
            with archive.open(stored) as member:
                headers[key] = _header(member)
                shape, _, dtype = headers[key]
                _check_promise(path, stored, member.tell(), shape, dtype)
            if dtype.hasobject:
                raise InputError(f"{path}: {key} are Python objects, which are never unpickled; store text and numbers")
    return headers


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(member)
    if version not in read:
        raise ValueError(f"array of version {version}")
    return read[version](member)


def _check_promise(
    path: Path, stored: zipfile.ZipInfo, start: int, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> None:
    """Hold an array to what the file can hold, before memory is taken for it."""
    promised, held = dtype.itemsize * math.prod(shape), stored.file_size - start
    if promised != held and not dtype.hasobject:
        raise ValueError(f"an array of shape {shape} takes {promised:,} bytes, and {held:,} are stored")
    if stored.file_size > _DEFLATED * path.stat().st_size:
        raise ValueError(f"{stored.file_size:,} bytes cannot be packed into {path.stat().st_size:,}")


def _npz_blocks(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], by_column: bool) -> Iterator[Features]:
    if by_column or len(shape) < 2:
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays["features"]
        return
    with zipfile.ZipFile(path) as archive, archive.open("features.npy") as member:
        _header(member)
        each = max(1, _BLOCK // max(1, dtype.itemsize * math.prod(shape[1:])))
        for start in range(0, shape[0], each):
            block = (min(each, shape[0] - start), *shape[1:])
            yield np.frombuffer(member.read(dtype.itemsize * math.prod(block)), dtype=dtype).reshape(block)
        member.read()  # to the end, where the checksum is compared


def read_parquet(path: Path) -> Shard:
    """Open a column `name` and a column `features`, or columns `f0`, `f1`, ...; see `oneway.data.dump`."""
    file = parquet.ParquetFile(path, buffer_size=_BLOCK, pre_buffer=False)  # or a whole group of rows is fetched first
    present = file.schema_arrow.names
    if "name" not in present:
        raise unknown(f"{path}: column", "name", present)
    numbered = [name for name in present if re.fullmatch(r"f\d+", name)]
    columns = ["features"] if "features" in present else [f"f{place}" for place in range(len(numbered))]
    if not columns:
        raise unknown(f"{path}: column", "features", present)
    if missing := [name for name in columns if name not in present]:
        raise InputError(f"{path}: columns {', '.join(numbered)} lack {missing[0]!r}; number them from f0 without gaps")
    names = file.read(["name"]).column("name").to_pylist()
    return Shard(names, len(names), _parquet_blocks(path, file, columns))


def _parquet_blocks(path: Path, file: parquet.ParquetFile, columns: list[str]) -> Iterator[Features]:
    about = file.metadata
    size = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
    each = min(max(1, _BLOCK * about.num_rows // max(1, size)), 4096)  # repeated numbers take next to no bytes
    for batch in file.iter_batches(batch_size=each, columns=columns):
        arrays = [_stacked(path, batch.column(name)) for name in columns]
        yield arrays[0] if columns == ["features"] else np.stack(arrays, axis=1)


def _stacked(path: Path, column: pa.Array) -> Features:
    """Make one array (k, ...) of a column of numbers, of lists, nested or not, or of tensors."""
    if isinstance(column, pa.FixedShapeTensorArray) and not column.storage.flatten().null_count + column.null_count:
        tensors: Features = column.to_numpy_ndarray()
        return tensors
    shape, types = [len(column)], pa.types
    while types.is_list(column.type) or types.is_large_list(column.type) or types.is_fixed_size_list(column.type):
        lengths = pc.unique(pc.list_value_length(column)).to_pylist()
        if len(lengths) != 1 or lengths[0] is None:
            raise InputError(f"{path}: lists in 'features' differ in length; store as many numbers for each picture")
        shape.append(lengths[0])
        column = column.flatten()
    if column.null_count:
        raise InputError(f"{path}: some features are null; store a number for each")
    numbers: Features = column.to_numpy(zero_copy_only=False)
    return numbers.reshape(shape)


def read_safetensors(path: Path) -> Shard:
    """Open a tensor `features` and metadata `names`; see `oneway.data.dump`."""
    with safe_open(path, framework="pt") as file:
        keys, about = list(file.keys()), file.metadata() or {}
        if "features" not in keys:
            raise unknown(f"{path}: tensor", "features", keys)
        shape = file.get_slice("features").get_shape()
    if "names" not in about:
        raise unknown(f"{path}: metadata", "names", about)
    names = json.loads(about["names"])
    if not isinstance(names, list):
        raise InputError(f"{path}: metadata 'names' must be a JSON list of text, not {type(names).__name__}")
    return Shard(names, shape[0] if shape else 0, _safetensors_blocks(path, shape))


def _safetensors_blocks(path: Path, shape: list[int]) -> Iterator[Features]:
    with safe_open(path, framework="pt") as file:
        stored = file.get_slice("features")
        each = max(1, _BLOCK // max(1, 4 * math.prod(shape[1:])))
        for start in range(0, shape[0] if shape else 0, each):
            block = stored[start : start + each]
            ours = block.dtype in (torch.float16, torch.float32, torch.float64) or not block.dtype.is_floating_point
            yield (block if ours else block.float()).numpy()


READERS = {".npz": read_npz, ".parquet": read_parquet, ".safetensors": read_safetensors}
"""How a file of each suffix is opened."""
