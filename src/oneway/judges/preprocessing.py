"""What a face-verification network expects of a picture, which no ONNX file says: a wrong guess makes a blind judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BeforeValidator
from torch import Tensor

from oneway.config import AsTuple, Count, Numbers, checked, from_dict, to_dict
from oneway.errors import InputError, unknown
from oneway.judges.align import TEMPLATE, Points, align, cut
from oneway.models.onnx import RANGES, Range
from oneway.storage.inputs import read_object

ForColours = Annotated[
    tuple[float, ...], BeforeValidator(lambda value: (value,) if type(value) in (int, float) else value), AsTuple
]
"""One number for all colours, or a list of them."""


@checked
@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How pictures are made ready for a face-verification network, and what is done to its features.

    Attributes:
        pixels: range of numbers that it expects: `0..1`, `-1..1`, `0..255` or `imagenet` (0..1 less ImageNet's mean, by
            its deviation), as for an encoder.
        colours: their order, `RGB` or `BGR`.
        mean: what is then subtracted, in the numbers of that range: one, or one for each colour in the network's order.
        deviation: what is then divided by, likewise.
        template: where the five points of a face (the eye on the picture's left, the other, nose, the corner of the
            mouth on the picture's left, the other) lie in the network's picture, as fractions (x, y) of its side. The
            pack's own points are moved there.
        crop: instead of a template, the square that is cut out of the pack's picture: left, top and side, as fractions
            of its side; then the pack needs no landmarks.
        side: pixels a side of the network's picture; needed only where its file leaves it free.
        centred: whether the mean feature of the pack's public people is subtracted from every feature before they are
            compared, for a network to which all faces are alike.
        output: which output holds the features, where there are several.
        of_pictures: whether the network tells pictures apart, whatever they show, instead of people.

    Raises:
        InputError: for a value that cannot be.

    """

    pixels: Range
    colours: Literal["RGB", "BGR"] = "RGB"
    mean: ForColours = (0.0,)
    deviation: ForColours = (1.0,)
    template: Annotated[tuple[Numbers, ...], AsTuple] = TEMPLATE
    crop: Numbers | None = None
    side: Count | None = None
    centred: bool = False
    output: str | None = None
    of_pictures: bool = False

    def __post_init__(self) -> None:
        points = np.array(self.template if all(len(point) == 2 for point in self.template) else [])
        laws = {
            "mean": (len(self.mean) in (1, 3), "one number, or one for each colour"),
            "deviation": (
                len(self.deviation) in (1, 3) and all(number > 0 for number in self.deviation),
                "one number, or one for each colour, above 0",
            ),
            "template": (
                points.shape == (5, 2) and bool(((points > -1) & (points < 2)).all()) and points.std() > 0,
                "five points (x, y) as fractions of the side",
            ),
            "crop": (
                self.crop is None or (len(self.crop) == 3 and self.crop[2] > 0),
                "left, top and side as fractions of the picture's side",
            ),
        }
        for name, (holds, law) in laws.items():
            if not holds:
                raise InputError(f"{name} must be {law}, not {getattr(self, name)}")

    def __call__(self, pictures: Tensor, landmarks: NDArray[np.float64] | None, side: int) -> Tensor:
        """Make pictures ready, where they are and with gradients for them: (n, 3, side, side).

        Args:
            pictures: (n, 3, size, size) in 0..1, red first.
            landmarks: the five points of each, (n, 5, 2), as fractions (x, y) of its side; none only with a crop.
            side: pixels a side of the network's picture.

        Raises:
            InputError: if the network wants faces at its template and there are no landmarks.

        """
        if self.crop is not None:
            left, top, width = self.crop
            placed = cut(pictures, (left, top, width), side)
        elif landmarks is not None:
            placed = align(pictures, landmarks, self.template, side)
        else:
            raise InputError(
                "the verifier needs faces aligned by five points, and the pack has no landmarks; `oneway prepare "
                "folder` finds them with --align DETECTOR, or takes them as columns of --labels; or judge with a "
                "verifier that was trained on the pack"
            )
        placed = _less(placed, *RANGES[self.pixels])
        return _less(placed.flip(1) if self.colours == "BGR" else placed, self.mean, self.deviation)


def _less(pictures: Tensor, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Tensor:
    """Take off a mean and divide by a deviation, of each colour."""
    centre, scale = (torch.tensor(each, device=pictures.device)[:, None, None] for each in (mean, deviation))
    return (pictures - centre) / scale


def _points(*coordinates: float) -> Points:
    return tuple(zip(coordinates[::2], coordinates[1::2], strict=True))


PRESETS = {
    "mobilefacenet": Preprocessing(pixels="imagenet"),
    "mobilefacenet-y1": Preprocessing(pixels="0..255"),
    "retail-0095": Preprocessing(
        pixels="0..255",
        template=_points(0.31557, 0.46157, 0.68262, 0.46157, 0.50026, 0.64051, 0.34947, 0.82469, 0.65344, 0.82469),
    ),
    "dlib": Preprocessing(
        pixels="0..255",
        template=_points(0.31744, 0.28901, 0.67362, 0.28901, 0.48950, 0.51964, 0.33790, 0.67123, 0.65037, 0.67029),
        centred=True,
    ),
}
"""Known networks; docs/judges.md says where each comes from."""
KNOWN = {
    "b7120c095d60094f28a4a54ba6a8bf51b297a6273fb40ef6350dfec1f63d9507": "mobilefacenet",
    "04b14999e9ba184c5e65dd77a714360fd83decdadbf486b307639d720c9a8608": "mobilefacenet-y1",
    "e4b48c51504afd65404b55f7a6b34ca04bc3d4e7a0331423cc21e7b265932a28": "retail-0095",
    "9e6dd8f77c50dab2f5ad070b6e13d4a24d70a439a0b438aaa5e3cfe41f4f783a": "dlib",
}
"""The preset of each file that is known by its fingerprint, the sha256 of the file and of its weights beside it."""


def stated(path: Path, fingerprint: str) -> Preprocessing:
    """Find how the network in an ONNX file takes pictures: as NAME.json beside NAME.onnx says, or as a known one does.

    The JSON object holds fields of `Preprocessing`, and may start from a preset: `{"preset": "dlib"}`.

    Args:
        path: the ONNX file.
        fingerprint: of the file and its weights.

    Raises:
        InputError: if nothing says it, or what says it cannot be used.

    """
    beside = path.with_suffix(".json")
    if beside.exists():
        return _read(beside)
    if fingerprint not in KNOWN:
        raise InputError(
            f"verifier {str(path)!r} is none of the known networks ({', '.join(PRESETS)}), and nothing says how it "
            f'takes pictures, and by a guess it would judge blindly: write {beside} with {{"pixels": "0..255"}} (or '
            '0..1, -1..1, imagenet; further: colours, mean, deviation, template, crop, side, centred) or {"preset": '
            '"NAME"}; docs/judges.md explains them'
        )
    return PRESETS[KNOWN[fingerprint]]


def _read(path: Path) -> Preprocessing:
    """Read a preprocessing from a JSON file."""
    content = read_object(path, "it says how the verifier takes pictures")
    try:
        return _parsed(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _parsed(content: Mapping[str, object]) -> Preprocessing:
    given = dict(content)
    preset = given.pop("preset", None)
    if preset is not None and str(preset) not in PRESETS:
        raise unknown("preset =", str(preset), PRESETS)
    if preset is None and "pixels" not in given:
        raise InputError(f"it must state pixels, one of {', '.join(RANGES)}, or a preset, one of {', '.join(PRESETS)}")
    return from_dict(Preprocessing, given if preset is None else to_dict(PRESETS[str(preset)]) | given)
