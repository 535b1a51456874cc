"""The verifier's features of the real pictures, the same for every audit of a pack: computed once and kept."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oneway.data.batches import load
from oneway.data.finite import check_finite
from oneway.data.packed import Part
from oneway.errors import InputError
from oneway.judges.vectors import named, vectors_of
from oneway.judges.verifier import Verifier, of_pictures
from oneway.progress import note, track
from oneway.storage.atomic import whole
from oneway.storage.inputs import read_array

log = logging.getLogger("oneway.models")
FOLDER = "known"
"""Where they are kept, in the pack's folder."""
_FORMAT = 2
_BATCH = 256


def known_features(
    verifier: Verifier, part: Part, folder: Path | None = None, *, progress: bool = True
) -> NDArray[np.float32]:
    """Give the verifier's features of every picture of a part: unit vectors, (len(part), d).

    They are templates of faces, by which a person is recognised: the user alone may read the files, and that they are
    kept is said when the first is. A file's name says what decides them (the verifier's fingerprint, the pack's hash,
    its landmarks, the part); one that is damaged, or that the verifier contradicts on the first picture, is made again.
    Where the folder cannot be written, nothing is kept.

    Args:
        verifier: whose features.
        part: of which pictures.
        folder: where they are kept; `known` in the pack's folder by default.
        progress: show a bar while they are computed.

    """
    fingerprint = verifier.fingerprint
    if fingerprint is None:
        return _compute(verifier, part, progress)
    places = part.landmarks(slice(None))
    where = None if places is None else hashlib.sha256(np.ascontiguousarray(places).data).hexdigest()
    content = json.dumps([_FORMAT, fingerprint, part.pack.hash, where, part.rows.start, part.rows.stop])
    name = f"{part.split}-{hashlib.sha256(content.encode()).hexdigest()[:32]}.npy"
    path = (folder or part.pack.path / FOLDER) / name
    kept = _read(path)
    if kept is not None and _holds(kept, verifier, part):
        return kept
    features = _compute(verifier, part, progress)
    first = not path.parent.exists()
    try:
        _keep(path, features)
    except InputError as error:
        log.warning("the verifier's features of the %s pictures are not kept: %s", part.split, error)
    else:
        if first and progress:
            kept_here = "features of the pack's pictures" if of_pictures(verifier) else "templates of the pack's faces"
            note(f"{kept_here} are kept in {path.parent}, for later audits; share the pack without it")
    return features


def _keep(path: Path, features: NDArray[np.float32]) -> None:
    """Write templates where nobody else can read them, from the first byte on."""
    with suppress(OSError):  # `whole` says what is wrong
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with whole(path) as partial, open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        np.save(file, features, allow_pickle=False)


def _compute(verifier: Verifier, part: Part, progress: bool) -> NDArray[np.float32]:
    found = []
    with track(f"recognise the {part.split} pictures", len(part), enabled=progress) as advance:
        for start in range(0, len(part), _BATCH):
            found.append(_seen(verifier, part, slice(start, start + _BATCH)))
            advance(len(found[-1]))
    features = np.concatenate(found)
    check_finite(features, part, f"the features of {named(verifier)}")
    return features


def _seen(verifier: Verifier, part: Part, rows: slice) -> NDArray[np.float32]:
    return vectors_of(verifier, load(part, rows), part.landmarks(rows))


def _read(path: Path) -> NDArray[np.float32] | None:
    try:
        return read_array(path)
    except (OSError, ValueError, EOFError):
        return None


def _holds(kept: NDArray[np.float32], verifier: Verifier, part: Part) -> bool:
    """Say whether what was kept are unit vectors, one a picture, the first of them as the verifier gives it now."""
    first = _seen(verifier, part, slice(0, 1))
    if kept.dtype != np.float32 or kept.shape != (len(part), first.shape[1]):
        return False
    unit = np.abs(np.linalg.norm(kept, axis=1) - 1) < 1e-3  # not so where a power cut left zeros
    return bool(unit.all()) and bool(np.allclose(kept[:1], first, atol=1e-2))
