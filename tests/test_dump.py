"""Stored features: they reach the pictures they are of, whatever the file, and a wrong file says what is wrong."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import save_file

from dumps import write_dump
from oneway.attacks.access import FeatureDump, all_features
from oneway.data import dump, shards
from oneway.data.dump import read_dump
from oneway.data.packed import Pack
from oneway.errors import InputError
from oneway.storage import inputs
from oneway.storage.inputs import free_memory
from trees import truncate

SUFFIXES = (".npz", ".parquet", ".safetensors")
SPLITS = ("public", "validation", "test")


@pytest.fixture
def faces(other_pack: Pack) -> Pack:
    """Forty pictures are enough."""
    return other_pack


def names_of(pack: Pack) -> list[str]:
    """Every picture's name, private ones too."""
    names: list[str] = pack.table.column("name").to_pylist()
    return names


def telling(names: list[str], *shape: int, dtype: str = "float32") -> NDArray[np.generic]:
    """Features that a name alone decides, so that a misplaced row is seen."""
    numbers = [np.random.default_rng(list(name.encode())).integers(-99, 99, shape) for name in names]
    return np.stack(numbers).astype(dtype)


def assert_aligned(pack: Pack, found: dict[str, NDArray[np.generic]], *shape: int, dtype: str = "float32") -> None:
    assert tuple(found) == SPLITS
    for split in SPLITS:
        names = getattr(pack, split).names
        assert len(names) > 0
        assert found[split].dtype == np.dtype(dtype)
        np.testing.assert_array_equal(found[split], telling(names, *shape, dtype=dtype))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("shape", [(6,), (2, 3, 3)])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "float16", "float32", "float64"])
def test_what_is_written_is_read_as_it_was(
    faces: Pack, tmp_path: Path, suffix: str, shape: tuple[int, ...], dtype: str
) -> None:
    names = names_of(faces)
    write_dump(tmp_path / f"all{suffix}", names, telling(names, *shape, dtype=dtype))
    assert_aligned(faces, read_dump(tmp_path / f"all{suffix}", faces), *shape, dtype=dtype)
    assert list(tmp_path.iterdir()) == [tmp_path / f"all{suffix}"]


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), suffix=st.sampled_from(SUFFIXES), block=st.sampled_from([1, 40, 100, 10**6]))
def test_neither_the_order_nor_the_shards_nor_the_blocks_matter(
    faces: Pack, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, suffix: str, block: int
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    names = data.draw(st.permutations([*names_of(faces), "a stranger.jpg"]))
    cuts = [0, *sorted(data.draw(st.sets(st.integers(1, len(names) - 1), max_size=3))), len(names)]
    for number, (start, stop) in enumerate(pairwise(cuts)):
        path = folder / f"{number}{suffix if number else '.npz'}"
        write_dump(path, names[start:stop], telling(names[start:stop], 5))
    (folder / "README.md").write_text("features of a stolen database")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_BLOCK", block)
        assert_aligned(faces, read_dump(folder, faces), 5)


def test_the_private_people_are_not_needed_and_may_be_damaged(faces: Pack, tmp_path: Path) -> None:
    names = names_of(faces)
    features = telling(names, 4)
    private = [name in set(faces.private.names) for name in names]
    features[private] = np.nan
    write_dump(tmp_path / "all.npz", names, features)
    assert_aligned(faces, read_dump(tmp_path / "all.npz", faces), 4)
    others = [name for name in names if name not in set(faces.private.names)]
    write_dump(tmp_path / "others.npz", others, telling(others, 4))
    assert_aligned(faces, read_dump(tmp_path / "others.npz", faces), 4)


def test_an_attacker_reads_it(faces: Pack, tmp_path: Path) -> None:
    names = names_of(faces)
    write_dump(tmp_path / "all.parquet", names, telling(names, 2, 4, dtype="int8"))
    access = FeatureDump(read_dump(tmp_path / "all.parquet", faces), torch.device("cpu"))
    assert access.shape == (2, 4)
    np.testing.assert_array_equal(all_features(access, faces.test), telling(faces.test.names, 2, 4))


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.large_list(pa.float32()), pa.list_(pa.float32(), 6)])
def test_lists_of_any_kind_are_read(faces: Pack, tmp_path: Path, kind: pa.DataType) -> None:
    names = names_of(faces)
    column = pa.array(telling(names, 6).tolist(), kind)
    table = pa.table({"label": [0] * len(names), "name": names, "features": column})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=7)
    assert_aligned(faces, read_dump(tmp_path / "a.parquet", faces), 6)


def test_nested_lists_are_maps(faces: Pack, tmp_path: Path) -> None:
    names = names_of(faces)
    column = pa.array(telling(names, 2, 3).tolist(), pa.list_(pa.list_(pa.float32())))
    parquet.write_table(pa.table({"name": names, "features": column}), tmp_path / "a.parquet")
    assert_aligned(faces, read_dump(tmp_path / "a.parquet", faces), 2, 3)


def test_numbered_columns_are_read_in_the_order_of_their_numbers(faces: Pack, tmp_path: Path) -> None:
    names = names_of(faces)
    features = telling(names, 12)
    columns = {f"f{place}": features[:, place] for place in sorted(range(12), key=str)}  # f0, f1, f10, f11, f2, ...
    parquet.write_table(pa.table({"name": names, "fold": [0] * len(names), **columns}), tmp_path / "a.parquet")
    assert_aligned(faces, read_dump(tmp_path / "a.parquet", faces), 12)
    del columns["f3"]
    parquet.write_table(pa.table({"name": names, **columns}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"lack 'f3'; number them from f0 without gaps"):
        read_dump(tmp_path / "a.parquet", faces)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float8_e4m3fn])
def test_what_numpy_lacks_becomes_float32(faces: Pack, tmp_path: Path, dtype: torch.dtype) -> None:
    names = names_of(faces)
    features = torch.from_numpy(telling(names, 5)).to(dtype)
    save_file({"features": features}, tmp_path / "a.safetensors", {"names": json.dumps(names)})
    found = read_dump(tmp_path / "a.safetensors", faces)
    rows = [names.index(name) for name in faces.test.names]
    assert found["test"].dtype == np.float32
    np.testing.assert_array_equal(found["test"], features[rows].float().numpy())


@pytest.mark.parametrize("turned", [np.asfortranarray, lambda rows: rows.astype(">f4")])
def test_an_array_in_another_order_is_read(faces: Pack, tmp_path: Path, turned: Callable[..., NDArray]) -> None:
    names = names_of(faces)
    np.savez_compressed(tmp_path / "a.npz", names=names, features=turned(telling(names, 2, 3)))
    found = read_dump(tmp_path / "a.npz", faces)
    np.testing.assert_array_equal(found["validation"], telling(faces.validation.names, 2, 3))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_copy_is_held_and_not_the_file(
    faces: Pack, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [*names_of(faces), *(f"stranger {number}" for number in range(400))]
    features = np.random.default_rng(0).normal(size=(len(names), 4096)).astype(np.float32)  # 7 MB
    write_dump(tmp_path / f"a{suffix}", names, features)
    kept = sum(len(getattr(faces, split)) for split in SPLITS) * features[0].nbytes
    monkeypatch.setattr(shards, "_BLOCK", 2**18)
    read_dump(tmp_path / f"a{suffix}", faces)
    tracemalloc.start()
    read_dump(tmp_path / f"a{suffix}", faces)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < kept + 2**21


def test_no_dump_is_there(faces: Pack, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent does not exist; give .* \(\.npz, \.parquet, \.safetensors\)"):
        read_dump(tmp_path / "absent", faces)
    with pytest.raises(InputError, match=r"holds no file of features \(\.npz, \.parquet, \.safetensors\)"):
        read_dump(tmp_path, faces)
    (tmp_path / "a.csv").write_text("name,f0")
    with pytest.raises(InputError, match=r"a\.csv is no file of features; it must end in \.npz, \.parquet"):
        read_dump(tmp_path / "a.csv", faces)


def test_a_key_is_wrong_and_the_nearest_is_offered(faces: Pack, tmp_path: Path) -> None:
    names = names_of(faces)
    features = telling(names, 3)
    np.savez(tmp_path / "a.npz", name=names, features=features)
    np.savez(tmp_path / "b.npz", names=names, feature=features)
    parquet.write_table(pa.table({"names": names, "features": features.tolist()}), tmp_path / "a.parquet")
    parquet.write_table(pa.table({"name": names, "feature": features.tolist()}), tmp_path / "b.parquet")
    tensor = torch.from_numpy(features)
    save_file({"feats": tensor}, tmp_path / "a.safetensors", {"names": json.dumps(names)})
    save_file({"features": tensor}, tmp_path / "b.safetensors", {"name": json.dumps(names)})
    for file, match in (
        ("a.npz", "array 'names' does not exist; did you mean 'name'"),
        ("b.npz", "array 'features' does not exist; did you mean 'feature'"),
        ("a.parquet", "column 'name' does not exist; did you mean 'names'"),
        ("b.parquet", "column 'features' does not exist; did you mean 'feature'"),
        ("a.safetensors", "tensor 'features' does not exist; did you mean 'feats'"),
        ("b.safetensors", "metadata 'names' does not exist; did you mean 'name'"),
    ):
        with pytest.raises(InputError, match=f"{file}: {match}"):
            read_dump(tmp_path / file, faces)


def test_names_and_features_do_not_belong_together(faces: Pack, tmp_path: Path) -> None:
    names = names_of(faces)
    features = telling(names, 3)
    path = tmp_path / "a.npz"
    for arrays, match in (
        ({"features": features[1:]}, f"{len(names)} names for the features of {len(names) - 1} pictures"),
        ({"names": np.array([*names[1:], names[1]])}, f"{names[1]!r} has features twice"),
        ({"names": np.arange(len(names))}, "every name must be text"),
        ({"names": np.array(names).astype(object)}, "names are Python objects, which are never unpickled"),
        ({"features": features.astype(object)}, "features are Python objects, which are never unpickled"),
        ({"features": features[:, 0]}, r"must be numbers \(pictures, \.\.\.\), not float32 of shape"),
        ({"features": features.astype(str)}, r"must be numbers \(pictures, \.\.\.\), not <U"),
        ({"features": features.astype(complex)}, "not complex128"),
        ({"features": np.float32(3)}, "names for the features of 0 pictures"),
    ):
        np.savez(path, **({"names": np.array(names), "features": features} | arrays))
        with pytest.raises(InputError, match=match):
            read_dump(path, faces)
    save_file({"features": torch.from_numpy(features)}, tmp_path / "a.safetensors", {"names": '{"a": 0}'})
    with pytest.raises(InputError, match="'names' must be a JSON list of text, not dict"):
        read_dump(tmp_path / "a.safetensors", faces)


def test_lists_differ_or_have_gaps(faces: Pack, tmp_path: Path) -> None:
    names = names_of(faces)
    rows = telling(names, 3).tolist()
    path = tmp_path / "a.parquet"
    tensors = pa.FixedShapeTensorArray.from_storage(
        pa.fixed_shape_tensor(pa.float32(), [3]), pa.array([*rows[:-1], None], pa.list_(pa.float32(), 3))
    )
    for columns, match in (
        ({"features": [rows[0][:2], *rows[1:]]}, "lists in 'features' differ in length"),
        ({"features": [*rows[:-1], None]}, "lists in 'features' differ in length"),
        ({"features": [[1.0, None, 2.0], *rows[1:]]}, "some features are null"),
        ({"features": tensors}, "null|differ"),
        ({"f0": [None, *range(1, len(names))]}, "some features are null"),
        ({"features": ["3.0"] * len(names)}, "must be numbers"),
    ):
        parquet.write_table(pa.table({"name": names, **columns}), path)
        with pytest.raises(InputError, match=match):
            read_dump(path, faces)


def test_shards_do_not_belong_together(faces: Pack, tmp_path: Path) -> None:
    names = names_of(faces)
    write_dump(tmp_path / "a.npz", names[:9], telling(names[:9], 4))
    write_dump(tmp_path / "b.npz", names[9:], telling(names[9:], 5))
    with pytest.raises(
        InputError, match=r"b\.npz: its features are float32 of shape \(5,\), .* float32 of shape \(4,\)"
    ):
        read_dump(tmp_path, faces)
    write_dump(tmp_path / "b.npz", names[9:], telling(names[9:], 4, dtype="int8"))
    with pytest.raises(InputError, match=r"b\.npz: its features are int8 of shape"):
        read_dump(tmp_path, faces)
    write_dump(tmp_path / "b.npz", names[8:], telling(names[8:], 4))
    with pytest.raises(InputError, match=rf"b\.npz: '{names[8]}' has features twice"):
        read_dump(tmp_path, faces)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_picture_whose_features_are_not_finite_is_named(
    faces: Pack, tmp_path: Path, suffix: str, value: float
) -> None:
    names = names_of(faces)
    features = telling(names, 4, dtype="float16")
    name = faces.test.names[1]
    features[names.index(name), 2] = value
    write_dump(tmp_path / f"a{suffix}", names, features)
    with pytest.raises(InputError, match=rf"the features of '{name}' \(test\) are not finite"):
        read_dump(tmp_path / f"a{suffix}", faces)


def test_pictures_without_features_are_counted(faces: Pack, tmp_path: Path) -> None:
    total = sum(len(getattr(faces, split)) for split in SPLITS)
    lacking = set(faces.validation.names[-1:] + faces.test.names[:2])
    names = [name for name in names_of(faces) if name not in lacking]
    write_dump(tmp_path / "a.npz", names, telling(names, 4))
    first = faces.validation.names[-1]
    with pytest.raises(
        InputError, match=rf"3 of {total} pictures .* the first is '{first}' \(validation\); store features"
    ):
        read_dump(tmp_path / "a.npz", faces)
    names = [f"faces/{name}" for name in names_of(faces)]
    write_dump(tmp_path / "a.npz", names, telling(names, 4))
    with pytest.raises(InputError, match=rf"{total} of {total} pictures .*it names others like 'faces/"):
        read_dump(tmp_path / "a.npz", faces)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_truncated_or_foreign_file_is_named(faces: Pack, tmp_path: Path, suffix: str) -> None:
    names, path = names_of(faces), tmp_path / f"a{suffix}"
    write_dump(path, names, telling(names, 4))
    truncate(path)
    with pytest.raises(InputError, match=rf"a\{suffix} is truncated, damaged or no \{suffix} file"):
        read_dump(path, faces)
    path.write_text("hello")
    with pytest.raises(InputError, match=rf"a\{suffix} is truncated, damaged or no \{suffix} file"):
        read_dump(path, faces)


def test_an_array_changed_on_the_disk_is_noticed(faces: Pack, tmp_path: Path) -> None:
    names, path = names_of(faces), tmp_path / "a.npz"
    features = telling(names, 4)
    write_dump(path, names, features)
    content = path.read_bytes()
    place = content.index(features.tobytes())
    path.write_bytes(content[:place] + b"\x01" + content[place + 1 :])
    with pytest.raises(InputError, match="truncated, damaged"):
        read_dump(path, faces)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_features_that_the_memory_does_not_hold_are_refused_before_it_is_taken(
    faces: Pack, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, path = names_of(faces), tmp_path / f"a{suffix}"
    write_dump(path, names, telling(names, 400))
    needed = sum(len(getattr(faces, split)) for split in SPLITS) * 400 * 4
    monkeypatch.setattr(inputs, "free_memory", lambda: needed - 1)
    with pytest.raises(InputError, match=rf"a\{suffix}: .* {needed:,} bytes of memory and {needed - 1:,} are free; "):
        read_dump(path, faces)
    for free in (needed, None):
        monkeypatch.setattr(inputs, "free_memory", lambda free=free: free)
        read_dump(path, faces)


def test_a_lack_of_memory_is_said_in_a_line(faces: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = names_of(faces)
    np.savez(tmp_path / "a.npz", names=np.array(names), features=np.asfortranarray(telling(names, 4)))

    def load(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 8.00 TiB")

    monkeypatch.setattr(np, "load", load)
    with pytest.raises(InputError, match=r"a\.npz takes more memory than there is \(Unable to allocate 8.00 TiB\)"):
        read_dump(tmp_path / "a.npz", faces)


def test_free_memory_is_said_where_the_system_says_it() -> None:
    free = free_memory()
    assert free is None or 2**20 < free < 2**50


def test_the_layout_is_said_for_every_format() -> None:
    assert all(f"`{suffix}`" in str(dump.__doc__) for suffix in shards.READERS)
