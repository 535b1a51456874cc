"""What attackers read: the features that an encoder gave, as numbers, none of them rounded, a row for each picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from oneway.errors import InputError

EXACT = (torch.float32, torch.float16, torch.bfloat16, torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16)
"""Types of number that float32 holds whatever the value."""


def numbers(given: object, count: int) -> Tensor:
    """Give an encoder's answer for `count` pictures as attackers read it: (count, ...) in float32, nothing rounded off.

    A batch of one whose dimension `squeeze()` took away has it back, and (count,) becomes (count, 1).

    Raises:
        InputError: for anything else than one dense tensor of real numbers, for numbers that float32 does not hold,
            where a secret could hide that no attacker reads, and for other than a row for each picture.

    """
    if not isinstance(given, Tensor):
        raise InputError(f"the encoder must return one tensor, not {type(given).__name__}; cut at another layer")
    if given.layout != torch.strided or given.is_nested or given.is_quantized:
        raise InputError(
            "the encoder's features must be one dense tensor, neither sparse, nested nor quantised; let it return "
            "features.to_dense() or features.dequantize()"
        )
    if given.is_complex():
        raise InputError(
            f"the encoder's features must be real numbers, not {given.dtype}, of which attackers would read one part; "
            "let it return torch.view_as_real(features), so that both are attacked"
        )
    rows = keep_batch(given, count)
    if rows.dim() == 1:
        rows = rows[:, None]
    if len(rows) != count:
        raise InputError(
            f"the encoder gives features of shape {tuple(given.shape)} for {count} pictures; it must give a row for "
            "each picture, with the batch first"
        )
    read = rows.float()
    if rows.dtype not in EXACT and not bool(((read.to(rows.dtype) == rows) | rows.isnan()).all()):
        raise InputError(
            f"the encoder's features are {rows.dtype} and hold more than float32 does, in which attackers read them; "
            "let it send no more: features.float(), or whole numbers as several smaller ones"
        )
    return read


def keep_batch(given: Tensor, count: int) -> Tensor:
    """Give a batch of one the dimension back that `squeeze()` took away."""
    return given[None] if count == 1 and (given.dim() == 0 or len(given) != 1) else given


def read_as_numbers(encoder: nn.Module) -> nn.Module:
    """Let an encoder give its features as `numbers` does; gives the same encoder."""
    encoder.register_forward_hook(_as_numbers)
    return encoder


def keep_batches(part: nn.Module) -> nn.Module:
    """Let a part of a network keep the dimension of a batch of one; gives the same part."""
    part.register_forward_hook(_as_batch)
    return part


def _as_numbers(_: nn.Module, pictures: tuple[Tensor, ...], given: object) -> Tensor:
    return numbers(given, len(pictures[0]))


def _as_batch(_: nn.Module, taken: tuple[Tensor, ...], given: object) -> object:
    return keep_batch(given, len(taken[0])) if isinstance(given, Tensor) else given
