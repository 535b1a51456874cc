"""The two parts of a network share no memory: what either writes over is never what others read."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def copied(value: Any) -> Any:
    """Give a tensor in memory of its own, with the same gradients; anything else as it is."""
    return value.clone() if isinstance(value, Tensor) else value


def set_apart(module: nn.Module) -> nn.Module:
    """Let a module work on copies of its pictures and give copies of its answers, and give the module itself."""
    if _copy_given not in module._forward_pre_hooks.values():
        module.register_forward_pre_hook(_copy_given)
        module.register_forward_hook(_copy_answer)
    return module


def _copy_given(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(map(copied, given))


def _copy_answer(_: nn.Module, __: tuple[Any, ...], answer: Any) -> Any:
    return copied(answer)
