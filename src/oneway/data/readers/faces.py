"""Photographs of people as they were taken: the face is found, and cut out as CelebA's faces are."""

from __future__ import annotations

import logging
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from oneway.data.detector import Detector, Face
from oneway.data.picture import CorruptImage, whole
from oneway.data.readers.celeba import LANDMARKS
from oneway.data.readers.labels import some
from oneway.data.similarity import similarity_transform
from oneway.data.source import Source
from oneway.errors import InputError
from oneway.progress import track

log = logging.getLogger("oneway.data")
ALONE = 0.5
"""Size of the second largest face, as a share of the largest, from which nobody can tell whose picture it is."""
NO_FACE, SEVERAL = "no face was found", "two faces of about the same size: nothing says which is meant"
CROP = "by five points onto CelebA's in its square crop (rotation, scale and shift, least squares), edges repeated"


@dataclass(frozen=True)
class Aligned:
    """Reads photographs below `root`, each turned, scaled and cut so that its five points lie as CelebA's do.

    `points` are (n, 5, 2), x and y in pixels of each picture as it is seen; not numbers where it could not be opened.
    """

    root: Path
    names: tuple[str, ...]
    points: NDArray[np.float64]

    def __call__(self, index: int, size: int) -> NDArray[np.uint8]:
        """Return image `index`, (size, size, 3); raise `CorruptImage`."""
        path = self.root / self.names[index]
        picture = whole(path, str(path))
        if not np.isfinite(self.points[index]).all():
            raise CorruptImage(f"{path}: could not be decoded when faces were looked for; prepare it again")
        return np.asarray(aligned(picture, self.points[index], size))


def aligned(picture: Image.Image, points: NDArray[np.float64], size: int) -> Image.Image:
    """Cut a face out so that its five points, in pixels, come as near to CelebA's as turning and scaling brings them.

    What lies outside the photograph repeats its edge, as in CelebA. It is sampled at the photograph's own resolution
    and then scaled with an antialiased triangle filter.
    """
    turn = similarity_transform(LANDMARKS, points)  # from fractions of the new side to pixels
    side = max(size, round(float(np.sqrt(np.linalg.det(turn[:, :2])))))
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]) @ turn[:, :2].T + turn[:, 2]
    low = np.maximum(0, np.ceil(1 - corners.min(axis=0))).astype(int)
    high = np.maximum(0, np.ceil(corners.max(axis=0) + 1 - picture.size)).astype(int)
    if low.any() or high.any():
        around = ((low[1], high[1]), (low[0], high[0]), (0, 0))
        picture = Image.fromarray(np.pad(np.asarray(picture), around, mode="edge"))
    matrix = np.concatenate([turn[:, :2] / side, (turn[:, 2] + low)[:, None]], axis=1)
    cut = picture.transform((side, side), Image.Transform.AFFINE, tuple(matrix.ravel()), Image.Resampling.BILINEAR)
    return cut.resize((size, size), Image.Resampling.BILINEAR)


def with_faces(source: Source, root: Path, detector: Path) -> Source:
    """Find the face in every image of a source, and cut it out; leave out and list those without one.

    Of several faces the largest is taken, unless the next has half its size or more; then the picture is left out.

    Args:
        source: of photographs below `root`, without landmarks.
        root: the folder of the images.
        detector: the ONNX file of the detector.

    Raises:
        InputError: if the file is no detector, the source has landmarks already, or no image has a face.

    """
    if source.landmarks is not None:
        raise InputError("the table has landmarks, so the faces need not be found; leave out --align, or its columns")
    detect = Detector(detector)

    def look(name: str) -> list[Face] | None:
        path = root / name
        try:
            return detect(whole(path, str(path)))
        except CorruptImage:  # refused, or left out, when it is read
            return None

    points = np.full((len(source.names), 5, 2), np.nan)
    skipped: dict[int, str] = {}
    crowded: list[str] = []
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        track("find faces", len(source.names), enabled=True) as advance,
    ):
        for index, faces in enumerate(pool.map(look, source.names)):
            advance(1)
            if faces is None:
                continue
            if not faces or (len(faces) > 1 and faces[1].area >= ALONE * faces[0].area):
                skipped[index] = SEVERAL if faces else NO_FACE
                continue
            points[index] = faces[0].points
            if len(faces) > 1:
                crowded.append(source.names[index])
    if not np.isfinite(points).any():
        raise InputError(
            f"{root}: no face is found in any of {len(source.names)} images by {detector}; without --align they are "
            "packed as they are"
        )
    told = Counter(skipped.values())
    for reason, count in told.items():
        example = some(source.names[index] for index, why in skipped.items() if why == reason)
        log.warning("%d images are left out, %s: %s; pack.json lists them", count, reason, example)
    if crowded:
        log.warning("%d images show smaller faces too; the largest is taken: %s", len(crowded), some(crowded))
    kept = np.setdiff1d(np.arange(len(source.names)), list(skipped))
    names = tuple(source.names[index] for index in kept)
    return replace(
        source,
        names=names,
        labels=source.labels.take(pa.array(kept)) if isinstance(source.labels, pa.Table) else source.labels[kept],
        identities=None if source.identities is None else tuple(source.identities[index] for index in kept),
        partition=None if source.partition is None else tuple(source.partition[index] for index in kept),
        landmarks=_landmarks(points[kept]),
        reader=Aligned(root, names, points[kept]),
        crop=CROP,
        skipped=tuple((source.names[index], reason) for index, reason in sorted(skipped.items())),
    )


def _landmarks(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give where the points lie in what is cut out, (n, 5, 2), as fractions of its side."""
    placed = np.full_like(points, np.nan)
    for index in np.flatnonzero(np.isfinite(points).all(axis=(1, 2))):
        turn = similarity_transform(points[index], LANDMARKS)
        placed[index] = points[index] @ turn[:, :2].T + turn[:, 2]
    return placed
