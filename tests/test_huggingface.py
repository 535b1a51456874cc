from __future__ import annotations

import pickle
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet_files
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value

from oneway.data import byterange
from oneway.data.picture import CorruptImage
from oneway.data.prepare import prepare
from oneway.data.readers import folder, huggingface, rowgroups
from oneway.errors import InputError
from trees import photograph

# As the hub's copies of CelebA have them.
COLUMNS = Features(
    {"image": Image(), "celeb_id": Value("int64"), "Smiling": Value("bool"), "Male": ClassLabel(names=["no", "yes"])}
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def part(folder: Path, people: range, shots: int = 2) -> Dataset:
    rows = [(person, shot) for person in people for shot in range(shots)]
    return Dataset.from_dict(
        {
            "image": [
                {"bytes": photograph(folder / f"{person}-{shot}.png", 30, 40, person).read_bytes(), "path": None}
                for person, shot in rows
            ],
            "celeb_id": [person for person, _ in rows],
            "Smiling": [shot == 0 for _, shot in rows],
            "Male": [person % 2 for person, _ in rows],
        },
        features=COLUMNS,
    )


def parts(folder: Path) -> DatasetDict:
    return DatasetDict(
        {"train": part(folder, range(6)), "valid": part(folder, range(6, 8)), "test": part(folder, range(8, 10))}
    )


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    for name, each in parts(tmp_path / "images").items():
        (tmp_path / "hub" / "data").mkdir(parents=True, exist_ok=True)
        each.to_parquet(tmp_path / "hub" / "data" / f"{name}-00000-of-00001.parquet")
    return tmp_path / "hub"


def test_celeba_as_the_hub_has_it(parquet: Path, tmp_path: Path) -> None:
    source = huggingface.read(str(parquet))
    assert len(source.names) == len(set(source.names)) == 20
    assert source.attributes == ("Smiling", "Male")
    assert source.labels[:4].astype(int).tolist() == [[1, 0], [0, 0], [1, 1], [0, 1]]
    assert source.identities is not None
    assert source.identities[:3] == ("0", "0", "1")
    assert source.partition == ("train",) * 12 + ("validation",) * 4 + ("test",) * 4
    loose = folder.read(tmp_path / "images")
    reader = pickle.loads(pickle.dumps(source.reader))  # other processes read too
    np.testing.assert_array_equal(reader(2, 16), loose.reader(loose.names.index("1-0.png"), 16))


def test_what_was_saved_to_disk_gives_the_same(parquet: Path, tmp_path: Path) -> None:
    parts(tmp_path / "images").save_to_disk(tmp_path / "saved")
    one, two = huggingface.read(str(parquet)), huggingface.read(str(tmp_path / "saved"))
    assert (one.attributes, one.identities, one.partition) == (two.attributes, two.identities, two.partition)
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_array_equal(one.reader(7, 16), two.reader(7, 16))


def test_it_is_packed_by_several_processes(parquet: Path, tmp_path: Path) -> None:
    packs = [
        prepare(huggingface.read(str(parquet)), tmp_path / f"pack{jobs}", size=16, jobs=jobs, progress=False)
        for jobs in (1, 2)
    ]
    assert packs[0].hash == packs[1].hash
    assert (len(packs[0].validation), len(packs[0].test)) == (4, 4)


@pytest.mark.parametrize("pattern", ["{}", "file://{}"])
def test_names_in_capitals_are_found_and_tell_their_split(parquet: Path, pattern: str) -> None:
    expected = huggingface.read(str(parquet))
    for file in list((parquet / "data").iterdir()):
        file.rename(file.with_name(file.name.upper()))
    found = huggingface.read(pattern.format(parquet))
    assert found.partition == expected.partition
    assert found.identities == expected.identities


@pytest.mark.parametrize("pattern", ["{}/**/*.parquet", "file://{}/data/*.parquet", "file://{}/**/*.parquet"])
def test_parquet_is_read_where_it_lies(parquet: Path, tmp_path: Path, pattern: str) -> None:
    source = huggingface.read(pattern.format(parquet))
    folder_of_them = huggingface.read(str(parquet))
    assert (source.attributes, source.identities) == (folder_of_them.attributes, folder_of_them.identities)
    assert source.partition == folder_of_them.partition
    reader = pickle.loads(pickle.dumps(source.reader))
    for index in (13, 0, 19, 7):
        np.testing.assert_array_equal(reader(index, 16), folder_of_them.reader(index, 16))
    assert not (tmp_path / "cache").exists()  # nothing was copied


def test_each_row_group_is_read_once_by_who_asks_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "test"  # a split by the name of its folder, as the hub converts datasets
    place.mkdir()
    for number in range(2):
        shard = part(tmp_path / "images", range(4 * number, 4 * number + 4))
        shard.to_parquet(place / f"000{number}.parquet", batch_size=3)
    source = huggingface.read(str(tmp_path / "test"))
    assert source.partition is None
    opened: list[str] = []

    def watched(file: str) -> AbstractContextManager[BinaryIO]:
        opened.append(file)
        return byterange.opened(file)

    monkeypatch.setattr(rowgroups, "opened", watched)
    drawn = [source.reader(index, 16) for index in range(16)]
    assert len(opened) == 6  # groups of 3, 3 and 2 pictures in each file
    loose = folder.read(tmp_path / "images")
    for index, name in ((0, "0-0.png"), (5, "2-1.png"), (15, "7-1.png")):
        np.testing.assert_array_equal(drawn[index], loose.reader(loose.names.index(name), 16))


def test_parquet_that_does_not_fit_is_named(parquet: Path, tmp_path: Path) -> None:
    file = parquet / "data" / "train-00001-of-00002.parquet"
    every = parts(tmp_path / "images")["train"]
    turned = every.features.copy() | {"Male": ClassLabel(names=["yes", "no"])}
    for changed, column in (
        (every.remove_columns("Male"), "Male"),
        (every.remove_columns("image"), "image"),
        (every.cast_column("celeb_id", Value("string")), "celeb_id"),
        (Dataset.from_dict(every.with_format("python")[:], features=Features(turned)), "Male"),
    ):
        changed.to_parquet(file)
        with pytest.raises(InputError, match=rf"train-00001.*its column '{column}' is .*train-00000"):
            huggingface.read(str(parquet))
    file.write_bytes(b"none")
    with pytest.raises(InputError, match=r"train-00001.*cannot be read as Parquet"):
        huggingface.read(str(parquet))
    with pytest.raises(InputError, match="holds no"):
        huggingface.read(f"file://{tmp_path}/*.parquet")
    with pytest.raises(InputError, match="cannot be listed"):
        huggingface.read("abfs://faces/*.parquet")  # whose library is not installed
    with pytest.raises(InputError, match=r"nowhere:// is not opened; copy the files, or give one of file, http"):
        huggingface.read("nowhere://faces/*.parquet")


def test_parquet_is_found_however_it_is_named(parquet: Path, tmp_path: Path) -> None:
    whole = huggingface.read(str(parquet))
    parquet.rename(tmp_path / "faces[64]")
    for path in (tmp_path / "faces[64]", tmp_path / "faces[64]" / "data" / "valid-00000-of-00001.parquet"):
        found = huggingface.read(str(path))
        assert found.identities is not None
        assert whole.identities is not None
        assert set(found.identities) <= set(whole.identities)
    (tmp_path / "faces[64]").rename(parquet)
    assert huggingface.read(f"file://{parquet}").identities == whole.identities
    partial = parquet / "partial-test"
    partial.mkdir()
    (parquet / "data" / "test-00000-of-00001.parquet").rename(partial / "0000.parquet")
    assert huggingface.read(str(partial)).names[0].endswith("test/0000000")


def test_configurations_of_a_dataset_are_not_mixed(parquet: Path) -> None:
    for name in ("default", "cropped"):
        (parquet / name / "train").mkdir(parents=True)
        (parquet / name / "train" / "0000.parquet").hardlink_to(parquet / "data" / "train-00000-of-00001.parquet")
    with pytest.raises(InputError, match=r"one split has files in .*cropped and in .*data.* two configurations"):
        huggingface.read(str(parquet))
    assert len(huggingface.read(str(parquet / "cropped")).names) == 12


def test_images_that_another_library_wrote_are_found(tmp_path: Path) -> None:
    picture = photograph(tmp_path / "a.png", 30, 40, 1)
    parquet_files.write_table(pa.table({"jpg": [picture.read_bytes()], "Smiling": [True]}), tmp_path / "a.parquet")
    source = huggingface.read(str(tmp_path / "a.parquet"))
    assert source.attributes == ("Smiling",)
    np.testing.assert_array_equal(source.reader(0, 16), folder.read(tmp_path).reader(0, 16))


@pytest.mark.parametrize("stored", ["in Parquet", "by the library"])
def test_a_path_in_a_table_leads_no_further_than_its_own_folder(tmp_path: Path, stored: str) -> None:
    home = tmp_path / "home"
    own = photograph(home / "images" / "own.png", 30, 40, 1)
    secret = photograph(tmp_path / "secret.png", 30, 40, 2)
    (home / "link.png").symlink_to(secret)
    others = [str(secret), str(home / "link.png"), "../secret.png", "images/../../secret.png"]
    paths = [str(own), "images/own.png", *others]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({"image": pa.array([{"bytes": None, "path": path} for path in paths], kind)})
    if stored == "in Parquet":
        parquet_files.write_table(table, home / "a.parquet")
        reader = huggingface.read(str(home / "a.parquet")).reader
    else:
        rows = Dataset(table).cast_column("image", Image(decode=False))
        reader = huggingface.Column(rows, "image", tuple(paths), (home,))
    for place, path in enumerate(paths):
        if path in others:
            with pytest.raises(CorruptImage, match=r"its path .* is not below .*home; store the bytes"):
                reader(place, 16)
        else:
            np.testing.assert_array_equal(reader(place, 16), folder.read(own.parent).reader(0, 16))


@pytest.mark.parametrize("binary", [pa.binary(), pa.large_binary(), pa.binary_view()], ids=str)
@pytest.mark.parametrize("nested", [False, True])
def test_images_and_text_of_every_writer_are_found(tmp_path: Path, binary: pa.DataType, nested: bool) -> None:
    content = photograph(tmp_path / "a.png", 30, 40, 1).read_bytes()
    kind = pa.struct([("bytes", binary)]) if nested else binary
    for number, text in enumerate((pa.string(), pa.large_string(), pa.string_view())):
        columns = {
            "image": pa.array([{"bytes": content} if nested else content], kind),
            "person": pa.array(["Ada"], text),
            "Smiling": [True],
        }
        parquet_files.write_table(pa.table(columns), tmp_path / f"{number}.parquet")
        source = huggingface.read(str(tmp_path / f"{number}.parquet"))
        assert (source.attributes, source.identities) == (("Smiling",), ("Ada",))
        np.testing.assert_array_equal(source.reader(0, 16), folder.read(tmp_path).reader(0, 16))


def test_a_class_of_minus_one_is_no_label(tmp_path: Path) -> None:
    every = part(tmp_path / "images", range(4))
    blank = every.map(lambda row, index: {"Male": -1 if index > 5 else row["Male"]}, with_indices=True)
    for codes in (blank, blank.select([6, 7])):
        codes.to_parquet(tmp_path / "a.parquet")
        with pytest.raises(InputError, match=r"column 'Male': 2 of \d pictures have no label \(-1\)"):
            huggingface.read(str(tmp_path / "a.parquet"))
        assert huggingface.read(str(tmp_path / "a.parquet"), attributes=("Smiling",)).attributes == ("Smiling",)


def test_columns_named_twice_are_refused(parquet: Path) -> None:
    with pytest.raises(InputError, match="attribute 'Male' is named more than once"):
        huggingface.read(str(parquet), attributes=("Male", "Smiling", "Male"))
    with pytest.raises(InputError, match="column 'Male' cannot be both the identity and an attribute"):
        huggingface.read(str(parquet), identity="Male", attributes=("Male",))


def test_one_split_is_divided_anew_by_person(parquet: Path, tmp_path: Path) -> None:
    source = huggingface.read(str(parquet), split="train", attributes=("Male",))
    assert (len(source.names), source.partition, source.attributes) == (12, None, ("Male",))
    pack = prepare(source, tmp_path / "pack", size=16, jobs=1, progress=False)
    assert sum(each.num_people for each in (pack.private, pack.public, pack.validation, pack.test)) == 6


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_text("none")
    Dataset.from_dict({"image": [str(tmp_path / "broken.png")]}, features=Features({"image": Image()})).save_to_disk(
        tmp_path / "saved"
    )
    source = huggingface.read(str(tmp_path / "saved"))
    assert (source.attributes, source.identities) == ((), None)
    with pytest.raises(CorruptImage, match="train/0000000: cannot be decoded"):
        source.reader(0, 16)


def test_what_does_not_fit_is_named(parquet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(parquet)
    with pytest.raises(InputError, match=r"split.*trian"):
        huggingface.read(path, split="trian")
    with pytest.raises(InputError, match=r"identity column.*person.*celeb_id"):
        huggingface.read(path, identity="person")
    with pytest.raises(InputError, match=r"attribute.*Smile.*Smiling"):
        huggingface.read(path, attributes=("Smile",))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty: holds no \.parquet file"):
        huggingface.read(str(tmp_path / "empty"))
    Dataset.from_dict({"Smiling": [True]}).save_to_disk(tmp_path / "blind")
    with pytest.raises(InputError, match="has 0 columns of images"):
        huggingface.read(str(tmp_path / "blind"))
    every = parts(tmp_path / "images")
    DatasetDict({"train": every["train"], "extra": every["test"]}).save_to_disk(tmp_path / "odd")
    with pytest.raises(InputError, match="the split 'extra' is none of train"):
        huggingface.read(str(tmp_path / "odd"))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: (_ for _ in ()).throw(ConnectionError("no network")))
    with pytest.raises(InputError, match=r"someone/faces: cannot be opened .*ConnectionError: no network"):
        huggingface.read("someone/faces")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"install oneway\[huggingface\]"):
        huggingface.read(path)


def test_classes_keep_their_names_and_numbers_are_numbers(tmp_path: Path) -> None:
    """Of columns that are labels by their type, and of any that is named."""
    features = Features({"image": Image(), "kind": ClassLabel(names=["cat", "dog", "cow"]), "age": Value("float32")})
    pictures = [str(photograph(tmp_path / f"{place}.png", 8, 8, place)) for place in range(3)]
    made = Dataset.from_dict({"image": pictures, "kind": [2, 0, 2], "age": [1.5, None, 3.0]}, features=features)
    made.to_parquet(tmp_path / "a.parquet")
    source = huggingface.read(str(tmp_path / "a.parquet"))
    assert source.columns.to_pydict() == {"kind": ["cow", "cat", "cow"]}
    assert source.columns.column("kind").combine_chunks().dictionary.to_pylist() == ["cat", "dog", "cow"]
    named = huggingface.read(str(tmp_path / "a.parquet"), attributes=("age", "kind"))
    assert named.columns.column("age").to_pylist() == [1.5, None, 3.0]
    assert huggingface.read(str(tmp_path / "a.parquet"), identity="kind").attributes == ()
