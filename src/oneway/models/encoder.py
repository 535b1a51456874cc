"""Encoders: torchvision's ResNets at any width, cut at a named layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file
from torch import nn
from torchvision.models import ResNet, get_model_weights
from torchvision.models.resnet import BasicBlock, Bottleneck

from oneway.config import Count, NotNegative, Positive, Whole, checked
from oneway.errors import InputError, unknown
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
        backbone: `resnet18`, `resnet34` or `resnet50`, as in torchvision.
        cut: the layer after which the features leave the device: `conv1`, `layer1`, `layer2`, `layer3` (the
            paper's Conv1 to Conv4), `layer4`, `avgpool` or `fc`.
        width: factor on every layer's number of channels; 1 is torchvision's network.
        stem: `full`, as in torchvision, which divides the side by four; `small` leaves out the max pooling, as usual
            for pictures of less than about 100 pixels, and divides it by two.
        norm: `batch`, or `group` (no statistics over the batch: the same on any number of processes).
        feature_width: outputs of the layer `fc`.
        weights: nothing, `imagenet` (downloaded by torchvision), or a safetensors file of torchvision's names.
        bottleneck: numbers to which the features at the cut are brought down before they are sent, see
            `models.bottleneck`; 0 leaves their shape.
        noise: standard deviation of Gaussian noise on what is sent, which is normalised to mean square 1 first, see
            `models.noise`; 0 leaves it as it is.

    """

    backbone: Literal["resnet18", "resnet34", "resnet50"] = "resnet18"
    cut: str = "fc"
    width: Positive = 0.25
    stem: Literal["full", "small"] = "small"
    norm: Literal["batch", "group"] = "batch"
    feature_width: Count = 128
    weights: str | None = None
    bottleneck: Whole = 128
    noise: NotNegative = 0.3


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
        InputError: for an unknown cut, a size too small for the cut, or weights that do not fit.

    """
    if config.cut not in CUTS:
        raise unknown("cut", config.cut, CUTS)
    smallest = CUTS[config.cut] if config.stem == "full" or config.cut == "conv1" else CUTS[config.cut] // 2
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
    if config.weights is not None:
        _load(network, config)
    return network


def _check_memory(config: EncoderConfig, make: Callable[[], nn.Module]) -> None:
    """Refuse a network that the memory does not hold, as one of another's configuration may be."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            num_weights = float(sum(weight.numel() for weight in make().parameters()))
    except (TypeError, RuntimeError, OverflowError):  # more than a tensor can have
        num_weights = math.inf
    what = f"the weights of width {config.width:g} and feature_width {config.feature_width}"
    check_memory(4 * num_weights, what, "make it narrower")


def _load(network: nn.Module, config: EncoderConfig) -> None:
    """Load every weight but the last layer's, whose width is ours."""
    if config.weights == "imagenet":
        state = get_model_weights(config.backbone).DEFAULT.get_state_dict(progress=True, check_hash=True)
    else:
        path = Path(str(config.weights))
        if not path.is_file():
            raise InputError(f"weights {str(path)!r} is not a file; give a safetensors file or 'imagenet'")
        try:
            state = load_file(path)
        except Exception as error:  # safetensors raises its own untyped error
            raise InputError(f"weights {str(path)!r} is not a safetensors file ({error})") from error
    own = network.state_dict()
    wanted = [name for name in own if not name.startswith("fc.")]
    wrong = [name for name in wanted if name not in state or state[name].shape != own[name].shape]
    wrong += [name for name in state if name not in own and not name.startswith("fc.")]
    if wrong:
        raise InputError(
            f"weights {config.weights!r} do not fit {config.backbone} of width {config.width} and {config.norm} norm: "
            f"{len(wrong)} of {len(wanted)} tensors are missing or of another shape or unknown, first {wrong[0]!r}"
        )
    with torch.no_grad():
        for name in wanted:
            own[name].copy_(state[name])
