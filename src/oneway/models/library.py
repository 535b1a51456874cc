"""Networks of torchvision and timm by name, with what they say themselves of the pictures that they take."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from oneway.errors import InputError, unknown
from oneway.models.inputs import InputConfig

LIBRARIES = ("torchvision", "timm")
REFUSED = ("pretrained", "weights", "checkpoint", "cfg", "cache", "num_classes", "features_only", "out_indices")
"""Options, or parts of their names, by which a network would be loaded from elsewhere, or become another's shape."""


def parts_of(backbone: str) -> tuple[str, str, list[str]]:
    """Take `timm:NAME,option=value` apart into library, name and options.

    Raises:
        InputError: for another library.

    """
    library, _, named = backbone.partition(":")
    if library not in LIBRARIES:
        raise unknown("backbone: library", library, LIBRARIES)
    name, *options = named.split(",")
    return library, name, options


def arguments(options: Sequence[str]) -> dict[str, object]:
    """Read options of a network, NAME=VALUE, each value as Python's literal or as text.

    Raises:
        InputError: for what is no pair, or would load weights, which are given apart and never unpickled.

    """
    given: dict[str, object] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise InputError(f"an option of a network is NAME=VALUE, not {option!r}")
        if any(part in key for part in REFUSED):
            raise InputError(
                f"the option {key!r} cannot be given to a network; its weights have a setting of their own"
            )
        try:
            given[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            given[key] = value
    return given


def make(backbone: str, outputs: int) -> nn.Module:
    """Make a network with random weights, its last layer `outputs` wide.

    Raises:
        InputError: if the library knows no such network, or it cannot be made with these options.

    """
    library, name, options = parts_of(backbone)
    given = arguments(options)
    try:
        return _maker(library, name)(num_classes=outputs, **given)
    except InputError:
        raise
    except Exception as error:  # whatever the library's own code raises at options that it does not know
        raise InputError(
            f"the {library} network {name!r} cannot be made with {given or 'its defaults'} ({error}); choose another"
        ) from error


def last_layer(backbone: str, outputs: int) -> set[str]:
    """Name the weights whose shape depends on the number of outputs: those no file of weights can give."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        ours, other = (make(backbone, number).state_dict() for number in (outputs, outputs + 1))
    return {name for name, weight in ours.items() if weight.shape != other[name].shape}


def downloaded(backbone: str) -> dict[str, Tensor]:
    """Download the weights that the library has for a network.

    Raises:
        InputError: if it has none, or they cannot be had.

    """
    library, name, options = parts_of(backbone)
    try:
        if library == "torchvision":
            weights: Any = torchvision.models.get_model_weights(name)
            state: dict[str, Tensor] = weights.DEFAULT.get_state_dict(progress=True, check_hash=True)
            return state
        import timm  # takes a second, which the command line need not wait for

        given: Any = arguments(options)
        network: nn.Module = timm.create_model(name, pretrained=True, **given)
        return network.state_dict()
    except InputError:
        raise
    except Exception as error:  # what the network, the hub or the file system raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"the weights of {backbone} cannot be downloaded ({reason}); give a safetensors file of them as weights"
        ) from error


def own_input(backbone: str) -> InputConfig:
    """Say what a network's weights were trained to take; its size is not among it, since most take any."""
    library, name, _ = parts_of(backbone)
    if library == "torchvision":
        weights: Any = torchvision.models.get_model_weights(name)
        said: Any = weights.DEFAULT.transforms()
        mean, deviation, interpolation = said.mean, said.std, said.interpolation.value
    else:
        import timm

        settings: Any = timm.get_pretrained_cfg(name)
        mean, deviation, interpolation = settings.mean, settings.std, settings.interpolation
    known: Any = interpolation if interpolation in ("nearest", "bilinear", "bicubic") else "bilinear"
    return InputConfig(mean=tuple(map(float, mean)), deviation=tuple(map(float, deviation)), interpolation=known)


def trained_size(backbone: str) -> int:
    """Say of how many pixels a side the pictures were that a network's weights were trained on."""
    library, name, _ = parts_of(backbone)
    if library == "torchvision":
        weights: Any = torchvision.models.get_model_weights(name)
        return int(weights.DEFAULT.transforms().crop_size[0])
    import timm

    settings: Any = timm.get_pretrained_cfg(name)
    return int(settings.input_size[-1])


def _maker(library: str, name: str) -> Callable[..., nn.Module]:
    if library == "torchvision":
        known = torchvision.models.list_models(module=torchvision.models)
        if name not in known:
            raise unknown("torchvision network", name, known)
        return partial(torchvision.models.get_model, name, weights=None)
    import timm

    if not timm.is_model(name):
        raise unknown("timm network", name, timm.list_models())
    return partial(timm.create_model, name)
