"""What is written beside the images of a pack: labels.parquet and pack.json, and what tells two sources apart."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from oneway.data.disk import write
from oneway.data.packed import DESCRIPTION, FORMAT, LABELS
from oneway.data.source import LANDMARKS, Source
from oneway.data.splits import SPLITS, people
from oneway.errors import InputError

Skipped = list[tuple[np.int64, str]]


def describe(
    source: Source,
    images: Path,
    settings: dict[str, Any],
    splits: NDArray[np.int8],
    order: NDArray[np.int64],
    skipped: Skipped,
    linked: dict[str, Any] | None = None,
) -> None:
    """Write labels.parquet and then pack.json beside the file `images`, which holds `order` of the source.

    It holds their pixels, or where they are `linked`, their spans, and `linked` says what is cut out and below which
    root they lie. `splits` holds
    a code for every image of the source. Raise `InputError` if a split is empty.
    """
    persons = people(source.identities, len(source.names))[order]
    codes = splits[order]
    counts = {}
    for code, split in enumerate(SPLITS):
        members = persons[codes == code]
        counts[split] = {"images": len(members), "people": len(np.unique(members))}
        if not len(members):
            raise InputError(f"no image of the {split} split can be decoded; repair the source")
    names = [source.names[index] for index in order]
    identities = [source.identities[index] if source.identities else "" for index in order]
    named = [SPLITS[code] for code in codes]
    labels = source.labels[order]
    columns: dict[str, Any] = {"name": names, "identity": identities, "split": named}
    located = isinstance(source.landmarks, np.ndarray)
    if isinstance(source.landmarks, np.ndarray):
        columns[LANDMARKS] = pa.FixedSizeListArray.from_arrays(pa.array(source.landmarks[order].ravel()), 10)
    columns |= {attribute: labels[:, place] for place, attribute in enumerate(source.attributes)}
    table = BytesIO()
    parquet.write_table(pa.table(columns), table)
    write(images.with_name(LABELS), table.getvalue())
    with open(images, "r+b") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256")
    digest.update(json.dumps([names, identities, named, source.attributes]).encode())
    digest.update(np.ascontiguousarray(labels).data)
    if isinstance(source.landmarks, np.ndarray):
        digest.update(np.ascontiguousarray(source.landmarks[order]).data)
    if linked is not None:  # spans alone do not say what is made of them
        cut = {name: value for name, value in linked.items() if name != "root"}  # which the spans say themselves
        digest.update(json.dumps([settings["size"], cut]).encode())
    description = {
        "format": FORMAT,
        "layout": source.layout,
        "size": settings["size"],
        "count": len(order),
        "splits": counts,
        "public": settings["public"],
        "seed": settings["seed"],
        "division": settings["division"],
        "attributes": source.attributes,
        "landmarks": LABELS if located else source.landmarks,
        "crop": source.crop,
        **({} if linked is None else {"linked": linked}),
        "hash": digest.hexdigest(),
        "skipped": [{"name": source.names[index], "reason": why} for index, why in skipped],
        "versions": {name: version(name) for name in ("oneway", "numpy", "pillow", "pyarrow")}
        | {"python": platform.python_version()},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write(images.with_name(DESCRIPTION), json.dumps(description, indent=1).encode())


def fingerprint(source: Source) -> str:
    """Return a sha256 over all that `source` says of its images, without reading them."""
    fields = [
        source.layout,
        source.names,
        source.attributes,
        source.identities,
        source.partition,
        source.crop,
    ]
    landmarks = source.landmarks.tolist() if isinstance(source.landmarks, np.ndarray) else source.landmarks
    digest = hashlib.sha256(json.dumps([*fields, landmarks]).encode())
    digest.update(np.ascontiguousarray(source.labels).data)
    return digest.hexdigest()
