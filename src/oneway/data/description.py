"""What is written beside the images of a pack: labels.parquet and pack.json, and what tells two sources apart."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
from numpy.typing import NDArray
from pydantic import Field

from oneway.config import Count, Names, Whole, from_dict, record, to_dict
from oneway.data.columns import classes_of, content, kind_of
from oneway.data.disk import write
from oneway.data.linked import SPANS, Link
from oneway.data.source import LANDMARKS, Landmarks, Source
from oneway.data.splits import SPLITS, Division, Split, people
from oneway.errors import InputError
from oneway.storage.inputs import read_object

FORMAT: Literal[1] = 1
IMAGES, DESCRIPTION = "images.npy", "pack.json"
LABELS: Literal["labels.parquet"] = "labels.parquet"
REMEDY = "prepare the pack again, by oneway prepare"


@record
@dataclass(frozen=True, kw_only=True)
class Counts:
    """How many images a split has, and of how many people."""

    images: Count
    people: Count


@record
@dataclass(frozen=True, kw_only=True)
class Skip:
    """An image that could not be decoded, and why."""

    name: str
    reason: str


@record
@dataclass(frozen=True)
class Duplicates:
    """The pictures of a pack that have an equal or nearly equal one in another part.

    Attributes:
        pictures: how many there are in each part.
        examples: some pairs, each as "name (part)" twice.

    """

    pictures: dict[Split, Whole]
    examples: tuple[tuple[str, str], ...]

    def said(self, *, named: bool) -> str:
        """Say it in a sentence; where `named`, with the names of some pictures, which may be those of people."""
        if not self.examples:
            return "no picture is in two parts, equal or nearly so"
        counts = ", ".join(f"{count} {part}" for part, count in self.pictures.items() if count)
        where = f"for example {'; '.join(map(' and '.join, self.examples))}" if named else f"{DESCRIPTION} names some"
        return f"pictures that are equal or nearly so to one in another part: {counts}; {where}"


@record
@dataclass(frozen=True, kw_only=True)
class Description:
    """What pack.json says of a pack.

    Attributes:
        format: of the pack.
        layout: of the dataset that it was made of.
        size: pixels a side of its pictures.
        count: of its pictures.
        splits: how many of them each split has, and of how many people.
        public: the fraction of training people that is public.
        seed: of the division of people.
        division: how they were divided.
        attributes: of which it has labels; those that are neither of the next two are binary.
        classes: the names of the classes of each attribute that has some, in their order.
        numbers: the attributes that are numbers.
        landmarks: five points as fractions (x, y) of every picture, `labels.parquet` where each has its own, or none.
        crop: in words.
        linked: what is cut out where images are not copied.
        hash: sha256 over pictures and labels.
        skipped: images that were left out, because they cannot be decoded, or show no face where faces are cut out.
        versions: of what made it.
        created: when, in UTC.
        joined: the hashes of the two packs that it was joined of.
        duplicates: pictures that are in two parts, once that was looked for.

    """

    format: Literal[1]
    layout: str
    size: Count
    count: Count
    splits: dict[Split, Counts]
    public: Annotated[float, Field(gt=0, lt=1)] = 0.5
    seed: int = 0
    division: Division = "shuffle"
    attributes: tuple[str, ...]
    classes: dict[str, Names] = field(default_factory=dict)
    numbers: Names = ()
    landmarks: Landmarks | Literal["labels.parquet"] | None
    crop: str = ""
    linked: Link | None = None
    hash: str
    skipped: tuple[Skip, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    created: str = ""
    joined: tuple[str, str] | None = None
    duplicates: Duplicates | None = None

    def __post_init__(self) -> None:
        points = self.landmarks
        if isinstance(points, tuple) and (len(points) != 5 or not all(map(math.isfinite, sum(points, ())))):
            raise InputError(f"landmarks must be five points (x, y), not {points}")
        kinds = [*self.classes, *self.numbers]
        if len(set(kinds)) < len(kinds) or not set(kinds) <= set(self.attributes):
            raise InputError(f"classes and numbers must each be other attributes, not {', '.join(kinds)}")
        for attribute, names in self.classes.items():
            if len(set(names)) < len(names):
                raise InputError(f"classes.{attribute} names a class twice: {', '.join(names)}")
        missing = [split for split in SPLITS if split not in self.splits]
        if missing:
            raise InputError(f"splits.{missing[0]} is missing")
        if sum(counts.images for counts in self.splits.values()) != self.count:
            told = {split: counts.images for split, counts in self.splits.items()}
            raise InputError(f"splits and their images do not add up to {self.count} (count): {told}")


def read_description(folder: Path) -> Description:
    """Read pack.json in the folder of a pack.

    Raises:
        InputError: if there is no finished pack, or pack.json is damaged or of another version, naming the field.

    """
    expected = f"a pack is a folder with {IMAGES}, {LABELS} and {DESCRIPTION}, as `oneway prepare` makes it"
    partial = folder.with_name(folder.name + ".partial")
    if not folder.exists() and partial.exists():
        raise InputError(f"{folder}: its preparation was interrupted, {partial} is unfinished; rerun it with --resume")
    if folder.name.endswith(".partial"):
        raise InputError(f"{folder}: this pack is unfinished; rerun its preparation with --resume")
    images = SPANS if (folder / SPANS).is_file() else IMAGES
    missing = [name for name in (images, LABELS, DESCRIPTION) if not (folder / name).is_file()]
    if missing:
        found = f"{', '.join(missing)} missing" if folder.is_dir() else "no such folder"
        raise InputError(f"{folder}: not a pack ({found}); {expected}")
    path = folder / DESCRIPTION
    try:
        content = read_object(path, REMEDY)
    except InputError as error:
        raise InputError(f"{path}: not the description of a pack ({error}); {expected}") from error
    made = content.get("format", FORMAT)
    if type(made) is not int or made != FORMAT:
        raise InputError(
            f"{path}: this version reads packs of format {FORMAT}, "
            f"the pack has format {str(made)[:60]}; prepare it again"
        )
    return from_dict(Description, content, f"{path}: ", REMEDY)


def write_description(folder: Path, description: Description) -> None:
    """Write pack.json, whole; what a pack has not is left out.

    Raises:
        OSError: if it cannot be written.

    """
    optional = ("classes", "numbers", "linked", "joined", "duplicates")
    told = {name: said for name, said in to_dict(description).items() if said or name not in optional}
    write(folder / DESCRIPTION, json.dumps(told, indent=1).encode())


Skipped = list[tuple[np.int64, str]]


@record
@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How a pack is to be made.

    Attributes:
        size: pixels a side of its pictures.
        public: the fraction of training people that becomes public.
        seed: of the division of people.
        division: how they are divided.

    """

    size: int
    public: float
    seed: int
    division: Division


def describe(
    source: Source,
    images: Path,
    wanted: Wanted,
    splits: NDArray[np.int8],
    order: NDArray[np.int64],
    skipped: Skipped,
    linked: Link | None = None,
) -> None:
    """Write labels.parquet and then pack.json beside the file `images`, which holds `order` of the source.

    It holds their pixels, or where they are `linked`, their spans, and `linked` says what is cut out and below which
    root they lie. `splits` holds
    a code for every image of the source. Raise `InputError` if a split is empty.
    """
    persons = people(source.identities, len(source.names))[order]
    codes = splits[order]
    undecoded = [(source.names[index], why) for index, why in skipped]
    counts: dict[Split, Counts] = {}
    for code, split in enumerate(SPLITS):
        members = persons[codes == code]
        if not len(members):
            raise InputError(f"no image of the {split} split can be decoded; repair the source")
        counts[split] = Counts(images=len(members), people=len(np.unique(members)))
    names = [source.names[index] for index in order]
    identities = [source.identities[index] if source.identities else "" for index in order]
    named = [SPLITS[code] for code in codes]
    labels = source.columns.take(pa.array(order))
    kinds = {name: kind_of(labels.column(name).type) for name in source.attributes}
    columns: dict[str, object] = {"name": names, "identity": identities, "split": named}
    if isinstance(source.landmarks, np.ndarray):
        columns[LANDMARKS] = pa.FixedSizeListArray.from_arrays(pa.array(source.landmarks[order].ravel()), 10)
    # Parquet would forget the order of the classes, and those that no image has; pack.json says both.
    columns |= {
        name: labels.column(name).cast(pa.string()) if kind == "classes" else labels.column(name)
        for name, kind in kinds.items()
    }
    table = BytesIO()
    parquet.write_table(pa.table(columns), table)
    write(images.with_name(LABELS), table.getvalue())
    with open(images, "r+b") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256")
    digest.update(json.dumps([names, identities, named, source.attributes]).encode())
    digest.update(content(labels))
    if isinstance(source.landmarks, np.ndarray):
        digest.update(np.ascontiguousarray(source.landmarks[order]).data)
    if linked is not None:  # spans alone do not say what is made of them; the root, they do
        cut = {name: told for name, told in to_dict(linked).items() if name != "root" and told != "crop"}
        digest.update(json.dumps([wanted.size, cut]).encode())
    description = Description(
        format=FORMAT,
        layout=source.layout,
        size=wanted.size,
        count=len(order),
        splits=counts,
        public=wanted.public,
        seed=wanted.seed,
        division=wanted.division,
        attributes=source.attributes,
        classes={name: classes_of(labels.column(name)) for name, kind in kinds.items() if kind == "classes"},
        numbers=tuple(name for name, kind in kinds.items() if kind == "numbers"),
        landmarks=LABELS if isinstance(source.landmarks, np.ndarray) else source.landmarks,
        crop=source.crop,
        linked=linked,
        hash=digest.hexdigest(),
        skipped=tuple(Skip(name=name, reason=why) for name, why in (*source.skipped, *undecoded)),
        versions={name: version(name) for name in ("oneway", "numpy", "pillow", "pyarrow")}
        | {"python": platform.python_version()},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_description(images.parent, description)


def fingerprint(source: Source) -> str:
    """Return a sha256 over all that `source` says of its images, without reading them."""
    fields = [
        source.layout,
        source.names,
        source.attributes,
        source.identities,
        source.partition,
        source.crop,
    ]
    landmarks = source.landmarks.tolist() if isinstance(source.landmarks, np.ndarray) else source.landmarks
    digest = hashlib.sha256(json.dumps([*fields, landmarks]).encode())
    digest.update(content(source.labels))
    return digest.hexdigest()
