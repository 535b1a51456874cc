"""Configurations and records: each error names the field, its value and the way out."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import pytest
from pydantic import Field

from oneway.config import (
    Count,
    Counts,
    Names,
    NotNegative,
    Positive,
    ShareBelowAll,
    checked,
    from_dict,
    from_json,
    override,
    settings,
    text,
    to_dict,
)
from oneway.errors import InputError


@checked
@dataclass(frozen=True, kw_only=True)
class Inner:
    """Inside.

    Attributes:
        weight: of it, over
            two lines.
        names: of some.

    """

    weight: NotNegative = 0.1
    names: Names = ()
    side: Literal["left", "right"] = "left"

    def __post_init__(self) -> None:
        if self.weight == 7:
            raise InputError("weight must not be 7")


@checked
@dataclass(frozen=True, kw_only=True)
class Way:
    """A way.

    Attributes:
        name: which.
        pace: of it.

    """

    name: str = ""
    pace: Positive = 1.0


@checked
@dataclass(frozen=True, kw_only=True)
class Up(Way):
    name: Literal["up"] = "up"
    marks: tuple[int, ...] = field(default_factory=lambda: (1, 2))


@checked
@dataclass(frozen=True, kw_only=True)
class Down(Way):
    """Down.

    Attributes:
        depth: below.

    """

    name: Literal["down"] = "down"
    pace: Positive = 2.0
    depth: ShareBelowAll = 0.5


AnyWay = Annotated[Up | Down, Field(discriminator="name")]


@checked
@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    steps: Count = 3
    way: AnyWay | None = None
    path: str | None = None
    quick: bool = False
    counts: Counts = ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": "5"}, "steps must be a whole number, not '5'"),
        ({"steps": 5.0}, "steps must be a whole number, not 5.0"),
        ({"steps": True}, "steps must be a whole number, not True"),
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"steps": 2**63}, f"steps must be below {2**63}, not {2**63}"),
        ({"step": 1}, "field 'step' does not exist; did you mean 'steps'"),
        ({"inner": 3}, "inner must be an object, not 3"),
        ({"counts": (3, 0)}, "counts must be at least 1, not 0"),
        ({"counts": "35"}, "counts must be a list, not '35'"),
        ({"path": "x" * 1000}, None),
        ({"path": 7}, "path must be a text, not 7"),
        ({"quick": 1}, "quick must be true or false, not 1"),
        ({"way": Inner()}, "way.name is missing"),
    ],
)
def test_what_cannot_be_is_refused_when_made(values: dict[str, object], message: str | None) -> None:
    if message is None:
        assert Outer(**values).path == values["path"]  # type: ignore[arg-type]
        return
    with pytest.raises(InputError, match=message):
        Outer(**values)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        replace(Outer(), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf"), 7, "much"])
def test_a_number_out_of_range_is_refused_however_it_is_given(weight: float) -> None:
    for make in (lambda: Inner(weight=weight), lambda: replace(Inner(), weight=weight)):
        with pytest.raises(InputError, match="weight must "):
            make()


def test_a_configuration_is_what_it_was_after_json_and_pickle() -> None:
    config = Outer(inner=Inner(weight=0.3, names=("a", "b")), steps=5)
    assert to_dict(config) == to_dict(Outer()) | {
        "inner": {"weight": 0.3, "names": ["a", "b"], "side": "left"},
        "steps": 5,
    }
    assert from_dict(Outer, to_dict(config)) == config
    assert pickle.loads(pickle.dumps(config)) == config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is no JSON"),
        (b"\xff\xfe", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON .*recursion"),
        (b"[]", r"it must be an object, not \[\]"),
        (b'{"steps": "5"}', "steps must be a whole number, not '5'"),
        (b'{"steps": true}', "steps must be a whole number, not True"),
        (b'{"steps": 5.5}', "steps must be a whole number, not 5.5"),
        (b'{"steps": 1' + b"0" * 5000 + b"}", "it is no JSON .number out of range"),
        (b'{"quick": "true"}', "quick must be true or false, not 'true'"),
        (b'{"inner": []}', r"inner must be an object, not \[\]"),
        (b'{"counts": "1,2"}', "counts must be a list, not '1,2'"),
        (b'{"counts": 1}', "counts must be a list, not 1"),
        (b'{"counts": [1, "2"]}', "counts must be a whole number, not '2'"),
        (b'{"inner": {"weight": NaN}}', "inner.weight must be a finite number, not nan"),
        (b'{"inner": {"weight": 1e999}}', "inner.weight must be a finite number, not inf"),
        (b'{"inner": {"wieght": 1}}', "field 'inner.wieght' does not exist; did you mean 'inner.weight'"),
        (b'{"inner": {"weight": 7}}', "inner.weight must not be 7"),
        (b'{"inner": {"side": "lefd"}}', "inner.side = 'lefd' does not exist; did you mean 'left'"),
        (b'{"way": {"name": "dwon"}}', "way = 'dwon' does not exist; did you mean 'down'"),
        (b'{"way": {"depth": 0.2}}', "way.name is missing"),
        (b'{"way": "down"}', "way must be an object, not 'down'"),
        (b'{"way": {"name": "down", "depth": 1}}', "way.depth must be below 1, not 1"),
        (b'{"way": {"name": "down", "deep": 1}}', "field 'way.deep' does not exist; did you mean 'way.depth'"),
    ],
)
def test_a_damaged_file_is_named_with_the_field_its_value_and_the_way_out(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"^config.json: {message}.*; make it again$"):
        from_json(Outer, content, "config.json", "make it again")


def test_a_class_below_another_keeps_its_defaults_and_laws() -> None:
    assert (Up().marks, Up().pace, Down().pace, Down.name) == ((1, 2), 1.0, 2.0, "down")
    with pytest.raises(InputError, match="pace must be positive, not 0"):
        Up(pace=0)
    assert issubclass(Up, Way)
    assert Up.__module__ == __name__
    assert pickle.loads(pickle.dumps(Up(pace=3))) == Up(pace=3.0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"steps": "5"}, Outer(steps=5)),
        ({"inner.weight": "1e-3"}, Outer(inner=Inner(weight=0.001))),
        ({"inner.weight": 1}, Outer(inner=Inner(weight=1.0))),
        ({"inner.names": "a,b", "inner.side": "right"}, Outer(inner=Inner(names=("a", "b"), side="right"))),
        ({"inner.names": ["a"]}, Outer(inner=Inner(names=("a",)))),
        ({"counts": "1,20"}, Outer(counts=(1, 20))),
        ({"counts": ""}, Outer()),
        ({"quick": "True"}, Outer(quick=True)),
        ({"path": "none"}, Outer()),
        ({"path": None}, Outer()),
        ({"way": "down"}, Outer(way=Down())),
        ({"way.depth": "0.9", "way": "down"}, Outer(way=Down(depth=0.9))),
        ({"way": Down(depth=0.1)}, Outer(way=Down(depth=0.1))),
        ({"way": "down", "way.pace": "7", "steps": "2"}, Outer(way=Down(pace=7.0), steps=2)),
        ({}, Outer()),
    ],
)
def test_text_is_read_as_the_type_of_its_field(values: dict[str, object], expected: Outer) -> None:
    assert override(Outer(path="x") if "path" in values else Outer(), values) == expected


def test_another_choice_begins_with_its_own_defaults() -> None:
    config = Outer(way=Down(depth=0.9))
    assert override(config, {"way.pace": "3"}).way == Down(depth=0.9, pace=3.0)
    assert override(config, {"way": "up"}).way == Up()
    assert override(config, {"way": "down"}).way == Down()
    assert override(config, {"way": "none"}).way is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("steps", "many", "steps must be a whole number, not 'many'"),
        ("steps", "1.5", "steps must be a whole number, not '1.5'"),
        ("steps", 2.5, "steps must be a whole number, not 2.5"),
        ("steps", "inf", "steps must be a whole number, not 'inf'"),
        ("steps", "9" * 5000, "steps must be .*, not '9999"),
        ("steps", str(2**63), f"steps must be below {2**63}"),
        ("steps", "none", "steps must be a whole number, not 'none'"),
        ("steps", None, "steps must be a whole number, not None"),
        ("steps", "", "steps must be a whole number, not ''"),
        ("inner.weight", "half", "inner.weight must be a number, not 'half'"),
        ("inner.weight", "nan", "inner.weight must be a finite number, not 'nan'"),
        ("inner.weight", "-inf", "inner.weight must be a finite number, not '-inf'"),
        ("inner.weight", "1e999", "inner.weight must be a finite number, not '1e999'"),
        ("inner.weight", "-1", "inner.weight must be 0 or more, not '-1'"),
        ("inner.weight", "7", "inner.weight must not be 7"),
        ("quick", "perhaps", "quick must be true or false, not 'perhaps'"),
        ("inner.side", "lefd", "inner.side = 'lefd' does not exist; did you mean 'left'"),
        ("stesp", "3", "setting 'stesp' does not exist; did you mean 'steps'"),
        ("innr.weight", "3", "setting 'innr.weight' does not exist; did you mean 'inner.weight'"),
        ("weight", "3", "setting 'weight' does not exist; did you mean 'inner.weight'"),
        ("inner.wieght", "3", "setting 'inner.wieght' does not exist; did you mean 'inner.weight'"),
        ("inner", "3", "setting 'inner' does not exist; did you mean .*'inner.(weight|side|names)'"),
        ("inner", "none", "setting 'inner' does not exist"),
        ("steps.deep", "3", "setting 'steps.deep' does not exist; did you mean 'steps'"),
        ("", "3", "setting '' does not exist"),
        ("inner.", "3", "setting 'inner.' does not exist"),
        ("way", "dwon", "way = 'dwon' does not exist; did you mean 'down'"),
        ("way.depth", "0.2", "way.depth cannot be set, since there is no way; set way=NAME first"),
        ("counts", "100,many", "counts must be a whole number, not 'many'"),
        ("counts", "3,0", "counts must be at least 1, not '0'"),
    ],
)
def test_a_wrong_setting_is_named_with_the_way_out(name: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        override(Outer(), {name: value})
    assert len(str(error.value)) < 300


def test_what_is_offered_is_of_the_class_that_was_chosen() -> None:
    config = Outer(way=Down())
    with pytest.raises(InputError, match=r"'way\.depth' does not exist; did you mean 'way\.(pace|marks)'"):
        override(config, {"way": "up", "way.depth": "0.5"})
    with pytest.raises(InputError, match=r"way\.name cannot be set; set way=up, with its own defaults"):
        override(config, {"way.name": "up"})


def test_every_setting_is_listed_as_it_is_set() -> None:
    listed = {setting.name: text(setting.value) for setting in settings(Outer(way=Down()))}
    assert listed == {
        "inner.weight": "0.1",
        "inner.names": "",
        "inner.side": "left",
        "steps": "3",
        "way": "down",
        "way.pace": "2.0",
        "way.depth": "0.5",
        "path": "none",
        "quick": "false",
        "counts": "",
    }
    assert override(Outer(), listed) == Outer(way=Down())
