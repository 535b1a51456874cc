"""Stored features, written in each format that an audit reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from numpy.typing import NDArray
from safetensors.numpy import save


def write_dump(path: Path, names: Sequence[str], features: NDArray[Any]) -> None:
    """Store features (len(names), ...) of the pictures of these names; the path's suffix says the format."""
    path.parent.mkdir(exist_ok=True)
    features = np.ascontiguousarray(features)
    if path.suffix == ".npz":
        np.savez(path, names=np.array(names, dtype=np.str_), features=features)
    elif path.suffix == ".parquet":
        column = pa.FixedShapeTensorArray.from_numpy_ndarray(features)
        table = pa.table({"name": pa.array(list(names), pa.string()), "features": column})
        parquet.write_table(table, path, use_dictionary=["name"])
    else:
        path.write_bytes(save({"features": features}, metadata={"names": json.dumps(list(names))}))
