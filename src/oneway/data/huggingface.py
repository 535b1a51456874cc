"""Datasets of Hugging Face: a name on its hub, a folder of Parquet files, or one that `save_to_disk` wrote."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from oneway.data.labels import IDENTITY_COLUMNS, binaries, chosen, texts
from oneway.data.source import Source, decode
from oneway.errors import InputError, unknown

if TYPE_CHECKING:
    from datasets import Dataset

PARTITIONS = {
    "train": "train",
    "valid": "validation",
    "validation": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
"""What the hub's datasets call their splits, and what they are."""
IDENTITIES = (*IDENTITY_COLUMNS, "celeb_id", "person_id", "subject")


@dataclass(frozen=True)
class Column:
    """Reads the images of a dataset's column, the largest square in the middle of each."""

    dataset: Dataset
    column: str
    names: tuple[str, ...]

    def __call__(self, index: int, size: int) -> NDArray[np.uint8]:
        """Return image `index`, (size, size, 3); raise `CorruptImage`."""
        stored = self.dataset[index][self.column]
        file: Any = BytesIO(stored["bytes"]) if stored["bytes"] is not None else Path(stored["path"])
        return decode(file, self.names[index], size)


def read(path: str, identity: str | None = None, split: str | None = None, attributes: tuple[str, ...] = ()) -> Source:
    """Read what a dataset says of its images; those of Parquet files and of the hub lie in the library's own cache.

    Args:
        path: a dataset's name on the hub, which is downloaded once, a folder of Parquet files, or what `save_to_disk`
            wrote.
        identity: the column that says who an image shows; identity, person, celeb_id, person_id or subject by default.
        split: only this split, of which private, public, validation and test people are then made; all splits by
            default, which are kept if they are train, validation and test.
        attributes: columns that are the task; by default those of type bool and those of two classes.

    Raises:
        InputError: for anything that does not fit, naming the column or the split.

    """
    splits = _load(path)
    from datasets import Image, concatenate_datasets

    if split is not None:
        if split not in splits:
            raise unknown(f"{path}: split", split, tuple(splits))
        splits = {split: splits[split]}
    odd = [name for name in splits if name not in PARTITIONS]
    if len(splits) > 1 and odd:
        raise InputError(f"{path}: the split {odd[0]!r} is none of {', '.join(PARTITIONS)}; choose one with --split")
    parts = [part for name, each in splits.items() for part in [PARTITIONS.get(name, "train")] * len(each)]
    names = tuple(f"{path}/{name}/{row:07d}" for name, each in splits.items() for row in range(len(each)))
    dataset = concatenate_datasets(list(splits.values()))
    images = [name for name, feature in dataset.features.items() if isinstance(feature, Image)]
    if len(images) != 1:
        raise InputError(
            f"{path}: has {len(images)} columns of images ({', '.join(images) or 'none'}) and needs one; "
            f"its columns are: {', '.join(dataset.column_names)}"
        )
    dataset = dataset.cast_column(images[0], Image(decode=False))
    table = dataset.remove_columns(images).with_format("arrow")[:] if len(dataset.column_names) > 1 else None
    identity = None if table is None else chosen(table, "identity", identity, IDENTITIES, path)
    chosen_attributes = tuple(_attribute(path, dataset, name) for name in attributes) or _binary_columns(dataset)
    return Source(
        layout="huggingface",
        names=names,
        attributes=chosen_attributes,
        labels=binaries(table, chosen_attributes, path, len(names)),
        identities=None if identity is None else tuple(texts(table, identity, path)),
        partition=tuple(parts) if len(splits) > 1 else None,
        landmarks=None,
        reader=Column(dataset, images[0], names),
        crop="the largest square in the middle",
    )


def _load(path: str) -> dict[str, Dataset]:
    """Open a dataset by its splits."""
    try:
        import datasets
    except ImportError as error:
        raise InputError("Hugging Face's datasets is not installed; install oneway[huggingface]") from error
    place = Path(path)
    try:
        if (place / "dataset_dict.json").is_file() or (place / "state.json").is_file():
            found = datasets.load_from_disk(path)
        elif place.is_dir():
            files = sorted(str(file) for file in place.rglob("*.parquet"))
            if not files:
                raise InputError(f"{path}: holds no .parquet file; use the folder layout for plain image files")
            by_split: dict[str, list[str]] = {}
            for file in files:  # train-00000-of-00012.parquet, as the hub names them
                name = Path(file).stem.split("-")[0]
                by_split.setdefault(name if name in PARTITIONS else "train", []).append(file)
            found = datasets.load_dataset("parquet", data_files=by_split)
        else:
            found = datasets.load_dataset(path)
    except InputError:
        raise
    except Exception as error:  # the library raises many kinds, of its own and of its transports
        raise InputError(f"{path}: cannot be opened as a dataset ({type(error).__name__}: {error})") from error
    splits = dict(found) if isinstance(found, dict) else {"train": found}
    return dict(sorted(splits.items(), key=lambda each: [*PARTITIONS, each[0]].index(each[0])))


def _binary_columns(dataset: Dataset) -> tuple[str, ...]:
    from datasets import ClassLabel

    return tuple(
        name
        for name, feature in dataset.features.items()
        if getattr(feature, "dtype", None) == "bool" or (isinstance(feature, ClassLabel) and feature.num_classes == 2)
    )


def _attribute(path: str, dataset: Dataset, name: str) -> str:
    if name not in dataset.column_names:
        raise unknown(f"{path}: attribute", name, dataset.column_names)
    return name
