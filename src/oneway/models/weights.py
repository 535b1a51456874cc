"""Weights in files that others wrote: safetensors, as their training left the names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from oneway.errors import InputError
from oneway.storage.inputs import regular

WRAPPERS = ("module.", "_orig_mod.")
"""What training on several devices, or compiled, puts before every name."""
COUNTER = "num_batches_tracked"
"""What batch normalisation keeps beside its weights and never reads with a fixed momentum; old files lack it."""
CONVERT = (
    'it is converted once, where it is trusted, by python -c "import torch, safetensors.torch as s; w = torch.load('
    "'{name}', weights_only=True, map_location='cpu'); s.save_file({{k: v.contiguous() for k, v in w.get('state_dict', "
    "w).items()}}, '{stem}.safetensors')\""
)
PICKLED = (".pth", ".pt", ".bin", ".ckpt", ".tar", ".pkl")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read weights by name, without what `DataParallel` or `torch.compile` puts before every one.

    Raises:
        InputError: if there is no such file, or it is none of safetensors; a pickle, which could run code, is never
            opened, and the message says how to convert it.

    """
    if not path.is_file():
        raise InputError(f"weights {str(path)!r} is not a file; give a safetensors file or 'imagenet'")
    try:
        state = load_file(regular(path))
    except Exception as error:  # safetensors raises its own untyped error
        way = f"; {CONVERT.format(name=path.name, stem=path.stem)}" if path.suffix.lower() in PICKLED else ""
        raise InputError(f"weights {str(path)!r} is not a safetensors file ({error}){way}") from error
    for wrapper in WRAPPERS * 2:
        if state and all(name.startswith(wrapper) for name in state):
            state = {name.removeprefix(wrapper): tensor for name, tensor in state.items()}
    return state


def load_weights(
    network: nn.Module, state: Mapping[str, Tensor], ours: Collection[str], weights: str, described: str
) -> None:
    """Give a network the weights of a file, all but those whose shape is ours to choose.

    Args:
        network: whose they become, in its own type of number.
        state: by name.
        ours: names that are left as they were drawn, whatever the file has: the last layer's.
        weights: what the file is called.
        described: the network, as an error calls it.

    Raises:
        InputError: naming the first weight that is missing, of another shape, unknown or not finite.

    """
    own = network.state_dict()
    wanted = [name for name in own if name not in ours]
    needed = [name for name in wanted if not name.endswith(COUNTER) or name in state]
    wrong = [name for name in needed if name not in state or state[name].shape != own[name].shape]
    wrong += [name for name in state if name not in own and name not in ours]
    if wrong:
        raise InputError(
            f"weights {weights!r} do not fit {described}: "
            f"{len(wrong)} of {len(wanted)} tensors are missing or of another shape or unknown, first {wrong[0]!r}"
        )
    for name in needed:
        if not bool(state[name].isfinite().all()):
            raise InputError(f"weights {weights!r}: {name} is not finite; give weights of a training that ended well")
    with torch.no_grad():
        for name in needed:
            own[name].copy_(state[name])
