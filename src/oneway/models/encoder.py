"""Encoders: torchvision's ResNets at any width, or any network of torchvision or timm, cut at a named layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock, Bottleneck

from oneway.config import Count, NotNegative, Positive, Whole, checked
from oneway.errors import InputError, unknown
from oneway.models import library
from oneway.models.copying import copy_network
from oneway.models.features import keep_batches
from oneway.models.inputs import InputConfig, prepared
from oneway.models.split import WHOLE, features_shape, split
from oneway.models.weights import load_weights, read_weights
from oneway.storage.inputs import check_memory

BACKBONES: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}
CUTS = {"conv1": 2, "layer1": 4, "layer2": 8, "layer3": 16, "layer4": 32, "avgpool": 32, "fc": 32}
"""The named cuts, each with the pixels of a picture's side for one position of its features (with the full stem)."""
LARGE = 4096
"""Outputs above which a network is held to the memory before it is made, as one wider than torchvision's is."""


@checked
@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """The network whose first part becomes the encoder.

    Attributes:
        backbone: `resnet18`, `resnet34` or `resnet50`, torchvision's at any width; or any network of a library,
            `torchvision:NAME` or `timm:NAME`, and its options, as in `timm:vit_tiny_patch16_224,img_size=64`.
        cut: the layer after which the features leave the device: of a ResNet `conv1`, `layer1`, `layer2`, `layer3` (the
            paper's Conv1 to Conv4), `layer4`, `avgpool` or `fc`; of any network the name of any layer, or `output` for
            all of it.
        output: which of several outputs holds the features, where the layer gives a tuple or a dict: its place or its
            name.
        width: factor on every layer's number of channels of a ResNet; 1 is torchvision's network.
        stem: of a ResNet: `full`, as in torchvision, which divides the side by four; `small` leaves out the max
            pooling, as usual for pictures of less than about 100 pixels, and divides it by two.
        norm: of a ResNet: `batch`, or `group` (no statistics over the batch: the
            same on any number of processes).
        feature_width: outputs of the last layer, a ResNet's `fc`.
        weights: nothing, `imagenet` (downloaded by the library), or a safetensors file of the library's names. The
            last layer's are left as they were drawn.
        input: what is done to the pictures first.
        bottleneck: numbers to which the features at the cut are brought down before they are sent, see
            `models.bottleneck`; 0 leaves their shape.
        noise: standard deviation of Gaussian noise on what is sent, which is normalised to mean square 1 first, see
            `models.noise`; 0 leaves it as it is.

    """

    backbone: str = "resnet18"
    cut: str = "layer2"
    output: str | None = None
    width: Positive = 0.25
    stem: Literal["full", "small"] = "small"
    norm: Literal["batch", "group"] = "batch"
    feature_width: Count = 128
    weights: str | None = None
    input: InputConfig = field(default_factory=InputConfig)
    bottleneck: Whole = 128
    noise: NotNegative = 1.5

    def __post_init__(self) -> None:
        if ":" in self.backbone:
            library.parts_of(self.backbone)
            if self.width not in (EncoderConfig.width, 1.0):
                raise InputError(
                    f"width is of {', '.join(BACKBONES)} alone, and {self.backbone} has its own: leave out width = "
                    f"{self.width:g}, and choose another of the library's names or options"
                )
        elif self.backbone not in BACKBONES:
            libraries = [f"{name}:NAME" for name in library.LIBRARIES]
            raise unknown("backbone =", self.backbone, [*BACKBONES, *libraries])


class WidthResNet(ResNet):
    """torchvision's ResNet with every number of channels multiplied by `width`; at 1 it is the same network."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: tuple[int, int, int, int],
        *,
        width: float,
        stem: Literal["full", "small"],
        outputs: int,
        norm_layer: Callable[[int], nn.Module],
    ) -> None:
        first, *planes = (max(8, round(channels * width / 8) * 8) for channels in (64, 64, 128, 256, 512))
        nn.Module.__init__(self)
        self._norm_layer = norm_layer
        self.inplanes, self.dilation, self.groups, self.base_width = first, 1, 1, 64
        self.conv1 = nn.Conv2d(3, first, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = norm_layer(first)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1) if stem == "full" else nn.Identity()
        self.layer1 = self._make_layer(block, planes[0], layers[0])
        self.layer2 = self._make_layer(block, planes[1], layers[1], stride=2)
        self.layer3 = self._make_layer(block, planes[2], layers[2], stride=2)
        self.layer4 = self._make_layer(block, planes[3], layers[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(planes[3] * block.expansion, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def group_norm(channels: int) -> nn.Module:
    """Normalise over groups of 8 channels of each picture: nothing depends on the batch."""
    return nn.GroupNorm(max(1, channels // 8), channels)


NORMS: dict[str, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm2d, "group": group_norm}


def backbone(config: EncoderConfig, size: int) -> nn.Module:
    """Build the whole network of `config` for pictures of `size` pixels a side; `split` cuts it.

    Raises:
        InputError: for an unknown network or cut, a size too small for the cut, or weights that do not fit.

    """
    if ":" in config.backbone:
        return _of_library(config)
    layer = config.cut.partition(".")[0]
    smallest = CUTS.get(layer, 1) if config.stem == "full" or layer == "conv1" else CUTS.get(layer, 2) // 2
    if size < smallest:
        raise InputError(
            f"pictures of {size} pixels are too small for the cut {config.cut!r}, whose features have one position "
            f"for {smallest} pixels a side; use an earlier cut or pictures of {smallest} pixels or more"
        )
    block, layers = BACKBONES[config.backbone]
    make = partial(
        WidthResNet,
        block,
        layers,
        width=config.width,
        stem=config.stem,
        outputs=config.feature_width,
        norm_layer=NORMS[config.norm],
    )
    if config.width > 1 or config.feature_width > LARGE:
        _check_memory(config, make)
    network = make()
    if config.cut != WHOLE and config.cut not in dict(network.named_modules()):
        raise unknown("cut", config.cut, CUTS)
    if config.weights is not None:
        ours = {name for name in network.state_dict() if name.startswith("fc.")}
        _load(network, config, f"torchvision:{config.backbone}", ours)
    return network


def halves(config: EncoderConfig, size: int, network: nn.Module | None = None) -> tuple[nn.Module, nn.Module]:
    """Cut a network in two: the encoder, which makes its pictures ready itself, and the rest.

    Args:
        config: decides the network, its cut, and what is done to its pictures.
        size: pixels a side of the pictures.
        network: any module in place of the configured backbone; it is copied, and computes in single precision.

    Raises:
        InputError: if the network cannot be made or cut, or cannot take such pictures.

    """
    named = network is None and ":" in config.backbone
    whole = backbone(config, size) if network is None else copy_network(network).float()
    encoder, rest = (keep_batches(part) for part in split(whole, config.cut, config.output))
    encoder = prepared(encoder, config.input.over(library.own_input(config.backbone)) if named else config.input)
    try:
        features_shape(encoder, size)
    except InputError as error:
        if not named or (trained := library.trained_size(config.backbone)) in (size, config.input.size):
            raise
        raise InputError(
            f"{error}; or set network.input.size={trained}, which the weights of {config.backbone} were trained on"
        ) from error
    return encoder, rest


def _of_library(config: EncoderConfig) -> nn.Module:
    """Make a network of a library."""
    network = library.make(config.backbone, config.feature_width)
    if config.weights is not None:
        _load(network, config, config.backbone, library.last_layer(config.backbone, config.feature_width))
    return network


def _load(network: nn.Module, config: EncoderConfig, named: str, ours: set[str]) -> None:
    """Load every weight but the last layer's, whose width is ours."""
    weights = str(config.weights)
    state = library.downloaded(named) if weights == "imagenet" else read_weights(Path(weights))
    described = (
        config.backbone
        if ":" in config.backbone
        else (f"{config.backbone} of width {config.width} and {config.norm} norm")
    )
    load_weights(network, state, ours, weights, described)


def _check_memory(config: EncoderConfig, make: Callable[[], nn.Module]) -> None:
    """Refuse a network that the memory does not hold, as one of another's configuration may be."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            num_weights = float(sum(weight.numel() for weight in make().parameters()))
    except (TypeError, RuntimeError, OverflowError):  # more than a tensor can have
        num_weights = math.inf
    what = f"the weights of width {config.width:g} and feature_width {config.feature_width}"
    check_memory(4 * num_weights, what, "make it narrower")
