"""Attackers who know nothing of the features: what any attack must beat before its score means anything."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]


def nearest_by_output(outputs: Bools, public_outputs: Bools, *, seed: int = 0) -> NDArray[np.int64]:
    """Find for each victim a public picture to which the service gives the most equal labels.

    The attacker sees only what the task itself gives away: the predicted attributes.

    Args:
        outputs: the victims' predicted attributes, (n, num_attributes).
        public_outputs: those of the public pictures, (m, num_attributes).
        seed: of the choice among equally near ones.

    Returns:
        (n,) indices into the public pictures.

    """
    order = np.random.default_rng(seed).permutation(len(public_outputs))
    signs, public_signs = (2.0 * bits.astype(np.float32) - 1 for bits in (outputs, public_outputs[order]))
    chosen = [(signs[start : start + 256] @ public_signs.T).argmax(axis=1) for start in range(0, len(signs), 256)]
    nearest: NDArray[np.int64] = order[np.concatenate(chosen)]
    return nearest
