"""What a judge says of pictures, held to being unit vectors before anything is compared by it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from oneway.judges.verifier import Verifier
from oneway.plugins import Unfit, blamed, origin

GROUP = "oneway.judges"


def vectors_of(verifier: Verifier, pictures: Tensor, landmarks: NDArray[np.float64] | None) -> NDArray[np.float32]:
    """Ask a judge for its features of pictures: (n, d), each of length 1, or 0 or not finite where it has none.

    Args:
        verifier: the judge.
        pictures: (n, 3, size, size) in 0..1.
        landmarks: their five points, (n, 5, 2), if the pack has them.

    Raises:
        InputError: if it fails, or gives something else: naming the judge, and the package that it is from.

    """
    with blamed(GROUP, verifier.name):
        given = verifier(pictures, landmarks)
        check_vectors(given, len(pictures))
    return given


def named(verifier: Verifier) -> str:
    """Name a judge and the package that it is from, where errors are about its features."""
    return f"the verifier {verifier.name!r}{origin(GROUP, verifier.name)}"


def check_vectors(given: Any, count: int) -> None:
    """Refuse what is no array of as many vectors of length 1; those of 0 and not finite ones are others' to refuse.

    Raises:
        Unfit: then.

    """
    wanted = f"must map n pictures to n unit vectors, finite floats (n, d), not {count} to"
    if not isinstance(given, np.ndarray):
        raise Unfit(f"{wanted} {type(given).__name__}")
    if given.dtype.kind != "f" or given.ndim != 2 or len(given) != count:
        raise Unfit(f"{wanted} {given.dtype} {given.shape}")
    length = np.linalg.norm(given.astype(np.float64), axis=1)
    wrong = np.isfinite(length) & (length > 0) & (np.abs(length - 1) > 1e-3)
    if wrong.any():
        raise Unfit(f"{wanted} vectors of length {length[wrong][0]:.3g}")
