"""What tells one module from any other: a hash of all that decides what it does, the same in every process."""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import numpy as np
import torch.fx
from torch import Tensor, nn

DEEPEST = 6
"""Values within values that are looked into, so that what holds itself has an end."""
PLACES = re.compile(r" at 0x[0-9a-f]+|, device=[a-z]+(:\d+)?|\.___torch_mangle_\d+| # .*")
"""What differs between two processes in the text of one graph: where it lies, its number, the line it was made of."""


def fingerprint(module: nn.Module) -> str:
    """Give a sha256 over a module as it is used: what would make it answer otherwise, as far as that can be seen.

    That is of every part its class, weights and buffers, saved with it or not; its attributes but private ones:
    numbers, words, tensors, functions, and what holds these; the functions that are hooked to it; and its graph, where
    it was traced. Of any other object that it holds the class counts, and of a word that names a place nothing does.
    """
    digest = hashlib.sha256()

    def add(*told: str) -> None:
        digest.update("\0".join(told).encode(errors="surrogateescape") + b"\n")

    seen = set()
    for name, part in module.named_modules(remove_duplicate=False):
        add(name, type(part).__qualname__)
        for each, value in _held(part):
            seen.add(f"{name}.{each}".lstrip("."))
            add(name, each, _said(value))
    for name, value in module.state_dict().items():  # what is packed, and is no tensor of its own
        if name not in seen:
            add(name, _said(value))
    return digest.hexdigest()


def _held(part: nn.Module) -> list[tuple[str, object]]:
    """Give everything that a part holds itself, by name."""
    held: dict[str, object] = {name: value for name, value in vars(part).items() if not name.startswith("_")}
    graph: list[tuple[str, object]] = []
    if isinstance(part, torch.jit.ScriptModule):
        # What TorchScript holds is in no attribute of Python.
        kept: Any = torch._C.ConcreteModuleType.from_jit_type(part._c._type())
        held = dict(kept.get_constants()) | {name: getattr(part, name) for name in kept.get_attributes()}
        if hasattr(part, "inlined_graph"):
            constants = part.code_with_constants[1].const_mapping
            graph = [("graph", _anywhere(str(part.inlined_graph))), ("constants", constants)]
    elif isinstance(part, torch.fx.GraphModule):
        held, graph = {"training": part.training}, [("graph", _anywhere(part.code))]
    held |= dict(part.named_parameters(recurse=False)) | dict(part.named_buffers(recurse=False))
    hooks = [*part._forward_pre_hooks.values(), *part._forward_hooks.values()]
    return [*sorted(held.items()), *graph, ("hooks", hooks)]


def _anywhere(graph: str) -> bytes:
    return PLACES.sub("", graph).encode()


def _said(value: object, depth: int = 0) -> str:
    """Say a value in words that are the same in every process; of what has none, its class."""
    inside = functools.partial(_said, depth=depth + 1)
    kind = type(value).__qualname__
    if depth > DEEPEST or (isinstance(value, str) and ("/" in value or "\\" in value)):
        return kind
    if isinstance(value, Enum):
        return f"{kind}.{value.name}"
    if isinstance(value, np.ndarray | np.generic):
        return kind if value.dtype.hasobject else f"{value.dtype} {value.shape} {_hash(value.tobytes())}"
    if isinstance(value, Tensor):
        return _numbers(value)
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | torch.dtype):
        return repr(value)
    if isinstance(value, tuple | list):
        return f"({', '.join(map(inside, value))})"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(inside, value)))}}}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(sorted(f'{inside(key)}: {inside(each)}' for key, each in value.items()))}}}"
    if isinstance(value, functools.partial):
        return f"partial {inside((value.func, value.args, value.keywords))}"
    return _function(value, inside) if callable(value) else kind


def _numbers(tensor: Tensor) -> str:
    if tensor.is_nested or tensor.is_meta:
        return type(tensor).__qualname__
    plain = tensor.detach().cpu()
    plain = plain.dequantize() if plain.is_quantized else plain.to_dense() if plain.layout != torch.strided else plain
    flat = plain.resolve_conj().resolve_neg().contiguous().flatten()
    return f"{tensor.dtype} {tuple(tensor.shape)} {_hash(flat.view(torch.uint8).numpy().data)}"


def _function(function: Any, inside: Callable[[object], str]) -> str:
    """Say a function: of one that was written in Python, what it does with which values."""
    name = str(getattr(function, "__qualname__", type(function).__qualname__))
    function = getattr(function, "__func__", function)
    if not inspect.isfunction(function):
        return name
    code, around = function.__code__, inspect.getclosurevars(function).nonlocals
    return f"{name} {inside((code.co_code, code.co_names, code.co_consts, function.__defaults__, around))}"


def _hash(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()
