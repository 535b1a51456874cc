"""What every step of a training reads, kept in a GPU's memory where there is room, so that no step waits for a copy."""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oneway.data.packed import Part

SHARE = 0.25
"""Share of a GPU's free memory that one array may take."""
_PIECE = 1024
_held: WeakKeyDictionary[Part, dict[torch.device, Tensor | None]] = WeakKeyDictionary()


def room(device: torch.device) -> int:
    """Give the most bytes that one array may take on a device; none where memory is the processor's own."""
    return int(SHARE * torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else 0


def copied(count: int, read: Callable[[slice], NDArray[np.generic]], device: torch.device) -> Tensor | None:
    """Copy `count` rows to a device, piece by piece; nothing where it has no room for them."""
    most = room(device)
    if not most:
        return None
    first = read(slice(0, min(count, _PIECE)))
    if first.nbytes / max(len(first), 1) * count > most:
        return None
    pieces = [read(slice(start, min(start + _PIECE, count))) for start in range(_PIECE, count, _PIECE)]
    return torch.cat([torch.from_numpy(piece).to(device) for piece in [first, *pieces]])


def pixels(part: Part, device: torch.device) -> Tensor | None:
    """Give the bytes of every picture of a part, (len, size, size, 3), where they lie on the device."""
    held = _held.setdefault(part, {})
    if device not in held:
        held[device] = copied(len(part), part.images, device)
    return held[device]


def rows_of(index: NDArray[np.int64] | slice, count: int, device: torch.device) -> Tensor:
    """Give places of an array on its device: (k,)."""
    chosen = np.arange(count)[index] if isinstance(index, slice) else index
    return torch.from_numpy(chosen).to(device, non_blocking=True)
