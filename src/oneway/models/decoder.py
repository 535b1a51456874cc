"""The decoder: the mirror of an encoder, from features back to a picture, and the parts of other decoders."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from oneway.models.grid import is_map, laid_out
from oneway.models.scale import Whiten
from oneway.models.split import features_shape


@dataclass(frozen=True)
class Stage:
    """What an encoder does at one resolution: `side` positions a side, `channels` wide, `convolutions` deep."""

    side: int
    channels: int
    convolutions: int


def stages_of(encoder: nn.Module, size: int) -> list[Stage]:
    """Read off an encoder, for pictures of `size` pixels a side, its resolutions from the coarsest to the finest.

    Counted are spatial convolutions (kernel larger than 1), whatever the module. Resolutions finer than a quarter of
    the picture's side are left to the last sub-pixel convolution, which draws as well there in a fraction of the
    time. Where two resolutions lie more than a factor of two apart, stages are put between them; an encoder without
    spatial convolutions is given the stages of its features' shape.
    """
    found: dict[int, tuple[int, int]] = {}

    def note(module: nn.Module, _: object, output: Tensor) -> None:
        if isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1:
            channels, count = found.get(output.shape[-1], (0, 0))
            found[output.shape[-1]] = (max(channels, module.out_channels), count + 1)

    hooks = [module.register_forward_hook(note) for module in encoder.modules()]
    shape = features_shape(encoder, size)
    for hook in hooks:
        hook.remove()
    if not found:
        return stages_of_shape(shape, size)
    sides = sorted(found)
    sides = sides[:1] + [side for side in sides[1:] if side <= size // 4]
    stages: list[Stage] = []
    for side, finer in zip(sides, [*sides[1:], -(-size // 2)], strict=True):
        stages += _pyramid(Stage(side, *found[side]), finer)
    return stages


def stages_of_shape(features: tuple[int, ...], size: int) -> list[Stage]:
    """Guess the resolutions of an encoder that is known by its features alone: a black box, or a dump.

    A map begins at its own side with its own channels, at least 32; anything else begins at a sixteenth of the
    picture's side with 128. From there to a quarter of the picture's side the side doubles and the channels halve,
    with four convolutions each. No stage is so wide that it takes longer than 64 channels do at a quarter of the side.

    Args:
        features: shape of one picture's features.
        size: pixels a side of the picture.

    """
    _, features = laid_out(features)
    side, channels = (features[-1], max(32, features[0])) if is_map(features) else (max(2, size // 16), 128)
    most = max(16, min(256, 16 * size // side))
    return _pyramid(Stage(side, min(channels, most), 4), -(-size // 2))


def between(side: int, finer: int) -> list[int]:
    """Give the sides between two resolutions, as an encoder that halves them (rounding up) would pass them."""
    sides: list[int] = []
    while (finer := -(-finer // 2)) > side:
        sides.insert(0, finer)
    return sides


def _pyramid(first: Stage, finer: int) -> list[Stage]:
    """Put stages between the first and the next resolution, `finer`, so that no two lie further than a halving."""
    stages = [first]
    for side in between(first.side, finer):
        stages.append(Stage(side, max(16, stages[-1].channels // 2), 4))
    return stages


class Residual(nn.Module):
    """Two convolutions beside a skip connection, each normalised within the picture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        groups = max(1, channels // 16)
        last = nn.GroupNorm(groups, channels)
        nn.init.zeros_(last.weight)
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.GroupNorm(groups, channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            last,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape (n, channels, side, side)."""
        return torch.relu(x + self.body(x))


def trim(grown: Tensor, side: int, target: int) -> Tensor:
    """Bring a map that was grown from `side` positions by a whole factor to `target` positions.

    The surplus of an odd size is cropped; a surplus of more than a position means that the two grids do not match,
    and cropping would leave every position to draw what its neighbour saw, so the map is resized.
    """
    surplus = grown.shape[-1] - target
    if surplus * side >= grown.shape[-1]:
        return F.interpolate(grown, size=(target, target), mode="bilinear")
    return grown[..., :target, :target]


class Up(nn.Module):
    """Grow a map from `side` to `target` positions by sub-pixel convolution, see `trim`."""

    def __init__(self, channels: int, out: int, side: int, target: int, *, kernel: int = 3) -> None:
        super().__init__()
        factor = -(-target // side)
        self.side, self.target = side, target
        self.grow = nn.Sequential(
            nn.Conv2d(channels, out * factor**2, kernel, padding=kernel // 2), nn.PixelShuffle(factor)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, side, side) to (n, out, target, target)."""
        return trim(self.grow(x), self.side, self.target)


class Decoder(nn.Module):
    """Turn features back into a picture: the encoder's stages in reverse order, with up-sampling between them.

    Normalisation is within each picture, so that the decoder is the same function while it is trained and while it is
    the frozen player: an encoder cannot win the game by outrunning running statistics.

    Args:
        features: shape of the features, without the batch: a map, or what `grid.laid_out` makes one of, or any other,
            which is flattened.
        stages: from the coarsest to the finest, as `stages_of` gives them.
        size: pixels a side of the picture.
        width: factor on every stage's channels.

    """

    def __init__(self, features: tuple[int, ...], stages: list[Stage], size: int, *, width: float = 1.0) -> None:
        super().__init__()
        widths = [max(16, round(stage.channels * width / 16) * 16) for stage in stages]
        first = stages[0]
        self.whiten = Whiten(features)
        self.arrange, features = laid_out(features)
        self.read: nn.Module
        if is_map(features) and features[-1] == first.side:
            self.read = nn.Conv2d(features[0], widths[0], 3, padding=1)
        else:
            self.read = nn.Sequential(
                nn.Flatten(),
                nn.Linear(int(torch.Size(features).numel()), widths[0] * first.side**2),
                nn.Unflatten(1, (widths[0], first.side, first.side)),
            )
        layers: list[nn.Module] = [nn.ReLU(inplace=True)]
        targets = [*(stage.side for stage in stages[1:]), size]
        outputs = [*widths[1:], 3]
        for stage, channels, out, target in zip(stages, widths, outputs, targets, strict=True):
            layers += [Residual(channels) for _ in range(-(-stage.convolutions // 2))]
            layers.append(Up(channels, out, stage.side, target))
        layers.append(nn.Sigmoid())
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (n, ...) to pictures (n, 3, size, size) in 0..1."""
        # Features are read in full precision: what bf16 rounds away may be what they hide.
        with torch.autocast(features.device.type, enabled=False):
            read = self.read(self.arrange(self.whiten(features.float())))
        pictures: Tensor = self.layers(read)
        return pictures


def mirror(encoder: nn.Module, size: int, *, width: float = 1.0) -> Decoder:
    """Build the decoder that mirrors `encoder` for pictures of `size` pixels a side."""
    return Decoder(features_shape(encoder, size), stages_of(encoder, size), size, width=width)
