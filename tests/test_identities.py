from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

import oneway
from oneway.auditing.guards import check_people, doubts
from oneway.auditing.inference import linked
from oneway.auditing.profile import people_of
from oneway.cli import main
from oneway.data.duplicates import Duplicates
from oneway.data.identities import MISSING, identified
from oneway.data.readers import folder, lfw
from trees import folder_tree, lfw_tree, noise_source

pytestmark = pytest.mark.whole

NONE = Duplicates(dict.fromkeys(("private", "public", "validation", "test"), 0), ())


def test_a_person_who_is_spelled_in_two_ways_is_one() -> None:
    composed, decomposed = "Zoë", "Zoe\u0308"
    assert identified([composed, decomposed, " Zoë\t", "Zoë\u00a0"]) == (composed,) * 4


@pytest.mark.parametrize("word", MISSING)
def test_words_for_nobody_name_nobody(word: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "oneway.data"):
        assert identified(["Ada", word, f" {word} ", "Bob", "Nan", "Nonesuch", "10"])[1:] == (
            "",
            "",
            "Bob",
            "Nan",
            "Nonesuch",
            "10",
        )
    assert "2 of 7 pictures name nobody" in caplog.text


def test_a_table_of_people_with_gaps_makes_no_person_of_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = tuple(f"{place}.png" for place in range(24))
    root = folder_tree(tmp_path / "faces", names)
    for identity in (
        pa.array([float(place // 2) if place % 3 else float("nan") for place in range(24)]),
        pa.array([str(place // 2) if place % 3 else "None" for place in range(24)]),
        pa.array([place // 2 if place % 3 else -1 for place in range(24)]),
        pa.array([place // 2 if place % 3 else None for place in range(24)]),
    ):
        parquet.write_table(pa.table({"file": names, "identity": identity}), tmp_path / "people.parquet")
        source = folder.read(root, tmp_path / "people.parquet")
        out = tmp_path / f"pack{len(list(tmp_path.iterdir()))}"
        with caplog.at_level(logging.WARNING, "oneway.data"):
            pack = oneway.prepare(source, out, size=16, jobs=1, progress=False)
        assert pack.num_unknown() == 8
        assert sum(part.num_unknown for part in (pack.private, pack.public, pack.validation, pack.test)) == 8
        assert len(set(pack.people)) == 8 + 12  # nobody shares a person with nobody else
        assert "8 of 24 pictures name nobody" in caplog.text
        assert "whom 8 of 24 pictures show is unknown" in caplog.text
        caplog.clear()


def test_people_of_folders_are_spelled_alike(tmp_path: Path) -> None:
    tree = lfw_tree(tmp_path)
    pack = oneway.prepare(lfw.read(tree), tmp_path / "pack", size=16, jobs=1, progress=False)
    assert (pack.num_unknown(), pack.private.num_unknown) == (0, 0)


def test_somebody_in_an_odd_share_of_the_pictures_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    even = [f"p{place // 3}" for place in range(90)]
    with caplog.at_level(logging.WARNING, "oneway.data"):
        identified(even)
        identified(["p1", "p2", "p3"])
        assert not caplog.records
        identified(even + ["nobody"] * 40)
    assert "person 'nobody' is in 40 of 130 pictures, others in 3.0" in caplog.text


def test_unknown_people_are_neither_apart_nor_together(tmp_path: Path) -> None:
    source = noise_source(400, shots=1)
    for changed, unknown in ((source, 37), (replace(source, identities=None), 400)):
        pack = oneway.prepare(changed, tmp_path / f"{unknown}", size=16, jobs=1, progress=False)
        apart, enough = check_people(pack)
        assert (apart.name, apart.passed, enough.passed) == ("groups", None, None)
        assert apart.message.startswith(f"{unknown} of 400 pictures do not say to which group they belong")
        assert "every interval is too narrow" in enough.message
        assert doubts(pack, NONE) == [apart.message]
        assert people_of(pack.public) == f"at most {pack.public.num_people} people"


def test_known_people_are_apart(people: oneway.Pack) -> None:
    assert [guard.passed for guard in check_people(people)] == [True, True]
    assert doubts(people, NONE) == []
    assert people_of(people.public) == f"{people.public.num_people} people"


def test_prepare_says_that_people_are_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder_tree(tmp_path / "faces", tuple(f"{place}.png" for place in range(12)))
    main(["prepare", "folder", str(root), "--out", str(tmp_path / "pack"), "--size", "16", "--jobs", "1"])
    said = capsys.readouterr()
    assert "which belong to one person, or to one of whatever else, is unknown" in said.out
    assert " people" not in said.out
    table = tmp_path / "labels.csv"
    rows = (f"{place}.png,{'' if place % 4 else place}" for place in range(12))
    table.write_text("\n".join(["file,identity", *rows]))
    given = ["--labels", str(table), "--out", str(tmp_path / "two"), "--size", "16", "--jobs", "1"]
    main(["prepare", "folder", str(root), *given])
    said = capsys.readouterr()
    assert " of unknown people" in said.out
    assert "is unknown" not in said.out


def test_attributes_named_twice_are_refused_before_anything_trains(
    tmp_path: Path, tiny: Callable[..., oneway.ProtectConfig]
) -> None:
    pack = oneway.prepare(noise_source(60), tmp_path / "pack", size=16, jobs=1, progress=False)
    config = replace(tiny({"steps": 1}), task=("attribute1", "attribute0", "attribute1"))
    with pytest.raises(oneway.InputError, match="task: attribute1: named more than once"):
        oneway.protect(pack, tmp_path / "run", config, progress=False)
    assert not (tmp_path / "run").exists()


def test_an_encoder_is_an_onnx_file_in_either_case(tmp_path: Path) -> None:
    with pytest.raises(oneway.InputError, match="name it with --data"):
        oneway.audit(tmp_path / "encoder.ONNX")


def test_few_people_who_appear_twice_are_a_doubt(tmp_path: Path) -> None:
    source = noise_source(1000, shots=1)
    names = tuple(f"p{number % 60 if number < 120 else number}" for number in range(1000))
    pack = oneway.prepare(replace(source, identities=names), tmp_path / "pack", size=16, jobs=1, progress=False)
    twice = len(pack.test) - pack.test.num_people
    doubt, chosen = doubts(pack, NONE)
    assert 0 < twice < 50
    assert doubt.startswith(f"only {twice} of {pack.test.num_people} test people have two pictures or more")
    assert "validation people have two pictures or more, and the way of linking stolen features" in chosen


class Four(SimpleNamespace):
    """A part of four pictures."""

    def __len__(self) -> int:
        return 4


def test_linkage_whose_way_no_validation_person_can_choose_is_refused() -> None:
    pack = SimpleNamespace(
        validation=Four(split="validation", num_people=4, num_unknown=0), test=Four(split="test", num_people=2)
    )
    context: Any = SimpleNamespace(pack=pack, stolen=SimpleNamespace(access=None))
    place: Any = None
    told = linked(context, place, {}).refusal
    assert told is not None
    assert told.refused == "no validation person appears twice, so nothing says which way of linking is the best"
