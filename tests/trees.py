"""Makers of small fake dataset trees with the real file names, and of sources that need no files."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from oneway.data.picture import CorruptImage
from oneway.data.source import Source

ATTRIBUTES = ("5_o_Clock_Shadow", "Eyeglasses", "Male", "Smiling", "Young")


def real_data(name: str) -> Path:
    """Return a folder of the real data, or skip the test."""
    root = Path(os.environ.get("ONEWAY_TEST_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")) / name
    if not root.is_dir():
        pytest.skip(f"the real data are absent: no {root}; set ONEWAY_TEST_DATA")
    return root


def photograph(path: Path, width: int, height: int, seed: int = 0) -> Path:
    """Write an image of smooth random colours; the suffix says the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR).save(path)
    return path


def truncate(path: Path) -> None:
    """Cut the second half off a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def celeba_tree(root: Path, *, num_people: int = 8, shots: int = 3, official: bool = False) -> Path:
    """Write the official CelebA layout; the last two people are validation and test, the others train.

    `official` puts the files into the folders of the download. The identity list is in reverse order.
    """
    anno, evaluation, images = (root / name for name in ("Anno", "Eval", "Img")) if official else (root, root, root)
    for folder in (anno, evaluation, images):
        folder.mkdir(parents=True, exist_ok=True)
    labels = np.random.default_rng(0).integers(0, 2, (num_people * shots, len(ATTRIBUTES))) * 2 - 1
    rows, people, parts = [], [], []
    for index in range(num_people * shots):
        name, person = f"{index + 1:06d}.jpg", index % num_people
        photograph(images / "img_align_celeba" / name, 178, 218, index)
        rows.append(name + "".join(f"{value:3d}" for value in labels[index]))
        people.append(f"{name} {person + 100}")
        parts.append(f"{name} {max(0, person - num_people + 3)}")
    head = [str(len(rows)), " ".join(ATTRIBUTES) + " "]
    (anno / "list_attr_celeba.txt").write_text("\n".join(head + rows) + "\n")
    (anno / "identity_CelebA.txt").write_text("\n".join(reversed(people)) + "\n")
    (evaluation / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    return root


def lfw_tree(root: Path, *, num_people: int = 6) -> Path:
    """Write the LFW layout, one to three images a person, and a stray file."""
    for person in range(num_people):
        for shot in range(person % 3 + 1):
            name = f"Given_Family-{person}"
            photograph(root / "lfw-deepfunneled" / name / f"{name}_{shot + 1:04d}.jpg", 250, 250, person * 10 + shot)
    (root / "lfw-deepfunneled" / "Given_Family-0" / "notes.jpg").write_text("not an image of the layout")
    return root


def folder_tree(root: Path, names: tuple[str, ...] = ("a/1.jpg", "a/2.png", "b/3.webp", "b/4.BMP")) -> Path:
    """Write images of several formats and shapes under `names`."""
    for place, name in enumerate(names):
        photograph(root / name, 40 + place, 30, place)
    return root


@dataclass(frozen=True)
class Noise:
    """Gives noise, another for each image, in so many `seconds`; those in `bad` cannot be decoded."""

    bad: tuple[int, ...] = ()
    seconds: float = 0.0

    def __call__(self, index: int, size: int) -> NDArray[np.uint8]:
        time.sleep(self.seconds)
        if index in self.bad:
            raise CorruptImage(f"image{index:05d}: cannot be decoded (it is noise)")
        return np.random.default_rng(index).integers(0, 256, (size, size, 3), dtype=np.uint8)


def noise_source(count: int, *, shots: int = 2, reader: Noise | None = None, attributes: int = 3) -> Source:
    """Return a source of `count` noise images, `shots` a person, one in eleven of an unknown person."""
    people = [f"person{index // shots:05d}" if index % 11 else "" for index in range(count)]
    return Source(
        layout="folder",
        names=tuple(f"image{index:05d}" for index in range(count)),
        attributes=tuple(f"attribute{place}" for place in range(attributes)),
        labels=np.random.default_rng(1).random((count, attributes)) < 0.5,
        identities=tuple(people),
        partition=None,
        landmarks=None,
        reader=reader or Noise(),
    )
