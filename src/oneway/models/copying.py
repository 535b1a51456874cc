"""Copies of networks that users gave: what is done to a copy never changes the original, nor uses it."""

from __future__ import annotations

import copy
import inspect

from torch import Tensor, nn

from oneway.errors import InputError


def copy_network(module: nn.Module) -> nn.Module:
    """Copy a network that a user gave, so that nothing that is done to it here changes theirs.

    Raises:
        InputError: if it holds what cannot be copied, or the copy would go on using the original.

    """
    within = {id(each) for each in (*module.modules(), *module.parameters(), *module.buffers())}
    for name, part in module.named_modules():
        for hook in (*part._forward_hooks.values(), *part._forward_pre_hooks.values(), vars(part).get("forward")):
            held = inspect.getclosurevars(hook).nonlocals.values() if inspect.isfunction(hook) else ()
            if any(id(each) in within for each in held):
                raise InputError(
                    f"the function {hook.__qualname__!r} that is hooked to {name or type(module).__name__!r} holds on "
                    "to a part of the network, and would go on using it in a copy; use the module that a hook is "
                    "handed, or a method of the network"
                )
    # Such as the weight that an old weight_norm computes anew before each call; torch copies no tensor with a history.
    computed = [each for part in module.modules() for each in vars(part).values() if isinstance(each, Tensor)]
    try:
        return copy.deepcopy(module, {id(each): each.detach() for each in computed if not each.is_leaf})
    except Exception as error:  # whatever parts of a network raise that cannot be copied
        raise InputError(
            f"the network {type(module).__name__} cannot be copied ({error}); take out what it holds beside layers, "
            "weights and plain values (locks, files, tensors with a history)"
        ) from error
