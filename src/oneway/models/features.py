"""What attackers read: the features that an encoder gave, as numbers, none of them rounded, a row for each picture."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from oneway.errors import InputError, unknown

EXACT = (torch.float32, torch.float16, torch.bfloat16, torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16)
"""Types of number that float32 holds whatever the value."""


class Chosen(nn.Module):
    """A module that gives one of the several outputs of another, by place or name; see `chosen`."""

    def __init__(self, module: nn.Module, output: str) -> None:
        super().__init__()
        self.module, self.output = module, output

    def forward(self, pictures: Tensor) -> object:
        """Map pictures (n, 3, size, size) to the output."""
        return chosen(self.module(pictures), self.output)


def chosen(given: object, output: str) -> object:
    """Choose of what a module gives: of a tuple or list by place, of a dict by key, of an object by attribute.

    Args:
        given: what it gives.
        output: the place, key or name; where outputs lie in each other, one within the other with a dot between, as
            in `hidden_states.3`.

    Raises:
        InputError: if there is none, listing those that there are.

    """
    name, _, deeper = output.partition(".")
    known = outputs_of(given)
    if output in known:
        name, deeper = output, ""
    if name not in known:
        raise unknown("output", name, known)
    return chosen(known[name], deeper) if deeper else known[name]


def outputs_of(given: object) -> dict[str, object]:
    """Name the parts of an output: of a tuple by place (and name, where it has one), of a dict by key."""
    if isinstance(given, Mapping):
        return {str(key): value for key, value in given.items()}
    if isinstance(given, tuple | list):
        places = {str(place): value for place, value in enumerate(given)}
        return {name: getattr(given, name) for name in getattr(given, "_fields", ())} | places
    if isinstance(given, Tensor) or not hasattr(given, "__dict__"):
        return {}
    return {name: value for name, value in vars(given).items() if not name.startswith("_")}


def way_out(given: object) -> str:
    """Say how one of several outputs is chosen, if there are several; the way out of an error, up to `at another`."""
    known = ", ".join(outputs_of(given))
    return f"choose one of its outputs ({known}) with output = NAME, or cut" if known else "cut"


def numbers(given: object, count: int) -> Tensor:
    """Give an encoder's answer for `count` pictures as attackers read it: (count, ...) in float32, nothing rounded off.

    A batch of one whose dimension `squeeze()` took away has it back, and (count,) becomes (count, 1).

    Raises:
        InputError: for anything else than one dense tensor of real numbers, for numbers that float32 does not hold,
            where a secret could hide that no attacker reads, and for other than a row for each picture.

    """
    if not isinstance(given, Tensor):
        raise InputError(
            f"the encoder must return one tensor, not {type(given).__name__}; {way_out(given)} at another layer"
        )
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


def in_own_numbers(encoder: nn.Module) -> nn.Module:
    """Let an encoder whose weights are half or double precision take its pictures so; gives the same encoder."""
    kind = next((weight.dtype for weight in encoder.parameters() if weight.is_floating_point()), torch.float32)
    if kind != torch.float32:
        encoder.register_forward_pre_hook(lambda _, given: tuple(each.to(kind) for each in given))
    return encoder


def keep_batches(part: nn.Module) -> nn.Module:
    """Let a part of a network keep the dimension of a batch of one; gives the same part."""
    part.register_forward_hook(_as_batch)
    return part


def _as_numbers(_: nn.Module, pictures: tuple[Tensor, ...], given: object) -> Tensor:
    return numbers(given, len(pictures[0]))


def _as_batch(_: nn.Module, taken: tuple[Tensor, ...], given: object) -> object:
    return keep_batch(given, len(taken[0])) if isinstance(given, Tensor) else given
