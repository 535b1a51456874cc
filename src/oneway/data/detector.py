"""A face detector in an ONNX file: YuNet, whose outputs are read as OpenCV reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from oneway.errors import InputError
from oneway.onnx_session import session_options
from oneway.storage.inputs import regular

STRIDES = (8, 16, 32)
"""Pixels between the places at which faces are looked for, at three scales."""
OUTPUTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
"""What is said of each place, and in how many numbers: two parts of the score, the box, and five points."""
LEAST = 0.6
"""Score from which a face counts."""
LONGEST = 640
"""Pixels of a picture's longer side in which faces are looked for: the network knows faces of 10 to 300 pixels."""
AGAIN, AROUND = 320, 2.5
"""Pixels a side, and sizes of the face, of the piece in which the points of a face in a larger picture are found."""
OVERLAP = 0.3
"""Share of their union that two boxes may have in common and be two faces."""


@dataclass(frozen=True, kw_only=True)
class Face:
    """A face in a picture.

    Attributes:
        score: of the detector, 0 to 1.
        box: left, top, width and height in pixels.
        points: (5, 2), x and y in pixels: the eye on the picture's left, the other, nose, the corner of the mouth on
            the picture's left, the other.

    """

    score: float
    box: NDArray[np.float64]
    points: NDArray[np.float64]

    @property
    def area(self) -> float:
        """Pixels that it covers."""
        return float(self.box[2] * self.box[3])

    def moved(self, scale: float, left: float, top: float) -> Face:
        """Give the same face in the picture that this one was scaled down and cut out of."""
        corner = np.array([left, top])
        box = np.concatenate([self.box[:2] / scale + corner, self.box[2:] / scale])
        return Face(score=self.score, box=box, points=self.points / scale + corner)


class Detector:
    """Finds faces in pictures.

    Args:
        path: an ONNX file of YuNet (Wu, Peng and Yu 2023), whose sides are free.

    Raises:
        InputError: if it is missing, no ONNX file, or another network.

    """

    def __init__(self, path: Path) -> None:
        import onnxruntime  # takes a while, which help need not wait for

        if not path.is_file():
            raise InputError(f"face detector {str(path)!r} is not a file; give an ONNX file of YuNet")
        options, providers = session_options(), ["CPUExecutionProvider"]
        try:
            self._session: Any = onnxruntime.InferenceSession(str(regular(path)), options, providers)
        except InputError:
            raise
        except Exception as error:  # onnxruntime raises its own untyped errors
            raise InputError(f"face detector {str(path)!r} is not a readable ONNX file ({error})") from error
        self.path = path
        wanted = [f"{name}_{stride}" for name in OUTPUTS for stride in STRIDES]
        missing = sorted(set(wanted) - {output.name for output in self._session.get_outputs()})
        if len(self._session.get_inputs()) != 1 or missing:
            raise InputError(
                f"{path} is no face detector that is known here: YuNet has one input and the outputs cls_8 to kps_32, "
                f"and this lacks {missing[0] if missing else 'a single input'}; give yunet.onnx (OpenCV's "
                "face_detection_yunet, with free sides)"
            )
        try:
            self._find(Image.new("RGB", (64, 96)))
        except Exception as error:  # whatever another network does with such pictures
            raise InputError(
                f"{path} fails as a face detector on 64 x 96 pixels ({error}); give yunet.onnx with free sides"
            ) from error

    def __call__(self, picture: Image.Image) -> list[Face]:
        """Give the faces of a picture of mode RGB, the largest first."""
        scale = min(1.0, LONGEST / max(picture.size))
        faces = [face.moved(scale, 0, 0) for face in self._find(_scaled(picture, scale))]
        if scale < 1:
            faces = [self._closer(picture, face) for face in faces]
        return sorted(faces, key=lambda face: -face.area)

    def _closer(self, picture: Image.Image, face: Face) -> Face:
        """Look at a face of a large picture again, where it has more pixels."""
        side = AROUND * float(face.box[2:].max())
        left, top = face.box[:2] + face.box[2:] / 2 - side / 2
        piece = picture.crop((round(left), round(top), round(left + side), round(top + side)))
        scale = min(1.0, AGAIN / max(piece.size))
        found = [each.moved(scale, round(left), round(top)) for each in self._find(_scaled(piece, scale))]
        same = [each for each in found if _overlap(each.box, face.box) > OVERLAP]
        return max(same, key=lambda each: each.score, default=face)

    def _find(self, picture: Image.Image) -> list[Face]:
        """Give the faces of a picture that is not larger than the network sees."""
        width, height = (-(-side // 32) * 32 for side in picture.size)
        pixels = np.zeros((1, 3, height, width), dtype=np.float32)
        blue_first = np.asarray(picture, dtype=np.float32).transpose(2, 0, 1)[::-1]
        pixels[0, :, : picture.height, : picture.width] = blue_first
        names = [f"{name}_{stride}" for stride in STRIDES for name in OUTPUTS]
        given = dict(zip(names, self._session.run(names, {self._session.get_inputs()[0].name: pixels}), strict=True))
        faces: list[Face] = []
        for stride in STRIDES:
            rows, columns = height // stride, width // stride
            cls, obj, box, points = (
                np.asarray(given[f"{name}_{stride}"], dtype=np.float64).reshape(rows * columns, length)
                for name, length in OUTPUTS.items()
            )
            scores = np.sqrt(np.clip(cls, 0, 1) * np.clip(obj, 0, 1))[:, 0]
            for place in np.flatnonzero(scores >= LEAST):
                corner = np.array([place % columns, place // columns])
                centre, extent = (corner + box[place, :2]) * stride, np.exp(box[place, 2:]) * stride
                where = (points[place].reshape(5, 2) + corner) * stride
                outline = np.concatenate([centre - extent / 2, extent])
                faces.append(Face(score=float(scores[place]), box=outline, points=where))
        kept: list[Face] = []
        for face in sorted(faces, key=lambda each: -each.score):
            if all(_overlap(face.box, other.box) <= OVERLAP for other in kept):
                kept.append(face)
        return kept


def _scaled(picture: Image.Image, scale: float) -> Image.Image:
    if scale == 1:
        return picture
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2)


def _overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Give what two boxes have in common as a share of their union."""
    shared = np.minimum(one[:2] + one[2:], other[:2] + other[2:]) - np.maximum(one[:2], other[:2])
    common = float(np.prod(np.clip(shared, 0, None)))
    return common / max(float(np.prod(one[2:]) + np.prod(other[2:])) - common, 1e-9)
