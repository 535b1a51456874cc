"""LFW, deep-funneled, in the layout of its official release."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import numpy as np

from oneway.data.readers.celeba import LANDMARKS as TARGET
from oneway.data.readers.labels import passed_over
from oneway.data.source import Landmarks, Photographs, Source
from oneway.errors import InputError

log = logging.getLogger("oneway.data")
FOLDER = "lfw-deepfunneled"
FRAME = (250, 250)
POINTS = ((105.0, 113.0), (146.0, 113.0), (125.5, 137.0), (109.0, 158.0), (142.0, 158.0))


def _aligned() -> tuple[float, float, float]:
    """Find the square (left, top, side) in which LFW's points fall nearest to CelebA's, by least squares."""
    points, target = np.array(POINTS), np.array(TARGET)
    spread = points - points.mean(axis=0)
    scale = np.sum(spread * (target - target.mean(axis=0))) / np.sum(spread**2)
    left, top = points.mean(axis=0) - target.mean(axis=0) / scale
    return float(left), float(top), float(1 / scale)


_LEFT, _TOP, _SIDE = _aligned()
BOX = (_LEFT, _TOP, _LEFT + _SIDE, _TOP + _SIDE)
LANDMARKS: Landmarks = tuple(((x - _LEFT) / _SIDE, (y - _TOP) / _SIDE) for x, y in POINTS)


def read(root: Path) -> Source:
    """Read LFW's people; there are no attributes and no official split.

    `root` holds `lfw-deepfunneled/`, or is that folder: one folder a person, in it `Name_0001.jpg` and so on.
    The crop is the square in which a face lies as it does in CelebA's. Raise `InputError` if there is none.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the folder that holds {FOLDER}/")
    images = root / FOLDER if (root / FOLDER).is_dir() else root
    try:
        people = sorted(entry.name for entry in os.scandir(images) if entry.is_dir())
        found = [(person, file) for person in people for file in sorted(os.listdir(images / person))]
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be listed ({error.strerror})") from error
    kept = [(person, file) for person, file in found if re.fullmatch(re.escape(person) + r"_\d{4}\.jpg", file)]
    if not kept:
        raise InputError(
            f"{images}: holds no image of the lfw layout, {FOLDER}/Name/Name_0001.jpg; "
            f"unpack lfw-deepfunneled.tgz, or use the folder layout for other trees"
        )
    regular = set(kept)
    others = [f"{person}/{file}" for person, file in found if (person, file) not in regular]
    if others:
        log.warning(
            "%s: %d files are not of the layout and are passed over: %s", images, len(others), passed_over(others)
        )
    names = tuple(f"{person}/{file}" for person, file in kept)
    return Source(
        layout="lfw",
        names=names,
        attributes=(),
        labels=np.zeros((len(names), 0), dtype=np.bool_),
        identities=tuple(person for person, _ in kept),
        partition=None,
        landmarks=LANDMARKS,
        reader=Photographs(images, names, FRAME, BOX),
        crop=f"columns {BOX[0]:.2f}..{BOX[2]:.2f}, rows {BOX[1]:.2f}..{BOX[3]:.2f} of the 250x250 frame",
    )
