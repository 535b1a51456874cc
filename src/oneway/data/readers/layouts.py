"""The layouts that `oneway prepare` reads, as the command line has them.

Another package adds one by an entry point of the group `oneway.readers` that names a class of `Packing`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from tyro.conf import Positional, arg

from oneway.errors import InputError
from oneway.plugins import loaded, points

if TYPE_CHECKING:
    from oneway.data.source import Source


@dataclass(frozen=True, kw_only=True)
class Packing(ABC):
    """What every layout is packed with.

    Attributes:
        out: The new pack's folder.
        size: Pixels a side of the packed pictures. What is not square loses its sides; 64:pad keeps them and repeats
            the edges around the picture, 64:stretch squeezes it.
        public: Share of the training people whose pictures the attacker has; the rest are private.
        seed: Decides which people are public.
        jobs: Processes that read pictures; one for each processor by default.
        skip_bad: Leave out pictures that cannot be read, and list them, instead of stopping.
        resume: Continue a preparation that was interrupted.

    """

    out: Path
    size: Annotated[int | str, arg(metavar="INT[:crop|pad|stretch]")] = 64
    public: float = 0.5
    seed: int = 0
    jobs: int | None = None
    skip_bad: bool = False
    resume: bool = False

    @abstractmethod
    def source(self) -> Source:
        """Read the layout.

        Raises:
            InputError: for what cannot be read.

        """

    def further(self) -> dict[str, Any]:
        """Give what else `prepare` is asked for."""
        return {}

    def square(self) -> dict[str, Any]:
        """Give what `prepare` is asked for by the size: pixels a side, and how pictures become square.

        Raises:
            InputError: if the size is no whole number, with or without a word after a colon.

        """
        pixels, colon, fit = str(self.size).partition(":")
        if not pixels.isdecimal():
            raise InputError(
                f"size: must be a whole number of pixels, with :pad or :stretch behind it if pictures are not square, "
                f"not {self.size!r}"
            )
        return {"size": int(pixels), "fit": fit if colon else "crop"}


@dataclass(frozen=True, kw_only=True)
class Celeba(Packing):
    """CelebA in its official layout: 40 attributes, identities, and the official split.

    Attributes:
        root: Folder with img_align_celeba/, list_attr_celeba.txt, identity_CelebA.txt, list_eval_partition.txt.

    """

    root: Positional[Path]

    def source(self) -> Source:
        """Read the layout."""
        from oneway.data.readers import celeba

        return celeba.read(self.root)


@dataclass(frozen=True, kw_only=True)
class Lfw(Packing):
    """LFW, deep-funnelled: identities, no attributes; more public faces of another kind.

    Attributes:
        root: Folder with lfw-deepfunneled/Name/Name_0001.jpg.

    """

    root: Positional[Path]

    def source(self) -> Source:
        """Read the layout."""
        from oneway.data.readers import lfw

        return lfw.read(self.root)


@dataclass(frozen=True, kw_only=True)
class Folder(Packing):
    """Any folder of pictures, with a CSV or Parquet of labels.

    Attributes:
        root: Folder of pictures, of any depth.
        labels: Table with one row a picture: its path, attributes (binary, classes in words, or numbers; empty where
            one is not known), optionally who it shows, its split, and where the face is: lefteye_x, lefteye_y,
            righteye_x, ..., nose_x, ..., leftmouth_x, ..., rightmouth_y, in pixels.
        identity: Column that says who a picture shows; `identity` or `person` by default.
        align: A face detector (ONNX, YuNet): find the face in every picture and cut it out as CelebA's are; pictures
            without one, or with two of about one size, are left out and listed in pack.json.

    """

    root: Positional[Path]
    labels: Path | None = None
    identity: str | None = None
    align: Path | None = None

    def source(self) -> Source:
        """Read the layout."""
        from oneway.data.readers import folder

        return folder.read(self.root, self.labels, self.identity, align=self.align)


@dataclass(frozen=True, kw_only=True)
class Webdataset(Packing):
    """WebDataset shards: tar files of images, each beside a JSON file of its labels.

    Attributes:
        shards: The tar files, as a pattern in quotes: 'shards/*.tar', or 's3://bucket/*.tar'.
        identity: Field that says who a picture shows; `identity` or `person` by default.
        division: `shuffle` divides people in exact shares; `hash` each by the name alone, so that shards that are
            prepared apart, or later, agree on everyone.
        linked: Leave the pictures where they are and decode them whenever they are used: for more than a disk holds.

    """

    shards: Positional[str]
    identity: str | None = None
    division: Literal["shuffle", "hash"] = "shuffle"
    linked: bool = False

    def further(self) -> dict[str, Any]:
        """Give what else `prepare` is asked for."""
        return {"division": self.division, "linked": self.linked}

    def source(self) -> Source:
        """Read the layout."""
        from oneway.data.readers import webdataset

        return webdataset.read(self.shards, self.identity)


@dataclass(frozen=True, kw_only=True)
class Huggingface(Packing):
    """A Hugging Face dataset: by its name on the hub, or Parquet files wherever they lie.

    Attributes:
        path: The name, which is downloaded; or a folder, pattern or URL of Parquet files, which are read where they
            lie: 'hf://datasets/NAME/**/*.parquet' for the hub's.
        identity: Column that says who a picture shows; identity, person, celeb_id, person_id or subject by default.
        split: Only this split, divided anew by person; all splits by default.
        attributes: Columns that are the task; by default all of type bool or of classes, but for the identity.

    """

    path: Positional[str]
    identity: str | None = None
    split: str | None = None
    attributes: tuple[str, ...] = ()

    def source(self) -> Source:
        """Read the layout."""
        from oneway.data.readers import huggingface

        return huggingface.read(self.path, self.identity, self.split, self.attributes)


@dataclass(frozen=True, kw_only=True)
class Synthetic(Packing):
    """Drawn faces of people who do not exist, with ground-truth attributes and identities.

    Attributes:
        people: How many people to draw.
        shots: Pictures of each.

    """

    people: int = 1000
    shots: int = 8

    def source(self) -> Source:
        """Describe the drawings."""
        from oneway.data.source import synthetic_source

        return synthetic_source(self.people, self.shots, self.seed)


_OWN: tuple[type[Packing], ...] = (Celeba, Lfw, Folder, Huggingface, Webdataset, Synthetic)


def layouts() -> dict[str, type[Packing]]:
    """Give the class of every layout by name, those of other packages last.

    Raises:
        InputError: for another package's that cannot be used: naming the package and the entry point.

    """
    own = {kind.__name__.lower(): kind for kind in _OWN}
    return own | {name: loaded(point, _wrong) for name, point in points("oneway.readers", own).items()}


def _wrong(made: Any) -> str | None:
    """Say what is wrong with the class of a layout."""
    if not (isinstance(made, type) and issubclass(made, Packing)):
        return f"must be a class of Packing, not {made!r}"
    if "__dataclass_fields__" not in vars(made):
        return "must be a `@dataclass(frozen=True, kw_only=True)`"
    get_type_hints(made)  # which names what is no type at run time
    return "must have a method `source`" if made.__abstractmethods__ else None
