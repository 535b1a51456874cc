"""Datasets of Hugging Face: a name on its hub, Parquet files wherever they lie, or what `save_to_disk` wrote."""

from __future__ import annotations

import glob
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from oneway.data.byterange import matching
from oneway.data.picture import CROPS, Fit, decode
from oneway.data.readers import rowgroups
from oneway.data.readers.labels import IDENTITY_COLUMNS, chosen, texts
from oneway.data.readers.typed import check_labelled, labelled, read_labels
from oneway.data.source import Reader, Source
from oneway.errors import InputError, unknown
from oneway.storage.inputs import regular

if TYPE_CHECKING:
    from datasets import Dataset, Features

T = TypeVar("T")

PARTITIONS = {
    "train": "train",
    "valid": "validation",
    "validation": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
"""What the hub's datasets call their splits, and what they are."""
EVERY = "*.[pP][aA][rR][qQ][uU][eE][tT]"
"""The Parquet files of a folder, those named in capitals too."""
IDENTITIES = (*IDENTITY_COLUMNS, "celeb_id", "person_id", "subject")


@dataclass(frozen=True)
class Column:
    """Reads the images of a dataset's column, each made a square by `fit`.

    Those that are stored as paths must lie below one of the folders `homes`.
    """

    dataset: Dataset
    column: str
    names: tuple[str, ...]
    homes: tuple[Path, ...]
    fit: Fit = "crop"

    def __call__(self, index: int, size: int) -> NDArray[np.uint8]:
        """Return image `index`, (size, size, 3); raise `CorruptImage`."""
        name = self.names[index]
        return decode(rowgroups.encoded(self.dataset[index][self.column], name, self.homes), name, size, fit=self.fit)


@dataclass(frozen=True)
class Opened:
    """A dataset that can be asked for its columns.

    Attributes:
        splits: rows of each, in their order.
        features: the columns and their types.
        columns: reads some of them into memory.
        reader: makes a reader of a column of images, which have the names given.

    """

    splits: dict[str, int]
    features: Features
    columns: Callable[[list[str]], pa.Table]
    reader: Callable[[str, tuple[str, ...]], Reader]


def read(path: str, identity: str | None = None, split: str | None = None, attributes: tuple[str, ...] = ()) -> Source:
    """Read what a dataset says of its images.

    Images in Parquet files stay there and are read where they lie; those of a name on the hub are downloaded into the
    library's own cache.

    Args:
        path: a dataset's name on the hub; Parquet files as a folder of them, a pattern (`'faces/*.parquet'`) or a URL
            (`'hf://datasets/NAME/**/*.parquet'` reads the hub's without a download of them); or
            what `save_to_disk` wrote.
        identity: the column that says who an image shows; identity, person, celeb_id, person_id or subject by default.
        split: only this split, of which private, public, validation and test people are then made; all splits by
            default, which are kept if they are train, validation and test.
        attributes: columns that are the task, of any kind; by default those of type bool and those of classes, but for
            the identity.

    Raises:
        InputError: for anything that does not fit, naming the column or the split.

    """
    opened = _open(path, split)
    from datasets import Image

    odd = [name for name in opened.splits if name not in PARTITIONS]
    if len(opened.splits) > 1 and odd:
        raise InputError(f"{path}: the split {odd[0]!r} is none of {', '.join(PARTITIONS)}; choose one with --split")
    parts = [part for name, rows in opened.splits.items() for part in [PARTITIONS.get(name, "train")] * rows]
    names = tuple(f"{path}/{name}/{row:07d}" for name, rows in opened.splits.items() for row in range(rows))
    images = [name for name, feature in opened.features.items() if isinstance(feature, Image)]
    if len(images) != 1:
        raise InputError(
            f"{path}: has {len(images)} columns of images ({', '.join(images) or 'none'}) and needs one; "
            f"its columns are: {', '.join(opened.features)}"
        )
    others = [name for name in opened.features if name not in images]
    for name in attributes:
        if attributes.count(name) > 1:
            raise InputError(f"{path}: attribute {name!r} is named more than once; name each once")
        if name not in opened.features:
            raise unknown(f"{path}: attribute", name, list(opened.features))
    if identity in attributes:
        raise InputError(f"{path}: column {identity!r} cannot be both the identity and an attribute; name another")
    identity = chosen(others, "identity", identity, IDENTITIES, path)
    task = attributes or labelled(opened.features, identity)
    table = opened.columns([*task, *([] if identity is None or identity in task else [identity])])
    check_labelled(path, opened.features, table, task)
    return Source(
        layout="huggingface",
        names=names,
        attributes=task,
        labels=read_labels(opened.features, table, task, path, len(names)),
        identities=None if identity is None else tuple(texts(table, identity, path)),
        partition=tuple(parts) if len(opened.splits) > 1 else None,
        landmarks=None,
        reader=opened.reader(images[0], names),
        crop=CROPS["crop"],
    )


def _open(path: str, split: str | None) -> Opened:
    try:
        import datasets
    except ImportError as error:
        raise InputError(
            "Hugging Face's datasets is not installed; install oneway[huggingface] as `oneway doctor` says"
        ) from error
    place = regular(Path(path))
    if (place / "dataset_dict.json").is_file() or (place / "state.json").is_file():
        return _open_dataset(path, split, datasets.load_from_disk)
    if place.is_dir():
        return _open_parquet(path, f"{path}/**/{EVERY}", split)
    if place.is_file():
        return _open_parquet(path, path, split)
    if glob.has_magic(path) or "://" in path:
        named = path if path.lower().endswith(".parquet") else f"{path.rstrip('/')}/**/{EVERY}"
        return _open_parquet(path, named, split)
    return _open_dataset(path, split, datasets.load_dataset)


def _open_dataset(path: str, split: str | None, load: Callable[[str], Any]) -> Opened:
    """Open a dataset as the library has it."""
    from datasets import Image, concatenate_datasets, config
    from huggingface_hub import constants

    try:
        found = load(path)
    except Exception as error:  # the library raises many kinds, of its own and of its transports
        raise InputError(f"{path}: cannot be opened as a dataset ({type(error).__name__}: {error})") from error
    splits: dict[str, Dataset] = _ordered(path, dict(found) if isinstance(found, dict) else {"train": found}, split)
    dataset = concatenate_datasets(list(splits.values()))
    cached = (config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH, constants.HF_HUB_CACHE)
    homes = (Path(path),) if Path(path).is_dir() else tuple(map(Path, cached))
    return Opened(
        splits={name: len(each) for name, each in splits.items()},
        features=dataset.features,
        columns=lambda names: dataset.select_columns(names).with_format("arrow")[:] if names else pa.table({}),
        reader=lambda column, names: Column(dataset.cast_column(column, Image(decode=False)), column, names, homes),
    )


def _open_parquet(path: str, pattern: str, split: str | None) -> Opened:
    """Open Parquet files where they lie."""
    files = matching(pattern)
    if not files:
        raise InputError(f"{path}: holds no .parquet file; use the folder layout for plain image files")
    by_split: dict[str, list[str]] = {}
    for file in files:
        by_split.setdefault(_split_of(PurePosixPath(file)), []).append(file)
    splits = _ordered(path, by_split, split)
    _check_one(path, splits)
    layouts = {file: rowgroups.layout(file) for each in splits.values() for file in each}
    asked = list(layouts)
    features = {file: _features(schema) for file, (schema, _) in layouts.items()}
    groups = {file: own for file, (_, own) in layouts.items()}

    def same(names: list[str]) -> list[str]:
        """Refuse columns that are not the same in every file, such as classes in another order."""
        for file in asked:
            for name in names:
                if features[file].get(name) != features[asked[0]][name]:
                    raise InputError(
                        f"{file}: its column {name!r} is {features[file].get(name)}, in {asked[0]} it is "
                        f"{features[asked[0]][name]}; give all files the same"
                    )
        return names

    return Opened(
        splits={name: sum(group.rows for file in each for group in groups[file]) for name, each in splits.items()},
        features=features[asked[0]],
        columns=lambda names: rowgroups.columns(asked, same(names)),
        reader=lambda column, names: rowgroups.RowGroups(
            tuple(group for each in groups.values() for group in each), same([column])[0], names
        ),
    )


def _features(schema: pa.Schema) -> Features:
    """Tell the columns of a file; encoded bytes, or pairs of bytes and path, are images, whoever wrote them."""
    from datasets import Features, Image

    stored = [field.name for field in schema if _is_image(field.type)]
    rest = pa.schema([field for field in schema if field.name not in stored], metadata=schema.metadata)
    found = Features.from_arrow_schema(_without_views(rest))
    return Features({name: Image() if name in stored else found[name] for name in schema.names})


def _is_image(kind: pa.DataType) -> bool:
    """Say whether a column holds encoded bytes, or pairs of them and a path that may be missing."""
    if pa.types.is_struct(kind):
        names = {kind.field(place).name for place in range(kind.num_fields)}
        return "bytes" in names <= {"bytes", "path"} and _is_image(kind.field("bytes").type)
    return any(is_one(kind) for is_one in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view))


def _without_views(schema: pa.Schema) -> pa.Schema:
    """Give columns of text the type that datasets knows, whoever wrote them."""
    plain = [field.with_type(pa.string()) if pa.types.is_string_view(field.type) else field for field in schema]
    return pa.schema(plain, metadata=schema.metadata)


def _split_of(file: PurePosixPath) -> str:
    """Tell the split by train-00000-of-00012.parquet or train/0000.parquet, as the hub names them."""
    told = (file.stem.lower().split("-")[0], _split_folder(file.parent))
    return next((name for name in told if name in PARTITIONS), "train")


def _split_folder(folder: PurePosixPath) -> str:
    """Tell the split that a folder is named after: the hub calls a part of one partial-train."""
    return folder.name.lower().removeprefix("partial-")


def _check_one(path: str, splits: dict[str, list[str]]) -> None:
    """Refuse files of several configurations of a dataset, which may hold the same pictures."""
    for files in splits.values():
        folders = {PurePosixPath(file).parent for file in files}
        homes = sorted({str(each.parent if _split_folder(each) in PARTITIONS else each) for each in folders})
        if len(homes) > 1:
            raise InputError(
                f"{path}: one split has files in {homes[0]} and in {homes[1]}, which may be the same pictures in two "
                "configurations; name the files of one, or put them into one folder"
            )


def _ordered(path: str, splits: dict[str, T], only: str | None) -> dict[str, T]:
    """Put splits in the order of `PARTITIONS`, or leave one."""
    if only is not None:
        if only not in splits:
            raise unknown(f"{path}: split", only, tuple(splits))
        return {only: splits[only]}
    return dict(sorted(splits.items(), key=lambda each: [*PARTITIONS, each[0]].index(each[0])))
