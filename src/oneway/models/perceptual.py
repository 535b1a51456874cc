"""The perceptual network: frozen, trained on ImageNet, it says how alike two pictures look (eq. 3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import VGG16_Weights, vgg16

from oneway import losses
from oneway.errors import InputError
from oneway.models.library import arguments
from oneway.models.weights import COUNTER

VGG, TIMM = "vgg16", "timm:"
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VGG_LAYERS = {"relu1_2": 3, "relu2_2": 8, "relu3_3": 15, "relu4_3": 22, "relu5_3": 29}
"""The paper's conv1 to conv5: the last layer before each pooling, by its place in torchvision's `vgg16().features`."""


class Perceptual(nn.Module):
    """Map pictures to their features in several layers; weights are frozen, gradients reach the pictures.

    Args:
        network: maps normalised pictures to a list of features.
        name: of the network, for messages and provenance.
        mean: subtracted from each of the three colours in 0..1.
        deviation: by which they are divided then.

    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module, name: str, mean: Sequence[float], deviation: Sequence[float]) -> None:
        super().__init__()
        self.name = name
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(3, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Map pictures (n, 3, size, size) in 0..1 to features (n, channels, side, side), the finest first.

        Raises:
            InputError: if the pictures are too small (VGG-16 needs 16 pixels a side), or not of the network's size.

        """
        try:
            features: list[Tensor] = self.network((pictures - self.mean) / self.deviation)
        except (RuntimeError, ValueError, AssertionError) as error:
            raise InputError(
                f"the perceptual network {self.name} cannot take pictures of {' x '.join(map(str, pictures.shape[2:]))}"
                f" pixels ({str(error).splitlines()[0]}); use another, or larger pictures"
            ) from error
        return features


class Distance:
    """The distance of pictures in a perceptual network, `losses.perceptual`.

    Args:
        network: that sees.
        fabric: where it runs.

    """

    def __init__(self, network: Perceptual, fabric: Fabric) -> None:
        self._network, self._fabric = network.to(fabric.device), fabric
        self._units: Tensor | None = None

    def measure(self, pictures: Tensor, mean_picture: Tensor) -> None:
        """Take the distance of pictures (n, 3, size, size) from their mean as 1, in each layer.

        Activations of one network are a thousand times another's, and one layer's a thousand times the next's: so no
        layer drowns the others, a weight means the same with every network, and to draw nothing but the mean costs 1.

        Raises:
            InputError: if a layer does not tell them from it.

        """
        with torch.no_grad(), self._fabric.autocast():
            mean = self._network(mean_picture)
            # Some at a time: the activations of all would fill a GPU where pictures are large.
            distances = [losses.by_layer(self._network(some), mean) for some in torch.split(pictures, 32)]
        units = torch.cat(distances, dim=1).mean(dim=1)
        for layer, unit in enumerate(units.tolist(), 1):
            if not unit > 0:
                raise InputError(
                    f"layer {layer} of the perceptual network {self._network.name} sees no difference between these "
                    f"pictures and their mean ({unit:g}), so there is nothing to measure by; use another network"
                )
        self._units = units

    def __call__(self, reconstructed: Tensor, pictures: Tensor) -> Tensor:
        """Compare reconstructions (n, 3, size, size) in 0..1 with as many pictures, or with one: (n,)."""
        with self._fabric.autocast():
            with torch.no_grad():
                target = self._network(pictures)
            return losses.perceptual(self._network(reconstructed), target, self._units)


def open_perceptual(weights: str | Path) -> Perceptual:
    """Open a network to compare pictures with.

    Args:
        weights: `vgg16` (the paper's: ImageNet weights, which torchvision downloads), a safetensors file of
            torchvision's VGG-16, which may be written `vgg16:FILE`, or a backbone of timm and a safetensors file of its
            weights, as in `timm:resnet18:FILE`, where `timm:` may be left out; arguments of the backbone follow its
            name, as in `timm:mobilenetv1_100,pad_type=same,bn_eps=1e-3:FILE`. Pictures are normalised as timm says of
            the backbone. A file may lack the weights of the last layers: the layers before them are used.

    Raises:
        InputError: if there is no such file or backbone, or the weights do not fit it.

    """
    if str(weights) == VGG:
        try:
            network = vgg16(weights=VGG16_Weights.IMAGENET1K_V1)
        except OSError as error:
            raise InputError(
                f"the weights of {VGG} cannot be downloaded ({error}); give a safetensors file of them instead"
            ) from error
        return _vgg(network, VGG)
    backbone, colon, path = str(weights).removeprefix(TIMM).partition(":")
    if isinstance(weights, Path) or not colon or backbone == VGG or Path(weights).is_file():
        file = Path(path if backbone == VGG else weights)
        tensors = _read(file)
        with torch.device("meta"):  # most of its weights are a classifier's, not wanted here
            network = vgg16(init_weights=False)
        network.features.to_empty(device="cpu")
        if missing := [name for name in network.features.state_dict() if f"features.{name}" not in tensors]:
            raise InputError(
                f"{weights} lacks features.{missing[0]}, so it is no VGG-16 of torchvision's; "
                f"for another network put its name in timm before it, as in timm:resnet18:{file}"
            )
        _load(network.features, {name.removeprefix("features."): tensor for name, tensor in tensors.items()}, weights)
        return _vgg(network, f"{VGG}:{file.name}")
    name, *options = backbone.split(",")
    return _timm(name, options, Path(path))


def _vgg(network: Any, name: str) -> Perceptual:
    return Perceptual(_Vgg(network.features), name, IMAGENET_MEAN, IMAGENET_DEVIATION)


class _Vgg(nn.Module):
    """Gives what comes out of the layers of `VGG_LAYERS`, each followed by a pooling that leaves it as it is."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        places = list(VGG_LAYERS.values())
        starts = [0, *(place + 1 for place in places)]
        self.stages = nn.ModuleList(layers[start : place + 1] for start, place in zip(starts, places, strict=False))

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


def _timm(name: str, options: list[str], path: Path) -> Perceptual:
    import timm  # takes a second, which the command line need not wait for

    tensors = {_flat(key): tensor for key, tensor in _read(path).items()}
    if not timm.is_model(name):
        raise InputError(f"timm knows no backbone {name!r}; timm.list_models() lists those it knows")
    given: Any = arguments(options)
    try:
        network: Any = timm.create_model(name, features_only=True, **given)
        layers = _usable(network, tensors)
        if layers:
            network = timm.create_model(name, features_only=True, out_indices=layers, **given)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise InputError(
            f"the timm backbone {name!r} cannot be made with {given or 'features_only'} ({error}); choose another"
        ) from error
    own = {key: tensors[_flat(key)] for key in network.state_dict() if _flat(key) in tensors}
    if not layers:
        lacking = next(key for key in network.state_dict() if key not in own)
        raise InputError(
            f"{path} lacks {lacking}, with which timm's {name} begins; name the convolutional backbone that it is of"
        )
    _load(network, own, path)
    for key, tensor in network.state_dict().items():
        if key not in own:
            tensor.zero_()  # of layers after those that are used; drawn at random, no two openings would be one network
    settings = network.pretrained_cfg
    return Perceptual(network, f"{name}:{path.name}", settings["mean"], settings["std"])


def _usable(network: Any, tensors: dict[str, Tensor]) -> list[int]:
    """Say which of timm's feature layers come before the first module whose weights are missing."""
    places = {name: place for place, (name, _) in enumerate(network.named_modules())}
    missing = [
        places[key.rpartition(".")[0]]
        for key in network.state_dict()
        if _flat(key) not in tensors and not key.endswith(COUNTER)
    ]
    first = min(missing, default=len(places))
    ends = [
        max(
            (place for name, place in places.items() if f"{_flat(name)}_".startswith(f"{_flat(layer)}_")), default=first
        )
        for layer in network.feature_info.module_name()
    ]
    return [index for index, end in zip(network.feature_info.out_indices, ends, strict=True) if end < first]


def _flat(name: str) -> str:
    """Name a weight as timm does where it has flattened the modules around it."""
    return name.replace(".", "_")


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(
            f"the perceptual weights {str(path)!r} are not a file; give vgg16, a safetensors file of VGG-16, or "
            "BACKBONE:FILE for one of timm's"
        )
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except Exception as error:  # safetensors raises its own untyped error
        raise InputError(f"the perceptual weights {str(path)!r} are not a safetensors file ({error})") from error
    return tensors


def _load(network: nn.Module, tensors: dict[str, Tensor], path: str | Path) -> None:
    try:
        network.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise InputError(f"the perceptual weights {str(path)!r} do not fit ({reason}); name their backbone") from error
