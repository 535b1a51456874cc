"""Networks as ONNX files, which run without torch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from oneway.errors import InputError
from oneway.models.copying import copy_network

OPSET = 18
"""Of the operators that files are made of; onnxruntime, its build for browsers and mobile ones run them."""


def can_export() -> bool:
    """Say whether torch has what it exports by."""
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        return False
    return True


def check_exporter() -> None:
    """Refuse to export where torch cannot.

    Raises:
        InputError: naming the package that is missing.

    """
    if not can_export():
        raise InputError(
            "onnxscript, which torch exports by, is not installed; install oneway[export] as `oneway doctor` says"
        )


def write_onnx(
    network: nn.Module,
    example: Tensor,
    path: Path,
    taken: str,
    given: list[str],
    about: Mapping[str, str] | None = None,
) -> None:
    """Write a copy of a network as an ONNX file, with the number of pictures free and its weights in the file itself.

    Args:
        network: maps one tensor, (n, ...), to one or several.
        example: what it takes, (2, ...).
        path: the file.
        taken: name of the input.
        given: names of the outputs.
        about: what the file says of itself, by name.

    Raises:
        InputError: naming the layer that cannot be exported, or the package that is missing.

    """
    check_exporter()
    network = copy_network(network).eval().requires_grad_(False).to(example.device)
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # torch logs whole graphs; what fails is said below
    try:
        import onnx_ir
        from onnx_ir.passes.common import ClearMetadataAndDocStringPass

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            free = ({0: torch.export.Dim("n", min=1)},)
            program = torch.onnx.export(
                torch.export.export(network, (example,), dynamic_shapes=free, strict=False),
                (example,),
                input_names=[taken],
                output_names=given,
                dynamic_shapes=free,
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        assert program is not None  # as with dynamo
        # Without it, the file tells where on this machine every line of code lies, and what it says.
        cleared = ClearMetadataAndDocStringPass()(program.model).model
        cleared.metadata_props.update(about or {})
        onnx_ir.save(cleared, path)
    except Exception as error:  # the exporter raises whatever the network does, and its own errors
        raise InputError(
            f"{path.name} cannot be made: {_layer(network, example) or 'the network'} cannot be exported "
            f"({_reason(error)}); put a layer in its place that torch.onnx can, and train again"
        ) from error
    finally:
        logging.disable(before)


def _layer(network: nn.Module, example: Tensor) -> str | None:
    """Name the first innermost layer that cannot be exported by itself, by giving each what it is given."""
    taken: dict[str, tuple[object, ...]] = {}

    def note(name: str) -> object:
        return lambda _module, inputs: taken.setdefault(name, inputs)

    leaves = {name: module for name, module in network.named_modules() if name and not list(module.children())}
    hooks = [module.register_forward_pre_hook(note(name)) for name, module in leaves.items()]
    try:
        with torch.no_grad():
            network(example)
    except Exception:  # the network's own: the layer that it came to last is named
        last = next(reversed(taken), None)
        return None if last is None else f"what follows its layer {last} ({type(leaves[last]).__name__})"
    finally:
        for hook in hooks:
            hook.remove()
    for name, inputs in taken.items():
        try:
            torch.export.export(leaves[name], inputs)
        except Exception:  # as above
            return f"its layer {name} ({type(leaves[name]).__name__})"
    return None


def _reason(error: BaseException) -> str:
    """Give the first line of what went wrong at first."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
