"""Label columns of three kinds, from a table to a pack and back."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from oneway import InputError, Pack
from oneway.data.columns import classes, classes_of, simplest
from oneway.data.join import join
from oneway.data.prepare import prepare
from oneway.data.readers import folder
from oneway.data.readers.labels import attribute
from oneway.data.source import Source
from oneway.plugins import Unfit
from trees import folder_tree, noise_source

COUNT = 60
HAIR = ["curly", "bald", "straight"]
AGES = [20.5 + place % 7 for place in range(COUNT)]


def read(*values: str) -> pa.Array:
    return attribute(pa.table({"x": list(values)}), "x", "labels.csv")


def mixed(count: int = COUNT, **changes: object) -> Source:
    """A source with a column of each kind, and one of classes that no image has."""
    columns = {
        "smiling": pa.array([place % 2 == 0 for place in range(count)]),
        "hair": classes([HAIR[place % 3] for place in range(count)], [*HAIR, "long"]),
        "age": pa.array((AGES * count)[:count], pa.float64()),
    } | changes
    return replace(noise_source(count, attributes=0), attributes=tuple(columns), labels=pa.table(columns))


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return prepare(mixed(), tmp_path_factory.mktemp("columns") / "pack", size=16, jobs=1, progress=False)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (("0", "1", "", "1"), pa.bool_()),
        (("-1", "1", "1"), pa.bool_()),
        (("True", "false"), pa.bool_()),
        (("0", "1", "2"), pa.float64()),
        (("1.5", "", "-2e3"), pa.float64()),
        (("-1", "0"), pa.float64()),
        (("cat", "dog", "cat", ""), pa.dictionary(pa.int32(), pa.string())),
        (("1_2", "3_4", "1_2", "3_4"), pa.dictionary(pa.int32(), pa.string())),
    ],
)
def test_the_kind_of_a_column_is_told_by_its_cells(values: tuple[str, ...], kind: pa.DataType) -> None:
    found = read(*values)
    assert found.type == kind
    assert found.is_null().to_pylist() == [value == "" for value in values]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("3", "4", "five"), "row 3: is 'five', and 2 rows are numbers"),
        (("a", "b", "a", "4"), "row 4: is '4', and 3 rows are words"),
        (("ann", "bob", "cid", "dan"), "4 different words in 4 rows, such as 'ann', so they are no classes"),
        (("", " "), "empty in every row"),
    ],
)
def test_a_column_that_leaves_a_doubt_is_refused(values: tuple[str, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(*values)


def test_classes_have_an_order(pack: Pack) -> None:
    assert classes_of(pa.chunked_array([read("dog", "cat", "dog", "cat")])) == ("cat", "dog")
    assert classes_of(pa.chunked_array([classes(["10", "9", None, "x"])])) == ("9", "10", "x")
    assert pack.classes == {"hair": (*HAIR, "long")}


def test_a_pack_keeps_what_a_source_says(pack: Pack) -> None:
    source, table = mixed(), mixed().columns
    places = {name: place for place, name in enumerate(source.names)}
    assert (pack.attributes, pack.numbers) == (("smiling", "hair", "age"), ("age",))
    assert [pack.kind(name) for name in pack.attributes] == ["binary", "classes", "numbers"]
    for part in (pack.private, pack.public, pack.validation, pack.test):
        rows = [places[name] for name in part.names]
        for name in ("smiling", "age"):
            assert part.values(name).tolist() == table.column(name).take(pa.array(rows)).to_pylist()
        assert [pack.classes["hair"][code] for code in part.values("hair")] == [HAIR[row % 3] for row in rows]
        assert part.labels(["smiling"])[:, 0].tolist() == part.values("smiling").tolist()
    with pytest.raises(InputError, match="hair holds classes, so it is not binary"):
        pack.test.labels()
    again = Pack.open(pack.path)
    assert (again.classes, again.numbers, again.hash) == (pack.classes, pack.numbers, pack.hash)


def test_a_missing_value_is_counted_and_refused_where_it_is_needed(tmp_path: Path) -> None:
    holes = mixed(smiling=pa.array([None if place % 3 else True for place in range(COUNT)]))
    made = prepare(holes, tmp_path / "pack", size=16, jobs=1, progress=False)
    part = made.private
    assert 0 < part.missing("smiling") < len(part)
    assert part.missing("age") == 0
    with pytest.raises(InputError, match=rf"{part.missing('smiling')} private images have no label of smiling"):
        part.values("smiling")


def test_the_hash_tells_labels_apart_and_that_of_binary_ones_is_as_it_was(tmp_path: Path) -> None:
    plain = noise_source(COUNT, attributes=2)
    as_table = replace(plain, labels=plain.columns)
    assert np.array_equal(simplest(as_table.labels), plain.labels)
    others = (
        plain,
        as_table,
        mixed(),
        mixed(age=pa.array([*AGES[1:], None])),
        mixed(age=pa.array([*AGES[1:], 0.0])),
        mixed(hair=classes([HAIR[place % 3] for place in range(COUNT)], [*HAIR[::-1], "long"])),
    )
    made = [
        prepare(source, tmp_path / f"{place}", size=16, jobs=1, progress=False).hash
        for place, source in enumerate(others)
    ]
    assert made[0] == made[1]
    assert len(set(made)) == len(made) - 1


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (classes(["Cat", "cat ", "dog", "dog"]), r"'Cat' \(1 images\) and 'cat ' \(1 images\) are one class in two sp"),
        (classes(["a b", "a  B", "c", "c"]), "one class in two spellings"),
        (classes(["", "dog", "dog", "dog"]), "a class has the name ''"),
        (pa.array([1.0, 2.0, float("inf"), None]), "row 3: must be a finite number, it is inf"),
    ],
)
def test_classes_and_numbers_that_cannot_be_used_are_refused(column: pa.Array, words: str) -> None:
    with pytest.raises(InputError, match=f"attribute 'x'.*{words}"):
        replace(noise_source(4, attributes=0), attributes=("x",), labels=pa.table({"x": column}))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pa.table({"x": [1, 2, 3, 4]}), "labels of type int64 in the column 'x', which must be bool, a dictionary"),
        (pa.table({"x": [True, False]}), "a table of labels of 2 rows .* which must be 4 rows"),
        (pa.table({"y": [True, False, True, True]}), "and the columns y, which must be 4 rows and its attributes, x"),
    ],
)
def test_a_reader_that_gives_other_labels_is_told_so(table: pa.Table, words: str) -> None:
    with pytest.raises((InputError, Unfit), match=words):
        replace(noise_source(4, attributes=0), attributes=("x",), labels=table)


def test_a_folder_with_a_table_gives_columns_of_each_kind(tmp_path: Path) -> None:
    folder_tree(tmp_path / "i", tuple(f"{place}.jpg" for place in range(4)))
    rows = ["3.jpg,cat,0.5,1", "0.jpg,dog,,0", "1.jpg,cat,7,", "2.jpg,dog,-1,1"]
    (tmp_path / "l.csv").write_text("\n".join(["file,kind,weight,wet", *rows]))
    source = folder.read(tmp_path / "i", tmp_path / "l.csv")
    assert source.attributes == ("kind", "weight", "wet")
    assert source.columns.column("kind").to_pylist() == ["dog", "cat", "dog", "cat"]
    assert source.columns.column("weight").to_pylist() == [None, 7, -1, 0.5]
    assert source.columns.column("wet").to_pylist() == [False, None, True, True]


def test_a_joined_pack_leaves_what_it_cannot_know_unlabelled(pack: Pack, tmp_path: Path) -> None:
    others = ["bald", "green", "curly"]
    extra = mixed(
        hair=classes([others[place % 3] for place in range(COUNT)]),
        age=classes([others[place % 3] for place in range(COUNT)]),
    )
    more = prepare(extra, tmp_path / "more", size=16, jobs=1, progress=False)
    joined = join(pack, more, tmp_path / "joined").public
    added = len(joined) - len(pack.public)
    assert joined.missing("smiling") == 0
    assert joined.missing("age") == added == COUNT
    assert joined.missing("hair") == COUNT // 3
    assert np.array_equal(joined.pack.test.values("hair"), pack.test.values("hair"))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("classes", {"age": ["a"]}, "classes and numbers must each be other attributes"),
        ("classes", {"hair": ["curly", "curly"]}, "hair names a class twice: curly, curly"),
        ("classes", {"hair": ["curly", "bald"]}, "'straight' is no class of hair"),
        ("classes", {}, "column 'hair' must be bool, it is string"),
        ("numbers", ["weight"], "classes and numbers must each be other attributes"),
        ("numbers", [], "column 'age' must be bool, it is double"),
    ],
)
def test_a_description_that_lies_about_its_columns_is_refused(
    pack: Pack, tmp_path: Path, field: str, value: object, words: str
) -> None:
    copy = tmp_path / "pack"
    shutil.copytree(pack.path, copy)
    said = json.loads((copy / "pack.json").read_text())
    (copy / "pack.json").write_text(json.dumps(said | {field: value}))
    with pytest.raises(InputError, match=words):
        Pack.open(copy).private.values("hair")
