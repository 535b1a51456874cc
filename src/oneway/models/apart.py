"""The two parts of a network share no memory: what either writes over is never what others read."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def copied(value: Any) -> Any:
    """Give a tensor in memory of its own, with the same gradients; anything else as it is."""
    return value.clone() if isinstance(value, Tensor) else value


class Asked(nn.Module):
    """Calls a module with pictures alone: its hooks run, and its other arguments have their defaults."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, pictures: Tensor) -> Any:
        """Map pictures (n, 3, size, size) to what the module gives."""
        return self.module(pictures)


def set_apart(module: nn.Module) -> nn.Module:
    """Let a module work on copies of its pictures and give copies of its answers, and give the module itself.

    TorchScript takes no hooks, so it is given within a module that does.
    """
    module = Asked(module) if isinstance(module, torch.jit.ScriptModule) else module
    if _copy_given not in module._forward_pre_hooks.values():
        module.register_forward_pre_hook(_copy_given)
        module.register_forward_hook(_copy_answer)
    return module


def _copy_given(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(map(copied, given))


def _copy_answer(_: nn.Module, __: tuple[Any, ...], answer: Any) -> Any:
    return copied(answer)
